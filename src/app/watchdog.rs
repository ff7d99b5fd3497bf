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
use crate::store::{Batch, SledStore, Store};

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
                Err(why) => tracing::error!(why, "the watchdog is not fed"),
            }
        }
    }

    /// What does not work, if anything.
    pub(super) async fn look(&self) -> Result<(), String> {
        if self.door.not_accepting_for() > LIMIT {
            return Err("the door does not accept".into());
        }
        let late = |what: &'static str| move |_| format!("{what}: nothing within {} s", LIMIT.as_secs());
        let canary = tokio::time::timeout(LIMIT, self.router.canary()).await.map_err(late("a session"))?;
        if !canary {
            return Err("a session ended at once".into());
        }
        let job = tokio::time::timeout(LIMIT, self.workers.run(|| ())).await.map_err(late("the codec threads"))?;
        job.map_err(|error| error.to_string())?;
        let health = self.store.health();
        if !health.writer {
            return Err("the store's writer has died".into());
        }
        // a full disk is no reason to restart: voice goes on in memory
        if health.broken.is_none() && !health.low {
            let commit = tokio::time::timeout(LIMIT, self.store.commit(Batch::new()));
            commit.await.map_err(late("a commit"))?.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
