//! What is counted about logins.

use std::sync::atomic::AtomicI64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Login attempts by result.
pub const LOGINS: &str = "voxgate_credentials_logins";
/// Checks of chosen passwords that wait or run.
pub const HASH_QUEUE: &str = "voxgate_credentials_hash_queue";
/// How long a check waits and runs, seconds.
pub const HASH_SECONDS: &str = "voxgate_credentials_hash_seconds";
/// Hashes of another kind that were replaced.
pub const RENEWED: &str = "voxgate_credentials_renewed_hashes";
/// Answers that were held back.
pub const HELD_BACK: &str = "voxgate_credentials_held_back";
/// Addresses that gave wrong passwords lately.
pub const SUSPECTS: &str = "voxgate_credentials_suspects";

/// What an attempt comes to.
pub const RESULTS: [&str; 6] = ["secret", "password", "certificate", "wrong", "refused", "busy"];
/// For what an answer is held back.
pub const CAUSES: [&str; 3] = ["address", "name", "turn"];

type Labels = [(&'static str, &'static str); 1];

/// Counters; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Checks that wait or run.
    pub(super) queue: Gauge<i64, AtomicI64>,
    /// How long they take.
    pub(super) seconds: Histogram,
    /// Hashes that were replaced.
    pub(super) renewed: Counter,
    /// Addresses that are remembered.
    pub(super) suspects: Gauge<i64, AtomicI64>,
    logins: Family<Labels, Counter>,
    held_back: Family<Labels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
        Self {
            queue: Gauge::default(),
            seconds: Histogram::new(buckets),
            renewed: Counter::default(),
            suspects: Gauge::default(),
            logins: Family::default(),
            held_back: Family::default(),
        }
    }
}

impl Metrics {
    /// Registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(LOGINS, "Login attempts, by result", metrics.logins.clone());
        registry.register(HASH_QUEUE, "Checks of chosen passwords that wait or run", metrics.queue.clone());
        let help = "Time from the queueing of a check of a chosen password to its end";
        registry.register(HASH_SECONDS, help, metrics.seconds.clone());
        let help = "Foreign password hashes that were replaced by argon2id at their first use";
        registry.register(RENEWED, help, metrics.renewed.clone());
        let help = "Login attempts that were held back, by what they were held back for";
        registry.register(HELD_BACK, help, metrics.held_back.clone());
        registry.register(SUSPECTS, "Addresses that gave wrong passwords lately", metrics.suspects.clone());
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for result in RESULTS {
            drop(self.logins.get_or_create(&[("result", result)]));
        }
        for cause in CAUSES {
            drop(self.held_back.get_or_create(&[("for", cause)]));
        }
    }

    /// Counts an attempt; the result is one of [`RESULTS`].
    pub(super) fn login(&self, result: &'static str) {
        debug_assert!(RESULTS.contains(&result), "{result} is missing in RESULTS");
        self.logins.get_or_create(&[("result", result)]).inc();
    }

    /// Counts an answer that is held back; the cause is one of [`CAUSES`].
    pub(super) fn hold_back(&self, cause: &'static str) {
        self.held_back.get_or_create(&[("for", cause)]).inc();
    }

    /// How many attempts had this result.
    pub fn logins(&self, result: &'static str) -> u64 {
        self.logins.get_or_create(&[("result", result)]).get()
    }
}
