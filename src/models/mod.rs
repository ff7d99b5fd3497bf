//! Weights: the manifest, download, verification, conversion, and what is on the disk.
//!
//! What `voxgate models pull|list|verify|remove` does, without its words: a [`Models`] for a folder, and a
//! [`Progress`] for whoever watches. It must not know what an engine does with the files.
//!
//! On the disk: `<dir>/<name>/` holds a model's files, `SOURCE.txt` (where they come from, the licence) and
//! `READY` (written last: sizes and sums); `<dir>/.partial/` what is on its way; `<dir>/.lock` keeps pulls apart.

pub mod convert;
mod digest;
mod lock;
mod manifest;
mod pip;
mod progress;
mod pull;
mod ready;
mod settings;
mod unpack;
mod url;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use digest::Sha;
pub use manifest::{BUILT_IN, Download, Make, Manifest, ManifestError, Model, Purpose, Source, Take, Via};
pub use progress::{Event, Progress, Silent};
pub use pull::{PullError, Pulled};
pub use ready::{ModelStatus, State, status, status_of};
pub use settings::Settings;

/// A manifest is at most so long.
const MAX_MANIFEST: u64 = 1 << 20;

/// Why nothing could be done at all.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The manifest's file cannot be read.
    #[error("the models' manifest {0} cannot be read: {1}")]
    Unreadable(PathBuf, io::Error),
    /// No such model.
    #[error("there is no model {name:?}; there are {}", .known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No model for that language.
    #[error("no model of the manifest is for {0:?}")]
    NoLanguage(String),
    /// Another pull is at work in the folder.
    #[error("another voxgate is at work in {0}")]
    Busy(PathBuf),
    /// A file or folder cannot be written or removed.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// Which models are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Those that the manifest marks as default.
    Default,
    /// All.
    All,
    /// These.
    Names(Vec<String>),
    /// Those for a language (BCP 47; `zh-CN` finds `zh`), of each purpose the best one where the manifest names it, and those that
    /// need none.
    Language(String),
}

/// A folder of models and the manifest that says what it may hold.
#[derive(Debug, Clone)]
pub struct Models {
    dir: PathBuf,
    manifest: Manifest,
    settings: Settings,
}

impl Models {
    /// The folder of the settings, or `models` below `data_dir`; the manifest of the settings, or the built-in one.
    /// Reads the manifest; the folder need not be there.
    pub fn open(settings: &Settings, data_dir: &Path) -> Result<Self, ModelsError> {
        let manifest = match &settings.manifest {
            None => Manifest::built_in()?,
            Some(path) => Manifest::parse(&manifest_text(path)?)?,
        };
        Ok(Self { dir: settings.folder(data_dir), manifest, settings: settings.clone() })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How each model is; cheap (see [`status`]).
    pub fn status(&self) -> Vec<ModelStatus> {
        status(&self.dir, &self.manifest)
    }

    /// The models that are meant, in the manifest's order.
    pub fn select(&self, selection: &Selection) -> Result<Vec<&Model>, ModelsError> {
        let all = self.manifest.models.iter();
        match selection {
            Selection::Default => Ok(all.filter(|model| model.default).collect()),
            Selection::All => Ok(all.collect()),
            Selection::Names(names) => {
                names.iter().try_for_each(|name| self.model(name).map(drop))?;
                Ok(all.filter(|model| names.contains(&model.name)).collect())
            }
            Selection::Language(tag) => {
                let language = tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
                let speaks = |model: &&Model| model.language.contains(&language);
                if !self.manifest.models.iter().any(|model| speaks(&model)) {
                    return Err(ModelsError::NoLanguage(tag.clone()));
                }
                let best = |model: &Model| model.best_for.contains(&language);
                let beaten = |model: &Model| {
                    !best(model) && self.manifest.models.iter().any(|m| m.purpose == model.purpose && best(m))
                };
                Ok(all.filter(|m| (speaks(m) && !beaten(m)) || (m.default && m.language.is_empty())).collect())
            }
        }
    }

    /// The model of that name.
    pub fn model(&self, name: &str) -> Result<&Model, ModelsError> {
        self.manifest.get(name).ok_or_else(|| ModelsError::Unknown {
            name: name.to_owned(),
            known: self.manifest.models.iter().map(|model| model.name.clone()).collect(),
        })
    }

    /// Takes the sums of a model's files again. Blocking: reads all of them. `progress` gets bytes done and all;
    /// `false` stops.
    pub fn verify(&self, name: &str, progress: impl FnMut(u64, u64) -> bool) -> Result<ModelStatus, ModelsError> {
        Ok(ready::verify(&self.dir, self.model(name)?, progress))
    }

    /// Removes a model, and what is left of a broken pull of it. Whether there was anything. Blocking.
    pub fn remove(&self, name: &str) -> Result<bool, ModelsError> {
        let model = self.model(name)?;
        if !self.dir.is_dir() {
            return Ok(false);
        }
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |e| ModelsError::Io(path, e)
        };
        let lock = lock::Lock::try_take(&self.dir).map_err(failed(&self.dir))?;
        let _lock = lock.ok_or_else(|| ModelsError::Busy(self.dir.clone()))?;
        let places = pull::Places::new(&self.dir, model);
        let mut found = places.clear_partial().map_err(failed(&places.partial))?;
        if places.folder.exists() {
            // Moved away first: a reader sees the whole model or none.
            fs::create_dir_all(&places.partial).map_err(failed(&places.partial))?;
            fs::rename(&places.folder, &places.old).map_err(failed(&places.folder))?;
            fs::remove_dir_all(&places.old).map_err(failed(&places.old))?;
            found = true;
        }
        Ok(found)
    }
}

fn manifest_text(path: &Path) -> Result<String, ModelsError> {
    let unreadable = |e| ModelsError::Unreadable(path.to_owned(), e);
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_MANIFEST {
        return Err(unreadable(io::Error::other(format!("longer than {MAX_MANIFEST} bytes"))));
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// How long a pull waits for another one, by default.
pub const LOCK_PATIENCE: Duration = Duration::from_mins(30);
