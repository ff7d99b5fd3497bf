//! What turns measure.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::provider::ErrorKind;
use crate::session::stage;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    stage: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ahead {
    stage: &'static str,
    result: &'static str,
}

/// What becomes of what is done ahead.
pub(super) mod ahead {
    /// It was begun.
    pub const STARTED: &str = "started";
    /// The turn took it over.
    pub const USED: &str = "used";
    /// Speech went on, or something else came between: it was for nothing.
    pub const DROPPED: &str = "dropped";
    /// Too much of it was under way: it was not begun.
    pub const BUSY: &str = "busy";
    /// The answer was in memory already: nobody was asked.
    pub const KNOWN: &str = "known";
    pub const ALL: [&str; 5] = [STARTED, USED, DROPPED, BUSY, KNOWN];
}

type Seconds = Family<Stage, Histogram, fn() -> Histogram>;

/// Stages, failures, and how punctual speech is.
#[derive(Debug, Clone)]
pub struct Metrics {
    stages: Seconds,
    failures: Family<Failure, Counter>,
    lateness: Histogram,
    ahead: Family<Ahead, Counter>,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let stages: Seconds = Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15)));
        let lateness = Histogram::new([0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.12, 0.5]);
        let metrics = Self { stages, failures: Family::default(), lateness, ahead: Family::default() };
        registry.register(
            "voxgate_turn_stage_seconds",
            "Time of a turn's stages: transcribe_call is the provider's; first_token is from the question to the first piece of the \
             reply; first_audio is from the endpoint decision (or listen_stop) to the first frame at the link",
            metrics.stages.clone(),
        );
        registry.register(
            "voxgate_turn_failures",
            "Turns with a failed stage, by stage and kind of error",
            metrics.failures.clone(),
        );
        registry.register(
            "voxgate_frame_lateness_seconds",
            "How late a downlink frame was handed to the connection, against its slot of 60 ms",
            metrics.lateness.clone(),
        );
        registry.register(
            "voxgate_turn_ahead",
            "What was done at a pause before the turn was over, by stage and what became of it: dropped was for nothing",
            metrics.ahead.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for stage in ["transcribe_call", stage::FIRST_TOKEN, stage::FIRST_AUDIO] {
            drop(self.stages.get_or_create(&Stage { stage }));
        }
        for stage in ["transcribe", "chat"] {
            for result in ahead::ALL {
                drop(self.ahead.get_or_create(&Ahead { stage, result }));
            }
        }
        for stage in ["decode", "transcribe", "chat", "speech", "encode"] {
            for kind in ErrorKind::ALL.map(ErrorKind::name) {
                drop(self.failures.get_or_create(&Failure { stage, kind }));
            }
        }
    }

    pub(super) fn stage(&self, stage: &'static str, ms: f64) {
        self.stages.get_or_create(&Stage { stage }).observe(ms / 1e3);
    }

    pub(super) fn failed(&self, stage: &'static str, kind: ErrorKind) {
        self.failures.get_or_create(&Failure { stage, kind: kind.name() }).inc();
    }

    pub(super) fn done_ahead(&self, stage: &'static str, result: &'static str) {
        self.ahead.get_or_create(&Ahead { stage, result }).inc();
    }

    pub(super) fn late(&self, ms: f64) {
        self.lateness.observe(ms / 1e3);
    }
}
