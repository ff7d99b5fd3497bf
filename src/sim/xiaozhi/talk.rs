//! One exchange of a simulated device: it speaks, the gateway answers, and what a device would notice is noted.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::board::{Board, BoardError, Heard};
use super::strict::{Mode, State};
use crate::domain::DOWN_FRAME_MS;
use crate::sim::interrupt::{How, Interruption, WATCH, at};
use crate::sim::script::Script;
use crate::sim::turn::{LONGEST, PATIENCE, Turn};

/// Frames of silence that an encoder with DTX makes before it leaves them out: 240 ms.
const HANGOVER_MS: usize = 240;
/// How often a device with DTX sends a frame of silence, which is no more than its first byte.
const DTX_EVERY: Duration = Duration::from_millis(400);
/// How long it waits for an answer to what it said into another that had just ended.
const LATE_ANSWER: Duration = Duration::from_secs(5);

/// How it talks.
#[derive(Debug, Clone)]
pub struct Talk {
    /// Who ends a turn.
    pub mode: Mode,
    /// Frames that the gateway sends ahead of real time (`voice.reply.ahead_frames`).
    pub ahead: u32,
    /// Break into the answer, so long after its first frame. By voice in [`Mode::Realtime`] only.
    pub interrupt: Option<(How, Duration)>,
}

impl Talk {
    /// Hears each answer out; for a gateway with the defaults.
    pub fn new(mode: Mode) -> Self {
        Self { mode, ahead: 5, interrupt: None }
    }
}

/// What an exchange looked like from the device.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Exchange {
    /// What any device would have seen.
    #[serde(flatten)]
    pub turn: Turn,
    /// What the gateway said, sentence by sentence.
    pub sentences: Vec<String>,
    /// The face that it showed.
    pub emotion: Option<String>,
}

impl Exchange {
    /// There was an answer that could be heard.
    pub fn answered(&self) -> bool {
        self.turn.frames > 0 && self.turn.errors.is_empty()
    }
}

/// Listens, speaks a script in real time, and takes in the answer up to its end.
pub async fn exchange(board: &mut Board, script: &Script, talk: &Talk) -> Result<Exchange, BoardError> {
    board.listen(talk.mode).await?;
    let mut mouth = Mouth::new(script, talk.mode);
    let mut ear = Ear::new(board, talk);
    loop {
        let patience = ear.patience(&mouth);
        tokio::select! {
            biased;
            arrived = board.arrival(LONGEST, "answer") => {
                let heard = board.hears(arrived?).await?;
                if ear.takes(board, heard) {
                    return Ok(ear.exchange(board, &mouth));
                }
            }
            () = at(ear.breaks(talk)) => {
                ear.broken = Some(Instant::now());
                match talk.interrupt {
                    Some((How::Voice, _)) => {
                        board.strict.aborts();
                        mouth.speaks_again();
                    }
                    _ => board.abort(None).await?,
                }
            }
            () = at(ear.watched()) => return Ok(ear.exchange(board, &mouth)),
            () = sleep_until(mouth.due), if mouth.is_open(board.strict.state()) => mouth.speak(board).await?,
            () = sleep_until(patience) => return Err(BoardError::Silence("answer", PATIENCE)),
        }
    }
}

/// What the person says, frame by frame.
struct Mouth<'a> {
    script: &'a Script,
    mode: Mode,
    /// One frame without anything in it.
    quiet: Bytes,
    sent: usize,
    due: Instant,
    /// When the question was over.
    spoken: Option<Instant>,
}

impl<'a> Mouth<'a> {
    fn new(script: &'a Script, mode: Mode) -> Self {
        let first = script.frames.first().and_then(|frame| frame.first()).copied().unwrap_or(0);
        let quiet = Bytes::copy_from_slice(&[first & 0xFC]);
        Self { script, mode, quiet, sent: 0, due: Instant::now(), spoken: None }
    }

    fn speaking(&self) -> bool {
        self.sent < self.script.frames.len()
    }

    /// A microphone that is on goes on: silence, as DTX sends it.
    fn is_open(&self, state: State) -> bool {
        self.speaking() || self.mode == Mode::Realtime || (self.mode == Mode::Auto && state == State::Listening)
    }

    fn speaks_again(&mut self) {
        (self.sent, self.due) = (0, Instant::now());
    }

    async fn speak(&mut self, board: &mut Board) -> Result<(), BoardError> {
        let frame_ms = usize::try_from(self.script.frame_ms).unwrap_or(60);
        if self.sent >= self.script.frames.len() + HANGOVER_MS / frame_ms {
            self.due += DTX_EVERY;
            return board.microphone(&self.quiet).await;
        }
        let frame = self.script.frame(self.sent);
        board.microphone(&frame.payload).await?;
        self.sent += 1;
        self.due += Duration::from_millis(u64::from(self.script.frame_ms));
        if self.sent == self.script.frames.len() {
            // the frame that was just sent ends now
            self.spoken = Some(Instant::now());
            if self.mode == Mode::Manual {
                board.stop_listening().await?;
            }
        }
        Ok(())
    }
}

/// The answer as it comes in.
struct Ear {
    found: Exchange,
    ahead: u32,
    /// Holes that there were before, and complaints.
    before: (u32, usize),
    first: Option<Instant>,
    heard: Option<Instant>,
    transcript_at: Option<Instant>,
    /// The interruption, and what is known of it.
    broken: Option<Instant>,
    interruption: Interruption,
    by_voice: bool,
    stopped: Option<Instant>,
    last: Option<Instant>,
}

impl Ear {
    fn new(board: &Board, talk: &Talk) -> Self {
        Self {
            found: Exchange::default(),
            ahead: talk.ahead,
            before: (board.strict.lost, board.strict.complaints.len()),
            first: None,
            heard: None,
            transcript_at: None,
            broken: None,
            interruption: Interruption::default(),
            by_voice: matches!(talk.interrupt, Some((How::Voice, _))),
            stopped: None,
            last: None,
        }
    }

    /// Until when it waits for anything.
    fn patience(&self, mouth: &Mouth<'_>) -> Instant {
        let said = if mouth.speaking() { Some(mouth.due) } else { mouth.spoken };
        self.heard.max(said).unwrap_or(mouth.due) + PATIENCE
    }

    /// When to break into the answer.
    fn breaks(&self, talk: &Talk) -> Option<Instant> {
        let (_, into) = talk.interrupt?;
        self.first.filter(|_| self.broken.is_none()).map(|first| first + into)
    }

    /// When an answer that was broken into is over for good.
    fn watched(&self) -> Option<Instant> {
        let stopped = self.stopped.filter(|_| self.broken.is_some())?;
        Some(stopped + if self.by_voice { LATE_ANSWER } else { WATCH })
    }

    /// Takes what was heard; `true` when the exchange is over.
    fn takes(&mut self, board: &Board, heard: Heard) -> bool {
        let now = Instant::now();
        self.heard = Some(now);
        match heard {
            Heard::Frame(at, packet) => self.frame(board, at, packet),
            Heard::Noise => {}
            Heard::Text(text) => match (text["type"].as_str(), text["state"].as_str()) {
                (Some("stt"), _) if self.stopped.is_none() => {
                    text["text"].as_str().unwrap_or_default().clone_into(&mut self.found.turn.transcript);
                    self.transcript_at = Some(now);
                    // nothing was understood: no answer follows
                    return self.found.turn.transcript.is_empty();
                }
                (Some("llm"), _) => self.found.emotion = text["emotion"].as_str().map(str::to_owned),
                (Some("tts"), Some("sentence_start")) if self.stopped.is_none() => {
                    self.found.sentences.push(text["text"].as_str().unwrap_or_default().to_owned());
                }
                (Some("tts"), Some("stop")) => return self.stop(now),
                (Some("goodbye"), _) => {
                    self.found.turn.errors.push("the gateway said goodbye".to_owned());
                    return true;
                }
                _ => {}
            },
        }
        false
    }

    /// Speech has ended: what was broken into is watched for a while, or for the answer to what was said into it.
    fn stop(&mut self, now: Instant) -> bool {
        let Some(broken) = self.broken else {
            self.stopped = Some(now);
            return true;
        };
        if self.stopped.is_some() {
            return true;
        }
        self.stopped = Some(now);
        let played = self.first.map_or(Duration::ZERO, |first| {
            let frames = self.found.turn.frames.saturating_sub(1);
            (first + Duration::from_millis(u64::from(DOWN_FRAME_MS)) * frames).saturating_duration_since(now)
        });
        // an answer that ended by itself was played to its end
        self.interruption.in_time = !self.by_voice || !played.is_zero();
        self.interruption.stop_ms = now.saturating_duration_since(broken).as_secs_f64() * 1e3;
        self.interruption.last_frame_ms =
            self.last.map(|last| last.saturating_duration_since(broken).as_secs_f64() * 1e3);
        false
    }

    fn frame(&mut self, board: &Board, at: Instant, packet: Bytes) {
        if self.stopped.is_some() {
            // the answer to what was said into this one
            return;
        }
        let first = *self.first.get_or_insert_with(|| {
            self.before.0 = board.strict.lost;
            at
        });
        let turn = &mut self.found.turn;
        // where the first frame may be lost, nobody knows which slot is whose
        if !board.weather.takes() {
            let slot = (turn.frames + board.strict.lost - self.before.0).saturating_sub(self.ahead.saturating_sub(1));
            let due = first + Duration::from_millis(u64::from(slot) * u64::from(DOWN_FRAME_MS));
            turn.late_ms.push(at.saturating_duration_since(due).as_secs_f32() * 1e3);
        }
        turn.frames += 1;
        turn.speech.push(packet);
        if self.broken.is_some() {
            self.interruption.frames_before_stop += 1;
            self.last = Some(at);
        }
    }

    fn exchange(mut self, board: &Board, mouth: &Mouth<'_>) -> Exchange {
        let spoken = mouth.spoken.unwrap_or(mouth.due);
        let ms = |at: Instant| at.saturating_duration_since(spoken).as_secs_f64() * 1e3;
        let turn = &mut self.found.turn;
        turn.reply = self.found.sentences.concat();
        turn.transcript_ms = self.transcript_at.map(ms);
        turn.first_audio_ms = self.first.map(ms);
        turn.total_ms = self.stopped.map_or(0.0, ms);
        let stale = |complaint: &&String| complaint.starts_with("a frame outside of speech");
        let stale = board.strict.complaints.iter().skip(self.before.1).filter(stale).count();
        turn.stale = u32::try_from(stale).unwrap_or(u32::MAX);
        if self.broken.is_some() {
            self.interruption.after_stop = turn.stale;
            turn.interruption = Some(self.interruption);
        }
        self.found
    }
}
