//! Everything that must survive: a [`Store`] of keyed records, committed in groups.
//!
//! A batch is atomic and durable when its future resolves. Reads see every batch that was handed
//! in before them, durable or not yet (a writer's overlay); what must be certain waits for its commit.
//!
//! [`open`] gives the one that is built in: a journal of commit groups, which is the commit point,
//! and sled behind it. `records` has the typed records on top of the trait. This room knows no
//! device protocol and no session logic.

mod applier;
mod disk;
mod group;
mod journal;
mod key;
mod metrics;
mod open;
mod overlay;
mod readers;
pub mod records;
mod replay;
mod seal;
mod settings;
mod shared;
mod sled_store;
mod slow;
mod syncer;
mod tree;
mod writer;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use futures::future::BoxFuture;

pub use key::{Key, Space};
pub use metrics::Metrics;
pub use open::{Opened, Report, open};
pub use settings::Settings;
pub use sled_store::{Health, SledStore};
pub use slow::open_slowed;

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, or failed.
    #[error("the store cannot write: {0}")]
    Write(String),
    /// A record (or the file) is damaged; nothing was re-created.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Written by another version of the record layout; nothing was changed.
    #[error("the store has another format: {0}")]
    Format(String),
    /// Another process holds the store.
    #[error("the store is locked: {0}")]
    Locked(String),
    /// The gateway is stopping.
    #[error("the store is closed")]
    Closed,
    /// Too much is waiting.
    #[error("the store's queue is full")]
    Busy,
}

impl StoreError {
    /// The label in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            StoreError::Write(_) => "write",
            StoreError::Damaged(_) => "damaged",
            StoreError::Format(_) => "format",
            StoreError::Locked(_) => "locked",
            StoreError::Closed => "closed",
            StoreError::Busy => "busy",
        }
    }
}

/// Changes that happen together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order; a later change of a key wins.
    pub changes: Vec<(Key, Option<Vec<u8>>)>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a record (its payload: the store adds version and checksum).
    pub fn put(&mut self, key: Key, payload: Vec<u8>) -> &mut Self {
        self.changes.push((key, Some(payload)));
        self
    }

    /// Removes a record.
    pub fn delete(&mut self, key: Key) -> &mut Self {
        self.changes.push((key, None));
        self
    }

    /// Takes over the changes of another.
    pub fn extend(&mut self, other: Batch) {
        self.changes.extend(other.changes);
    }

    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// The number of a durable commit group; grows, never repeats, also over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitNo(pub u64);

/// A page of a scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and payloads in key order (or backwards, when asked).
    pub records: Vec<(Key, Vec<u8>)>,
}

/// A range of keys inside one space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The first key (inclusive).
    pub from: Key,
    /// The end (exclusive).
    pub to: Key,
    /// At most so many records.
    pub limit: usize,
    /// Largest first.
    pub backwards: bool,
}

/// A durable map of keyed records. Every call returns at once; the work happens on the store's own threads.
pub trait Store: Send + Sync {
    /// Hands in a batch: batches are applied in the order of these calls. Resolves when it is durable.
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<CommitNo, StoreError>>;

    /// Most bytes of one batch, roughly; a larger one is refused.
    fn largest(&self) -> usize {
        usize::MAX
    }

    /// Reads one record.
    fn get(&self, key: Key) -> BoxFuture<'static, Result<Option<Vec<u8>>, StoreError>>;

    /// Reads a range.
    fn scan(&self, range: Range) -> BoxFuture<'static, Result<Page, StoreError>>;
}
