//! A bounded map that forgets: by weight what was used longest ago, by time what is too old.
//!
//! Plain values and a time that comes from outside; no thread, no clock, no lock.

use std::hash::Hash;
use std::time::Duration;

use hashlink::LinkedHashMap;

/// From when on a value grows old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Since it was made.
    Made,
    /// Since it was last asked for.
    Idle,
}

/// Milliseconds of the monotonic clock; below zero for what was made before it began.
pub(super) type Moment = i64;

/// A moment of [`crate::domain::Clock::mono`].
pub(super) fn moment(mono: Duration) -> Moment {
    i64::try_from(mono.as_millis()).unwrap_or(i64::MAX)
}

struct Item<V> {
    value: V,
    weight: u64,
    since: Moment,
}

/// The map: the longest unused is at its front.
pub(super) struct Shelf<K, V> {
    items: LinkedHashMap<K, Item<V>>,
    weight: u64,
    most: u64,
    ttl: Moment,
    age: Age,
}

impl<K: Hash + Eq + Clone, V> Shelf<K, V> {
    /// Holds up to `most` of weight, each value for `ttl`.
    pub(super) fn new(most: u64, ttl: Duration, age: Age) -> Self {
        Self { items: LinkedHashMap::new(), weight: 0, most, ttl: moment(ttl), age }
    }

    /// What is kept under a key, unless it is too old.
    pub(super) fn get(&mut self, key: &K, now: Moment) -> Option<&V> {
        let ttl = self.ttl;
        if self.items.get(key).is_none_or(|item| is_old(item, now, ttl)) {
            return None;
        }
        let item = self.items.to_back(key)?;
        if self.age == Age::Idle {
            item.since = now;
        }
        Some(&item.value)
    }

    /// Keeps a value; gives the keys of those that had to go for it: its own, where it is too heavy.
    pub(super) fn put(&mut self, key: K, value: V, weight: u64, now: Moment) -> Vec<K> {
        self.remove(&key);
        if weight > self.most {
            return vec![key];
        }
        self.weight += weight;
        self.items.insert(key, Item { value, weight, since: now });
        let mut gone = Vec::new();
        while self.weight > self.most
            && let Some((key, item)) = self.items.pop_front()
        {
            self.weight -= item.weight;
            gone.push(key);
        }
        gone
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let item = self.items.remove(key)?;
        self.weight -= item.weight;
        Some(item.value)
    }

    /// Forgets what is too old; gives its keys.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<K> {
        let old = |(key, item): (&K, &Item<V>)| is_old(item, now, self.ttl).then(|| key.clone());
        let gone: Vec<K> = self.items.iter().filter_map(old).collect();
        for key in &gone {
            self.remove(key);
        }
        gone
    }

    /// Forgets all; gives the keys.
    pub(super) fn clear(&mut self) -> Vec<K> {
        self.weight = 0;
        self.items.drain().map(|(key, _)| key).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn weight(&self) -> u64 {
        self.weight
    }
}

fn is_old<V>(item: &Item<V>, now: Moment, ttl: Moment) -> bool {
    now.saturating_sub(item.since) >= ttl
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(age: Age) -> Shelf<&'static str, u32> {
        Shelf::new(10, Duration::from_secs(1), age)
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut shelf = shelf(Age::Made);
        assert!(shelf.put("a", 1, 4, 0).is_empty());
        assert!(shelf.put("b", 2, 4, 1).is_empty());
        assert_eq!(shelf.get(&"a", 2).copied(), Some(1));
        assert_eq!(shelf.put("c", 3, 4, 3), ["b"]);
        assert_eq!((shelf.get(&"b", 4).copied(), shelf.len(), shelf.weight()), (None, 2, 8));
    }

    #[test]
    fn what_is_heavier_than_all_there_is_moves_nobody() {
        let mut shelf = shelf(Age::Made);
        shelf.put("a", 1, 10, 0);
        assert_eq!(shelf.put("b", 2, 11, 0), ["b"]);
        assert_eq!((shelf.get(&"a", 1).copied(), shelf.weight()), (Some(1), 10));
    }

    #[test]
    fn the_same_again_takes_the_place_of_the_old() {
        let mut shelf = shelf(Age::Made);
        shelf.put("a", 1, 6, 0);
        assert!(shelf.put("a", 2, 8, 0).is_empty());
        assert_eq!((shelf.get(&"a", 0).copied(), shelf.weight(), shelf.len()), (Some(2), 8, 1));
    }

    #[test]
    fn use_keeps_young_only_what_ages_by_disuse() {
        let (mut made, mut idle) = (shelf(Age::Made), shelf(Age::Idle));
        for shelf in [&mut made, &mut idle] {
            shelf.put("a", 1, 1, 0);
            assert_eq!(shelf.get(&"a", 900).copied(), Some(1));
        }
        assert_eq!((made.get(&"a", 1_000).copied(), idle.get(&"a", 1_000).copied()), (None, Some(1)));
        assert_eq!((made.expire(1_000), idle.expire(1_999)), (vec!["a"], vec![]));
        assert_eq!((idle.expire(2_000), idle.weight()), (vec!["a"], 0));
    }

    #[test]
    fn what_is_older_than_the_clock_ages_too() {
        let mut shelf = shelf(Age::Idle);
        shelf.put("a", 1, 1, -500);
        assert_eq!(shelf.expire(499), Vec::<&str>::new());
        assert_eq!(shelf.expire(500), ["a"]);
        shelf.put("b", 1, 3, 0);
        assert_eq!((shelf.clear(), shelf.weight(), shelf.len()), (vec!["b"], 0, 0));
    }
}
