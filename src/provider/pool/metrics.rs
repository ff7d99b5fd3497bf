//! What is counted of services.

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

/// Besides every [`ErrorKind::name`].
const OUTCOMES: [&str; 2] = ["answered", "left_alone"];

/// Counters of services.
#[derive(Debug, Clone)]
pub struct Metrics {
    asked: Family<Asked, Counter>,
    left_alone: Family<Of, Gauge>,
    first: Family<Of, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = || Histogram::new([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0]);
        Self { asked: Family::default(), left_alone: Family::default(), first: Family::new_with_constructor(buckets) }
    }
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "voxgate_provider_requests",
            "Requests to services by what came of them; route 0 is the service that is asked first, others stand in for it",
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
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for capability in ["stt", "tts", "chat", "embed"] {
            let of = Of { capability, route: 0 };
            drop(self.left_alone.get_or_create(&of));
            drop(self.first.get_or_create(&of));
            for outcome in OUTCOMES.into_iter().chain(ErrorKind::ALL.map(ErrorKind::name)) {
                drop(self.asked.get_or_create(&Asked { capability, route: 0, outcome }));
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
}
