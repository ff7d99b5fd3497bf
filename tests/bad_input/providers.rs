//! Services that fail, hang, or have nothing to say.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use voxgate::domain::{ControlKind, Downlink, ListenMode, Message, Span};
use voxgate::pipeline::voice::Providers;
use voxgate::provider::{
    ChatModel, ChatRequest, ChatStream, ErrorKind, ProviderError, SpeechRequest, SpeechStream, Synthesizer,
    Transcriber, Transcript, Utterance,
};
use voxgate::sim::bench::voice;
use voxgate::sim::providers::{FixedTranscriber, ToneSynthesizer};
use voxgate::sim::script::Script;

use crate::gateway::answer::{Answer, answer, ask, speak};
use crate::gateway::{Running, chat, speech, until, with_chat};

const FAILURES: &str = "voxgate_turn_failures_total";
const SECRET: &str = "secret of the vendor";

/// How a service treats what is meant for it; all else it does as it should.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Fails,
    Hangs,
}

impl Mood {
    async fn spoil(self) -> ProviderError {
        match self {
            Mood::Fails => ProviderError::new(ErrorKind::Internal, "test", SECRET),
            Mood::Hangs => std::future::pending().await,
        }
    }
}

/// Spoils utterances of more than two seconds.
struct Ears(Mood);

#[async_trait]
impl Transcriber for Ears {
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
        if utterance.pcm.len() > 32_000 {
            return Err(self.0.spoil().await);
        }
        FixedTranscriber { words: "why is the sky blue".into(), delay: Duration::ZERO }.transcribe(utterance).await
    }
}

/// Spoils what has the word `break` in it.
struct Mouth(Mood);

impl Synthesizer for Mouth {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        if request.text.contains("break") {
            let mood = self.0;
            return stream::once(async move { Err(mood.spoil().await) }).boxed();
        }
        ToneSynthesizer { delay: Duration::ZERO, word_ms: 60 }.speak(request)
    }
}

/// Echoes; spoils what has the word `stumble` in it after its first piece.
struct Mind(Mood);

impl ChatModel for Mind {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        let asked = request.messages.last().unwrap().content.clone();
        let (mood, stumbles) = (self.0, asked.contains("stumble"));
        let said = stream::iter([Ok(format!("You said {asked}.").into())]);
        if stumbles {
            return said.chain(stream::once(async move { Err(mood.spoil().await) })).boxed();
        }
        said.boxed()
    }
}

/// A fault of the gateway's own, as a bug in a step of a turn would be.
struct Buggy;

impl ChatModel for Buggy {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        let asked = &request.messages.last().unwrap().content;
        assert!(!asked.contains("panic"), "a fault of ours, made by a test");
        stream::iter([Ok("Fine.".into())]).boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_panics_tells_its_device_and_the_next_message_opens_another() {
    let gateway = Running::start(with_chat(Arc::new(Buggy))).await;
    let (mut device, mut other) = (gateway.device("cane-1").await, gateway.device("other").await);
    device.control(None, ControlKind::Text("panic".into())).await.unwrap();
    until(&mut device, |downlink| {
        matches!(downlink, Downlink::Control { message: Message::Error { code, .. }, .. } if code == "internal")
    })
    .await;
    gateway.counted("voxgate_session_panics_total", &[], 1).await;
    ask(&mut other, "how are you").await.must_be("Fine.");
    ask(&mut device, "how are you").await.must_be("Fine.");
    gateway.stop().await;
}

async fn moody(mood: Mood) -> Running {
    let providers =
        Providers { transcriber: Arc::new(Ears(mood)), chat: Arc::new(Mind(mood)), synthesizer: Arc::new(Mouth(mood)) };
    Running::start_with(providers, |config| {
        let reply = &mut config.voice.reply;
        reply.transcribe_timeout = Span::ms(200);
        reply.first_token_timeout = Span::ms(200);
        reply.speech_timeout = Span::ms(200);
    })
    .await
}

fn apologised(answer: &Answer, stage: &str) -> bool {
    answer.errors == [stage] && answer.frames > 0 && answer.spoken
}

async fn every_stage_that_goes_wrong_is_apologised_for(mood: Mood, kind: &str) {
    let gateway = moody(mood).await;
    let (mut device, mut other) = (gateway.device("cane-1").await, gateway.device("other").await);
    let long = Script::from_pcm(&voice(Duration::from_millis(2_500)), "a voice").unwrap();
    for (n, stage) in ["transcribe", "chat", "speech"].into_iter().enumerate() {
        let told = match stage {
            "transcribe" => {
                speak(&mut device, &long, ListenMode::Manual).await;
                // meanwhile
                ask(&mut other, "blue skies").await.must_be("You said blue skies.");
                answer(&mut device).await
            }
            "chat" => ask(&mut device, "stumble").await,
            _ => ask(&mut device, "break").await,
        };
        assert!(apologised(&told, stage), "{stage}: {told:?}");
        gateway.counted(FAILURES, &[("stage", stage), ("kind", kind)], 1).await;
        let turn = gateway.turns("cane-1", 2 * n + 1).await.pop().unwrap();
        assert_eq!(turn["outcome"], "failed", "{stage}");
        assert_eq!(turn["failed"], format!("{stage}: {kind}"));
        assert!(!turn.to_string().contains(SECRET));
        ask(&mut other, "blue skies").await.must_be("You said blue skies.");
        ask(&mut device, "go on").await.must_be("You said go on.");
    }
    speak(&mut device, &speech(), ListenMode::Manual).await;
    answer(&mut device).await.must_be("You said why is the sky blue.");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_is_apologised_for_recorded_and_counted() {
    Box::pin(every_stage_that_goes_wrong_is_apologised_for(Mood::Fails, "internal")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_hangs_has_failed_when_its_time_is_over() {
    Box::pin(every_stage_that_goes_wrong_is_apologised_for(Mood::Hangs, "timeout")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_transcript_is_no_question_and_needs_no_apology() {
    for words in ["", "  \n", "...", "♪ ♪"] {
        let transcriber = Arc::new(FixedTranscriber { words: words.into(), delay: Duration::ZERO });
        let gateway = Running::start(Providers { transcriber, ..chat(&["Fine."]) }).await;
        let (mut device, mut other) = (gateway.device("cane-1").await, gateway.device("other").await);
        speak(&mut device, &speech(), ListenMode::Auto).await;
        let told = answer(&mut device).await;
        assert_eq!((told.heard.as_deref(), told.frames, told.errors.len(), told.spoken), (Some(""), 0, 0, false));
        assert_eq!(gateway.last_turn("cane-1").await["outcome"], "empty");
        gateway.counted("voxgate_turns_total", &[("outcome", "empty")], 1).await;
        ask(&mut other, "how are you").await.must_be("Fine.");
        ask(&mut device, "how are you").await.must_be("Fine.");
        gateway.stop().await;
    }
}
