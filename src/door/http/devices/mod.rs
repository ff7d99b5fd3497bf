//! The devices' HTTP door: where a board with stock xiaozhi firmware begins.
//!
//! `bootstrap` answers who asks for credentials, `activate` who asks whether it was claimed, `downloads` sends
//! firmware. Other routes of devices (their WebSocket, uploads of pictures) are mounted beside these with
//! [`Server::run`]; what they need of a connection is [`Peer`]. It knows credentials, enrolment and firmware, and
//! nothing of sessions.

mod activate;
mod answer;
mod bootstrap;
mod downloads;
mod listen;
mod metrics;
mod origin;
pub(super) mod rate;
pub(super) mod refusal;
mod request;
mod routes;
mod settings;
#[cfg(test)]
mod tests;
mod whereabouts;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::domain::Clock;
use crate::door::credentials::Credentials;
use crate::door::enrolment::Enrolment;
use crate::door::firmware::Catalogue;
use crate::door::mqtt::Certificate;
use crate::door::quiet::Quiet;

use super::Routes;
use rate::Rates;

pub use listen::Peer;
pub use metrics::Metrics;
pub use settings::{Limits, Public, Settings};
pub use whereabouts::Whereabouts;

/// Where the WebSocket of devices is, when somebody mounts it.
pub const WEBSOCKET: &str = "/xiaozhi/v1/";

/// Why the door could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "the devices' http cannot listen on {address}: {source}; change devices.listen or devices.also, or stop what listens there"
)]
pub struct DevicesError {
    address: SocketAddr,
    source: io::Error,
}

/// What the door asks.
pub struct Parts {
    /// Who becomes a device.
    pub enrolment: Arc<Enrolment>,
    /// Who is one.
    pub credentials: Arc<Credentials>,
    /// What boards are offered.
    pub firmware: Arc<Catalogue>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Metrics,
    /// Where the other doors are.
    pub doors: Doors,
    /// For HTTPS, when the settings want it.
    pub certificate: Option<Certificate>,
}

/// Where boards go from here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doors {
    /// The port of plain MQTT.
    pub mqtt: Option<u16>,
    /// The port of MQTT over TLS.
    pub mqtts: Option<u16>,
    /// [`WEBSOCKET`] is mounted.
    pub websocket: bool,
}

/// Bound listeners.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    /// As the listeners, that of `devices.listen` first.
    addresses: Vec<SocketAddr>,
    settings: Settings,
    whereabouts: Arc<Whereabouts>,
}

/// What all requests share.
struct Door {
    settings: Settings,
    zone: TimeZone,
    /// Its own port.
    port: u16,
    rates: Rates,
    quiet: Quiet,
    downloads: Arc<Semaphore>,
    whereabouts: Arc<Whereabouts>,
    parts: Parts,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds the listeners; nothing is answered before [`Server::run`].
    pub async fn bind(settings: &Settings) -> Result<Self, DevicesError> {
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for address in std::iter::once(settings.listen).chain(settings.also.iter().copied()) {
            let failed = |source| DevicesError { address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            addresses.push(listener.local_addr().map_err(failed)?);
            listeners.push(listener);
        }
        let port = addresses.first().map_or(settings.listen.port(), SocketAddr::port);
        let whereabouts = Arc::new(Whereabouts::new(settings.clone(), port));
        Ok(Self { listeners, addresses, settings: settings.clone(), whereabouts })
    }

    /// Where each device finds it.
    pub fn whereabouts(&self) -> Arc<Whereabouts> {
        Arc::clone(&self.whereabouts)
    }

    /// Where it listens, the port that was taken for 0 included.
    pub fn address(&self) -> SocketAddr {
        self.addresses.first().copied().unwrap_or(self.settings.listen)
    }

    /// Where it listens too.
    pub fn also(&self) -> &[SocketAddr] {
        self.addresses.get(1..).unwrap_or_default()
    }

    /// Answers until `stop`, then lets running answers end within two seconds. `more` are the routes of others.
    pub async fn run(self, parts: Parts, more: Routes, stop: CancellationToken) {
        let port = self.address().port();
        let Self { listeners, settings, whereabouts, .. } = self;
        let door = Arc::new(Door {
            zone: settings.zone(),
            port,
            rates: Rates::new(&settings.limits),
            quiet: Quiet::default(),
            downloads: Arc::new(Semaphore::new(settings.firmware.downloads)),
            whereabouts,
            settings,
            parts,
        });
        let routes = routes::routes(&door).merge(more);
        listen::run(&door, listeners, routes, stop).await;
    }
}
