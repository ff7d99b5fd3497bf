//! What is begun before a turn is decided: at a pause in which it may be over.
//!
//! It is dropped when speech goes on, when the device begins anew or leaves, and when another turn begins; the turn that ends
//! with the very same speech takes it over.

use std::convert::Infallible;

use tokio::time::Instant;

use super::actor::Actor;
use super::turn::{Input, Prepared};
use crate::audio::Utterance;
use crate::domain::TurnId;

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

    /// Goes on with the work; for ever where there is none.
    pub(super) async fn go_on(ahead: &mut Option<Ahead>) -> Infallible {
        match ahead {
            Some(ahead) => ahead.work.go_on().await,
            None => std::future::pending().await,
        }
    }
}

impl Actor {
    /// A pause has begun: the turn may be over.
    pub(super) fn likely_over(&mut self, said: Utterance) {
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
        self.ahead.take_if(|ahead| ahead.listening != now || !self.online);
    }
}
