//! Answers to questions that were asked before: word by word, or by their meaning.
//!
//! In memory only. A question is looked for among those of its scope: the same service, instructions, language, limits and
//! tools. Whoever keeps an answer sees to it that no tool, no history and no policy had a part in it.

mod chinese;
mod english;
mod meaning;
mod question;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::meaning::Meanings;
use self::question::Question;
use super::metrics::{Tally, Why};
use super::settings::ChatSettings;
use super::shelf::{Age, Shelf, moment};
use super::{Held, Metrics, Name};
use crate::audio::Workers;
use crate::domain::Clock;
use crate::provider::{Embedder, Urgency};

/// SHA-256 of all that decides an answer besides the question.
pub(super) type Scope = [u8; 32];

/// Answers that wait for the vectors of their questions.
const WAITING: usize = 64;
/// A vector that nobody waits for may take so long: the model may have to be loaded first.
const EMBED_PATIENCE: Duration = Duration::from_secs(10);
/// An answer of more bytes is not kept.
const LONGEST: usize = 8 << 10;
/// About what an answer takes besides its words.
const ENTRY: u64 = 256;

/// What a chat model is asked, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The model: [`crate::provider::ChatModel::identity`].
    pub service: &'a str,
    /// The instructions.
    pub prompt: &'a str,
    /// BCP 47: of the answer.
    pub language: Option<&'a str>,
    /// See [`crate::provider::ChatRequest`].
    pub max_tokens: Option<u32>,
    /// See [`crate::provider::ChatRequest`].
    pub temperature: Option<f32>,
    /// Names of the tools that are offered with it.
    pub tools: &'a [&'a str],
    /// The question.
    pub words: &'a str,
}

/// A question that may be answered from memory.
#[derive(Debug, Clone)]
pub struct Ask {
    scope: Scope,
    question: Question,
    vector: Option<Vec<f32>>,
}

/// How an answer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The same words were asked.
    Exact,
    /// The same was asked in other words.
    Semantic,
}

impl How {
    /// In records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            How::Exact => "exact",
            How::Semantic => "semantic",
        }
    }
}

struct Keep {
    ask: Ask,
    answer: Arc<str>,
}

/// The cache.
pub struct Chat {
    settings: ChatSettings,
    exact: Mutex<Shelf<Scope, Arc<str>>>,
    meanings: Arc<Mutex<Meanings>>,
    /// How many answers are kept by meaning, and the bytes of their vectors: their own lock is held while all are compared.
    meant: (AtomicU64, AtomicU64),
    embedder: RwLock<Option<Arc<dyn Embedder>>>,
    keep: mpsc::Sender<Keep>,
    waiting: Mutex<Option<mpsc::Receiver<Keep>>>,
    workers: Workers,
    clock: Arc<dyn Clock>,
    tally: Tally,
}

impl Chat {
    pub(super) fn new(settings: &ChatSettings, workers: &Workers, clock: &Arc<dyn Clock>, metrics: &Metrics) -> Self {
        let (keep, waiting) = mpsc::channel(WAITING);
        let entries = settings.entries as usize;
        Self {
            exact: Mutex::new(Shelf::new(u64::from(settings.entries), settings.ttl.0, Age::Made)),
            meanings: Arc::new(Mutex::new(Meanings::new(entries, moment(settings.ttl.0)))),
            meant: (AtomicU64::new(0), AtomicU64::new(0)),
            embedder: RwLock::new(None),
            keep,
            waiting: Mutex::new(Some(waiting)),
            workers: workers.clone(),
            clock: Arc::clone(clock),
            tally: metrics.of(Name::Chat),
            settings: settings.clone(),
        }
    }

    /// Who makes vectors of questions from now on; those of another service are not compared with its own.
    pub fn embed_with(&self, embedder: Option<Arc<dyn Embedder>>) {
        *self.embedder.write().unwrap_or_else(PoisonError::into_inner) = embedder;
    }

    /// What is asked, if it may be answered from memory at all: a whole question about nothing but itself.
    pub fn ask(&self, asked: &Asked<'_>) -> Option<Ask> {
        if !self.settings.exact && !self.settings.semantic {
            return None;
        }
        let question = Question::read(asked.words, asked.language)?;
        let Asked { service, prompt, language, max_tokens, temperature, tools, .. } = asked;
        let temperature = temperature.map(f32::to_bits);
        let whole =
            format!("chat 1\0{service:?}\0{prompt:?}\0{language:?}\0{max_tokens:?}\0{temperature:?}\0{tools:?}");
        Some(Ask { scope: Sha256::digest(whole.as_bytes()).into(), question, vector: None })
    }

    /// The answer, where it is known. Takes no longer than `cache.chat.embed_within`.
    pub async fn find(&self, ask: &mut Ask) -> Option<(Arc<str>, How)> {
        let found = self.look_up(ask).await;
        match &found {
            Some((_, how)) => self.tally.hit(how.name()),
            None => self.tally.miss(),
        }
        found
    }

    /// The answer is known; that is not counted as a lookup. Takes as long as [`Self::find`].
    pub async fn knows(&self, ask: &mut Ask) -> bool {
        self.look_up(ask).await.is_some()
    }

    async fn look_up(&self, ask: &mut Ask) -> Option<(Arc<str>, How)> {
        let exact = self.same_words(ask).map(|answer| (answer, How::Exact));
        if exact.is_some() || !self.settings.semantic {
            return exact;
        }
        let similar = timeout(self.settings.embed_within.0, self.same_meaning(ask)).await;
        similar.ok().flatten().map(|answer| (answer, How::Semantic))
    }

    fn same_words(&self, ask: &Ask) -> Option<Arc<str>> {
        let now = moment(self.clock.mono());
        self.settings.exact.then(|| self.exact().get(&exact_key(ask), now).cloned()).flatten()
    }

    async fn same_meaning(&self, ask: &mut Ask) -> Option<Arc<str>> {
        let (scope, vector) = self.vector(ask, Urgency::Turn).await?;
        #[allow(clippy::cast_possible_truncation, reason = "0.5 to 1.0, compared with sums of f32")]
        let (now, least) = (moment(self.clock.mono()), self.settings.cosine as f32);
        let (meanings, traits) = (Arc::clone(&self.meanings), ask.question.traits.clone());
        let near = self.workers.run(move || lock(&meanings).nearest(&scope, &vector, least, &traits, now));
        near.await.ok().flatten().map(|(_, answer)| answer)
    }

    /// The vector of a question, and the scope of vectors that it may be compared with.
    async fn vector(&self, ask: &mut Ask, urgency: Urgency) -> Option<(Scope, Vec<f32>)> {
        let embedder = self.embedder.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let scope = Sha256::new().chain_update(ask.scope).chain_update(embedder.identity()?).finalize().into();
        if let Some(vector) = &ask.vector {
            return Some((scope, vector.clone()));
        }
        let made = embedder.embed(vec![ask.question.plain.clone()], urgency).await;
        let made = made.inspect_err(|error| tracing::debug!(%error, "a question has no vector"));
        ask.vector = made.ok()?.pop();
        Some((scope, ask.vector.clone()?))
    }

    /// Keeps an answer that was given in full, without tools, and that no policy touched.
    pub fn keep(&self, ask: Ask, answer: &str) {
        let answer = answer.trim();
        if answer.is_empty() {
            return;
        }
        if answer.len() > LONGEST {
            return self.tally.dropped(Why::Room, 1);
        }
        let answer: Arc<str> = answer.into();
        if self.settings.exact {
            self.keep_words(&ask, &answer);
        }
        if self.settings.semantic && self.keep.try_send(Keep { ask, answer }).is_err() {
            self.tally.dropped(Why::Busy, 1);
        }
    }

    fn keep_words(&self, ask: &Ask, answer: &Arc<str>) {
        let now = moment(self.clock.mono());
        let mut exact = self.exact();
        // what is old is looked for only when there is no room: that goes through all
        let full = exact.len() as u64 >= u64::from(self.settings.entries);
        let old = if full { exact.expire(now).len() } else { 0 };
        let room = exact.put(exact_key(ask), Arc::clone(answer), 1, now).len();
        drop(exact);
        self.tally.kept();
        self.tally.dropped(Why::Old, old);
        self.tally.dropped(Why::Room, room);
        self.note_size();
    }

    /// Makes the vectors of questions whose answers are kept, until the gateway stops.
    pub async fn run(&self, stop: CancellationToken) {
        let Some(mut waiting) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        loop {
            let keep = tokio::select! {
                keep = waiting.recv() => keep,
                () = stop.cancelled() => return,
            };
            let Some(Keep { mut ask, answer }) = keep else { return };
            tokio::select! {
                () = self.keep_meaning(&mut ask, answer) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn keep_meaning(&self, ask: &mut Ask, answer: Arc<str>) {
        let Ok(Some((scope, vector))) = timeout(EMBED_PATIENCE, self.vector(ask, Urgency::Background)).await else {
            return;
        };
        let (now, traits) = (moment(self.clock.mono()), ask.question.traits.clone());
        let meanings = Arc::clone(&self.meanings);
        let kept = self.workers.run(move || {
            let mut meanings = lock(&meanings);
            let (old, room) = meanings.keep(scope, &vector, (traits, answer), now);
            (old, room, meanings.len() as u64, meanings.bytes())
        });
        if let Ok((old, room, entries, bytes)) = kept.await {
            self.meant.0.store(entries, Ordering::Relaxed);
            self.meant.1.store(bytes, Ordering::Relaxed);
            self.tally.kept();
            self.tally.dropped(Why::Old, old);
            self.tally.dropped(Why::Room, room);
            self.note_size();
        }
    }

    pub(super) fn clear(&self) -> u64 {
        let gone = self.exact().clear().len() + lock(&self.meanings).clear();
        self.meant.0.store(0, Ordering::Relaxed);
        self.meant.1.store(0, Ordering::Relaxed);
        self.tally.dropped(Why::Cleared, gone);
        self.note_size();
        gone as u64
    }

    pub(super) fn held(&self) -> Held {
        let (entries, bytes) = self.size();
        let (hits, misses) = self.tally.asked_so_far();
        let on = self.settings.exact || self.settings.semantic;
        Held { name: Name::Chat, on, entries, bytes, hits, misses, note: Some(self.note()) }
    }

    fn note(&self) -> String {
        let embedder = self.embedder.read().unwrap_or_else(PoisonError::into_inner).is_some();
        let exact = if self.settings.exact { "word by word" } else { "not word by word" };
        match (self.settings.semantic, embedder) {
            (false, _) => format!("{exact}, not by meaning"),
            (true, true) => format!("{exact}, and by meaning from a cosine of {}", self.settings.cosine),
            (true, false) => {
                format!("{exact}; not by meaning: no service makes vectors (set providers.embed, or engine.embed)")
            }
        }
    }

    fn note_size(&self) {
        let (entries, bytes) = self.size();
        self.tally.holds(entries, bytes);
    }

    fn size(&self) -> (u64, u64) {
        let entries = self.exact().len() as u64 + self.meant.0.load(Ordering::Relaxed);
        (entries, entries * ENTRY + self.meant.1.load(Ordering::Relaxed))
    }

    fn exact(&self) -> MutexGuard<'_, Shelf<Scope, Arc<str>>> {
        self.exact.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(meanings: &Mutex<Meanings>) -> MutexGuard<'_, Meanings> {
    meanings.lock().unwrap_or_else(PoisonError::into_inner)
}

fn exact_key(ask: &Ask) -> Scope {
    Sha256::new().chain_update(ask.scope).chain_update(&ask.question.plain).finalize().into()
}
