//! Who answers on a device: language, voice and instructions of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use voxgate::admin::{Admin, AdminErrorKind, DeviceChange, NewDevice};
use voxgate::domain::{DeviceId, ListenMode};
use voxgate::pipeline::voice::Providers;
use voxgate::provider::{
    ChatModel, ChatRequest, ChatStream, ProviderError, SpeechRequest, SpeechStream, Synthesizer, Transcriber,
    Transcript, Utterance,
};
use voxgate::sim::device::{Device, Login};
use voxgate::sim::providers::{FixedChat, FixedTranscriber, ToneSynthesizer};

use gateway::answer::{answer, ask, speak};
use gateway::{PATIENCE, Running, speech};

/// Providers that note what they are asked for.
#[derive(Default)]
struct Notes {
    heard_in: Mutex<Vec<Option<String>>>,
    prompts: Mutex<Vec<String>>,
    spoken: Mutex<Vec<(Option<String>, Option<String>)>>,
}

struct Noting(Arc<Notes>);

#[async_trait]
impl Transcriber for Noting {
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
        self.0.heard_in.lock().unwrap().push(utterance.language.clone());
        let fixed = FixedTranscriber { words: "why is the sky blue".into(), delay: Duration::ZERO };
        fixed.transcribe(utterance).await
    }
}

impl ChatModel for Noting {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        self.0.prompts.lock().unwrap().push(request.messages[0].content.clone());
        FixedChat { pieces: vec!["Because.".into()], delay: Duration::ZERO }.chat(request)
    }
}

impl Synthesizer for Noting {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        if request.text == "Because." {
            self.0.spoken.lock().unwrap().push((request.voice.clone(), request.language.clone()));
        }
        ToneSynthesizer { delay: Duration::ZERO, word_ms: 60 }.speak(request)
    }
}

fn noting() -> (Arc<Notes>, Providers) {
    let notes = Arc::new(Notes::default());
    let one = || Arc::new(Noting(Arc::clone(&notes)));
    let providers = Providers { transcriber: one(), chat: one(), synthesizer: one() };
    (notes, providers)
}

fn toy() -> DeviceId {
    DeviceId::parse("toy-7").unwrap()
}

async fn connect(gateway: &Running, secret: &str) -> Device {
    let at = gateway.addrs().mqtt;
    let login = Login { host: at.ip().to_string(), port: at.port(), id: toy(), secret: secret.to_owned() };
    Device::connect(&login, PATIENCE).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_a_language_a_voice_and_instructions_of_its_own_from_the_next_turn_on() {
    let (notes, providers) = noting();
    let gateway = Running::start(providers).await;
    let new = NewDevice { language: Some("de".into()), ..NewDevice::anew(toy(), ListenMode::Manual) };
    let secret = gateway.operators().device_add(new).await.unwrap().secret.unwrap().0;
    let mut device = connect(&gateway, &secret).await;
    speak(&mut device, &speech(), ListenMode::Manual).await;
    answer(&mut device).await.must_be("Because.");
    assert_eq!(notes.heard_in.lock().unwrap()[..], [Some("de".to_owned())]);
    assert_eq!(notes.spoken.lock().unwrap()[..], [(None, Some("de".to_owned()))]);
    assert!(notes.prompts.lock().unwrap()[0].contains("voice of a small device"), "the gateway's");

    let change = DeviceChange {
        voice: Some("onyx".into()),
        prompt: Some("You are a pirate.".into()),
        ..DeviceChange::of(toy())
    };
    gateway.operators().device_set(change).await.unwrap();
    ask(&mut device, "why is the sky blue").await.must_be("Because.");
    assert_eq!(notes.spoken.lock().unwrap()[1], (Some("onyx".to_owned()), Some("de".to_owned())));
    assert_eq!(notes.prompts.lock().unwrap()[1], "You are a pirate.");
    let row = gateway.operators().device_list().await.unwrap().remove(0);
    assert_eq!((row.language.as_deref(), row.voice.as_deref(), row.prompt), (Some("de"), Some("onyx"), true));

    // kept over a restart, and taken back with an empty text
    drop(device);
    let gateway = gateway.restart().await;
    let mut device = connect(&gateway, &secret).await;
    ask(&mut device, "why is the sky blue").await.must_be("Because.");
    assert_eq!(notes.prompts.lock().unwrap()[2], "You are a pirate.");
    let back = DeviceChange {
        language: Some(String::new()),
        voice: Some(String::new()),
        prompt: Some(" ".into()),
        ..DeviceChange::of(toy())
    };
    gateway.operators().device_set(back).await.unwrap();
    ask(&mut device, "why is the sky blue").await.must_be("Because.");
    assert_eq!(notes.spoken.lock().unwrap()[3], (None, Some("en".to_owned())));
    assert!(notes.prompts.lock().unwrap()[3].contains("voice of a small device"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_nobody_and_settings_that_are_none_change_nothing() {
    let (_, providers) = noting();
    let gateway = Running::start(providers).await;
    let operators = gateway.operators();
    let nobody = DeviceChange { name: Some("x".into()), ..DeviceChange::of(toy()) };
    assert_eq!(operators.device_set(nobody.clone()).await.unwrap_err().kind, AdminErrorKind::NotFound);
    let wrong = NewDevice { language: Some("Deutsch!".into()), ..NewDevice::anew(toy(), ListenMode::Auto) };
    assert_eq!(operators.device_add(wrong).await.unwrap_err().kind, AdminErrorKind::Invalid);
    assert!(operators.device_list().await.unwrap().is_empty(), "a wrong language makes no device");
    operators.device_add(NewDevice::anew(toy(), ListenMode::Auto)).await.unwrap();
    let wrong = DeviceChange { language: Some("de de".into()), ..nobody };
    assert_eq!(operators.device_set(wrong).await.unwrap_err().kind, AdminErrorKind::Invalid);
    assert_eq!(
        operators.device_list().await.unwrap()[0].name,
        None,
        "nothing of a change is done when a part is wrong"
    );
    gateway.stop().await;
}
