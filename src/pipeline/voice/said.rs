//! What was said before is not made again: clauses whose speech is kept, and those that are made ahead.

use bytes::Bytes;
use futures::StreamExt;
use tokio::time::timeout;

use super::clauses::Clauses;
use super::speak::pieces;
use super::{Inner, Voice};
use crate::cache::Spoken;
use crate::cache::speech::{Frames, Key};
use crate::domain::OpusFrame;
use crate::provider::{PcmChunk, SpeechRequest, Urgency};
use crate::session::Turn;

/// A clause on its way: its frames so far, and where they are kept when all are there.
pub(super) struct Draft {
    key: Option<Key>,
    frames: Vec<Bytes>,
    /// Some of it was encoded with less effort, since there was much to do: it is said and not kept.
    hurried: bool,
    /// Another voice stood in for the one that the key names: it is said and not kept.
    stood_in: bool,
}

impl Draft {
    fn new(key: Option<Key>) -> Self {
        Self { key, frames: Vec::new(), hurried: false, stood_in: false }
    }

    /// It is encoded by itself, so that it can be kept.
    pub(super) fn stands_alone(&self) -> bool {
        self.key.is_some()
    }

    /// More speech of it is here.
    pub(super) fn hear(&mut self, chunk: &PcmChunk) {
        self.stood_in |= chunk.stood_in;
    }

    /// More of it.
    pub(super) fn note(&mut self, packets: &[OpusFrame], hurried: bool) {
        self.hurried |= hurried;
        if self.key.is_some() {
            self.frames.extend(packets.iter().map(|frame| frame.packet.clone()));
        }
    }
}

/// Who says something: a voice and a language, where they are not the service's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Speaker {
    /// In the words of the service.
    pub voice: Option<String>,
    /// BCP 47.
    pub language: Option<String>,
}

/// What came of making phrases ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Warmed {
    /// Clauses that were made.
    pub made: usize,
    /// Clauses that were there.
    pub there: usize,
    /// Clauses that could not be made.
    pub failed: usize,
}

impl Inner {
    /// Begins a clause of a turn.
    pub(super) fn draft(&self, turn: &Turn, text: &str) -> Draft {
        Draft::new(self.key_of(text, turn.persona.voice.as_deref(), self.language(turn).as_deref()))
    }

    /// The frames of a clause, where they are kept.
    pub(super) async fn said_before(&self, draft: &Draft) -> Option<Frames> {
        self.caches.speech.find(draft.key.as_ref()?).await
    }

    /// Keeps a clause that is whole.
    pub(super) fn keep(&self, draft: Draft) {
        if let Some(key) = draft.key.filter(|_| !draft.hurried && !draft.stood_in) {
            self.caches.speech.keep(key, draft.frames);
        }
    }

    fn key_of(&self, text: &str, voice: Option<&str>, language: Option<&str>) -> Option<Key> {
        let service = self.providers.synthesizer.identity().filter(|_| self.caches.speech.is_on())?;
        Some(Spoken { service, voice, language, text, bitrate: self.opus.bitrate }.key())
    }

    /// Makes a clause that nobody waits for, in no voice but its own.
    async fn make(&self, text: &str, speaker: &Speaker) -> Result<Vec<Bytes>, String> {
        let Speaker { voice, language } = speaker.clone();
        let urgency = Urgency::Background;
        let request = SpeechRequest { text: text.to_owned(), voice, language, urgency, alone: true };
        let mut speech = self.providers.synthesizer.speak(request);
        let (mut encoder, mut draft, mut made) = (None, Vec::new(), 0);
        while let Some(chunk) =
            timeout(self.settings.speech_timeout.0, speech.next()).await.map_err(|error| error.to_string())?
        {
            let chunk = chunk.map_err(|error| error.to_string())?;
            if chunk.stood_in {
                return Err("another voice stood in".to_owned());
            }
            for piece in pieces(chunk, &mut made) {
                let (back, packets) = self.encode(encoder.take(), piece).await?;
                encoder = Some(back);
                draft.extend(packets);
            }
        }
        draft.extend(self.rest_of(encoder).await?);
        Ok(draft.into_iter().map(|frame| frame.packet).collect())
    }
}

impl Voice {
    /// Makes phrases ahead, one clause after the other, as an answer of these words would be cut.
    pub async fn make_ahead(&self, phrases: &[String], speakers: &[Speaker]) -> Warmed {
        let mut ahead = Warmed::default();
        for text in phrases.iter().flat_map(|phrase| clauses(phrase)) {
            for speaker in speakers {
                self.one_ahead(&text, speaker, &mut ahead).await;
            }
        }
        ahead
    }

    async fn one_ahead(&self, text: &str, speaker: &Speaker, ahead: &mut Warmed) {
        let inner = self.current.now();
        let key = inner.key_of(text, speaker.voice.as_deref(), speaker.language.as_deref());
        let Some(key) = key else {
            ahead.failed += 1;
            return;
        };
        if inner.caches.speech.knows(&key) {
            ahead.there += 1;
            return;
        }
        match inner.make(text, speaker).await {
            Ok(frames) if !frames.is_empty() => {
                inner.caches.speech.keep(key, frames);
                ahead.made += 1;
            }
            Ok(_) => ahead.failed += 1,
            Err(error) => {
                tracing::debug!(error, "a phrase is not made ahead yet");
                ahead.failed += 1;
            }
        }
    }
}

/// A phrase as the clauses of an answer.
fn clauses(phrase: &str) -> Vec<String> {
    let mut splitter = Clauses::new();
    let mut all = splitter.push(phrase);
    all.extend(splitter.finish());
    all
}
