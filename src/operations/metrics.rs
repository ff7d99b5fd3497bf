//! What operations count.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    step: &'static str,
}

/// `stray` is an answer to what is no operation of that device under way.
const STEPS: [&str; 7] = ["queued", "sent", "acked", "failed", "canceled", "expired", "stray"];

/// Counters of operations.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    steps: Family<Step, Counter>,
    pub(super) under_way: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "voxgate_operations",
            "Steps of devices' operations; stray is an answer to none that is under way",
            metrics.steps.clone(),
        );
        registry.register(
            "voxgate_operations_under_way",
            "Operations that wait for their device or for its answer",
            metrics.under_way.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for step in STEPS {
            drop(self.steps.get_or_create(&Step { step }));
        }
    }

    pub(super) fn ended(&self, step: &'static str) {
        self.steps.get_or_create(&Step { step }).inc();
    }
}
