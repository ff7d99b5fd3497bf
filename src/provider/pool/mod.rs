//! The services of one capability: which is asked, how many requests at once, and who takes the place of one that fails or is
//! slow, within the same turn.
//!
//! A service that fails before it has said anything is replaced by the next; what was said once is not taken back. One that
//! is slow is not waited for alone. One that fails again and again is left alone for a while. When all are left alone, the
//! one whose time ends first is asked all the same: a slow answer is better than none.

mod breaker;
mod complexity;
mod gate;
mod keeper;
mod metrics;
mod order;
mod race;
mod retry;
mod settings;
mod streams;
#[cfg(test)]
mod tests;
mod ticket;
mod weights;
mod whole;
mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use breaker::Breaker;
use gate::Gate;
use window::Window;

pub use breaker::Standing;
pub use keeper::{Kept, Pools, Probe, View};
pub use metrics::Metrics;
pub use settings::{Settings, Suits, Terms};
pub use weights::Why;

use super::Urgency;
use crate::domain::Clock;

/// What pools share.
#[derive(Clone)]
pub struct Parts {
    /// `[providers.pool]`.
    pub settings: Settings,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random bits.
    pub random: Arc<dyn Fn() -> u128 + Send + Sync>,
    /// What is counted.
    pub metrics: Metrics,
}

/// One service of a pool.
pub struct Member<P: ?Sized> {
    /// The service.
    pub provider: Arc<P>,
    /// Its `type` in the configuration.
    pub kind: &'static str,
    /// What is said of it there.
    pub terms: Terms,
    /// How to see that it is back; none: only a request can tell.
    pub probe: Option<Arc<dyn Probe>>,
}

impl<P: ?Sized> Member<P> {
    /// A service of which nothing is said.
    pub fn plain(provider: Arc<P>) -> Self {
        Self { provider, kind: "", terms: Terms::default(), probe: None }
    }
}

/// The services of one capability, the first of them first. Clones share what is known of them.
pub struct Pool<P: ?Sized> {
    inner: Arc<Inner<P>>,
}

struct Inner<P: ?Sized> {
    capability: &'static str,
    routes: Vec<Route<P>>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Fn() -> u128 + Send + Sync>,
    metrics: Metrics,
    allowance: race::Allowance,
}

struct Route<P: ?Sized> {
    provider: Arc<P>,
    kind: &'static str,
    terms: Terms,
    probe: Option<Arc<dyn Probe>>,
    breaker: Arc<Breaker>,
    gate: Arc<Gate>,
    window: Mutex<Window>,
    why: Mutex<Why>,
}

impl<P: ?Sized> Route<P> {
    fn window(&self) -> MutexGuard<'_, Window> {
        // numbers that are pushed and counted
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn why(&self) -> MutexGuard<'_, Why> {
        // one assignment is all that is ever done under it
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: ?Sized> Clone for Pool<P> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<P: ?Sized> Pool<P> {
    /// A pool of these; none when there are none.
    pub fn new(capability: &'static str, members: Vec<Member<P>>, parts: &Parts) -> Option<Self> {
        let Parts { settings, clock, random, metrics } = parts.clone();
        let route = |(n, member): (usize, Member<P>)| {
            let Member { provider, kind, terms, probe } = member;
            let (n, at_once) = (number(n), terms.at_once);
            metrics.weight(capability, n, f64::from(terms.weight.unwrap_or(1)));
            Route {
                provider,
                kind,
                terms,
                probe,
                breaker: Breaker::new(&settings, Arc::clone(&clock), metrics.left_alone(capability, n)),
                gate: Gate::new(at_once, settings.queue, Arc::clone(&clock), metrics.at_gate(capability, n)),
                window: Mutex::default(),
                why: Mutex::default(),
            }
        };
        let routes: Vec<_> = members.into_iter().enumerate().map(route).collect();
        let allowance = race::Allowance::new(settings.hedge_share);
        let inner = Inner { capability, routes, settings, clock, random, metrics, allowance };
        (!inner.routes.is_empty()).then(|| Self { inner: Arc::new(inner) })
    }
}

impl<P: ?Sized + Send + Sync + 'static> Pool<P> {
    /// For those who look after pools.
    pub fn kept(&self) -> Arc<dyn Kept> {
        Arc::clone(&self.inner) as Arc<dyn Kept>
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// What a pool has to know of a request.
#[derive(Debug, Clone, Copy)]
struct Want {
    urgency: Urgency,
    complexity: Option<complexity::Complexity>,
    /// It continues what somebody hears already: better late than not at all.
    begun: bool,
    /// Only the service that is to be asked first is wanted, and nobody in its place.
    alone: bool,
}
