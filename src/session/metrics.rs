//! What sessions count.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::turn::{Outcome, TurnReport};
use super::window::Verdict;
use crate::domain::{Refusal, Stream};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Number {
    stream: &'static str,
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    outcome: &'static str,
    input: &'static str,
}

/// Counters of sessions, messages and turns.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    live: Gauge,
    opened: Counter,
    resumed: Counter,
    panics: Counter,
    numbers: Family<Number, Counter>,
    control: Family<Kind, Counter>,
    audio: Counter,
    ignored: Counter,
    dropped: Counter,
    turns: Family<Ended, Counter>,
    running: Gauge,
    failed_commits: Counter,
    listening: Family<Why, Counter>,
    refused_images: Family<Why, Counter>,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("voxgate_sessions", "session actors in memory", metrics.live.clone());
        registry.register("voxgate_sessions_opened", "sessions opened", metrics.opened.clone());
        registry.register("voxgate_sessions_resumed", "sessions resumed by a hello", metrics.resumed.clone());
        registry.register("voxgate_session_panics", "sessions that ended by a fault of ours", metrics.panics.clone());
        registry.register(
            "voxgate_sequence_numbers",
            "numbered messages by stream and verdict",
            metrics.numbers.clone(),
        );
        registry.register("voxgate_control_messages", "control messages by type", metrics.control.clone());
        registry.register(
            "voxgate_audio_packets",
            "uplink audio packets that reached a session",
            metrics.audio.clone(),
        );
        registry.register(
            "voxgate_audio_ignored",
            "uplink audio packets while the microphone did not count",
            metrics.ignored.clone(),
        );
        registry.register(
            "voxgate_audio_dropped",
            "uplink audio packets dropped because a session's lane was full",
            metrics.dropped.clone(),
        );
        registry.register("voxgate_turns", "turns by outcome and input", metrics.turns.clone());
        registry.register("voxgate_turns_running", "turns that run now", metrics.running.clone());
        registry.register("voxgate_session_failed_commits", "commits that failed", metrics.failed_commits.clone());
        registry.register(
            "voxgate_listening_ends",
            "listening that ended otherwise than by silence after speech or by the device: too_long, stalled, no_speech",
            metrics.listening.clone(),
        );
        registry.register(
            "voxgate_images_refused",
            "images that were refused by cause",
            metrics.refused_images.clone(),
        );
        metrics
    }

    pub(super) fn sequence(&self, stream: Stream, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::New => "new",
            Verdict::Duplicate => "duplicate",
            Verdict::Pending => "pending",
            Verdict::Late => "late",
            Verdict::Unconfirmed => "unconfirmed",
        };
        self.numbers.get_or_create(&Number { stream: stream.name(), verdict }).inc();
    }

    pub(super) fn control(&self, kind: &'static str) {
        self.control.get_or_create(&Kind { kind }).inc();
    }

    pub(super) fn audio(&self, packets: usize) {
        self.audio.inc_by(packets as u64);
    }

    pub(super) fn ignored(&self, packets: usize) {
        self.ignored.inc_by(packets as u64);
    }

    /// Packets that a full lane dropped.
    pub fn dropped(&self, packets: usize) {
        self.dropped.inc_by(packets as u64);
    }

    pub(super) fn hello(&self, resumed: bool) {
        if resumed {
            self.resumed.inc();
        }
    }

    pub(super) fn session_opened(&self) {
        self.opened.inc();
    }

    /// Listening ended in an unusual way.
    pub(super) fn listening_ended(&self, why: &'static str) {
        self.listening.get_or_create(&Why { why }).inc();
    }

    pub(super) fn refused_image(&self, why: Refusal) {
        self.refused_images.get_or_create(&Why { why: why.name() }).inc();
    }

    pub(super) fn failed_commit(&self) {
        self.failed_commits.inc();
    }

    pub(super) fn turn_started(&self) {
        self.running.inc();
    }

    pub(super) fn turn_ended(&self, outcome: Outcome, report: &TurnReport) {
        self.running.dec();
        let input = match report.input.as_str() {
            "speech" => "speech",
            "text" => "text",
            _ => "say",
        };
        self.turns.get_or_create(&Ended { outcome: outcome.name(), input }).inc();
    }

    /// An actor began.
    pub fn began(&self) {
        self.live.inc();
    }

    /// An actor ended, by a fault of ours or not.
    pub fn ended(&self, panicked: bool) {
        self.live.dec();
        if panicked {
            self.panics.inc();
        }
    }
}
