//! A disk that remembers what of its folder is synced, and can lose its power: afterwards the folder is what was
//! synced and any part of the rest.
//!
//! Files are pieces that arrive on the platter in any order; names (create, rename, remove) last when their folder was
//! synced. sled writes past this seam: its folder counts as synced as it is when `sync_sled` is called, and was looked at
//! before each operation since. What arrived of it is a prefix with a torn end, for sled appends to a log and waits with
//! `sync_file_range` where its order matters; or any part, as on a drive that reorders its cache ([`Sled`]).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::super::disk::{Disk, DiskFile, RealDisk};

/// A file, whatever its names are.
#[derive(Debug, Clone, Default)]
struct Inode {
    synced: Vec<u8>,
    /// What was written since, in order.
    written: Vec<(u64, Vec<u8>)>,
}

/// A change of a name that is not synced yet.
#[derive(Debug, Clone)]
enum Named {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Named {
    fn folder(&self) -> Option<&Path> {
        match self {
            Named::Create(path, _) | Named::Rename(path, _) | Named::Remove(path) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Named::Create(path, inode) => drop(names.insert(path.clone(), *inode)),
            Named::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Named::Remove(path) => drop(names.remove(path)),
        }
    }
}

/// A folder's files, relative to it.
type Folder = BTreeMap<PathBuf, Vec<u8>>;

/// How much of sled's own order a power cut keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sled {
    /// A prefix of what it wrote, the last of it torn.
    InOrder,
    /// Any part of it.
    Shuffled,
}

/// Looks at sled's folder that are kept since its last sync.
const LOOKS: usize = 24;

#[derive(Debug, Clone, Default)]
struct Platter {
    inodes: Vec<Inode>,
    /// Names that are on the disk for sure.
    names: BTreeMap<PathBuf, usize>,
    /// Names as a process sees them.
    seen: BTreeMap<PathBuf, usize>,
    waiting: Vec<Named>,
    /// sled's folder when it was synced, and as it was seen since.
    sled: Vec<Folder>,
    /// Operations so far, and after how many the power goes.
    ops: u64,
    cut_after: u64,
    cut: bool,
}

/// The real disk below `root`, with a memory.
#[derive(Debug)]
pub(super) struct PowerDisk {
    root: PathBuf,
    real: RealDisk,
    platter: Arc<Mutex<Platter>>,
}

struct PowerFile {
    real: Box<dyn DiskFile>,
    inode: usize,
    root: PathBuf,
    platter: Arc<Mutex<Platter>>,
}

fn gone() -> io::Error {
    io::Error::other("the power is gone")
}

fn lock(platter: &Mutex<Platter>) -> MutexGuard<'_, Platter> {
    platter.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Platter {
    /// Counts an operation; at the cut nothing is done or noted any more.
    fn tick(&mut self, root: &Path) -> io::Result<()> {
        if !self.cut {
            self.ops += 1;
            self.cut = self.ops > self.cut_after;
            self.look(root);
        }
        if self.cut { Err(gone()) } else { Ok(()) }
    }

    /// Keeps what sled's folder is now, if it has changed.
    fn look(&mut self, root: &Path) {
        let now = folder(&root.join("sled"));
        if self.sled.last() != Some(&now) {
            self.sled.push(now);
        }
        if self.sled.len() > LOOKS {
            // the oldest but the first: the step from the one to the next is wider then
            self.sled.remove(1);
        }
    }

    fn name(&mut self, change: Named) {
        change.apply(&mut self.seen);
        self.waiting.push(change);
    }
}

/// All files of a folder, which another thread may be writing.
fn folder(dir: &Path) -> Folder {
    let Ok(entries) = std::fs::read_dir(dir) else { return Folder::new() };
    let files = entries.flatten().filter(|entry| entry.path().is_file());
    files.filter_map(|entry| Some((PathBuf::from(entry.file_name()), std::fs::read(entry.path()).ok()?))).collect()
}

impl PowerDisk {
    /// All that is below `root` now is on the disk; the power goes after `cut_after` operations.
    pub(super) fn new(root: &Path, cut_after: u64) -> Self {
        let mut platter = Platter { cut_after, ..Platter::default() };
        for dir in [root.to_owned(), root.join("journal")] {
            for (name, bytes) in folder(&dir) {
                platter.names.insert(dir.join(name), platter.inodes.len());
                platter.inodes.push(Inode { synced: bytes, written: Vec::new() });
            }
        }
        platter.seen.clone_from(&platter.names);
        platter.sled = vec![folder(&root.join("sled"))];
        Self { root: root.to_owned(), real: RealDisk, platter: Arc::new(Mutex::new(platter)) }
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        lock(&self.platter)
    }

    /// Whoever has this can make folders of what is left.
    pub(super) fn wreck(&self) -> Wreck {
        Wreck { root: self.root.clone(), platter: self.platter.clone() }
    }

    fn file(&self, real: Box<dyn DiskFile>, inode: usize) -> Box<dyn DiskFile> {
        Box::new(PowerFile { real, inode, root: self.root.clone(), platter: self.platter.clone() })
    }
}

impl DiskFile for PowerFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut platter = lock(&self.platter);
        // a write that the cut meets may have arrived in part
        let before = platter.cut;
        let ticked = platter.tick(&self.root);
        if !before {
            platter.inodes[self.inode].written.push((offset, bytes.to_vec()));
        }
        ticked?;
        self.real.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let mut platter = lock(&self.platter);
        platter.tick(&self.root)?;
        let Inode { synced, written } = &mut platter.inodes[self.inode];
        for (offset, bytes) in written.drain(..) {
            put(synced, usize::try_from(offset).map_err(io::Error::other)?, &bytes);
        }
        Ok(())
    }
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path, length: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut platter = self.platter();
        let inode = platter.inodes.len();
        // its content is synced by the call, its name is not
        let content = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        let before = platter.cut;
        let ticked = platter.tick(&self.root);
        if !before {
            let synced = if ticked.is_ok() { content } else { Vec::new() };
            platter.inodes.push(Inode { synced, written: Vec::new() });
            platter.name(Named::Create(path.to_owned(), inode));
        }
        ticked?;
        let real = self.real.create(path, length)?;
        Ok(self.file(real, inode))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let platter = self.platter();
        let inode = *platter.seen.get(path).ok_or(io::ErrorKind::NotFound)?;
        drop(platter);
        Ok(self.file(self.real.open(path)?, inode))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.real.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        let before = platter.cut;
        let ticked = platter.tick(&self.root);
        if !before {
            platter.name(Named::Rename(from.to_owned(), to.to_owned()));
        }
        ticked?;
        self.real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        let before = platter.cut;
        let ticked = platter.tick(&self.root);
        if !before {
            platter.name(Named::Remove(path.to_owned()));
        }
        ticked?;
        self.real.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.real.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.tick(&self.root)?;
        let Platter { waiting, names, .. } = &mut *platter;
        let (now, later) = std::mem::take(waiting).into_iter().partition(|change| change.folder() == Some(dir));
        *waiting = later;
        let now: Vec<Named> = now;
        for change in now {
            change.apply(names);
        }
        Ok(())
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        self.real.free(dir)
    }

    fn flush_sled(&self, db: &sled::Db) -> Result<(), sled::Error> {
        self.platter().tick(&self.root).map_err(sled::Error::Io)?;
        self.real.flush_sled(db)
    }

    fn sync_sled(&self, _: &File) -> io::Result<()> {
        let mut platter = self.platter();
        platter.tick(&self.root)?;
        platter.sled = vec![folder(&self.root.join("sled"))];
        Ok(())
    }
}

/// What a power cut leaves.
pub(super) struct Wreck {
    root: PathBuf,
    platter: Arc<Mutex<Platter>>,
}

impl Wreck {
    /// The power went; else it goes now.
    pub(super) fn cut_now(&self) {
        let mut platter = lock(&self.platter);
        platter.cut_after = 0;
        // the error is what it is for
        let _ = platter.tick(&self.root);
    }

    /// How many operations there were before the cut.
    pub(super) fn ops(&self) -> u64 {
        lock(&self.platter).ops
    }

    /// Makes one of the folders that may be left.
    pub(super) fn salvage(&self, to: &Path, seed: u64, order: Sled) -> io::Result<()> {
        let platter = lock(&self.platter).clone();
        let mut dice = StdRng::seed_from_u64(seed);
        let piece = if dice.random() { 512 } else { 4_096 };
        let share = [0.0, 0.1, 0.5, 0.9, 1.0][dice.random_range(0..5)];
        std::fs::create_dir_all(to)?;
        let mut names = platter.names.clone();
        for change in &platter.waiting {
            if dice.random_bool(share) {
                change.apply(&mut names);
            }
        }
        for (path, inode) in &names {
            let mut bytes = platter.inodes[*inode].synced.clone();
            for (offset, written) in &platter.inodes[*inode].written {
                let at = usize::try_from(*offset).map_err(io::Error::other)?;
                for range in pieces(at, written.len(), piece) {
                    if dice.random_bool(share) {
                        put(&mut bytes, range.start, &written[range.start - at..range.end - at]);
                    }
                }
            }
            write(&to.join(path.strip_prefix(&self.root).map_err(io::Error::other)?), &bytes)?;
        }
        for dir in ["journal", "sled"] {
            if self.root.join(dir).is_dir() {
                std::fs::create_dir_all(to.join(dir))?;
            }
        }
        let looks = &platter.sled;
        let (old, new) = match order {
            Sled::Shuffled => (0, looks.len().saturating_sub(1)),
            Sled::InOrder => {
                let at = dice.random_range(0..looks.len().max(1));
                (at, (at + 1).min(looks.len().saturating_sub(1)))
            }
        };
        let none = Folder::new();
        let (old, new) = (looks.get(old).unwrap_or(&none), looks.get(new).unwrap_or(&none));
        let mixed = match order {
            Sled::Shuffled => mixed(old, new, &mut dice, share, piece),
            Sled::InOrder => torn(old, new, &mut dice, piece),
        };
        for (name, bytes) in mixed {
            write(&to.join("sled").join(name), &bytes)?;
        }
        Ok(())
    }
}

/// Folders are there when the first thing in them is.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(path, bytes)
}

/// The pieces of the disk that `length` bytes from `at` touch.
fn pieces(at: usize, length: usize, piece: usize) -> impl Iterator<Item = Range<usize>> {
    let end = at + length;
    (at / piece..end.div_ceil(piece)).map(move |n| (n * piece).max(at)..((n + 1) * piece).min(end))
}

/// Files between two states: each piece is the old one or the new one.
fn mixed(old: &Folder, new: &Folder, dice: &mut StdRng, share: f64, piece: usize) -> Folder {
    let mut all = Folder::new();
    let names: std::collections::BTreeSet<&PathBuf> = old.keys().chain(new.keys()).collect();
    for name in names {
        let changed = dice.random_bool(share);
        let mut bytes = match (old.get(name), new.get(name)) {
            (Some(old), _) => old.clone(),
            // not there before: its name arrived or did not
            (None, Some(_)) if changed => Vec::new(),
            (None, _) => continue,
        };
        match new.get(name) {
            // removed, and that arrived
            None if changed => continue,
            None => {}
            Some(new) => {
                if bytes.len() < new.len() && changed {
                    bytes.resize(new.len(), 0);
                }
                for range in pieces(0, new.len(), piece) {
                    if bytes.get(range.clone()) != Some(&new[range.clone()]) && dice.random_bool(share) {
                        put(&mut bytes, range.start, &new[range]);
                    }
                }
            }
        }
        all.insert(name.clone(), bytes);
    }
    all
}

/// Files between two states: the first of the changed pieces have arrived, then none; a new or removed file comes last.
fn torn(old: &Folder, new: &Folder, dice: &mut StdRng, piece: usize) -> Folder {
    let mut all = old.clone();
    let mut changed = Vec::new();
    for (name, bytes) in new {
        let Some(before) = old.get(name) else { continue };
        let differs = |range: &Range<usize>| before.get(range.clone()) != Some(&bytes[range.clone()]);
        changed.extend(pieces(0, bytes.len(), piece).filter(differs).map(|range| (name, range)));
    }
    let arrived = dice.random_range(0..=changed.len());
    for (name, range) in changed.iter().take(arrived) {
        if let Some(bytes) = all.get_mut(*name) {
            put(bytes, range.start, &new[*name][range.clone()]);
        }
    }
    if arrived == changed.len() && dice.random() { new.clone() } else { all }
}
