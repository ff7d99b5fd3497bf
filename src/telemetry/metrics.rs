//! What telemetry counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

/// Why a sample is not kept: it came too soon after another, samples are switched off, the clock is unset, or its record
/// cannot be written.
pub(super) const SOON: &str = "soon";
pub(super) const OFF: &str = "off";
pub(super) const NO_CLOCK: &str = "no_clock";
pub(super) const RECORD: &str = "record";
/// Why samples were swept.
pub(super) const AGE: &str = "age";
pub(super) const SIZE: &str = "size";

/// Counters of telemetry.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(super) kept: Counter,
    dropped: Family<Cause, Counter>,
    swept: Family<Cause, Counter>,
    pub(super) raw_too_long: Counter,
    pub(super) latest: Counter,
    pub(super) bytes: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let kept = metrics.kept.clone();
        registry.register("voxgate_telemetry_samples", "Telemetry samples handed to the store", kept);
        registry.register(
            "voxgate_telemetry_samples_dropped",
            "Telemetry that was not kept as a sample: too soon after another, switched off, no clock, no record",
            metrics.dropped.clone(),
        );
        registry.register(
            "voxgate_telemetry_samples_swept",
            "Telemetry samples that were removed for their age, or for the size of all",
            metrics.swept.clone(),
        );
        registry.register(
            "voxgate_telemetry_raw_too_long",
            "Telemetry samples that were kept without the device's own words: those were too long",
            metrics.raw_too_long.clone(),
        );
        registry.register(
            "voxgate_telemetry_latest",
            "Latest values that were published, retained",
            metrics.latest.clone(),
        );
        registry.register(
            "voxgate_telemetry_sample_bytes",
            "What all telemetry samples take, with their keys",
            metrics.bytes.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for cause in [SOON, OFF, NO_CLOCK, RECORD] {
            drop(self.dropped.get_or_create(&Cause { cause }));
        }
        for cause in [AGE, SIZE] {
            drop(self.swept.get_or_create(&Cause { cause }));
        }
    }

    pub(super) fn dropped(&self, cause: &'static str) {
        self.dropped.get_or_create(&Cause { cause }).inc();
    }

    pub(super) fn swept(&self, cause: &'static str, count: u64) {
        self.swept.get_or_create(&Cause { cause }).inc_by(count);
    }
}
