//! Bridges to other MQTT brokers, in both directions, that lose nothing while the other one is away.
//!
//! What goes out waits in a kept session of our own broker: on disk, in order, bounded; a message leaves it when the
//! other broker has acknowledged it. What comes in is acknowledged when it is settled here. It must not know devices,
//! sessions of voice, or what a message means.

mod dial;
mod echo;
mod line;
mod metrics;
mod route;
mod settings;
mod tls;
mod trouble;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use metrics::Metrics;
pub use settings::{BridgeSettings, Full, QueueSettings, Role, RouteSettings, Settings, TlsSettings};
pub use tls::TlsError;

use crate::door::mqtt::{DoorControl, Gauge, Room};
use crate::observe::Component;
use dial::Remote;
use line::{Memory, Plan};
use route::Route;
use tls::Connector;
use worker::{Backoff, Random, Shared, Worker};

/// Why a bridge does not start. The text says what, where and how to mend it; it shows no password.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The password cannot be read.
    #[error("the password of bridge {bridge} cannot be read from {from}: {why}; name a file or variable that has it")]
    Password {
        /// Which bridge.
        bridge: String,
        /// Its file or variable.
        from: PathBuf,
        /// What is the matter.
        why: String,
    },
    /// The files for TLS.
    #[error("tls of bridge {bridge}: {source}; name PEM files that fit")]
    Tls {
        /// Which bridge.
        bridge: String,
        /// What is the matter.
        source: TlsError,
    },
    /// The store cannot take the record of its queue.
    #[error("the queue of bridge {0} cannot be kept: the store does not take it; look at the disk")]
    Queue(String),
}

/// The bridges that run.
#[derive(Clone, Default)]
pub struct Bridges(Arc<Vec<Running>>);

struct Running {
    name: String,
    remote: String,
    /// None: it is switched off.
    state: Option<Shared>,
    gauge: Gauge,
}

impl Bridges {
    /// Starts them on `tracker`, until `stop`. Queues of bridges that are not configured any more end, with a word in
    /// the log.
    pub async fn start(
        settings: &Settings,
        gateway: &str,
        door: &DoorControl,
        metrics: &Metrics,
        random: Random,
        (tracker, stop): (&TaskTracker, &CancellationToken),
    ) -> Result<Self, BridgeError> {
        for (name, waited) in
            door.forget_places(|name| is_of_another(name) || settings.0.iter().any(|bridge| bridge.name == *name))
        {
            tracing::warn!(bridge = %name, waited, "bridge is not configured any more, what waited for it is gone");
        }
        let mut running = Vec::new();
        for bridge in &settings.0 {
            let worker = prepare(bridge, gateway, door, metrics, random.clone()).await?;
            let gauge = worker.memory.place.gauge();
            let (name, remote) = (bridge.name.clone(), format!("{}:{}", bridge.host, bridge.port()));
            let state = bridge.enabled.then(|| worker.state.clone());
            running.push(Running { name, remote, state, gauge });
            if bridge.enabled {
                tracker.spawn(worker.run(stop.clone()));
            } else {
                worker.counts.waiting(worker.memory.place.gauge().waiting());
            }
        }
        Ok(Self(Arc::new(running)))
    }

    /// How each of them is.
    pub fn components(&self) -> Vec<Component> {
        self.0.iter().map(Running::component).collect()
    }
}

/// Places whose names no bridge can have are those of other parts.
fn is_of_another(place: &str) -> bool {
    place.starts_with('$')
}

impl Running {
    fn component(&self) -> Component {
        let name = format!("bridge {}", self.name);
        let (messages, bytes) = self.gauge.waiting();
        let waiting = match messages {
            0 => "nothing waits".to_owned(),
            _ => format!("{messages} messages wait ({} KB)", bytes.div_ceil(1 << 10)),
        };
        let lost = match self.gauge.spilt().dropped {
            0 => String::new(),
            n => format!(", {n} were dropped because the queue was full"),
        };
        let remote = &self.remote;
        let Some(state) = &self.state else {
            return Component::ready(name, format!("{remote}, switched off, {waiting}")).optional();
        };
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.trouble {
            _ if state.connected => Component::ready(name, format!("{remote}, {waiting}{lost}")).optional(),
            None => {
                Component::degraded(name, format!("{remote}, connects, {waiting}{lost}"), "wait a moment").optional()
            }
            Some((trouble, remedy)) => {
                let detail = format!("{remote} {trouble}, {waiting}{lost}");
                Component::degraded(name, detail, *remedy).optional()
            }
        }
    }
}

/// Reads what it needs and opens its queue; nothing runs yet.
async fn prepare(
    bridge: &BridgeSettings,
    gateway: &str,
    door: &DoorControl,
    metrics: &Metrics,
    random: Random,
) -> Result<Worker, BridgeError> {
    let name = bridge.name.clone();
    let remote = remote(bridge, gateway).await?;
    let out: Vec<Route> = bridge.out.iter().map(Route::out).collect();
    let plan = Plan {
        incoming: bridge.incoming.iter().map(Route::incoming).collect(),
        max_packet: bridge.max_packet.len(),
        keep_alive: bridge.keep_alive.0,
        commands: bridge.role == Role::Operator,
        out,
    };
    let QueueSettings { messages, bytes, full } = bridge.queue.clone();
    let room = Room { messages, bytes: bytes.len(), refuse: full == Full::Refuse };
    let collected = if bridge.enabled { &plan.out[..] } else { &[] };
    let filters: Vec<_> = collected.iter().map(|route| (route.filter.clone(), route.qos)).collect();
    let place = door.place(&name, room, &filters).await.map_err(|_| BridgeError::Queue(name.clone()))?;
    let memory = Memory { place, echoes: echo::Echoes::default(), subscribed: false, echoing: false };
    let (state, counts) = (Shared::default(), metrics.of(&name));
    let backoff = Backoff::new(bridge.reconnect_min.0, bridge.reconnect_max.0);
    Ok(Worker { name, remote, plan, memory, announce: bridge.announce, state, counts, backoff, random })
}

async fn remote(bridge: &BridgeSettings, gateway: &str) -> Result<Remote, BridgeError> {
    let tls = match bridge.tls.clone() {
        None => None,
        Some(settings) => {
            let (host, name) = (bridge.host.clone(), bridge.name.clone());
            let opened = tokio::task::spawn_blocking(move || Connector::open(&settings, &host)).await;
            // it does not panic, and nobody ends it
            let opened = opened.ok().transpose();
            opened.map_err(|source| BridgeError::Tls { bridge: name, source })?
        }
    };
    Ok(Remote {
        host: bridge.host.clone(),
        port: bridge.port(),
        tls,
        client_id: bridge.client_id.clone().unwrap_or_else(|| format!("{gateway}-{}", bridge.name)),
        username: bridge.username.clone(),
        password: password(bridge).await?,
        clean: bridge.clean,
        keep_alive: u16::try_from(bridge.keep_alive.0.as_secs()).unwrap_or(u16::MAX),
    })
}

async fn password(bridge: &BridgeSettings) -> Result<Option<String>, BridgeError> {
    let failed =
        |from: &Path, why: String| BridgeError::Password { bridge: bridge.name.clone(), from: from.into(), why };
    let password = match (&bridge.password_file, &bridge.password_env) {
        (Some(file), _) => tokio::fs::read_to_string(file).await.map_err(|error| failed(file, error.to_string()))?,
        (None, Some(name)) => std::env::var(name).map_err(|error| failed(Path::new(name), error.to_string()))?,
        (None, None) => return Ok(None),
    };
    Ok(Some(password.trim_end_matches(['\r', '\n']).to_owned()))
}
