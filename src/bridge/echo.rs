//! Knows our own messages again when the other broker sends them back.
//!
//! MQTT 3.1.1 has no word for "not what I published". A broker that knows bridges (mosquitto and its kind) leaves them
//! out itself; of another each message that we publish on a topic that we subscribe to comes back once. It is
//! remembered by its digest until it does, and not handed on.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// What has not come back by then does not come any more.
const PATIENCE: Duration = Duration::from_mins(1);
/// Most that are remembered.
const MOST: usize = 65_536;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    hasher: RandomState,
    expected: HashMap<u64, u32>,
    order: VecDeque<(Instant, u64)>,
}

impl Echoes {
    /// A message leaves that will come back.
    pub fn expect(&mut self, topic: &str, payload: &[u8]) {
        let now = Instant::now();
        while self.order.front().is_some_and(|(at, _)| self.order.len() >= MOST || now - *at > PATIENCE) {
            if let Some((_, digest)) = self.order.pop_front() {
                self.forget(digest);
            }
        }
        let digest = self.hasher.hash_one((topic, payload));
        *self.expected.entry(digest).or_default() += 1;
        self.order.push_back((now, digest));
    }

    /// A message came: is it one of ours.
    pub fn is_one(&mut self, topic: &str, payload: &[u8]) -> bool {
        if self.expected.is_empty() {
            return false;
        }
        let digest = self.hasher.hash_one((topic, payload));
        if !self.expected.contains_key(&digest) {
            return false;
        }
        if let Some(at) = self.order.iter().position(|(_, other)| *other == digest) {
            let late = self.order.remove(at).is_some_and(|(at, _)| at.elapsed() > PATIENCE);
            self.forget(digest);
            return !late;
        }
        false
    }

    fn forget(&mut self, digest: u64) {
        if let Some(count) = self.expected.get_mut(&digest) {
            *count -= 1;
            if *count == 0 {
                self.expected.remove(&digest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_message_comes_back_as_often_as_it_left_and_not_for_ever() {
        let mut echoes = Echoes::default();
        assert!(!echoes.is_one("t", b"x"));
        echoes.expect("t", b"x");
        echoes.expect("t", b"x");
        assert!(!echoes.is_one("t", b"y") && !echoes.is_one("u", b"x"));
        assert!(echoes.is_one("t", b"x") && echoes.is_one("t", b"x"));
        assert!(!echoes.is_one("t", b"x"), "a third one is somebody else's");
        echoes.expect("t", b"x");
        tokio::time::advance(PATIENCE + Duration::from_secs(1)).await;
        assert!(!echoes.is_one("t", b"x"), "too late");
        assert!(echoes.expected.is_empty() && echoes.order.is_empty());
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut echoes = Echoes::default();
        for n in 0..MOST + 10 {
            echoes.expect("t", &n.to_be_bytes());
        }
        assert_eq!((echoes.order.len(), echoes.expected.len()), (MOST, MOST));
        assert!(!echoes.is_one("t", &0_usize.to_be_bytes()), "the oldest was forgotten");
    }
}
