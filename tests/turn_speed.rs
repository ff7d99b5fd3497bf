//! What makes turns quick: what is done before they are over, speech ahead of what is played, prompts that begin alike. Whole
//! gateways whose providers count and can be held.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use tokio::sync::{Semaphore, watch};
use voxgate::domain::{ControlKind, Downlink, ListenMode, Message, StopReason};
use voxgate::pipeline::voice::{Providers, Speculate};
use voxgate::provider::{
    ChatMessage, ChatModel, ChatRequest, ChatStream, ErrorKind, PcmChunk, ProviderError, SpeechRequest, SpeechStream,
    Synthesizer, Transcriber, Transcript, Urgency, Utterance,
};
use voxgate::sim::bench::voice;
use voxgate::sim::device::Device;
use voxgate::sim::providers::ToneSynthesizer;
use voxgate::sim::script::Script;

use gateway::{PATIENCE, Running, until};

const AHEAD: &str = "voxgate_turn_ahead_total";

/// What the providers were asked.
#[derive(Debug, Clone, Default)]
struct Count {
    /// Lengths of the utterances that were transcribed, ms.
    heard: Vec<usize>,
    /// Transcriptions that run now, and most at once.
    running: usize,
    most: usize,
    /// Questions to the chat model: their last line.
    asked: Vec<String>,
    /// Answers that are wanted no more, or are whole.
    answers_over: usize,
}

/// Providers that count; a transcription, and an answer, need a pass.
struct Counting {
    count: watch::Sender<Count>,
    transcripts: Semaphore,
    answers: Arc<Semaphore>,
    words: &'static str,
    fail_first: bool,
}

/// Open doors: as many passes as anybody needs.
const OPEN: usize = 1_000;

impl Counting {
    fn with(words: &'static str, transcripts: usize, answers: usize) -> Arc<Self> {
        Arc::new(Self {
            count: watch::Sender::default(),
            transcripts: Semaphore::new(transcripts),
            answers: Arc::new(Semaphore::new(answers)),
            words,
            fail_first: false,
        })
    }

    fn providers(self: &Arc<Self>) -> Providers {
        Providers {
            transcriber: Arc::clone(self) as _,
            chat: Arc::clone(self) as _,
            synthesizer: Arc::new(ToneSynthesizer { delay: Duration::ZERO, word_ms: 60 }),
        }
    }

    fn now(&self) -> Count {
        self.count.borrow().clone()
    }

    async fn until(&self, what: impl FnMut(&Count) -> bool) {
        let mut seen = self.count.subscribe();
        let waited = tokio::time::timeout(PATIENCE, seen.wait_for(what)).await;
        assert!(waited.is_ok(), "{:?}", self.now());
    }
}

/// One transcription that runs.
struct Transcribing<'a>(&'a Counting);

impl Drop for Transcribing<'_> {
    fn drop(&mut self) {
        self.0.count.send_modify(|count| count.running -= 1);
    }
}

#[async_trait]
impl Transcriber for Counting {
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
        self.count.send_modify(|count| {
            count.heard.push(utterance.pcm.len() / 16);
            count.running += 1;
            count.most = count.most.max(count.running);
        });
        let running = Transcribing(self);
        self.transcripts.acquire().await.unwrap().forget();
        drop(running);
        if self.fail_first && self.now().heard.len() == 1 {
            return Err(ProviderError::new(ErrorKind::Unavailable, "test", "away"));
        }
        Ok(Transcript { text: self.words.to_owned(), ..Transcript::default() })
    }
}

struct Answering(watch::Sender<Count>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.send_modify(|count| count.answers_over += 1);
    }
}

impl ChatModel for Counting {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        let question = request.messages.last().map(|message| message.content.clone()).unwrap_or_default();
        self.count.send_modify(|count| count.asked.push(question));
        let (passes, answering) = (Arc::clone(&self.answers), Answering(self.count.clone()));
        stream::once(async move {
            passes.acquire().await.unwrap().forget();
            drop(answering);
            Ok("It is blue.".into())
        })
        .boxed()
    }
}

/// A second of speech, 420 ms of silence, a second of speech: and the frame at which the second begins.
fn with_a_pause() -> (Script, usize) {
    let second = voice(Duration::from_secs(1));
    let pcm = [second.clone(), vec![0; 420 * 16], second].concat();
    let script = Script::from_pcm(&pcm, "with a pause").unwrap();
    (script, 1_420 / 60)
}

async fn send(device: &mut Device, script: &Script, frames: std::ops::Range<usize>) {
    for n in frames {
        device.audio(script.frame(n)).await.unwrap();
    }
}

async fn listen(device: &mut Device, mode: ListenMode) {
    device.control(None, ControlKind::ListenStart { mode: Some(mode), n: None }).await.unwrap();
}

async fn reply(device: &mut Device) -> String {
    let told = until(device, |downlink| matches!(downlink, Downlink::Control { message: Message::Reply { .. }, .. }));
    match told.await {
        Downlink::Control { message: Message::Reply { text }, .. } => text,
        _ => unreachable!(),
    }
}

async fn start(providers: &Arc<Counting>, speculate: Speculate) -> Running {
    Running::start_with(providers.providers(), |config| config.voice.reply.speculate = speculate).await
}

async fn counts(gateway: &Running, stage: &str) -> [u64; 3] {
    let mut counts = [0; 3];
    for (count, result) in counts.iter_mut().zip(["started", "used", "dropped"]) {
        *count = gateway.metric(AHEAD, &[("stage", stage), ("result", result)]).await;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn the_button_is_let_go_after_a_pause_and_the_transcript_is_there_already() {
    let providers = Counting::with("why is the sky blue", OPEN, OPEN);
    let gateway = start(&providers, Speculate::Transcribe).await;
    let mut device = gateway.device("cane-1").await;
    let (script, middle) = with_a_pause();
    listen(&mut device, ListenMode::Manual).await;
    send(&mut device, &script, 0..middle).await;
    providers.until(|count| count.heard.len() == 1 && count.running == 0).await;
    assert_eq!(providers.now().asked, [""; 0], "nobody asks before the words are all there");
    device.control(None, ControlKind::ListenStop).await.unwrap();
    assert_eq!(reply(&mut device).await, "It is blue.");
    assert_eq!(providers.now().heard.len(), 1, "once is enough");
    assert_eq!(gateway.last_turn("cane-1").await["transcript"], "why is the sky blue");
    assert_eq!(counts(&gateway, "transcribe").await, [1, 1, 0]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_that_goes_on_is_transcribed_whole_and_never_twice_at_once() {
    for mode in [ListenMode::Manual, ListenMode::Auto] {
        let providers = Counting::with("why is the sky blue", 0, OPEN);
        let gateway = start(&providers, Speculate::Chat).await;
        let mut device = gateway.device("cane-1").await;
        let (script, middle) = with_a_pause();
        listen(&mut device, mode).await;
        send(&mut device, &script, 0..middle).await;
        providers.until(|count| count.heard.len() == 1).await;
        send(&mut device, &script, middle..script.frames.len()).await;
        // the half that is being transcribed is wanted no more
        providers.until(|count| count.running == 0).await;
        providers.transcripts.add_permits(OPEN);
        send(&mut device, &script, script.frames.len()..script.frames.len() + 10).await;
        providers.until(|count| count.heard.len() == 2 && count.running == 0).await;
        if mode == ListenMode::Manual {
            device.control(None, ControlKind::ListenStop).await.unwrap();
        }
        assert_eq!(reply(&mut device).await, "It is blue.", "{mode:?}");
        let count = providers.now();
        assert!(count.heard[1] > count.heard[0] + 1_200, "{mode:?} {:?}", count.heard);
        assert_eq!((count.heard.len(), count.most), (2, 1), "{mode:?}");
        assert_eq!(counts(&gateway, "transcribe").await, [2, 1, 1], "{mode:?}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chat_model_is_asked_ahead_and_not_a_word_of_it_is_said_before_the_end() {
    let providers = Counting::with("why is the sky blue", OPEN, OPEN);
    let gateway = start(&providers, Speculate::Chat).await;
    let mut device = gateway.device("cane-1").await;
    let (script, middle) = with_a_pause();
    listen(&mut device, ListenMode::Manual).await;
    send(&mut device, &script, 0..middle).await;
    providers.until(|count| count.answers_over == 1).await;
    // what the device is told of before its next word is nothing: a heartbeat is all that is answered
    device.control(None, ControlKind::Heartbeat).await.unwrap();
    assert!(device.try_next().is_none());
    device.control(None, ControlKind::ListenStop).await.unwrap();
    let first = device.next(PATIENCE, "transcript").await.unwrap().downlink;
    assert!(
        matches!(&first, Downlink::Control { message: Message::Stt { text, .. }, .. } if text == "why is the sky blue"),
        "{first:?}"
    );
    assert_eq!(reply(&mut device).await, "It is blue.");
    assert_eq!(providers.now().asked, ["why is the sky blue"]);
    assert_eq!(counts(&gateway, "chat").await, [1, 1, 0]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_half_a_question_is_never_heard() {
    let providers = Counting::with("why is the sky blue", OPEN, 0);
    let gateway = start(&providers, Speculate::Chat).await;
    let mut device = gateway.device("cane-1").await;
    let (script, middle) = with_a_pause();
    listen(&mut device, ListenMode::Auto).await;
    send(&mut device, &script, 0..middle).await;
    providers.until(|count| count.asked.len() == 1).await;
    send(&mut device, &script, middle..script.frames.len() + 5).await;
    providers.until(|count| count.answers_over == 1 && count.asked.len() == 2).await;
    providers.answers.add_permits(OPEN);
    send(&mut device, &script, script.frames.len() + 5..script.frames.len() + 20).await;
    assert_eq!(reply(&mut device).await, "It is blue.");
    assert_eq!(providers.now().asked.len(), 2);
    assert_eq!(counts(&gateway, "chat").await, [2, 1, 1]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_without_a_model_asks_none_ahead_either() {
    let providers = Counting::with("what is 2 plus 2", OPEN, OPEN);
    let gateway = start(&providers, Speculate::Chat).await;
    let mut device = gateway.device("cane-1").await;
    let (script, middle) = with_a_pause();
    listen(&mut device, ListenMode::Manual).await;
    send(&mut device, &script, 0..middle).await;
    providers.until(|count| count.heard.len() == 1 && count.running == 0).await;
    device.control(None, ControlKind::ListenStop).await.unwrap();
    assert!(reply(&mut device).await.contains('4'));
    assert_eq!(providers.now().asked, [""; 0]);
    assert_eq!(counts(&gateway, "chat").await, [0, 0, 0]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_interrupts_an_answer_is_answered_with_the_conversation_as_it_is_then() {
    let providers = Counting::with("why is the sky blue", OPEN, OPEN);
    let gateway = start(&providers, Speculate::Chat).await;
    let mut device = gateway.device("cane-1").await;
    let (script, middle) = with_a_pause();
    let silence = script.frames.len();
    // nobody speaks faster than this, and the door knows it
    let mut pace = tokio::time::interval(Duration::from_millis(60));
    listen(&mut device, ListenMode::Realtime).await;
    for turn in 1..=2 {
        for n in (0..middle).chain(silence..silence + 10) {
            pace.tick().await;
            send(&mut device, &script, n..n + 1).await;
            if n == silence {
                providers.until(|count| count.answers_over == turn).await;
            }
        }
        assert_eq!(reply(&mut device).await, "It is blue.");
    }
    let count = providers.now();
    assert_eq!((count.heard.len(), count.asked.len(), count.most), (2, 2, 1));
    assert_eq!(counts(&gateway, "chat").await[1], 2, "both were taken over");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_leaves_leaves_nothing_running() {
    let providers = Counting::with("why is the sky blue", 0, OPEN);
    let gateway = start(&providers, Speculate::Chat).await;
    let mut device = gateway.device("cane-1").await;
    let (script, middle) = with_a_pause();
    listen(&mut device, ListenMode::Manual).await;
    send(&mut device, &script, 0..middle).await;
    providers.until(|count| count.running == 1).await;
    device.disconnect().await;
    providers.until(|count| count.running == 0).await;
    assert_eq!(counts(&gateway, "transcribe").await, [1, 0, 1]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_in_the_pause_drops_what_was_begun() {
    let providers = Counting::with("why is the sky blue", 0, OPEN);
    let gateway = start(&providers, Speculate::Transcribe).await;
    let mut device = gateway.device("cane-1").await;
    let (script, middle) = with_a_pause();
    listen(&mut device, ListenMode::Manual).await;
    send(&mut device, &script, 0..middle).await;
    providers.until(|count| count.running == 1).await;
    device.control(None, ControlKind::Abort { reason: None }).await.unwrap();
    providers.until(|count| count.running == 0).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_nothing_is_begun_before_the_end() {
    let providers = Counting::with("why is the sky blue", OPEN, OPEN);
    let gateway = start(&providers, Speculate::Off).await;
    let mut device = gateway.device("cane-1").await;
    let (script, middle) = with_a_pause();
    listen(&mut device, ListenMode::Manual).await;
    send(&mut device, &script, 0..script.frames.len()).await;
    device.control(None, ControlKind::ListenStop).await.unwrap();
    assert_eq!(reply(&mut device).await, "It is blue.");
    assert!(middle > 0 && providers.now().heard.len() == 1);
    assert_eq!(counts(&gateway, "transcribe").await, [0, 0, 0]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_ahead_is_asked_again_by_the_turn() {
    let mut providers = Counting::with("why is the sky blue", OPEN, OPEN);
    Arc::get_mut(&mut providers).unwrap().fail_first = true;
    let gateway = start(&providers, Speculate::Transcribe).await;
    let mut device = gateway.device("cane-1").await;
    let (script, middle) = with_a_pause();
    listen(&mut device, ListenMode::Manual).await;
    send(&mut device, &script, 0..middle).await;
    providers.until(|count| count.heard.len() == 1 && count.running == 0).await;
    device.control(None, ControlKind::ListenStop).await.unwrap();
    assert_eq!(reply(&mut device).await, "It is blue.");
    assert_eq!(providers.now().heard.len(), 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_done_ahead_than_is_allowed_and_live_turns_do_not_wait_for_it() {
    let providers = Counting::with("why is the sky blue", 0, OPEN);
    let gateway = Running::start_with(providers.providers(), |config| {
        config.voice.reply.speculate = Speculate::Transcribe;
        config.voice.reply.speculate_at_once = 1;
    })
    .await;
    let (mut first, mut second) = (gateway.device("cane-1").await, gateway.device("cane-2").await);
    let (script, middle) = with_a_pause();
    listen(&mut first, ListenMode::Manual).await;
    send(&mut first, &script, 0..middle).await;
    providers.until(|count| count.running == 1).await;
    listen(&mut second, ListenMode::Manual).await;
    send(&mut second, &script, 0..middle).await;
    gateway.counted(AHEAD, &[("stage", "transcribe"), ("result", "busy")], 1).await;
    assert_eq!(providers.now().heard.len(), 1);
    second.control(None, ControlKind::ListenStop).await.unwrap();
    providers.until(|count| count.running == 2).await;
    providers.transcripts.add_permits(OPEN);
    assert_eq!(reply(&mut second).await, "It is blue.");
    gateway.stop().await;
}

/// Speaks each clause in pieces, each of which needs a pass; writes down what begins and ends.
struct Slow {
    heard: watch::Sender<Vec<String>>,
    passes: Arc<Semaphore>,
}

impl Slow {
    fn new() -> Arc<Self> {
        Arc::new(Self { heard: watch::Sender::default(), passes: Arc::new(Semaphore::new(0)) })
    }

    async fn until(&self, count: usize) -> Vec<String> {
        let mut seen = self.heard.subscribe();
        let waited = tokio::time::timeout(PATIENCE, seen.wait_for(|heard| heard.len() >= count)).await;
        assert!(waited.is_ok(), "{:?}", self.heard.borrow());
        self.heard.borrow().clone()
    }
}

/// Writes down that somebody is done with a clause, however that came.
struct Over(watch::Sender<Vec<String>>, String);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.send_modify(|heard| heard.push(format!("over {}", self.1)));
    }
}

impl Synthesizer for Slow {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        if request.urgency != Urgency::Turn {
            // what is made ahead of any turn is not what is looked at
            return stream::pending().boxed();
        }
        let word = request.text.split_whitespace().next().unwrap_or_default().to_owned();
        self.heard.send_modify(|heard| heard.push(format!("ask {word}")));
        let over = Over(self.heard.clone(), word);
        let passes = Arc::clone(&self.passes);
        stream::unfold((0, over), move |(piece, over)| {
            let passes = Arc::clone(&passes);
            async move {
                passes.acquire().await.unwrap().forget();
                (piece < 2).then(|| {
                    (Ok(PcmChunk { rate: 24_000, samples: vec![500; 2_880], ..PcmChunk::default() }), (piece + 1, over))
                })
            }
        })
        .boxed()
    }
}

fn four_sentences(slow: &Arc<Slow>) -> Providers {
    Providers {
        synthesizer: Arc::clone(slow) as _,
        ..gateway::chat(&["One is said. ", "Two is said. ", "Three is said. ", "Four is said."])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_sentence_is_asked_for_while_this_one_still_comes_and_no_third() {
    let slow = Slow::new();
    let gateway = Running::start(four_sentences(&slow)).await;
    let mut device = gateway.device("cane-1").await;
    device.control(None, ControlKind::Text("count".into())).await.unwrap();
    assert_eq!(slow.until(2).await, ["ask One", "ask Two"], "neither has said a word yet");
    slow.passes.add_permits(OPEN);
    let heard = slow.until(8).await;
    let at = |what: &str| heard.iter().position(|heard| heard == what).unwrap();
    assert!(at("over One") < at("ask Three") && at("over Two") < at("ask Four"), "{heard:?}");
    let told =
        until(&mut device, |downlink| matches!(downlink, Downlink::Control { message: Message::TtsStop { .. }, .. }));
    told.await;
    assert_eq!(
        gateway.last_turn("cane-1").await["frames"],
        17,
        "in all 960 ms of speech, and what the codec looks ahead"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_drops_what_is_asked_for_ahead() {
    let slow = Slow::new();
    let gateway = Running::start(four_sentences(&slow)).await;
    let mut device = gateway.device("cane-1").await;
    device.control(None, ControlKind::Text("count".into())).await.unwrap();
    slow.until(2).await;
    device.control(None, ControlKind::Abort { reason: None }).await.unwrap();
    let mut heard = slow.until(4).await.split_off(2);
    heard.sort();
    assert_eq!(heard, ["over One", "over Two"]);
    gateway.stop().await;
}

/// Keeps every conversation that it is told.
struct Told(watch::Sender<Vec<Vec<ChatMessage>>>);

impl ChatModel for Told {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        self.0.send_modify(|told| told.push(request.messages));
        stream::iter([Ok("That is how it is, as everybody knows.".into())]).boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_prompt_begins_with_the_whole_of_the_one_before() {
    let told = Arc::new(Told(watch::Sender::default()));
    let gateway = Running::start_with(gateway::with_chat(Arc::clone(&told) as _), |config| {
        config.session.history_tokens = 160;
    })
    .await;
    let mut device = gateway.device("cane-1").await;
    for turn in 0..24 {
        device.control(None, ControlKind::Text(format!("tell me of thing number {turn}"))).await.unwrap();
        reply(&mut device).await;
        until(&mut device, |d| matches!(d, Downlink::Control { message: Message::TtsStop { .. }, .. })).await;
    }
    let told = told.0.borrow().clone();
    assert_eq!(told.len(), 24);
    let anew = told.windows(2).filter(|pair| !pair[1].starts_with(&pair[0])).count();
    assert!((1..=6).contains(&anew), "{anew} of 23 prompts begin anew");
    assert!(told[1..6].iter().zip(&told).all(|(next, one)| next.starts_with(one)), "within the budget none does");
    gateway.stop().await;
}

/// Somebody says something short into an answer of some seconds; why the answer stopped.
async fn said_into_an_answer(
    words: &'static str,
    seconds: u64,
    change: impl FnOnce(&mut voxgate::config::Config),
) -> (StopReason, u64) {
    let providers = Counting::with(words, OPEN, OPEN);
    let answer: Vec<&str> = std::iter::repeat_n("many words follow each other here. ", 12).collect();
    let providers = Providers { transcriber: providers as _, ..gateway::chat(&answer) };
    let gateway = Running::start_with(providers, change).await;
    let mut device = gateway.device("cane-1").await;
    let script = Script::from_pcm(&voice(Duration::from_secs(seconds)), "said into it").unwrap();
    listen(&mut device, ListenMode::Realtime).await;
    device.control(None, ControlKind::Text("talk".into())).await.unwrap();
    until(&mut device, |downlink| matches!(downlink, Downlink::Audio(_))).await;
    let mut pace = tokio::time::interval(Duration::from_millis(60));
    for n in 0..script.frames.len() + 17 {
        pace.tick().await;
        send(&mut device, &script, n..n + 1).await;
    }
    let stop = until(&mut device, |d| matches!(d, Downlink::Control { message: Message::TtsStop { .. }, .. })).await;
    let Downlink::Control { message: Message::TtsStop { reason, .. }, .. } = stop else { unreachable!() };
    let asides = gateway.metric("voxgate_said_aside_total", &[]).await;
    gateway.stop().await;
    (reason, asides)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_mhm_leaves_the_answer_alone_and_a_short_stop_does_not() {
    let as_it_is = |_: &mut voxgate::config::Config| {};
    assert_eq!(said_into_an_answer("Mhm.", 1, as_it_is).await, (StopReason::Done, 1));
    assert_eq!(said_into_an_answer("\u{55ef}\u{55ef}\u{3002}", 1, as_it_is).await, (StopReason::Done, 1));
    assert_eq!(said_into_an_answer("Stop it.", 1, as_it_is).await, (StopReason::Abort, 0));
    assert_eq!(said_into_an_answer("Mhm.", 2, as_it_is).await, (StopReason::BargeIn, 0));
    let none = |config: &mut voxgate::config::Config| config.voice.reply.backchannels.clear();
    assert_eq!(said_into_an_answer("Mhm.", 1, none).await, (StopReason::Abort, 0));
}
