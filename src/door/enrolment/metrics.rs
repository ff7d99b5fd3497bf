//! What is counted about boards that enrol.

use std::sync::atomic::AtomicI64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Boards that wait for an operator.
pub const PENDING: &str = "voxgate_enrolment_pending";
/// Boards that began to wait, by reason.
pub const ASKED: &str = "voxgate_enrolment_asked";
/// Boards that were enrolled, by how.
pub const ENROLLED: &str = "voxgate_enrolment_enrolled";
/// Claims that were refused, by why.
pub const REFUSED_CLAIMS: &str = "voxgate_enrolment_refused_claims";

/// Why a board waits.
pub const REASONS: [&str; 3] = ["new", "other_board", "by_hand"];
/// How a board was enrolled.
pub const WAYS: [&str; 4] = ["allowed", "bring_up", "claimed", "expected"];
/// Why a claim was refused.
pub const CAUSES: [&str; 3] = ["wrong", "too_many", "failed"];

type Labels = [(&'static str, &'static str); 1];

/// Counters; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(super) pending: Gauge<i64, AtomicI64>,
    asked: Family<Labels, Counter>,
    enrolled: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
}

impl Metrics {
    /// Registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(PENDING, "Boards that wait for an operator to claim them", metrics.pending.clone());
        let help = "Boards that began to wait; other_board: a known name with another number";
        registry.register(ASKED, help, metrics.asked.clone());
        registry.register(ENROLLED, "Boards that were enrolled, by how", metrics.enrolled.clone());
        registry.register(REFUSED_CLAIMS, "Operators' claims that were refused, by why", metrics.refused.clone());
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for reason in REASONS {
            drop(self.asked.get_or_create(&[("reason", reason)]));
        }
        for way in WAYS {
            drop(self.enrolled.get_or_create(&[("way", way)]));
        }
        for cause in CAUSES {
            drop(self.refused.get_or_create(&[("cause", cause)]));
        }
    }

    /// A board began to wait; the reason is one of [`REASONS`].
    pub(super) fn asked(&self, reason: &'static str) {
        debug_assert!(REASONS.contains(&reason), "{reason} is missing in REASONS");
        self.asked.get_or_create(&[("reason", reason)]).inc();
    }

    /// A board was enrolled; the way is one of [`WAYS`].
    pub(super) fn enrolled(&self, way: &'static str) {
        debug_assert!(WAYS.contains(&way), "{way} is missing in WAYS");
        self.enrolled.get_or_create(&[("way", way)]).inc();
    }

    /// A claim was refused; the cause is one of [`CAUSES`].
    pub(super) fn refused(&self, cause: &'static str) {
        debug_assert!(CAUSES.contains(&cause), "{cause} is missing in CAUSES");
        self.refused.get_or_create(&[("cause", cause)]).inc();
    }
}
