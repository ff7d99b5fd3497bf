//! What the audio room counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::jitter;
use super::utterance::Piece;

/// Base names, for dashboards and tests.
pub mod names {
    /// Packets decoded.
    pub const DECODED: &str = "voxgate_audio_frames_decoded";
    /// Lost packets, rebuilt or concealed.
    pub const LOST: &str = "voxgate_audio_frames_lost";
    /// Lost packets rebuilt from redundancy.
    pub const FEC: &str = "voxgate_audio_frames_rebuilt";
    /// Packets that are no audio.
    pub const UNDECODABLE: &str = "voxgate_audio_frames_undecodable";
    /// Packets that came too late.
    pub const LATE: &str = "voxgate_audio_frames_late";
    /// Packets that came twice.
    pub const DUPLICATE: &str = "voxgate_audio_frames_duplicate";
    /// Windows that jumped or started anew.
    pub const RESETS: &str = "voxgate_audio_window_resets";
    /// Frames of 32 ms listened to.
    pub const HEARD: &str = "voxgate_vad_frames";
    /// Turns that were not over.
    pub const SPOKE_ON: &str = "voxgate_endpoint_spoke_on";
    /// Frames that the voice activity model was asked about.
    pub const ASKED: &str = "voxgate_vad_frames_asked";
}

/// The audio room's counters; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    decoded: Counter,
    lost: Counter,
    fec: Counter,
    undecodable: Counter,
    late: Counter,
    duplicate: Counter,
    resets: Counter,
    heard: Counter,
    asked: Counter,
    spoke_on: Counter,
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let mut add = |name, help, counter: &Counter| registry.register(name, help, counter.clone());
        add(names::DECODED, "Audio packets decoded", &metrics.decoded);
        add(names::LOST, "Audio packets that never came, rebuilt or concealed", &metrics.lost);
        add(names::FEC, "Lost audio packets rebuilt from the redundancy of the next", &metrics.fec);
        add(names::UNDECODABLE, "Audio packets that could not be decoded", &metrics.undecodable);
        add(names::LATE, "Audio packets that came after they were given up", &metrics.late);
        add(names::DUPLICATE, "Audio packets that came twice", &metrics.duplicate);
        add(names::RESETS, "Sequence windows that jumped or started anew", &metrics.resets);
        add(names::HEARD, "Frames of 32 ms listened to", &metrics.heard);
        add(names::ASKED, "Frames of 32 ms that the voice activity model was asked about", &metrics.asked);
        let help = "Times somebody spoke on within 1.5 s after a turn was taken for over (known where the microphone counts all the time)";
        add(names::SPOKE_ON, help, &metrics.spoke_on);
        metrics
    }

    pub(crate) fn spoke_on(&self, times: u64) {
        self.spoke_on.inc_by(times);
    }

    pub(crate) fn decoded(&self, piece: &Piece) {
        self.lost.inc_by(u64::from(piece.lost));
        self.fec.inc_by(u64::from(piece.fec));
        if piece.bad {
            self.undecodable.inc()
        } else {
            self.decoded.inc()
        };
    }

    pub(crate) fn ordered(&self, before: jitter::Stats, after: jitter::Stats) {
        self.late.inc_by(after.late - before.late);
        self.duplicate.inc_by(after.duplicate - before.duplicate);
        self.resets.inc_by(after.resets - before.resets);
    }

    pub(crate) fn listened(&self, frames: u64, asked: u64) {
        self.heard.inc_by(frames);
        self.asked.inc_by(asked);
    }
}
