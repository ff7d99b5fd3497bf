//! What was handed in and is not in sled yet, so that a read sees it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Key, Range};

/// The order in which batches were handed in.
pub(crate) type Ticket = u64;

/// A sealed value, or a removal.
pub(crate) type Entry = Option<Bytes>;

/// The latest change of each key that sled does not have.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    entries: BTreeMap<Key, (Ticket, Entry)>,
}

impl Overlay {
    /// A batch with this ticket changes `key`.
    pub fn put(&mut self, key: Key, ticket: Ticket, entry: Entry) {
        self.entries.insert(key, (ticket, entry));
    }

    /// sled has this change now (or it failed): it goes, unless a later one took its place.
    pub fn forget(&mut self, key: &Key, ticket: Ticket) {
        if self.entries.get(key).is_some_and(|(at, _)| *at == ticket) {
            self.entries.remove(key);
        }
    }

    /// The latest change of a key.
    pub fn get(&self, key: &Key) -> Option<Entry> {
        self.entries.get(key).map(|(_, entry)| entry.clone())
    }

    /// The changes in a range, in key order. It is a copy, bounded by what may wait for the writer.
    pub fn range(&self, range: &Range) -> Vec<(Key, Entry)> {
        if range.from >= range.to {
            return Vec::new();
        }
        let within = self.entries.range(range.from.clone()..range.to.clone());
        within.map(|(key, (_, entry))| (key.clone(), entry.clone())).collect()
    }
}
