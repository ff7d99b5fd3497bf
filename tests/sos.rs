//! Calls for help: felt and heard at once with every provider down, once for each number, told to others over a kill.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use gateway::binary::voxgate;
use gateway::mosquitto::free_port;
use gateway::peer::Version;
use gateway::{PATIENCE, Running, chat, until};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use voxgate::admin::{Admin, LifelogQuery};
use voxgate::app::Providers;
use voxgate::domain::{ControlKind, DeviceId, Downlink, HapticPattern, Hello, Message};
use voxgate::provider::{
    ChatModel, ChatRequest, ChatStream, ProviderError, SpeechRequest, SpeechStream, Synthesizer, Transcriber,
    Transcript, Utterance,
};
use voxgate::sim::device::{Device, Login};

fn sos() -> ControlKind {
    ControlKind::Sos { kind: "fall".into(), text: Some("I fell".into()) }
}

/// Providers that never answer; what they are asked is counted, but for what is made ahead.
#[derive(Clone, Default)]
struct Down(Arc<AtomicUsize>);

impl ChatModel for Down {
    fn chat(&self, _: ChatRequest) -> ChatStream {
        self.0.fetch_add(1, Ordering::SeqCst);
        futures::stream::pending().boxed()
    }
}

#[async_trait]
impl Transcriber for Down {
    async fn transcribe(&self, _: Utterance) -> Result<Transcript, ProviderError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

impl Synthesizer for Down {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        // the start asks for its first phrase, and waits for it for ever
        self.0.fetch_add(usize::from(!request.text.starts_with("Sorry")), Ordering::SeqCst);
        futures::stream::pending().boxed()
    }
}

fn down() -> (Down, Providers) {
    let down = Down::default();
    let shared = Arc::new(down.clone());
    let providers = Providers { transcriber: shared.clone(), chat: shared.clone(), synthesizer: shared };
    (down, providers)
}

/// A service that takes calls for help; what it gets comes by the channel.
fn service(listener: TcpListener) -> mpsc::Receiver<(String, Value)> {
    let (told, heard) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move { serve(socket, told).await });
        }
    });
    heard
}

async fn serve(mut socket: TcpStream, told: mpsc::Sender<(String, Value)>) {
    let mut all = Vec::new();
    loop {
        if socket.read_buf(&mut all).await.unwrap_or(0) == 0 {
            return;
        }
        let Some(end) = all.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
        let length: usize = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        if all.len() >= end + 4 + length {
            let body = serde_json::from_slice(&all[end + 4..]).unwrap();
            let _ = socket.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
            let _ = told.send((head, body)).await;
            return;
        }
    }
}

async fn alerts(gateway: &Running, least: usize) -> Vec<Value> {
    let query = LifelogQuery { kind: Some("alert".into()), limit: 100, ..LifelogQuery::default() };
    timeout(PATIENCE, async {
        loop {
            let rows = gateway.operators().lifelog_list(query.clone()).await.unwrap();
            if rows.len() >= least {
                return rows.into_iter().map(|row| row.detail).collect();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap()
}

fn told(downlink: &Downlink, wanted: impl Fn(&Message) -> bool) -> bool {
    matches!(downlink, Downlink::Control { message, .. } if wanted(message))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_provider_down_a_call_for_help_is_felt_and_heard_at_once() {
    let (down, providers) = down();
    let gateway = Running::start(providers).await;
    let mut watcher = gateway.watcher("nurse").await;
    watcher.subscribe("gateway/+/event/#").await;
    let mut device = gateway.device("cane-1").await;
    // a turn that waits for its model is in the way
    device.control(None, ControlKind::Text("where am I".into())).await.unwrap();
    while down.0.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    device.control(None, sos()).await.unwrap();
    let felt = until(&mut device, |d| told(d, |m| matches!(m, Message::Haptic { .. }))).await;
    assert!(told(&felt, |m| matches!(m, Message::Haptic { pattern: HapticPattern::Sos, times: 1 })));
    let said = until(&mut device, |d| told(d, |m| matches!(m, Message::TtsSentence { .. }))).await;
    assert!(told(&said, |m| matches!(m, Message::TtsSentence { text, .. } if text.contains("call for help"))));
    let mut frames = 0;
    loop {
        match device.next(PATIENCE, "speech").await.unwrap().downlink {
            Downlink::Audio(_) => frames += 1,
            Downlink::Control { message: Message::TtsStop { .. }, .. } => break,
            Downlink::Control { .. } => {}
        }
    }
    assert!(frames > 15, "{frames} frames");
    assert_eq!(down.0.load(Ordering::SeqCst), 1, "the text before it asked once, the call nobody");
    let alert = alerts(&gateway, 1).await.remove(0);
    assert_eq!((&alert["sos"], &alert["level"], &alert["text"]), (&"fall".into(), &"P0".into(), &"I fell".into()));
    let turns = gateway.turns("cane-1", 2).await;
    assert_eq!((&turns[0]["outcome"], &turns[1]["outcome"]), (&"interrupted".into(), &"answered".into()));
    assert_eq!((&turns[1]["input"], &turns[1]["local"]), (&"sos".into(), &true.into()));
    loop {
        if let gateway::peer::Got::Message(topic, payload) = watcher.next().await
            && topic.ends_with("/cane-1/alert")
        {
            assert!(String::from_utf8_lossy(&payload).contains("fall"));
            break;
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_number_is_one_call_with_a_hello_or_without() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/alarm", listener.local_addr().unwrap());
    let mut heard = service(listener);
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "a-secret-token\n").unwrap();
    let gateway = Running::start_with(chat(&["Fine."]), |config| {
        (config.sos.url, config.sos.token_file) = (Some(url), Some(token.path().to_owned()));
    })
    .await;
    for (id, hello) in [("cane-1", true), ("cane-2", false)] {
        let mut peer = gateway.peer(Version::V4, id).await;
        let mut seq = 1;
        if hello {
            let hello = ControlKind::Hello(Hello { boot_id: Some(7), ..Hello::default() });
            let sent = peer.control(seq, hello).await;
            assert_eq!(peer.ack().await.0, sent);
            seq += 1;
        }
        for _ in 0..3 {
            let sent = peer.control(seq, sos()).await;
            assert_eq!(peer.ack().await.0, sent, "each repeat is acknowledged");
        }
        let sent = peer.control(seq + 1, ControlKind::Text("hello".into())).await;
        while peer.ack().await.0 != sent {}
        let (head, told) = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
        assert!(head.contains("authorization: bearer a-secret-token"), "{head}");
        assert!(head.contains("idempotency-key: "), "{head}");
        assert_eq!((&told["device"], &told["kind"], &told["level"]), (&id.into(), &"fall".into(), &"P0".into()));
        assert!(told["session_id"].as_str().is_some_and(|id| id.len() == 26), "{told}");
        let mine = gateway.turns(id, 1).await.into_iter().filter(|turn| turn["input"] == "sos").count();
        assert_eq!(mine, 1, "{id}");
    }
    // two calls, each told once
    let alerts = alerts(&gateway, 4).await;
    let count = |key: &str| alerts.iter().filter(|alert| alert.get(key).is_some()).count();
    assert_eq!((count("sos"), count("sos_told")), (2, 2), "{alerts:?}");
    assert!(heard.try_recv().is_err());
    gateway.counted("voxgate_sos_notifications_total", &[("result", "told")], 2).await;
    gateway.stop().await;
}

/// The real program, which can be killed.
struct Program {
    dir: tempfile::TempDir,
    child: Child,
}

fn json(dir: &Path, args: &[&str]) -> Vec<Value> {
    let output = voxgate(&dir.join("voxgate.toml"), args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>().map(Result::unwrap);
    values.flat_map(|value| if let Value::Array(values) = value { values } else { vec![value] }).collect()
}

impl Program {
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn serve(dir: &Path) -> Child {
        voxgate(&dir.join("voxgate.toml"), &["serve"]).stderr(Stdio::null()).spawn().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(login: &Login) -> Device {
    let begun = Instant::now();
    loop {
        match Device::connect(login, PATIENCE).await {
            Ok(device) => return device,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_acknowledged_is_told_after_a_kill_though_the_device_never_comes_back() {
    let dir = tempfile::TempDir::new().unwrap();
    let (mqtt, alarm) = (free_port(), free_port());
    let text = format!(
        "[gateway]\ndata_dir = \"{data}\"\n[mqtt]\nlisten = \"127.0.0.1:{mqtt}\"\n[http]\nenabled = false\n[devices]\nenabled = false\n\
         [udp]\nenabled = false\n[control]\nsocket = \"{socket}\"\n[store]\nreserve = \"0\"\n[engine]\nstart = \"off\"\n\
         [sos]\nurl = \"http://127.0.0.1:{alarm}/alarm\"\nretry_first = \"20ms\"\nretry_most = \"100ms\"\n\
         [providers.stt]\ntype = \"off\"\n[providers.tts]\ntype = \"off\"\n[providers.chat]\ntype = \"off\"\n[providers.embed]\ntype = \"off\"\n",
        data = dir.path().join("data").display(),
        socket = dir.path().join("control.sock").display(),
    );
    std::fs::write(dir.path().join("voxgate.toml"), text).unwrap();
    let secret = json(dir.path(), &["device", "add", "cane-1", "--json"])[0]["secret"].as_str().unwrap().to_owned();
    let child = Program::serve(dir.path());
    let mut program = Program { dir, child };
    let login = Login { host: "127.0.0.1".into(), port: mqtt, id: DeviceId::parse("cane-1").unwrap(), secret };
    let mut device = connect(&login).await;
    device.control(None, sos()).await.unwrap();
    let (mut acknowledged, mut frames) = (false, 0);
    while !acknowledged || frames == 0 {
        match device.next(PATIENCE, "acknowledgement and speech").await.unwrap().downlink {
            Downlink::Audio(_) => frames += 1,
            Downlink::Control { message: Message::Ack { seq: Some(1), .. }, .. } => acknowledged = true,
            Downlink::Control { .. } => {}
        }
    }
    // nobody listens at the address: it is still to be told
    program.kill();
    drop(device);
    let mut heard = service(TcpListener::bind(("127.0.0.1", alarm)).await.unwrap());
    program.child = Program::serve(program.dir.path());
    let (_, told) = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    assert_eq!((&told["device"], &told["kind"]), (&"cane-1".into(), &"fall".into()));
    // what is written down of it is in one batch with its end
    let begun = Instant::now();
    loop {
        let rows = json(program.dir.path(), &["lifelog", "list", "--kind", "alert", "--json"]);
        let has = |key: &str| rows.iter().any(|row| row["detail"].get(key).is_some());
        if has("sos") && has("sos_told") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{rows:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
