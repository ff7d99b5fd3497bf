//! The last message of each topic that asked for it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use tokio::time::Instant;

use crate::door::mqtt::message::Message;
use crate::topics;

/// Bounded in number and bytes; the gateway's own messages are bounded by what it has and do not count.
#[derive(Debug)]
pub(super) struct Retained {
    kept: BTreeMap<Arc<str>, Arc<Message>>,
    foreign: usize,
    bytes: usize,
    /// Bytes of all, the gateway's own too.
    all: usize,
    max_count: usize,
    max_bytes: usize,
}

impl Retained {
    /// Keeps at most so many messages and bytes.
    pub fn new(max_count: usize, max_bytes: usize) -> Self {
        Self { kept: BTreeMap::new(), foreign: 0, bytes: 0, all: 0, max_count, max_bytes }
    }

    /// Keeps it, or forgets the topic when the payload is empty. False when the quota does not allow it: then what
    /// was kept before stays.
    pub fn keep(&mut self, message: &Arc<Message>) -> bool {
        let (count, bytes) = self.kept.get(&message.topic).map_or((0, 0), |old| quota(old));
        let (one, cost) = quota(message);
        let (foreign, total) = (self.foreign - count, self.bytes - bytes);
        let all = self.all - self.kept.get(&message.topic).map_or(0, |old| old.cost());
        if message.payload.is_empty() {
            self.kept.remove(&message.topic);
            (self.foreign, self.bytes, self.all) = (foreign, total, all);
            return true;
        }
        if one > 0 && (foreign >= self.max_count || total + cost > self.max_bytes) {
            return false;
        }
        (self.foreign, self.bytes, self.all) = (foreign + one, total + cost, all + message.cost());
        self.kept.insert(message.topic.clone(), message.clone());
        true
    }

    /// What is kept on topics that match the filter, and has not expired.
    pub fn matching(&self, filter: &str) -> Vec<Arc<Message>> {
        let literal = filter.split(['+', '#']).next().unwrap_or_default();
        // `a/#` also matches `a`: the search begins at the level's name itself
        let from = literal.strip_suffix('/').unwrap_or(literal);
        let range = self.kept.range::<str, _>((Bound::Included(from), Bound::Unbounded));
        let now = Instant::now();
        range
            .take_while(|(topic, _)| topic.starts_with(from))
            .filter(|(topic, message)| topics::matches(filter, topic) && message.expiry_left(now) != Some(0))
            .map(|(_, message)| message.clone())
            .collect()
    }

    /// Forgets what has expired; the topics of what was written down.
    pub fn expire(&mut self, now: Instant) -> Vec<Arc<Message>> {
        let void: Vec<_> = self.kept.values().filter(|m| m.expiry_left(now) == Some(0)).cloned().collect();
        for message in &void {
            self.kept.remove(&message.topic);
            let (count, bytes) = quota(message);
            (self.foreign, self.bytes) = (self.foreign - count, self.bytes - bytes);
            self.all -= message.cost();
        }
        void
    }

    /// Bytes of all that is kept, the gateway's own too.
    pub fn all_bytes(&self) -> usize {
        self.all
    }

    /// How many there are, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        (self.kept.len(), self.bytes)
    }
}

/// What a message counts.
fn quota(message: &Message) -> (usize, usize) {
    if message.own { (0, 0) } else { (1, message.cost()) }
}
