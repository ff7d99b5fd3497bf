//! What a session says to its device: one numbered line, and a gate that only the current turn passes.
//!
//! A cancelled turn can still be running for a moment; whatever it says after the cancellation stops
//! here. The gate and the queue behind it are emptied under one lock, so that no stale frame follows
//! a `tts_stop`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::domain::{
    Clock, DeviceId, Downlink, DownlinkSink, Message, NoRoom, SessionId, SpokenFrame, StopReason, TurnId,
};

/// How a downlink is to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Tells a repeat.
    pub msg_id: Option<String>,
    /// The device shall acknowledge it.
    pub want_ack: bool,
}

#[derive(Debug)]
struct Line {
    session: SessionId,
    json: bool,
    control_seq: u32,
    audio_seq: u32,
    turn: Option<TurnId>,
    /// `tts_start` of the current turn is out and `tts_stop` is not.
    speaking: bool,
}

/// The line of one session.
pub struct Outgoing {
    device: DeviceId,
    sink: Arc<dyn DownlinkSink>,
    clock: Arc<dyn Clock>,
    line: Mutex<Line>,
    /// Speech of a turn has begun, or ended.
    moved: Notify,
    /// The device has played a turn's speech to its end.
    played: watch::Sender<Option<TurnId>>,
}

impl Outgoing {
    /// A line for `session`, its next control number being `control_seq + 1`.
    pub fn new(
        device: DeviceId,
        session: SessionId,
        control_seq: u32,
        sink: Arc<dyn DownlinkSink>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let line = Line { session, json: true, control_seq, audio_seq: 0, turn: None, speaking: false };
        let (moved, played) = (Notify::new(), watch::Sender::new(None));
        Self { device, sink, clock, line: Mutex::new(line), moved, played }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // the line is whole between two statements: a panic elsewhere does not spoil it
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins another session on the same device: numbers start at 1, no turn is current.
    pub fn renumber(&self, session: SessionId, control_seq: u32) {
        let mut line = self.line();
        line.session = session;
        line.control_seq = control_seq;
        line.audio_seq = 0;
        line.turn = None;
        line.speaking = false;
    }

    /// Answers in the encoding of the device's last control message.
    pub fn answer_in(&self, json: bool) {
        self.line().json = json;
    }

    /// The number of the last control message sent.
    pub fn control_seq(&self) -> u32 {
        self.line().control_seq
    }

    /// Sends a control message; returns its number.
    pub fn control(&self, message: Message, asked: Asked) -> Result<u32, NoRoom> {
        self.send(&mut self.line(), message, asked)
    }

    /// Ends a session that is not known here, under the name that the device calls it by.
    pub fn close_unknown(&self, session: Option<&str>) {
        let session = session.and_then(|id| SessionId::parse(id).ok()).or_else(|| Some(self.line().session.clone()));
        let message = Message::Close { reason: "unknown session".to_owned() };
        let (json, ts_ms) = (true, self.clock.wall().0);
        let close = Downlink::Control { session, seq: None, ts_ms, msg_id: None, want_ack: false, json, message };
        // a device without a link finds out when it speaks
        let _ = self.sink.send(&self.device, close);
    }

    /// Sends a control message of a turn, if that turn is still the current one.
    pub fn of_turn(&self, turn: TurnId, message: Message) -> bool {
        let mut line = self.line();
        if line.turn != Some(turn) {
            return false;
        }
        match message {
            Message::TtsStart { .. } => line.speaking = true,
            Message::TtsStop { .. } => line.speaking = false,
            _ => {}
        }
        self.moved.notify_one();
        self.send(&mut line, message, Asked::default()).is_ok()
    }

    /// Sends a frame of speech of a turn, if that turn is still the current one.
    pub fn frame(&self, turn: TurnId, packet: Bytes, ts_ms: u32, last: bool) -> bool {
        let mut line = self.line();
        if line.turn != Some(turn) {
            return false;
        }
        line.audio_seq = line.audio_seq.wrapping_add(1);
        let frame = SpokenFrame { turn, seq: line.audio_seq, ts_ms, last, packet };
        self.sink.send(&self.device, Downlink::Audio(frame)).is_ok()
    }

    /// Makes `turn` the current one.
    pub fn begin(&self, turn: TurnId) {
        let mut line = self.line();
        line.turn = Some(turn);
        line.speaking = false;
    }

    /// Ends the current turn. What of it is queued is dropped; the device is told, if it was being spoken to.
    pub fn end(&self, reason: StopReason) {
        let mut line = self.line();
        let Some(turn) = line.turn.take() else { return };
        self.sink.clear_audio(&self.device);
        if std::mem::take(&mut line.speaking) {
            // a device without a link is told nothing: it hears nothing either
            let _ = self.send(&mut line, Message::TtsStop { turn_id: turn, reason }, Asked::default());
        }
    }

    /// Speech of a turn has begun or ended since last asked.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }

    /// The device says that it has played a turn's speech to its end.
    pub fn has_played(&self, turn: TurnId) {
        if self.line().turn == Some(turn) {
            self.played.send_replace(Some(turn));
        }
    }

    /// Waits until the device says so; what it said before, when its buffer ran dry in mid-speech, does not count.
    pub async fn played(&self, turn: TurnId) {
        let mut played = self.played.subscribe();
        while played.changed().await.is_ok() {
            if *played.borrow_and_update() == Some(turn) {
                return;
            }
        }
        // the sender lives as long as this does
        std::future::pending::<()>().await;
    }

    /// The turn that may speak.
    pub fn current(&self) -> Option<TurnId> {
        self.line().turn
    }

    /// The device is being spoken to.
    pub fn speaking(&self) -> bool {
        self.line().speaking
    }

    fn send(&self, line: &mut Line, message: Message, asked: Asked) -> Result<u32, NoRoom> {
        let seq = line.control_seq.wrapping_add(1);
        let downlink = Downlink::Control {
            session: Some(line.session.clone()),
            seq: Some(seq),
            ts_ms: self.clock.wall().0,
            msg_id: asked.msg_id,
            want_ack: asked.want_ack,
            json: line.json,
            message,
        };
        self.sink.send(&self.device, downlink)?;
        line.control_seq = seq;
        Ok(seq)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;
    use crate::domain::{ManualClock, Wall};

    #[derive(Default)]
    struct Tape(Mutex<Vec<String>>);

    impl DownlinkSink for Tape {
        fn send(&self, _: &DeviceId, downlink: Downlink) -> Result<(), NoRoom> {
            self.0.lock().unwrap().push(match downlink {
                Downlink::Control { seq, message, .. } => format!("{} {}", seq.unwrap_or(0), message.name()),
                Downlink::Audio(frame) => format!("audio {}", frame.seq),
            });
            Ok(())
        }

        fn clear_audio(&self, _: &DeviceId) -> usize {
            self.0.lock().unwrap().push("clear".into());
            0
        }
    }

    fn line() -> (Arc<Tape>, Outgoing) {
        let tape = Arc::new(Tape::default());
        let clock = Arc::new(ManualClock::new(Wall(1)));
        let (device, session) = (DeviceId::parse("d").unwrap(), SessionId::parse("s").unwrap());
        let sink: Arc<dyn DownlinkSink> = tape.clone();
        (tape, Outgoing::new(device, session, 0, sink, clock))
    }

    #[test]
    fn nothing_of_a_cancelled_turn_leaves_after_its_stop() {
        let (tape, out) = line();
        let turn = TurnId(1);
        out.begin(turn);
        assert!(out.of_turn(turn, Message::TtsStart { turn_id: turn, text: String::new(), device_speaks: false }));
        assert!(out.frame(turn, Bytes::new(), 0, false));
        out.end(StopReason::Abort);
        assert!(!out.frame(turn, Bytes::new(), 60, false));
        assert!(!out.of_turn(turn, Message::TtsStop { turn_id: turn, reason: StopReason::Done }));
        assert_eq!(*tape.0.lock().unwrap(), ["1 tts_start", "audio 1", "clear", "2 tts_stop"]);
    }

    #[test]
    fn speech_is_played_when_the_device_says_so_of_this_turn_and_after_it_was_asked() {
        let (_, out) = line();
        let (turn, other) = (TurnId(1), TurnId(2));
        out.begin(turn);
        // its buffer ran dry in mid-speech
        out.has_played(turn);
        let mut played = std::pin::pin!(out.played(turn));
        assert!(futures::FutureExt::now_or_never(played.as_mut()).is_none());
        out.has_played(other);
        assert!(futures::FutureExt::now_or_never(played.as_mut()).is_none());
        out.has_played(turn);
        assert!(futures::FutureExt::now_or_never(played.as_mut()).is_some());
    }

    #[test]
    fn a_turn_that_never_spoke_is_stopped_without_a_word() {
        let (tape, out) = line();
        out.begin(TurnId(1));
        out.end(StopReason::Abort);
        assert_eq!(*tape.0.lock().unwrap(), ["clear"]);
    }
}
