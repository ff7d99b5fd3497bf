//! What the callers, the writer, the applier, the syncer and the readers share.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::oneshot;

use super::applier::Behind;
use super::disk::Disk;
use super::journal::Shelf;
use super::overlay::{Entry, Overlay, Ticket};
use super::tree::Tree;
use super::{CommitNo, Key, Metrics, Settings, StoreError};
use crate::domain::Clock;

/// A batch that waits for the writer.
pub(crate) struct Waiting {
    pub ticket: Ticket,
    pub changes: Vec<(Key, Entry)>,
    /// Its bytes in the journal.
    pub bytes: usize,
    pub answer: oneshot::Sender<Result<CommitNo, StoreError>>,
}

/// What the lock guards.
#[derive(Default)]
pub(crate) struct State {
    pub queue: VecDeque<Waiting>,
    pub queued_bytes: usize,
    pub ticket: Ticket,
    pub overlay: Overlay,
    /// Why nothing can be written now; the writer is mending it.
    pub broken: Option<StoreError>,
    /// The syncer or the applier failed: the writer shall mend sled.
    pub sync_failed: Option<StoreError>,
    /// No more batches are taken; what waits is still written.
    pub closing: bool,
    /// The writer has ended.
    pub ended: bool,
    /// The syncer shall run now.
    pub sync_now: bool,
}

pub(crate) struct Shared {
    pub settings: Settings,
    pub dir: PathBuf,
    pub store: u64,
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub shelf: Arc<Shelf>,
    /// None while it is dropped and opened again after an error.
    pub tree: RwLock<Option<Tree>>,
    state: Mutex<State>,
    /// What sled is still to get.
    pub behind: Behind,
    /// Wakes the writer.
    pub work: Condvar,
    /// Wakes the syncer.
    pub tick: Condvar,
    /// The last group that sled has.
    pub applied: AtomicU64,
    /// The last group that sled has on disk.
    pub synced: AtomicU64,
    /// Less than the reserve is free.
    pub low: AtomicBool,
    /// Free bytes when last asked.
    pub free: AtomicU64,
    /// Monotonic ms of the last durable group.
    pub committed_ms: AtomicU64,
}

impl Shared {
    #[allow(clippy::too_many_arguments, reason = "called once, by open")]
    pub fn new(
        settings: Settings,
        dir: PathBuf,
        store: u64,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        shelf: Arc<Shelf>,
        tree: Tree,
        applied: u64,
    ) -> Self {
        Self {
            behind: Behind::new(&settings),
            settings,
            dir,
            store,
            disk,
            clock,
            metrics,
            shelf,
            tree: RwLock::new(Some(tree)),
            state: Mutex::default(),
            work: Condvar::new(),
            tick: Condvar::new(),
            applied: AtomicU64::new(applied),
            synced: AtomicU64::new(0),
            low: AtomicBool::new(false),
            free: AtomicU64::new(u64::MAX),
            committed_ms: AtomicU64::new(0),
        }
    }

    /// A panic elsewhere must not take the others down: what the lock guards is whole between calls.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` on sled, or says that it is being mended.
    pub fn with_tree<T>(&self, f: impl FnOnce(&Tree) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        match &*tree {
            Some(tree) => f(tree),
            None => Err(StoreError::Write("sled is being opened again after an error".into())),
        }
    }

    /// Counts an error and hands it on.
    pub fn counted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            self.metrics.error(error);
        }
        result
    }
}
