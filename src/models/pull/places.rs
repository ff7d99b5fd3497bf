//! Where the files of a model lie, on their way and at their end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::manifest::{Download, Model};

/// The paths of one model.
#[derive(Debug, Clone)]
pub(in crate::models) struct Places {
    /// The model's folder.
    pub folder: PathBuf,
    /// Where things are on their way, for all models.
    pub partial: PathBuf,
    /// The next folder, while it is filled.
    pub(super) new: PathBuf,
    /// The former folder, while it is replaced.
    pub old: PathBuf,
    /// pip's own folder.
    pub(super) pip: PathBuf,
    /// The downloads of all sources, and what is there of them.
    pub(super) downloads: Vec<PathBuf>,
}

impl Places {
    pub fn new(dir: &Path, model: &Model) -> Self {
        let partial = dir.join(".partial");
        let all = model.sources.iter().flat_map(|source| &source.downloads);
        Self {
            folder: dir.join(&model.name),
            new: partial.join(format!("{}.new", model.name)),
            old: partial.join(format!("{}.old", model.name)),
            pip: partial.join(format!("{}.pip", model.name)),
            downloads: all.flat_map(|d| [place(&partial, d), part(&place(&partial, d))]).collect(),
            partial,
        }
    }

    /// A process that ended between the two moves of [`Places::install`] left the former folder aside.
    pub(super) fn restore(&self) -> io::Result<()> {
        if self.old.exists() && !self.folder.exists() {
            return fs::rename(&self.old, &self.folder);
        }
        remove(&self.old).map(drop)
    }

    /// Removes everything below `.partial` that is of this model. Whether there was any.
    pub fn clear_partial(&self) -> io::Result<bool> {
        let mut found = false;
        for path in [&self.new, &self.old, &self.pip].into_iter().chain(&self.downloads) {
            found |= remove(path)?;
        }
        Ok(found)
    }

    /// Moves the finished folder to its name.
    pub(super) fn install(&self) -> io::Result<()> {
        remove(&self.old)?;
        if self.folder.exists() {
            fs::rename(&self.folder, &self.old)?;
        }
        if let Err(error) = fs::rename(&self.new, &self.folder) {
            self.restore()?;
            return Err(error);
        }
        if let Some(dir) = self.folder.parent() {
            fs::File::open(dir)?.sync_all()?;
        }
        remove(&self.old).map(drop)
    }
}

/// Where a download that is whole lies. Its sum is in the name: another version is another file.
pub(super) fn place(partial: &Path, download: &Download) -> PathBuf {
    let sum = download.sha256().to_string();
    partial.join(format!("{}-{}", &sum[..12], download.file()))
}

/// Where it lies until then.
pub(super) fn part(whole: &Path) -> PathBuf {
    let mut name = whole.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Removes a file or folder, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    let gone = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match gone {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
