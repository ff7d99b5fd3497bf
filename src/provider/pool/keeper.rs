//! Who looks after pools while nobody asks: weights follow what was measured, services that are left alone are looked at.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, join_all};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::breaker::Standing;
use super::order::Choice;
use super::settings::{Settings, Suits};
use super::weights::{Measured, Why, terms};
use super::{Inner, Route, number};
use crate::domain::Span;
use crate::provider::{ErrorKind, ProviderError};

/// A look takes no longer than this.
const LOOK: Duration = Duration::from_secs(5);

/// Looks whether a service is there, without asking it for what it does.
#[async_trait]
pub trait Probe: Send + Sync {
    /// It is there.
    async fn probe(&self) -> Result<(), ProviderError>;
}

/// One service, as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// `stt`, `tts`, `chat`, `embed`, `vision`.
    pub capability: &'static str,
    /// 0 is the service itself, 1 the first that stands in.
    pub route: u32,
    /// Its `type`.
    pub kind: &'static str,
    /// How it stands.
    pub standing: Standing,
    /// The configured weight.
    pub weight: Option<u32>,
    /// What that has become.
    pub present: f64,
    /// Why.
    pub why: Why,
    /// What a request costs.
    pub cost: f64,
    /// Which requests it is for.
    pub suits: Suits,
    /// Requests that it works on.
    pub in_flight: usize,
    /// Requests that wait for it.
    pub queued: usize,
    /// Requests at once.
    pub at_once: Option<u32>,
    /// To the first of an answer, half of the time.
    pub p50: Option<Duration>,
    /// To the first of an answer, 95 of 100 times.
    pub p95: Option<Duration>,
    /// Requests of the last five minutes.
    pub asked: u64,
    /// Those that failed.
    pub failed: u64,
}

/// A pool, to those who look after it.
pub trait Kept: Send + Sync {
    /// Its services.
    fn views(&self) -> Vec<View>;
    /// Computes the weights from what was measured in `period`.
    fn weigh(&self, period: Duration);
    /// Looks at the services that are left alone.
    fn looks(&self) -> Vec<BoxFuture<'static, ()>>;
}

impl<P: ?Sized + Send + Sync + 'static> Inner<P> {
    fn view(&self, n: usize, route: &Route<P>) -> View {
        let now = self.clock.mono();
        let (why, terms) = (*route.why(), route.terms);
        let choice = Choice { weight: terms.weight, factor: why.factor(), cost: terms.cost, suits: terms.suits };
        let (in_flight, queued) = route.gate.load();
        let window = route.window();
        let (asked, failed) = window.errors(now);
        View {
            capability: self.capability,
            route: number(n),
            kind: route.kind,
            standing: route.breaker.standing(),
            weight: terms.weight,
            present: choice.present(),
            why,
            cost: terms.cost,
            suits: terms.suits,
            in_flight,
            queued,
            at_once: terms.at_once,
            p50: window.p50(now),
            p95: window.p95(now),
            asked,
            failed,
        }
    }

    fn measured(&self, route: &Route<P>, period: Duration) -> Measured {
        let now = self.clock.mono();
        let used = route.gate.used(period);
        let window = route.window();
        let (asked, failed) = window.errors(now);
        #[allow(clippy::cast_precision_loss, reason = "requests of five minutes")]
        let errors = if asked == 0 { 0.0 } else { failed as f64 / asked as f64 };
        Measured { first: window.p50(now).map(|time| time.as_secs_f64()), errors, used, cost: route.terms.cost }
    }
}

impl<P: ?Sized + Send + Sync + 'static> Kept for Inner<P> {
    fn views(&self) -> Vec<View> {
        self.routes.iter().enumerate().map(|(n, route)| self.view(n, route)).collect()
    }

    fn weigh(&self, period: Duration) {
        let measured: Vec<Measured> = self.routes.iter().map(|route| self.measured(route, period)).collect();
        for (n, (route, why)) in self.routes.iter().zip(terms(&measured)).enumerate() {
            *route.why() = why;
            self.metrics.weight(self.capability, number(n), self.view(n, route).present);
        }
    }

    fn looks(&self) -> Vec<BoxFuture<'static, ()>> {
        let worth = |route: &&Route<P>| route.breaker.wants_a_look();
        let look = |route: &Route<P>| -> Option<BoxFuture<'static, ()>> {
            let (probe, breaker) = (Arc::clone(route.probe.as_ref()?), Arc::clone(&route.breaker));
            let (capability, metrics) = (self.capability, self.metrics.clone());
            Some(Box::pin(async move {
                let late = |_| {
                    let what = format!("no answer within {}", Span(LOOK));
                    Err(ProviderError::new(ErrorKind::Timeout, capability, what))
                };
                let seen = timeout(LOOK, probe.probe()).await.unwrap_or_else(late);
                metrics.probed(capability, seen.is_ok());
                match seen {
                    Ok(()) => {
                        tracing::info!(capability, "a service that was left alone is back: the next request tries it");
                        breaker.seen_back();
                    }
                    Err(error) => tracing::debug!(capability, %error, "a service that is left alone is not back"),
                }
            }))
        };
        self.routes.iter().filter(worth).filter_map(look).collect()
    }
}

/// What is looked after, and how.
type Looked = (Vec<Arc<dyn Kept>>, Settings);

/// The pools of a gateway. Clones are the same; they may be exchanged while they are looked after.
#[derive(Clone, Default)]
pub struct Pools {
    shared: Arc<RwLock<Looked>>,
}

impl Pools {
    /// These take the place of those that were there.
    pub fn set(&self, pools: Vec<Arc<dyn Kept>>, settings: Settings) {
        *self.shared.write().unwrap_or_else(PoisonError::into_inner) = (pools, settings);
    }

    fn now(&self) -> (Vec<Arc<dyn Kept>>, Settings) {
        self.shared.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every service, pool by pool.
    pub fn views(&self) -> Vec<View> {
        self.now().0.iter().flat_map(|pool| pool.views()).collect()
    }

    /// Looks after them until the stop.
    pub async fn run(self, stop: CancellationToken) {
        let settings = self.now().1;
        let mut weigh_at = Instant::now() + settings.weigh_every.0;
        let mut look_at = Instant::now() + settings.probe_every.0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(weigh_at) => {
                    let (pools, settings) = self.now();
                    for pool in &pools {
                        pool.weigh(settings.weigh_every.0);
                    }
                    weigh_at = Instant::now() + settings.weigh_every.0;
                }
                () = sleep_until(look_at) => {
                    let (pools, settings) = self.now();
                    let looks = join_all(pools.iter().flat_map(|pool| pool.looks()));
                    tokio::select! {
                        () = stop.cancelled() => return,
                        _ = looks => {}
                    }
                    look_at = Instant::now() + settings.probe_every.0;
                }
            }
        }
    }
}
