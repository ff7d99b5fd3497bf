//! What sessions count.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::state;
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

/// What is said of numbers of control and telemetry; audio's are counted by the ears.
const VERDICTS: [Verdict; 4] = [Verdict::New, Verdict::Duplicate, Verdict::Pending, Verdict::Late];
const OUTCOMES: [Outcome; 6] =
    [Outcome::Answered, Outcome::Empty, Outcome::Silenced, Outcome::Failed, Outcome::Interrupted, Outcome::LinkLost];
/// Every `ControlKind::name`.
const CONTROL: [&str; 15] = [
    "hello",
    "heartbeat",
    "listen_start",
    "listen_stop",
    "abort",
    "text",
    "played",
    "ack",
    "sos",
    "tool_result",
    "image",
    "goodbye",
    "wake",
    "mcp",
    "things",
];

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
    unknown_sessions: Counter,
    outdone: Counter,
    asides: Counter,
    inbox: Family<Why, Counter>,
    resent: Counter,
    tools: Family<Why, Counter>,
    states: state::Metrics,
}

/// What becomes of questions to a device's tools: answers of lists and calls, and what was wrong with them, or with what
/// older firmware tells of its things.
const TOOLS: [&str; 16] = [
    "listed",
    "call",
    "timed_out",
    "id",
    "unknown_id",
    "request",
    "initialize",
    "list",
    "tool",
    "twice",
    "too_many",
    "endless",
    "thing",
    "state",
    "no_things",
    "beside_mcp",
];

/// What becomes of messages that an earlier run left.
const INBOX: [&str; 3] = ["again", "interrupted", "put_aside"];

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { states: state::Metrics::register(registry), ..Self::default() };
        registry.register("voxgate_sessions", "Sessions in memory", metrics.live.clone());
        registry.register("voxgate_sessions_opened", "Sessions opened", metrics.opened.clone());
        registry.register("voxgate_sessions_resumed", "Sessions resumed by a hello", metrics.resumed.clone());
        registry.register(
            "voxgate_session_panics",
            "Sessions that ended by a fault of the gateway's own; each device got a new one",
            metrics.panics.clone(),
        );
        registry.register(
            "voxgate_sequence_numbers",
            "Numbered control and telemetry messages, by what the sequence window said of the number",
            metrics.numbers.clone(),
        );
        registry.register(
            "voxgate_control_messages",
            "Control messages that sessions took, by type",
            metrics.control.clone(),
        );
        registry.register(
            "voxgate_audio_packets",
            "Uplink audio packets that reached a session",
            metrics.audio.clone(),
        );
        registry.register(
            "voxgate_audio_ignored",
            "Uplink audio packets that came while nobody listened: during an answer, or outside listen_start and listen_stop",
            metrics.ignored.clone(),
        );
        registry.register(
            "voxgate_audio_dropped",
            "Uplink audio packets dropped because a session's lane was full; the oldest goes",
            metrics.dropped.clone(),
        );
        registry.register(
            "voxgate_turns",
            "Turns that ended, by outcome and by what began them",
            metrics.turns.clone(),
        );
        registry.register("voxgate_turns_running", "Turns that run now", metrics.running.clone());
        registry.register(
            "voxgate_session_failed_commits",
            "Commits of sessions that failed: what they carried was not acknowledged",
            metrics.failed_commits.clone(),
        );
        registry.register(
            "voxgate_listening_ends",
            "Listening that ended otherwise than by silence after speech, or than the device wished",
            metrics.listening.clone(),
        );
        registry.register(
            "voxgate_images_refused",
            "Images that were refused, by cause",
            metrics.refused_images.clone(),
        );
        registry.register(
            "voxgate_unknown_sessions",
            "Messages of a conversation that is over here, or was never heard of; the device is told to begin anew",
            metrics.unknown_sessions.clone(),
        );
        registry.register(
            "voxgate_outdone_wakes",
            "Devices that woke and were sent back to rest, since another one of their room heard it louder",
            metrics.outdone.clone(),
        );
        registry.register(
            "voxgate_said_aside",
            "Times that somebody said mm, or too little, into an answer, and the answer went on",
            metrics.asides.clone(),
        );
        registry.register(
            "voxgate_inbox",
            "Messages of an earlier run that were found unanswered: tried again, told as interrupted, or put aside since they ended the gateway twice",
            metrics.inbox.clone(),
        );
        registry.register(
            "voxgate_outbox_resent",
            "Messages that must arrive and were sent again to a device that stayed connected and did not acknowledge them",
            metrics.resent.clone(),
        );
        registry.register(
            "voxgate_device_tools",
            "Questions to devices' tools: lists that are whole, calls, and what was wrong with an answer",
            metrics.tools.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        self.states.show_labels();
        for stream in [Stream::Control, Stream::Telemetry].map(Stream::name) {
            for verdict in VERDICTS.map(name) {
                drop(self.numbers.get_or_create(&Number { stream, verdict }));
            }
        }
        for kind in CONTROL {
            drop(self.control.get_or_create(&Kind { kind }));
        }
        for outcome in OUTCOMES.map(Outcome::name) {
            for input in ["speech", "text", "say", "sos"] {
                drop(self.turns.get_or_create(&Ended { outcome, input }));
            }
        }
        for why in ["too_long", "no_speech", "stalled"] {
            drop(self.listening.get_or_create(&Why { why }));
        }
        for why in INBOX {
            drop(self.inbox.get_or_create(&Why { why }));
        }
        for why in TOOLS {
            drop(self.tools.get_or_create(&Why { why }));
        }
        let refusals = [Refusal::Malformed, Refusal::NotAllowed, Refusal::Quota, Refusal::Storage, Refusal::Internal];
        for why in refusals.map(Refusal::name) {
            drop(self.refused_images.get_or_create(&Why { why }));
        }
    }

    pub(super) fn sequence(&self, stream: Stream, verdict: Verdict) {
        self.numbers.get_or_create(&Number { stream: stream.name(), verdict: name(verdict) }).inc();
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

    /// One of [`TOOLS`].
    pub(super) fn tools(&self, why: &'static str, count: usize) {
        self.tools.get_or_create(&Why { why }).inc_by(count as u64);
    }

    pub(super) fn inbox(&self, why: &'static str) {
        self.inbox.get_or_create(&Why { why }).inc();
    }

    pub(super) fn resent(&self, messages: usize) {
        self.resent.inc_by(messages as u64);
    }

    pub(super) fn said_aside(&self) {
        self.asides.inc();
    }

    pub(super) fn outdone(&self) {
        self.outdone.inc();
    }

    pub(super) fn unknown_session(&self) {
        self.unknown_sessions.inc();
    }

    pub(super) fn refused_image(&self, why: Refusal) {
        self.refused_images.get_or_create(&Why { why: why.name() }).inc();
    }

    pub(super) fn failed_commit(&self) {
        self.failed_commits.inc();
    }

    /// How many sessions are in each state.
    pub(super) fn states(&self) -> state::Metrics {
        self.states.clone()
    }

    /// Counts a turn that runs, until the guard is dropped.
    pub(super) fn turn_started(&self) -> RunningTurn {
        self.running.inc();
        RunningTurn(self.running.clone())
    }

    pub(super) fn turn_ended(&self, outcome: Outcome, report: &TurnReport) {
        let input = match report.input.as_str() {
            "speech" => "speech",
            "text" => "text",
            "sos" => "sos",
            _ => "say",
        };
        self.turns.get_or_create(&Ended { outcome: outcome.name(), input }).inc();
    }

    /// What was counted so far. Makes no sample of a label that was never counted.
    pub fn counted(&self) -> Totals {
        let control =
            CONTROL.iter().map(|kind| (*kind, self.control.get(&Kind { kind }).map_or(0, |count| count.get())));
        let number = |stream, verdict| self.numbers.get(&Number { stream, verdict }).map_or(0, |count| count.get());
        let streams = [Stream::Control, Stream::Telemetry].map(Stream::name);
        let again = streams.iter().flat_map(|stream| ["duplicate", "pending"].map(|verdict| number(*stream, verdict)));
        let turns = |outcome: Outcome| {
            let ended = |input| Ended { outcome: outcome.name(), input };
            let count = |input| self.turns.get(&ended(input)).map_or(0, |count| count.get());
            ["speech", "text", "say"].into_iter().map(count).sum::<u64>()
        };
        Totals {
            control: control.filter(|(_, count)| *count > 0).collect(),
            duplicates: again.sum(),
            turns: OUTCOMES.into_iter().map(turns).sum(),
            failed_turns: turns(Outcome::Failed),
            failed_commits: self.failed_commits.get(),
        }
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

/// What sessions counted so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// Control messages by type, without those that never came.
    pub control: Vec<(&'static str, u64)>,
    /// Numbers that came again.
    pub duplicates: u64,
    /// Turns that ended.
    pub turns: u64,
    /// Those that failed.
    pub failed_turns: u64,
    /// Commits that failed.
    pub failed_commits: u64,
}

/// A turn that runs; it ends with its session too, however that ends.
pub(super) struct RunningTurn(Gauge);

impl Drop for RunningTurn {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::New => "new",
        Verdict::Duplicate => "duplicate",
        Verdict::Pending => "pending",
        Verdict::Late => "late",
        Verdict::Unconfirmed => "unconfirmed",
    }
}
