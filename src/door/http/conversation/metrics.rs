//! What the devices' WebSocket counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How asking for a WebSocket ends.
pub(super) const RESULTS: [&str; 6] = ["ok", "no_device", "version", "refused", "busy", "full"];
/// How conversations end.
pub(super) const ENDINGS: [&str; 12] = [
    "closed",
    "gone",
    "over",
    "replaced",
    "revoked",
    "no_hello",
    "silent",
    "stuck",
    "rate",
    "too_large",
    "unread",
    "stop",
];
/// Why a message is dropped.
pub(super) const CAUSES: [&str; 6] =
    ["malformed", "too_large", "unknown_type", "unsupported", "identity", "before_hello"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

/// Counters of conversations over WebSocket.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    open: Gauge,
    connects: Family<Of, Counter>,
    endings: Family<Why, Counter>,
    drops: Family<Cause, Counter>,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("voxgate_websocket_open", "Conversations over WebSocket", metrics.open.clone());
        registry.register(
            "voxgate_websocket_connects",
            "Requests for the devices' WebSocket, by result",
            metrics.connects.clone(),
        );
        registry.register(
            "voxgate_websocket_endings",
            "Conversations over WebSocket that ended, by reason",
            metrics.endings.clone(),
        );
        registry.register(
            "voxgate_websocket_drops",
            "Messages over WebSocket that were dropped, by cause",
            metrics.drops.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for result in RESULTS {
            drop(self.connects.get_or_create(&Of { result }));
        }
        for reason in ENDINGS {
            drop(self.endings.get_or_create(&Why { reason }));
        }
        for cause in CAUSES {
            drop(self.drops.get_or_create(&Cause { cause }));
        }
    }

    pub(super) fn open(&self, count: usize) {
        self.open.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// One of [`RESULTS`].
    pub(super) fn connect(&self, result: &'static str) {
        self.connects.get_or_create(&Of { result }).inc();
    }

    /// One of [`ENDINGS`].
    pub(super) fn ended(&self, reason: &'static str) {
        self.endings.get_or_create(&Why { reason }).inc();
    }

    /// One of [`CAUSES`].
    pub(super) fn dropped(&self, cause: &'static str) {
        self.drops.get_or_create(&Cause { cause }).inc();
    }
}
