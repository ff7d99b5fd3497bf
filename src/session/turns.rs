//! Turns: begin, end, interrupt.

use serde_json::json;
use tokio::time::Instant;

use super::actor::{Actor, Running};
use super::ahead::Judging;
use super::history::Speaker;
use super::settle::Owed;
use super::turn::{Input, Outcome, SharedReport, Turn, TurnVoice};
use super::window::{Rule, Verdict};
use crate::domain::{Event, EventKind, Receipt, StopReason, Stream, TurnId};
use crate::lifelog::Kind;

impl Actor {
    /// Begins a turn; the one before it is interrupted.
    pub(super) fn start_turn(&mut self, input: Input, decided: Instant, inbox: Option<u64>) {
        self.interrupt(StopReason::Abort);
        self.revive();
        self.due.clear();
        (self.stalls_at, self.live.announced) = (None, false);
        self.live.turns = self.live.turns.wrapping_add(1);
        let id = TurnId(self.live.turns);
        let report = SharedReport::new(input.name());
        (self.judging, self.aside) = (Judging::default(), None);
        let ahead = self.ahead.take().filter(|ahead| ahead.is_of(&input));
        let errand = std::mem::take(&mut self.live.errand) && matches!(input, Input::Speech(_) | Input::Text(_));
        self.out.begin(id);
        if let Some(pass) = &self.photos {
            pass.in_turn(Some(id));
        }
        let turn = self.turn_of(id, input, errand, decided);
        let counted = self.parts.metrics.turn_started();
        let future = match ahead {
            Some(ahead) => ahead.work.run(turn, report.clone()),
            None => self.parts.runner.run(turn, report.clone()),
        };
        self.turn = Some(Running { id, future, report, inbox, seq: None, counted });
    }

    /// Everything that a turn gets.
    pub(super) fn turn_of(&self, id: TurnId, input: Input, errand: bool, decided: Instant) -> Turn {
        Turn {
            id,
            device: self.device.clone(),
            session: self.live.id.clone(),
            input,
            errand,
            history: self.live.history.lines(),
            tts_mode: self.live.tts_mode,
            persona: self.live.device_settings.as_ref().map(|device| device.persona.clone()).unwrap_or_default(),
            watching: self.live.device_settings.as_ref().map(|device| device.watching.clone()).unwrap_or_default(),
            dialect: self.live.manners.dialect,
            margins: self.live.manners.margins,
            tools: self.tools_of_turn(),
            decided,
            voice: TurnVoice::new(id, self.out.clone(), self.live.tts_mode),
        }
    }

    /// The turn ran to its end.
    pub(super) fn turn_over(&mut self) {
        if let Some(running) = self.turn.take() {
            let said = running.report.read().transcript;
            self.record(running, None);
            if self.live.manners.ceremonious && (self.live.parting || self.parts.settings.xiaozhi.exits(&said)) {
                return self.part("goodbye");
            }
        }
        self.stirred();
        self.next_waiting();
        // the microphone counts again: what it brought during the turn was ignored
        if self.live.mode == crate::domain::ListenMode::Auto {
            self.ears.reset(self.live.mode, true);
        }
    }

    /// Ends the running turn at once: its providers are dropped, its queue is cleared, the device is told.
    pub(super) fn interrupt(&mut self, reason: StopReason) {
        let Some(running) = self.turn.take() else { return };
        self.live.parting = false;
        self.out.end(reason);
        self.record(running, Some(reason));
    }

    /// Writes down what a turn was; its inbox record goes in the same batch.
    fn record(&mut self, running: Running, interrupted: Option<StopReason>) {
        let Running { id, future, report, inbox, seq, counted } = running;
        drop((future, counted));
        if let Some(pass) = &self.photos {
            pass.in_turn(None);
        }
        self.out.end(StopReason::Done);
        let mut report = report.read();
        if let Some(reason) = interrupted {
            report.outcome = if reason == StopReason::LinkLost { Outcome::LinkLost } else { Outcome::Interrupted };
        }
        self.parts.metrics.turn_ended(report.outcome, &report);
        self.live.history.push(Speaker::Person, &report.transcript);
        self.live.history.push(Speaker::Gateway, &report.reply);
        self.tell_turn(id, &report, interrupted);
        let mut body = serde_json::to_value(&report).unwrap_or_default();
        body["turn_id"] = json!(id.0);
        body["mode"] = json!(self.live.mode);
        if let Some(reason) = interrupted {
            body["stop"] = json!(reason);
        }
        let mut batch = self.book.entry(Kind::Turn, &self.live, body);
        for mut audit in std::mem::take(&mut report.audits) {
            audit.body["turn_id"] = json!(id.0);
            batch.extend(self.book.entry(audit.policy.into(), &self.live, audit.body));
        }
        batch.extend(self.book.session(&mut self.live, self.out.control_seq()));
        if let Some(n) = inbox.filter(|_| !self.stopping) {
            self.book.inbox_done(&mut batch, n);
        }
        // its message was refused by the store meanwhile: with this it is done all the same, and not once more
        let refused = seq.filter(|seq| self.live.windows.accept(Stream::Control, *seq, Rule::Sure) == Verdict::New);
        let owed = refused.map(|seq| Owed {
            stream: Stream::Control,
            seq: Some(seq),
            receipt: Receipt::none(),
            by_number: false,
            image: None,
        });
        self.commit(batch, owed);
    }

    fn tell_turn(&self, id: TurnId, report: &super::TurnReport, interrupted: Option<StopReason>) {
        let turn = id.0;
        if !report.transcript.is_empty() {
            self.tell(EventKind::Transcript, json!({"turn_id": turn, "text": report.transcript}));
        }
        if !report.reply.is_empty() {
            self.tell(EventKind::Reply, json!({"turn_id": turn, "text": report.reply}));
        }
        let detail = json!({
            "turn_id": turn, "outcome": report.outcome, "stop": interrupted, "failed": report.failed,
            "stages_ms": report.stages_ms, "frames": report.frames, "heard": report.heard,
        });
        self.tell(EventKind::Turn, detail);
        tracing::info!(
            device = %self.device, turn, outcome = report.outcome.name(), failed = report.failed,
            first_audio_ms = report.stages_ms.get(super::stage::FIRST_AUDIO), "turn"
        );
    }

    /// Publishes an event for operators.
    pub(super) fn tell(&self, kind: EventKind, mut detail: serde_json::Value) {
        detail["session_id"] = json!(self.live.id);
        let event = Event { device: Some(self.device.clone()), at: self.parts.clock.wall(), kind, detail };
        self.parts.bulletins.event(event);
    }
}
