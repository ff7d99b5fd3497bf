//! The services of one capability: the first is asked first, the others stand in for it, within the same turn.
//!
//! A service that fails before it has said anything is replaced by the next; what was said once is not taken back. One
//! that fails again and again is left alone for a while. When all are left alone, the one whose time ends first is asked
//! all the same: a slow answer is better than none.

mod breaker;
mod metrics;
mod settings;
mod streams;
#[cfg(test)]
mod tests;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use breaker::{Breaker, Leave};
pub use metrics::Metrics;
pub use settings::Settings;

use super::{ErrorKind, ProviderError};
use crate::domain::Clock;

/// What pools share.
#[derive(Debug, Clone)]
pub struct Parts {
    /// `[providers.pool]`.
    pub settings: Settings,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
}

/// The services of one capability, the first of them first. Clones share what is known of them.
pub struct Pool<P: ?Sized> {
    inner: Arc<Inner<P>>,
}

struct Inner<P: ?Sized> {
    capability: &'static str,
    routes: Vec<Route<P>>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

struct Route<P: ?Sized> {
    provider: Arc<P>,
    breaker: Arc<Breaker>,
}

impl<P: ?Sized> Clone for Pool<P> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<P: ?Sized> Pool<P> {
    /// A pool of these; none when there are none.
    pub fn new(capability: &'static str, providers: Vec<Arc<P>>, parts: &Parts) -> Option<Self> {
        let Parts { settings, clock, metrics } = parts;
        let route = |(n, provider)| {
            let left_alone = metrics.left_alone(capability, number(n));
            Route { provider, breaker: Breaker::new(settings.clone(), Arc::clone(clock), left_alone) }
        };
        let routes: Vec<_> = providers.into_iter().enumerate().map(route).collect();
        let (clock, metrics) = (Arc::clone(clock), metrics.clone());
        (!routes.is_empty()).then(|| Self { inner: Arc::new(Inner { capability, routes, clock, metrics }) })
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Who was asked in this request.
#[derive(Debug, Default)]
struct Asked {
    next: usize,
    any: bool,
}

impl<P: ?Sized> Inner<P> {
    /// The next service to ask; none when all were. Those that are left alone are passed over, unless all are.
    fn next(&self, asked: &mut Asked) -> Option<(usize, Leave)> {
        while asked.next < self.routes.len() {
            let n = asked.next;
            asked.next += 1;
            if let Some(leave) = self.routes[n].breaker.leave() {
                asked.any = true;
                return Some((n, leave));
            }
            self.metrics.asked(self.capability, number(n), "left_alone");
        }
        if std::mem::replace(&mut asked.any, true) {
            return None;
        }
        let (n, route) = self.routes.iter().enumerate().min_by_key(|(_, route)| route.breaker.until())?;
        Some((n, route.breaker.in_need()))
    }

    /// The first of an answer is here.
    fn heard(&self, n: usize, begun: Duration) {
        let took = self.clock.mono().saturating_sub(begun);
        self.metrics.first(self.capability, number(n), took.as_secs_f64());
    }

    fn answered(&self, n: usize, leave: Leave) {
        self.metrics.asked(self.capability, number(n), "answered");
        leave.answered();
    }

    fn failed(&self, n: usize, leave: Leave, error: &ProviderError) {
        let (capability, kind) = (self.capability, error.kind.name());
        tracing::warn!(capability, route = n, kind, %error, "a service failed");
        self.metrics.asked(capability, number(n), kind);
        leave.failed(error);
    }

    /// A pool is never empty: somebody is always asked.
    fn nobody(&self) -> ProviderError {
        ProviderError::new(ErrorKind::NotConfigured, self.capability, "there is no service")
    }
}
