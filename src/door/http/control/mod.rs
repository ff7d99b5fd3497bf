//! The control API: what programs of operators ask over HTTP, under `/v1/`, in the shapes of OpenCane's.
//!
//! Here are transport, identities and limits. What an operation does is behind [`Admin`], as for the command line; this
//! room knows no store, no session and no device but by its id.

mod caller;
mod devices;
mod document;
mod endpoint;
mod fault;
mod guard;
mod metrics;
mod nonces;
mod operations;
mod page;
mod runtime;
mod settings;
mod tasks;
mod telemetry;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;

pub use guard::Peer;
pub use metrics::Metrics;
pub use settings::{Settings, Signature};

use super::Routes;
use super::devices::rate::Rates;
use crate::admin::Admin;
use crate::domain::Clock;
use crate::door::credentials::Credentials;
use crate::door::quiet::Quiet;
use endpoint::Endpoint;
use nonces::Nonces;

/// What the API is made of.
pub struct Parts {
    /// What is done.
    pub admin: Arc<dyn Admin>,
    /// Who may ask.
    pub credentials: Arc<Credentials>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
}

/// The API. Share it as an `Arc`.
pub struct Api {
    settings: Settings,
    admin: Arc<dyn Admin>,
    credentials: Arc<Credentials>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    endpoints: Vec<Endpoint>,
    document: Arc<Value>,
    operators: Rates<Arc<str>>,
    strangers: Rates,
    nonces: Nonces,
    /// KB of bodies that may still be read.
    bodies: Semaphore,
    quiet: Quiet,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Api {
    /// The API as `settings` say.
    pub fn new(settings: Settings, parts: Parts) -> Arc<Self> {
        let Parts { admin, credentials, clock, metrics } = parts;
        let endpoints = table();
        let kb = usize::try_from(settings.bodies.0 >> 10).unwrap_or(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            document: Arc::new(document::document(&endpoints)),
            endpoints,
            operators: Rates::of(settings.requests_per_minute, settings.counted),
            strangers: Rates::of(settings.strangers_per_minute, settings.counted),
            nonces: Nonces::new(&settings, clock.wall()),
            bodies: Semaphore::new(kb.min(Semaphore::MAX_PERMITS)),
            quiet: Quiet::default(),
            settings,
            admin,
            credentials,
            clock,
            metrics,
        })
    }

    /// Its routes; each request must have a [`Peer`].
    pub fn routes(self: &Arc<Self>) -> Routes {
        guard::router(self)
    }

    /// How long a connection may take.
    pub fn patience(&self) -> Duration {
        guard::patience(self.settings.timeout.0)
    }

    /// Everybody who reaches it is an administrator.
    pub fn is_open(&self) -> bool {
        !self.settings.auth
    }
}

/// Every endpoint.
fn table() -> Vec<Endpoint> {
    let tables = [devices::table(), operations::table(), tasks::table(), runtime::table(), telemetry::table()];
    tables.into_iter().flatten().collect()
}

/// The OpenAPI document of this version.
pub fn openapi() -> Value {
    document::document(&table())
}
