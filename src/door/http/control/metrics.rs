//! What the control API counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    endpoint: &'static str,
    outcome: &'static str,
}

/// Counters of the control API.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    requests: Family<Request, Counter>,
}

/// Every outcome: `ok`, or the code of the failure.
const OUTCOMES: [&str; 22] = [
    "ok",
    "bad_request",
    "busy",
    "conflict",
    "forbidden",
    "foreign_origin",
    "internal",
    "invalid_json",
    "invalid_timestamp",
    "method_not_allowed",
    "missing_digest",
    "missing_nonce",
    "missing_signature",
    "missing_timestamp",
    "not_found",
    "payload_too_large",
    "rate_limited",
    "replayed_nonce",
    "stale_timestamp",
    "store_unavailable",
    "timeout",
    "unauthorized",
];

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "voxgate_control_api_requests",
            "Requests to the control API, by endpoint (- for what is none) and by what came of them",
            metrics.requests.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for outcome in OUTCOMES {
            drop(self.requests.get_or_create(&Request { endpoint: "-", outcome }));
        }
        for endpoint in super::table().iter().map(|endpoint| endpoint.path) {
            drop(self.requests.get_or_create(&Request { endpoint, outcome: "ok" }));
        }
    }

    pub(super) fn request(&self, endpoint: &'static str, outcome: &'static str) {
        self.requests.get_or_create(&Request { endpoint, outcome }).inc();
    }
}
