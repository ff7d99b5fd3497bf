//! Firmware that boards are offered: files below the data directory, records in the store, who gets what.
//!
//! It knows no HTTP and no board but by its type's name. A file is checked before it is taken in, and again, by its
//! SHA-256, before it is sent.

mod image;
mod settings;
mod upload;
mod version;

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::{Clock, DeviceId, Wall};
use crate::store::{Batch, Key, Range, Space, Store, StoreError};

pub use image::{Image, ImageError, chip};
pub use settings::Settings;
pub use upload::MAX_PART;
pub use version::Version;

#[cfg(test)]
pub(in crate::door) use image::tests::image as test_image;

/// The folder below the data directory.
pub const FOLDER: &str = "firmware";
/// Most releases that are kept.
const MOST: usize = 1_000;

/// Why firmware was not taken in, changed or found.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file.
    #[error("{}: {source}; mend the folder's owner and mode, or make room", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no application image.
    #[error("the file is not taken: {0}")]
    Image(#[from] ImageError),
    /// The version is none.
    #[error(
        "{0:?} is no version that boards can compare: write numbers with dots between, as in 2.4.2 (firmware ends at \
         anything else); build the image with such a PROJECT_VER"
    )]
    Version(String),
    /// The image says another version.
    #[error(
        "the image says that it is version {image}, not {asked}: a board that runs it would say so, and be offered it \
         again for ever; leave --version out, or build the image with that PROJECT_VER"
    )]
    OtherVersion {
        /// What was asked for.
        asked: String,
        /// What the image says.
        image: String,
    },
    /// The board's name is none.
    #[error("{0:?} is no board type: it has 1 to 64 printable characters without blanks, as in bread-compact-wifi")]
    Board(String),
    /// Shares are percentages.
    #[error("{0} is no share: write 0 to 100")]
    Share(u32),
    /// It is there already.
    #[error("{0} {1} is there already; remove it first (`voxgate firmware remove`), or build another version")]
    Exists(String, String),
    /// It is not there.
    #[error("there is no firmware {1} for {0}; `voxgate firmware list` shows all")]
    Unknown(String, String),
    /// Larger than allowed.
    #[error("the file has more than {0} bytes (devices.firmware.largest)")]
    Large(u64),
    /// A part of an upload does not follow on the one before.
    #[error("the upload was broken off; begin again")]
    Upload,
    /// No more are kept.
    #[error("{MOST} versions are kept at most: remove old ones")]
    Full,
    /// The gateway is stopping.
    #[error("the gateway is stopping")]
    Stopping,
}

/// One version for one type of board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The board's type, as it says it.
    pub board: String,
    /// Numbers with dots between.
    pub version: String,
    /// Of the file, lowercase hex; names it too.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Boards that are offered it, percent; 0: held.
    pub share: u32,
    /// When it was taken in.
    pub added: Wall,
    /// The chip, as numbered by Espressif.
    pub chip: u16,
}

impl Release {
    /// The part of its address that says which it is: 32 hex digits.
    pub fn id(&self) -> &str {
        self.sha256.get(..32).unwrap_or(&self.sha256)
    }

    /// Is this device among those that are offered it: the same answer each time, and those of 10 % are among
    /// those of 20 %.
    fn is_for(&self, device: &DeviceId) -> bool {
        let mut digest = Sha256::new();
        for part in [&self.board, &self.version, device.as_str()] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        let digest = digest.finalize();
        let number = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        number % 100 < u64::from(self.share)
    }

    fn key(&self) -> Key {
        key(&self.board, &self.version)
    }
}

fn key(board: &str, version: &str) -> Key {
    Key::new(Space::Firmware).text(board).text(version)
}

/// A version to take in.
#[derive(Debug, Clone)]
pub struct NewRelease {
    /// The upload that brought the file.
    pub upload: String,
    /// For which type of board.
    pub board: String,
    /// What it must be; none: what the image says.
    pub version: Option<String>,
    /// Boards that are offered it, percent.
    pub share: u32,
}

/// A board that may be offered something.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Which.
    pub device: &'a DeviceId,
    /// Its type.
    pub board: &'a str,
    /// Its chip, as it says it; empty when it does not.
    pub chip: &'a str,
    /// What it runs.
    pub version: &'a Version,
    /// Bytes that it has room for, as it says it.
    pub slot: Option<u64>,
}

/// What a board is to run instead of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// Nothing newer is there for it.
    Nothing,
    /// This.
    Release(Release),
    /// This, had the board room for it: firmware writes until its partition is full, and fails, at every start.
    TooLarge(Release),
}

/// All firmware. Share it as an `Arc`.
pub struct Catalogue {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    folder: PathBuf,
    largest: u64,
    releases: RwLock<Vec<Release>>,
    changing: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Catalogue {
    /// Reads the records, and throws unfinished uploads away.
    pub async fn open(
        store: Arc<dyn Store>,
        data_dir: &Path,
        clock: Arc<dyn Clock>,
        settings: &Settings,
    ) -> Result<Arc<Self>, FirmwareError> {
        let folder = data_dir.join(FOLDER);
        let incoming = folder.clone();
        blocking(move || upload::clear(&incoming)).await?;
        let from = Key::new(Space::Firmware);
        let to = from.clone().after_prefix();
        let page = store.scan(Range { from, to, limit: MOST, backwards: false }).await?;
        let mut releases = Vec::new();
        for (key, payload) in &page.records {
            match serde_json::from_slice::<Release>(payload) {
                Ok(release) => releases.push(release),
                Err(error) => tracing::warn!(?key, %error, "firmware record cannot be read, nobody is offered it"),
            }
        }
        let (largest, changing) = (settings.largest.0, tokio::sync::Mutex::default());
        Ok(Arc::new(Self { store, clock, folder, largest, releases: RwLock::new(releases), changing }))
    }

    /// All releases, by board and version.
    pub fn list(&self) -> Vec<Release> {
        let mut all = self.releases.read().unwrap_or_else(PoisonError::into_inner).clone();
        all.sort_by_cached_key(|release| (release.board.clone(), Version::parse(&release.version)));
        all
    }

    /// The newest version that this board is to run instead of its own.
    pub fn offer(&self, candidate: &Candidate<'_>) -> Offer {
        let releases = self.releases.read().unwrap_or_else(PoisonError::into_inner);
        let newer = releases.iter().filter_map(|release| {
            let version = Version::parse(&release.version).filter(|version| version > candidate.version)?;
            let chip_fits = chip(candidate.chip).is_none_or(|chip| chip == release.chip);
            (release.board == candidate.board && chip_fits && release.is_for(candidate.device))
                .then_some((version, release))
        });
        match newer.max_by(|(one, _), (other, _)| one.cmp(other)) {
            None => Offer::Nothing,
            Some((_, release)) if candidate.slot.is_some_and(|slot| release.size > slot) => {
                Offer::TooLarge(release.clone())
            }
            Some((_, release)) => Offer::Release(release.clone()),
        }
    }

    /// The release of this id, unless it was removed.
    pub fn by_id(&self, id: &str) -> Option<Release> {
        let releases = self.releases.read().unwrap_or_else(PoisonError::into_inner);
        releases.iter().find(|release| release.id() == id).cloned()
    }

    /// May it still be sent: it is there, and not held.
    pub fn is_sent(&self, id: &str) -> bool {
        let releases = self.releases.read().unwrap_or_else(PoisonError::into_inner);
        releases.iter().any(|release| release.id() == id && release.share > 0)
    }

    /// Opens a release's file, after a look at all of it; the error says what is wrong with it.
    pub async fn file(&self, release: &Release) -> Result<fs::File, FirmwareError> {
        let (path, wanted) = (self.path(&release.sha256), release.sha256.clone());
        blocking(move || {
            let failed = |source| FirmwareError::File { path: path.clone(), source };
            let mut file = fs::File::open(&path).map_err(failed)?;
            if digest(&mut file).map_err(failed)? != wanted {
                return Err(FirmwareError::Image(ImageError::Damaged("SHA-256")));
            }
            Ok(file)
        })
        .await
    }

    /// Takes a part of a file; parts come in order. `upload` is 32 hex digits of the sender's.
    pub async fn upload(&self, upload: String, offset: u64, part: Vec<u8>) -> Result<(), FirmwareError> {
        let (folder, largest) = (self.folder.clone(), self.largest);
        let _changing = self.changing.lock().await;
        blocking(move || upload::part(&folder, &upload, offset, &part, largest)).await
    }

    /// Takes in what an upload brought.
    pub async fn add(&self, new: NewRelease) -> Result<Release, FirmwareError> {
        let _changing = self.changing.lock().await;
        let taken = self.take(&new).await;
        let (folder, upload) = (self.folder.clone(), new.upload);
        // it was taken, or it never will be
        blocking(move || upload::forget(&folder, &upload)).await?;
        taken
    }

    async fn take(&self, new: &NewRelease) -> Result<Release, FirmwareError> {
        let is_board = (1..=64).contains(&new.board.len()) && new.board.bytes().all(|b| b.is_ascii_graphic());
        if !is_board {
            return Err(FirmwareError::Board(new.board.clone()));
        }
        if new.share > 100 {
            return Err(FirmwareError::Share(new.share));
        }
        let (folder, upload) = (self.folder.clone(), new.upload.clone());
        let (bytes, image) = blocking(move || {
            let bytes = upload::whole(&folder, &upload)?;
            let image = image::read(&bytes)?;
            Ok((bytes, image))
        })
        .await?;
        let version = version_of(new.version.as_deref(), &image.version)?;
        if self.find(&new.board, &version).is_some() {
            return Err(FirmwareError::Exists(new.board.clone(), version));
        }
        if self.releases.read().unwrap_or_else(PoisonError::into_inner).len() >= MOST {
            return Err(FirmwareError::Full);
        }
        let sha256 = hex(&Sha256::digest(&bytes));
        let release = Release {
            board: new.board.clone(),
            version,
            size: bytes.len() as u64,
            share: new.share,
            added: self.clock.wall(),
            chip: image.chip,
            sha256,
        };
        let path = self.path(&release.sha256);
        // first the file, synced: a record never names what is not there
        blocking(move || upload::keep(&path, &bytes)).await?;
        self.write(&release).await?;
        Ok(release)
    }

    /// Offers a release to another share of boards; 0 holds it.
    pub async fn rollout(&self, board: &str, version: &str, share: u32) -> Result<Release, FirmwareError> {
        if share > 100 {
            return Err(FirmwareError::Share(share));
        }
        let _changing = self.changing.lock().await;
        let found = self.find(board, version);
        let release = found.ok_or_else(|| FirmwareError::Unknown(board.to_owned(), version.to_owned()))?;
        let release = Release { share, ..release };
        self.write(&release).await?;
        Ok(release)
    }

    /// Removes a release, its file too unless another has the same; downloads of it end.
    pub async fn remove(&self, board: &str, version: &str) -> Result<Release, FirmwareError> {
        let _changing = self.changing.lock().await;
        let found = self.find(board, version);
        let release = found.ok_or_else(|| FirmwareError::Unknown(board.to_owned(), version.to_owned()))?;
        let mut batch = Batch::new();
        batch.delete(release.key());
        self.store.commit(batch).await?;
        let shared = {
            let mut releases = self.releases.write().unwrap_or_else(PoisonError::into_inner);
            releases.retain(|other| *other != release);
            releases.iter().any(|other| other.sha256 == release.sha256)
        };
        if !shared {
            let path = self.path(&release.sha256);
            let removed =
                blocking(move || fs::remove_file(&path).map_err(|source| FirmwareError::File { path, source })).await;
            if let Err(error) = removed {
                tracing::warn!(%error, "the file of a removed firmware stays");
            }
        }
        Ok(release)
    }

    fn find(&self, board: &str, version: &str) -> Option<Release> {
        let version = Version::parse(version)?.to_string();
        let releases = self.releases.read().unwrap_or_else(PoisonError::into_inner);
        releases.iter().find(|release| release.board == board && release.version == version).cloned()
    }

    async fn write(&self, release: &Release) -> Result<(), FirmwareError> {
        let record = serde_json::to_vec(release).map_err(|e| StoreError::Write(e.to_string()))?;
        let mut batch = Batch::new();
        batch.put(release.key(), record);
        self.store.commit(batch).await?;
        let mut releases = self.releases.write().unwrap_or_else(PoisonError::into_inner);
        releases.retain(|other| (&other.board, &other.version) != (&release.board, &release.version));
        releases.push(release.clone());
        Ok(())
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.bin"))
    }
}

/// The version of a release, in one form.
fn version_of(asked: Option<&str>, image: &str) -> Result<String, FirmwareError> {
    let read = |text: &str| Version::parse(text).ok_or_else(|| FirmwareError::Version(text.to_owned()));
    let asked = asked.map(read).transpose()?;
    let said = read(image)?;
    match asked {
        Some(asked) if asked != said => {
            Err(FirmwareError::OtherVersion { asked: asked.to_string(), image: said.to_string() })
        }
        _ => Ok(said.to_string()),
    }
}

/// Of all that is left of a file, lowercase hex.
fn digest(file: &mut fs::File) -> io::Result<String> {
    let (mut digest, mut part) = (Sha256::new(), vec![0_u8; 64 << 10]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hex(&digest.finalize())),
            length => digest.update(&part[..length]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // writing to a text cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Work on files, not on the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FirmwareError> + Send + 'static,
) -> Result<T, FirmwareError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| FirmwareError::Stopping)?
}

#[cfg(test)]
mod tests;
