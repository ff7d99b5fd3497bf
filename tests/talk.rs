//! A browser as a device: who is let in, what a browser is told of the page, and whole conversations in a real one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use voxgate::admin::{Admin, NewPassword, NewTalk, TalkLink};
use voxgate::domain::{DeviceId, Span};
use voxgate::observe::logging;
use voxgate::sim::bench::voice;

use gateway::browser::{self, Browser};
use gateway::{PATIENCE, Running, chat};

fn laptop() -> DeviceId {
    DeviceId::parse("laptop").unwrap()
}

async fn link(gateway: &Running, time: Option<Span>) -> TalkLink {
    gateway.operators().device_talk(NewTalk { device: laptop(), time }).await.unwrap()
}

async fn ticket(gateway: &Running) -> String {
    let link = link(gateway, None).await;
    format!("ticket.{}", link.url.0.split_once('#').unwrap().1)
}

fn address(gateway: &Running) -> SocketAddr {
    gateway.addrs().devices.unwrap()
}

/// Sends a request and reads until the door closes: status, head in small letters, body.
async fn get(gateway: &Running, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address(gateway)).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: gateway.local\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a browser sends when its page of `origin` asks for protocols; the status when it gets no WebSocket.
async fn ask(gateway: &Running, origin: Option<&str>, protocols: &str) -> Result<Socket, u16> {
    let mut request = format!("ws://{}/talk/socket", address(gateway)).into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("Origin", origin.parse().unwrap());
    }
    if !protocols.is_empty() {
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocols.parse().unwrap());
    }
    match connect_async(request).await {
        Ok((socket, response)) => {
            assert_eq!(response.headers()["sec-websocket-protocol"], "voxgate.talk", "the secret is not echoed");
            Ok(socket)
        }
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// The gateway's own page asks.
async fn show(gateway: &Running, secret: &str) -> Socket {
    let origin = format!("http://{}", address(gateway));
    ask(gateway, Some(&origin), &format!("voxgate.talk, {secret}")).await.unwrap()
}

/// The first text, or the code of the end.
async fn first(socket: &mut Socket) -> Result<Value, u16> {
    match timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap() {
        Message::Text(text) => Ok(serde_json::from_str(&text).unwrap()),
        Message::Close(frame) => Err(frame.unwrap().code.into()),
        other => panic!("{other:?}"),
    }
}

async fn pass(socket: &mut Socket) -> String {
    format!("pass.{}", first(socket).await.unwrap()["pass"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_comes_with_its_files_and_with_headers_that_keep_others_out() {
    let gateway = Running::start(chat(&["Yes."])).await;
    let (status, head, body) = get(&gateway, "/talk").await;
    assert_eq!(status, 200);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "deny"),
        ("permissions-policy", "microphone=(self), camera=(), geolocation=()"),
    ] {
        assert!(head.contains(&format!("{name}: {value}\r\n")), "{name}: {head}");
    }
    let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; ") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("unsafe"), "{policy}");
    // each file that the page names is there, and each that those name
    let mut files: Vec<String> = named(&body);
    let mut seen = 0;
    while let Some(path) = files.get(seen).cloned() {
        let (status, head, body) = get(&gateway, &path).await;
        assert_eq!(status, 200, "{path}");
        let kind = if is_kind(&path, "css") { "text/css" } else { "text/javascript" };
        assert!(head.contains(&format!("content-type: {kind}")) && head.contains("nosniff"), "{path}: {head}");
        files.extend(named(&body).into_iter().filter(|path| !files.contains(path)).collect::<Vec<_>>());
        seen += 1;
    }
    assert!(seen >= 8, "{files:?}");
    for nothing in ["/talk/../etc/passwd", "/talk/secret.js", "/talk/page/main.js", "/talking"] {
        assert_eq!(get(&gateway, nothing).await.0, 404, "{nothing}");
    }
    gateway.stop().await;
}

fn is_kind(path: &str, kind: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == kind)
}

/// Paths of files in a text: `/talk/x.js`, and `./x.js` of scripts.
fn named(text: &str) -> Vec<String> {
    let quoted = text.split('"').filter(|part| is_kind(part, "js") || is_kind(part, "css"));
    quoted.map(|part| part.replacen("./", "/talk/", 1)).filter(|path| path.starts_with("/talk/")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_switched_off_is_not_there_and_nobody_gets_a_link() {
    let gateway = Running::start_with(chat(&["Yes."]), |config| config.talk.enabled = false).await;
    assert_eq!(get(&gateway, "/talk").await.0, 404);
    assert_eq!(ask(&gateway, Some("http://x"), "voxgate.talk, ticket.x").await.err(), Some(404));
    let refused = gateway.operators().device_talk(NewTalk { device: laptop(), time: None }).await.unwrap_err();
    assert!(refused.message.contains("talk.enabled"), "{refused}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_lets_one_browser_in_once_and_its_pass_lets_it_come_back() {
    let gateway = Running::start(chat(&["Because of the air."])).await;
    let made = link(&gateway, None).await;
    assert!(made.made && made.url.0.starts_with(&format!("http://localhost:{}/talk#", address(&gateway).port())));
    assert!(!link(&gateway, None).await.made, "the device is there now");
    let ticket = ticket(&gateway).await;
    let mut socket = show(&gateway, &ticket).await;
    let welcome = first(&mut socket).await.unwrap();
    assert_eq!((&welcome["type"], &welcome["device"]), (&json!("talk"), &json!("laptop")));
    let pass = format!("pass.{}", welcome["pass"].as_str().unwrap());
    // it is a board like others now
    let hello = json!({"type": "hello", "version": 1, "transport": "websocket", "features": {},
                       "audio_params": {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 20}});
    socket.send(Message::text(hello.to_string())).await.unwrap();
    assert_eq!(first(&mut socket).await.unwrap()["type"], "hello");
    assert_eq!(first(&mut show(&gateway, &ticket).await).await, Err(4_401), "a ticket that was used");
    // it comes back, and its old connection ends
    let mut again = show(&gateway, &pass).await;
    assert_eq!(first(&mut again).await.unwrap()["pass"], pass.strip_prefix("pass.").unwrap());
    let ended = loop {
        if let Err(code) = first(&mut socket).await {
            break code;
        }
    };
    assert_eq!(ended, 1_008);
    // also after a restart, which ends tickets that wait
    let waiting = self::ticket(&gateway).await;
    let gateway = gateway.restart().await;
    assert_eq!(first(&mut show(&gateway, &waiting).await).await, Err(4_401));
    let mut again = show(&gateway, &pass).await;
    assert_eq!(first(&mut again).await.unwrap()["device"], "laptop");
    // another password ends the conversation, and the pass
    let new = NewPassword { name: "laptop".into(), password: None };
    gateway.operators().device_password(new).await.unwrap();
    assert_eq!(first(&mut again).await, Err(1_008));
    assert_eq!(first(&mut show(&gateway, &pass).await).await, Err(4_401));
    gateway.counted("voxgate_talk_connects_total", &[("result", "refused")], 2).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_ticket_or_comes_from_another_page_or_too_late_is_refused() {
    let gateway = Running::start_with(chat(&["Yes."]), |config| {
        config.talk.tickets = 2;
        config.devices.origins = vec!["https://listed.example".into()];
    })
    .await;
    let ticket = ticket(&gateway).await;
    let protocols = format!("voxgate.talk, {ticket}");
    for origin in [None, Some("http://evil.example"), Some("null"), Some("https://evil.example:8003")] {
        assert_eq!(ask(&gateway, origin, &protocols).await.err(), Some(403), "{origin:?}");
    }
    let own = format!("http://{}", address(&gateway));
    for protocols in ["", "voxgate.talk", &ticket, "mqtt, ticket.x"] {
        assert_eq!(ask(&gateway, Some(&own), protocols).await.err(), Some(400), "{protocols}");
    }
    let long = format!("ticket.{}", "x".repeat(4_000));
    for wrong in ["ticket.guessed", "pass.guessed", "pass.bGFwdG9w.9999999999999.AAAA", &long] {
        assert_eq!(first(&mut show(&gateway, wrong).await).await, Err(4_401), "{wrong}");
    }
    // a page of a listed origin may, and nothing of the above used the ticket up
    let mut socket = ask(&gateway, Some("https://listed.example"), &protocols).await.unwrap();
    assert_eq!(first(&mut socket).await.unwrap()["type"], "talk");
    let late = link(&gateway, Some(Span::ms(1))).await.url.0;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let late = format!("ticket.{}", late.split_once('#').unwrap().1);
    assert_eq!(first(&mut show(&gateway, &late).await).await, Err(4_401), "its time is over");
    for _ in 0..2 {
        link(&gateway, None).await;
    }
    let full = gateway.operators().device_talk(NewTalk { device: laptop(), time: None }).await.unwrap_err();
    assert!(full.message.contains("talk.tickets"), "{full}");
    gateway.counted("voxgate_talk_connects_total", &[("result", "origin")], 4).await;
    gateway.stop().await;
}

/// All that is logged, whatever the level.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_ticket_nor_pass_is_ever_in_the_log() {
    let log = Kept::default();
    let kept = log.clone();
    // of the whole process: each test has one of its own
    let settings = logging::Settings { level: logging::LogLevel::Trace, ..logging::Settings::default() };
    let filter = settings.env_filter().unwrap();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(move || kept.clone()).init();
    let gateway = Running::start(chat(&["Yes."])).await;
    let ticket = ticket(&gateway).await;
    let pass = pass(&mut show(&gateway, &ticket).await).await;
    assert_eq!(first(&mut show(&gateway, &ticket).await).await, Err(4_401));
    drop(show(&gateway, &pass).await);
    let other = self::ticket(&gateway).await;
    let refused = ask(&gateway, Some("http://evil.example"), &format!("voxgate.talk, {other}")).await;
    assert_eq!(refused.err(), Some(403));
    gateway.stop().await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("a browser may not talk") && log.contains("TRACE"), "the log is on");
    for secret in [&ticket, &pass, &other] {
        let secret = secret.split_once('.').unwrap().1;
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}

/// A file that a browser takes for its microphone: a pause, a voice, a pause that ends the turn; and a voice again.
fn microphone(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("microphone.wav");
    let format = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(&path, format).unwrap();
    let quiet = |ms: usize| std::iter::repeat_n(0, ms * 16);
    let voice = voice(Duration::from_millis(1_500));
    for sample in quiet(700).chain(voice.clone()).chain(quiet(2_500)).chain(voice).chain(quiet(6_000)) {
        file.write_sample(sample).unwrap();
    }
    file.finalize().unwrap();
    path
}

async fn state(page: &mut Browser, state: &str) {
    page.until(&format!("document.body.dataset.state === {state:?}")).await;
}

async fn figure(page: &mut Browser, name: &str) -> f64 {
    page.text(name).await.parse().unwrap()
}

/// A gateway, and a browser that is let in.
async fn let_in(pieces: &[&str]) -> Option<(Running, Browser, tempfile::TempDir)> {
    let program = browser::installed()?;
    let gateway = Running::start(chat(pieces)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut page = Browser::start(program, &microphone(folder.path())).await;
    page.open(&link(&gateway, None).await.url.0).await;
    state(&mut page, "ready").await;
    Some((gateway, page, folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_speaks_with_its_microphone_and_hears_the_answer() {
    let Some((gateway, mut page, _folder)) = let_in(&["Because of the air. ", "It scatters blue. 😊"]).await else {
        return;
    };
    assert_eq!(page.text("#device").await, "laptop");
    assert_eq!(page.eval("location.hash + document.cookie").await, "", "the ticket does not stay in the address");
    page.picture("ready").await;
    // automatic: the gateway hears when the voice has ended
    page.click("#modes label:nth-of-type(2)").await;
    page.click("#press").await;
    state(&mut page, "listening").await;
    page.until("document.querySelector('.latency .part-2')").await;
    page.until("document.querySelectorAll('.answer .words').length == 2").await;
    page.picture("answered").await;
    assert_eq!(page.text(".said").await, "why is the sky blue");
    let answer = page.text(".answer").await;
    assert!(answer.starts_with("Because of the air.") && answer.contains("It scatters blue."), "{answer}");
    for stage in ["understood", "answer begins", "first sound", "together"] {
        assert!(answer.contains(stage), "{answer}");
    }
    assert_eq!(page.eval("document.getElementById('face').dataset.emotion").await, "happy");
    // it listens again by itself, and is stopped
    state(&mut page, "listening").await;
    page.click("#stop").await;
    state(&mut page, "ready").await;
    page.eval("document.getElementById('figures').open = true").await;
    page.until("document.getElementById('f-mic').textContent == 'on, not sent'").await;
    let (sent, decoded) = (figure(&mut page, "#f-sent").await, figure(&mut page, "#f-decoded").await);
    let (loudest, gaps) = (figure(&mut page, "#f-loudest").await, figure(&mut page, "#f-gaps").await);
    // seven words of 60 ms, at 48 kHz; a tone of amplitude 8,000 has an RMS of 0.17
    assert!(sent > 100.0 && decoded > 0.4 * 48_000.0, "{sent} sent, {decoded} decoded");
    assert!(loudest > 0.1 && loudest < 0.3, "{loudest}");
    assert!(gaps <= 1.0, "{gaps}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_holds_its_button_types_interrupts_and_comes_back_by_itself() {
    let story: Vec<String> = (0..40).map(|n| format!("This is the sentence with the number {n}. ")).collect();
    let story: Vec<&str> = story.iter().map(String::as_str).collect();
    let Some((gateway, mut page, _folder)) = let_in(&story).await else { return };
    // held while the voice is there, and let go
    page.mouse("mousePressed", "#press").await;
    state(&mut page, "listening").await;
    page.until("document.getElementById('f-mic').textContent == 'on, sent'").await;
    page.until("document.getElementById('f-sent').textContent > 80").await;
    page.picture("held").await;
    page.mouse("mouseReleased", "#press").await;
    page.until("document.querySelectorAll('.answer .words').length >= 2").await;
    page.until("document.getElementById('f-loudest').textContent > 0.1").await;
    page.picture("speaking").await;
    // stopped in the midst of it: silent at once, and no more comes
    page.click("#stop").await;
    state(&mut page, "ready").await;
    let said = page.eval("document.querySelectorAll('.answer .words').length").await.as_u64().unwrap();
    assert!(said < 40, "{said}");
    // typed, and interrupted by typing
    for (n, words) in ["tell me a story", "<b>and</b> <img src=x onerror=alert(1)>"].into_iter().enumerate() {
        page.eval("document.getElementById('text').focus()").await;
        page.write(words).await;
        page.click("#send").await;
        page.until(&format!("document.querySelectorAll('.said').length == {}", n + 2)).await;
        assert_eq!(page.text("#text").await, "");
        page.until(&format!("document.querySelectorAll('.answer').length == {}", n + 2)).await;
        state(&mut page, "speaking").await;
    }
    page.until("document.querySelectorAll('.latency').length == 3").await;
    // what was said is text, whatever it looks like
    assert_eq!(page.eval("document.querySelectorAll('#log b, #log img').length").await, 0);
    assert!(page.text("#log").await.contains("<b>and</b> <img"));
    page.click("#stop").await;
    // the gateway is restarted: the page finds it again, without a new link
    let port = address(&gateway).port();
    let gateway = gateway.restart_with(|config| config.devices.listen.set_port(port)).await;
    page.until("document.body.dataset.line == 'waiting' || document.body.dataset.state == 'off'").await;
    page.picture("waiting").await;
    state(&mut page, "ready").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_is_heard_all_the_time_interrupts_by_speaking() {
    let story: Vec<String> = (0..40).map(|n| format!("This is the sentence with the number {n}. ")).collect();
    let story: Vec<&str> = story.iter().map(String::as_str).collect();
    let Some((gateway, mut page, _folder)) = let_in(&story).await else { return };
    page.click("#modes label:nth-of-type(3)").await;
    page.click("#press").await;
    state(&mut page, "speaking").await;
    page.until("document.getElementById('f-mic').textContent == 'on, sent'").await;
    // the second voice ends the first answer, and gets one of its own
    page.until("document.querySelectorAll('.answer').length == 2").await;
    let first = page.eval("document.querySelector('.answer').querySelectorAll('.words').length").await;
    assert!(first.as_u64().unwrap() < 40, "{first}");
    assert_eq!(page.eval("document.querySelectorAll('.said').length").await, 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_says_why_it_cannot_and_takes_a_new_link() {
    let Some((gateway, mut page, _folder)) = let_in(&["Yes."]).await else { return };
    let used = link(&gateway, None).await.url.0;
    drop(show(&gateway, &format!("ticket.{}", used.split_once('#').unwrap().1)).await);
    page.until("document.body.dataset.line == 'taken'").await;
    page.open(&used).await;
    page.until("document.getElementById('notice').innerText.includes('used up')").await;
    page.picture("refused").await;
    // a new link in the same page
    let fresh = link(&gateway, None).await.url.0;
    page.eval(&format!("location.hash = {:?}", fresh.split_once('#').unwrap().1)).await;
    state(&mut page, "ready").await;
    assert_eq!(page.eval("document.getElementById('notice').hidden").await, true);
    // a page that came in the clear from elsewhere has neither microphone nor codec: it says so, and can be typed to
    let elsewhere = link(&gateway, None).await.url.0.replace("localhost", "gateway.test");
    page.open(&elsewhere).await;
    page.until("document.getElementById('notice').innerText.includes('ssh -L')").await;
    state(&mut page, "ready").await;
    assert_eq!(page.eval("document.getElementById('press').disabled").await, true);
    page.picture("insecure").await;
    page.eval("document.getElementById('text').focus()").await;
    page.write("can you hear me").await;
    page.click("#send").await;
    page.until("document.querySelector('.answer .words')").await;
    gateway.stop().await;
}
