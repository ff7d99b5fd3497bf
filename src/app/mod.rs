//! The gateway: starts its parts, knows their addresses, stops them. The only room that knows every part.

mod answers;
mod boards;
mod caches;
mod commands;
pub mod durable;
mod errands;
mod health;
mod home;
mod housekeeping;
mod metrics;
mod operators;
mod photos;
mod start;
mod watchdog;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use metrics::reference as metrics_reference;
pub use operators::{Offline, Operators};

pub use crate::door::authority;
pub use crate::pipeline::voice::{Clauses, Providers};
pub use crate::session::stage;

use crate::admin::{Admin, AdminError, NewDevice};
use crate::config::Config;
use crate::domain::{Clock, DeviceId, ListenMode, SystemClock};
use crate::observe::Notifier;
use crate::sim::device::Login;
use crate::store::SledStore;

/// What comes from outside, besides the configuration.
#[derive(Clone)]
pub struct Outside {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random bits.
    pub random: Arc<dyn Fn() -> u128 + Send + Sync>,
    /// The service manager.
    pub notifier: Notifier,
    /// Takes the place of the configured providers: tests and benches.
    pub providers: Option<Providers>,
    /// Where the configuration was read, and is read anew when that is asked; none: there is no file.
    pub file: Option<PathBuf>,
}

impl Default for Outside {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(rand::random::<u128>),
            notifier: Notifier::from_env(),
            providers: None,
            file: None,
        }
    }
}

/// Why the gateway does not start. The text says what, where and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error("{0}")]
    Store(#[from] crate::store::StoreError),
    /// The data directory cannot be used.
    #[error("the data directory {0} cannot be used: {1}; name another in gateway.data_dir, or mend its owner and mode")]
    DataDir(PathBuf, std::io::Error),
    /// A listener.
    #[error("{0}")]
    Door(#[from] crate::door::mqtt::DoorError),
    /// The socket for datagrams.
    #[error("{0}")]
    Udp(#[from] crate::door::udp::UdpError),
    /// A bridge.
    #[error("{0}")]
    Bridge(#[from] crate::bridge::BridgeError),
    /// The HTTP listener.
    #[error("{0}")]
    Http(#[from] crate::door::http::operators::HttpError),
    /// The devices' HTTP listener.
    #[error("{0}")]
    Devices(#[from] crate::door::http::devices::DevicesError),
    /// The firmware that boards are offered.
    #[error("{0}")]
    Firmware(#[from] crate::door::firmware::FirmwareError),
    /// The control socket.
    #[error("{0}")]
    Control(#[from] crate::admin::ControlError),
    /// The credentials.
    #[error("{0}")]
    Credentials(#[from] crate::door::credentials::CredentialsError),
    /// The topic table.
    #[error("the topic table is wrong: {0}")]
    Topics(#[from] crate::topics::TopicsError),
    /// The codec threads.
    #[error("{0}")]
    Workers(#[from] crate::audio::WorkersError),
    /// A provider.
    #[error("{0}")]
    Providers(#[from] crate::provider::SetupError),
    /// The policy packs.
    #[error("{0}")]
    Policy(#[from] crate::policy::PolicyError),
    /// The words of tasks.
    #[error("{0}")]
    Words(#[from] crate::tasks::WordsError),
    /// What works on tasks.
    #[error("{0}")]
    Tasks(#[from] crate::tasks::SetupError),
    /// The token for calls for help.
    #[error("sos.token_file cannot be read: {0}")]
    SosToken(std::io::Error),
    /// The HTTP client.
    #[error("{0}")]
    Client(#[from] crate::provider::http::HttpError),
    /// The engine process said nothing.
    #[error("the engine process does not say where it listens: {0}")]
    Engine(String),
    /// A thread of the start died.
    #[error("the start was interrupted: {0}")]
    Interrupted(String),
}

/// Where the gateway listens.
#[derive(Debug, Clone)]
pub struct Addrs {
    /// MQTT: the first of `mqtt_listeners`, the plain one unless it is switched off.
    pub mqtt: SocketAddr,
    /// Every listener for MQTT, with its name (`mqtt`, `mqtts`, `mqtt-ws`, `mqtt-wss`).
    pub mqtt_listeners: Vec<(&'static str, SocketAddr)>,
    /// The devices' HTTP; none when switched off.
    pub devices: Option<SocketAddr>,
    /// Where it listens too.
    pub devices_also: Vec<SocketAddr>,
    /// Audio of devices that send it as datagrams; none when switched off.
    pub udp: Option<SocketAddr>,
    /// Metrics and health; none when switched off.
    pub http: Option<SocketAddr>,
    /// The control socket.
    pub control: PathBuf,
}

/// A running gateway.
pub struct Gateway {
    addrs: Addrs,
    operators: Arc<Operators>,
    /// First: no new connection, sessions end, what they promised is written.
    stop: CancellationToken,
    /// Then: bridges, which still tell the other brokers that the gateway stops.
    stop_bridges: CancellationToken,
    /// Last: the bus.
    stop_bus: CancellationToken,
    tasks: TaskTracker,
    bridge_tasks: TaskTracker,
    bus_tasks: TaskTracker,
    router: crate::router::Router,
    answers: Arc<answers::Answers>,
    store: Arc<SledStore>,
    notifier: Notifier,
    watchdog: watchdog::Watchdog,
    bus: Arc<crate::door::mqtt::Bus>,
}

impl Gateway {
    /// Starts all parts. When it returns, the listeners are bound and the store is open.
    pub async fn start(config: Config, outside: Outside) -> Result<Self, StartError> {
        // the start of all parts is a large future, and only one
        Box::pin(start::start(config, outside)).await
    }

    /// Where it listens.
    pub fn addrs(&self) -> &Addrs {
        &self.addrs
    }

    /// The operators' operations, without a socket between.
    pub fn operators(&self) -> Arc<Operators> {
        Arc::clone(&self.operators)
    }

    /// Makes a device (in the place of one of the same name) and tells how a simulated one connects as it.
    pub async fn login(&self, id: &DeviceId, mode: ListenMode) -> Result<Login, AdminError> {
        let credential = self.operators.device_add(NewDevice::anew(id.clone(), mode)).await?;
        let secret = credential.secret.map(|secret| secret.0).unwrap_or_default();
        let mqtt = self.addrs.mqtt;
        Ok(Login { host: mqtt.ip().to_string(), port: mqtt.port(), id: id.clone(), secret })
    }

    /// What turns that begin now ask.
    pub fn providers(&self) -> Arc<Providers> {
        self.answers.providers()
    }

    /// Reads the configuration anew, and looks at the files of certificates. What came of it is in the log.
    pub async fn reload(&self) {
        self.operators.door.reload_certificate();
        // it is told where it happens
        let _ = self.operators.config_reload().await;
    }

    /// What the watchdog looks at: what does not work, if anything.
    pub async fn alive(&self) -> Result<(), String> {
        self.watchdog.look().await
    }

    /// Resolves when a part has died without which nothing may be promised.
    pub async fn failed(&self) -> String {
        let mut every = tokio::time::interval(Duration::from_secs(1));
        loop {
            every.tick().await;
            if !self.store.health().writer {
                return "the store's writer has died".to_owned();
            }
            if self.stop.is_cancelled() {
                return std::future::pending().await;
            }
        }
    }

    /// Stops: sessions end and write what they promised, connections are told, the store is flushed.
    pub async fn stop(self, grace: Duration) {
        self.notifier.stopping();
        self.stop.cancel();
        let ended = async {
            self.router.stopped().await;
            self.tasks.close();
            self.tasks.wait().await;
        };
        if tokio::time::timeout(grace, ended).await.is_err() {
            tracing::warn!(?grace, "not everything ended within the grace");
        }
        let last_words = async {
            self.bus.flushed().await;
            self.stop_bridges.cancel();
            self.bridge_tasks.close();
            self.bridge_tasks.wait().await;
        };
        if tokio::time::timeout(Duration::from_secs(3), last_words).await.is_err() {
            self.stop_bridges.cancel();
            tracing::warn!("the bridges did not end in time, what they have not sent waits for the next start");
        }
        self.stop_bus.cancel();
        self.bus_tasks.close();
        if tokio::time::timeout(Duration::from_secs(2), self.bus_tasks.wait()).await.is_err() {
            tracing::warn!("the bus did not end in time");
        }
        self.store.close().await;
        tracing::info!("stopped");
    }
}

#[cfg(test)]
mod tests;
