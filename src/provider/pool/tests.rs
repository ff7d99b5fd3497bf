//! Pools over services that are slow and fail in every way, in time that is paused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use prometheus_client::registry::Registry;

use super::*;
use crate::domain::{Span, Wall};
use crate::provider::{
    ChatMessage, ChatModel, ChatPiece, ChatRequest, ChatStream, ErrorKind, PcmChunk, ProviderError, Role,
    SpeechRequest, SpeechStream, Synthesizer, Transcriber, Transcript, Utterance,
};

/// What a service does when it is asked.
#[derive(Debug, Clone)]
enum Does {
    Says(&'static [&'static str]),
    /// It says so much and fails.
    Breaks(&'static [&'static str], ErrorKind),
    /// It says so after so many milliseconds.
    Late(u64, &'static str),
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
            Does::Late(ms, word) => {
                let late = async move {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    Ok(piece(word))
                };
                return stream::once(late).boxed();
            }
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
        self.pieces(request.voice, |_| PcmChunk { rate: 24_000, samples: vec![1], ..PcmChunk::default() })
    }
}

#[async_trait]
impl Transcriber for Service {
    async fn transcribe(&self, _: Utterance) -> Result<Transcript, ProviderError> {
        match self.next(None) {
            Does::Says(words) => Ok(Transcript { text: words.concat(), ..Transcript::default() }),
            Does::Breaks(_, kind) => Err(ProviderError::new(kind, "test", "broken")),
            Does::Hangs => std::future::pending().await,
            Does::Late(ms, word) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Ok(Transcript { text: word.to_owned(), ..Transcript::default() })
            }
        }
    }
}

/// It is back when the next that it does is to say something.
#[async_trait]
impl Probe for Service {
    async fn probe(&self) -> Result<(), ProviderError> {
        let next = self.does.lock().unwrap().front().cloned();
        match next {
            Some(Does::Hangs) => std::future::pending().await,
            Some(Does::Breaks(_, kind)) => Err(ProviderError::new(kind, "test", "still broken")),
            _ => Ok(()),
        }
    }
}

const DOWN: Does = Does::Breaks(&[], ErrorKind::Unavailable);

/// Time that moves with tokio's timers.
#[derive(Debug)]
pub(super) struct TokioClock(tokio::time::Instant);

impl TokioClock {
    pub(super) fn shared() -> Arc<dyn Clock> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for TokioClock {
    fn wall(&self) -> Wall {
        Wall(1)
    }

    fn mono(&self) -> Duration {
        self.0.elapsed()
    }
}

struct Rig {
    registry: Registry,
    parts: Parts,
}

impl Rig {
    /// Two failures are enough, nothing is asked twice, and chance is always in the middle.
    fn new() -> Self {
        Self::with(Settings::default())
    }

    #[allow(clippy::needless_pass_by_value, reason = "written where it is used")]
    fn with(settings: Settings) -> Self {
        let mut registry = crate::observe::registry();
        let metrics = Metrics::register(&mut registry);
        let settings = Settings { errors: 2, left_alone: Span::secs(10), ..settings };
        let parts = Parts { settings, clock: TokioClock::shared(), random: Arc::new(|| 1 << 31), metrics };
        Self { registry, parts }
    }

    fn chat(&self, services: &[&Arc<Service>]) -> Pool<dyn ChatModel> {
        self.chat_on(&services.iter().map(|service| (*service, Terms::default())).collect::<Vec<_>>())
    }

    fn chat_on(&self, services: &[(&Arc<Service>, Terms)]) -> Pool<dyn ChatModel> {
        let member = |(service, terms): &(&Arc<Service>, Terms)| {
            let provider = Arc::clone(*service) as Arc<dyn ChatModel>;
            let probe = Some(Arc::clone(*service) as Arc<dyn Probe>);
            Member { terms: *terms, probe, ..Member::plain(provider) }
        };
        Pool::new("chat", services.iter().map(member).collect(), &self.parts).unwrap()
    }

    fn told(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    fn tells(&self, line: &str) {
        let told = self.told();
        assert!(told.contains(&format!("{line}\n")), "no {line} in {told}");
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// What a chat says, and how it ends.
async fn said(pool: &Pool<dyn ChatModel>) -> (String, Option<ErrorKind>) {
    let (mut words, mut end) = (String::new(), None);
    let mut pieces = pool.chat(ChatRequest::default());
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(ChatPiece::Text(text)) => words.push_str(&text),
            Ok(ChatPiece::StoodIn) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => end = Some(error.kind),
        }
    }
    (words, end)
}

#[tokio::test(start_paused = true)]
async fn where_one_service_fails_the_next_answers_in_the_same_turn() {
    let rig = Rig::new();
    let (first, second) = (Service::new(&[DOWN]), Service::new(&[Does::Says(&["It ", "rains."])]));
    let pool = rig.chat(&[&first, &second]);
    assert_eq!(said(&pool).await, ("It rains.".to_owned(), None));
    rig.tells("voxgate_provider_requests_total{capability=\"chat\",route=\"0\",outcome=\"unavailable\"} 1");
    rig.tells("voxgate_provider_requests_total{capability=\"chat\",route=\"1\",outcome=\"answered\"} 1");
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_again_and_again_is_not_waited_for_until_its_time_is_over() {
    let rig = Rig::new();
    let first = Service::new(&[DOWN, DOWN, DOWN, Does::Says(&["First."])]);
    let second = Service::new(&[Does::Says(&["Second."])]);
    let pool = rig.chat(&[&first, &second]);
    for _ in 0..4 {
        assert_eq!(said(&pool).await.0, "Second.");
    }
    assert_eq!(first.times(), 2, "it was left alone");
    pass(10).await;
    assert_eq!(said(&pool).await.0, "Second.", "it is tried, and fails");
    assert_eq!(said(&pool).await.0, "Second.");
    assert_eq!(first.times(), 3);
    pass(10).await;
    assert_eq!(said(&pool).await.0, "First.");
    assert_eq!(said(&pool).await.0, "First.");
}

#[tokio::test(start_paused = true)]
async fn when_all_are_left_alone_one_is_asked_all_the_same() {
    let rig = Rig::with(Settings { retries: 0, ..Settings::default() });
    let only = Service::new(&[DOWN, DOWN, DOWN, Does::Says(&["Back."])]);
    let pool = rig.chat(&[&only]);
    for _ in 0..3 {
        assert_eq!(said(&pool).await, (String::new(), Some(ErrorKind::Unavailable)));
    }
    assert_eq!(said(&pool).await.0, "Back.");
}

#[tokio::test(start_paused = true)]
async fn a_try_that_nobody_waited_for_says_nothing_of_the_service() {
    let rig = Rig::new();
    let first = Service::new(&[DOWN, DOWN, Does::Hangs, Does::Says(&["First."])]);
    let second = Service::new(&[Does::Says(&["Second."])]);
    let pool = rig.chat(&[&first, &second]);
    said(&pool).await;
    said(&pool).await;
    pass(10).await;
    // somebody speaks into the answer that has not come
    let mut pieces = pool.chat(ChatRequest::default());
    assert!(futures::FutureExt::now_or_never(pieces.next()).is_none());
    drop(pieces);
    assert_eq!(said(&pool).await.0, "First.");
}

#[tokio::test(start_paused = true)]
async fn another_service_speaks_with_its_own_voice() {
    let rig = Rig::new();
    let (first, second) = (Service::new(&[DOWN]), Service::new(&[Does::Says(&["x"])]));
    let all = [&first, &second].map(|service| Member::plain(Arc::clone(service) as Arc<dyn Synthesizer>)).into();
    let pool = Pool::new("tts", all, &rig.parts).unwrap();
    let request = SpeechRequest { text: "Hello.".into(), voice: Some("amy".into()), ..SpeechRequest::default() };
    assert_eq!(pool.speak(request).filter_map(|piece| async { piece.ok() }).count().await, 1);
    assert_eq!(*first.asked.lock().unwrap(), [Some("amy".to_owned())]);
    assert_eq!(*second.asked.lock().unwrap(), [None]);
}

/// A pool of voices, with what is said of each.
fn speaking(rig: &Rig, services: &[(&Arc<Service>, Terms)]) -> Pool<dyn Synthesizer> {
    let member = |(service, terms): &(&Arc<Service>, Terms)| Member {
        terms: *terms,
        ..Member::plain(Arc::clone(*service) as Arc<dyn Synthesizer>)
    };
    Pool::new("tts", services.iter().map(member).collect(), &rig.parts).unwrap()
}

/// Of each chunk, whether another voice stood in; empty when nobody spoke.
async fn stood_in(pool: &Pool<dyn Synthesizer>, request: SpeechRequest) -> Vec<bool> {
    pool.speak(request).filter_map(|chunk| async { chunk.ok() }).map(|chunk| chunk.stood_in).collect().await
}

#[tokio::test(start_paused = true)]
async fn the_answer_says_when_another_stood_in() {
    let rig = Rig::new();
    let first = Service::new(&[DOWN, Does::Says(&["a", "b"])]);
    let second = Service::new(&[Does::Says(&["c", "d"])]);
    let pool = rig.chat(&[&first, &second]);
    let pieces = || pool.chat(ChatRequest::default()).map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(pieces().await, [ChatPiece::StoodIn, "c".into(), "d".into()]);
    assert_eq!(pieces().await, ["a".into(), "b".into()]);

    let first = Service::new(&[DOWN, Does::Says(&["a", "b"])]);
    let pool = speaking(&rig, &[(&first, Terms::default()), (&second, Terms::default())]);
    assert_eq!(stood_in(&pool, SpeechRequest::default()).await, [true, false], "it is said with the first chunk");
    assert_eq!(stood_in(&pool, SpeechRequest::default()).await, [false, false]);

    let pool = hearing(&rig, [Service::new(&[DOWN, Does::Says(&["a"])]), second]);
    let utterance = || Utterance { pcm: vec![0; 160].into(), ..Utterance::default() };
    assert!(pool.transcribe(utterance()).await.unwrap().stood_in);
    assert!(!pool.transcribe(utterance()).await.unwrap().stood_in);
}

#[tokio::test(start_paused = true)]
async fn whose_turn_it_is_by_weight_does_not_stand_in_but_in_a_voice_that_was_named_for_the_first() {
    let rig = Rig::new();
    let (first, second) = (Service::new(&[Does::Says(&["a"])]), Service::new(&[Does::Says(&["b"])]));
    let weight = |weight| Terms { weight: Some(weight), ..Terms::default() };
    let pool = speaking(&rig, &[(&first, weight(0)), (&second, weight(1))]);
    let named = || SpeechRequest { voice: Some("amy".into()), ..SpeechRequest::default() };
    assert_eq!(stood_in(&pool, SpeechRequest::default()).await, [false]);
    assert_eq!(stood_in(&pool, named()).await, [true]);
    assert_eq!((first.times(), second.times()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn nobody_stands_in_for_what_is_wanted_of_one_voice_alone() {
    let rig = Rig::with(Settings { retries: 0, ..Settings::default() });
    let (first, second) = (Service::new(&[DOWN, Does::Says(&["a"])]), Service::new(&[Does::Says(&["b"])]));
    let pool = speaking(&rig, &[(&first, Terms::default()), (&second, Terms::default())]);
    let alone = || SpeechRequest { alone: true, ..SpeechRequest::default() };
    assert_eq!(stood_in(&pool, alone()).await, [false; 0]);
    assert_eq!(stood_in(&pool, alone()).await, [false]);
    assert_eq!(second.times(), 0);
}

#[tokio::test(start_paused = true)]
async fn speech_is_understood_by_whoever_can() {
    let rig = Rig::new();
    let (first, second) = (Service::new(&[DOWN]), Service::new(&[Does::Says(&["hello"])]));
    let pool = hearing(&rig, [first, second]);
    let utterance = Utterance { pcm: vec![0; 160].into(), ..Utterance::default() };
    assert_eq!(pool.transcribe(utterance).await.unwrap().text, "hello");
}

#[tokio::test(start_paused = true)]
async fn the_last_failure_is_told_when_nobody_can() {
    let rig = Rig::with(Settings { retries: 0, ..Settings::default() });
    let timeout = Does::Breaks(&[], ErrorKind::Timeout);
    let pool = hearing(&rig, [Service::new(&[DOWN]), Service::new(&[timeout])]);
    let utterance = Utterance { pcm: vec![0; 160].into(), ..Utterance::default() };
    assert_eq!(pool.transcribe(utterance).await.unwrap_err().kind, ErrorKind::Timeout);
}

fn hearing(rig: &Rig, services: [Arc<Service>; 2]) -> Pool<dyn Transcriber> {
    let all = services.map(|service| Member::plain(service as Arc<dyn Transcriber>)).into();
    Pool::new("stt", all, &rig.parts).unwrap()
}

/// How long it takes until something is said, and what.
async fn timed(pool: &Pool<dyn ChatModel>) -> (u128, String) {
    let begun = tokio::time::Instant::now();
    let (words, _) = said(pool).await;
    (begun.elapsed().as_millis(), words)
}

#[tokio::test(start_paused = true)]
async fn requests_are_shared_by_weight_and_whoever_is_drawn_second_stands_in() {
    let rig = Rig::new();
    let mut draws = (0..).map(|n: u128| n * 0x9E37_79B9);
    let draws = Mutex::new(std::iter::from_fn(move || draws.next()));
    let parts = Parts { random: Arc::new(move || draws.lock().unwrap().next().unwrap()), ..rig.parts.clone() };
    let rig = Rig { parts, ..rig };
    let (local, remote) = (Service::new(&[Does::Says(&["l"])]), Service::new(&[Does::Says(&["r"])]));
    let weight = |weight| Terms { weight: Some(weight), ..Terms::default() };
    let pool = rig.chat_on(&[(&local, weight(80)), (&remote, weight(20))]);
    for _ in 0..1_000 {
        said(&pool).await;
    }
    assert!((750..850).contains(&local.times()), "{}", local.times());
    assert_eq!(local.times() + remote.times(), 1_000);
    *remote.does.lock().unwrap() = [DOWN].into();
    let answered = futures::future::join_all((0..100).map(|_| said(&pool))).await;
    assert!(answered.iter().all(|(words, _)| words == "l"));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_wants_thought_is_asked_where_those_are_and_anywhere_when_that_is_down() {
    let rig = Rig::new();
    let (small, large) = (Service::new(&[Does::Says(&["small"])]), Service::new(&[Does::Says(&["large"]), DOWN]));
    let suits = |suits| Terms { suits, ..Terms::default() };
    let pool = rig.chat_on(&[(&small, suits(Suits::Simple)), (&large, suits(Suits::Complex))]);
    let ask = |text: &str| {
        let messages = vec![ChatMessage::new(Role::User, text)];
        pool.chat(ChatRequest { messages, ..ChatRequest::default() }).collect::<Vec<_>>()
    };
    let word = |pieces: Vec<Result<ChatPiece, ProviderError>>| pieces.into_iter().next_back().unwrap().unwrap();
    assert_eq!(word(ask("turn on the light").await), "small".into());
    assert_eq!(word(ask("why is the sky blue").await), "large".into());
    assert_eq!(word(ask("why is the sky blue").await), "small".into(), "large is down");
}

#[tokio::test(start_paused = true)]
async fn one_at_its_limit_with_a_long_queue_leaves_the_rest_to_the_next_at_once() {
    let rig = Rig::new();
    let (first, second) = (Service::new(&[Does::Late(1_500, "first")]), Service::new(&[Does::Says(&["second"])]));
    let limited = Terms { at_once: Some(1), ..Terms::default() };
    let pool = rig.chat_on(&[(&first, limited), (&second, Terms::default())]);
    assert_eq!(timed(&pool).await, (1_500, "first".to_owned()));
    // 1.5 seconds are to be expected, then 3
    let all = futures::future::join_all((0..4).map(|_| timed(&pool))).await;
    let words: Vec<_> = all.iter().map(|(ms, words)| (*ms, words.as_str())).collect();
    assert_eq!(words, [(1_500, "first"), (3_000, "first"), (0, "second"), (0, "second")]);
    rig.tells("voxgate_provider_requests_total{capability=\"chat\",route=\"0\",outcome=\"busy\"} 2");
    rig.tells("voxgate_provider_queue_wait_seconds_count{capability=\"chat\"} 1");
    rig.tells("voxgate_provider_queue{capability=\"chat\",route=\"0\"} 0");
    rig.tells("voxgate_provider_in_flight{capability=\"chat\",route=\"0\"} 0");
}

#[tokio::test(start_paused = true)]
async fn where_everybody_is_at_the_limit_it_is_said_at_once_that_nobody_is_free() {
    let rig = Rig::new();
    let only = Service::new(&[Does::Late(1_500, "x")]);
    let pool = rig.chat_on(&[(&only, Terms { at_once: Some(1), ..Terms::default() })]);
    said(&pool).await;
    let all = futures::future::join_all((0..3).map(|_| async {
        let begun = tokio::time::Instant::now();
        (said(&pool).await.1, begun.elapsed().as_millis())
    }));
    assert_eq!(all.await, [(None, 1_500), (None, 3_000), (Some(ErrorKind::Busy), 0)]);
    assert_eq!(only.times(), 3, "the one that nobody had time for was not asked for");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_one_after_the_other_for_longer_than_for_one() {
    let rig = Rig::new();
    let (first, second) = (Service::new(&[Does::Hangs]), Service::new(&[Does::Hangs]));
    let limited = Terms { at_once: Some(1), ..Terms::default() };
    let pool = rig.chat_on(&[(&first, limited), (&second, limited)]);
    let held: Vec<_> = pool.inner.routes.iter().map(|route| route.gate.try_enter(Urgency::Turn).unwrap()).collect();
    let begun = tokio::time::Instant::now();
    assert_eq!(said(&pool).await.1, Some(ErrorKind::Busy));
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    drop(held);
    assert_eq!(pool.kept().views().iter().map(|view| view.in_flight + view.queued).sum::<usize>(), 0);
}

#[tokio::test(start_paused = true)]
async fn speech_that_somebody_listens_to_already_waits_rather_than_breaks_off() {
    let rig = Rig::new();
    let only = Service::new(&[Does::Late(1_500, "x")]);
    let terms = Terms { at_once: Some(1), ..Terms::default() };
    let member = Member { terms, ..Member::plain(Arc::clone(&only) as Arc<dyn Synthesizer>) };
    let pool = Pool::new("tts", vec![member], &rig.parts).unwrap();
    let speak = || pool.speak(SpeechRequest::default()).filter_map(|piece| async { piece.ok() }).count();
    assert_eq!(futures::future::join_all((0..6).map(|_| speak())).await, [1; 6]);
}

#[tokio::test(start_paused = true)]
async fn a_live_turn_goes_before_a_task_that_came_first() {
    let rig = Rig::new();
    let only = Service::new(&[Does::Late(500, "x")]);
    let pool = rig.chat_on(&[(&only, Terms { at_once: Some(1), ..Terms::default() })]);
    let order = Mutex::new(Vec::new());
    let ask = |name: &'static str, urgency| {
        let (mut pieces, order) = (pool.chat(ChatRequest { urgency, ..ChatRequest::default() }), &order);
        async move {
            pieces.next().await.unwrap().unwrap();
            order.lock().unwrap().push(name);
        }
    };
    tokio::join!(
        ask("under way", Urgency::Background),
        ask("task", Urgency::Background),
        ask("greeting", Urgency::Greeting),
        ask("turn", Urgency::Turn),
    );
    assert_eq!(*order.lock().unwrap(), ["under way", "turn", "greeting", "task"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_failed_at_once_is_asked_again_where_there_is_nobody_else() {
    let rig = Rig::new();
    let only = Service::new(&[DOWN, Does::Says(&["Back."])]);
    let pool = rig.chat(&[&only]);
    assert_eq!(timed(&pool).await, (100, "Back.".to_owned()));
    rig.tells("voxgate_provider_retries_total{capability=\"chat\"} 1");
    // and no more often than it is written
    let down = Service::new(&[DOWN]);
    let pool = rig.chat(&[&down]);
    assert_eq!(said(&pool).await, (String::new(), Some(ErrorKind::Unavailable)));
    assert_eq!(down.times(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_would_fail_again_is_not_asked_again() {
    let rig = Rig::new();
    for kind in [ErrorKind::Unauthorized, ErrorKind::BadRequest, ErrorKind::Timeout, ErrorKind::BadAnswer] {
        let only = Service::new(&[Does::Breaks(&[], kind)]);
        assert_eq!(said(&rig.chat(&[&only])).await.1, Some(kind));
        assert_eq!(only.times(), 1, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_first_takes_longer_than_usual_the_next_is_asked_too_and_the_faster_one_is_heard() {
    let rig = Rig::new();
    let usual = [Does::Late(100, "first")];
    let script: Vec<Does> = usual.iter().cycle().take(20).cloned().chain([Does::Late(2_000, "late")]).collect();
    let (first, second) = (Service::new(&script), Service::new(&[Does::Late(50, "second")]));
    let pool = rig.chat(&[&first, &second]);
    for _ in 0..20 {
        assert_eq!(timed(&pool).await, (100, "first".to_owned()));
    }
    assert_eq!(second.times(), 0);
    assert_eq!(timed(&pool).await, (150, "second".to_owned()), "the 95th of a hundred, and 50 ms");
    rig.tells("voxgate_provider_hedges_total{capability=\"chat\",outcome=\"second_won\"} 1");
    rig.tells("voxgate_provider_requests_total{capability=\"chat\",route=\"0\",outcome=\"outrun\"} 1");
    rig.tells("voxgate_provider_left_alone{capability=\"chat\",route=\"0\"} 0");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_share_of_the_requests_is_asked_twice() {
    let rig = Rig::new();
    let script: Vec<Does> = (0..20).map(|_| Does::Late(100, "x")).chain([Does::Late(400, "x")]).collect();
    let (first, second) = (Service::new(&script), Service::new(&[Does::Late(1_000, "x")]));
    let pool = rig.chat(&[&first, &second]);
    for _ in 0..200 {
        said(&pool).await;
    }
    assert!((1..=24).contains(&second.times()), "{} of 200", second.times());
    let off = Rig::with(Settings { hedge: false, ..Settings::default() });
    let (first, second) = (Service::new(&script), Service::new(&[Does::Says(&["x"])]));
    let pool = off.chat(&[&first, &second]);
    for _ in 0..100 {
        said(&pool).await;
    }
    assert_eq!(second.times(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_not_waited_for_alone_and_is_left_alone_when_it_does_so_again() {
    let rig = Rig::new();
    let (first, second) = (Service::new(&[Does::Hangs]), Service::new(&[Does::Says(&["Second."])]));
    let pool = rig.chat(&[&first, &second]);
    assert_eq!(timed(&pool).await, (3_000, "Second.".to_owned()));
    assert_eq!(timed(&pool).await, (3_000, "Second.".to_owned()));
    assert_eq!(timed(&pool).await, (0, "Second.".to_owned()), "it has failed twice");
    rig.tells("voxgate_provider_requests_total{capability=\"chat\",route=\"0\",outcome=\"timeout\"} 2");
    // its try hangs too: that is a failure, and not another try for the next
    pass(10).await;
    assert_eq!(timed(&pool).await, (3_000, "Second.".to_owned()));
    assert_eq!(timed(&pool).await, (0, "Second.".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_still_taken_when_nobody_is_faster() {
    let rig = Rig::new();
    let (first, second) = (Service::new(&[Does::Late(5_000, "First.")]), Service::new(&[Does::Hangs]));
    let pool = rig.chat(&[&first, &second]);
    assert_eq!(timed(&pool).await, (5_000, "First.".to_owned()));
    let (first, second) = (Service::new(&[Does::Late(5_000, "First.")]), Service::new(&[DOWN]));
    let pool = rig.chat(&[&first, &second]);
    assert_eq!(timed(&pool).await, (5_000, "First.".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_back_is_found_before_somebody_has_to_try_it() {
    let rig = Rig::with(Settings { probe_every: Span::secs(2), retries: 0, ..Settings::default() });
    let (first, second) = (Service::new(&[DOWN]), Service::new(&[Does::Says(&["Second."])]));
    let pool = rig.chat(&[&first, &second]);
    let (pools, stop) = (Pools::default(), tokio_util::sync::CancellationToken::new());
    pools.set(vec![pool.kept()], rig.parts.settings.clone());
    let keeper = tokio::spawn(pools.clone().run(stop.clone()));
    said(&pool).await;
    said(&pool).await;
    pass(5).await;
    assert_eq!(said(&pool).await.0, "Second.");
    rig.tells("voxgate_provider_probes_total{capability=\"chat\",outcome=\"failed\"} 2");
    *first.does.lock().unwrap() = [Does::Says(&["First."])].into();
    pass(2).await;
    rig.tells("voxgate_provider_probes_total{capability=\"chat\",outcome=\"answered\"} 1");
    assert_eq!(said(&pool).await.0, "First.");
    assert_eq!(pools.views()[0].standing, Standing::Asked);
    stop.cancel();
    keeper.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_look_that_hangs_holds_nobody_up_when_the_gateway_stops() {
    let rig = Rig::with(Settings { retries: 0, ..Settings::default() });
    let (first, second) = (Service::new(&[DOWN, DOWN, Does::Hangs]), Service::new(&[Does::Says(&["Second."])]));
    let pool = rig.chat(&[&first, &second]);
    let (pools, stop) = (Pools::default(), tokio_util::sync::CancellationToken::new());
    pools.set(vec![pool.kept()], Settings { probe_every: Span::secs(2), ..rig.parts.settings.clone() });
    let keeper = tokio::spawn(pools.run(stop.clone()));
    said(&pool).await;
    said(&pool).await;
    pass(3).await;
    stop.cancel();
    let begun = tokio::time::Instant::now();
    keeper.await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn weights_follow_what_was_measured_within_their_bounds_and_the_view_says_why() {
    let rig = Rig::with(Settings { retries: 0, errors: 1_000, ..Settings::default() });
    let (fast, slow) = (Service::new(&[Does::Late(100, "x")]), Service::new(&[Does::Late(900, "x")]));
    let weight = Terms { weight: Some(10), ..Terms::default() };
    let pool = rig.chat_on(&[(&fast, weight), (&slow, weight)]);
    let pools = Pools::default();
    pools.set(vec![pool.kept()], rig.parts.settings.clone());
    let stop = tokio_util::sync::CancellationToken::new();
    let keeper = tokio::spawn(pools.clone().run(stop.clone()));
    for service in [&fast, &slow] {
        for _ in 0..5 {
            let ticket = &pool.inner.routes[usize::from(Arc::ptr_eq(service, &slow))];
            let took = if Arc::ptr_eq(service, &fast) { 100 } else { 900 };
            ticket.window().first(pool.inner.clock.mono(), Duration::from_millis(took));
        }
    }
    pass(61).await;
    let views = pools.views();
    // 500 ms in the mean: five times as fast counts twice, 900 ms count 0.56
    assert_eq!((views[0].why.latency, views[0].present), (2.0, 20.0));
    assert!((views[1].present - 5.56).abs() < 0.01, "{:?}", views[1]);
    rig.tells("voxgate_provider_weight{capability=\"chat\",route=\"0\"} 20.0");
    stop.cancel();
    keeper.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_services_is_in_their_views() {
    let rig = Rig::with(Settings { retries: 0, ..Settings::default() });
    let (first, second) = (Service::new(&[DOWN]), Service::new(&[Does::Late(200, "x")]));
    let pool = rig.chat(&[&first, &second]);
    for _ in 0..20 {
        said(&pool).await;
    }
    let mut held = pool.chat(ChatRequest::default());
    assert!(futures::FutureExt::now_or_never(held.next()).is_none());
    let views = pool.kept().views();
    assert_eq!((views[0].asked, views[0].failed), (2, 2));
    assert!(matches!(views[0].standing, Standing::LeftAlone(time) if time <= Duration::from_secs(10)));
    let second = &views[1];
    assert_eq!((second.asked, second.failed, second.in_flight), (20, 0, 1));
    assert_eq!((second.p50, second.p95), (Some(Duration::from_millis(200)), Some(Duration::from_millis(200))));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_made_again_goes_on_counting_where_the_one_before_was() {
    let rig = Rig::new();
    let only = Service::new(&[Does::Says(&["x"])]);
    for _ in 0..2 {
        said(&rig.chat(&[&only])).await;
    }
    rig.tells("voxgate_provider_requests_total{capability=\"chat\",route=\"0\",outcome=\"answered\"} 2");
}

#[tokio::test(start_paused = true)]
async fn a_reply_keeps_its_voice_when_a_sentence_takes_longer_than_usual() {
    let rig = Rig::new();
    let script: Vec<Does> = (0..20).map(|_| Does::Late(100, "x")).chain([Does::Late(2_900, "x")]).collect();
    let (first, second) = (Service::new(&script), Service::new(&[Does::Says(&["x"])]));
    let all = [&first, &second].map(|service| Member::plain(Arc::clone(service) as Arc<dyn Synthesizer>)).into();
    let pool = Pool::new("tts", all, &rig.parts).unwrap();
    for _ in 0..21 {
        assert_eq!(pool.speak(SpeechRequest::default()).count().await, 1);
    }
    assert_eq!((first.times(), second.times()), (21, 0));
}
