//! What was understood, by the samples themselves: an utterance that comes again is not transcribed again.
//!
//! In memory only, and under a hash: what somebody said lies on no disk because of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::metrics::{Tally, Why};
use super::settings::TranscriptSettings;
use super::shelf::{Age, Shelf, moment};
use super::{Held, Metrics, Name};
use crate::audio::Workers;
use crate::domain::Clock;
use crate::provider::{ProviderError, Transcriber, Transcript, Utterance};

type Key = [u8; 32];

/// About what a transcript takes: its key, its words, its place.
const ENTRY: u64 = 256;
/// A transcript of more bytes is not kept.
const LONGEST: usize = 4_096;

/// The cache.
pub struct Transcripts {
    shelf: Mutex<Shelf<Key, Transcript>>,
    clock: Arc<dyn Clock>,
    tally: Tally,
    enabled: bool,
}

impl Transcripts {
    pub(super) fn new(settings: &TranscriptSettings, clock: &Arc<dyn Clock>, metrics: &Metrics) -> Self {
        Self {
            shelf: Mutex::new(Shelf::new(u64::from(settings.entries), settings.ttl.0, Age::Made)),
            clock: Arc::clone(clock),
            tally: metrics.of(Name::Transcripts),
            enabled: settings.enabled,
        }
    }

    /// A transcriber that need not be asked twice; the same one where nothing is to be kept, or nobody knows what it is.
    pub fn before(self: &Arc<Self>, transcriber: Arc<dyn Transcriber>, workers: &Workers) -> Arc<dyn Transcriber> {
        if !self.enabled || transcriber.identity().is_none() {
            return transcriber;
        }
        Arc::new(Remembering { cache: Arc::clone(self), transcriber, workers: workers.clone() })
    }

    fn find(&self, key: &Key) -> Option<Transcript> {
        let found = self.lock().get(key, moment(self.clock.mono())).cloned();
        match &found {
            Some(_) => self.tally.hit("exact"),
            None => self.tally.miss(),
        }
        found
    }

    fn keep(&self, key: Key, transcript: Transcript) {
        if transcript.text.len() > LONGEST {
            return self.tally.dropped(Why::Room, 1);
        }
        let now = moment(self.clock.mono());
        let mut shelf = self.lock();
        let old = shelf.expire(now).len();
        let gone = shelf.put(key, transcript, 1, now).len();
        let entries = shelf.len() as u64;
        drop(shelf);
        self.tally.kept();
        self.tally.dropped(Why::Old, old);
        self.tally.dropped(Why::Room, gone);
        self.tally.holds(entries, entries * ENTRY);
    }

    pub(super) fn clear(&self) -> u64 {
        let gone = self.lock().clear().len();
        self.tally.dropped(Why::Cleared, gone);
        self.tally.holds(0, 0);
        gone as u64
    }

    pub(super) fn held(&self) -> Held {
        let entries = self.lock().len() as u64;
        let (hits, misses) = self.tally.asked_so_far();
        Held { name: Name::Transcripts, on: self.enabled, entries, bytes: entries * ENTRY, hits, misses, note: None }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf<Key, Transcript>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transcriber, and what it has understood already.
struct Remembering {
    cache: Arc<Transcripts>,
    transcriber: Arc<dyn Transcriber>,
    workers: Workers,
}

#[async_trait]
impl Transcriber for Remembering {
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
        let service = self.transcriber.identity().map(str::to_owned);
        let heard = utterance.clone();
        // some milliseconds for a long utterance: not on the runtime
        let Ok(key) = self.workers.run(move || key(service.as_deref(), &heard)).await else {
            return self.transcriber.transcribe(utterance).await;
        };
        if let Some(known) = self.cache.find(&key) {
            return Ok(known);
        }
        let transcript = self.transcriber.transcribe(utterance).await?;
        if !transcript.stood_in {
            self.cache.keep(key, transcript.clone());
        }
        Ok(transcript)
    }

    fn identity(&self) -> Option<&str> {
        self.transcriber.identity()
    }
}

fn key(service: Option<&str>, utterance: &Utterance) -> Key {
    let mut hash = Sha256::new();
    hash.update(format!("transcript 1\0{service:?}\0{:?}\0{}\0", utterance.language, utterance.pcm.len()));
    for chunk in utterance.pcm.chunks(4_096) {
        hash.update(chunk.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::domain::{ManualClock, Wall};
    use crate::provider::{ErrorKind, Known};

    /// Speech that begins with it is understood by another service.
    const FOREIGN: i16 = 99;

    /// Counts how often it is asked; hears the number of samples, and nothing in none.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    #[async_trait]
    impl Transcriber for Counting {
        async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            if utterance.pcm.is_empty() {
                return Err(ProviderError::new(ErrorKind::Internal, "stt", "nothing"));
            }
            Ok(Transcript {
                text: format!("{} samples", utterance.pcm.len()),
                stood_in: utterance.pcm.first() == Some(&FOREIGN),
                ..Transcript::default()
            })
        }
    }

    struct Rig {
        clock: Arc<ManualClock>,
        cache: Arc<Transcripts>,
        ears: Arc<Counting>,
        workers: Workers,
    }

    fn rig(entries: u32) -> Rig {
        let clock = Arc::new(ManualClock::new(Wall(1)));
        let time: Arc<dyn Clock> = clock.clone();
        let settings = TranscriptSettings { entries, ..TranscriptSettings::default() };
        let cache = Arc::new(Transcripts::new(&settings, &time, &Metrics::default()));
        let workers = Workers::new(1, crate::audio::workers::Metrics::default()).unwrap();
        Rig { clock, cache, ears: Arc::default(), workers }
    }

    impl Rig {
        /// The words, and how often the service was asked so far.
        async fn hear(&self, service: &str, pcm: &[i16], language: Option<&str>) -> (Option<String>, usize) {
            let known = Arc::new(Known::new(self.ears.clone() as Arc<dyn Transcriber>, service.to_owned()));
            let transcriber = self.cache.before(known, &self.workers);
            let utterance =
                Utterance { pcm: pcm.into(), language: language.map(str::to_owned), ..Utterance::default() };
            let heard = transcriber.transcribe(utterance).await;
            (heard.ok().map(|transcript| transcript.text), self.ears.0.load(Ordering::SeqCst))
        }
    }

    #[tokio::test]
    async fn the_same_samples_are_understood_once_by_each_service_in_each_language() {
        let rig = rig(10);
        for (service, pcm, language, asked) in [
            ("a", [1, 2, 3], Some("en"), 1),
            ("a", [1, 2, 3], Some("en"), 1),
            ("a", [1, 2, 4], Some("en"), 2),
            ("a", [1, 2, 3], Some("de"), 3),
            ("a", [1, 2, 3], None, 4),
            ("b", [1, 2, 3], Some("en"), 5),
            ("b", [1, 2, 3], Some("en"), 5),
        ] {
            assert_eq!(rig.hear(service, &pcm, language).await, (Some("3 samples".into()), asked));
        }
        assert_eq!((rig.cache.held().hits, rig.cache.held().misses), (2, 5));
    }

    #[tokio::test]
    async fn it_is_forgotten_after_its_time_and_a_failure_is_never_kept() {
        let rig = rig(10);
        rig.hear("a", &[1], None).await;
        rig.clock.advance(Duration::from_secs(1_799));
        assert_eq!(rig.hear("a", &[1], None).await.1, 1);
        rig.clock.advance(Duration::from_secs(1));
        assert_eq!(rig.hear("a", &[1], None).await.1, 2);
        assert_eq!(rig.hear("a", &[], None).await, (None, 3));
        assert_eq!(rig.hear("a", &[], None).await, (None, 4));
        assert_eq!((rig.cache.clear(), rig.cache.held().entries), (1, 0));
    }

    #[tokio::test]
    async fn what_another_service_understood_is_not_kept_under_the_name_of_the_first() {
        let rig = rig(10);
        assert_eq!(rig.hear("a", &[FOREIGN, 1], None).await, (Some("2 samples".into()), 1));
        assert_eq!(rig.hear("a", &[FOREIGN, 1], None).await.1, 2);
        assert_eq!(rig.cache.held().entries, 0);
    }

    #[tokio::test]
    async fn no_more_are_kept_than_may_be() {
        let rig = rig(2);
        for n in 0..5 {
            rig.hear("a", &[n], None).await;
        }
        assert_eq!(rig.cache.held().entries, 2);
        assert_eq!(rig.cache.tally.gone(Why::Room), 3);
    }

    #[tokio::test]
    async fn of_a_service_that_nobody_knows_nothing_is_kept() {
        let rig = rig(2);
        let transcriber = rig.cache.before(rig.ears.clone(), &rig.workers);
        for asked in 1..=2 {
            transcriber.transcribe(Utterance { pcm: [1].into(), ..Utterance::default() }).await.unwrap();
            assert_eq!(rig.ears.0.load(Ordering::SeqCst), asked);
        }
    }
}
