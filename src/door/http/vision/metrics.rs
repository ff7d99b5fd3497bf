//! What is counted about photos on their way in.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What a photo comes to.
pub const RESULTS: [&str; 16] = [
    "answered",
    "unanswered",
    "no_token",
    "bad_token",
    "other_device",
    "limited",
    "busy",
    "full",
    "too_large",
    "slow",
    "not_multipart",
    "malformed",
    "no_photo",
    "question",
    "not_an_image",
    "gone",
];
/// What a session that asks for a pass may get.
pub const PASSES: [&str; 3] = ["ok", "no_address", "full"];

type Labels = [(&'static str, &'static str); 1];

/// Counters; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    uploads: Family<Labels, Counter>,
    passes: Family<Labels, Counter>,
    pub(super) open: Gauge,
    pub(super) bytes: Counter,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Photos of boards, by what came of them: answered or not, or why they were refused";
        registry.register("voxgate_vision_uploads", help, metrics.uploads.clone());
        let help = "Passes for photos, by result; full: too many sessions, no_address: none that the board could use";
        registry.register("voxgate_vision_passes", help, metrics.passes.clone());
        registry.register("voxgate_vision_passes_open", "Sessions that may send photos", metrics.open.clone());
        registry.register("voxgate_vision_upload_bytes", "Bytes of photos that came", metrics.bytes.clone());
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for result in RESULTS {
            drop(self.uploads.get_or_create(&[("result", result)]));
        }
        for result in PASSES {
            drop(self.passes.get_or_create(&[("result", result)]));
        }
    }

    /// A photo; the result is one of [`RESULTS`].
    pub(super) fn upload(&self, result: &'static str) {
        debug_assert!(RESULTS.contains(&result), "{result} is missing in RESULTS");
        self.uploads.get_or_create(&[("result", result)]).inc();
    }

    /// A session asked for a pass; the result is one of [`PASSES`].
    pub(super) fn pass(&self, result: &'static str) {
        debug_assert!(PASSES.contains(&result), "{result} is missing in PASSES");
        self.passes.get_or_create(&[("result", result)]).inc();
    }
}
