//! Speech that was made once: the Opus frames of whole clauses, by who said what how.
//!
//! The hottest are in memory; all are on the disk ([`disk`]), as files whose names are hashes. A clause is kept by whoever
//! made it when it is whole: this room knows no synthesizer and no encoder.

mod disk;
mod file;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use self::disk::Disk;
use super::metrics::{Tally, Why};
use super::settings::SpeechSettings;
use super::shelf::{Age, Shelf, moment};
use super::{Held, Metrics, Name};
use crate::domain::Clock;

/// A disk that takes longer is not waited for: the clause is made again.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 10_000 } else { 15 });
/// A clause of more bytes (some minutes of speech) is not kept.
const LONGEST: usize = 1 << 20;

/// The frames of a clause, in order.
pub type Frames = Arc<[Bytes]>;

/// SHA-256 of everything that decides how a clause sounds.
pub type Key = [u8; 32];

/// What decides how a clause sounds.
#[derive(Debug, Clone, Copy)]
pub struct Spoken<'a> {
    /// The synthesizer: [`crate::provider::Synthesizer::identity`].
    pub service: &'a str,
    /// The voice, in the service's words.
    pub voice: Option<&'a str>,
    /// BCP 47.
    pub language: Option<&'a str>,
    /// The words.
    pub text: &'a str,
    /// Of the Opus stream, bits a second.
    pub bitrate: u32,
}

impl Spoken<'_> {
    /// The key; of the text only white space does not matter.
    pub fn key(&self) -> Key {
        let text = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let Self { service, voice, language, bitrate, .. } = self;
        // an absent voice is not an empty one, and nothing runs into its neighbour
        let whole = format!("speech 1 opus 24000 60\0{service:?}\0{voice:?}\0{language:?}\0{bitrate}\0{text:?}");
        Sha256::digest(whole.as_bytes()).into()
    }
}

/// The cache.
pub struct Speech {
    memory: Mutex<Shelf<Key, Frames>>,
    disk: Option<Disk>,
    clock: Arc<dyn Clock>,
    tally: Tally,
    enabled: bool,
}

impl Speech {
    /// Opens the cache in `dir`, of whose disk `reserve` bytes stay free.
    pub(super) fn open(
        settings: &SpeechSettings,
        dir: &Path,
        reserve: u64,
        clock: &Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Self {
        let tally = metrics.of(Name::Speech);
        let idle = settings.idle.0;
        let parts = || disk::Parts {
            dir: dir.to_owned(),
            most: settings.size.0,
            idle,
            reserve,
            clock: Arc::clone(clock),
            tally: tally.clone(),
        };
        let disk = (settings.enabled && settings.size.0 > 0).then(|| Disk::start(parts())).and_then(|disk| {
            disk.inspect_err(|error| tracing::warn!(%error, "the speech cache has no thread: it is in memory only"))
                .ok()
        });
        Self {
            memory: Mutex::new(Shelf::new(settings.memory.0, idle, Age::Idle)),
            disk,
            clock: Arc::clone(clock),
            tally,
            enabled: settings.enabled,
        }
    }

    /// It keeps and finds something at all.
    pub fn is_on(&self) -> bool {
        self.enabled
    }

    /// The frames of a clause, if they are kept.
    pub async fn find(&self, key: &Key) -> Option<Frames> {
        if let Some(frames) = self.in_memory(key) {
            self.tally.hit("memory");
            return Some(frames);
        }
        let found = self.on_disk(key).await;
        match &found {
            Some(frames) => {
                self.tally.hit("disk");
                self.remember(*key, frames);
            }
            None => self.tally.miss(),
        }
        found
    }

    /// It is kept; that is not counted as a lookup.
    pub fn knows(&self, key: &Key) -> bool {
        self.in_memory(key).is_some() || self.disk.as_ref().is_some_and(|disk| disk.knows(key))
    }

    /// Keeps a clause that is whole.
    pub fn keep(&self, key: Key, frames: Vec<Bytes>) {
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        if !self.enabled || frames.is_empty() {
            return;
        }
        if bytes > LONGEST {
            self.tally.dropped(Why::Room, 1);
            return;
        }
        let frames: Frames = frames.into();
        match &self.disk {
            Some(disk) if !disk.write(key, Arc::clone(&frames)) => {
                self.tally.dropped(Why::Busy, 1);
                return;
            }
            Some(_) => {}
            None => self.tally.kept(),
        }
        self.remember(key, &frames);
    }

    /// Forgets all; gives how many clauses. None where the disk's thread has too much to do.
    pub(super) async fn clear(&self) -> Option<u64> {
        let in_memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner).clear().len();
        let Some(disk) = &self.disk else {
            self.tally.dropped(Why::Cleared, in_memory);
            self.tally.holds(0, 0);
            return Some(in_memory as u64);
        };
        disk.clear().await.map(|gone| gone as u64)
    }

    pub(super) fn held(&self) -> Held {
        let (entries, bytes) = match &self.disk {
            Some(disk) => disk.holds(),
            None => self.in_memory_only(),
        };
        let (hits, misses) = self.tally.asked_so_far();
        Held { name: Name::Speech, on: self.enabled, entries, bytes, hits, misses, note: None }
    }

    fn in_memory_only(&self) -> (u64, u64) {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        (memory.len() as u64, memory.weight())
    }

    fn in_memory(&self, key: &Key) -> Option<Frames> {
        let now = moment(self.clock.mono());
        let frames = self.memory.lock().unwrap_or_else(PoisonError::into_inner).get(key, now).cloned();
        if frames.is_some()
            && let Some(disk) = &self.disk
        {
            // what is asked for is not forgotten there either
            disk.knows(key);
        }
        frames
    }

    async fn on_disk(&self, key: &Key) -> Option<Frames> {
        let disk = self.disk.as_ref().filter(|disk| disk.knows(key))?;
        timeout(PATIENCE, disk.read(*key)).await.ok().flatten().map(Frames::from)
    }

    fn remember(&self, key: Key, frames: &Frames) {
        let bytes = frames.iter().map(|frame| frame.len() as u64 + 64).sum();
        let now = moment(self.clock.mono());
        // what has to go for it from memory is still on the disk
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).put(key, Arc::clone(frames), bytes, now);
        if self.disk.is_none() {
            let (entries, bytes) = self.in_memory_only();
            self.tally.holds(entries, bytes);
        }
    }
}
