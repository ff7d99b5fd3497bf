//! The devices' WebSocket: a board with stock xiaozhi firmware, or a browser, opens one for each conversation; OpenCane's
//! devices keep theirs.
//!
//! In the order in which a message travels: `upgrade` and `cane` (who is it), `talk` (one connection), `link` (what waits for it).
//! Its routes are mounted at the devices' HTTP door. Who lets devices in by other means (`door/http/talk`) gives them a
//! [`Place`]. It knows texts and frames, credentials and limits, and nothing of sessions.

mod cane;
mod link;
mod metrics;
mod settings;
mod talk;
#[cfg(test)]
mod tests;
mod upgrade;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use axum::routing::get;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Routes;
use super::devices::Peer;
use crate::domain::{Arrivals, Clock, DeviceId, Ingress, Link, LinkId, LinkPacket, PacketKind, QoS, dialect};
use crate::door::credentials::Credentials;
use crate::wire::xiaozhi::frames::Version;
use link::Socket;

pub use metrics::Metrics;
pub use settings::Settings;

/// What the door is made of besides its settings.
#[derive(Clone)]
pub struct Parts {
    /// Where what devices say goes.
    pub ingress: Arc<dyn Ingress>,
    /// Who may come in.
    pub credentials: Arc<Credentials>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Numbers of messages and connections, one count for all doors.
    pub arrivals: Arrivals,
    /// Counters.
    pub metrics: Metrics,
    /// Its connections.
    pub tasks: TaskTracker,
    /// Ends them.
    pub stop: CancellationToken,
}

/// What all connections share.
struct Door {
    settings: Settings,
    parts: Parts,
    /// The one conversation of each device.
    open: Mutex<HashMap<DeviceId, Arc<Socket>>>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

/// The conversations of all devices over WebSocket, whoever let them in. Clones share them.
#[derive(Debug, Clone)]
pub struct Conversations(Arc<Door>);

impl Conversations {
    /// None yet.
    pub fn new(settings: Settings, parts: Parts) -> Self {
        Self(Arc::new(Door { settings, parts, open: Mutex::default() }))
    }

    /// The routes of boards, none when they are switched off. With and without the last slash, since firmware follows
    /// no redirect.
    pub fn routes(&self) -> Routes {
        if !self.0.settings.enabled {
            return Routes::new();
        }
        Routes::new()
            .route("/xiaozhi/v1", get(upgrade::upgrade))
            .route("/xiaozhi/v1/", get(upgrade::upgrade))
            .with_state(Arc::clone(&self.0))
    }

    /// The routes of OpenCane's devices, none when they are switched off. They ask for the root, or for whatever their
    /// configuration has behind the port.
    pub fn cane_routes(&self) -> Routes {
        if !self.0.settings.opencane {
            return Routes::new();
        }
        Routes::new()
            .route("/", get(cane::upgrade))
            .route("/ws", get(cane::upgrade))
            .route("/opencane", get(cane::upgrade))
            .with_state(Arc::clone(&self.0))
    }

    /// Ends the conversation of a device that has another password, or none any more.
    pub fn end_device(&self, device: &DeviceId) {
        self.0.end(device);
    }

    /// A place for a device, at this peer, that proved itself while the credentials' generation was this; its former conversation is
    /// ended. None: there is no room, or somebody's credentials changed meanwhile.
    pub(super) fn enter(&self, device: &DeviceId, peer: &Peer, generation: u64) -> Option<Place> {
        let socket = self.0.enter(device, peer, generation, dialect::XIAOZHI).ok()?;
        Some(Place { door: Arc::clone(&self.0), device: device.clone(), socket })
    }
}

/// A conversation that has a place and no connection yet; dropped, it gives the place back.
pub(super) struct Place {
    door: Arc<Door>,
    device: DeviceId,
    socket: Arc<Socket>,
}

impl Place {
    /// Sends a text before anything else.
    pub fn say(&self, text: String) {
        let (topic, payload) = (Arc::from(""), text.into());
        // an empty queue takes it
        let _ = self.socket.send(LinkPacket { topic, payload, qos: QoS::AtMostOnce, kind: PacketKind::Control });
    }

    /// Serves it, with frames of the first version.
    pub fn serve(self, upgrade: WebSocketUpgrade, peer: SocketAddr) -> Response {
        upgrade::serve(self, talk::Tongue::Board(Version::One), upgrade, peer)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.leave(&self.device, self.socket.link);
    }
}

impl Door {
    /// Takes a new conversation in; the device's former one is ended.
    fn enter(
        &self,
        device: &DeviceId,
        peer: &Peer,
        generation: u64,
        dialect: &'static str,
    ) -> Result<Arc<Socket>, Shut> {
        let most = (self.settings.queue_packets, self.settings.queue_bytes.len());
        let addresses = peer.local().map(|local| (local, peer.address().ip()));
        let socket = Arc::new(Socket::new(self.parts.arrivals.link(), addresses, dialect, most));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.contains_key(device) && open.len() >= self.settings.connections {
            return Err(Shut::Full);
        }
        let former = open.insert(device.clone(), Arc::clone(&socket));
        self.parts.metrics.open(open.len());
        drop(open);
        if let Some(former) = former {
            former.end("replaced");
        }
        // who ends a device's conversation after a change saw either this one, or is seen here
        if self.parts.credentials.generation() != generation {
            self.leave(device, socket.link);
            return Err(Shut::Changed);
        }
        Ok(socket)
    }

    fn end(&self, device: &DeviceId) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = open.get(device) {
            socket.end("revoked");
        }
    }

    fn leave(&self, device: &DeviceId, link: LinkId) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.get(device).is_some_and(|socket| socket.link == link) {
            open.remove(device);
        }
        self.parts.metrics.open(open.len());
    }
}

/// Why a device that proved itself has no place.
enum Shut {
    Full,
    /// Somebody's credentials changed while it proved itself.
    Changed,
}
