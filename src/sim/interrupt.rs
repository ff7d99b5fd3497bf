//! A simulated person who does not let the gateway finish: how soon it is silent, and whether it stays so.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use super::device::{Arrived, Device, DeviceError};
use super::report::Spread;
use super::script::Script;
use super::turn::{LONGEST, PATIENCE, Turn};
use crate::domain::{ControlKind, Downlink, ListenMode, Message, StopReason, TurnId};

/// How long it listens for frames of the dead turn after `tts_stop`.
pub(super) const WATCH: Duration = Duration::from_millis(600);

/// How an answer is broken into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The device sends `abort` (a button).
    Abort,
    /// The person speaks into it, in realtime mode; the gateway wants 300 ms of speech (`voice.endpoint.barge_in`).
    Voice,
}

/// One interrupted answer. Times are from the moment at which the device's own code handed the `abort` (or the
/// first frame of the intruding speech) to its MQTT client, so they include the client's way to the socket.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Interruption {
    /// The gateway stopped because of it; false: the answer had ended by itself before.
    pub in_time: bool,
    /// Until `tts_stop` arrived, ms.
    pub stop_ms: f64,
    /// Until the last audio frame of the old turn arrived, ms; none when none came after the interruption.
    pub last_frame_ms: Option<f64>,
    /// Frames of the old turn between the interruption and `tts_stop`.
    pub frames_before_stop: u32,
    /// Frames of the old turn that arrived after its `tts_stop`.
    pub after_stop: u32,
}

/// Many of them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Interrupted {
    /// How many were in time.
    pub count: usize,
    /// Answers that had ended by themselves before; not in the figures.
    pub missed: usize,
    /// See [`Interruption::stop_ms`].
    pub stop_ms: Spread,
    /// See [`Interruption::last_frame_ms`]; 0 where no frame came after the interruption.
    pub last_frame_ms: Spread,
    /// See [`Interruption::frames_before_stop`], of all.
    pub frames_before_stop: u64,
    /// See [`Interruption::after_stop`], of all. More than 0 is a fault.
    pub after_stop: u64,
}

impl Interrupted {
    /// Sums up.
    pub fn of(all: &[Interruption]) -> Self {
        let in_time: Vec<_> = all.iter().filter(|one| one.in_time).collect();
        Self {
            count: in_time.len(),
            missed: all.len() - in_time.len(),
            stop_ms: Spread::of(in_time.iter().map(|one| one.stop_ms).collect()),
            last_frame_ms: Spread::of(in_time.iter().map(|one| one.last_frame_ms.unwrap_or_default()).collect()),
            frames_before_stop: in_time.iter().map(|one| u64::from(one.frames_before_stop)).sum(),
            after_stop: all.iter().map(|one| u64::from(one.after_stop)).sum(),
        }
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<12} ms  {}", "tts_stop", self.stop_ms)?;
        writeln!(f, "  {:<12} ms  {}", "last frame", self.last_frame_ms)?;
        writeln!(
            f,
            "  {} interrupted, {} had ended before; frames of the dead turn: {} before tts_stop, {} after it",
            self.count, self.missed, self.frames_before_stop, self.after_stop
        )
    }
}

/// Asks, and breaks into the answer `into` after its first frame.
pub async fn run(device: &mut Device, script: &Script, how: How, into: Duration) -> Result<Turn, DeviceError> {
    while device.try_next().transpose()?.is_some() {}
    let mode = match how {
        How::Abort => ListenMode::Manual,
        How::Voice => ListenMode::Realtime,
    };
    device.control(None, ControlKind::ListenStart { mode: Some(mode), n: None }).await?;
    let mut ear = Ear::default();
    let (start, question) = (Instant::now(), script.frames.len());
    // not moved on by what the device says: an answer that never comes is noticed
    let asked = start + Duration::from_millis(u64::try_from(question).unwrap_or(0) * u64::from(script.frame_ms));
    let mut sent = 0;
    // the frame with which the intruding speech begins
    let mut intrusion = None;
    loop {
        let due = start + Duration::from_millis(u64::try_from(sent).unwrap_or(0) * u64::from(script.frame_ms));
        let speaking = sent < question || (how == How::Voice && ear.stopped.is_none());
        let breaks = ear.first.map(|at| at + into).filter(|_| ear.broken.is_none() && intrusion.is_none());
        let over = ear.stopped.map(|at| at + WATCH);
        let patience = ear.heard.unwrap_or(asked).max(asked) + PATIENCE;
        tokio::select! {
            biased;
            arrived = device.next(LONGEST, "answer") => {
                if ear.take(arrived?) {
                    return Ok(ear.turn());
                }
            }
            () = at(over) => return Ok(ear.turn()),
            () = at(breaks) => match how {
                How::Abort => {
                    ear.broken = Some(Instant::now());
                    device.control(None, ControlKind::Abort { reason: None }).await?;
                }
                How::Voice => intrusion = Some(sent),
            },
            () = sleep_until(due), if speaking => {
                if intrusion == Some(sent) {
                    ear.broken = Some(Instant::now());
                }
                device.audio(script.frame(sent - intrusion.unwrap_or(0))).await?;
                sent += 1;
                if sent == question && how == How::Abort {
                    device.control(None, ControlKind::ListenStop).await?;
                }
            }
            () = sleep_until(patience) => return Err(DeviceError::Silence("answer", PATIENCE)),
        }
    }
}

/// Waits until then; for ever when there is no such moment.
pub(super) async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// What the device hears of the turn that is broken into.
#[derive(Default)]
struct Ear {
    turn: Option<TurnId>,
    /// When anything came last.
    heard: Option<Instant>,
    /// The first frame.
    first: Option<Instant>,
    /// The interruption.
    broken: Option<Instant>,
    /// The last frame.
    last: Option<Instant>,
    stopped: Option<Instant>,
    frames: u32,
    errors: Vec<String>,
    found: Interruption,
}

impl Ear {
    /// Takes a downlink; `true` when nothing follows.
    fn take(&mut self, arrived: Arrived) -> bool {
        self.heard = Some(arrived.at);
        match arrived.downlink {
            Downlink::Audio(frame) => {
                // the next turn's frames are no fault of this one's
                if self.turn.is_some_and(|turn| turn.0 % 16 == frame.turn.0) {
                    self.frame(arrived.at);
                }
                false
            }
            Downlink::Control { message, .. } => self.control(arrived.at, message),
        }
    }

    fn frame(&mut self, at: Instant) {
        self.frames += 1;
        self.first.get_or_insert(at);
        if self.stopped.is_some() {
            self.found.after_stop += 1;
        } else if self.broken.is_some() {
            self.found.frames_before_stop += 1;
        }
        if self.broken.is_some() {
            self.last = Some(at);
        }
    }

    fn control(&mut self, at: Instant, message: Message) -> bool {
        match message {
            Message::TtsStart { turn_id, .. } if self.turn.is_none() => self.turn = Some(turn_id),
            Message::TtsStop { turn_id, reason } if self.turn == Some(turn_id) => {
                self.stopped = Some(at);
                self.found.in_time = matches!(reason, StopReason::Abort | StopReason::BargeIn) && self.broken.is_some();
            }
            Message::Stt { text, .. } if self.turn.is_none() && text.is_empty() => {
                self.errors.push("nothing was understood".to_owned());
                return true;
            }
            Message::Error { code, message } if self.stopped.is_none() => {
                self.errors.push(format!("{code}: {message}"));
            }
            _ => {}
        }
        false
    }

    fn turn(mut self) -> Turn {
        if let Some(broken) = self.broken {
            let ms = |at: Instant| at.saturating_duration_since(broken).as_secs_f64() * 1e3;
            self.found.stop_ms = self.stopped.map_or(0.0, ms);
            self.found.last_frame_ms = self.last.map(ms);
        }
        Turn { frames: self.frames, errors: self.errors, interruption: Some(self.found), ..Turn::default() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::SpokenFrame;

    fn frame(turn: u32) -> Downlink {
        Downlink::Audio(SpokenFrame { turn: TurnId(turn % 16), seq: 1, ts_ms: 0, last: false, packet: Bytes::new() })
    }

    fn control(message: Message) -> Downlink {
        Downlink::Control { session: None, seq: None, ts_ms: 0, msg_id: None, want_ack: false, json: true, message }
    }

    #[tokio::test(start_paused = true)]
    async fn frames_of_the_dead_turn_count_and_those_of_the_next_do_not() {
        let mut ear = Ear::default();
        let turn_id = TurnId(17);
        let hear = |ear: &mut Ear, downlink| ear.take(Arrived { at: Instant::now(), downlink });
        hear(&mut ear, control(Message::TtsStart { turn_id, text: String::new(), device_speaks: false }));
        hear(&mut ear, frame(17));
        ear.broken = Some(Instant::now());
        tokio::time::advance(Duration::from_millis(10)).await;
        hear(&mut ear, frame(17));
        hear(&mut ear, control(Message::TtsStop { turn_id, reason: StopReason::Abort }));
        tokio::time::advance(Duration::from_millis(30)).await;
        hear(&mut ear, frame(18));
        hear(&mut ear, frame(17));
        let turn = ear.turn();
        let expected = Interruption {
            in_time: true,
            stop_ms: 10.0,
            last_frame_ms: Some(40.0),
            frames_before_stop: 1,
            after_stop: 1,
        };
        assert_eq!((turn.frames, turn.interruption), (3, Some(expected)));
    }

    #[test]
    fn an_answer_that_had_ended_is_missed_and_in_no_figure() {
        let late = Interruption { stop_ms: 900.0, ..Interruption::default() };
        let hit = Interruption { in_time: true, stop_ms: 2.0, ..Interruption::default() };
        let all = Interrupted::of(&[late, hit]);
        assert_eq!((all.count, all.missed, all.stop_ms.max), (1, 1, 2.0));
    }
}
