//! The few file operations whose order and failures decide what survives; a seam for tests.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file that is written in place.
pub(crate) trait DiskFile: Send + Sync {
    /// Writes all of it there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when everything written is on the disk (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
}

/// The disk below the journal and sled.
pub(crate) trait Disk: Send + Sync + fmt::Debug {
    /// Makes a file of zeros of that length, synced. Zeros and not only reserved: writing into an
    /// unwritten extent would cost each later sync a metadata commit.
    fn create(&self, path: &Path, length: u64) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file to write in place.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Reads a file whole.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Moves a file within its folder. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The files of a folder.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Makes renames and removals in a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Free bytes for us.
    fn free(&self, dir: &Path) -> io::Result<u64>;
    /// sled's own flush.
    fn flush_sled(&self, db: &sled::Db) -> Result<(), sled::Error>;
    /// The sync that sled leaves out: its flush is `sync_file_range`, which neither commits metadata
    /// nor empties the drive's cache.
    fn sync_sled(&self, file: &File) -> io::Result<()>;
}

/// The machine's disk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RealDisk;

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path, length: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let zeros = vec![0; 1 << 18];
        let mut left = length;
        while left > 0 {
            let part = left.min(zeros.len() as u64);
            file.write_all(&zeros[..usize::try_from(part).unwrap_or(zeros.len())])?;
            left -= part;
        }
        file.sync_all()?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(dir)?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    fn flush_sled(&self, db: &sled::Db) -> Result<(), sled::Error> {
        db.flush().map(drop)
    }

    fn sync_sled(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}
