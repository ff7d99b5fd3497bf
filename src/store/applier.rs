//! The thread that gives sled what the journal has: behind the writer, several groups at once.
//!
//! A group is durable when the journal has it; nobody waits for sled. So the writer goes on with the next group while
//! this thread applies the ones before it, and what several of them changed under one key is written once. How far it
//! may be behind is bounded: then the writer waits.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::StoreError;
use super::overlay::{Entry, Ticket};
use super::shared::Shared;
use super::{Key, Settings};

/// Keys that leave the overlay under one hold of the lock that every commit needs too.
const FORGET: usize = 64;
/// How far behind sled may be, in groups of the largest size.
const BEHIND: usize = 4;

/// A group that is in the journal and not in sled.
pub(crate) struct Written {
    pub number: u64,
    pub bytes: usize,
    pub changes: Vec<(Ticket, Vec<(Key, Entry)>)>,
}

/// The groups that sled has not, between the writer and this thread.
pub(crate) struct Behind {
    /// Held while groups are applied: whoever has it knows that none is under way.
    turn: Mutex<()>,
    queue: Mutex<Queue>,
    /// Wakes this thread.
    more: Condvar,
    /// Wakes the writer.
    less: Condvar,
    most: usize,
}

#[derive(Default)]
struct Queue {
    groups: VecDeque<Written>,
    /// Bytes of the groups that wait or are being applied.
    bytes: usize,
    /// Why sled does not take any more; the writer is to mend it.
    failed: Option<StoreError>,
    /// There will be no more groups.
    closing: bool,
    /// The thread is gone, and stays so.
    dead: bool,
}

impl Behind {
    pub fn new(settings: &Settings) -> Self {
        let most = settings.group.len().saturating_mul(BEHIND);
        Self { turn: Mutex::default(), queue: Mutex::default(), more: Condvar::new(), less: Condvar::new(), most }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a group on; waits while sled is too far behind. `Err`: sled failed, the group is in the journal only.
    pub fn push(&self, group: Written) -> Result<(), StoreError> {
        let full = |queue: &mut Queue| queue.bytes > self.most && queue.failed.is_none();
        let mut queue = self.less.wait_while(self.queue(), full).unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &queue.failed {
            return Err(error.clone());
        }
        queue.bytes += group.bytes;
        queue.groups.push_back(group);
        drop(queue);
        self.more.notify_one();
        Ok(())
    }

    /// Waits until sled has everything. `Err`: it failed.
    pub fn drained(&self) -> Result<(), StoreError> {
        let waits = |queue: &mut Queue| queue.bytes > 0 && queue.failed.is_none();
        let queue = self.less.wait_while(self.queue(), waits).unwrap_or_else(PoisonError::into_inner);
        queue.failed.clone().map_or(Ok(()), Err)
    }

    /// Drops what waits, for it is taken from the journal, and keeps this thread still until the guard is dropped.
    pub fn still(&self) -> MutexGuard<'_, ()> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queue = self.queue();
        let (closing, dead) = (queue.closing, queue.dead);
        let failed = queue.failed.take().filter(|_| dead);
        *queue = Queue { failed, closing, dead, ..Queue::default() };
        drop(queue);
        turn
    }

    /// No more groups come; the thread ends when it has applied what waits.
    pub fn close(&self) {
        self.queue().closing = true;
        self.more.notify_all();
    }

    /// Waits for groups; false when there will be none.
    fn wait(&self) -> bool {
        let idle = |queue: &mut Queue| !queue.closing && (queue.groups.is_empty() || queue.failed.is_some());
        let queue = self.more.wait_while(self.queue(), idle).unwrap_or_else(PoisonError::into_inner);
        !queue.groups.is_empty() && queue.failed.is_none()
    }

    /// Takes groups of about the largest size together.
    fn take(&self) -> Vec<Written> {
        let mut queue = self.queue();
        let (mut groups, mut bytes) = (Vec::new(), 0);
        let limit = self.most / BEHIND;
        while let Some(group) = queue.groups.pop_front_if(|g| bytes == 0 || bytes + g.bytes <= limit) {
            bytes += group.bytes;
            groups.push(group);
        }
        groups
    }

    fn done(&self, bytes: usize) {
        let mut queue = self.queue();
        queue.bytes = queue.bytes.saturating_sub(bytes);
        self.less.notify_all();
    }

    fn fail(&self, error: StoreError) {
        self.queue().failed = Some(error);
        self.less.notify_all();
    }
}

/// Runs until the writer has ended.
pub(crate) fn run(shared: &Shared) {
    let _ended = Ended(shared);
    while shared.behind.wait() {
        let turn = shared.behind.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // between waiting and here the writer may have taken all of it away
        let groups = shared.behind.take();
        let Some(number) = groups.last().map(|g| g.number) else { continue };
        let applied = apply(shared, number, &groups);
        drop(turn);
        if let Err(error) = applied {
            shared.behind.fail(error.clone());
            let mut state = shared.state();
            if state.broken.is_none() {
                state.sync_failed = Some(error);
                shared.work.notify_all();
            }
        }
    }
}

fn apply(shared: &Shared, number: u64, groups: &[Written]) -> Result<(), StoreError> {
    let changes = groups.iter().flat_map(|g| &g.changes).flat_map(|(_, changes)| changes);
    shared.with_tree(|tree| tree.apply(number, changes.map(|(key, value)| (key.as_bytes(), value.as_deref()))))?;
    shared.applied.store(number, Ordering::Release);
    let all = groups.iter().flat_map(|g| &g.changes);
    let keys: Vec<(&Key, Ticket)> = all.flat_map(|(ticket, c)| c.iter().map(|(key, _)| (key, *ticket))).collect();
    for some in keys.chunks(FORGET) {
        let mut state = shared.state();
        for (key, ticket) in some {
            state.overlay.forget(key, *ticket);
        }
    }
    shared.behind.done(groups.iter().map(|g| g.bytes).sum());
    Ok(())
}

/// A thread that panicked applies nothing any more: the writer must not wait for it, and nothing may be promised.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.behind.queue().dead = true;
            self.0.behind.fail(StoreError::Write("the thread that writes to sled panicked".into()));
            let mut state = self.0.state();
            (state.closing, state.ended) = (true, true);
            self.0.work.notify_all();
            self.0.tick.notify_all();
        }
    }
}
