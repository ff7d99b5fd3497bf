//! sled, and nothing else: the one place that knows its calls.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::disk::Disk;
use super::group::Change;
use super::seal::{seal, unseal};
use super::{Key, Settings, Space, StoreError};

/// sled's file in its folder.
pub(crate) const FILE: &str = "db";

/// The tree with all records.
pub(crate) struct Tree {
    db: sled::Db,
    file: File,
}

/// How often, and after which pauses, a sled that still holds its file is tried again.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How sled calls a snapshot that it is still writing.
const UNFINISHED: &str = ".generating";

/// Removes the snapshot that sled was writing when it was killed, or when the disk was full: it takes such a file for its newest
/// snapshot, and calls itself damaged. The one before it is still there, and says the same with more reading.
fn drop_unfinished(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let unfinished = name.to_str().is_some_and(|name| name.starts_with("snap.") && name.ends_with(UNFINISHED));
        if !unfinished {
            continue;
        }
        let file = entry.path();
        match std::fs::remove_file(&file) {
            Ok(()) => tracing::info!(file = %file.display(), "a snapshot of sled that was not finished is removed"),
            // sled says what is wrong
            Err(error) => tracing::warn!(file = %file.display(), %error, "cannot be removed"),
        }
    }
}

/// Where the number of the last applied group is kept.
pub(crate) fn applied_key() -> Key {
    Key::new(Space::Meta).text("applied")
}

impl Tree {
    /// Opens sled in `dir`; makes it where `fresh`, refuses to where not.
    pub fn open(dir: &Path, settings: &Settings, fresh: bool) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        if !fresh && !path.is_file() {
            return Err(StoreError::Damaged(format!(
                "{} is missing although the store was made before; restore the whole folder from a backup",
                path.display()
            )));
        }
        drop_unfinished(dir);
        let open = || {
            let config = sled::Config::new().path(dir).cache_capacity(settings.cache.0).flush_every_ms(None);
            config.open().map_err(|e| open_error(&path, &e))
        };
        // The folder's own lock is held, so this can only be a sled of this process that was dropped a moment
        // ago: its background work lets go of the file by itself, and tells nobody.
        let mut db = open();
        for _ in 0..LOCK_TRIES {
            if !matches!(db, Err(StoreError::Locked(_))) {
                break;
            }
            std::thread::park_timeout(LOCK_PAUSE);
            db = open();
        }
        let db = db?;
        let file = File::options().write(true).open(&path).map_err(|e| cannot(&path, &e))?;
        Ok(Self { db, file })
    }

    /// The number of the last group that sled has.
    pub fn applied(&self) -> Result<Option<u64>, StoreError> {
        let Some(payload) = self.get(&applied_key())? else { return Ok(None) };
        let number = payload.try_into().map_err(|_| StoreError::Damaged("record !applied is no number".into()))?;
        Ok(Some(u64::from_le_bytes(number)))
    }

    /// Applies a group and its number as one unit. Values are sealed already.
    pub fn apply<'a>(&self, number: u64, changes: impl Iterator<Item = Change<'a>>) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        let applied = applied_key();
        batch.insert(applied.as_bytes(), &*seal(&applied, &number.to_le_bytes()));
        self.db.apply_batch(batch).map_err(sled_error)
    }

    /// Returns when all that was applied before is on disk.
    pub fn sync(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        disk.flush_sled(&self.db).map_err(sled_error)?;
        disk.sync_sled(&self.file).map_err(|e| StoreError::Write(format!("sync of sled: {e}")))
    }

    /// Reads a record's payload.
    pub fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.db.get(key.as_bytes()).map_err(sled_error)?;
        value.map(|v| unseal(key.as_bytes(), &v).map(<[u8]>::to_vec)).transpose()
    }

    /// Walks a range; the values are still sealed.
    pub fn range(
        &self,
        from: &Key,
        to: &Key,
    ) -> impl DoubleEndedIterator<Item = Result<(sled::IVec, sled::IVec), StoreError>> {
        self.db.range(from.as_bytes()..to.as_bytes()).map(|pair| pair.map_err(sled_error))
    }

    /// Bytes on disk.
    pub fn size(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }
}

fn open_error(path: &Path, error: &sled::Error) -> StoreError {
    match error {
        sled::Error::Io(e) if e.kind() == std::io::ErrorKind::WouldBlock || e.to_string().contains("lock") => {
            StoreError::Locked(format!("sled in {}: {e}", path.display()))
        }
        sled::Error::Corruption { .. } | sled::Error::Unsupported(_) => StoreError::Damaged(format!(
            "{} cannot be opened ({error}); nothing was changed; restore the whole folder from a backup",
            path.display()
        )),
        other => cannot(path, other),
    }
}

fn cannot(path: &Path, error: &dyn std::error::Error) -> StoreError {
    StoreError::Write(format!("cannot open {}: {error}", path.display()))
}

fn sled_error(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => StoreError::Damaged(format!("sled: {error}")),
        other => StoreError::Write(format!("sled: {other}")),
    }
}

/// sled's folder below the store's.
pub(crate) fn dir(store: &Path) -> PathBuf {
    store.join("sled")
}
