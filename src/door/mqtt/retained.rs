//! Retained messages: a small trait, in memory for now.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use super::message::Message;
use crate::topics;

/// Keeps the last message of a topic.
pub trait Retained: Send + Sync + fmt::Debug {
    /// Keeps it, or forgets the topic when the payload is empty. False when the quota does not allow it.
    fn keep(&mut self, message: &Arc<Message>) -> bool;

    /// What is kept on topics that match the filter.
    fn matching(&self, filter: &str) -> Vec<Arc<Message>>;
}

/// In memory, bounded in number and bytes.
#[derive(Debug)]
pub struct MemoryRetained {
    kept: BTreeMap<Arc<str>, Arc<Message>>,
    bytes: usize,
    max_count: usize,
    max_bytes: usize,
}

impl MemoryRetained {
    /// Keeps at most so many messages and bytes.
    pub fn new(max_count: usize, max_bytes: usize) -> Self {
        Self { kept: BTreeMap::new(), bytes: 0, max_count, max_bytes }
    }
}

impl Retained for MemoryRetained {
    fn keep(&mut self, message: &Arc<Message>) -> bool {
        if let Some(old) = self.kept.remove(&message.topic) {
            self.bytes -= old.cost();
        }
        if message.payload.is_empty() {
            return true;
        }
        if self.kept.len() >= self.max_count || self.bytes + message.cost() > self.max_bytes {
            return false;
        }
        self.bytes += message.cost();
        self.kept.insert(message.topic.clone(), message.clone());
        true
    }

    fn matching(&self, filter: &str) -> Vec<Arc<Message>> {
        let literal = filter.split(['+', '#']).next().unwrap_or_default();
        // `a/#` also matches `a`: the search begins at the level's name itself
        let from = literal.strip_suffix('/').unwrap_or(literal);
        let range = self.kept.range::<str, _>((Bound::Included(from), Bound::Unbounded));
        range
            .take_while(|(topic, _)| topic.starts_with(from))
            .filter(|(topic, _)| topics::matches(filter, topic))
            .map(|(_, message)| message.clone())
            .collect()
    }
}
