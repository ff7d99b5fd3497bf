//! A disk whose syncs take longer than this machine's: for measuring what a slower one would cost.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, DiskFile, RealDisk};
use super::open::open_on;
use super::{Metrics, Opened, Settings, StoreError};
use crate::domain::Clock;

/// As [`super::open`], each sync of the journal and of sled taking `slower` longer. For benches: it gives no other
/// promise less.
pub fn open_slowed(
    settings: Settings,
    dir: &Path,
    clock: Arc<dyn Clock>,
    metrics: &Metrics,
    slower: Duration,
) -> Result<Opened, StoreError> {
    if slower.is_zero() {
        return super::open(settings, dir, clock, metrics);
    }
    open_on(Arc::new(SlowDisk { real: RealDisk, clock: clock.clone(), slower }), settings, dir, clock, metrics)
}

#[derive(Clone)]
struct SlowDisk {
    real: RealDisk,
    clock: Arc<dyn Clock>,
    slower: Duration,
}

impl std::fmt::Debug for SlowDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SlowDisk({:?})", self.slower)
    }
}

struct SlowFile {
    real: Box<dyn DiskFile>,
    disk: SlowDisk,
}

impl SlowDisk {
    /// Waits as a disk does: the thread that asked stands still.
    fn wait(&self) {
        let until = self.clock.mono() + self.slower;
        while let Some(left) = until.checked_sub(self.clock.mono()).filter(|left| !left.is_zero()) {
            std::thread::park_timeout(left);
        }
    }

    fn slow(&self, real: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(SlowFile { real, disk: self.clone() })
    }
}

impl DiskFile for SlowFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.real.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.real.sync()?;
        self.disk.wait();
        Ok(())
    }
}

impl Disk for SlowDisk {
    fn create(&self, path: &Path, length: u64) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.slow(self.real.create(path, length)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.slow(self.real.open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.real.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.real.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.real.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.real.sync_dir(dir)?;
        self.wait();
        Ok(())
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        self.real.free(dir)
    }

    fn flush_sled(&self, db: &sled::Db) -> Result<(), sled::Error> {
        self.real.flush_sled(db)
    }

    fn sync_sled(&self, file: &File) -> io::Result<()> {
        self.real.sync_sled(file)?;
        self.wait();
        Ok(())
    }
}
