//! What is on the disk: a folder a model, with a `READY` file that was written last.
//!
//! `READY` says what the folder must hold. Looking at it and at the files' sizes is cheap, for readiness
//! and doctor; taking the sums again is [`verify`].

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::Sha;
use super::manifest::{Manifest, Model, Purpose};

/// The file that makes a folder a model.
pub const READY: &str = "READY";
/// The note that says where the files come from.
pub const SOURCE: &str = "SOURCE.txt";
/// A `READY` file is at most so long.
const MAX_READY: u64 = 64 << 10;

/// The contents of `READY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ready {
    /// The form of this file: 1.
    pub version: u32,
    pub name: String,
    /// [`super::Source::fingerprint`] of the source in the manifest.
    pub manifest: Sha,
    /// Where it came from.
    pub source: String,
    pub files: BTreeMap<String, ReadyFile>,
}

/// One file of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReadyFile {
    pub size: u64,
    pub sha256: Sha,
}

impl Ready {
    /// Reads `READY` in a model's folder; `None` when there is none or it cannot be read.
    pub fn read(folder: &Path) -> Option<Self> {
        let path = folder.join(READY);
        if fs::metadata(&path).ok()?.len() > MAX_READY {
            return None;
        }
        let ready: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (ready.version == 1).then_some(ready)
    }

    /// Writes `READY`, then syncs it and the folder.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let mut file = fs::File::create(folder.join(READY))?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::File::open(folder)?.sync_all()
    }

    /// What is wrong by the files' sizes: the first such file.
    fn damage(&self, folder: &Path) -> Option<String> {
        self.files.iter().find_map(|(name, file)| match fs::metadata(folder.join(name)) {
            Err(_) => Some(format!("{name} is missing")),
            Ok(meta) if meta.len() != file.size => {
                Some(format!("{name} has {} bytes instead of {}", meta.len(), file.size))
            }
            Ok(_) => None,
        })
    }

    fn size(&self) -> u64 {
        self.files.values().map(|file| file.size).sum()
    }
}

/// How a model is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// All files are there.
    Ready,
    /// It was not pulled.
    Missing,
    /// Something is there, but not what it should be.
    Damaged {
        /// What.
        what: String,
    },
    /// Whole, but the manifest now says another thing: a pull replaces it.
    Outdated,
}

/// A model and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelStatus {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The manifest pulls it when nothing is named.
    pub default: bool,
    /// Languages.
    pub language: Vec<String>,
    /// SPDX, of the weights.
    pub licence: String,
    /// One line for a person.
    pub about: String,
    /// How it is.
    #[serde(flatten)]
    pub state: State,
    /// Bytes on the disk, or what it will need there.
    pub size: u64,
    /// Bytes to fetch.
    pub download: u64,
    /// Its folder.
    pub folder: PathBuf,
    /// The command that mends it, when something is wrong.
    pub remedy: Option<String>,
}

impl ModelStatus {
    /// It can be used.
    pub fn usable(&self) -> bool {
        matches!(self.state, State::Ready | State::Outdated)
    }
}

/// How each model of the manifest is, by `READY` and the files' sizes. A few `stat` calls a model.
pub fn status(dir: &Path, manifest: &Manifest) -> Vec<ModelStatus> {
    manifest.models.iter().map(|model| status_of(dir, model)).collect()
}

/// How one model is.
pub fn status_of(dir: &Path, model: &Model) -> ModelStatus {
    let folder = dir.join(&model.name);
    let ready = Ready::read(&folder);
    let state = match &ready {
        None if folder.is_dir() => State::Damaged { what: "no READY file, or none that can be read".into() },
        None => State::Missing,
        Some(ready) => match ready.damage(&folder) {
            Some(what) => State::Damaged { what },
            None if !model.sources.iter().any(|source| source.fingerprint() == ready.manifest) => State::Outdated,
            None => State::Ready,
        },
    };
    describe(model, folder, state, ready.as_ref())
}

fn describe(model: &Model, folder: PathBuf, state: State, ready: Option<&Ready>) -> ModelStatus {
    let remedy = match state {
        State::Ready => None,
        State::Missing | State::Outdated => Some(format!("voxgate models pull {}", model.name)),
        State::Damaged { .. } => Some(format!("voxgate models pull --force {}", model.name)),
    };
    ModelStatus {
        name: model.name.clone(),
        purpose: model.purpose,
        default: model.default,
        language: model.language.clone(),
        licence: model.licence.clone(),
        about: model.about.clone(),
        size: ready.filter(|_| state == State::Ready).map_or_else(|| model.size(), Ready::size),
        download: model.download_size(),
        state,
        folder,
        remedy,
    }
}

/// As [`status_of`], and each file's sum is taken. Blocking: reads all of it. `progress` gets the bytes done and all;
/// `false` stops, which leaves the state that the sizes say.
pub fn verify(dir: &Path, model: &Model, mut progress: impl FnMut(u64, u64) -> bool) -> ModelStatus {
    let quick = status_of(dir, model);
    let Some(ready) = Ready::read(&quick.folder).filter(|_| quick.usable()) else { return quick };
    let (total, mut before) = (ready.size(), 0);
    for (name, file) in &ready.files {
        let what = match Sha::file(&quick.folder.join(name), |done| progress(before + done, total)) {
            Ok(Some((sum, _))) if sum == file.sha256 => None,
            Ok(Some((sum, _))) => Some(format!("{name} has the sha256 {sum} instead of {}", file.sha256)),
            Ok(None) => return quick,
            Err(error) => Some(format!("{name} cannot be read: {error}")),
        };
        if let Some(what) = what {
            return describe(model, quick.folder, State::Damaged { what }, Some(&ready));
        }
        before += file.size;
    }
    quick
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn manifest(bytes: &[u8]) -> Manifest {
        let sha = Sha::bytes(bytes);
        Manifest::parse(&format!(
            r#"[[model]]
            name = "m"
            purpose = "vad"
            licence = "MIT"
            about = "-"
            [[model.source]]
            downloads = [{{ type = "url", url = "http://h/f", file = "f", size = {0}, sha256 = "{sha}" }}]
            take = [{{ from = ["f"], to = "f", size = {0}, sha256 = "{sha}" }}]"#,
            bytes.len()
        ))
        .unwrap()
    }

    fn put(dir: &Path, manifest: &Manifest, bytes: &[u8]) {
        let folder = dir.join("m");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("f"), bytes).unwrap();
        let file = ReadyFile { size: bytes.len() as u64, sha256: Sha::bytes(bytes) };
        let ready = Ready {
            version: 1,
            name: "m".into(),
            manifest: manifest.models[0].sources[0].fingerprint(),
            source: "-".into(),
            files: [("f".to_owned(), file)].into(),
        };
        ready.write(&folder).unwrap();
    }

    #[test]
    fn missing_ready_damaged_and_outdated_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = manifest(b"abc");
        let state = |manifest: &Manifest| status(dir.path(), manifest).remove(0);
        let missing = state(&manifest);
        assert_eq!((&missing.state, missing.size), (&State::Missing, 3));
        assert_eq!(missing.remedy.unwrap(), "voxgate models pull m");
        put(dir.path(), &manifest, b"abc");
        let ready = state(&manifest);
        assert!(ready.state == State::Ready && ready.usable() && ready.remedy.is_none());
        assert_eq!(state(&self::manifest(b"abcd")).state, State::Outdated);
        fs::write(dir.path().join("m/f"), b"ab").unwrap();
        assert!(matches!(state(&manifest).state, State::Damaged { what } if what.contains("2 bytes instead of 3")));
        fs::remove_file(dir.path().join("m/READY")).unwrap();
        assert!(matches!(state(&manifest).state, State::Damaged { .. }));
    }

    #[test]
    fn a_flipped_bit_is_seen_by_verify_and_not_by_the_quick_look() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = manifest(b"abc");
        put(dir.path(), &manifest, b"abc");
        let model = &manifest.models[0];
        assert_eq!(verify(dir.path(), model, |_, _| true).state, State::Ready);
        fs::write(dir.path().join("m/f"), b"abb").unwrap();
        assert_eq!(status_of(dir.path(), model).state, State::Ready);
        assert!(
            matches!(verify(dir.path(), model, |_, _| true).state, State::Damaged { what } if what.contains("sha256"))
        );
    }

    #[test]
    fn a_ready_file_of_garbage_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = manifest(b"abc");
        fs::create_dir(dir.path().join("m")).unwrap();
        for garbage in [b"{".to_vec(), b"[]".to_vec(), b"{\"version\":2}".to_vec(), vec![0xff; 100_000]] {
            fs::write(dir.path().join("m/READY"), garbage).unwrap();
            assert!(matches!(status(dir.path(), &manifest)[0].state, State::Damaged { .. }));
        }
    }
}
