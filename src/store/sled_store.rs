//! The built-in store: takes batches and reads, hands them to its threads.

use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::group::RECORD_HEAD;
use super::journal::Journal;
use super::readers::{Job, Readers, opened};
use super::seal::seal;
use super::shared::{Shared, Waiting};
use super::{Batch, CommitNo, Key, Page, Range, Store, StoreError, applier, syncer, writer};

/// A journal of commit groups with sled behind it. Dropped, it is closed (and blocks for it);
/// [`SledStore::close`] does so without blocking the runtime.
pub struct SledStore {
    shared: Arc<Shared>,
    readers: Readers,
    /// The threads, and the lock of the folder; none once closed.
    running: Mutex<Option<Running>>,
}

struct Running {
    threads: Vec<JoinHandle<()>>,
    lock: File,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The writer thread lives. When it does not, nothing can be acknowledged: the process should end.
    pub writer: bool,
    /// Why nothing can be written now (it is being mended).
    pub broken: Option<StoreError>,
    /// Less than the reserve is free: new records are refused, deletions are not.
    pub low: bool,
    /// Free bytes of the disk when last looked at.
    pub free: u64,
    /// When the last group became durable, by the clock's monotonic time; zero when none has yet.
    pub last_commit: Duration,
}

impl SledStore {
    pub(crate) fn start(shared: Arc<Shared>, journal: Journal, lock: File) -> std::io::Result<Self> {
        let (readers, mut threads) = Readers::start(&shared)?;
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        let own = shared.clone();
        threads.push(thread("store-write").spawn(move || writer::run(&own, journal))?);
        let own = shared.clone();
        threads.push(thread("store-apply").spawn(move || applier::run(&own))?);
        let own = shared.clone();
        threads.push(thread("store-sync").spawn(move || syncer::run(&own))?);
        Ok(Self { shared, readers, running: Mutex::new(Some(Running { threads, lock })) })
    }

    /// How the store is, without asking the disk.
    pub fn health(&self) -> Health {
        let state = self.shared.state();
        Health {
            writer: !state.ended,
            broken: state.broken.clone(),
            low: self.shared.low.load(Ordering::Acquire),
            free: self.shared.free.load(Ordering::Relaxed),
            last_commit: Duration::from_millis(self.shared.committed_ms.load(Ordering::Relaxed)),
        }
    }

    /// Writes what waits, puts everything on disk, ends the threads and lets go of the folder.
    /// Calls that come later are answered with [`StoreError::Closed`].
    pub async fn close(&self) {
        self.stop();
        let Some(running) = self.take_running() else { return };
        let shared = self.shared.clone();
        // joining blocks: it must not do so on the runtime's own threads
        let joined = tokio::task::spawn_blocking(move || end(&shared, running)).await;
        if joined.is_err() {
            tracing::error!("closing the store panicked");
        }
    }

    /// Has sled flushed and synced soon, and not only within `sync_every`.
    pub fn sync_now(&self) {
        self.shared.state().sync_now = true;
        self.shared.tick.notify_all();
    }

    fn take_running(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// No more batches; the threads end when all is done.
    fn stop(&self) {
        self.shared.state().closing = true;
        self.shared.work.notify_all();
        self.readers.stop();
    }

    fn submit(&self, batch: Batch) -> Result<oneshot::Receiver<Result<CommitNo, StoreError>>, StoreError> {
        let shared = &self.shared;
        if shared.low.load(Ordering::Acquire) && batch.changes.iter().any(|(_, value)| value.is_some()) {
            let free = shared.free.load(Ordering::Relaxed);
            let text =
                format!("the disk is nearly full: {free} bytes are free, store.reserve is {}", shared.settings.reserve);
            return Err(StoreError::Write(text));
        }
        // sealed on the caller's thread: the writer only copies
        let changes: Vec<_> = batch
            .changes
            .into_iter()
            .map(|(key, value)| {
                let sealed = value.map(|v| seal(&key, &v));
                (key, sealed)
            })
            .collect();
        let size = |(key, value): &(Key, Option<bytes::Bytes>)| {
            RECORD_HEAD + key.as_bytes().len() + value.as_ref().map_or(0, bytes::Bytes::len)
        };
        let bytes: usize = changes.iter().map(size).sum();
        if bytes > shared.settings.group.len() {
            let text = format!("a batch of {bytes} bytes is larger than store.group, {}", shared.settings.group);
            return Err(StoreError::Write(text));
        }
        let (answer, answered) = oneshot::channel();
        let mut state = shared.state();
        if state.closing {
            return Err(StoreError::Closed);
        }
        if let Some(error) = &state.broken {
            return Err(error.clone());
        }
        if state.queue.len() >= shared.settings.queue || state.queued_bytes + bytes > shared.settings.queue_bytes.len()
        {
            return Err(StoreError::Busy);
        }
        state.ticket += 1;
        let ticket = state.ticket;
        for (key, value) in &changes {
            state.overlay.put(key.clone(), ticket, value.clone());
        }
        state.queued_bytes += bytes;
        state.queue.push_back(Waiting { ticket, changes, bytes, answer });
        drop(state);
        shared.metrics.queue.inc();
        shared.work.notify_one();
        Ok(answered)
    }

    fn read(&self, job: Job) -> Result<(), StoreError> {
        if self.shared.state().closing {
            return Err(StoreError::Closed);
        }
        self.readers.submit(job)
    }
}

/// Waits for the threads, drops sled, lets go of the lock.
fn end(shared: &Shared, running: Running) {
    for thread in running.threads {
        if let Err(panic) = thread.join() {
            let what = panic.downcast_ref::<&str>().copied().unwrap_or("no text");
            tracing::error!(what, "a thread of the store panicked");
        }
    }
    shared.tree.write().unwrap_or_else(PoisonError::into_inner).take();
    drop(running.lock);
}

impl Drop for SledStore {
    fn drop(&mut self) {
        if let Some(running) = self.take_running() {
            self.stop();
            end(&self.shared, running);
        }
    }
}

impl Store for SledStore {
    fn largest(&self) -> usize {
        self.shared.settings.group.len()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<CommitNo, StoreError>> {
        match self.shared.counted(self.submit(batch)) {
            Ok(answered) => async move { answered.await.unwrap_or(Err(StoreError::Closed)) }.boxed(),
            Err(error) => futures::future::ready(Err(error)).boxed(),
        }
    }

    fn get(&self, key: Key) -> BoxFuture<'static, Result<Option<Vec<u8>>, StoreError>> {
        let overlay = self.shared.state().overlay.get(&key);
        if let Some(entry) = overlay {
            return futures::future::ready(self.shared.counted(opened(&key, entry))).boxed();
        }
        let (answer, answered) = oneshot::channel();
        match self.shared.counted(self.read(Job::Get(key, answer))) {
            Ok(()) => async move { answered.await.unwrap_or(Err(StoreError::Closed)) }.boxed(),
            Err(error) => futures::future::ready(Err(error)).boxed(),
        }
    }

    fn scan(&self, range: Range) -> BoxFuture<'static, Result<Page, StoreError>> {
        let (answer, answered) = oneshot::channel();
        match self.shared.counted(self.read(Job::Scan(range, answer))) {
            Ok(()) => async move { answered.await.unwrap_or(Err(StoreError::Closed)) }.boxed(),
            Err(error) => futures::future::ready(Err(error)).boxed(),
        }
    }
}
