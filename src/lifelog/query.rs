//! Questions to the lifelog: newest first, in pages, over the store and the day files alike.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::cold::{self, DayFile};
use super::day::Day;
use super::entry::Entry;
use super::{Lifelog, hot};
use crate::domain::{DeviceId, Wall};
use crate::store::StoreError;

/// Where a page ended: the time and number of its last entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// Its time.
    pub at: Wall,
    /// Its number.
    pub n: u64,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Of this device; none is all.
    pub device: Option<DeviceId>,
    /// From here on (inclusive).
    pub from: Wall,
    /// Up to here (exclusive).
    pub to: Wall,
    /// Go on after this page's end.
    pub before: Option<Cursor>,
    /// At most so many entries.
    pub limit: usize,
}

impl Query {
    /// The newest entries of all devices.
    pub fn newest(limit: usize) -> Self {
        Self { device: None, from: Wall(0), to: Wall(u64::MAX), before: None, limit }
    }

    /// Bounds as `from <= (at, n) < to`.
    fn bounds(&self) -> ((u64, u64), (u64, u64)) {
        let to = (self.to.0, 0);
        ((self.from.0, 0), self.before.map_or(to, |c| to.min((c.at.0, c.n))))
    }
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Newest first.
    pub entries: Vec<Entry>,
    /// Ask again with this for more; none when there is no more.
    pub next: Option<Cursor>,
    /// Blocks that were damaged and are missing here.
    pub damaged: u64,
}

impl Lifelog {
    /// Answers a question. Reads as many days as it takes, newest first.
    pub async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        let (from, to) = query.bounds();
        let mut page = Page::default();
        // one more than asked for says whether there is more
        let wanted = query.limit.saturating_add(1);
        let mut below = Day(Day::of(Wall(to.0)).0.saturating_add(1));
        let first = Day::of(Wall(from.0));
        let cold_days = self.blocking(|dir| cold::days(&dir)).await?;
        while page.entries.len() < wanted {
            let hot_day = hot::day_before(&*self.store, below).await?;
            let cold_day = cold_days.iter().copied().rfind(|d| *d < below);
            let Some(day) = hot_day.max(cold_day).filter(|d| *d >= first) else { break };
            let left = wanted - page.entries.len();
            let mut entries = Vec::new();
            if hot_day == Some(day) {
                entries = self.hot_entries(day, query, left).await?;
            }
            if cold_day == Some(day) {
                let (cold, damaged) = self.cold_entries(day, query, left).await?;
                entries.extend(cold);
                page.damaged += damaged;
            }
            entries.sort_by_key(|e| Reverse((e.at, e.n)));
            // a day that is just being moved is in both
            entries.dedup_by_key(|e| e.n);
            entries.truncate(left);
            page.entries.append(&mut entries);
            below = day;
        }
        if page.entries.len() > query.limit {
            page.entries.truncate(query.limit);
            page.next = page.entries.last().map(|e| Cursor { at: e.at, n: e.n });
        }
        Ok(page)
    }

    async fn hot_entries(&self, day: Day, query: &Query, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let (from, to) = query.bounds();
        let devices = match &query.device {
            Some(device) => vec![device.clone()],
            None => hot::devices(&*self.store, day).await?,
        };
        let mut entries = Vec::new();
        for device in &devices {
            entries.extend(hot::newest(&*self.store, day, device, from, to, limit).await?);
        }
        Ok(entries)
    }

    /// The newest entries of a day's file, unsorted over devices, and how many damaged blocks were in the way.
    async fn cold_entries(&self, day: Day, query: &Query, limit: usize) -> Result<(Vec<Entry>, u64), StoreError> {
        let query = query.clone();
        let (entries, damaged) = self
            .blocking(move |dir| {
                let Some(mut file) = DayFile::open(&dir, day)? else { return Ok((Vec::new(), 0)) };
                newest_of(&mut file, &query, limit)
            })
            .await?;
        self.metrics.damaged.inc_by(damaged);
        Ok((entries, damaged))
    }

    /// Runs file work off the runtime.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(std::path::PathBuf) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let dir = self.cold_dir();
        let failed = |e: &dyn std::fmt::Display| StoreError::Write(format!("lifelog: {e}"));
        let done = tokio::task::spawn_blocking(move || work(dir)).await;
        done.map_err(|e| failed(&e))?.map_err(|e| failed(&e))
    }
}

fn newest_of(file: &mut DayFile, query: &Query, limit: usize) -> std::io::Result<(Vec<Entry>, u64)> {
    let (from, to) = query.bounds();
    let mut damaged = u64::from(file.index_damaged);
    let mut entries = Vec::new();
    let blocks = file.blocks.clone();
    let wanted =
        |b: &&cold::Block| query.device.as_ref().is_none_or(|d| *d == b.device) && b.to >= from.0 && b.from <= to.0;
    let blocks: Vec<_> = blocks.iter().filter(wanted).collect();
    for of_device in blocks.chunk_by(|a, b| a.device == b.device) {
        let mut found = 0;
        for block in of_device.iter().rev() {
            let Some(read) = file.read(block)? else {
                damaged += 1;
                continue;
            };
            let before = entries.len();
            entries.extend(read.into_iter().filter(|e| (from..to).contains(&(e.at.0, e.n))));
            found += entries.len() - before;
            if found >= limit {
                break;
            }
        }
    }
    Ok((entries, damaged))
}
