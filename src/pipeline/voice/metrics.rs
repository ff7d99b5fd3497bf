//! What turns measure.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::provider::ErrorKind;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    stage: &'static str,
    kind: &'static str,
}

type Seconds = Family<Stage, Histogram, fn() -> Histogram>;

/// Stages, failures, and how punctual speech is.
#[derive(Debug, Clone)]
pub struct Metrics {
    stages: Seconds,
    failures: Family<Failure, Counter>,
    lateness: Histogram,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let stages: Seconds = Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15)));
        let lateness = Histogram::new([0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.12, 0.5]);
        let metrics = Self { stages, failures: Family::default(), lateness };
        registry.register(
            "voxgate_turn_stage_seconds",
            "time of a turn's stages; first_audio is from the endpoint decision to the first frame at the link",
            metrics.stages.clone(),
        );
        registry.register("voxgate_turn_failures", "turns with a failed stage", metrics.failures.clone());
        registry.register(
            "voxgate_frame_lateness_seconds",
            "downlink frames handed to the link after their slot",
            metrics.lateness.clone(),
        );
        metrics
    }

    pub(super) fn stage(&self, stage: &'static str, ms: f64) {
        self.stages.get_or_create(&Stage { stage }).observe(ms / 1e3);
    }

    pub(super) fn failed(&self, stage: &'static str, kind: ErrorKind) {
        self.failures.get_or_create(&Failure { stage, kind: kind.name() }).inc();
    }

    pub(super) fn late(&self, ms: f64) {
        self.lateness.observe(ms / 1e3);
    }
}
