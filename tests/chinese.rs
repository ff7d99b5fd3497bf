//! Chinese, whole: a gateway between a device and services of the usual shapes, from what is heard to what is spoken.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;
mod scripted;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::Framed;
use voxgate::admin::{Admin, NewDevice};
use voxgate::domain::{ControlKind, DeviceId, Downlink, ListenMode, Message};
use voxgate::pipeline::voice::{Providers, Words};
use voxgate::provider::http::{Client, Patience, Settings};
use voxgate::provider::openai::{OpenAiChat, OpenAiSynthesizer, OpenAiTranscriber, Target};
use voxgate::provider::wyoming::{Address, WyomingSynthesizer, WyomingTranscriber};
use voxgate::sim::device::{Device, Login};
use voxgate::wire::wyoming::{Decoder, Event};

use gateway::answer::speak;
use gateway::{PATIENCE, Running, speech};

const QUESTION: &str = "今天的天气和iPhone的价格怎么样";
const REPLY: &str = "今天是2026年11月22日，气温23.5℃，iPhone 15 Pro 很贵。😀**别忘了**带伞！";
const SPOKEN: [&str; 3] = ["今天是2026年11月22日，", "气温23.5℃，iPhone 15 Pro 很贵。", "别忘了带伞！"];

/// What services were asked, in the order in which they were.
#[derive(Default)]
struct Asked {
    /// The languages of utterances.
    heard_in: Mutex<Vec<String>>,
    prompts: Mutex<Vec<Value>>,
    /// Texts, and their languages where the protocol has one.
    spoken: Mutex<Vec<(String, Option<String>)>>,
}

impl Asked {
    fn texts(&self) -> Vec<String> {
        self.spoken.lock().unwrap().iter().map(|(text, _)| text.clone()).collect()
    }

    /// Waits until this was spoken.
    async fn until_spoken(&self, text: &str) {
        let spoken = async {
            while !self.texts().iter().any(|said| said == text) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, spoken)
            .await
            .unwrap_or_else(|_| panic!("{text} is not among {:?}", self.texts()));
    }
}

/// A server of all three OpenAI shapes; without a reply the chat is refused.
async fn openai(asked: Arc<Asked>, reply: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let asked = Arc::clone(&asked);
            tokio::spawn(async move { serve(socket, &asked, reply).await });
        }
    });
    url
}

async fn serve(mut socket: TcpStream, asked: &Asked, reply: Option<&str>) {
    let request = scripted::request(&mut socket).await;
    let head_end = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&request[..head_end]).into_owned();
    let body = &request[head_end + 4..];
    if head.contains("/audio/transcriptions") {
        let form = String::from_utf8_lossy(body);
        let language = form.split("name=\"language\"\r\n\r\n").nth(1).and_then(|rest| rest.split("\r\n").next());
        asked.heard_in.lock().unwrap().push(language.unwrap_or("none").to_owned());
        let answer = json!({"text": QUESTION, "language": "zh"}).to_string();
        return send(&mut socket, "application/json", &[answer.as_bytes()]).await;
    }
    let call: Value = serde_json::from_slice(body).unwrap();
    if head.contains("/audio/speech") {
        let text = call["input"].as_str().unwrap().to_owned();
        asked.spoken.lock().unwrap().push((text, None));
        let sound = vec![7; 24_000];
        return send(&mut socket, "audio/pcm", &[&sound]).await;
    }
    asked.prompts.lock().unwrap().push(call["messages"].clone());
    let Some(reply) = reply else {
        socket
            .write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        return;
    };
    // one event a character, cut where it hurts: each character of three bytes is in two pieces
    let event = |c| format!("data: {}\n\n", json!({"choices": [{"delta": {"content": c}}]}));
    let events = reply.chars().map(event).collect::<Vec<String>>().concat();
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let all = events + end;
    let pieces: Vec<&[u8]> = all.as_bytes().chunks(7).collect();
    send(&mut socket, "text/event-stream", &pieces).await;
}

async fn send(socket: &mut TcpStream, kind: &str, pieces: &[&[u8]]) {
    socket.set_nodelay(true).unwrap();
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    for piece in pieces {
        socket.write_all(piece).await.unwrap();
        socket.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
}

fn target(url: &str) -> Target {
    let patience = Patience { first_byte: PATIENCE, between: PATIENCE, whole: PATIENCE };
    Target { patience, ..Target::new("test", url, Client::new(&Settings::default()).unwrap()) }
}

fn openai_providers(url: &str) -> Providers {
    Providers {
        transcriber: Arc::new(OpenAiTranscriber::new(target(url))),
        chat: Arc::new(OpenAiChat::new(target(url))),
        synthesizer: Arc::new(OpenAiSynthesizer::new(target(url), None, 24_000)),
    }
}

/// A server of both Wyoming shapes.
async fn wyoming(asked: Arc<Asked>) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let asked = Arc::clone(&asked);
            tokio::spawn(async move { converse(socket, &asked).await });
        }
    });
    address
}

async fn converse(socket: TcpStream, asked: &Asked) {
    let mut wire = Framed::new(socket, Decoder::default());
    while let Some(Ok(event)) = wire.next().await {
        match event.kind.as_str() {
            "transcribe" => {
                asked.heard_in.lock().unwrap().push(event.text("language").unwrap_or("none").to_owned());
            }
            "audio-stop" => wire.send(Event::new("transcript").with("text", QUESTION)).await.unwrap(),
            "synthesize" => {
                let language = event.data.get("voice").and_then(|voice| voice["language"].as_str());
                let text = event.text("text").unwrap().to_owned();
                asked.spoken.lock().unwrap().push((text, language.map(str::to_owned)));
                for answer in
                    [Event::audio_start(22_050), Event::audio_chunk(22_050, &[9; 4_410]), Event::new("audio-stop")]
                {
                    wire.send(answer).await.unwrap();
                }
            }
            _ => {}
        }
    }
}

async fn device(gateway: &Running, id: &str, language: &str) -> Device {
    let id = DeviceId::parse(id).unwrap();
    let new = NewDevice { language: Some(language.into()), ..NewDevice::anew(id.clone(), ListenMode::Manual) };
    let secret = gateway.operators().device_add(new).await.unwrap().secret.unwrap().0;
    let at = gateway.addrs().mqtt;
    Device::connect(&Login { host: at.ip().to_string(), port: at.port(), id, secret }, PATIENCE).await.unwrap()
}

/// What a device is told of one turn, in order.
#[derive(Debug, Default)]
struct Told {
    heard: String,
    sentences: Vec<String>,
    reply: String,
    frames: usize,
}

async fn told(device: &mut Device) -> Told {
    let mut told = Told::default();
    loop {
        match device.next(PATIENCE, "answer").await.unwrap().downlink {
            Downlink::Audio(_) => told.frames += 1,
            Downlink::Control { message, .. } => match message {
                Message::Stt { text, .. } => told.heard = text,
                Message::TtsSentence { text, .. } => told.sentences.push(text),
                Message::Reply { text } => told.reply = text,
                Message::TtsStop { .. } => return told,
                _ => {}
            },
        }
    }
}

async fn type_in(device: &mut Device, text: &str) -> Told {
    device.control(None, ControlKind::Text(text.to_owned())).await.unwrap();
    told(device).await
}

fn the_turn_must_be_whole(told: &Told) {
    assert_eq!(told.heard, QUESTION);
    assert_eq!(told.sentences, SPOKEN, "clauses, numbers whole, no picture and no markup");
    assert_eq!(told.reply, REPLY, "the text is as the model wrote it");
    assert!(told.frames > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_question_in_chinese_is_answered_through_services_of_openai_shapes() {
    let asked = Arc::new(Asked::default());
    let url = openai(Arc::clone(&asked), Some(REPLY)).await;
    let gateway = Running::start_with(openai_providers(&url), |config| {
        config.voice.reply.system_prompt = "你是一个语音助手，回答要简短。".into();
    })
    .await;
    let mut device = device(&gateway, "ban-1", "zh-CN").await;
    speak(&mut device, &speech(), ListenMode::Manual).await;
    the_turn_must_be_whole(&told(&mut device).await);
    assert_eq!(asked.heard_in.lock().unwrap()[..], ["zh"], "the language of the device");
    let prompt = asked.prompts.lock().unwrap()[0].clone();
    let expected =
        json!([{"role": "system", "content": "你是一个语音助手，回答要简短。"}, {"role": "user", "content": QUESTION}]);
    assert_eq!(prompt, expected, "the prompt is as it was written");
    for text in SPOKEN {
        asked.until_spoken(text).await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_question_in_chinese_is_answered_through_services_of_wyoming_shapes() {
    let asked = Arc::new(Asked::default());
    let url = openai(Arc::clone(&asked), Some(REPLY)).await;
    let address = wyoming(Arc::clone(&asked)).await;
    let patience = target(&url).patience;
    let providers = Providers {
        transcriber: Arc::new(WyomingTranscriber::new("stt", address.clone(), None, patience)),
        synthesizer: Arc::new(WyomingSynthesizer::new("tts", address, None, patience)),
        ..openai_providers(&url)
    };
    let gateway = Running::start(providers).await;
    let mut device = device(&gateway, "ban-1", "zh-CN").await;
    speak(&mut device, &speech(), ListenMode::Manual).await;
    the_turn_must_be_whole(&told(&mut device).await);
    assert_eq!(asked.heard_in.lock().unwrap()[..], ["zh-CN"]);
    let spoken = asked.spoken.lock().unwrap().clone();
    for text in SPOKEN {
        assert!(spoken.contains(&(text.to_owned(), Some("zh-CN".into()))), "{text} in its language: {spoken:?}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_comma_is_spoken_before_it_ends_and_watched_over_like_any_other() {
    let long = "这个问题其实是很多刚开始学习的人都会遇到的一个非常普通的问题前面有车开过来请注意";
    let asked = Arc::new(Asked::default());
    let url = openai(Arc::clone(&asked), Some(long)).await;
    let gateway = Running::start_with(openai_providers(&url), |config| {
        config.policy.profile = voxgate::domain::Profile::Cane;
    })
    .await;
    let mut device = device(&gateway, "ban-1", "zh").await;
    let told = type_in(&mut device, "为什么会这样呢").await;
    assert_eq!(told.sentences[0], "这个问题其实是很多刚开始学习的");
    assert!(told.sentences.concat().contains("请注意"), "{told:?}");
    let turn = gateway.last_turn("ban-1").await;
    assert_eq!(turn["safety"]["rule_ids"], json!(["zh.traffic"]), "{turn}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_told_in_the_language_of_the_device_and_made_ahead_once_it_is_known() {
    let asked = Arc::new(Asked::default());
    let url = openai(Arc::clone(&asked), None).await;
    let gateway = Running::start(openai_providers(&url)).await;
    let (mut chinese, mut english) =
        (device(&gateway, "ban-1", "zh-CN").await, device(&gateway, "cane-1", "en-GB").await);
    let sorry = "抱歉，出了点问题，请再说一次。";
    let told = type_in(&mut chinese, "为什么会这样呢").await;
    assert_eq!(told.sentences, [sorry]);
    assert!(told.frames > 0, "until the words are made, another voice is better than none");
    asked.until_spoken(sorry).await;
    asked.until_spoken("再见。").await;
    assert!(type_in(&mut chinese, "为什么会这样呢").await.frames > 0);
    let told = type_in(&mut english, "why is that so").await;
    assert_eq!(told.sentences, ["Sorry, something went wrong. Please try again."]);
    assert!(!asked.texts().iter().any(|text| text.contains("Entschuldigung")), "nobody speaks German here");

    // what was made is there after a restart, without the service
    let before = asked.texts().iter().filter(|text| *text == sorry).count();
    drop((chinese, english));
    let gateway = gateway.restart().await;
    let secret = std::fs::read_dir(gateway.config().gateway.data_dir.join("speech")).unwrap().count();
    assert!(secret >= 8, "four texts in two languages");
    assert_eq!(asked.texts().iter().filter(|text| *text == sorry).count(), before, "made once");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_a_language_can_be_set() {
    let asked = Arc::new(Asked::default());
    let url = openai(Arc::clone(&asked), None).await;
    let gateway = Running::start_with(openai_providers(&url), |config| {
        let words = Words { apology: Some("哎呀，请再说一遍。".into()), ..Words::default() };
        config.voice.reply.in_language.insert("zh".into(), words);
    })
    .await;
    let mut device = device(&gateway, "ban-1", "zh-CN").await;
    assert_eq!(type_in(&mut device, "为什么会这样呢").await.sentences, ["哎呀，请再说一遍。"]);
    gateway.stop().await;
}
