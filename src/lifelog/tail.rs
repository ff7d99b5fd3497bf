//! Following the lifelog as it grows.

use std::collections::BTreeMap;

use super::Lifelog;
use super::entry::Entry;
use super::query::Query;
use crate::domain::Wall;
use crate::store::StoreError;

/// Entries become visible a little out of order (their commits overlap) and the clock may be set: so far
/// back is looked each time.
const SLACK_MS: u64 = 60_000;
/// Most entries of one poll.
const MOST: usize = 10_000;

/// A place in the lifelog. Each poll gives what came since, oldest first, each entry once.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    /// Numbers given out within the slack, with their times.
    seen: BTreeMap<u64, Wall>,
    newest: Wall,
}

impl Tail {
    /// Begins now: only what comes later is given.
    pub async fn now(lifelog: &Lifelog) -> Result<Self, StoreError> {
        let mut tail = Self { newest: lifelog.clock.wall(), ..Self::default() };
        tail.poll(lifelog).await?;
        Ok(tail)
    }

    /// What came since the last poll.
    pub async fn poll(&mut self, lifelog: &Lifelog) -> Result<Vec<Entry>, StoreError> {
        let from = Wall(self.newest.0.saturating_sub(SLACK_MS));
        let query = Query { from, ..Query::newest(MOST) };
        let mut entries = lifelog.query(&query).await?.entries;
        entries.retain(|e| !self.seen.contains_key(&e.n));
        entries.reverse();
        for entry in &entries {
            self.seen.insert(entry.n, entry.at);
            self.newest = self.newest.max(entry.at);
        }
        let oldest = Wall(self.newest.0.saturating_sub(SLACK_MS));
        self.seen.retain(|_, at| *at >= oldest);
        Ok(entries)
    }
}
