//! What bridges count.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// 1 while the other broker is connected.
pub const CONNECTED: &str = "voxgate_bridge_connected";
/// Attempts to connect by result.
pub const CONNECTS: &str = "voxgate_bridge_connects";
/// Messages by direction.
pub const MESSAGES: &str = "voxgate_bridge_messages";
/// Messages that wait, or are on their way.
pub const QUEUED: &str = "voxgate_bridge_queued_messages";
/// Bytes that wait.
pub const QUEUED_BYTES: &str = "voxgate_bridge_queued_bytes";
/// Messages that do not arrive, by cause.
pub const DROPS: &str = "voxgate_bridge_drops";

/// What an attempt to connect comes to.
pub const RESULTS: [&str; 8] = ["ok", "unreachable", "tls", "version", "refused", "closed", "protocol", "silent"];
/// Directions.
pub const DIRECTIONS: [&str; 2] = ["out", "in"];
/// Why a message does not arrive, or not this time.
pub const CAUSES: [&str; 12] = [
    // out
    "queue_full",
    "queue_refused",
    "too_large",
    // both
    "no_route",
    // in
    "own",
    "bad_topic",
    "not_allowed",
    "retained_command",
    "malformed",
    "quota",
    "internal",
    "subscription",
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    bridge: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    bridge: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDirection {
    bridge: String,
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCause {
    bridge: String,
    cause: &'static str,
}

/// Counters; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    connected: Family<Of, Gauge<i64, AtomicI64>>,
    connects: Family<ByResult, Counter>,
    messages: Family<ByDirection, Counter>,
    queued: Family<Of, Gauge<i64, AtomicI64>>,
    queued_bytes: Family<Of, Gauge<i64, AtomicI64>>,
    drops: Family<ByCause, Counter>,
}

impl Metrics {
    /// Registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(CONNECTED, "1 while the other broker is connected", metrics.connected.clone());
        let help = "Attempts to connect to the other broker, by result";
        registry.register(CONNECTS, help, metrics.connects.clone());
        let help = "Messages that arrived at the other broker (out; with QoS 1 it said so) or were taken from it (in)";
        registry.register(MESSAGES, help, metrics.messages.clone());
        let help = "Messages that wait for the other broker or are on their way to it";
        registry.register(QUEUED, help, metrics.queued.clone());
        let help = "Bytes that wait for the other broker, with 160 for each message";
        registry.register(QUEUED_BYTES, help, metrics.queued_bytes.clone());
        let help = "Messages that did not travel, by cause; one that the queue refused stays with its publisher, \
                    and \"own\" are our own ones that came back";
        registry.register(DROPS, help, metrics.drops.clone());
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        let counts = self.of("NAME");
        counts.connected(false);
        counts.waiting((0, 0));
        for result in RESULTS {
            drop(self.connects.get_or_create(&counts.by_result(result)));
        }
        for direction in DIRECTIONS {
            drop(self.messages.get_or_create(&counts.by_direction(direction)));
        }
        for cause in CAUSES {
            drop(self.drops.get_or_create(&counts.by_cause(cause)));
        }
    }

    /// The counters of one bridge.
    pub(super) fn of(&self, bridge: &str) -> Counts {
        Counts { metrics: self.clone(), bridge: bridge.to_owned() }
    }
}

/// The counters of one bridge.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    metrics: Metrics,
    bridge: String,
}

impl Counts {
    fn name(&self) -> Of {
        Of { bridge: self.bridge.clone() }
    }

    fn by_result(&self, result: &'static str) -> ByResult {
        ByResult { bridge: self.bridge.clone(), result }
    }

    fn by_direction(&self, direction: &'static str) -> ByDirection {
        ByDirection { bridge: self.bridge.clone(), direction }
    }

    fn by_cause(&self, cause: &'static str) -> ByCause {
        ByCause { bridge: self.bridge.clone(), cause }
    }

    pub fn connected(&self, connected: bool) {
        self.metrics.connected.get_or_create(&self.name()).set(i64::from(connected));
    }

    /// One of [`RESULTS`].
    pub fn attempt(&self, result: &'static str) {
        debug_assert!(RESULTS.contains(&result), "{result} is missing in RESULTS");
        self.metrics.connects.get_or_create(&self.by_result(result)).inc();
    }

    pub fn sent(&self) {
        self.metrics.messages.get_or_create(&self.by_direction("out")).inc();
    }

    pub fn received(&self) {
        self.metrics.messages.get_or_create(&self.by_direction("in")).inc();
    }

    pub fn waiting(&self, (messages, bytes): (usize, usize)) {
        let set = |family: &Family<Of, Gauge<i64, AtomicI64>>, n: usize| {
            family.get_or_create(&self.name()).set(i64::try_from(n).unwrap_or(i64::MAX));
        };
        set(&self.metrics.queued, messages);
        set(&self.metrics.queued_bytes, bytes);
    }

    /// One of [`CAUSES`].
    pub fn dropped(&self, cause: &'static str, n: u64) {
        debug_assert!(CAUSES.contains(&cause), "{cause} is missing in CAUSES");
        if n > 0 {
            self.metrics.drops.get_or_create(&self.by_cause(cause)).inc_by(n);
        }
    }
}
