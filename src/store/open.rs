//! Opening: the folder is locked, checked and brought up to its journal before anything is served.
//!
//! A store that was made before is never made anew: what is missing or damaged is said.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::disk::{Disk, RealDisk};
use super::group::Builder;
use super::journal::{Journal, Shelf};
use super::replay::{Replayed, replay};
use super::seal::seal;
use super::shared::Shared;
use super::tree::{self, Tree};
use super::{Key, Metrics, Settings, SledStore, Space, StoreError, syncer};
use crate::domain::{Clock, Wall};

/// The layout of folder, journal and keys. Raised when an older voxgate could not read it.
const FORMAT: u32 = 1;

/// An open store and what opening it found.
pub struct Opened {
    /// The store.
    pub store: Arc<SledStore>,
    /// What was found.
    pub report: Report,
}

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How often this store was opened, this time included: the boot epoch; durable already.
    pub boot: u64,
    /// It was made just now.
    pub created: bool,
    /// Commit groups that were in the journal and not in sled.
    pub replayed: u64,
    /// sled had lost groups that had been on its disk: up to which it was synced, and up to which it still
    /// was. They were taken from the journal; the disk deserves a look.
    pub rolled_back: Option<(u64, u64)>,
    /// A last group that was not whole was cut off here: a crash in mid-write, never acknowledged.
    pub torn: Option<String>,
    /// Damage in old groups of the journal that sled already had: nothing is lost.
    pub harmless: Vec<String>,
    /// Wall time of the last group of the run before; a clock that is behind it is not set.
    pub last_wall: Wall,
}

/// Opens the store in `dir`, making it where there is none. Blocks while sled is read.
pub fn open(settings: Settings, dir: &Path, clock: Arc<dyn Clock>, metrics: &Metrics) -> Result<Opened, StoreError> {
    open_on(Arc::new(RealDisk), settings, dir, clock, metrics)
}

/// The same on any disk.
pub(crate) fn open_on(
    disk: Arc<dyn Disk>,
    settings: Settings,
    dir: &Path,
    clock: Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<Opened, StoreError> {
    if let Some(problem) = settings.check("store").into_iter().next() {
        return Err(StoreError::Write(format!("{}: {}; {}", problem.key, problem.what, problem.remedy)));
    }
    fs::create_dir_all(dir).map_err(|e| cannot("make", dir, &e))?;
    let lock = lock(dir)?;
    let made = create_or_check(&*disk, dir, &settings)?;
    let tree = Tree::open(&tree::dir(dir), &settings, false)?;
    let mut report = Report { created: made.created, ..Report::default() };
    let replayed = catch_up(&*disk, dir, made.store, &tree, &mut report)?;

    let journal_dir = journal_dir(dir);
    let segment = settings.segment.0;
    let shelf = Shelf::new(disk.clone(), &journal_dir, segment, settings.journal_keep, replayed.segments);
    let shelf = Arc::new(shelf);
    shelf.sweep().map_err(|e| cannot("tidy", &journal_dir, &e))?;
    let last = replayed.last.max(tree.applied()?.unwrap_or(0));
    let mut journal = Journal::new(disk.clone(), &journal_dir, made.store, shelf.clone(), replayed.ordinal, last);
    report.boot = raise_boot(&tree, &mut journal, clock.wall().0)?;
    // now, and not in a second: who is killed sooner each time would keep, and read, ever more of it
    shelf.retire(last).map_err(|e| cannot("tidy", &journal_dir, &e))?;
    report.log(dir);

    let applied = journal.last();
    let shared = Shared::new(settings, dir.to_owned(), made.store, disk, clock, metrics.clone(), shelf, tree, applied);
    shared.synced.store(last, Ordering::Release);
    syncer::look_at_space(&shared);
    let store = SledStore::start(Arc::new(shared), journal, lock).map_err(|e| cannot("start threads for", dir, &e))?;
    Ok(Opened { store: Arc::new(store), report })
}

impl Report {
    fn log(&self, dir: &Path) {
        let dir = dir.display();
        if let Some((synced, found)) = self.rolled_back {
            tracing::warn!(%dir, synced, found, "sled had lost its tail, the journal gave it back; check the disk");
        }
        if let Some(torn) = &self.torn {
            tracing::warn!(%dir, torn, "the journal's last group was not whole and is cut off");
        }
        for what in &self.harmless {
            tracing::warn!(%dir, what, "damage in the journal, sled has these groups; check the disk");
        }
        tracing::info!(%dir, boot = self.boot, created = self.created, replayed = self.replayed, "the store is open");
    }
}

/// What `format.json` says.
#[derive(Debug, Serialize, Deserialize)]
struct Format {
    format: u32,
    /// Hexadecimal.
    store: String,
}

struct Made {
    store: u64,
    created: bool,
}

fn format_path(dir: &Path) -> PathBuf {
    dir.join("format.json")
}

fn journal_dir(dir: &Path) -> PathBuf {
    dir.join("journal")
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Write(format!("cannot {what} {}: {error}", path.display()))
}

/// One process a folder. The lock goes with the file handle.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|e| cannot("open", &path, &e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let text = format!(
                "{} is held by process {}; stop that gateway first, or give this one another data folder",
                path.display(),
                if holder.is_empty() { "(unknown)" } else { holder.trim() }
            );
            return Err(StoreError::Locked(text));
        }
        Err(TryLockError::Error(e)) => return Err(cannot("lock", &path, &e)),
    }
    // who holds it is a help for people; the lock itself is what counts
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Makes the store where there is none, else reads its format.
fn create_or_check(disk: &dyn Disk, dir: &Path, settings: &Settings) -> Result<Made, StoreError> {
    let path = format_path(dir);
    let unfinished = dir.join("creating");
    match fs::read_to_string(&path) {
        Ok(text) => return check_format(&path, &text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(cannot("read", &path, &e)),
    }
    let parts = [journal_dir(dir), tree::dir(dir)];
    if unfinished.is_file() {
        // the first start was interrupted before anything was acknowledged
        for part in parts.iter().filter(|p| p.is_dir()) {
            remove_folder(disk, part).map_err(|e| cannot("remove", part, &e))?;
        }
    } else if let Some(part) = parts.iter().find(|p| p.exists()) {
        return Err(StoreError::Damaged(format!(
            "{} is there but {} is not; restore the whole folder from a backup, or choose an empty one",
            part.display(),
            path.display()
        )));
    }
    let synced = || disk.sync_dir(dir).map_err(|e| cannot("sync", dir, &e));
    if !unfinished.is_file() {
        disk.create(&unfinished, 0).map_err(|e| cannot("write", &unfinished, &e))?;
    }
    // each of these names is on disk before the next is touched: a folder without both would look damaged
    synced()?;
    let store = rand::random();
    create(disk, dir, settings, store)?;
    synced()?;
    write_format(disk, &path, store).map_err(|e| cannot("write", &path, &e))?;
    synced()?;
    disk.remove(&unfinished).map_err(|e| cannot("remove", &unfinished, &e))?;
    synced()?;
    Ok(Made { store, created: true })
}

/// File by file, and synced: what is left of an earlier try must not turn up again beside the next one.
fn remove_folder(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    for path in disk.list(dir)?.iter().filter(|path| path.is_file()) {
        disk.remove(path)?;
    }
    disk.sync_dir(dir)?;
    fs::remove_dir_all(dir)
}

fn check_format(path: &Path, text: &str) -> Result<Made, StoreError> {
    let format: Format = serde_json::from_str(text).map_err(|e| {
        StoreError::Damaged(format!("{} is not readable: {e}; restore it from a backup", path.display()))
    })?;
    if format.format != FORMAT {
        return Err(StoreError::Format(format!(
            "{} says format {}, this voxgate reads {FORMAT}; run the version that wrote it",
            path.display(),
            format.format
        )));
    }
    let store = u64::from_str_radix(&format.store, 16)
        .map_err(|_| StoreError::Damaged(format!("{} has no store id; restore it from a backup", path.display())))?;
    Ok(Made { store, created: false })
}

/// An empty sled, synced, and a first journal segment.
fn create(disk: &dyn Disk, dir: &Path, settings: &Settings, store: u64) -> Result<(), StoreError> {
    let journal_dir = journal_dir(dir);
    fs::create_dir(&journal_dir).map_err(|e| cannot("make", &journal_dir, &e))?;
    let tree = Tree::open(&tree::dir(dir), settings, true)?;
    tree.apply(0, std::iter::empty())?;
    tree.sync(disk)?;
    drop(tree);
    let first = super::journal::SegmentHeader { store, ordinal: 0, first: 1 };
    let path = journal_dir.join(first.file());
    disk.create(&path, settings.segment.0)
        .and_then(|file| {
            file.write_at(&first.encode(), 0)?;
            file.sync()
        })
        .and_then(|()| disk.sync_dir(&journal_dir))
        .and_then(|()| disk.sync_dir(&tree::dir(dir)))
        .map_err(|e| cannot("write", &path, &e))
}

fn write_format(disk: &dyn Disk, path: &Path, store: u64) -> io::Result<()> {
    let text = serde_json::to_string(&Format { format: FORMAT, store: format!("{store:016x}") })?;
    let new = path.with_extension("new");
    if new.exists() {
        // of a first start that was interrupted
        disk.remove(&new)?;
    }
    let file = disk.create(&new, 0)?;
    file.write_at(text.as_bytes(), 0)?;
    file.sync()?;
    disk.rename(&new, path)
}

/// Gives sled what the journal has and it has not, and puts it on disk.
fn catch_up(disk: &dyn Disk, dir: &Path, store: u64, tree: &Tree, report: &mut Report) -> Result<Replayed, StoreError> {
    let applied = tree.applied()?.unwrap_or(0);
    let replayed = replay(disk, &journal_dir(dir), store, applied, |header, changes| {
        report.replayed += u64::from(header.records > 0);
        tree.apply(header.number, changes.iter().copied())
    })?;
    tree.sync(disk)?;
    report.rolled_back = (replayed.synced > applied).then_some((replayed.synced, applied));
    report.torn.clone_from(&replayed.torn);
    report.harmless.clone_from(&replayed.harmless);
    report.last_wall = Wall(replayed.wall);
    Ok(replayed)
}

/// Raises the boot epoch, durably: the first group of this run.
fn raise_boot(tree: &Tree, journal: &mut Journal, wall: u64) -> Result<u64, StoreError> {
    let key = Key::new(Space::Meta).text("boot");
    let before = match tree.get(&key)? {
        None => 0,
        Some(bytes) => {
            u64::from_le_bytes(bytes.try_into().map_err(|_| StoreError::Damaged("record !boot is no number".into()))?)
        }
    };
    let boot = before + 1;
    let value = seal(&key, &boot.to_le_bytes());
    let mut builder = Builder::default();
    builder.clear();
    builder.push(&key, Some(&value));
    let synced = journal.last();
    let number = journal.append(&mut builder, synced, wall).map_err(|e| StoreError::Write(format!("journal: {e}")))?;
    tree.apply(number, std::iter::once((key.as_bytes(), Some(&*value))))?;
    Ok(boot)
}
