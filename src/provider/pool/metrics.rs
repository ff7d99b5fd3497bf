//! What is counted of services.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::provider::ErrorKind;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Of {
    capability: &'static str,
    route: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    capability: &'static str,
    route: u32,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct For {
    capability: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CameOf {
    capability: &'static str,
    outcome: &'static str,
}

type Exact = Gauge<f64, AtomicU64>;

/// Besides every [`ErrorKind::name`].
const OUTCOMES: [&str; 3] = ["answered", "left_alone", "outrun"];
/// What came of asking a second service too.
const HEDGES: [&str; 3] = ["first_won", "second_won", "failed"];
/// What came of looking after a service that is left alone.
const PROBES: [&str; 2] = ["answered", "failed"];

/// Counters of services. Clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    asked: Family<Asked, Counter>,
    left_alone: Family<Of, Gauge>,
    first: Family<Of, Histogram>,
    in_flight: Family<Of, Gauge>,
    queued: Family<Of, Gauge>,
    waited: Family<For, Histogram>,
    hedges: Family<CameOf, Counter>,
    retries: Family<For, Counter>,
    weight: Family<Of, Exact>,
    probes: Family<CameOf, Counter>,
}

fn seconds() -> Histogram {
    Histogram::new([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0])
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            asked: Family::default(),
            left_alone: Family::default(),
            first: Family::new_with_constructor(seconds),
            in_flight: Family::default(),
            queued: Family::default(),
            waited: Family::new_with_constructor(seconds),
            hedges: Family::default(),
            retries: Family::default(),
            weight: Family::default(),
            probes: Family::default(),
        }
    }
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "voxgate_provider_requests",
            "Requests to services by what came of them; route 0 is the service itself, others stand in for it",
            metrics.asked.clone(),
        );
        registry.register(
            "voxgate_provider_left_alone",
            "1: the service failed too often and is not asked while another can be",
            metrics.left_alone.clone(),
        );
        registry.register_with_unit(
            "voxgate_provider_first",
            "From the request to the first of the answer, of requests that were answered",
            Unit::Seconds,
            metrics.first.clone(),
        );
        registry.register("voxgate_provider_in_flight", "Requests that a service works on", metrics.in_flight.clone());
        registry.register(
            "voxgate_provider_queue",
            "Requests that wait for a service that is at its limit",
            metrics.queued.clone(),
        );
        registry.register_with_unit(
            "voxgate_provider_queue_wait",
            "How long requests waited that had to, let in or not",
            Unit::Seconds,
            metrics.waited.clone(),
        );
        registry.register(
            "voxgate_provider_hedges",
            "Requests that a second service was asked too, since the first took longer than usual, by who answered",
            metrics.hedges.clone(),
        );
        registry.register(
            "voxgate_provider_retries",
            "Requests that were asked again, since nobody else could be",
            metrics.retries.clone(),
        );
        registry.register(
            "voxgate_provider_weight",
            "What a service's configured weight has become by what was measured; 1 where none is configured",
            metrics.weight.clone(),
        );
        registry.register(
            "voxgate_provider_probes",
            "Looks at services that are left alone, by what came of them",
            metrics.probes.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for capability in ["stt", "tts", "chat", "embed", "vision"] {
            let of = Of { capability, route: 0 };
            drop(self.left_alone.get_or_create(&of));
            drop(self.first.get_or_create(&of));
            drop(self.in_flight.get_or_create(&of));
            drop(self.queued.get_or_create(&of));
            drop(self.weight.get_or_create(&of));
            drop(self.waited.get_or_create(&For { capability }));
            drop(self.retries.get_or_create(&For { capability }));
            for outcome in OUTCOMES.into_iter().chain(ErrorKind::ALL.map(ErrorKind::name)) {
                drop(self.asked.get_or_create(&Asked { capability, route: 0, outcome }));
            }
            for outcome in HEDGES {
                drop(self.hedges.get_or_create(&CameOf { capability, outcome }));
            }
            for outcome in PROBES {
                drop(self.probes.get_or_create(&CameOf { capability, outcome }));
            }
        }
    }

    pub(super) fn asked(&self, capability: &'static str, route: u32, outcome: &'static str) {
        self.asked.get_or_create(&Asked { capability, route, outcome }).inc();
    }

    pub(super) fn first(&self, capability: &'static str, route: u32, seconds: f64) {
        self.first.get_or_create(&Of { capability, route }).observe(seconds);
    }

    pub(super) fn left_alone(&self, capability: &'static str, route: u32) -> Gauge {
        self.left_alone.get_or_create(&Of { capability, route }).clone()
    }

    pub(super) fn at_gate(&self, capability: &'static str, route: u32) -> AtGate {
        let of = Of { capability, route };
        AtGate {
            in_flight: self.in_flight.get_or_create(&of).clone(),
            queued: self.queued.get_or_create(&of).clone(),
            waited: self.waited.get_or_create(&For { capability }).clone(),
        }
    }

    pub(super) fn hedged(&self, capability: &'static str, outcome: Hedge) {
        let outcome = HEDGES[outcome as usize];
        self.hedges.get_or_create(&CameOf { capability, outcome }).inc();
    }

    pub(super) fn retried(&self, capability: &'static str) {
        self.retries.get_or_create(&For { capability }).inc();
    }

    pub(super) fn weight(&self, capability: &'static str, route: u32, weight: f64) {
        self.weight.get_or_create(&Of { capability, route }).set(weight);
    }

    pub(super) fn probed(&self, capability: &'static str, answered: bool) {
        let outcome = PROBES[usize::from(!answered)];
        self.probes.get_or_create(&CameOf { capability, outcome }).inc();
    }
}

/// What came of asking a second service too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hedge {
    FirstWon,
    SecondWon,
    Failed,
}

/// What is counted at the way into one service.
#[derive(Debug)]
pub(super) struct AtGate {
    pub(super) in_flight: Gauge,
    pub(super) queued: Gauge,
    waited: Histogram,
}

impl Default for AtGate {
    fn default() -> Self {
        Self { in_flight: Gauge::default(), queued: Gauge::default(), waited: seconds() }
    }
}

impl AtGate {
    pub(super) fn waited(&self, time: Duration) {
        self.waited.observe(time.as_secs_f64());
    }
}
