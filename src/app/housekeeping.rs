//! What the gateway does beside its work: status topics, the watchdog, the engine's supervisor, the apology.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::operators::Operators;
use crate::audio::Workers;
use crate::config::Config;
use crate::domain::{Bulletins, Clock, QoS};
use crate::door::credentials::Credentials;
use crate::door::mqtt::Bus;
use crate::engine::supervisor::{EngineWatch, Supervisor, SupervisorMetrics};
use crate::observe::Notifier;
use crate::pipeline::voice::Apology;
use crate::provider::{SpeechRequest, Synthesizer};
use crate::store::{Batch, SledStore, Store};
use crate::topics::Table;

/// How often the retained status of the gateway is published.
const STATUS_EVERY: Duration = Duration::from_secs(15);
/// How often the apology is tried again while speech does not work.
const APOLOGY_EVERY: Duration = Duration::from_secs(5);
/// What voice needs must have worked within this.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// A gateway that was killed leaves `online` behind: before the doors open, every device is offline.
pub(super) fn devices_are_offline(credentials: &Credentials, table: &Table, bulletins: &dyn Bulletins) {
    for device in credentials.list_devices() {
        bulletins.publish(&table.status_topic(&device), Bytes::from_static(b"offline"), QoS::AtLeastOnce, true);
    }
}

/// Starts the supervisor of the local engines, when something is to come from them.
pub(super) fn engine(
    config: &Arc<Config>,
    local: bool,
    registry: &mut Registry,
    tasks: &TaskTracker,
    stop: &CancellationToken,
    clock: &Arc<dyn Clock>,
) -> EngineWatch {
    let metrics = SupervisorMetrics::register(registry);
    if !local || !config.providers.wants_engine() {
        return EngineWatch::off();
    }
    let (supervisor, watch) = Supervisor::new(config.engine_settings(), Arc::clone(clock), metrics);
    tasks.spawn(supervisor.run(stop.clone()));
    watch
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

/// Tells systemd that what voice needs works: a connection to the door, a commit of the writer.
pub(super) async fn watchdog(
    notifier: Notifier,
    operators: Arc<Operators>,
    sled: Arc<SledStore>,
    store: Arc<dyn Store>,
    mqtt: SocketAddr,
    stop: CancellationToken,
) {
    let Some(period) = notifier.watchdog_period() else { return };
    let mut every = tokio::time::interval(period.min(PROBE_LIMIT));
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = stop.cancelled() => return,
        }
        let probe = async {
            let local = SocketAddr::new(loopback(mqtt), mqtt.port());
            drop(tokio::net::TcpStream::connect(local).await.map_err(|error| format!("the door: {error}"))?);
            operators.health().alive()?;
            // a full disk is no reason to restart: voice goes on in memory
            if sled.health().broken.is_none() && !sled.health().low {
                store.commit(Batch::new()).await.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        };
        match tokio::time::timeout(PROBE_LIMIT, probe).await {
            Ok(Ok(())) => notifier.alive(),
            Ok(Err(why)) => tracing::error!(why, "the watchdog is not fed"),
            Err(_) => tracing::error!("the watchdog is not fed: a probe took too long"),
        }
    }
}

fn loopback(addr: SocketAddr) -> std::net::IpAddr {
    match addr.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}

/// Makes the spoken apology as soon as speech works.
pub(super) async fn apology(
    apology: Arc<Apology>,
    synthesizer: Arc<dyn Synthesizer>,
    workers: Workers,
    config: Arc<Config>,
    stop: CancellationToken,
) {
    let request = SpeechRequest {
        text: String::new(),
        voice: None,
        language: Some(config.voice.reply.language.clone()).filter(|language| !language.is_empty()),
    };
    while !apology.made() {
        let made = tokio::select! {
            made = apology.make(&*synthesizer, request.clone(), &workers, &config.voice.opus) => made,
            () = stop.cancelled() => return,
        };
        let Err(error) = made else { return };
        tracing::debug!(error, "the apology is not made yet");
        tokio::select! {
            () = tokio::time::sleep(APOLOGY_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}
