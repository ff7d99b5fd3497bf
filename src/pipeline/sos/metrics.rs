//! What becomes of calls for help.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Labels = [(&'static str, &'static str); 1];

/// What a try comes to.
const RESULTS: [&str; 3] = ["told", "failed", "given_up"];

/// Counters; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    notifications: Family<Labels, Counter>,
    pub(super) waiting: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Tries to tell the configured address of a call for help, by result";
        registry.register("voxgate_sos_notifications", help, metrics.notifications.clone());
        registry.register(
            "voxgate_sos_waiting",
            "Calls for help that nobody has been told of yet",
            metrics.waiting.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for result in RESULTS {
            drop(self.notifications.get_or_create(&[("result", result)]));
        }
    }

    pub(super) fn tried(&self, result: &'static str) {
        self.notifications.get_or_create(&[("result", result)]).inc();
    }
}
