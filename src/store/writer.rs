//! The one thread that writes: group after group, each as soon as the last is on disk.
//!
//! A group is everything that waits (no timer): one append and one sync of the journal, then the
//! waiting are answered; the applier gives it to sled behind. When a write fails, all who wait are told, sled is
//! dropped and opened again with back-off, and the store goes on: sled keeps its first error for ever.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::applier::Written;
use super::group::Builder;
use super::journal::Journal;
use super::replay::replay;
use super::shared::{Shared, Waiting};
use super::tree::{self, Tree};
use super::{CommitNo, StoreError};

/// The first wait before sled is opened again; doubled up to the longest.
const BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// What there is to do.
enum Work {
    Group(Vec<Waiting>),
    Mend(StoreError),
    End,
}

/// Runs until the store is closed and everything that waited is written.
pub(crate) fn run(shared: &Arc<Shared>, mut journal: Journal) {
    let _ended = Ended(shared);
    let mut builder = Builder::default();
    loop {
        let failed = match next(shared) {
            Work::Group(group) => commit(shared, &mut journal, &mut builder, group),
            Work::Mend(error) => Err(error),
            Work::End => break,
        };
        if let Err(error) = failed {
            mend(shared, &mut journal, &error);
        }
    }
    finish(shared, &mut journal, &mut builder);
}

/// Says that the writer has ended, also when it panicked: nothing may be acknowledged without it.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closing = true;
        state.ended = true;
        state.queue.clear();
        drop(state);
        self.0.tick.notify_all();
        self.0.behind.close();
    }
}

/// Waits for work.
fn next(shared: &Shared) -> Work {
    let mut state = shared.state();
    loop {
        if let Some(error) = state.sync_failed.take() {
            return Work::Mend(error);
        }
        if !state.queue.is_empty() {
            break;
        }
        if state.closing {
            return Work::End;
        }
        state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    let limit = shared.settings.group.len();
    let (mut group, mut bytes) = (Vec::with_capacity(state.queue.len()), 0);
    while let Some(waiting) = state.queue.pop_front_if(|w| bytes == 0 || bytes + w.bytes <= limit) {
        bytes += waiting.bytes;
        group.push(waiting);
    }
    state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
    Work::Group(group)
}

/// Makes a group durable, answers those who wait, hands it on to sled.
fn commit(
    shared: &Shared,
    journal: &mut Journal,
    builder: &mut Builder,
    group: Vec<Waiting>,
) -> Result<(), StoreError> {
    builder.clear();
    for (key, value) in group.iter().flat_map(|w| &w.changes) {
        builder.push(key, value.as_deref());
    }
    let number = match append(shared, journal, builder) {
        Ok(number) => number,
        Err(error) => {
            refuse(shared, group, &error);
            return Err(error);
        }
    };
    let count = group.len() as u64;
    let mut changes = Vec::with_capacity(group.len());
    for waiting in group {
        // a caller that does not wait any more is no error
        let _ = waiting.answer.send(Ok(CommitNo(number)));
        changes.push((waiting.ticket, waiting.changes));
    }
    shared.metrics.commits.inc_by(count);
    shared.metrics.queue.dec_by(i64::try_from(count).unwrap_or(i64::MAX));
    if builder.is_empty() {
        return Ok(());
    }
    shared.behind.push(Written { number, bytes: builder.len(), changes })
}

/// One append and one sync.
fn append(shared: &Shared, journal: &mut Journal, builder: &mut Builder) -> Result<u64, StoreError> {
    if builder.is_empty() {
        // nothing to write: a caller that waits for what went before
        return Ok(journal.last());
    }
    let bytes = builder.len() as u64;
    let start = shared.clock.mono();
    let synced = shared.synced.load(Ordering::Acquire);
    let number = journal
        .append(builder, synced, shared.clock.wall().0)
        .map_err(|e| StoreError::Write(format!("journal in {}: {e}", shared.dir.display())))?;
    let end = shared.clock.mono();
    shared.committed_ms.store(u64::try_from(end.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    shared.metrics.sync.observe(end.saturating_sub(start).as_secs_f64());
    shared.metrics.groups.inc();
    shared.metrics.bytes.inc_by(bytes);
    Ok(number)
}

/// Tells a group and everybody behind it that nothing was written.
fn refuse(shared: &Shared, mut group: Vec<Waiting>, error: &StoreError) {
    let mut state = shared.state();
    state.broken = Some(error.clone());
    group.extend(state.queue.drain(..));
    state.queued_bytes = 0;
    for waiting in &group {
        for (key, _) in &waiting.changes {
            state.overlay.forget(key, waiting.ticket);
        }
    }
    drop(state);
    shared.metrics.queue.dec_by(i64::try_from(group.len()).unwrap_or(i64::MAX));
    for waiting in group {
        shared.metrics.error(error);
        let _ = waiting.answer.send(Err(error.clone()));
    }
}

/// Drops sled and opens it again until it works; commits are refused meanwhile.
fn mend(shared: &Shared, journal: &mut Journal, error: &StoreError) {
    tracing::error!(%error, dir = %shared.dir.display(), "the store cannot write, sled is opened again");
    refuse(shared, Vec::new(), error);
    // what sled was still to get is in the journal, and is taken from there
    let _still = shared.behind.still();
    shared.tree.write().unwrap_or_else(PoisonError::into_inner).take();
    journal.leave();
    let mut pause = BACK_OFF;
    while !closing_within(shared, pause) {
        match reopen(shared, journal) {
            Ok(()) => {
                shared.metrics.reopened.inc();
                tracing::info!(last = journal.last(), "the store writes again");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, retry_in = ?pause, "the store still cannot write");
                shared.metrics.error(&error);
                shared.state().broken = Some(error);
            }
        }
        pause = (pause * 2).min(LONGEST_BACK_OFF);
    }
}

/// Waits, unless the store is closed meanwhile.
fn closing_within(shared: &Shared, pause: Duration) -> bool {
    let state = shared.state();
    let waited = shared.work.wait_timeout_while(state, pause, |s| !s.closing);
    waited.unwrap_or_else(PoisonError::into_inner).0.closing
}

fn reopen(shared: &Shared, journal: &mut Journal) -> Result<(), StoreError> {
    // the new segment comes first: it makes void what a failed group may have left in the old one
    journal.begin().map_err(|e| StoreError::Write(format!("journal in {}: {e}", shared.dir.display())))?;
    let tree = Tree::open(&tree::dir(&shared.dir), &shared.settings, false)?;
    let applied = tree.applied()?.unwrap_or(0);
    let dir = shared.dir.join("journal");
    let replayed = replay(&*shared.disk, &dir, shared.store, applied, |header, changes| {
        tree.apply(header.number, changes.iter().copied())
    })?;
    if replayed.last != journal.last() {
        let text = format!("the journal ends at group {}, not {}", replayed.last, journal.last());
        return Err(StoreError::Damaged(text));
    }
    tree.sync(&*shared.disk)?;
    *shared.tree.write().unwrap_or_else(PoisonError::into_inner) = Some(tree);
    shared.applied.store(journal.last(), Ordering::Release);
    shared.synced.store(journal.last(), Ordering::Release);
    let mut state = shared.state();
    // no batch was taken meanwhile: what is left was durable and is in sled now
    state.overlay = super::overlay::Overlay::default();
    state.broken = None;
    state.sync_failed = None;
    Ok(())
}

/// Everything is in sled and on disk before the writer ends. A last, empty group says how far, so that
/// a tail that sled loses while nobody looks is noticed at the next start.
fn finish(shared: &Shared, journal: &mut Journal, builder: &mut Builder) {
    if shared.state().broken.is_some() {
        return;
    }
    if let Err(error) = shared.behind.drained() {
        tracing::warn!(%error, "sled did not take the last groups, the journal holds them");
        return;
    }
    let applied = shared.applied.load(Ordering::Acquire);
    if let Err(error) = shared.with_tree(|tree| tree.sync(&*shared.disk)) {
        tracing::warn!(%error, "the last sync of sled failed, the journal holds what it lacks");
        return;
    }
    shared.synced.store(applied, Ordering::Release);
    builder.clear();
    if let Err(error) = journal.append(builder, applied, shared.clock.wall().0) {
        tracing::warn!(%error, "the journal could not be ended cleanly");
    }
}
