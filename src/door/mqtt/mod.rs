//! The MQTT door: 3.1.1 and 5 on one port, terminated here.
//!
//! A device's uplinks go straight to the [`Ingress`] with the proven identity; its downlinks come through its
//! [`crate::domain::Link`]; everything else meets on the [`Bus`]. It must not know sessions or what a message means.

mod accept;
mod broker;
mod bus;
mod client;
pub mod codec;
mod connection;
mod ending;
mod gate;
mod handshake;
mod hub;
mod inside;
mod memory;
mod message;
mod metrics;
mod owed;
mod registry;
mod seat;
mod settings;
mod socket;
mod sys;
mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use bus::{Bus, BusParts};
pub use ending::Ending;
pub use hub::Spilt;
pub use inside::{Barred, Gauge, NoPlace, Parcel, Place, Posting, Room};
pub use message::Message;
pub use metrics::Metrics;
pub use settings::{BusSettings, Limits, Settings};
pub use transport::{
    ClientCertificates, Listener, TlsError, TlsSettings, TlsVersion, WebSocketSettings, WebSocketTlsSettings,
};

use crate::domain::{Arrivals, Clock, Commands, DeviceId, Ingress};
use crate::door::credentials::Credentials;
use crate::door::rights::Rights;
use crate::topics::Table;
use gate::Gate;
use transport::tls::{Tls, reload};

pub use transport::tls::Certificate;

/// What the door talks to.
#[derive(Clone)]
pub struct Parts {
    /// Where devices' uplinks go.
    pub ingress: Arc<dyn Ingress>,
    /// Where operators' commands go.
    pub commands: Arc<dyn Commands>,
    /// Who may come in.
    pub credentials: Arc<Credentials>,
    /// The topics.
    pub table: Arc<Table>,
    /// Who may do what.
    pub rights: Arc<Rights>,
    /// The bus to operators' clients.
    pub bus: Arc<Bus>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Numbers of messages and connections, one count for all doors.
    pub arrivals: Arrivals,
    /// Counters.
    pub metrics: Metrics,
}

/// Why the door does not open.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The address cannot be bound.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate, its key, or what clients' certificates are checked against.
    #[error("{0}")]
    Tls(#[from] TlsError),
}

/// Bound listeners that do not accept yet.
#[derive(Debug)]
pub struct Door {
    gate: Arc<Gate>,
    bound: Vec<(Listener, std::net::TcpListener)>,
    addrs: Vec<(Listener, SocketAddr)>,
}

impl Door {
    /// Reads the certificate where one is needed, and binds the addresses; clients wait in the backlog until
    /// [`Door::run`].
    pub fn bind(settings: Settings, parts: Parts) -> Result<Self, DoorError> {
        let tls = if settings.wants_tls() {
            Some(Arc::new(Tls::open(settings.tls.clone(), parts.clock.clone(), parts.metrics.clone())?))
        } else {
            None
        };
        let (mut bound, mut addrs) = (Vec::new(), Vec::new());
        for (listener, addr) in settings.listeners() {
            let failed = |source| DoorError::Listen { addr, source };
            let socket = socket::listen(addr).map_err(failed)?;
            addrs.push((listener, socket.local_addr().map_err(failed)?));
            bound.push((listener, socket));
        }
        if settings.bring_up {
            let from = if settings.bring_up_anywhere { "every address" } else { "loopback" };
            tracing::warn!(?addrs, from, "bring-up mode: clients without credentials are admitted, do not leave it on");
        }
        if settings.anonymous {
            let from = if settings.anonymous_anywhere { "every address" } else { "loopback" };
            tracing::warn!(
                ?addrs,
                from,
                "anonymous clients are admitted, with what rules give to anonymous and everyone"
            );
        }
        Ok(Self { gate: Arc::new(Gate::new(settings, tls, parts)), bound, addrs })
    }

    /// The bound addresses, at least one.
    pub fn addrs(&self) -> &[(Listener, SocketAddr)] {
        &self.addrs
    }

    /// The bound address of one kind of listener.
    pub fn addr_of(&self, listener: Listener) -> Option<SocketAddr> {
        self.addrs.iter().find(|(kind, _)| *kind == listener).map(|(_, addr)| *addr)
    }

    /// A handle that outlives [`Door::run`]'s borrow: counts and ends connections.
    pub fn control(&self) -> DoorControl {
        DoorControl(self.gate.clone())
    }

    /// Serves until `stop`; returns when all connections have ended, or after the grace. The bus must outlive it.
    pub async fn run(self, stop: CancellationToken) -> Result<(), DoorError> {
        let watching = self.gate.tls.clone().map(|tls| reload::watch(tls, stop.clone()));
        let watching = async {
            if let Some(watching) = watching {
                watching.await;
            }
        };
        let house = self.gate.clone().keep_house(stop.clone());
        let (ended, (), ()) = tokio::join!(accept::run(self.gate, self.bound, stop), watching, house);
        ended
    }
}

/// What others may do to the door's connections.
#[derive(Debug, Clone)]
pub struct DoorControl(Arc<Gate>);

impl DoorControl {
    /// Open connections.
    pub fn connections(&self) -> usize {
        self.0.registry.len()
    }

    /// Bytes that clients' messages take in memory, of `mqtt.limits.memory`.
    pub fn memory(&self) -> usize {
        self.0.broker.memory().used()
    }

    /// How long the accept loop has not gone round; up to a second when it is well.
    pub fn not_accepting_for(&self) -> Duration {
        self.0.not_accepting_for()
    }

    /// A place inside the broker for a part of the gateway: what `filters` match waits there for it, on disk. Each is
    /// a filter and the QoS that its copies have at most. One owner a name.
    pub async fn place(&self, name: &str, room: Room, filters: &[(String, u8)]) -> Result<Place, NoPlace> {
        Place::open(Arc::clone(&self.0), name, room, filters).await
    }

    /// Ends places that are not wanted any more; their names, and how many messages waited there.
    pub fn forget_places(&self, wanted: impl Fn(&str) -> bool) -> Vec<(Arc<str>, usize)> {
        self.0.broker.forget_inside(&wanted)
    }

    /// The certificate that its listeners show; none when none of them speaks TLS.
    pub fn certificate(&self) -> Option<Certificate> {
        self.0.tls.clone().map(Certificate::new)
    }

    /// Looks at the certificate's files now; changed ones serve the next connections.
    pub fn reload_certificate(&self) {
        if let Some(tls) = &self.0.tls {
            tls.reload();
        }
    }

    /// Ends all connections of a device, as when it is removed.
    pub fn end_device(&self, device: &DeviceId, reason: &'static str) {
        // in this order: who is just coming in sees that he is ended, and leaves no session behind
        self.0.registry.end_device(device, Ending::Closed(reason));
        self.0.broker.forget_user(device.as_str());
    }

    /// Ends all connections of an operator, as when he is removed.
    pub fn end_operator(&self, name: &str, reason: &'static str) {
        self.0.registry.end_user(name, Ending::Closed(reason));
        self.0.broker.forget_user(name);
    }
}

#[cfg(test)]
mod tests;
