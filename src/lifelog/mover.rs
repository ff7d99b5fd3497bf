//! Days that are no longer hot become files; what is past its keeping is removed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::cold::{self, DayFile};
use super::day::Day;
use super::entry::Entry;
use super::{Lifelog, hot};
use crate::store::{Batch, StoreError};

/// Records removed from the store in one batch: small, so that nobody waits long behind it.
const REMOVE: usize = 256;

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Days moved into files.
    pub moved: u32,
    /// Their entries.
    pub entries: u64,
    /// Bytes of the files written.
    pub bytes: u64,
    /// Days removed for good.
    pub removed: u32,
}

impl Lifelog {
    /// Sweeps now and then until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut every = tokio::time::interval(self.settings.sweep_every.0);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = every.tick() => {}
            }
            let swept = tokio::select! {
                // a sweep that is cut off loses nothing: a day is in the store until its file is whole
                () = stop.cancelled() => return,
                swept = self.sweep() => swept,
            };
            match swept {
                Ok(Swept { moved: 0, removed: 0, .. }) => {}
                Ok(swept) => tracing::info!(?swept, "lifelog days moved or removed"),
                Err(error) => tracing::warn!(%error, "the lifelog could not be swept"),
            }
        }
    }

    /// Moves every day that is no longer hot, then removes what is past its keeping. While the clock is unset
    /// nothing is too old.
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        let today = Day::of(self.clock.wall());
        if today == Day(0) {
            return Ok(swept);
        }
        let keep = self.settings.keep;
        // what is to be removed goes the same way, by its day's file
        let hot_days = if keep > 0 { self.settings.hot_days.min(keep) } else { self.settings.hot_days };
        let first_hot = Day((today.0 + 1).saturating_sub(hot_days));
        while let Some(day) = hot::first_day(&*self.store).await?.filter(|d| *d < first_hot) {
            let (entries, bytes) = self.move_day(day).await?;
            swept.moved += 1;
            swept.entries += entries;
            swept.bytes += bytes;
            self.metrics.moved.inc();
        }
        if keep > 0 {
            swept.removed = self.remove_before(Day((today.0 + 1).saturating_sub(keep))).await?;
        }
        Ok(swept)
    }

    /// The file first, whole and synced; then the records go.
    async fn move_day(&self, day: Day) -> Result<(u64, u64), StoreError> {
        let records = hot::whole_day(&*self.store, day).await?;
        let entries: Vec<_> =
            records.iter().map(|(key, payload)| Entry::parse(key, payload)).collect::<Result<_, _>>()?;
        let count = entries.len() as u64;
        let bytes = self.blocking(move |dir| write_with_former(&dir, day, entries)).await?;
        let mut batches = Vec::new();
        for chunk in records.chunks(REMOVE) {
            let mut batch = Batch::new();
            for (key, _) in chunk {
                batch.delete(key.clone());
            }
            batches.push(self.store.commit(batch));
        }
        for done in futures::future::join_all(batches).await {
            done?;
        }
        Ok((count, bytes))
    }

    /// Removes day files and images of days before `first`; hot days in their turn become files first.
    async fn remove_before(&self, first: Day) -> Result<u32, StoreError> {
        let images = self.image_dir();
        self.blocking(move |dir| {
            let old: Vec<_> = cold::days(&dir)?.into_iter().filter(|d| *d < first).collect();
            for day in &old {
                std::fs::remove_file(cold::path(&dir, *day))?;
            }
            for folder in std::fs::read_dir(&images)? {
                let path = folder?.path();
                if path.file_name().and_then(|n| n.to_str()).and_then(Day::parse).is_some_and(|d| d < first) {
                    std::fs::remove_dir_all(path)?;
                }
            }
            Ok(u32::try_from(old.len()).unwrap_or(u32::MAX))
        })
        .await
    }
}

/// A day that has a file already (its move was cut off, or the clock was wrong) keeps what is in it.
fn write_with_former(dir: &Path, day: Day, mut entries: Vec<Entry>) -> io::Result<u64> {
    if let Some(mut file) = DayFile::open(dir, day)? {
        let mut damaged = file.index_damaged;
        for block in file.blocks.clone() {
            match file.read(&block)? {
                Some(former) => entries.extend(former),
                None => damaged = true,
            }
        }
        if damaged {
            // somebody may still get more out of it than we can
            let path = cold::path(dir, day);
            std::fs::hard_link(&path, path.with_extension("vxl.damaged"))?;
        }
        entries.sort_by(|a, b| (&a.device, a.at, a.n).cmp(&(&b.device, b.at, b.n)));
        entries.dedup_by_key(|e| e.n);
    }
    cold::write(dir, day, &entries)
}
