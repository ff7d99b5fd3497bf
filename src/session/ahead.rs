//! What is begun before a turn is decided: at a pause in which it may be over.
//!
//! It is dropped when speech goes on, when the device begins anew or leaves, and when another turn begins; the turn that ends
//! with the very same speech takes it over.

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::actor::Actor;
use super::turn::{Input, Prepared};
use crate::audio::{Utterance, Verdict};
use crate::domain::{ListenMode, TurnId};

/// Work for a turn that may come.
pub(super) struct Ahead {
    said: Utterance,
    /// Of which listening of the ears.
    listening: u64,
    pub(super) work: Prepared,
}

impl Ahead {
    /// It was done for this.
    pub(super) fn is_of(&self, input: &Input) -> bool {
        matches!(input, Input::Speech(said) if said.same_speech(&self.said))
    }

    /// Goes on with the work; returns when it is known what was said, and never where there is none.
    pub(super) async fn go_on(ahead: &mut Option<Ahead>) {
        match ahead {
            Some(ahead) => ahead.work.go_on().await,
            None => std::future::pending().await,
        }
    }
}

/// What the end-of-turn model is asked about a pause, and says of it.
#[derive(Default)]
pub(super) enum Judging {
    /// Nothing.
    #[default]
    Idle,
    /// It is asked.
    Asked(Utterance, BoxFuture<'static, Verdict>),
    /// It has answered.
    Answered(Utterance, Verdict),
}

impl Judging {
    /// Waits until it has answered; for ever where nothing was asked.
    pub(super) async fn done(&mut self) {
        match self {
            Judging::Idle => std::future::pending().await,
            Judging::Answered(..) => {}
            Judging::Asked(said, answer) => {
                let verdict = answer.await;
                *self = Judging::Answered(said.clone(), verdict);
            }
        }
    }
}

/// Something short that was said while an answer is spoken, and of which it is not known yet whether it is a turn.
pub(super) struct Aside {
    said: Utterance,
    decided: Instant,
}

impl Actor {
    /// Somebody has said something. What is only said aside leaves the answer alone that is being spoken.
    pub(super) fn turn_said(&mut self, said: Utterance) {
        let decided = Instant::now();
        if self.turn.is_none() {
            return self.start_turn(Input::Speech(said), decided, None);
        }
        let ahead = self.ahead.as_ref().filter(|ahead| ahead.said.same_speech(&said));
        let known = ahead.map(|ahead| ahead.work.is_known());
        if known.is_none() && !self.parts.runner.is_aside(&said, None) {
            return self.start_turn(Input::Speech(said), decided, None);
        }
        self.aside = Some(Aside { said, decided });
        if known != Some(false) {
            self.understood();
        }
    }

    /// It is known what was said: what was said aside is a turn, or is not.
    pub(super) fn understood(&mut self) {
        let Some(Aside { said, decided }) = self.aside.take() else { return };
        let ahead = self.ahead.as_ref().filter(|ahead| ahead.said.same_speech(&said));
        let words = ahead.and_then(|ahead| ahead.work.words());
        if self.turn.is_some() && self.parts.runner.is_aside(&said, words) {
            tracing::debug!(device = %self.device, "said aside: the answer goes on");
            self.parts.metrics.said_aside();
            self.ahead = None;
            return;
        }
        self.start_turn(Input::Speech(said), decided, None);
    }

    /// Somebody speaks again: what was said before was no aside.
    pub(super) fn speaks_on(&mut self) {
        if let Some(Aside { said, decided }) = self.aside.take() {
            self.start_turn(Input::Speech(said), decided, None);
        }
    }

    /// The end-of-turn model has answered, and the ears are at home.
    pub(super) fn judged(&mut self) {
        if let Judging::Answered(said, verdict) = std::mem::take(&mut self.judging) {
            let heard = self.ears.judge(&said, verdict);
            self.heard_all(heard);
        }
    }

    /// Asks the end-of-turn model about a pause, where there is one and the gateway decides when a turn is over.
    fn ask_about(&mut self, said: &Utterance) {
        let model = &self.parts.ears.turn_model;
        if self.live.mode == ListenMode::Manual || model.missing().is_some() {
            return;
        }
        let (model, asked) = (model.clone(), said.clone());
        self.judging = Judging::Asked(said.clone(), async move { model.ask(asked).await }.boxed());
    }

    /// A pause has begun: the turn may be over.
    pub(super) fn likely_over(&mut self, said: Utterance) {
        self.ask_about(&said);
        // one at a time: what was begun for the pause before is cancelled first
        self.ahead = None;
        if !self.online || self.partials.any() {
            // nobody would hear it, or the device understands speech itself
            return;
        }
        let id = TurnId(self.live.turns.wrapping_add(1));
        let turn = self.turn_of(id, Input::Speech(said.clone()), self.live.errand, Instant::now());
        let listening = self.ears.listening_number();
        self.ahead = self.parts.runner.prepare(turn).map(|work| Ahead { said, listening, work });
    }

    /// Drops what nothing can come of any more.
    pub(super) fn forget_ahead(&mut self) {
        let now = self.ears.listening_number();
        if !self.online {
            (self.judging, self.aside) = (Judging::Idle, None);
        }
        self.ahead.take_if(|ahead| ahead.listening != now || !self.online);
    }
}
