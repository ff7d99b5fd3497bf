//! What an operator may set of the store.

use serde::{Deserialize, Serialize};

use crate::domain::{ByteSize, Problem, Span};

/// The store: a journal of commit groups with sled behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Size of one journal segment, preallocated; at least "64KB". Default: "16MB".
    pub segment: ByteSize,
    /// How many finished journal segments are kept although sled has them on disk: they mend a tail of sled
    /// that a bad disk rolled back. Default: 2.
    pub journal_keep: usize,
    /// Most bytes in one commit group, at most a quarter of `segment`; also the largest batch. Default: "4MB".
    pub group: ByteSize,
    /// Most batches waiting for the writer; more are refused as busy. Default: 65536.
    pub queue: usize,
    /// Most bytes waiting for the writer; more are refused as busy. Default: "64MB".
    pub queue_bytes: ByteSize,
    /// How often sled is flushed and synced behind the journal. Default: "1s".
    pub sync_every: Span,
    /// Free space of the disk below which new records are refused (deletions are not), so that it never
    /// fills up. A quarter of it, 64 MB at most, is held as a file that is given up when somebody else fills the
    /// disk all the same. "0B" switches both off. Default: "256MB".
    pub reserve: ByteSize,
    /// sled's page cache; the system's own keeps what falls out of it. Default: "1MB".
    pub cache: ByteSize,
    /// Threads that read. Default: 2.
    pub readers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment: ByteSize::mb(16),
            journal_keep: 2,
            group: ByteSize::mb(4),
            queue: 65_536,
            queue_bytes: ByteSize::mb(64),
            sync_every: Span::secs(1),
            reserve: ByteSize::mb(256),
            cache: ByteSize::mb(1),
            readers: 2,
        }
    }
}

impl Settings {
    /// What is wrong with it; `path` is the key of this section, `store`.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, what: String, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if self.segment < ByteSize::kb(64) || self.segment > ByteSize::mb(1024) {
            wrong("segment", format!("{} is no sensible segment", self.segment), "write 64KB to 1GB, as \"16MB\"");
        }
        if self.group < ByteSize::kb(4) || self.group.0 > self.segment.0 / 4 {
            wrong("group", format!("{} does not fit the segment", self.group), "write 4KB to a quarter of `segment`");
        }
        if self.queue == 0 {
            wrong("queue", "a queue of 0 takes nothing".into(), "write at least 1");
        }
        if self.queue_bytes < self.group {
            wrong("queue_bytes", "smaller than `group`".into(), "write at least the size of `group`");
        }
        if self.sync_every < Span::ms(50) || self.sync_every > Span::secs(60) {
            wrong("sync_every", format!("{} is out of range", self.sync_every), "write \"50ms\" to \"60s\"");
        }
        if self.cache < ByteSize::mb(1) {
            wrong("cache", format!("{} is too small", self.cache), "write at least \"1MB\"");
        }
        if self.readers == 0 || self.readers > 64 {
            wrong("readers", format!("{} reader threads", self.readers), "write 1 to 64");
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_has_no_problem() {
        assert_eq!(Settings::default().check("store"), vec![]);
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_key() {
        let wrong = Settings {
            segment: ByteSize::kb(1),
            group: ByteSize::mb(1),
            queue: 0,
            queue_bytes: ByteSize(0),
            sync_every: Span::ms(1),
            cache: ByteSize(0),
            readers: 0,
            ..Settings::default()
        };
        let keys: Vec<_> = wrong.check("store").into_iter().map(|p| p.key).collect();
        let expected = ["segment", "group", "queue", "queue_bytes", "sync_every", "cache", "readers"];
        assert_eq!(keys, expected.map(|k| format!("store.{k}")));
    }
}
