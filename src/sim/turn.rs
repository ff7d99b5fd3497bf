//! One simulated turn: speak, listen, measure.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::device::{Arrived, Device, DeviceError};
use super::interrupt::Interruption;
use super::script::Script;
use crate::domain::{ControlKind, DOWN_FRAME_MS, Downlink, ListenMode, Message};

/// How long the device waits for the next piece of an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// The longest script: for a wait that another branch ends.
pub(super) const LONGEST: Duration = Duration::from_hours(1);

/// What a turn looked like from the device.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Turn {
    /// What the gateway understood.
    pub transcript: String,
    /// What it answered.
    pub reply: String,
    /// From the end of speech (auto) or `listen_stop` (manual), ms.
    pub transcript_ms: Option<f64>,
    /// The first frame of speech.
    pub first_audio_ms: Option<f64>,
    /// `tts_stop`.
    pub total_ms: f64,
    /// Frames of speech that arrived.
    pub frames: u32,
    /// Holes in their numbers.
    pub lost: u32,
    /// Frames that belong to another turn than the one being spoken.
    pub stale: u32,
    /// The worst lateness of a frame against its slot, ms: slot n is the first frame's time + (n - (ahead - 1)) * 60 ms.
    pub late_ms: Vec<f32>,
    /// Errors that the gateway told.
    pub errors: Vec<String>,
    /// How it was interrupted, when that was the purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interruption: Option<Interruption>,
    /// The speech.
    #[serde(skip)]
    pub speech: Vec<Bytes>,
}

impl Turn {
    /// There was an answer.
    pub fn answered(&self) -> bool {
        self.errors.is_empty() && (self.frames > 0 || !self.reply.is_empty())
    }
}

/// What happens, as it happens.
pub type Watch<'a> = &'a mut (dyn FnMut(&Arrived) + Send);

/// Speaks a script in real time and takes in the answer.
pub async fn run(
    device: &mut Device,
    script: &Script,
    mode: ListenMode,
    ahead: u32,
    watch: Watch<'_>,
) -> Result<Turn, DeviceError> {
    while device.try_next().transpose()?.is_some() {}
    device.control(None, ControlKind::ListenStart { mode: Some(mode), n: None }).await?;
    let mut answer = Answer::new(ahead);
    let start = Instant::now();
    let mut sent = 0usize;
    let mut spoken_at = None;
    let mut heard_at = None;
    loop {
        let due = start + Duration::from_millis(u64::try_from(sent).unwrap_or(0) * u64::from(script.frame_ms));
        let speaking = sent < script.frames.len();
        let sending = speaking || (mode == ListenMode::Auto && !answer.begun);
        let patience = heard_at.or(spoken_at).unwrap_or(due) + PATIENCE;
        tokio::select! {
            biased;
            arrived = device.next(LONGEST, "answer") => {
                let arrived = arrived?;
                heard_at = Some(arrived.at);
                watch(&arrived);
                if answer.take(arrived) {
                    return Ok(answer.finish(spoken_at.unwrap_or(start)));
                }
            }
            () = sleep_until(due), if sending => {
                device.audio(script.frame(sent)).await?;
                sent += 1;
                if sent == script.frames.len() {
                    // the frame that was just sent ends now
                    spoken_at = Some(due.max(Instant::now()));
                    if mode == ListenMode::Manual {
                        device.control(None, ControlKind::ListenStop).await?;
                    }
                }
            }
            () = sleep_until(patience), if !speaking => {
                return Err(DeviceError::Silence("answer", PATIENCE));
            }
        }
    }
}

/// The answer as it comes in.
struct Answer {
    turn: Turn,
    ahead: u32,
    begun: bool,
    first: Option<Instant>,
    transcript_at: Option<Instant>,
    stopped: Option<Instant>,
    last_seq: Option<u32>,
    speaking: Option<crate::domain::TurnId>,
}

impl Answer {
    fn new(ahead: u32) -> Self {
        Self {
            turn: Turn::default(),
            ahead,
            begun: false,
            first: None,
            transcript_at: None,
            stopped: None,
            last_seq: None,
            speaking: None,
        }
    }

    /// Takes a downlink; `true` when the turn is over.
    fn take(&mut self, arrived: Arrived) -> bool {
        match arrived.downlink {
            Downlink::Audio(frame) => {
                if self.speaking.is_none_or(|turn| turn.0 % 16 != frame.turn.0) {
                    self.turn.stale += 1;
                }
                self.note_frame(arrived.at, frame.seq);
                self.turn.speech.push(frame.packet);
                false
            }
            Downlink::Control { message, .. } => self.note_control(arrived.at, message),
        }
    }

    fn note_frame(&mut self, at: Instant, seq: u32) {
        if let Some(last) = self.last_seq {
            self.turn.lost += seq.wrapping_sub(last).saturating_sub(1).min(10_000);
        }
        self.last_seq = Some(seq);
        let first = *self.first.get_or_insert(at);
        let slot = self.turn.frames.saturating_sub(self.ahead.saturating_sub(1)) * DOWN_FRAME_MS;
        let due = first + Duration::from_millis(u64::from(slot));
        let late = at.saturating_duration_since(due).as_secs_f32() * 1e3;
        self.turn.late_ms.push(late);
        self.turn.frames += 1;
    }

    fn note_control(&mut self, at: Instant, message: Message) -> bool {
        match message {
            Message::Stt { text, .. } => {
                self.begun = true;
                self.transcript_at = Some(at);
                self.turn.transcript = text;
                // nothing was understood: no answer follows
                return self.turn.transcript.is_empty();
            }
            Message::Reply { text } => self.turn.reply = text,
            Message::TtsStart { turn_id, .. } => {
                self.begun = true;
                self.speaking = Some(turn_id);
            }
            Message::TtsStop { .. } => {
                self.stopped = Some(at);
                return true;
            }
            Message::Error { code, message } => {
                self.begun = true;
                self.turn.errors.push(format!("{code}: {message}"));
            }
            _ => {}
        }
        false
    }

    fn finish(mut self, spoken_at: Instant) -> Turn {
        let ms = |at: Instant| at.saturating_duration_since(spoken_at).as_secs_f64() * 1e3;
        self.turn.transcript_ms = self.transcript_at.map(ms);
        self.turn.first_audio_ms = self.first.map(ms);
        self.turn.total_ms = self.stopped.map_or(0.0, ms);
        self.turn
    }
}
