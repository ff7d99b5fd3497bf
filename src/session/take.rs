//! What a session does with each message.

use futures::FutureExt;
use serde_json::json;
use tokio::time::Instant;

use super::actor::{Actor, Notice};
use super::ahead::Judging;
use super::due::{Due, too_long_away};
use super::lanes::Next;
use super::manners::Manners;
use super::outgoing::Asked;
use super::settle::Owed;
use super::start::INBOX_PATIENCE;
use super::turn::Input;
use super::window::{Rule, Verdict};
use crate::audio::Heard;
use crate::domain::{
    AudioPacket, Body, Control, ControlKind, EventKind, ImageUpload, ListenMode, Message, Origin, Path, Receipt,
    Refusal, Settled, StopReason, Stream, Telemetry, Uplink,
};
use crate::lifelog::Kind;
use crate::store::Batch;

/// Something that took long and has come back.
pub(super) enum Effect {
    /// An image is stored as a file (or is not whole yet, or was refused).
    Image { result: Result<super::Taken, Refusal>, receipt: Receipt },
    /// A photo with a question is stored as a file, or was refused.
    Photo {
        /// What became of it.
        result: Result<super::Taken, Refusal>,
        /// What is owed for it.
        owed: Owed,
        /// The file.
        file: bytes::Bytes,
        /// What is asked about it.
        question: Option<String>,
    },
    /// A tool of a board was called for an operation.
    Called { n: u64, id: String, answered: Result<String, super::CallError> },
    /// How loud the wake word was, dB.
    Woke { level: f32, arrived: Instant },
}

impl Actor {
    pub(super) async fn take(&mut self, next: Next) {
        match next {
            Next::Audio(origin, packets) => self.take_audio(&origin, packets),
            Next::Message(uplink) | Next::Urgent(uplink) => self.take_message(uplink).await,
        }
    }

    fn take_audio(&mut self, origin: &Origin, mut packets: Vec<AudioPacket>) {
        self.mind(origin.dialect, None);
        self.number(&mut packets);
        // who is proven to send is believed when it restarts its count; a datagram may be an old one, sent again
        let rule = Rule::Audio { restart: origin.path == Path::Connection };
        for packet in &packets {
            if self.live.windows.accept(Stream::Audio, packet.seq, rule) == Verdict::New {
                self.live.windows.stream(Stream::Audio).committed(packet.seq);
            }
        }
        // their mark is advisory: it goes with the next commit and has none of its own
        self.parts.metrics.audio(packets.len());
        if origin.path == Path::Datagram {
            self.datagram_came();
        }
        // speech of a conversation that is over here is nobody's turn
        if !self.hears() || !self.live.greeted && self.ceremonious(origin.dialect) {
            self.parts.metrics.ignored(packets.len());
            self.keep_wake_word(&packets);
            self.ears.skip(packets);
            return;
        }
        let current = self.live.listen;
        if current != 0 {
            // frames of an older listen_start are void; 0 says nothing
            packets.retain(|packet| packet.listen == 0 || packet.listen == current);
        }
        if !packets.is_empty() {
            self.live.last_flag |= packets.iter().any(|packet| packet.last);
            self.ears.hear(packets);
            let stall = self.parts.settings.audio_stall.0;
            self.stalls_at = (!stall.is_zero()).then(|| Instant::now() + stall);
            self.heard_up_to_now();
        }
    }

    /// Packets without a number are in the order in which they came.
    fn number(&mut self, packets: &mut [AudioPacket]) {
        if self.live.manners.by_number {
            for packet in packets {
                // after the last number comes 0 by right
                if packet.seq == 0 && self.live.audio_seq != u32::MAX {
                    packet.seq = self.live.audio_seq + 1;
                }
                self.live.audio_seq = packet.seq;
            }
        }
    }

    /// The microphone counts now.
    pub(super) fn hears(&self) -> bool {
        self.ears.open() && (self.live.mode == ListenMode::Realtime || self.turn.is_none())
    }

    pub(super) fn heard(&mut self, report: super::ears::Report) {
        if let Some(error) = report.failed {
            tracing::error!(device = %self.device, %error, "the codec threads lost what was heard");
        }
        self.heard_all(report.heard);
        if std::mem::take(&mut self.live.last_flag) && self.live.mode == ListenMode::Manual {
            self.utterance_over(Instant::now());
        }
    }

    pub(super) fn heard_all(&mut self, all: impl IntoIterator<Item = Heard>) {
        for heard in all {
            if self.turn.is_some() && self.live.mode != ListenMode::Realtime {
                // the microphone does not count while there is a turn, nor does the rest of what came at once
                break;
            }
            match heard {
                Heard::SpeechStarted => {
                    self.stirred();
                    self.parts.runner.expect();
                    self.speaks_on();
                }
                Heard::LikelyEnd(said) => self.likely_over(said),
                Heard::GoesOn => (self.ahead, self.judging) = (None, Judging::default()),
                Heard::NoSpeech => self.nobody_spoke(),
                Heard::BargeIn => self.barge_in(),
                Heard::EndOfTurn(utterance) => self.turn_said(utterance),
                Heard::TooLong(utterance) => self.too_long(utterance),
            }
        }
    }

    /// An utterance over the length limit ends the turn in every mode: what there is of it is answered.
    fn too_long(&mut self, utterance: crate::audio::Utterance) {
        if self.live.mode == ListenMode::Manual {
            self.ears.reset(ListenMode::Manual, false);
        }
        self.parts.metrics.listening_ended("too_long");
        tracing::info!(device = %self.device, length = ?utterance.duration(), "an utterance was cut at its greatest length");
        self.error("utterance_too_long", "the utterance was cut at its greatest length");
        self.start_turn(Input::Speech(utterance), Instant::now(), None);
    }

    /// A device that said `listen_start` is told, once, that nothing came of it; it goes on being heard.
    fn nobody_spoke(&mut self) {
        self.parts.metrics.listening_ended("no_speech");
        if std::mem::take(&mut self.live.announced) {
            // a device without a link has nobody to show it to
            let _ = self.out.control(Message::Stt { text: String::new(), is_final: true }, Asked::default());
        }
    }

    /// Audio stopped coming without a `listen_stop`: what was heard is all there is.
    pub(super) fn audio_stalled(&mut self) {
        self.stalls_at = None;
        if !self.hears() {
            return;
        }
        if self.turn.is_some() || !self.online {
            // too little to interrupt an answer with, or nobody left to answer
            self.ears.reset(self.live.mode, true);
            return self.parts.metrics.listening_ended("stalled");
        }
        let Some(utterance) = self.ears.finish() else {
            self.ears.reset(self.live.mode, true);
            return self.nobody_spoke();
        };
        self.parts.metrics.listening_ended("stalled");
        tracing::info!(device = %self.device, "audio stopped in mid-utterance: what was heard is answered");
        self.start_turn(Input::Speech(utterance), Instant::now(), None);
    }

    fn barge_in(&mut self) {
        if self.turn.is_some() && self.live.mode == ListenMode::Realtime {
            self.interrupt(StopReason::BargeIn);
        }
    }

    async fn take_message(&mut self, uplink: Uplink) {
        let Uplink { origin, body, receipt } = uplink;
        match body {
            Body::Control(control) => self.take_control(&origin, *control, receipt).await,
            Body::Telemetry(telemetry) => self.take_telemetry(telemetry, receipt),
            Body::Image(image) => self.take_image(image, receipt),
            // audio has its own lane; a door that sends it here loses nothing
            Body::Audio(packet) => self.take_audio(&origin, vec![packet]),
        }
    }

    async fn take_control(&mut self, origin: &Origin, mut control: Control, receipt: Receipt) {
        self.out.answer_in(control.json);
        self.parts.metrics.control(control.kind.name());
        if let ControlKind::Hello(hello) = &control.kind {
            let hello = hello.clone();
            Box::pin(self.hello(origin, &control, hello)).await;
            receipt.settle(Settled::Taken);
            return;
        }
        if self.overtaken(origin, &mut control) {
            return receipt.settle(Settled::Taken);
        }
        self.mind(origin.dialect, control.session_id.as_deref());
        if self.unheard_of(origin.dialect, &control.kind) {
            return self.not_known(control.session_id.as_deref(), receipt);
        }
        if opens(&control.kind) {
            // before its number is looked at: a session that is opened later forgets it, and a repeat is another message
            self.revive();
        }
        let verdict = self.verdict(Stream::Control, control.seq);
        if verdict != Verdict::New {
            if self.live.manners.by_number && verdict != Verdict::Pending {
                return self.again(&control.kind, control.seq, receipt);
            }
            self.settle_old(verdict, Stream::Control, control.seq, receipt);
            return;
        }
        let arrived = self.arrived(origin);
        let by_number = self.live.manners.by_number && super::cane::is_answered(&control.kind);
        let owed = Owed { stream: Stream::Control, seq: control.seq, receipt, by_number, image: None };
        match control.kind {
            ControlKind::Text(text) => self.take_text(text, arrived, owed),
            ControlKind::Ack(seq) => self.take_ack(seq, owed),
            ControlKind::Sos { kind, text } => self.take_sos(&kind, text.as_deref(), owed),
            ControlKind::ToolResult { operation_id, success, result, error } => {
                let ended = self.answered(&operation_id, success, &result, error.as_deref());
                let body = json!({"tool_result": {"operation_id": operation_id, "success": success,
                                                   "result": result, "error": error}});
                let mut entry = self.book.entry(Kind::Session, &self.live, body);
                entry.extend(ended);
                self.commit(entry, Some(owed));
            }
            ControlKind::ImageNote { image_id, question, keep } => {
                let body = json!({"image_id": image_id.to_string(), "question": question, "keep": keep});
                if question.is_some() && !keep {
                    let message =
                        "the picture is kept, the question is not answered: only photos of boards are looked at yet";
                    self.error("vision_not_configured", message);
                }
                let entry = self.book.entry(Kind::Image, &self.live, body);
                self.commit(entry, Some(owed));
            }
            ControlKind::Telemetry(telemetry) => self.take_measured(&telemetry, owed),
            ControlKind::Fault(fault) => self.take_fault(&fault, owed),
            ControlKind::Photo { file, question } => self.take_photo(file, question, owed),
            ControlKind::Things(told) => {
                self.things_told(&told);
                owed.receipt.settle(Settled::Taken);
            }
            ControlKind::Mcp(payload) => {
                self.tool_message(&payload);
                owed.receipt.settle(Settled::Taken);
            }
            at_once => {
                if self.live.manners.by_number && matches!(at_once, ControlKind::ListenStart { .. }) {
                    self.interrupt(StopReason::BargeIn);
                }
                self.answer_by_number(&at_once, control.seq);
                self.take_at_once(at_once, arrived);
                owed.receipt.settle(Settled::Taken);
                self.done(Stream::Control, control.seq);
            }
        }
    }

    /// Events that leave nothing to re-do after a crash.
    fn take_at_once(&mut self, kind: ControlKind, arrived: Instant) {
        match kind {
            ControlKind::ListenStart { mode, n } => self.listen_start(mode, n),
            ControlKind::ListenStop => self.listen_stop(arrived),
            ControlKind::Abort { reason } => {
                tracing::debug!(device = %self.device, ?reason, "abort");
                let speaking = self.out.speaking();
                self.interrupt(StopReason::Abort);
                self.answer_abort(speaking);
                self.partials = super::cane::Partials::default();
                self.stalls_at = None;
                self.due.clear();
                self.ears.reset(self.live.mode, self.live.mode != ListenMode::Manual);
            }
            ControlKind::Partial(piece) => self.partial(&piece),
            ControlKind::Said(text) => self.said(text, arrived),
            ControlKind::Errand { said } => self.errand(said, arrived),
            ControlKind::Goodbye => self.goodbye(),
            ControlKind::Wake { text } => self.wake(text, arrived),
            ControlKind::Played(turn) => self.out.has_played(turn),
            // a heartbeat changes nothing but the clock
            _ => {}
        }
    }

    fn listen_start(&mut self, mode: Option<ListenMode>, n: Option<u32>) {
        self.interrupt(StopReason::Abort);
        self.due.clear();
        self.stirred();
        self.parts.runner.expect();
        self.live.mode = mode.unwrap_or(self.live.mode);
        self.live.listen = n.map_or(0, |n| u8::try_from(n % 16).unwrap_or(0));
        (self.live.last_flag, self.live.errand) = (false, false);
        self.partials = super::cane::Partials::default();
        (self.stalls_at, self.live.announced) = (None, true);
        self.ears.reset(self.live.mode, true);
    }

    pub(super) fn listen_stop(&mut self, arrived: Instant) {
        if !self.ears.open() {
            return;
        }
        self.stalls_at = None;
        if let Some(words) = self.partials.take() {
            return self.said(words, arrived);
        }
        if self.live.datagrams { self.put_off_stop(arrived) } else { self.utterance_over(arrived) }
    }

    /// All of an utterance is here.
    pub(super) fn utterance_over(&mut self, arrived: Instant) {
        if let Some(utterance) = self.ears.finish() {
            self.start_turn(Input::Speech(utterance), arrived, None);
        }
    }

    fn take_text(&mut self, text: String, arrived: Instant, owed: Owed) {
        let seq = owed.seq;
        let (batch, n) = self.book.inbox_text(&text);
        self.commit(batch, Some(owed));
        if let Some(running) = self.turn.as_mut().filter(|turn| seq.is_some() && turn.seq == seq) {
            // the store refused it the first time, and it is being answered already: only its record is new
            running.inbox = Some(n);
            return;
        }
        self.start_turn(Input::Text(text), arrived, Some(n));
        if let Some(running) = &mut self.turn {
            running.seq = seq;
        }
    }

    fn take_ack(&mut self, seq: u32, owed: Owed) {
        let batch = self.acknowledged(seq);
        self.commit(batch, Some(owed));
    }

    fn take_telemetry(&mut self, telemetry: Vec<Telemetry>, receipt: Receipt) {
        let mut receipt = Some(receipt);
        let count = telemetry.len();
        for (at, one) in telemetry.into_iter().enumerate() {
            let verdict = self.verdict(Stream::Telemetry, one.seq);
            // the one receipt of a message of several objects goes with the last
            let receipt = if at + 1 == count { receipt.take().unwrap_or_default() } else { Receipt::none() };
            if verdict != Verdict::New {
                self.settle_old(verdict, Stream::Telemetry, one.seq, receipt);
                continue;
            }
            let owed = Owed { stream: Stream::Telemetry, seq: one.seq, receipt, by_number: false, image: None };
            self.take_measured(&one, owed);
        }
        drop(receipt);
    }

    /// Keeps telemetry that is worth it: a milestone in the lifelog, and a sample when it is time for one.
    fn take_measured(&mut self, one: &Telemetry, owed: Owed) {
        let now = self.parts.clock.wall();
        let milestone = self.telemetry.milestone(one, now);
        let (last, notable) = (self.telemetry.sampled, milestone.is_some());
        let mut effect = milestone.map_or_else(Batch::new, |body| self.book.entry(Kind::Telemetry, &self.live, body));
        let whose = (&self.device, self.live.named());
        self.telemetry.sampled = self.parts.samples.keep(&mut effect, whose, one, (last, now), notable);
        if !effect.is_empty() {
            return self.commit(effect, Some(owed));
        }
        let Owed { stream, seq, receipt, by_number, .. } = owed;
        receipt.settle(Settled::Taken);
        self.done(stream, seq);
        if by_number {
            self.acknowledge_one(seq);
        }
    }

    fn take_image(&mut self, image: ImageUpload, receipt: Receipt) {
        let taken = self.parts.intake.image(&self.device, image);
        self.effects.push(taken.map(|result| Effect::Image { result, receipt }).boxed());
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        let (result, receipt) = match effect {
            Effect::Image { result, receipt } => (result, receipt),
            Effect::Called { n, id, answered } => return self.called(n, &id, answered),
            Effect::Woke { level, arrived } => return self.heard_its_name(level, arrived),
            Effect::Photo { result, owed, file, question } => return self.photo_kept(result, owed, (file, question)),
        };
        match result {
            Ok(super::Taken::Part) => {
                receipt.settle(Settled::Taken);
                self.ask_for_parts();
            }
            Ok(super::Taken::Image(image)) => {
                let body = image.body();
                self.tell(EventKind::Image, body.clone());
                let entry = self.book.entry(Kind::Image, &self.live, body);
                let image = Some((image.id, image.sha256));
                let owed = Owed { stream: Stream::Image, seq: None, receipt, by_number: false, image };
                self.commit(entry, Some(owed));
            }
            Err(refusal) => {
                receipt.settle(Settled::Refused(refusal));
                self.parts.metrics.refused_image(refusal);
                self.error("image_refused", refusal.name());
            }
        }
    }

    /// Asks for missing parts that are overdue, tells of images that are given up, and sets the next time to look.
    pub(super) fn ask_for_parts(&mut self) {
        let overdue = self.parts.intake.overdue(&self.device);
        for (image_id, parts) in overdue.missing {
            // a device without a link is asked when it is back
            let _ = self.out.control(Message::ImageMissing { image_id, parts }, Asked::default());
        }
        for image in overdue.dropped {
            tracing::info!(device = %self.device, %image, "an image was not whole in time");
            self.error("image_incomplete", &format!("image {image} was not whole in time: send it again"));
        }
        self.images_due = overdue.again.map(|after| Instant::now() + after);
    }

    pub(super) async fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::LinkLost(link) => {
                tracing::debug!(device = %self.device, link = link.0, "the link that carries speech is gone");
                if !self.live.datagrams {
                    self.interrupt(StopReason::LinkLost);
                }
            }
            Notice::Offline => {
                (self.online, self.hello_here) = (false, false);
                self.rest_at = Some(Instant::now() + self.parts.settings.rest_after.0);
                self.away_since = Some(Instant::now());
                self.tools.gone();
                if !self.live.greeted {
                    // it may have started anew when it is back, and have forgotten its token
                    self.photos = None;
                }
                if self.live.manners.ceremonious {
                    if self.live.greeted && !self.live.datagrams {
                        self.over("connection closed");
                    }
                } else if self.live.boot_id.is_none() && self.live.peer.is_none() {
                    // without a hello nothing tells whether the device comes back the same: it gets a new session
                    self.live.stale = true;
                }
            }
            Notice::Online => {
                self.online = true;
                self.rest_at = None;
                if !self.hello_here {
                    // what waits for its hello waits so long
                    self.inbox_due.get_or_insert(Instant::now() + INBOX_PATIENCE);
                }
                if self.live.manners.ceremonious {
                    self.back_again();
                } else if std::mem::take(&mut self.live.stale) {
                    self.open_session(None, "without hello");
                }
                self.send_outbox().await;
            }
            Notice::Say(text) => self.say(text),
            Notice::Tools(asking) => self.asked(asking),
            // one that no longer waits is not told
            Notice::Alert(alert, sent) => drop(sent.send(self.out.control(alert, Asked::default()).is_ok())),
            Notice::Settings => self.read_settings().await,
            Notice::Hush => self.interrupt(StopReason::Abort),
            Notice::Outbox => self.send_outbox().await,
            Notice::Inbox => self.take_up_the_inbox().await,
            Notice::Reboot => self.send_once(Message::Reboot).await,
            // one that no longer waits has given up: the watchdog's time is over
            Notice::Canary(answer) => drop(answer.send(())),
        }
    }

    /// What an operator set counts from the next turn on; how it listens and where speech is made, from the next session.
    async fn read_settings(&mut self) {
        match self.book.device_settings().await {
            Ok(settings) => self.live.device_settings = settings,
            Err(error) => tracing::error!(device = %self.device, %error, "the device's settings cannot be read"),
        }
    }

    /// An operator wants this said. Where there is no conversation a device can only show it.
    fn say(&mut self, text: String) {
        if self.live.manners.ceremonious && !self.live.greeted {
            let level = "info".to_owned();
            // a device without a link cannot be told, as the operator has been
            let alert = Message::Alert { level, text, status: None, emotion: None };
            let _ = self.out.control(alert, Asked::default());
            return;
        }
        self.begin(Input::Say(text), Instant::now());
    }

    /// The wake word was heard, or a text was typed in a conversation that is under way.
    fn wake(&mut self, text: String, arrived: Instant) {
        self.stirred();
        let settings = &self.parts.settings.xiaozhi;
        if !settings.wakes(&text) && self.live.announced {
            // as stock servers do: what was typed is shown as what was said
            let _ = self.out.control(Message::Stt { text: text.clone(), is_final: true }, Asked::default());
            return self.begin(Input::Text(text), arrived);
        }
        let greeting = settings.greeting.clone();
        if !text.is_empty() {
            // what it heard is shown; a device without a link shows nothing
            let _ = self.out.control(Message::Stt { text, is_final: true }, Asked::default());
        }
        if self.room().is_some() {
            return self.ask_the_room(arrived);
        }
        self.say_greeting(greeting, arrived);
    }

    pub(super) fn say_greeting(&mut self, greeting: String, arrived: Instant) {
        if !greeting.is_empty() {
            self.begin(Input::Say(greeting), arrived);
        }
    }

    /// Conversational, and outside of any conversation that is known here: the gateway was restarted, or ended it.
    fn unheard_of(&self, dialect: &str, kind: &ControlKind) -> bool {
        let conversational = matches!(
            kind,
            ControlKind::ListenStart { .. }
                | ControlKind::ListenStop
                | ControlKind::Abort { .. }
                | ControlKind::Wake { .. }
        );
        conversational && !self.live.greeted && self.ceremonious(dialect)
    }

    fn ceremonious(&self, dialect: &str) -> bool {
        Manners::of(dialect, &self.parts.settings).ceremonious
    }

    /// The device has a connection again.
    fn back_again(&mut self) {
        let away = self.away_since.take();
        if self.live.greeted && too_long_away(away, self.parts.settings.xiaozhi.away.0) {
            self.over("away too long");
        }
    }

    fn goodbye(&mut self) {
        self.over("goodbye");
    }

    /// The conversation is over.
    pub(super) fn over(&mut self, why: &str) {
        self.interrupt(StopReason::Closed);
        self.close_session(why);
        self.live.stale = true;
        self.live.greeted = false;
        self.stalls_at = None;
        self.due = Due::default();
        self.ears.reset(self.live.mode, false);
        self.ears.rest();
        if self.live.datagrams {
            self.parts.sink.hang_up(&self.device);
        }
    }

    fn error(&self, code: &str, message: &str) -> bool {
        let message = Message::Error { code: code.to_owned(), message: message.to_owned() };
        self.out.control(message, Asked::default()).is_ok()
    }

    /// When the message arrived at the door, on the clock of the turns.
    fn arrived(&self, origin: &Origin) -> Instant {
        let waited = self.parts.clock.mono().saturating_sub(origin.at);
        let now = Instant::now();
        now.checked_sub(waited).unwrap_or(now)
    }
}

/// Messages that begin a conversation, hello or not. What a later one asked for would be forgotten by a session that opens
/// after it: how the device listens, its number.
fn opens(kind: &ControlKind) -> bool {
    matches!(
        kind,
        ControlKind::Sos { .. } | ControlKind::Text(_) | ControlKind::Photo { .. } | ControlKind::ListenStart { .. }
    )
}
