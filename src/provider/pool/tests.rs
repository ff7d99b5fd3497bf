//! Pools over services that fail in every way, on a clock that is moved by hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use prometheus_client::registry::Registry;

use super::*;
use crate::domain::{ManualClock, Span, Wall};
use crate::provider::{
    ChatModel, ChatPiece, ChatRequest, ChatStream, PcmChunk, SpeechRequest, SpeechStream, Synthesizer, Transcriber,
    Transcript, Utterance,
};

/// What a service does when it is asked.
#[derive(Debug, Clone)]
enum Does {
    Says(&'static [&'static str]),
    /// It says so much and fails.
    Breaks(&'static [&'static str], ErrorKind),
    Hangs,
}

/// A service that does one thing after the other, the last again and again.
struct Service {
    does: Mutex<VecDeque<Does>>,
    asked: Mutex<Vec<Option<String>>>,
}

impl Service {
    fn new(does: &[Does]) -> Arc<Self> {
        Arc::new(Self { does: Mutex::new(does.iter().cloned().collect()), asked: Mutex::default() })
    }

    fn next(&self, asked: Option<String>) -> Does {
        self.asked.lock().unwrap().push(asked);
        let mut does = self.does.lock().unwrap();
        if does.len() > 1 { does.pop_front().unwrap() } else { does[0].clone() }
    }

    fn times(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn pieces<T: Send + 'static>(
        &self,
        asked: Option<String>,
        piece: fn(&str) -> T,
    ) -> stream::BoxStream<'static, Result<T, ProviderError>> {
        let (words, end) = match self.next(asked) {
            Does::Says(words) => (words, None),
            Does::Breaks(words, kind) => (words, Some(ProviderError::new(kind, "test", "broken"))),
            Does::Hangs => return stream::pending().boxed(),
        };
        let words: Vec<_> = words.iter().map(|word| Ok(piece(word))).chain(end.map(Err)).collect();
        stream::iter(words).boxed()
    }
}

impl ChatModel for Service {
    fn chat(&self, _: ChatRequest) -> ChatStream {
        self.pieces(None, |word| ChatPiece::Text(word.to_owned()))
    }
}

impl Synthesizer for Service {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        self.pieces(request.voice, |_| PcmChunk { rate: 24_000, samples: vec![1] })
    }
}

#[async_trait]
impl Transcriber for Service {
    async fn transcribe(&self, _: Utterance) -> Result<Transcript, ProviderError> {
        match self.next(None) {
            Does::Says(words) => Ok(Transcript { text: words.concat(), language: None }),
            Does::Breaks(_, kind) => Err(ProviderError::new(kind, "test", "broken")),
            Does::Hangs => std::future::pending().await,
        }
    }
}

const DOWN: Does = Does::Breaks(&[], ErrorKind::Unavailable);

struct Rig {
    clock: Arc<ManualClock>,
    registry: Registry,
    parts: Parts,
}

impl Rig {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Wall(1)));
        let mut registry = crate::observe::registry();
        let metrics = Metrics::register(&mut registry);
        let settings = Settings { errors: 2, left_alone: Span::secs(10) };
        Self { clock: Arc::clone(&clock), registry, parts: Parts { settings, clock, metrics } }
    }

    fn chat(&self, services: &[&Arc<Service>]) -> Pool<dyn ChatModel> {
        let all = services.iter().map(|service| Arc::clone(service) as Arc<dyn ChatModel>).collect();
        Pool::new("chat", all, &self.parts).unwrap()
    }

    fn told(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

/// What a chat says, and how it ends.
async fn said(pool: &Pool<dyn ChatModel>) -> (String, Option<ErrorKind>) {
    let (mut words, mut end) = (String::new(), None);
    let mut pieces = pool.chat(ChatRequest::default());
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(ChatPiece::Text(text)) => words.push_str(&text),
            Ok(other) => panic!("{other:?}"),
            Err(error) => end = Some(error.kind),
        }
    }
    (words, end)
}

#[tokio::test]
async fn where_one_service_fails_the_next_answers_in_the_same_turn() {
    let rig = Rig::new();
    let (first, second) = (Service::new(&[DOWN]), Service::new(&[Does::Says(&["It ", "rains."])]));
    let pool = rig.chat(&[&first, &second]);
    assert_eq!(said(&pool).await, ("It rains.".to_owned(), None));
    let told = rig.told();
    for line in [
        "voxgate_provider_requests_total{capability=\"chat\",route=\"0\",outcome=\"unavailable\"} 1",
        "voxgate_provider_requests_total{capability=\"chat\",route=\"1\",outcome=\"answered\"} 1",
    ] {
        assert!(told.contains(line), "{told}");
    }
}

#[tokio::test]
async fn what_was_said_once_is_not_said_again_by_another() {
    let rig = Rig::new();
    let first = Service::new(&[Does::Breaks(&["It "], ErrorKind::BadAnswer)]);
    let second = Service::new(&[Does::Says(&["Never."])]);
    let pool = rig.chat(&[&first, &second]);
    assert_eq!(said(&pool).await, ("It ".to_owned(), Some(ErrorKind::BadAnswer)));
    assert_eq!(second.times(), 0);
    // who breaks off again and again is left alone too
    said(&pool).await;
    assert_eq!(said(&pool).await, ("Never.".to_owned(), None));
}

#[tokio::test]
async fn a_service_that_fails_again_and_again_is_not_waited_for_until_its_time_is_over() {
    let rig = Rig::new();
    let first = Service::new(&[DOWN, DOWN, DOWN, Does::Says(&["First."])]);
    let second = Service::new(&[Does::Says(&["Second."])]);
    let pool = rig.chat(&[&first, &second]);
    for _ in 0..4 {
        assert_eq!(said(&pool).await.0, "Second.");
    }
    assert_eq!(first.times(), 2, "it was left alone");
    rig.clock.advance(Duration::from_secs(10));
    assert_eq!(said(&pool).await.0, "Second.", "it is tried, and fails");
    assert_eq!(said(&pool).await.0, "Second.");
    assert_eq!(first.times(), 3);
    rig.clock.advance(Duration::from_secs(10));
    assert_eq!(said(&pool).await.0, "First.");
    assert_eq!(said(&pool).await.0, "First.");
}

#[tokio::test]
async fn when_all_are_left_alone_one_is_asked_all_the_same() {
    let rig = Rig::new();
    let only = Service::new(&[DOWN, DOWN, DOWN, Does::Says(&["Back."])]);
    let pool = rig.chat(&[&only]);
    for _ in 0..3 {
        assert_eq!(said(&pool).await, (String::new(), Some(ErrorKind::Unavailable)));
    }
    assert_eq!(said(&pool).await.0, "Back.");
}

#[tokio::test]
async fn a_try_that_nobody_waited_for_says_nothing_of_the_service() {
    let rig = Rig::new();
    let first = Service::new(&[DOWN, DOWN, Does::Hangs, Does::Says(&["First."])]);
    let second = Service::new(&[Does::Says(&["Second."])]);
    let pool = rig.chat(&[&first, &second]);
    said(&pool).await;
    said(&pool).await;
    rig.clock.advance(Duration::from_secs(10));
    // somebody speaks into the answer that has not come
    let mut pieces = pool.chat(ChatRequest::default());
    assert!(futures::FutureExt::now_or_never(pieces.next()).is_none());
    drop(pieces);
    assert_eq!(said(&pool).await.0, "First.");
}

#[tokio::test]
async fn another_service_speaks_with_its_own_voice() {
    let rig = Rig::new();
    let (first, second) = (Service::new(&[DOWN]), Service::new(&[Does::Says(&["x"])]));
    let all: Vec<Arc<dyn Synthesizer>> = vec![first.clone(), second.clone()];
    let pool = Pool::new("tts", all, &rig.parts).unwrap();
    let request = SpeechRequest { text: "Hello.".into(), voice: Some("amy".into()), language: None };
    assert_eq!(pool.speak(request).filter_map(|piece| async { piece.ok() }).count().await, 1);
    assert_eq!(*first.asked.lock().unwrap(), [Some("amy".to_owned())]);
    assert_eq!(*second.asked.lock().unwrap(), [None]);
}

#[tokio::test]
async fn speech_is_understood_by_whoever_can() {
    let rig = Rig::new();
    let (first, second) = (Service::new(&[DOWN]), Service::new(&[Does::Says(&["hello"])]));
    let all: Vec<Arc<dyn Transcriber>> = vec![first, second];
    let pool = Pool::new("stt", all, &rig.parts).unwrap();
    let utterance = Utterance { pcm: vec![0; 160].into(), language: None };
    assert_eq!(pool.transcribe(utterance).await.unwrap().text, "hello");
}

#[tokio::test]
async fn the_last_failure_is_told_when_nobody_can() {
    let rig = Rig::new();
    let all: Vec<Arc<dyn Transcriber>> =
        vec![Service::new(&[DOWN]), Service::new(&[Does::Breaks(&[], ErrorKind::Timeout)])];
    let pool = Pool::new("stt", all, &rig.parts).unwrap();
    let utterance = Utterance { pcm: vec![0; 160].into(), language: None };
    assert_eq!(pool.transcribe(utterance).await.unwrap_err().kind, ErrorKind::Timeout);
}
