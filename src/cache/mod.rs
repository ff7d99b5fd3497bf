//! What is kept so that no service need be asked twice: answers, speech, transcripts.
//!
//! Everything is kept under a key of all that decides what a service gives, its own identity first, so that caches outlive a
//! change of services and never give what another one said. What a person said, and what was answered, is in memory only;
//! on the disk is nothing but speech, under names that are hashes. It knows no turn, no device and no policy.

pub mod chat;
mod metrics;
mod settings;
mod shelf;
pub mod speech;
mod transcripts;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use chat::Chat;
pub use metrics::Metrics;
pub use settings::{ChatSettings, Settings, SpeechSettings, TranscriptSettings};
pub use speech::{Speech, Spoken};
pub use transcripts::Transcripts;

use crate::audio::Workers;
use crate::domain::Clock;

/// Which cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Name {
    /// Answers.
    Chat,
    /// Speech.
    Speech,
    /// What was understood.
    Transcripts,
}

impl Name {
    /// All of them.
    pub const ALL: [Self; 3] = [Name::Chat, Name::Speech, Name::Transcripts];

    /// As operators write it, and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Name::Chat => "chat",
            Name::Speech => "speech",
            Name::Transcripts => "transcripts",
        }
    }
}

/// What a cache holds, and how it did since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub name: Name,
    /// It keeps anything.
    pub on: bool,
    /// How many.
    pub entries: u64,
    /// How much, about.
    pub bytes: u64,
    /// Lookups that found something.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// What an operator should know of it.
    pub note: Option<String>,
}

/// What caches are made of.
pub struct Parts {
    /// Below it is what lies on the disk.
    pub data: PathBuf,
    /// So much of the disk stays free.
    pub reserve: u64,
    /// Threads that compare vectors.
    pub workers: Workers,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
}

/// All caches.
pub struct Caches {
    /// Answers.
    pub chat: Chat,
    /// Speech.
    pub speech: Speech,
    /// What was understood.
    pub transcripts: Arc<Transcripts>,
}

impl Caches {
    /// Opens them. What lies on the disk is found by a thread of its own.
    pub fn open(settings: &Settings, parts: &Parts) -> Self {
        let Parts { data, reserve, workers, clock, metrics } = parts;
        let dir = data.join("cache").join("speech");
        Self {
            chat: Chat::new(&settings.chat, workers, clock, metrics),
            speech: Speech::open(&settings.speech, &dir, *reserve, clock, metrics),
            transcripts: Arc::new(Transcripts::new(&settings.transcripts, clock, metrics)),
        }
    }

    /// Works on what is to be kept, until the gateway stops.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        self.chat.run(stop).await;
    }

    /// Each of them.
    pub fn held(&self) -> Vec<Held> {
        vec![self.chat.held(), self.speech.held(), self.transcripts.held()]
    }

    /// Forgets what a cache holds; gives how many. None where its thread has too much to do.
    pub async fn clear(&self, name: Name) -> Option<u64> {
        match name {
            Name::Chat => Some(self.chat.clear()),
            Name::Speech => self.speech.clear().await,
            Name::Transcripts => Some(self.transcripts.clear()),
        }
    }
}
