//! The adapters of single vendors against servers of the shape that their documentation gives: what streams, calls
//! tools, shows pictures, is cut, refused, garbled or silent. None of the real services was asked.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "adapters/anthropic.rs"]
mod anthropic;
#[path = "adapters/deepgram.rs"]
mod deepgram;
#[path = "adapters/edge.rs"]
mod edge;
#[path = "adapters/elevenlabs.rs"]
mod elevenlabs;
#[path = "adapters/gemini.rs"]
mod gemini;
#[path = "adapters/openai.rs"]
mod openai;
mod scripted;
#[path = "adapters/transcripts.rs"]
mod transcripts;

use std::io::Write;

use futures::StreamExt;
use serde_json::json;
use voxgate::audio::Workers;
use voxgate::domain::SystemClock;
use voxgate::provider::http::{Client, Headers, Settings};
use voxgate::provider::pool;
use voxgate::provider::{
    ChatMessage, ChatRequest, Kind, Local, Picture, Providers, Role, Service, SpeechRequest, Target, ToolCall,
    ToolSpec, Utterance,
};

use scripted::{KEY, asked, patience, plain, said, serve};

/// A service with a key and little patience.
fn target(url: &str, headers: Headers, model: &str) -> Target {
    let client = Client::with_keys(&Settings::default()).unwrap();
    let mut target = Target::new("route", url, client);
    target.model = Some(model.into());
    target.headers = headers;
    target.secret = Some(KEY.into());
    target.patience = patience();
    assert!(!format!("{target:?}").contains(KEY));
    target
}

fn ask() -> ChatRequest {
    ChatRequest {
        messages: vec![ChatMessage::new(Role::System, "Be brief."), ChatMessage::new(Role::User, "hi")],
        max_tokens: Some(64),
        temperature: Some(0.5),
        ..ChatRequest::default()
    }
}

/// A conversation with all that there is: a picture, two calls, their answers.
fn talk(ids: [&str; 2]) -> ChatRequest {
    let [lamp, fan] = ids.map(|id| ToolCall { id: id.into(), name: "lamp".into(), arguments: "{\"on\":true}".into() });
    let fan = ToolCall { name: "fan".into(), arguments: "no json".into(), ..fan };
    let picture = Picture { mime: "image/jpeg", bytes: vec![0xff, 0xd8].into() };
    ChatRequest {
        messages: vec![
            ChatMessage::new(Role::System, "Be brief."),
            ChatMessage::new(Role::Assistant, "Good morning."),
            ChatMessage::showing("what is this", picture),
            ChatMessage::calling("", vec![lamp.clone(), fan.clone()]),
            ChatMessage::answering(&lamp, "done"),
            ChatMessage::answering(&fan, "error: the arguments are no JSON object"),
            ChatMessage::new(Role::User, ""),
        ],
        tools: vec![tool("lamp"), tool("fan")],
        ..ChatRequest::default()
    }
}

fn tool(name: &str) -> ToolSpec {
    ToolSpec { name: name.into(), description: format!("The {name}"), parameters: json!({ "type": "object" }) }
}

fn workers() -> Workers {
    Workers::new(1, voxgate::audio::workers::Metrics::default()).unwrap()
}

fn pool() -> pool::Parts {
    // each service is asked once
    let settings = pool::Settings { retries: 0, ..pool::Settings::default() };
    let metrics = pool::Metrics::default();
    pool::Parts { settings, clock: std::sync::Arc::new(SystemClock), random: std::sync::Arc::new(|| 0), metrics }
}

#[tokio::test]
async fn a_configured_service_is_asked_with_the_key_of_its_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{KEY}").unwrap();
    let (url, mut requests) = serve(vec![plain("500 Internal Server Error", "", "")]).await;
    let service = |kind| Service {
        kind,
        url: Some(format!("{url}/")),
        model: Some("m".into()),
        voice: Some("v".into()),
        api_key_file: Some(file.path().to_owned()),
        ..Service::default()
    };
    let local = Local { wyoming: ([127, 0, 0, 1], 1).into(), http: ([127, 0, 0, 1], 1).into() };
    let client = Client::with_keys(&Settings::default()).unwrap();
    let mut settings = voxgate::provider::Settings {
        stt: service(Kind::Deepgram),
        tts: service(Kind::Elevenlabs),
        chat: service(Kind::Anthropic),
        ..Default::default()
    };
    let made = Providers::new(&settings, local, &client, &pool(), &workers()).unwrap();
    let mut heard = async || String::from_utf8_lossy(&requests.recv().await.unwrap()).to_lowercase();
    let utterance = Utterance { pcm: vec![0; 10].into(), language: None, ..Utterance::default() };
    assert!(made.stt.unwrap().transcribe(utterance).await.is_err());
    let request = heard().await;
    assert!(request.starts_with("get /v1/listen?") && request.contains(&format!("token {KEY}\r\n")), "{request}");
    let speech = SpeechRequest { text: "hi".into(), ..SpeechRequest::default() };
    assert!(made.tts.unwrap().speak(speech).next().await.unwrap().is_err());
    assert!(heard().await.contains(&format!("xi-api-key: {KEY}\r\n")));
    assert!(made.chat.unwrap().chat(ask()).next().await.unwrap().is_err());
    assert!(heard().await.contains(&format!("x-api-key: {KEY}\r\n")));
    let seen = service(Kind::Gemini).eye(&client).unwrap().provider;
    assert!(seen.chat(ask()).next().await.unwrap().is_err());
    assert!(heard().await.contains(&format!("x-goog-api-key: {KEY}\r\n")));

    settings.chat = service(Kind::Deepgram);
    assert!(Providers::new(&settings, local, &client, &pool(), &workers()).is_err(), "it does not chat");
}
