//! The thread that follows behind: each second it puts sled on disk, frees journal segments and looks at the space left.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::shared::Shared;

/// The spare room: at most this, and at most a quarter of the reserve.
const SPARE: u64 = 64 << 20;
/// Where it is, in the store's folder.
pub(crate) const SPARE_FILE: &str = "spare";

/// Runs until the writer has ended.
pub(crate) fn run(shared: &Shared) {
    while !ended_within_pause(shared) {
        look_at_space(shared);
        keep_spare(shared, shared.free.load(Ordering::Relaxed));
        sync(shared);
    }
}

fn ended_within_pause(shared: &Shared) -> bool {
    let pause = shared.settings.sync_every.0;
    let waited = shared.tick.wait_timeout_while(shared.state(), pause, |s| !s.ended && !s.sync_now);
    let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
    state.sync_now = false;
    state.ended
}

/// Refuses new records below the reserve, and says so once.
pub(crate) fn look_at_space(shared: &Shared) {
    let reserve = shared.settings.reserve.0;
    let Ok(free) = shared.disk.free(&shared.dir) else { return };
    shared.metrics.free.set(i64::try_from(free).unwrap_or(i64::MAX));
    shared.free.store(free, Ordering::Relaxed);
    let low = reserve > 0 && free < reserve;
    if low != shared.low.swap(low, Ordering::AcqRel) {
        if low {
            tracing::error!(free, reserve, "the disk is nearly full, new records are refused");
        } else {
            tracing::info!(free, reserve, "there is room on the disk again");
        }
    }
}

/// A file that is given up when somebody else fills the disk all the same, so that deletions, and what was accepted
/// before, still find room; taken again when there is plenty.
fn keep_spare(shared: &Shared, free: u64) {
    let reserve = shared.settings.reserve.0;
    let spare = SPARE.min(reserve / 4);
    let path = shared.dir.join(SPARE_FILE);
    let there = std::fs::metadata(&path).ok().map(|file| file.len());
    let done = match there {
        Some(length) if length != spare => shared.disk.remove(&path), // half made, or of other settings
        Some(_) if free < spare / 4 => {
            tracing::error!(free, spare, "the disk is full: the spare room is given up");
            shared.disk.remove(&path)
        }
        None if spare > 0 && free > reserve.saturating_add(2 * spare) => shared.disk.create(&path, spare).map(drop),
        _ => Ok(()),
    };
    if let Err(error) = done {
        tracing::warn!(%error, path = %path.display(), "the spare room on the disk could not be changed");
    }
}

/// Puts sled on disk up to what it has, and frees what the journal need not keep.
fn sync(shared: &Shared) {
    let applied = shared.applied.load(Ordering::Acquire);
    if applied > shared.synced.load(Ordering::Acquire) {
        let start = shared.clock.mono();
        if let Err(error) = shared.with_tree(|tree| {
            tree.sync(&*shared.disk)?;
            shared.metrics.sled_size.set(i64::try_from(tree.size()).unwrap_or(i64::MAX));
            Ok(())
        }) {
            let mut state = shared.state();
            // while the writer mends sled there is nothing to sync and nothing to add
            if state.broken.is_none() {
                state.sync_failed = Some(error);
                shared.work.notify_all();
            }
            return;
        }
        shared.metrics.sled_sync.observe(shared.clock.mono().saturating_sub(start).as_secs_f64());
        shared.synced.fetch_max(applied, Ordering::AcqRel);
    }
    let shelf = &shared.shelf;
    if let Err(error) = shelf.retire(shared.synced.load(Ordering::Acquire)).and_then(|()| shelf.provide()) {
        tracing::warn!(%error, "the next journal segment could not be prepared");
    }
}
