//! What was asked, said or heard before needs no service: in a whole gateway, whose services count how often they are asked.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::sync::{Semaphore, watch};
use voxgate::admin::{Admin, DeviceChange};
use voxgate::config::Config;
use voxgate::domain::{ControlKind, DeviceId, Downlink, ListenMode, Message, SystemClock};
use voxgate::pipeline::voice::{Providers, Speculate};
use voxgate::provider::pool::{self, Member, Pool, Terms};
use voxgate::provider::{
    ChatModel, ChatPiece, ChatRequest, ChatStream, ErrorKind, Known, PcmChunk, ProviderError, SpeechRequest,
    SpeechStream, Synthesizer, Transcriber, Transcript, Utterance,
};
use voxgate::sim::device::Device;
use voxgate::sim::providers::{FixedTranscriber, ToneSynthesizer};

use gateway::answer::{answer, ask, speak};
use gateway::{PATIENCE, Running, speech};

/// Services that count. The model says what the question wants, and how often it was asked.
#[derive(Default)]
struct Counting {
    heard: AtomicUsize,
    thought: AtomicUsize,
    spoken: Mutex<Vec<String>>,
}

#[async_trait]
impl Transcriber for Counting {
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
        self.heard.fetch_add(1, Ordering::SeqCst);
        FixedTranscriber { words: "why is the sky blue".into(), delay: Duration::ZERO }.transcribe(utterance).await
    }
}

impl ChatModel for Counting {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        let n = self.thought.fetch_add(1, Ordering::SeqCst) + 1;
        let words = request.messages.last().unwrap().content.clone();
        let mut pieces: Vec<Result<ChatPiece, ProviderError>> = vec![Ok(format!("Answer {n}. ").into())];
        match &words {
            words if words.contains("long") => pieces.extend([Ok("And so on and".into()), Ok(ChatPiece::Cut)]),
            words if words.contains("broken") => {
                pieces.push(Err(ProviderError::new(ErrorKind::Internal, "chat", "broke off")));
            }
            words if words.contains("grave") => pieces.push(Ok("A car is coming from behind.".into())),
            words if words.contains("hoarse") => pieces.push(Ok("It will hiss.".into())),
            _ => pieces.push(Ok("That is all.".into())),
        }
        stream::iter(pieces).boxed()
    }
}

impl Synthesizer for Counting {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        self.spoken.lock().unwrap().push(request.text.clone());
        let broken = request.text.contains("hiss");
        let tone = ToneSynthesizer { delay: Duration::ZERO, word_ms: 90 }.speak(request);
        if !broken {
            return tone;
        }
        let error = ProviderError::new(ErrorKind::Internal, "tts", "broke off");
        tone.chain(stream::iter([Err::<PcmChunk, _>(error)])).boxed()
    }
}

impl Counting {
    fn thought(&self) -> usize {
        self.thought.load(Ordering::SeqCst)
    }

    /// How often the answers were spoken; the phrases of the gateway are made at some time, by the same synthesizer.
    fn spoken(&self, part: &str) -> usize {
        self.spoken.lock().unwrap().iter().filter(|text| text.contains(part)).count()
    }
}

/// A service that can be down, with one that stands in for it, as configured ones have it.
#[derive(Default)]
struct Shaky {
    down: AtomicBool,
    own: Counting,
}

impl Shaky {
    fn trouble(&self) -> Option<ProviderError> {
        let down = self.down.load(Ordering::SeqCst);
        down.then(|| ProviderError::new(ErrorKind::Unavailable, "first", "it is down"))
    }

    /// How often it understood, answered, and said the end of an answer.
    fn asked(&self) -> (usize, usize, usize) {
        (self.own.heard.load(Ordering::SeqCst), self.own.thought(), self.own.spoken("That is all"))
    }
}

#[async_trait]
impl Transcriber for Shaky {
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
        match self.trouble() {
            Some(error) => Err(error),
            None => self.own.transcribe(utterance).await,
        }
    }
}

impl ChatModel for Shaky {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        self.trouble().map_or_else(|| self.own.chat(request), |error| stream::iter([Err(error)]).boxed())
    }
}

impl Synthesizer for Shaky {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        self.trouble().map_or_else(|| self.own.speak(request), |error| stream::iter([Err(error)]).boxed())
    }
}

fn parts() -> pool::Parts {
    pool::Parts {
        settings: pool::Settings { errors: 1_000, hedge: false, ..pool::Settings::default() },
        clock: Arc::new(SystemClock),
        random: Arc::new(|| 1 << 31),
        metrics: pool::Metrics::default(),
    }
}

/// Pools of these two, under one name.
fn pooled(first: &Arc<Shaky>, second: &Arc<Shaky>) -> Providers {
    let parts = parts();
    let hears = |service: &Arc<Shaky>| Member::plain(service.clone() as Arc<dyn Transcriber>);
    let thinks = |service: &Arc<Shaky>| Member::plain(service.clone() as Arc<dyn ChatModel>);
    let speaks = |service: &Arc<Shaky>| Member::plain(service.clone() as Arc<dyn Synthesizer>);
    let stt: Arc<dyn Transcriber> = Arc::new(Pool::new("stt", vec![hears(first), hears(second)], &parts).unwrap());
    let chat: Arc<dyn ChatModel> = Arc::new(Pool::new("chat", vec![thinks(first), thinks(second)], &parts).unwrap());
    let tts: Arc<dyn Synthesizer> = Arc::new(Pool::new("tts", vec![speaks(first), speaks(second)], &parts).unwrap());
    Providers {
        transcriber: Arc::new(Known::new(stt, "both".into())),
        chat: Arc::new(Known::new(chat, "both".into())),
        synthesizer: Arc::new(Known::new(tts, "both".into())),
    }
}

/// The services under a name, as configured ones have it.
fn known(counting: &Arc<Counting>, name: &str) -> Providers {
    Providers {
        transcriber: Arc::new(Known::new(counting.clone(), name.into())),
        chat: Arc::new(Known::new(counting.clone(), name.into())),
        synthesizer: Arc::new(Known::new(counting.clone(), name.into())),
    }
}

async fn start() -> (Arc<Counting>, Running) {
    start_with(|_| {}).await
}

async fn start_with(change: impl FnOnce(&mut Config)) -> (Arc<Counting>, Running) {
    let counting = Arc::new(Counting::default());
    let gateway = Running::start_with(known(&counting, "one"), change).await;
    (counting, gateway)
}

/// The reply to the first question of a conversation, once the turn is written down.
async fn first_reply(gateway: &Running, device: &str, words: &str) -> String {
    let mut connected = gateway.device(device).await;
    let reply = ask(&mut connected, words).await.reply;
    gateway.last_turn(device).await;
    reply
}

/// The packets of the answer.
async fn packets(device: &mut Device, words: &str) -> Vec<Bytes> {
    device.control(None, ControlKind::Text(words.to_owned())).await.unwrap();
    let mut packets = Vec::new();
    loop {
        match device.next(PATIENCE, "answer").await.unwrap().downlink {
            Downlink::Audio(frame) => packets.push(frame.packet),
            Downlink::Control { message: Message::TtsStop { .. }, .. } => return packets,
            Downlink::Control { .. } => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_first_question_asks_no_model_and_the_record_says_so() {
    let (counting, gateway) = start().await;
    assert_eq!(first_reply(&gateway, "a", "Why is the sky blue?").await, "Answer 1. That is all.");
    assert_eq!(first_reply(&gateway, "b", "why is  the sky BLUE").await, "Answer 1. That is all.");
    assert_eq!(counting.thought(), 1);
    let (first, second) = (gateway.last_turn("a").await, gateway.last_turn("b").await);
    assert_eq!((first["cached"].as_str(), second["cached"].as_str()), (None, Some("exact")));
    assert_eq!((second["outcome"].as_str(), second["reply"].as_str()), (Some("answered"), first["reply"].as_str()));
    assert!(second["stages_ms"]["first_token"].is_number() && second["stages_ms"]["first_audio"].is_number());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_midst_of_a_conversation_the_model_is_asked() {
    let (_, gateway) = start().await;
    let mut device = gateway.device("a").await;
    for n in 1..=3 {
        ask(&mut device, "why is the sky blue").await.must_be(&format!("Answer {n}. That is all."));
    }
    assert_eq!(first_reply(&gateway, "b", "why is the sky blue").await, "Answer 1. That is all.");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_personal_cut_broken_or_grave_is_thought_about_each_time() {
    let (counting, gateway) = start().await;
    let asked = [
        "where do I live",
        "why is the sky blue now",
        "why is pi long",
        "why is glass broken",
        "why is it grave to jump",
    ];
    for (n, words) in asked.iter().enumerate() {
        for device in ["a", "b"] {
            first_reply(&gateway, &format!("{device}{n}"), words).await;
        }
        assert_eq!(counting.thought(), 2 * (n + 1), "{words}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_instructions_or_another_language_are_another_question() {
    let (counting, gateway) = start().await;
    first_reply(&gateway, "a", "why is the sky blue").await;
    let id = |name: &str| DeviceId::parse(name).unwrap();
    let pirate = DeviceChange { prompt: Some("You are a pirate.".into()), ..DeviceChange::of(id("b")) };
    let american = DeviceChange { language: Some("en-US".into()), ..DeviceChange::of(id("c")) };
    for (change, asked) in [(pirate, 2), (american, 3)] {
        let name = change.device.to_string();
        gateway.add(&name, false).await;
        gateway.operators().device_set(change).await.unwrap();
        let mut device = gateway.connect(&name).await;
        ask(&mut device, "why is the sky blue").await;
        assert_eq!(counting.thought(), asked, "{name}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_needs_no_synthesizer_and_sounds_the_same_also_after_a_restart() {
    let (counting, gateway) = start().await;
    let mut device = gateway.device("a").await;
    let first = packets(&mut device, "why is the sky blue").await;
    assert!(first.len() > 4, "{}", first.len());
    let mut device = gateway.device("b").await;
    assert_eq!(packets(&mut device, "why is the sky blue").await, first);
    assert_eq!(counting.spoken("That is all"), 1);
    let gateway = gateway.restart().await;
    let mut device = gateway.connect("b").await;
    // the answer is thought again, with another number: what is left of it is known
    packets(&mut device, "why is the grass green").await;
    assert_eq!((counting.thought(), counting.spoken("That is all")), (2, 1));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_voice_or_another_service_says_it_itself() {
    let (counting, gateway) = start().await;
    first_reply(&gateway, "a", "why is the sky blue").await;
    gateway.add("b", false).await;
    let onyx = DeviceChange { voice: Some("onyx".into()), ..DeviceChange::of(DeviceId::parse("b").unwrap()) };
    gateway.operators().device_set(onyx).await.unwrap();
    ask(&mut gateway.connect("b").await, "why is the sky blue").await;
    assert_eq!((counting.thought(), counting.spoken("That is all")), (1, 2));
    // the same folder, another service
    let (dir, config) = gateway.put_away().await;
    let gateway = Running::start_in(dir, Box::new(config), known(&counting, "two")).await;
    ask(&mut gateway.connect("a").await, "why is the grass green").await;
    assert_eq!(counting.spoken("That is all"), 3);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clause_whose_synthesis_broke_off_is_made_again() {
    let (counting, gateway) = start().await;
    for device in ["a", "b"] {
        first_reply(&gateway, device, "why are ravens hoarse").await;
    }
    assert_eq!((counting.spoken("It will hiss"), counting.spoken("Answer 1")), (2, 1));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_samples_are_transcribed_once() {
    let (counting, gateway) = start().await;
    for name in ["a", "b"] {
        let mut device = gateway.device(name).await;
        speak(&mut device, &speech(), ListenMode::Manual).await;
        let said = answer(&mut device).await;
        assert_eq!(said.heard.as_deref(), Some("why is the sky blue"));
        said.must_be("Answer 1. That is all.");
    }
    assert_eq!((counting.heard.load(Ordering::SeqCst), counting.thought()), (1, 1));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_answered_in_need_is_not_heard_again_when_the_first_is_back() {
    let (first, second) = (Arc::new(Shaky::default()), Arc::new(Shaky::default()));
    first.down.store(true, Ordering::SeqCst);
    let phrase = "Let me think.".to_owned();
    let gateway =
        Running::start_with(pooled(&first, &second), |config| config.cache.speech.phrases = vec![phrase]).await;
    let turn = async |name: &str| {
        let mut device = gateway.device(name).await;
        speak(&mut device, &speech(), ListenMode::Manual).await;
        answer(&mut device).await.must_be("Answer 1. That is all.");
        gateway.last_turn(name).await;
    };
    turn("a").await;
    assert_eq!((first.asked(), second.asked()), ((0, 0, 0), (1, 1, 1)));
    assert_eq!(gateway.operators().cache_warm().await.unwrap().failed, 1);
    assert_eq!(second.own.spoken("Let me think"), 0, "nobody is asked for what would not be kept");
    first.down.store(false, Ordering::SeqCst);
    turn("b").await;
    assert_eq!((first.asked(), second.asked()), ((1, 1, 1), (1, 1, 1)), "the first is asked, and its voice is heard");
    turn("c").await;
    assert_eq!((first.asked(), second.asked()), ((1, 1, 1), (1, 1, 1)), "what it said is kept");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_not_asked_ahead_of_the_turn_either() {
    let (counting, gateway) = start_with(|config| config.voice.reply.speculate = Speculate::Chat).await;
    first_reply(&gateway, "a", "why is the sky blue").await;
    let mut device = gateway.device("b").await;
    device.control(None, ControlKind::ListenStart { mode: Some(ListenMode::Manual), n: None }).await.unwrap();
    let script = speech();
    // and seven frames of silence: a likely end
    for n in 0..script.frames.len() + 7 {
        device.audio(script.frame(n)).await.unwrap();
    }
    gateway.counted("voxgate_turn_ahead_total", &[("stage", "chat"), ("result", "known")], 1).await;
    device.control(None, ControlKind::ListenStop).await.unwrap();
    answer(&mut device).await.must_be("Answer 1. That is all.");
    assert_eq!(gateway.last_turn("b").await["cached"].as_str(), Some("exact"));
    assert_eq!(counting.thought(), 1, "the model was asked by the first device alone");
    let chat =
        async |result| gateway.metric("voxgate_cache_lookups_total", &[("cache", "chat"), ("result", result)]).await;
    assert_eq!((chat("exact").await, chat("miss").await), (1, 1), "to look ahead is no look-up");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_nobody_knows_are_asked_each_time() {
    let counting = Arc::new(Counting::default());
    let unknown = Providers { transcriber: counting.clone(), chat: counting.clone(), synthesizer: counting.clone() };
    let gateway = Running::start(unknown).await;
    for device in ["a", "b"] {
        first_reply(&gateway, device, "why is the sky blue").await;
    }
    assert_eq!((counting.thought(), counting.spoken("That is all")), (2, 2));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_nothing_is_kept() {
    let (counting, gateway) = start_with(|config| {
        config.cache.chat.exact = false;
        config.cache.speech.enabled = false;
        config.cache.transcripts.enabled = false;
    })
    .await;
    for name in ["a", "b"] {
        let mut device = gateway.device(name).await;
        speak(&mut device, &speech(), ListenMode::Manual).await;
        answer(&mut device).await;
    }
    assert_eq!((counting.heard.load(Ordering::SeqCst), counting.thought(), counting.spoken("That is all")), (2, 2, 2));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn phrases_are_made_ahead_in_the_voice_of_the_gateway_and_in_those_of_devices() {
    let phrase = "Let me think. That is a good question.";
    let (counting, gateway) = start_with(|config| config.cache.speech.phrases = vec![phrase.into()]).await;
    gateway.add("b", false).await;
    let onyx = DeviceChange { voice: Some("onyx".into()), ..DeviceChange::of(DeviceId::parse("b").unwrap()) };
    gateway.operators().device_set(onyx).await.unwrap();
    let warmed = gateway.operators().cache_warm().await.unwrap();
    assert_eq!(warmed.failed, 0);
    assert_eq!((counting.spoken("Let me think."), counting.spoken("That is a good question.")), (2, 2));
    let again = gateway.operators().cache_warm().await.unwrap();
    assert_eq!((again.made, again.there), (0, 4));
    gateway.stop().await;
}

/// A voice that begins each clause when it is let, and writes down in which order it was asked.
struct Gated {
    asked: watch::Sender<Vec<String>>,
    passes: Arc<Semaphore>,
}

impl Synthesizer for Gated {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        self.asked.send_modify(|asked| asked.push(request.text.clone()));
        let passes = Arc::clone(&self.passes);
        let tone = ToneSynthesizer { delay: Duration::ZERO, word_ms: 60 }.speak(request);
        let opened = async move {
            passes.acquire().await.unwrap().forget();
            tone
        };
        stream::once(opened).flatten().boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_turn_is_spoken_before_a_greeting_and_that_before_all_that_is_made_ahead() {
    let gated = Arc::new(Gated { asked: watch::Sender::default(), passes: Arc::new(Semaphore::new(0)) });
    let terms = Terms { at_once: Some(1), ..Terms::default() };
    let member = Member { terms, ..Member::plain(gated.clone() as Arc<dyn Synthesizer>) };
    let pool = Pool::new("tts", vec![member], &parts()).unwrap();
    let kept = pool.kept();
    let waiting = async |count: usize| {
        let all = async {
            while kept.views()[0].queued < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("they wait");
    };
    let tts: Arc<dyn Synthesizer> = Arc::new(pool);
    let synthesizer = Arc::new(Known::new(tts, "one".into()));
    let providers = Providers { synthesizer, ..gateway::chat(&["It is blue."]) };
    let gateway =
        Running::start_with(providers, |config| config.cache.speech.phrases = vec!["Let me think.".into()]).await;
    // the apology and its like, and the phrases of the cache: one has the slot, one waits
    waiting(1).await;
    let (mut speaker, mut woken) = (gateway.device("a").await, gateway.device("b").await);
    gateway.operators().say(DeviceId::parse("b").unwrap(), "Yes?".into()).await.unwrap();
    waiting(2).await;
    speaker.control(None, ControlKind::Text("why is the sky blue".into())).await.unwrap();
    waiting(3).await;
    gated.passes.add_permits(1_000);
    assert!(answer(&mut speaker).await.spoken && answer(&mut woken).await.spoken);
    let mut asked = gated.asked.subscribe();
    let asked = asked.wait_for(|asked| asked.iter().any(|text| text == "Let me think.")).await.unwrap().clone();
    assert_eq!(asked[1..3], ["It is blue.", "Yes?"], "{asked:?}");
    gateway.stop().await;
}

/// Prints how long a cached answer takes to its first frame at the link, from the arrival of the question.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: on a quiet machine, cargo test --release --test caches -- --ignored --nocapture"]
async fn how_soon_a_cached_answer_is_heard() {
    let (counting, gateway) = start().await;
    first_reply(&gateway, "first", "why is the sky blue").await;
    let mut took = Vec::new();
    for n in 0..200 {
        let device = format!("d{n}");
        first_reply(&gateway, &device, "why is the sky blue").await;
        took.push(gateway.last_turn(&device).await["stages_ms"]["first_audio"].as_f64().unwrap());
    }
    assert_eq!((counting.thought(), counting.spoken("That is all")), (1, 1), "all from memory");
    took.sort_by(f64::total_cmp);
    println!("question to first frame, cached, ms: p50 {:.2}, p99 {:.2}, most {:.2}", took[100], took[198], took[199]);
    assert!(took[198] <= 20.0, "{took:?}");
    gateway.stop().await;
}
