//! Voices and ears by ONNX models in the engine, reached as the gateway reaches them.
//!
//! Networks that the tests write themselves show the way from a folder to the answer. Real weights: Piper's voice `joe`
//! (`voxgate models pull piper-joe`, and the program espeak-ng) is heard again by Whisper; without them that test says
//! `skipped: …`, or fails where VOXGATE_REQUIRE_MODELS=1.
#![cfg(feature = "engine")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test fails by panicking")]

#[path = "../src/engine/testing.rs"]
#[allow(dead_code, reason = "the engine's own tests use the rest")]
mod networks;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use voxgate::domain::{Span, SystemClock};
use voxgate::engine::{self, Engine};
use voxgate::provider::http::{Client, Headers, Patience, Settings as HttpSettings};
use voxgate::provider::{self, Local, Providers, SpeechRequest, Utterance};

struct Running {
    wyoming: std::net::SocketAddr,
    http: String,
    providers: Providers,
    client: Client,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// An engine that hears and speaks with these folders.
async fn run(models: &Path, stt: &str, voice: &str) -> Running {
    let settings = engine::Settings {
        listen_wyoming: ([127, 0, 0, 1], 0).into(),
        listen_http: ([127, 0, 0, 1], 0).into(),
        models_dir: Some(models.to_owned()),
        chat: "off".into(),
        stt: stt.into(),
        voice: voice.into(),
        ..engine::Settings::default()
    };
    let stop = CancellationToken::new();
    let engine = Engine::bind(&settings, Arc::new(SystemClock), stop.clone()).await.unwrap();
    let addrs = engine.addrs().clone();
    let task = tokio::spawn(async move { engine.run().await.unwrap() });
    let client = Client::new(&HttpSettings::default()).unwrap();
    let local = Local { wyoming: addrs.wyoming, http: addrs.http };
    let (pool, metrics) = (provider::pool::Settings::default(), provider::pool::Metrics::default());
    let parts = provider::pool::Parts { settings: pool, clock: Arc::new(SystemClock), random: Arc::new(|| 0), metrics };
    let workers = voxgate::audio::Workers::new(1, voxgate::audio::workers::Metrics::default()).unwrap();
    let mut services = provider::Settings::default();
    // Whisper without AVX on a busy machine takes its time, and that is not what is tested
    (services.stt.first_byte, services.tts.first_byte) = (Span::secs(60), Span::secs(60));
    let providers = Providers::new(&services, local, &client, &parts, &workers).unwrap();
    let (wyoming, http) = (addrs.wyoming, format!("http://{}", addrs.http));
    Running { wyoming, http, providers, client, stop, task }
}

impl Running {
    /// What `/health` says once nothing is loading any more.
    async fn health(&self) -> Value {
        loop {
            let url = format!("{}/health", self.http);
            let health = self.client.get_json(&url, &Headers::new(), Patience::default()).await.unwrap();
            if ["stt", "tts"].iter().all(|name| health["engines"][name]["state"] != "loading") {
                return health;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What it answers to Wyoming's `describe`.
    async fn describe(&self) -> Value {
        let mut socket = BufReader::new(tokio::net::TcpStream::connect(self.wyoming).await.unwrap());
        socket.write_all(b"{\"type\":\"describe\"}\n").await.unwrap();
        let mut head = String::new();
        socket.read_line(&mut head).await.unwrap();
        let head: Value = serde_json::from_str(&head).unwrap();
        if let Some(length) = head["data_length"].as_u64() {
            let mut data = vec![0; usize::try_from(length).unwrap()];
            socket.read_exact(&mut data).await.unwrap();
            return serde_json::from_slice(&data).unwrap();
        }
        head["data"].clone()
    }

    /// Samples a second, and the samples.
    async fn say(&self, text: &str) -> (u32, Vec<i16>) {
        let request = SpeechRequest { text: text.into(), ..SpeechRequest::default() };
        let mut stream = self.providers.tts.as_ref().unwrap().speak(request);
        let (mut rate, mut samples) = (0, Vec::new());
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.unwrap();
            rate = chunk.rate;
            samples.extend(chunk.samples);
        }
        (rate, samples)
    }

    async fn hear(&self, pcm: Vec<i16>, language: Option<&str>) -> (String, Option<String>) {
        let language = language.map(str::to_owned);
        let utterance = Utterance { pcm: pcm.into(), language, ..Utterance::default() };
        let heard = self.providers.stt.as_ref().unwrap().transcribe(utterance).await.unwrap();
        (heard.text, heard.language)
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn put(models: &TempDir, folder: &str, files: &[(&str, &[u8])]) {
    let dir = models.path().join(folder);
    std::fs::create_dir_all(&dir).unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
    std::fs::write(dir.join("READY"), "").unwrap();
}

fn voice(models: &TempDir) {
    let network = networks::sounds(true);
    put(models, "voice", &[("xx.onnx", &network), ("xx.onnx.json", networks::LETTERS.as_bytes())]);
}

fn ear(models: &TempDir, network: &[u8]) {
    let pieces: Vec<_> = networks::PIECES.iter().enumerate().map(|(n, piece)| format!("{piece} {n}")).collect();
    put(models, "ear", &[("model.int8.onnx", network), ("tokens.txt", pieces.join("\n").as_bytes())]);
}

fn noise(samples: usize) -> Vec<i16> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        i16::try_from(state >> 20).unwrap() - 2_048
    };
    (0..samples).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_onnx_models_are_hosted_and_say_their_languages() {
    let models = tempfile::tempdir().unwrap();
    voice(&models);
    ear(&models, &networks::sense_voice(None, "4"));
    let engine = run(models.path(), "ear", "voice").await;
    let health = engine.health().await;
    assert_eq!(health["status"], "ready", "{health}");
    let (rate, samples) = engine.say("abc cab. ").await;
    assert!(rate == 16_000 && samples.len() > 1_600, "{rate} {}", samples.len());
    assert!(engine.say("😀").await.1.is_empty());
    assert_eq!(engine.hear(noise(16_000), Some("zh-CN")).await, ("hello".to_owned(), Some("zh".to_owned())));
    assert_eq!(engine.hear(vec![0; 16_000], None).await.0, "");
    let long = [noise(16_000 * 25), vec![0; 16_000], noise(16_000 * 25)].concat();
    assert_eq!(engine.hear(long, None).await, ("hello hello".to_owned(), Some("en".to_owned())));
    let info = engine.describe().await;
    assert_eq!(info["asr"][0]["models"][0]["languages"], serde_json::json!(["zh", "en", "yue", "ja", "ko"]));
    assert_eq!(info["tts"][0]["voices"][0]["languages"], serde_json::json!(["xx"]), "{info}");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_damaged_or_of_something_else_is_said_by_name() {
    let models = tempfile::tempdir().unwrap();
    let whole = networks::sense_voice(None, "4");
    ear(&models, &whole[..whole.len() / 2]);
    put(&models, "voice", &[("LICENSE", b"MIT")]);
    let engine = run(models.path(), "ear", "voice").await;
    let health = engine.health().await;
    let of = |name: &str| format!("{} {}", health["engines"][name]["state"], health["engines"][name]["reason"]);
    assert!(of("stt").contains("failed") && of("stt").contains("model.int8.onnx"), "{health}");
    assert!(of("tts").contains("failed") && of("tts").contains("NAME.onnx.json"), "{health}");
    // what was mended is found without a restart
    ear(&models, &whole);
    assert_eq!(engine.hear(noise(16_000), None).await.0, "hello");
    engine.stop().await;
}

/// Says why a test does nothing, or fails where that is not allowed.
fn skip(why: &str) {
    let required = std::env::var_os("VOXGATE_REQUIRE_MODELS").is_some_and(|value| value == "1");
    assert!(!required, "VOXGATE_REQUIRE_MODELS=1, but {why}");
    eprintln!("skipped: {why}");
}

fn words(text: &str) -> Vec<String> {
    let letters = |word: &str| word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    text.replace('-', " ").split_whitespace().map(letters).filter(|word: &String| !word.is_empty()).collect()
}

/// Straight lines between samples: enough for a listener.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two samples is a sample")]
fn at_16k(samples: &[i16], rate: u32) -> Vec<i16> {
    let step = f64::from(rate) / 16_000.0;
    let at = |n: usize| f64::from(samples.get(n).copied().unwrap_or_default());
    let between = |n: usize| {
        let place = n as f64 * step;
        let (left, share) = (place as usize, place.fract());
        (at(left) * (1.0 - share) + at(left + 1) * share) as i16
    };
    (0..(samples.len() as f64 / step) as usize).map(between).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pipers_joe_says_is_heard_again_by_whisper() {
    let models = engine::Settings::default().models_dir();
    let has = |name: &str| models.join(name).join("READY").is_file();
    if !(has("piper-joe") && has("whisper-tiny.en-q8_0")) {
        return skip("there is no piper-joe or no whisper-tiny.en-q8_0 (voxgate models pull)");
    }
    if std::process::Command::new("espeak-ng").arg("--version").output().is_err() {
        return skip("espeak-ng is not installed");
    }
    let engine = run(&models, "whisper-tiny.en-q8_0", "piper-joe").await;
    let health = engine.health().await;
    assert_eq!(health["status"], "ready", "{health}");
    let (mut wrong, mut all) = (0, 0);
    for text in [
        "The kitchen lights are on now. Would you like anything else?",
        "It will rain tomorrow, so take an umbrella with you.",
        "The capital of Italy is Rome.",
        "Your timer is done!",
        "My favourite animals are cats, dogs, and horses.",
        "She bought seven red apples; then she walked home.",
    ] {
        let begin = tokio::time::Instant::now();
        let (rate, samples) = engine.say(text).await;
        let seconds = samples.len() as f64 / f64::from(rate);
        let took = begin.elapsed();
        let (heard, _) = engine.hear(at_16k(&samples, rate), Some("en")).await;
        let (said, heard_words) = (words(&text.replace("favourite", "favorite")), words(&heard));
        let missed = said.iter().filter(|word| !heard_words.contains(word)).count();
        eprintln!("joe: {seconds:.1} s in {} ms, {missed} of {} words missed: {heard:?}", took.as_millis(), said.len());
        wrong += missed;
        all += said.len();
    }
    assert!(wrong * 20 <= all, "{wrong} of {all} words were not understood");
    let (_, year) = engine.say("It costs 42 dollars.").await;
    let (heard, _) = engine.hear(at_16k(&year, 22_050), Some("en")).await;
    assert!(heard.contains("42") || heard.to_lowercase().contains("forty"), "{heard}");
    assert_eq!(engine.say("The same, please.").await, engine.say("The same, please.").await);
    engine.stop().await;
}
