//! Kept clauses on the disk: one thread does all work on files, an index in memory says what is there.
//!
//! The index is made anew from the folder at start. Writing is a temporary file and a rename, so that a reader sees all
//! of a clause or nothing; what a power cut tears is found by its sum when it is read. A disk that does not take a clause
//! is left alone for a while, and that is said once.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded, select};
use tokio::sync::oneshot;

use super::{Frames, Key, file};
use crate::cache::metrics::{Tally, Why};
use crate::cache::shelf::{Age, Moment, Shelf, moment};
use crate::domain::Clock;

/// Clauses that wait to be written; then no more are taken.
const WRITES: usize = 128;
/// Clauses that wait to be read.
const READS: usize = 64;
/// How often, and after which pause, room in the queue is looked for.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);
/// How often the thread looks for what is too old.
const SWEEP: Duration = Duration::from_mins(1);
/// A disk that failed is tried again after this.
const REST: Duration = Duration::from_mins(5);

/// What the thread is given.
pub(super) struct Parts {
    pub(super) dir: PathBuf,
    pub(super) most: u64,
    pub(super) idle: Duration,
    /// So much of the disk stays free.
    pub(super) reserve: u64,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tally: Tally,
}

enum Errand {
    Keep(Key, Frames),
    Clear(oneshot::Sender<usize>),
    /// Says how many there are when all before it is done.
    #[cfg(test)]
    Count(oneshot::Sender<u64>),
}

struct Read {
    key: Key,
    answer: oneshot::Sender<Option<Vec<Bytes>>>,
}

type Index = Arc<Mutex<Shelf<Key, ()>>>;

/// The way to the thread; it ends when this is dropped.
pub(super) struct Disk {
    index: Index,
    writes: Option<Sender<Errand>>,
    reads: Option<Sender<Read>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    clock: Arc<dyn Clock>,
}

impl Disk {
    /// Starts the thread, which reads the folder first: until then nothing is found.
    pub(super) fn start(parts: Parts) -> io::Result<Self> {
        let index: Index = Arc::new(Mutex::new(Shelf::new(parts.most, parts.idle, Age::Idle)));
        let (writes, write_inbox) = bounded(WRITES);
        let (reads, read_inbox) = bounded(READS);
        let stop = Arc::new(AtomicBool::new(false));
        let clock = Arc::clone(&parts.clock);
        let keeper = Keeper { parts, index: Arc::clone(&index), stop: Arc::clone(&stop), trouble: None, told: false };
        let thread = std::thread::Builder::new()
            .name("speech-cache".to_owned())
            .spawn(move || keeper.run(&write_inbox, &read_inbox))?;
        Ok(Self { index, writes: Some(writes), reads: Some(reads), stop, thread: Some(thread), clock })
    }

    /// It is there; that it was asked for keeps it.
    pub(super) fn knows(&self, key: &Key) -> bool {
        lock(&self.index).get(key, moment(self.clock.mono())).is_some()
    }

    /// Reads a clause; none where the thread has too much to do, or the file is not whole.
    pub(super) async fn read(&self, key: Key) -> Option<Vec<Bytes>> {
        let (answer, read) = oneshot::channel();
        self.reads.as_ref()?.try_send(Read { key, answer }).ok()?;
        read.await.ok().flatten()
    }

    /// Has a clause written; `false` where too many wait already.
    pub(super) fn write(&self, key: Key, frames: Frames) -> bool {
        self.writes.as_ref().is_some_and(|writes| writes.try_send(Errand::Keep(key, frames)).is_ok())
    }

    /// Forgets all; gives how many. None where the thread has too much to do.
    pub(super) async fn clear(&self) -> Option<usize> {
        // behind what waits to be written, so that none of that comes after it
        for _ in 0..TRIES {
            let (answer, cleared) = oneshot::channel();
            if self.writes.as_ref()?.try_send(Errand::Clear(answer)).is_ok() {
                return cleared.await.ok();
            }
            tokio::time::sleep(PAUSE).await;
        }
        None
    }

    /// How many there are when all that waits is written.
    #[cfg(test)]
    pub(super) async fn settled(&self) -> u64 {
        let (answer, count) = oneshot::channel();
        let asked = self.writes.as_ref().is_some_and(|writes| writes.send(Errand::Count(answer)).is_ok());
        if asked { count.await.unwrap_or(0) } else { 0 }
    }

    /// Clauses and bytes.
    pub(super) fn holds(&self) -> (u64, u64) {
        let index = lock(&self.index);
        (index.len() as u64, index.weight())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.writes = None;
        self.reads = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the speech cache had panicked");
        }
    }
}

fn lock(index: &Index) -> MutexGuard<'_, Shelf<Key, ()>> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread.
struct Keeper {
    parts: Parts,
    index: Index,
    stop: Arc<AtomicBool>,
    /// The disk is left alone until then.
    trouble: Option<Moment>,
    told: bool,
}

impl Keeper {
    fn run(mut self, writes: &Receiver<Errand>, reads: &Receiver<Read>) {
        self.find_what_is_there();
        while !self.stop.load(Ordering::Acquire) {
            select! {
                recv(reads) -> read => {
                    let Ok(Read { key, answer }) = read else { return };
                    // whoever asked may have gone on without it
                    let _ = answer.send(self.read(&key));
                }
                recv(writes) -> write => match write {
                    Ok(Errand::Keep(key, frames)) => self.keep(key, &frames),
                    Ok(Errand::Clear(answer)) => {
                        let _ = answer.send(self.clear());
                    }
                    #[cfg(test)]
                    Ok(Errand::Count(answer)) => drop(answer.send(lock(&self.index).len() as u64)),
                    Err(_) => return,
                },
                default(SWEEP) => {
                    let old = lock(&self.index).expire(self.now());
                    self.forget(&old, Why::Old);
                }
            }
        }
    }

    fn now(&self) -> Moment {
        moment(self.parts.clock.mono())
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.parts.clock.wall().0)
    }

    /// The index from the folder: by age, so that the oldest goes first where there is too much.
    fn find_what_is_there(&mut self) {
        let mut found = Vec::new();
        let (mut torn, mut foreign) = (0, 0);
        for path in files(&self.parts.dir) {
            match (file::key_of(&path), path.extension()) {
                (Some(key), _) => match self.since(&path) {
                    Some((since, size)) => found.push((since, key, size)),
                    None => torn += remove(&path),
                },
                (None, Some(end)) if end == file::PARTIAL => torn += remove(&path),
                // it may be somebody's: it is left where it is
                _ => foreign += 1,
            }
        }
        found.sort_unstable_by_key(|(since, ..)| *since);
        let mut gone = Vec::new();
        {
            let mut index = lock(&self.index);
            for (since, key, size) in found {
                gone.extend(index.put(key, (), size, since));
            }
        }
        self.forget(&gone, Why::Room);
        let old = lock(&self.index).expire(self.now());
        self.forget(&old, Why::Old);
        self.parts.tally.dropped(Why::Torn, torn);
        self.parts.tally.dropped(Why::Foreign, foreign);
        if torn + foreign > 0 {
            let dir = self.parts.dir.display();
            tracing::warn!(%dir, torn, foreign, "the speech cache dropped files that were not whole, and passed over foreign ones");
        }
    }

    /// Since when a file was not asked for, and its size.
    fn since(&self, path: &Path) -> Option<(Moment, u64)> {
        let about = path.metadata().ok().filter(|about| about.is_file() && about.len() > 0)?;
        let age = self.wall().duration_since(about.modified().ok()?).unwrap_or_default();
        Some((self.now().saturating_sub(moment(age)), about.len()))
    }

    fn read(&mut self, key: &Key) -> Option<Vec<Bytes>> {
        let path = file::path(&self.parts.dir, key);
        let frames = fs::read(&path).ok().and_then(|bytes| file::decode(&bytes));
        if frames.is_some() {
            // a start later finds that it was used
            drop(File::options().write(true).open(&path).and_then(|file| file.set_modified(self.wall())));
        } else {
            lock(&self.index).remove(key);
            self.forget(&[*key], Why::Torn);
        }
        frames
    }

    fn keep(&mut self, key: Key, frames: &[Bytes]) {
        let now = self.now();
        if self.trouble.is_some_and(|until| now < until) {
            self.parts.tally.dropped(Why::Disk, 1);
            return;
        }
        let bytes = file::encode(frames);
        if let Err(error) = self.write(&key, &bytes) {
            self.leave_alone(&error);
            return;
        }
        if self.trouble.take().is_some() {
            self.told = false;
            tracing::info!("the speech cache writes again");
        }
        let gone = lock(&self.index).put(key, (), bytes.len() as u64, now);
        self.parts.tally.kept();
        self.forget(&gone, Why::Room);
    }

    fn write(&self, key: &Key, bytes: &[u8]) -> io::Result<()> {
        let path = file::path(&self.parts.dir, key);
        let folder = path.parent().unwrap_or(&self.parts.dir);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        if free(folder)? < self.parts.reserve + bytes.len() as u64 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let partial = path.with_extension(file::PARTIAL);
        let done = (|| {
            let open = File::options().write(true).create(true).truncate(true).mode(0o600).open(&partial);
            let mut file = open?;
            file.write_all(bytes)?;
            file.set_modified(self.wall())?;
            fs::rename(&partial, &path)
        })();
        if done.is_err() {
            remove(&partial);
        }
        done
    }

    /// The disk does not take a clause: none is written for a while.
    fn leave_alone(&mut self, error: &io::Error) {
        self.parts.tally.dropped(Why::Disk, 1);
        self.trouble = Some(self.now().saturating_add(moment(REST)));
        if !std::mem::replace(&mut self.told, true) {
            let dir = self.parts.dir.display();
            tracing::warn!(%dir, %error, "the speech cache cannot write and rests: make room on its disk, or set cache.speech.size smaller");
        }
    }

    fn clear(&mut self) -> usize {
        let all = lock(&self.index).clear();
        self.forget(&all, Why::Cleared);
        all.len()
    }

    /// Removes the files of what the index does not hold any more.
    fn forget(&self, keys: &[Key], why: Why) {
        for key in keys {
            remove(&file::path(&self.parts.dir, key));
        }
        self.parts.tally.dropped(why, keys.len());
        let (entries, bytes) = {
            let index = lock(&self.index);
            (index.len() as u64, index.weight())
        };
        self.parts.tally.holds(entries, bytes);
    }
}

/// Bytes that are free for us on the disk of a folder.
fn free(folder: &Path) -> io::Result<u64> {
    let about = nix::sys::statvfs::statvfs(folder)?;
    Ok(about.blocks_available().saturating_mul(about.fragment_size()))
}

/// Every file in the folder and in those right below it.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let (folders, mut all): (Vec<_>, Vec<_>) = entries(dir).partition(|path| path.is_dir());
    all.extend(folders.iter().flat_map(|folder| entries(folder).filter(|path| path.is_file()).collect::<Vec<_>>()));
    all
}

/// Removes a file; gives 1 for counting. One that cannot be removed is found again at the next start.
fn remove(path: &Path) -> usize {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(file = %path.display(), %error, "a file of the speech cache cannot be removed");
    }
    1
}
