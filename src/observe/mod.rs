//! What the gateway shows of itself: logs, metrics, health, and word to systemd.
//!
//! Every room may import this one; it knows none of them. Each room owns its metrics and registers
//! them in the [`Registry`](prometheus_client::registry::Registry) that the app builds with [`registry`].

pub mod health;
pub mod logging;
pub mod metrics;
pub mod notify;
mod process;

pub use health::{Component, Health, State, Verdict};
pub use logging::{LogError, LogFormat};
pub use metrics::{BuildInfo, encode, reference, registry};
pub use notify::Notifier;
pub use process::{Cost, cost, cost_of, load};
