//! The journal of commit groups: the commit point of the store.
//!
//! Segments of one size, written beforehand and used again. Each begins with a header that says which
//! group is its first: what an older segment holds from that number on is void. So a segment that
//! failed is simply left, and the next one says where it truly ended. Reading is `replay`'s.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile};
use super::group::{Builder, le32, le64};

const MAGIC: &[u8; 8] = b"VXGJRNL1";
/// Bytes before the first group.
pub(crate) const SEGMENT_HEAD: usize = 40;

/// The first bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The store that it belongs to.
    pub store: u64,
    /// Its place in the order of segments.
    pub ordinal: u64,
    /// The number of its first group.
    pub first: u64,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEAD] {
        let mut head = [0; SEGMENT_HEAD];
        head[..8].copy_from_slice(MAGIC);
        head[8..16].copy_from_slice(&self.store.to_le_bytes());
        head[16..24].copy_from_slice(&self.ordinal.to_le_bytes());
        head[24..32].copy_from_slice(&self.first.to_le_bytes());
        let crc = crc32c::crc32c(&head[..32]);
        head[32..36].copy_from_slice(&crc.to_le_bytes());
        head
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..SEGMENT_HEAD)?;
        if &head[..8] != MAGIC || le32(head, 32) != crc32c::crc32c(&head[..32]) {
            return None;
        }
        Some(Self { store: le64(head, 8), ordinal: le64(head, 16), first: le64(head, 24) })
    }

    /// Seeds the checksums of its groups.
    pub fn seed(&self) -> u32 {
        crc32c::crc32c(&self.encode())
    }

    /// The name of the segment's file.
    pub fn file(&self) -> String {
        format!("segment-{:012}.vxj", self.ordinal)
    }
}

/// A segment that is not written any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    pub path: PathBuf,
    /// Its last group that counts; smaller than its first when it has none.
    pub last: u64,
}

/// The segments that are not written: finished ones, and spare ones to be used next.
#[derive(Debug)]
pub(crate) struct Shelf {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment: u64,
    keep: usize,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    closed: Vec<Closed>,
    spares: Vec<PathBuf>,
    made: u64,
}

/// Spare segments kept on the shelf.
const SPARES: usize = 1;

impl Shelf {
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, segment: u64, keep: usize, closed: Vec<Closed>) -> Self {
        let slots = Mutex::new(Slots { closed, ..Slots::default() });
        Self { disk, dir: dir.to_owned(), segment, keep, slots }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the spares of an earlier run: their size may be another.
    pub fn sweep(&self) -> io::Result<()> {
        for path in self.disk.list(&self.dir)? {
            if path.extension().is_some_and(|e| e == "spare") {
                self.disk.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Makes finished segments spare, or removes them, once sled holds them on disk up to `synced`; the last
    /// few are kept to mend a tail that sled may lose.
    pub fn retire(&self, synced: u64) -> io::Result<()> {
        loop {
            let (path, reuse, name) = {
                let mut slots = self.slots();
                let over = slots.closed.len() > self.keep;
                let done = slots.closed.first().is_some_and(|c| c.last <= synced);
                if !(over && done) {
                    return Ok(());
                }
                let path = slots.closed.remove(0).path;
                let reuse =
                    slots.spares.len() < SPARES && std::fs::metadata(&path).is_ok_and(|m| m.len() == self.segment);
                slots.made += 1;
                (path, reuse, self.spare_path(slots.made))
            };
            if reuse {
                self.disk.rename(&path, &name)?;
                self.slots().spares.push(name);
            } else {
                self.disk.remove(&path)?;
            }
            self.disk.sync_dir(&self.dir)?;
        }
    }

    /// Makes a spare segment where none is left.
    pub fn provide(&self) -> io::Result<()> {
        let path = {
            let mut slots = self.slots();
            if slots.spares.len() >= SPARES {
                return Ok(());
            }
            slots.made += 1;
            self.spare_path(slots.made)
        };
        if let Err(error) = self.disk.create(&path, self.segment) {
            // half a file is of no use; the error that counts is the first one
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        self.slots().spares.push(path);
        Ok(())
    }

    fn spare_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:06}.spare"))
    }

    fn take_spare(&self) -> Option<PathBuf> {
        self.slots().spares.pop()
    }

    fn put_closed(&self, closed: Closed) {
        self.slots().closed.push(closed);
    }
}

/// The writing end. Only the writer has it.
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: u64,
    segment: u64,
    shelf: Arc<Shelf>,
    ordinal: u64,
    /// The number of the last durable group.
    last: u64,
    active: Option<Active>,
}

struct Active {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    seed: u32,
    offset: u64,
}

impl Journal {
    /// Goes on after group `last` and segment `ordinal`.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, store: u64, shelf: Arc<Shelf>, ordinal: u64, last: u64) -> Self {
        let segment = shelf.segment;
        Self { disk, dir: dir.to_owned(), store, segment, shelf, ordinal, last, active: None }
    }

    /// The number of the last durable group.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Writes a group and waits until it is on disk: one write, one sync. `timed` brackets the sync.
    /// After an error the segment is left for good: what a failed sync wrote is not known.
    pub fn append(&mut self, group: &mut Builder, synced: u64, wall: u64) -> io::Result<u64> {
        if !self.fits(group.len()) {
            self.leave();
            self.begin()?;
        }
        let number = self.last + 1;
        let written = self.write(group, number, synced, wall);
        match written {
            Ok(()) => {
                self.last = number;
                Ok(number)
            }
            Err(error) => {
                self.leave();
                Err(error)
            }
        }
    }

    fn write(&mut self, group: &mut Builder, number: u64, synced: u64, wall: u64) -> io::Result<()> {
        let Some(active) = &mut self.active else {
            return Err(io::Error::other("the journal has no segment to write to"));
        };
        let bytes = group.finish(active.seed, number, synced, wall);
        active.file.write_at(bytes, active.offset)?;
        active.file.sync()?;
        active.offset += bytes.len() as u64;
        Ok(())
    }

    fn fits(&self, length: usize) -> bool {
        self.active.as_ref().is_some_and(|a| a.offset + length as u64 <= self.segment)
    }

    /// Puts the active segment on the shelf.
    pub fn leave(&mut self) {
        if let Some(active) = self.active.take() {
            self.shelf.put_closed(Closed { path: active.path, last: self.last });
        }
    }

    /// Begins a segment where none is active.
    pub fn begin(&mut self) -> io::Result<()> {
        if self.active.is_some() {
            return Ok(());
        }
        if self.shelf.slots().spares.is_empty() {
            self.shelf.provide()?;
        }
        let Some(spare) = self.shelf.take_spare() else {
            return Err(io::Error::other("no spare journal segment"));
        };
        self.ordinal += 1;
        let header = SegmentHeader { store: self.store, ordinal: self.ordinal, first: self.last + 1 };
        let path = self.dir.join(header.file());
        // the header is on disk before the name is: a segment with a name always has a header
        let file = self.disk.open(&spare)?;
        file.write_at(&header.encode(), 0)?;
        file.sync()?;
        self.disk.rename(&spare, &path)?;
        self.disk.sync_dir(&self.dir)?;
        self.active = Some(Active { file, path, seed: header.seed(), offset: SEGMENT_HEAD as u64 });
        Ok(())
    }
}
