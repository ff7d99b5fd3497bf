//! What questions about photos come to.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::provider::ErrorKind;

type Labels = [(&'static str, &'static str); 1];

/// What a question comes to, besides the kinds of providers' errors.
pub(super) const RESULTS: [&str; 4] = ["answered", "too_large", "silent", "cancelled"];

/// Counters; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    questions: Family<Labels, Counter>,
    seconds: Histogram,
    pub(super) unkept: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = Histogram::new(exponential_buckets(0.1, 2.0, 9));
        Self { questions: Family::default(), seconds, unkept: Counter::default() }
    }
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Questions about photos, by result or by the kind of the provider's error";
        registry.register("voxgate_vision_questions", help, metrics.questions.clone());
        let help = "From a photo's arrival to the answer of the vision service";
        registry.register("voxgate_vision_answer_seconds", help, metrics.seconds.clone());
        let help = "Photos that could not be kept: the disk or the store did not take them";
        registry.register("voxgate_vision_unkept_photos", help, metrics.unkept.clone());
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for result in RESULTS.into_iter().chain(ErrorKind::ALL.map(ErrorKind::name)) {
            drop(self.questions.get_or_create(&[("result", result)]));
        }
    }

    pub(super) fn question(&self, result: &'static str) {
        self.questions.get_or_create(&[("result", result)]).inc();
    }

    pub(super) fn answered(&self, seconds: f64) {
        self.seconds.observe(seconds);
    }
}
