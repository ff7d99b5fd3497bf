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
        registry.register(
            "voxgate_downlink_packets",
            "Downlink packets handed to a device's connection",
            metrics.sent.clone(),
        );
        registry.register(
            "voxgate_downlink_refused",
            "Downlink packets that no connection took: its queue was full, or it was gone",
            metrics.refused.clone(),
        );
        registry.register(
            "voxgate_downlink_cleared_frames",
            "Frames of speech taken out of a connection's queue by an interruption",
            metrics.cleared.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for kind in [PacketKind::Control, PacketKind::Audio].map(name) {
            drop(self.sent.get_or_create(&Sent { kind }));
            for cause in [SendError::Full, SendError::Gone].map(cause) {
                drop(self.refused.get_or_create(&Refused { kind, cause }));
            }
        }
    }

    pub(super) fn sent(&self, kind: PacketKind) {
        self.sent.get_or_create(&Sent { kind: name(kind) }).inc();
    }

    pub(super) fn refused(&self, kind: PacketKind, error: SendError) {
        self.refused.get_or_create(&Refused { kind: name(kind), cause: cause(error) }).inc();
    }

    pub(super) fn cleared(&self, frames: usize) {
        self.cleared.inc_by(frames as u64);
    }
}

fn cause(error: SendError) -> &'static str {
    match error {
        SendError::Full => "full",
        SendError::Gone => "gone",
    }
}

fn name(kind: PacketKind) -> &'static str {
    match kind {
        PacketKind::Control => "control",
        PacketKind::Audio => "audio",
    }
}
