//! The devices' WebSocket: a board with stock xiaozhi firmware, or a browser, opens one for each conversation.
//!
//! In the order in which a message travels: `upgrade` (who is it), `talk` (one connection), `link` (what waits for it).
//! Its routes are mounted at the devices' HTTP door. It knows texts and frames, credentials and limits, and nothing of
//! sessions.

mod link;
mod metrics;
mod settings;
mod talk;
#[cfg(test)]
mod tests;
mod upgrade;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::routing::get;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Routes;
use crate::domain::{Arrivals, Clock, DeviceId, Ingress, LinkId};
use crate::door::credentials::Credentials;
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

/// The routes: with and without the last slash, since firmware follows no redirect.
pub fn routes(settings: Settings, parts: Parts) -> Routes {
    if !settings.enabled {
        return Routes::new();
    }
    let door = Arc::new(Door { settings, parts, open: Mutex::default() });
    Routes::new()
        .route("/xiaozhi/v1", get(upgrade::upgrade))
        .route("/xiaozhi/v1/", get(upgrade::upgrade))
        .with_state(door)
}

impl Door {
    /// Takes a new conversation in; the device's former one is ended. False: there is no room.
    fn enter(&self, device: &DeviceId, socket: &Arc<Socket>) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.contains_key(device) && open.len() >= self.settings.connections {
            return false;
        }
        let former = open.insert(device.clone(), Arc::clone(socket));
        self.parts.metrics.open(open.len());
        drop(open);
        if let Some(former) = former {
            former.end("replaced");
        }
        true
    }

    fn leave(&self, device: &DeviceId, link: LinkId) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.get(device).is_some_and(|socket| socket.link == link) {
            open.remove(device);
        }
        self.parts.metrics.open(open.len());
    }
}
