//! Photos of boards with cameras: each comes over a connection of its own, while a turn of its session waits for what is
//! said about it.
//!
//! In the order in which a photo travels: `passes` (whose is it), `upload` (limits, the answer), `form` (what is in it).
//! Its route is mounted at the devices' HTTP door. It knows tokens and limits, and nothing of sessions or models.

mod form;
mod metrics;
mod passes;
mod settings;
mod upload;

use std::fmt;
use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::Routes;
use super::devices::Limits;
use super::devices::rate::Rates;
use crate::domain::{Clock, DeviceId, Sight};
use crate::door::quiet::Quiet;

pub use metrics::Metrics;
pub use passes::Passes;
pub use settings::Settings;

/// Where boards send photos.
pub const PATH: &str = "/xiaozhi/vision";

/// What the door is made of besides its settings.
pub struct Parts {
    /// Who may send photos.
    pub passes: Arc<Passes>,
    /// Who looks at them.
    pub sight: Arc<dyn Sight>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Metrics,
    /// Photos under way; each is written down before its task ends.
    pub tasks: TaskTracker,
    /// Of the listener: requests of one address.
    pub limits: Limits,
}

/// What all photos share.
struct Door {
    settings: Settings,
    parts: Parts,
    quiet: Quiet,
    addresses: Rates,
    devices: Rates<DeviceId>,
    places: Arc<Semaphore>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

/// The route: with and without the last slash, since firmware follows no redirect.
pub fn routes(settings: Settings, parts: Parts) -> Routes {
    if !settings.enabled {
        return Routes::new();
    }
    let limit = DefaultBodyLimit::max(settings.size.len() + form::REST);
    let door = Arc::new(Door {
        quiet: Quiet::default(),
        addresses: Rates::new(&parts.limits),
        devices: Rates::of(settings.per_minute, parts.limits.addresses),
        places: Arc::new(Semaphore::new(settings.at_once)),
        settings,
        parts,
    });
    let with_slash = format!("{PATH}/");
    Routes::new()
        .route(PATH, post(upload::upload))
        .route(&with_slash, post(upload::upload))
        .route_layer(limit)
        .with_state(door)
}
