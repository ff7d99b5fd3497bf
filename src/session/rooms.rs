//! Devices of one room that wake to one word: the one that heard it loudest answers, the others are sent back to rest.
//!
//! It has no clock and no task: who woke asks, when the time is over, whether it is the one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::DeviceId;

/// The level of a device that sent no sound of its wake word, dB: it answers only where nobody else does.
pub const UNHEARD: f32 = -100.0;

/// Who woke where, and who answers. Rounds of rooms in which nobody asks any more are dropped with the next one.
#[derive(Debug, Default)]
pub struct Rooms(Mutex<HashMap<String, Round>>);

/// One word, heard in one room.
#[derive(Debug)]
struct Round {
    /// Until when a device may join it.
    until: Instant,
    /// Who heard it, and how loud, dB, in order.
    heard: Vec<(DeviceId, f32)>,
}

impl Rooms {
    fn rounds(&self) -> MutexGuard<'_, HashMap<String, Round>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device woke. From the moment that this gives, [`Rooms::answers`] says whether it is the one.
    pub fn woke(&self, room: &str, device: &DeviceId, level: f32, now: Instant, window: Duration) -> Instant {
        let mut rounds = self.rounds();
        rounds.retain(|known, round| known == room || round.until + window > now);
        let round = rounds.entry(room.to_owned()).or_insert_with(|| Round { until: now + window, heard: Vec::new() });
        if round.until <= now {
            *round = Round { until: now + window, heard: Vec::new() };
        }
        if !round.heard.iter().any(|(known, _)| known == device) {
            round.heard.push((device.clone(), level));
        }
        round.until
    }

    /// Whether this device answers. One that is not known any more does.
    pub fn answers(&self, room: &str, device: &DeviceId) -> bool {
        let rounds = self.rounds();
        let Some(round) = rounds.get(room).filter(|round| round.heard.iter().any(|(known, _)| known == device)) else {
            return true;
        };
        let mut loudest = None;
        for (known, level) in &round.heard {
            if loudest.is_none_or(|(_, most)| *level > most) {
                loudest = Some((known, *level));
            }
        }
        loudest.is_some_and(|(known, _)| known == device)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    const WINDOW: Duration = Duration::from_millis(400);

    fn device(name: &str) -> DeviceId {
        DeviceId::parse(name).unwrap()
    }

    #[test]
    fn the_loudest_of_a_room_answers_and_of_equals_the_first() {
        let (rooms, now) = (Rooms::default(), Instant::now());
        let (a, b, c) = (device("a"), device("b"), device("c"));
        let until = rooms.woke("kitchen", &a, -40.0, now, WINDOW);
        assert_eq!(until, now + WINDOW);
        assert_eq!(rooms.woke("kitchen", &b, -30.0, now + WINDOW / 2, WINDOW), until, "the first one opens the round");
        rooms.woke("kitchen", &c, -30.0, now + WINDOW / 2, WINDOW);
        rooms.woke("cellar", &device("d"), UNHEARD, now, WINDOW);
        let answers = [&a, &b, &c].map(|device| rooms.answers("kitchen", device));
        assert_eq!(answers, [false, true, false]);
        assert!(rooms.answers("cellar", &device("d")), "another room");
    }

    #[test]
    fn the_next_word_is_another_round_and_rooms_without_words_are_forgotten() {
        let (rooms, now) = (Rooms::default(), Instant::now());
        rooms.woke("kitchen", &device("a"), -10.0, now, WINDOW);
        rooms.woke("kitchen", &device("b"), -50.0, now + WINDOW, WINDOW);
        assert!(rooms.answers("kitchen", &device("b")) && rooms.answers("kitchen", &device("a")));
        rooms.woke("cellar", &device("c"), UNHEARD, now + WINDOW * 4, WINDOW);
        assert_eq!(rooms.rounds().len(), 1);
    }

    #[test]
    fn a_device_that_says_its_word_twice_is_one() {
        let (rooms, now) = (Rooms::default(), Instant::now());
        rooms.woke("kitchen", &device("a"), UNHEARD, now, WINDOW);
        rooms.woke("kitchen", &device("a"), 0.0, now, WINDOW);
        rooms.woke("kitchen", &device("b"), -50.0, now, WINDOW);
        assert!(rooms.answers("kitchen", &device("b")));
    }
}
