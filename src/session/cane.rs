//! The manners of OpenCane's dialect: each message is acknowledged by its own number, the device names its sessions, an abort
//! is always answered, and the device may understand speech itself.

use std::time::Duration;

use futures::FutureExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::actor::Actor;
use super::manners::Manners;
use super::outgoing::Asked;
use super::settle::Owed;
use super::take::Effect;
use super::turn::Input;
use crate::domain::{
    Control, ControlKind, EventKind, ImageUpload, ListenMode, Message, Origin, Photo, Receipt, Settled, StopReason,
    Stream,
};
use crate::lifelog::Kind;

/// Most of what a device understood of one utterance, bytes.
const WORDS: usize = 8 << 10;
/// The same words are not shown again within this.
const SAME: Duration = Duration::from_secs(1);
/// Words that grew by less than this many characters are not shown within `HASTE`.
const STEP: usize = 3;
const HASTE: Duration = Duration::from_millis(250);

/// What a device understands while somebody speaks.
#[derive(Debug, Default)]
pub(super) struct Partials {
    words: String,
    shown: Option<(usize, Instant)>,
}

impl Partials {
    /// Adds a piece; says whether what there is now is worth showing.
    fn add(&mut self, piece: &str, now: Instant) -> bool {
        if !piece.is_empty() && self.words.len() + piece.len() < WORDS {
            if !self.words.is_empty() {
                self.words.push(' ');
            }
            self.words.push_str(piece);
        }
        let length = self.words.chars().count();
        let shows = self.shown.is_none_or(|(before, at)| {
            let since = now.saturating_duration_since(at);
            if length == before { since >= SAME } else { length >= before + STEP || since >= HASTE }
        });
        if shows {
            self.shown = Some((length, now));
        }
        shows
    }

    /// There are some.
    pub(super) fn any(&self) -> bool {
        !self.words.is_empty()
    }

    /// All of them; none when there were none.
    pub(super) fn take(&mut self) -> Option<String> {
        Some(std::mem::take(self).words).filter(|words| !words.is_empty())
    }
}

/// Whether the dialect has an answer to it; the others are taken in silence.
pub(super) fn is_answered(kind: &ControlKind) -> bool {
    matches!(
        kind,
        ControlKind::Heartbeat
            | ControlKind::ListenStart { .. }
            | ControlKind::ListenStop
            | ControlKind::Said(_)
            | ControlKind::Errand { .. }
            | ControlKind::Telemetry(_)
            | ControlKind::ToolResult { .. }
            | ControlKind::Sos { .. }
    )
}

impl Actor {
    /// Minds the manners of the dialect that a message came in, also when there was no hello; the name that the device gives
    /// its session is that of the session.
    pub(super) fn mind(&mut self, dialect: &str, session: Option<&str>) {
        let manners = Manners::of(dialect, &self.parts.settings);
        if !manners.by_number {
            return;
        }
        self.not_silent();
        let changed = self.live.manners != manners;
        let other = session.is_some_and(|said| self.live.peer.as_deref() != Some(said));
        if other || self.live.peer.is_none() {
            let peer = Some(self.name_of(session));
            self.interrupt(StopReason::Closed);
            self.open_session_as(peer, None, None, "first message");
        } else {
            self.revive();
        }
        if changed || other {
            self.live.manners = manners;
            self.listen_when_told();
        }
    }

    /// What the device calls its session: what it says now, else what it said before.
    pub(super) fn name_of(&self, said: Option<&str>) -> String {
        let said = said.or(self.live.peer.as_deref());
        said.map_or_else(|| format!("{}-default", self.device), str::to_owned)
    }

    /// The device alone says when somebody begins and when he has finished.
    pub(super) fn listen_when_told(&mut self) {
        self.live.mode = ListenMode::Manual;
        self.ears.reset(ListenMode::Manual, false);
    }

    /// A message that a hello overtook was said in what was before: another session, or another count. What is to be kept of it
    /// is kept without a number; the rest is over. Says whether it is.
    pub(super) fn overtaken(&self, origin: &Origin, control: &mut Control) -> bool {
        if !Manners::of(origin.dialect, &self.parts.settings).by_number || origin.arrival > self.live.begun {
            return false;
        }
        (control.session_id, control.seq) = (None, None);
        !control.kind.durable()
    }

    /// The session goes on after this hello: it is the one that the device named, and its numbers did not begin anew.
    pub(super) fn goes_on(&mut self, control: &Control) -> bool {
        let known = match (&control.session_id, &self.live.peer) {
            (Some(said), Some(peer)) => said == peer,
            (None, Some(_)) => true,
            _ => false,
        };
        known && !control.seq.is_some_and(|seq| self.live.windows.stream(Stream::Control).is_old(seq))
    }

    /// Answers a message by its number, where the dialect wants that. Before its effect: what follows is said later.
    pub(super) fn answer_by_number(&self, kind: &ControlKind, seq: Option<u32>) {
        if self.live.manners.by_number && is_answered(kind) {
            self.acknowledge_one(seq);
        }
    }

    /// Acknowledges one number.
    pub(super) fn acknowledge_one(&self, seq: Option<u32>) {
        let ack = Message::Ack { stream: Stream::Control, seq: Some(seq.unwrap_or(0)), image_id: None, sha256: None };
        // a device without a link sends again when it is back
        let _ = self.out.control(ack, Asked::default());
    }

    /// An abort is answered also when nothing was said.
    pub(super) fn answer_abort(&self, was_speaking: bool) {
        if self.live.manners.by_number && !was_speaking {
            let turn_id = crate::domain::TurnId(self.live.turns);
            let _ = self.out.control(Message::TtsStop { turn_id, reason: StopReason::Abort }, Asked::default());
        }
    }

    /// The device understood a piece of what is being said.
    pub(super) fn partial(&mut self, piece: &str) {
        if !self.ears.open() {
            return;
        }
        self.stalls_at = None;
        if self.partials.add(piece.trim(), Instant::now()) {
            let text = self.partials.words.clone();
            let _ = self.out.control(Message::Stt { text, is_final: false }, Asked::default());
        }
    }

    /// The utterance is over, and the device says what it was.
    pub(super) fn said(&mut self, text: String, arrived: Instant) {
        self.partials = Partials::default();
        self.stalls_at = None;
        self.ears.reset(self.live.mode, false);
        let _ = self.out.control(Message::Stt { text: text.clone(), is_final: true }, Asked::default());
        self.begin(Input::Text(text), arrived);
    }

    /// The utterance is over, and is to be done in the background.
    pub(super) fn errand(&mut self, said: Option<String>, arrived: Instant) {
        // with the turn that this begins; where nobody listened, none begins
        self.live.errand = said.is_some() || self.ears.open();
        match said {
            Some(text) => self.said(text, arrived),
            None => self.listen_stop(arrived),
        }
    }

    /// A fault of the device's, for those who look after it.
    pub(super) fn take_fault(&mut self, fault: &Value, owed: Owed) {
        tracing::warn!(device = %self.device, "a device reports a fault");
        let body = json!({"device_error": fault, "level": "P1"});
        self.tell(EventKind::Alert, body.clone());
        let entry = self.book.entry(Kind::Alert, &self.live, body);
        self.commit(entry, Some(owed));
    }

    /// A photo with a question: it is kept first, and then looked at.
    pub(super) fn take_photo(&mut self, file: bytes::Bytes, question: Option<String>, owed: Owed) {
        let taken = self.parts.intake.image(&self.device, ImageUpload::Whole(file.clone()));
        let looked = taken.map(move |result| Effect::Photo { result, owed, file, question });
        self.effects.push(looked.boxed());
    }

    /// A photo is kept, or was refused.
    pub(super) fn photo_kept(
        &mut self,
        result: Result<super::Taken, crate::domain::Refusal>,
        owed: Owed,
        (file, question): (bytes::Bytes, Option<String>),
    ) {
        let image = match result {
            Ok(super::Taken::Image(image)) => image,
            // a whole file is no part; were it one, nothing more would come
            Ok(super::Taken::Part) => return owed.receipt.settle(Settled::Taken),
            Err(refusal) => {
                self.parts.metrics.refused_image(refusal);
                if let Some(seq) = owed.seq {
                    self.live.windows.stream(owed.stream).failed(seq);
                }
                return owed.receipt.settle(Settled::Refused(refusal));
            }
        };
        let mut body = image.body();
        body["question"] = json!(question);
        self.tell(EventKind::Image, body.clone());
        let entry = self.book.entry(Kind::Image, &self.live, body);
        self.commit(entry, Some(owed));
        let mime = match image.mime.as_str() {
            "image/png" => "image/png",
            "image/webp" => "image/webp",
            _ => "image/jpeg",
        };
        let photo = Photo {
            device: self.device.clone(),
            session: Some(self.live.id.clone()),
            turn: None,
            question: question.unwrap_or_else(|| self.parts.settings.opencane.question.clone()),
            mime,
            image: file,
        };
        self.begin(Input::Photo(Box::new(photo)), Instant::now());
    }

    /// A message of the former kind, again.
    pub(super) fn again(&self, kind: &ControlKind, seq: Option<u32>, receipt: Receipt) {
        receipt.settle(Settled::Durable);
        self.answer_by_number(kind, seq);
    }

    /// The device said nothing for too long.
    pub(super) fn fell_silent(&mut self) {
        if !self.live.is_open() {
            return;
        }
        tracing::info!(device = %self.device, "a device fell silent: its session is closed");
        self.interrupt(StopReason::Closed);
        let _ = self.out.control(Message::Close { reason: "heartbeat_timeout".to_owned() }, Asked::default());
        self.close_session("heartbeat_timeout");
        self.ears.reset(ListenMode::Manual, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shown_when_they_grew_or_after_a_while() {
        let mut partials = Partials::default();
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        assert!(partials.add("turn", at(0)));
        assert!(!partials.add("", at(900)), "the same, too soon");
        assert!(partials.add("", at(1_000)));
        assert!(partials.add("left", at(1_001)));
        assert!(!partials.add("x", at(1_100)), "two characters more, too soon");
        assert!(partials.add("", at(2_200)));
        assert_eq!(partials.take().as_deref(), Some("turn left x"));
        assert_eq!(partials.take(), None);
    }
}
