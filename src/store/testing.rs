//! What the store's tests share: small settings, a quick open, a disk that can fail, be held and be watched.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use prometheus_client::registry::Registry;

use super::disk::{Disk, DiskFile, RealDisk};
use super::open::open_on;
use super::{Batch, Key, Metrics, Opened, Settings, Space, StoreError};
use crate::domain::{ByteSize, Span, SystemClock};

/// Small segments, a quick sync, no reserve.
pub(crate) fn small() -> Settings {
    Settings {
        segment: ByteSize::kb(64),
        group: ByteSize::kb(16),
        sync_every: Span::ms(50),
        reserve: ByteSize(0),
        ..Settings::default()
    }
}

/// Opens on the real disk.
pub(crate) fn open_small(dir: &Path) -> Result<Opened, StoreError> {
    open_with(Arc::new(RealDisk), small(), dir)
}

/// Opens on any disk.
pub(crate) fn open_with(disk: Arc<dyn Disk>, settings: Settings, dir: &Path) -> Result<Opened, StoreError> {
    open_on(disk, settings, dir, Arc::new(SystemClock), &Metrics::register(&mut Registry::default()))
}

/// A key of the tests.
pub(crate) fn key(name: &str) -> Key {
    Key::new(Space::Device).text(name)
}

/// A batch with one record.
pub(crate) fn one(name: &str, payload: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(name), payload.to_vec());
    batch
}

/// What a [`WatchedDisk`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Create(String),
    Write(String),
    Sync(String),
    Rename(String, String),
    Remove(String),
    SyncDir(String),
    FlushSled,
    SyncSled,
}

/// Switches and notes of a [`WatchedDisk`].
#[derive(Debug, Default)]
pub(crate) struct Watch {
    ops: Mutex<Vec<Op>>,
    /// Writes to the journal fail.
    pub fail_write: AtomicBool,
    /// Syncs of the journal fail, after the bytes were written.
    pub fail_sync: AtomicBool,
    /// sled's flush fails.
    pub fail_sled: AtomicBool,
    held: Mutex<bool>,
    released: Condvar,
    /// Told each time that a file was made whole, or removed.
    pub files: tokio::sync::watch::Sender<()>,
}

impl Watch {
    fn note(&self, op: Op) {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).push(op);
    }

    /// Takes what was seen so far.
    pub fn take(&self) -> Vec<Op> {
        std::mem::take(&mut self.ops.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Syncs of the journal wait from now on, or go on.
    pub fn hold(&self, held: bool) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        self.released.notify_all();
    }

    fn pass(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.released.wait_while(held, |held| *held).unwrap_or_else(PoisonError::into_inner));
    }
}

fn failing(switch: &AtomicBool) -> io::Result<()> {
    if switch.load(Ordering::SeqCst) {
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    Ok(())
}

/// The real disk, watched.
#[derive(Debug, Default)]
pub(crate) struct WatchedDisk {
    real: RealDisk,
    pub watch: Arc<Watch>,
}

struct WatchedFile {
    name: String,
    real: Box<dyn DiskFile>,
    watch: Arc<Watch>,
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl DiskFile for WatchedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.watch.note(Op::Write(self.name.clone()));
        failing(&self.watch.fail_write)?;
        self.real.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.watch.pass();
        self.watch.note(Op::Sync(self.name.clone()));
        self.real.sync()?;
        failing(&self.watch.fail_sync)
    }
}

impl WatchedDisk {
    fn watched(&self, path: &Path, real: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(WatchedFile { name: name(path), real, watch: self.watch.clone() })
    }
}

impl Disk for WatchedDisk {
    fn create(&self, path: &Path, length: u64) -> io::Result<Box<dyn DiskFile>> {
        self.watch.note(Op::Create(name(path)));
        failing(&self.watch.fail_write)?;
        let made = self.real.create(path, length);
        self.watch.files.send_replace(());
        Ok(self.watched(path, made?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.watched(path, self.real.open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.real.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.watch.note(Op::Rename(name(from), name(to)));
        self.real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.watch.note(Op::Remove(name(path)));
        let removed = self.real.remove(path);
        self.watch.files.send_replace(());
        removed
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.real.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.watch.note(Op::SyncDir(name(dir)));
        self.real.sync_dir(dir)
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        self.real.free(dir)
    }

    fn flush_sled(&self, db: &sled::Db) -> Result<(), sled::Error> {
        self.watch.note(Op::FlushSled);
        failing(&self.watch.fail_sled).map_err(sled::Error::Io)?;
        self.real.flush_sled(db)
    }

    fn sync_sled(&self, file: &File) -> io::Result<()> {
        self.watch.note(Op::SyncSled);
        self.real.sync_sled(file)
    }
}
