//! What the gateway does beside its work: status topics, the engine's supervisor, phrases made ahead.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;
use super::operators::Operators;
use crate::audio::Workers;
use crate::config::Config;
use crate::domain::{Bulletins, QoS};
use crate::door::credentials::Credentials;
use crate::door::mqtt::Bus;
use crate::engine::supervisor::{self, Launch, Pace, Supervisor, View};
use crate::pipeline::voice::Phrases;
use crate::provider::Synthesizer;
use crate::topics::Table;

/// How often the retained status of the gateway is published.
const STATUS_EVERY: Duration = Duration::from_secs(15);
/// Phrases are tried again after this time while speech does not work, then after twice as long, and so on: a voice that does
/// not speak a language never will.
const PHRASES_FIRST: Duration = Duration::from_secs(5);
/// The longest time between two tries.
const PHRASES_LAST: Duration = Duration::from_mins(5);

/// A gateway that was killed leaves `online` behind: before the doors open, every device is offline.
pub(super) fn devices_are_offline(credentials: &Credentials, table: &Table, bulletins: &dyn Bulletins) {
    for device in credentials.list_devices() {
        bulletins.publish(&table.status_topic(&device), Bytes::from_static(b"offline"), QoS::AtLeastOnce, true);
    }
}

/// Starts the supervisor of the local engines, when something is to come from them.
pub(super) fn engine(
    config: &Config,
    registry: &mut Registry,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<View, StartError> {
    let program = std::env::current_exe().map_err(|error| StartError::Engine(error.to_string()))?;
    let log = serde_json::to_string(&config.log).map_err(|error| StartError::Engine(error.to_string()))?;
    let launch = Launch { program, args: vec!["engine".into(), "--log".into(), log.into()] };
    let metrics = supervisor::Metrics::register(registry);
    let (supervisor, view) = Supervisor::new(config.engine(), launch, Pace::default(), metrics);
    tasks.spawn(supervisor.run(stop.clone()));
    Ok(view)
}

/// Publishes the gateway's status, retained, until it stops.
pub(super) async fn status(operators: Arc<Operators>, table: Arc<Table>, bus: Arc<Bus>, stop: CancellationToken) {
    let mut every = tokio::time::interval(STATUS_EVERY);
    let topic = table.gateway_status_topic();
    loop {
        let running = tokio::select! {
            _ = every.tick() => true,
            () = stop.cancelled() => false,
        };
        let glance = operators.glance();
        let status = json!({
            "status": if running { "online" } else { "offline" }, "version": glance.version, "boot": glance.boot,
            "uptime_s": glance.uptime_s, "devices": glance.devices, "online": glance.online,
            "sessions": glance.sessions, "health": glance.health.status,
        });
        bus.publish(&topic, Bytes::from(status.to_string()), QoS::AtLeastOnce, true);
        if !running {
            return;
        }
    }
}

/// Makes what is to be said at once, as soon as speech works, and again when a device speaks another language.
pub(super) async fn phrases(
    phrases: Arc<Phrases>,
    synthesizer: Arc<dyn Synthesizer>,
    workers: Workers,
    config: Arc<Config>,
    stop: CancellationToken,
) {
    let make_all = async {
        let mut pause = PHRASES_FIRST;
        loop {
            let mut failed = false;
            for phrase in phrases.unmade() {
                if let Err(error) = phrase.make(&*synthesizer, &workers, &config.voice.opus).await {
                    tracing::debug!(error, "a phrase is not made yet");
                    failed = true;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause), if failed => pause = (pause * 2).min(PHRASES_LAST),
                () = phrases.another_is_wanted() => pause = PHRASES_FIRST,
            }
        }
    };
    stop.run_until_cancelled(make_all).await;
}
