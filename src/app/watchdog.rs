//! What systemd's watchdog is fed by: all that a voice needs, and nothing that strangers can hold up.
//!
//! The accept loop goes round, a session starts and takes what comes, the codec threads work, the writer commits,
//! each within five seconds. Not a connection from outside: a flood of them must not get the gateway restarted.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::audio::Workers;
use crate::door::mqtt::DoorControl;
use crate::observe::Notifier;
use crate::router::Router;
use crate::store::{Batch, SledStore, Store, StoreError};

/// What voice needs must have worked within this.
const LIMIT: Duration = Duration::from_secs(5);

/// What is looked at.
#[derive(Clone)]
pub(super) struct Watchdog {
    pub(super) door: DoorControl,
    pub(super) router: Router,
    pub(super) workers: Workers,
    pub(super) store: Arc<SledStore>,
}

impl Watchdog {
    /// Tells systemd as long as all is well, until `stop`.
    pub(super) async fn run(self, notifier: Notifier, stop: CancellationToken) {
        let Some(period) = notifier.watchdog_period() else { return };
        let mut every = tokio::time::interval(period.min(LIMIT));
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = stop.cancelled() => return,
            }
            match self.look().await {
                Ok(()) => notifier.alive(),
                Err(_) if stop.is_cancelled() => return,
                Err(why) => tracing::error!(why, "the watchdog is not fed"),
            }
        }
    }

    /// What does not work, if anything.
    pub(super) async fn look(&self) -> Result<(), String> {
        if self.door.not_accepting_for() > LIMIT {
            return Err("the door does not accept".into());
        }
        if !self.store.health().writer {
            return Err("the store's writer has died".into());
        }
        let (session, codec, commit) = tokio::join!(
            within("a session", self.router.canary()),
            within("the codec threads", self.workers.run(|| ())),
            within("a commit", self.commit()),
        );
        if !session? {
            return Err("a session ended at once".into());
        }
        codec?.map_err(|error| error.to_string())?;
        commit?
    }

    async fn commit(&self) -> Result<(), String> {
        let health = self.store.health();
        if health.broken.is_some() || health.low {
            // a full disk is no reason to restart: voice goes on in memory
            return Ok(());
        }
        match self.store.commit(Batch::new()).await {
            // a full queue is much work, not a fault
            Ok(_) | Err(StoreError::Busy) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> Result<T, String> {
    let done = tokio::time::timeout(LIMIT, work).await;
    done.map_err(|_| format!("{what}: nothing within {} s", LIMIT.as_secs()))
}
