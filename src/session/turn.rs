//! One turn as the session sees it: what goes in, what it may say, what it reports.
//!
//! The session runs turns through [`TurnRunner`]; the voice pipeline implements it. Dropping the
//! future is the cancellation: providers, queues and streams go with it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use futures::FutureExt;
use futures::future::{BoxFuture, Fuse};
use serde::{Deserialize, Serialize};

use super::history::Line;
use super::outgoing::Outgoing;
use super::tools::Tools;
use crate::audio::Utterance;
use crate::domain::{Audit, DeviceId, Message, Photo, SessionId, StopReason, TurnId};
use crate::store::records::{Persona, Watching};

/// How the answer reaches the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TtsMode {
    /// The gateway speaks: Opus frames.
    #[default]
    Audio,
    /// The device speaks: it gets the clauses as text.
    DeviceText,
}

/// What starts a turn.
#[derive(Debug)]
pub enum Input {
    /// Somebody spoke.
    Speech(Utterance),
    /// Somebody typed.
    Text(String),
    /// An operator wants this said, as it is.
    Say(String),
    /// Somebody sent a photo and asks about it; it is kept already.
    Photo(Box<Photo>),
    /// How a task ended is to be said.
    Task {
        /// What.
        text: String,
        /// Nobody would miss it.
        low: bool,
    },
    /// Somebody called for help: that it is heard is said at once, without any provider.
    Sos,
}

impl Input {
    /// The label in records and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Input::Speech(_) => "speech",
            Input::Text(_) => "text",
            Input::Say(_) => "say",
            Input::Photo(_) => "photo",
            Input::Task { .. } => "task",
            Input::Sos => "sos",
        }
    }
}

/// Time that a device needs around its speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Margins {
    /// Between the start of speech and its first frame, at least.
    pub lead: std::time::Duration,
    /// Between the end of the last frame and the end of speech.
    pub tail: std::time::Duration,
}

/// Everything a runner gets for one turn.
pub struct Turn {
    /// The turn's number in its session.
    pub id: TurnId,
    /// Whose.
    pub device: DeviceId,
    /// Which session.
    pub session: SessionId,
    /// What starts it.
    pub input: Input,
    /// What was said is to be done in the background, says the device.
    pub errand: bool,
    /// The conversation so far, oldest first, within its budget.
    pub history: Vec<Line>,
    /// How the answer reaches the device.
    pub tts_mode: TtsMode,
    /// Who answers.
    pub persona: Persona,
    /// How it is watched over, where an operator said so.
    pub watching: Watching,
    /// What it speaks: [`crate::domain::dialect`].
    pub dialect: &'static str,
    /// What the device needs around its speech.
    pub margins: Margins,
    /// What the device can do, when it has tools.
    pub tools: Option<Tools>,
    /// When the turn was decided: the endpoint decision, or the arrival of `listen_stop` or of the text.
    pub decided: tokio::time::Instant,
    /// What it may say, as long as it is the current turn.
    pub voice: TurnVoice,
}

/// The mouth of one turn. Everything said after the turn was cancelled is dropped silently.
#[derive(Clone)]
pub struct TurnVoice {
    turn: TurnId,
    out: Arc<Outgoing>,
    device_speaks: bool,
}

impl TurnVoice {
    /// The mouth of `turn`.
    pub fn new(turn: TurnId, out: Arc<Outgoing>, mode: TtsMode) -> Self {
        Self { turn, out, device_speaks: mode == TtsMode::DeviceText }
    }

    /// Tells what was understood.
    pub fn transcript(&self, text: &str) {
        self.out.of_turn(self.turn, Message::Stt { text: text.to_owned(), is_final: true });
    }

    /// Tells the whole reply as text.
    pub fn reply(&self, text: &str) {
        self.out.of_turn(self.turn, Message::Reply { text: text.to_owned() });
    }

    /// Speech begins, with these words where they are known.
    pub fn start(&self, text: &str) {
        let (text, device_speaks) = (text.to_owned(), self.device_speaks);
        self.out.of_turn(self.turn, Message::TtsStart { turn_id: self.turn, text, device_speaks });
    }

    /// The clause whose speech follows.
    pub fn sentence(&self, text: &str) {
        self.out.of_turn(self.turn, Message::TtsSentence { text: text.to_owned(), device_speaks: self.device_speaks });
    }

    /// A face to show.
    pub fn emotion(&self, name: &str) {
        self.out.of_turn(self.turn, Message::Emotion { name: name.to_owned() });
    }

    /// One frame of speech; `false` when the turn is over or the link does not take it.
    pub fn frame(&self, packet: bytes::Bytes, ts_ms: u32, last: bool) -> bool {
        self.out.frame(self.turn, packet, ts_ms, last)
    }

    /// Waits until the device says that it has played the turn's speech to its end; not every device does.
    pub async fn played(&self) {
        self.out.played(self.turn).await;
    }

    /// Speech is over.
    pub fn stop(&self, reason: StopReason) {
        self.out.of_turn(self.turn, Message::TtsStop { turn_id: self.turn, reason });
    }

    /// Something went wrong that the device should know.
    pub fn error(&self, code: &str, message: &str) {
        self.out.of_turn(self.turn, Message::Error { code: code.to_owned(), message: message.to_owned() });
    }
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// There were no words in it.
    Empty,
    /// It was shown and not spoken: nobody asked for it at this time of day.
    Silenced,
    /// A stage failed; an apology was spoken where that could be.
    Failed,
    /// It was cancelled.
    Interrupted,
    /// The link did not take its speech.
    LinkLost,
}

impl Outcome {
    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Empty => "empty",
            Outcome::Silenced => "silenced",
            Outcome::Failed => "failed",
            Outcome::Interrupted => "interrupted",
            Outcome::LinkLost => "link_lost",
        }
    }
}

/// The stages of a turn, as records, metrics and reports name them. Milliseconds since the turn was
/// decided, but for `endpoint`, which is the hang-over before the decision.
pub mod stage {
    /// From the last speech to the decision that the turn is over.
    pub const ENDPOINT: &str = "endpoint";
    /// The transcript is there.
    pub const TRANSCRIBE: &str = "transcribe";
    /// The first piece of the reply is there.
    pub const FIRST_TOKEN: &str = "first_token";
    /// The first clause went to the synthesizer.
    pub const FIRST_CLAUSE: &str = "first_clause";
    /// The first frame was handed to the link.
    pub const FIRST_AUDIO: &str = "first_audio";
    /// The last frame was due.
    pub const TOTAL: &str = "total";
    /// Of `first_audio`: what the providers took.
    pub const PROVIDERS: &str = "providers";
    /// All of them.
    pub const ALL: [&str; 7] = [ENDPOINT, TRANSCRIBE, FIRST_TOKEN, FIRST_CLAUSE, FIRST_AUDIO, TOTAL, PROVIDERS];
}

/// What a turn leaves behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnReport {
    /// How it ended.
    pub outcome: Outcome,
    /// `speech`, `text`, `say`, `photo`, `task` or `sos`.
    pub input: String,
    /// What was understood.
    pub transcript: String,
    /// What was answered.
    pub reply: String,
    /// What failed: the stage and the kind of error, never the provider's own text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Milliseconds by stage, see [`stage`].
    pub stages_ms: BTreeMap<String, f64>,
    /// Uplink frames heard, of these lost, undecodable.
    #[serde(default)]
    pub heard: Heard,
    /// Downlink frames sent.
    pub frames: u32,
    /// The worst lateness of a downlink frame against its slot, ms.
    pub worst_late_ms: f64,
    /// Local intents answered it: no model was asked.
    pub local: bool,
    /// The answer was known: `exact` (the same words were asked) or `semantic` (the same was asked in other words). No model was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<String>,
    /// How grave it was and by which rules, where that is worth a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<serde_json::Value>,
    /// Where a policy stepped in: entries of their own in the lifelog.
    #[serde(skip)]
    pub audits: Vec<Audit>,
}

/// What came in over the microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Heard {
    /// Packets of the utterance.
    pub frames: u32,
    /// Of these: lost on the way, concealed or restored.
    pub lost: u32,
    /// Of these: no decodable Opus.
    pub undecodable: u32,
    /// Length of the utterance, ms.
    pub ms: u32,
    /// Of which speech.
    pub voiced_ms: u32,
}

impl TurnReport {
    /// An empty report on a turn with this input.
    pub fn new(input: &str) -> Self {
        Self {
            outcome: Outcome::Interrupted,
            input: input.to_owned(),
            transcript: String::new(),
            reply: String::new(),
            failed: None,
            stages_ms: BTreeMap::new(),
            heard: Heard::default(),
            frames: 0,
            worst_late_ms: 0.0,
            local: false,
            cached: None,
            safety: None,
            audits: Vec::new(),
        }
    }
}

/// Work of a turn that is done ahead, before it is decided whether what was heard is all. It says and does nothing.
/// Dropping it is the cancellation.
pub struct Prepared {
    work: Fuse<BoxFuture<'static, ()>>,
    words: FirstWords,
    told: bool,
    take_over: TakeOver,
}

/// What work that is done ahead has understood: written once, nothing where it failed.
pub type FirstWords = Arc<OnceLock<Option<String>>>;

/// The rest of a turn: it gets the work that is still under way.
pub type TakeOver = Box<dyn FnOnce(Fuse<BoxFuture<'static, ()>>, Turn, SharedReport) -> BoxFuture<'static, ()> + Send>;

impl Prepared {
    /// `work` goes on by itself; `take_over` makes a turn of it, at any time.
    pub fn new(work: BoxFuture<'static, ()>, words: FirstWords, take_over: TakeOver) -> Self {
        Self { work: work.fuse(), words, told: false, take_over }
    }

    /// Goes on with it; returns once, when it is known what was said, or that it will not be.
    pub async fn go_on(&mut self) {
        std::future::poll_fn(|cx| {
            // it goes on when this has returned, too
            let _ = self.work.poll_unpin(cx);
            if self.told || self.words.get().is_none() {
                return Poll::Pending;
            }
            self.told = true;
            Poll::Ready(())
        })
        .await;
    }

    /// It is known what was said, or that it will not be.
    pub fn is_known(&self) -> bool {
        self.words.get().is_some()
    }

    /// What was said, where it is known.
    pub fn words(&self) -> Option<&str> {
        self.words.get()?.as_deref()
    }

    /// Runs the turn that it was done for, in place of [`TurnRunner::run`].
    pub fn run(self, turn: Turn, report: SharedReport) -> BoxFuture<'static, ()> {
        (self.take_over)(self.work, turn, report)
    }
}

/// Runs turns. One call is one turn; dropping the future cancels it. `report` is filled as the turn
/// goes, so that a cancelled turn leaves what it had.
pub trait TurnRunner: Send + Sync {
    /// Runs a turn to its end.
    fn run(&self, turn: Turn, report: SharedReport) -> BoxFuture<'static, ()>;

    /// What was said while an answer is spoken is no turn: too little, or a word that says no more than "go on".
    fn is_aside(&self, _said: &Utterance, _words: Option<&str>) -> bool {
        false
    }

    /// Begins what can be done ahead of a turn that is likely to come, without any effect. None where nothing is.
    fn prepare(&self, _turn: Turn) -> Option<Prepared> {
        None
    }

    /// Somebody begins to speak: a turn may follow. Costs nothing and waits for nothing.
    fn expect(&self) {}
}

/// A report that the runner writes and the session reads when the turn is over, however it ended.
#[derive(Debug, Clone)]
pub struct SharedReport(Arc<std::sync::Mutex<TurnReport>>);

impl SharedReport {
    /// Begins a report.
    pub fn new(input: &str) -> Self {
        Self(Arc::new(std::sync::Mutex::new(TurnReport::new(input))))
    }

    /// Writes to it.
    pub fn write(&self, change: impl FnOnce(&mut TurnReport)) {
        change(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Reads it.
    pub fn read(&self) -> TurnReport {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}
