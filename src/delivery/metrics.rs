//! What delivery counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::domain::{PacketKind, SendError};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sent {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    kind: &'static str,
    cause: &'static str,
}

/// Counters of downlink packets.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    sent: Family<Sent, Counter>,
    refused: Family<Refused, Counter>,
    cleared: Counter,
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("voxgate_downlink_packets", "downlink packets handed to a link", metrics.sent.clone());
        registry.register("voxgate_downlink_refused", "downlink packets that no link took", metrics.refused.clone());
        registry.register(
            "voxgate_downlink_cleared_frames",
            "frames of speech dropped from a link's queue by an interruption",
            metrics.cleared.clone(),
        );
        metrics
    }

    pub(super) fn sent(&self, kind: PacketKind) {
        self.sent.get_or_create(&Sent { kind: name(kind) }).inc();
    }

    pub(super) fn refused(&self, kind: PacketKind, error: SendError) {
        let cause = match error {
            SendError::Full => "full",
            SendError::Gone => "gone",
        };
        self.refused.get_or_create(&Refused { kind: name(kind), cause }).inc();
    }

    pub(super) fn cleared(&self, frames: usize) {
        self.cleared.inc_by(frames as u64);
    }
}

fn name(kind: PacketKind) -> &'static str {
    match kind {
        PacketKind::Control => "control",
        PacketKind::Audio => "audio",
    }
}
