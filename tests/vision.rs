//! Photos of boards with stock firmware: asked for in a turn, sent over a connection of their own, looked at by a service
//! over HTTP, told, and kept; and all that may be wrong with one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use voxgate::admin::{self, Admin, LifelogQuery, NewDevice};
use voxgate::config::Config;
use voxgate::domain::{ByteSize, DeviceId, ListenMode, Span};
use voxgate::provider::{ChatModel, ChatPiece, ChatRequest, ChatStream, Kind, Role, ToolCall};
use voxgate::sim::device::Login;
use voxgate::sim::xiaozhi::{Board, Heard, Mode, Path, Talk, exchange};
use voxgate::wire::xiaozhi::frames::Version;

use gateway::{PATIENCE, Running, speech, with_chat};

const MAC: &str = "3c:84:27:aa:bb:02";
const KEY: &str = "sk-very-secret-key";
const FORM: &str = "multipart/form-data; boundary=B";

/// A photo of 640 x 480, as far as its head tells.
fn photo(bytes: usize) -> Vec<u8> {
    let mut file = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 16];
    file.extend(b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    file.extend([0xFF, 0xC0, 0, 17, 8, 1, 0xE0, 2, 0x80, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
    file.extend((0..bytes.saturating_sub(file.len())).map(|n| u8::try_from(n % 251).unwrap()));
    file
}

/// Takes a photo when it is asked something, and says what the board told of it.
struct Photographer;

impl ChatModel for Photographer {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        let told = request.messages.iter().rev().find(|message| message.role == Role::Tool).map(|m| m.content.clone());
        let said = |told: String| {
            let told: Value = serde_json::from_str(&told).unwrap_or(Value::String(told));
            let words = [&told["response"], &told["message"], &told].into_iter().find_map(Value::as_str);
            ChatPiece::Text(words.unwrap_or("nothing").to_owned())
        };
        let arguments = json!({"question": "What do I hold?"}).to_string();
        let call = ToolCall { id: "1".into(), name: "self_camera_take_photo".into(), arguments };
        futures::stream::iter([Ok(told.map_or(ChatPiece::Call(call), said))]).boxed()
    }
}

/// What a vision service does with a question.
#[derive(Clone, Copy)]
enum Service {
    Says(&'static str),
    Refuses(&'static str),
    Hangs,
}

/// A service like OpenAI's; what it is asked comes by the channel.
async fn service(what: Service) -> (String, mpsc::Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (heard, asked) = mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(socket, what, heard.clone()));
        }
    });
    (url, asked)
}

async fn serve(mut socket: TcpStream, what: Service, heard: mpsc::Sender<(String, Value)>) {
    let mut all = Vec::new();
    let (head, body) = loop {
        if socket.read_buf(&mut all).await.unwrap() == 0 {
            return;
        }
        let Some(end) = all.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
        let length: usize = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        if all.len() >= end + 4 + length {
            break (head, serde_json::from_slice(&all[end + 4..]).unwrap());
        }
    };
    heard.send((head, body)).await.unwrap();
    let answer = match what {
        Service::Hangs => {
            // until the gateway has enough of it
            while socket.read_buf(&mut all).await.is_ok_and(|read| read > 0) {}
            return drop(heard.send((String::from("gone"), Value::Null)).await);
        }
        Service::Refuses(status) => format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"),
        Service::Says(words) => {
            let piece = |delta: Value, reason: Value| {
                format!("data: {}\n\n", json!({"choices": [{"delta": delta, "finish_reason": reason}]}))
            };
            let pieces: String =
                words.split_inclusive(' ').map(|word| piece(json!({"content": word}), Value::Null)).collect();
            let end = piece(json!({}), json!("stop"));
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{pieces}{end}data: [DONE]\n\n"
            )
        }
    };
    let _ = socket.write_all(answer.as_bytes()).await;
}

/// A gateway that asks the service at `url`.
async fn start(url: Option<&str>, change: impl FnOnce(&mut Config)) -> (Running, Login) {
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), KEY).unwrap();
    let gateway = Running::start_with(with_chat(Arc::new(Photographer)), |config| {
        if let Some(url) = url {
            config.vision.kind = Kind::Openai;
            config.vision.url = Some(url.to_owned());
            config.vision.model = Some("seer".into());
            config.vision.api_key_file = Some(keys.path().to_owned());
        }
        change(config);
    })
    .await;
    let login = login(&gateway, MAC).await;
    (gateway, login)
}

async fn login(gateway: &Running, mac: &str) -> Login {
    let id = DeviceId::parse(mac).unwrap();
    let new = NewDevice::anew(id.clone(), ListenMode::Auto);
    let secret = gateway.operators().device_add(new).await.unwrap().secret.unwrap().0;
    let addr = gateway.addrs().mqtt;
    Login { host: addr.ip().to_string(), port: addr.port(), id, secret }
}

/// A board with a camera, in a conversation, whose tools are known.
async fn board(gateway: &Running, login: &Login, path: &Path) -> Board {
    let mut board = Board::connect(login, path, 60, PATIENCE).await.unwrap().with_camera(&photo(40_000));
    board.hello(PATIENCE).await.unwrap();
    while !matches!(board.next(PATIENCE, "list").await.unwrap(), Heard::Text(text) if text["payload"]["method"] == "tools/list")
    {
    }
    gateway.counted("voxgate_device_tools_total", &[("why", "listed")], 1).await;
    board
}

async fn mqtt_board(gateway: &Running, login: &Login) -> (Board, String) {
    let board = board(gateway, login, &Path::Mqtt).await;
    let token = board.camera.as_ref().unwrap().told.clone().unwrap().1;
    (board, token)
}

/// The entries about photos, oldest first; waits until there are `least`.
async fn photos(gateway: &Running, least: usize) -> Vec<admin::LifelogRow> {
    let query = LifelogQuery { kind: Some("image".into()), limit: 100, ..LifelogQuery::default() };
    timeout(PATIENCE, async {
        loop {
            let rows = gateway.operators().lifelog_list(query.clone()).await.unwrap();
            if rows.len() >= least {
                return rows;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap()
}

/// A form with these parts: name, content.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, content) in parts {
        form.extend(
            format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"x\"\r\n\r\n").as_bytes(),
        );
        form.extend(*content);
        form.extend(b"\r\n");
    }
    form.extend(b"--B--\r\n");
    form
}

fn usual() -> Vec<u8> {
    form(&[("question", b"what is it"), ("file", &photo(1_000))])
}

/// The head of a request with these lines of it.
fn head(token: &str, device: &str, kind: &str, length: &str) -> String {
    let bearer = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let device = if device.is_empty() { String::new() } else { format!("Device-Id: {device}\r\n") };
    format!("POST /xiaozhi/vision HTTP/1.1\r\nHost: gw\r\n{bearer}{device}Content-Type: {kind}\r\n{length}\r\n\r\n")
}

/// Sends bytes; status and body.
async fn send(gateway: &Running, bytes: &[u8]) -> (u16, Value) {
    let mut stream = TcpStream::connect(gateway.addrs().devices.unwrap()).await.unwrap();
    // who is refused early may be hung up on while he still sends
    let _ = stream.write_all(bytes).await;
    answer(stream).await
}

async fn answer(mut stream: TcpStream) -> (u16, Value) {
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer");
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

/// Sends a form with a length, as py-xiaozhi does.
async fn post(gateway: &Running, token: &str, device: &str, form: &[u8]) -> (u16, Value) {
    let head = head(token, device, FORM, &format!("Content-Length: {}", form.len()));
    send(gateway, &[head.as_bytes(), form].concat()).await
}

async fn uploads(gateway: &Running, result: &str) {
    gateway.counted("voxgate_vision_uploads_total", &[("result", result)], 1).await;
}

async fn question(gateway: &Running, result: &str) {
    gateway.counted("voxgate_vision_questions_total", &[("result", result)], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_what_he_holds_is_told_and_the_photo_is_kept_with_question_and_answer() {
    for websocket in [false, true] {
        let (url, mut asked) = service(Service::Says("A red apple. ")).await;
        let (gateway, login) = start(Some(&url), |_| {}).await;
        let ws = format!("ws://{}/xiaozhi/v1/", gateway.addrs().devices.unwrap());
        let path = if websocket { Path::WebSocket(ws, Version::One) } else { Path::Mqtt };
        let mut board = board(&gateway, &login, &path).await;
        let heard = exchange(&mut board, &speech(), &Talk::new(Mode::Auto)).await.unwrap();
        assert_eq!(
            (heard.turn.transcript.as_str(), &heard.sentences[..]),
            ("why is the sky blue", &["A red apple.".into()][..])
        );
        assert!(heard.answered());
        assert_eq!(board.called, [("self.camera.take_photo".to_owned(), json!({"question": "What do I hold?"}))]);
        assert_eq!(board.strict.complaints, [""; 0], "what would trouble firmware");

        let (head, body) = asked.recv().await.unwrap();
        assert!(head.contains("post /v1/chat/completions") && head.contains(&format!("bearer {KEY}")), "{head}");
        assert_eq!((&body["model"], &body["max_tokens"]), (&json!("seer"), &json!(200)));
        let shown = &body["messages"][1]["content"];
        assert_eq!(shown[0], json!({"type": "text", "text": "What do I hold?"}));
        let data = shown[1]["image_url"]["url"].as_str().unwrap().strip_prefix("data:image/jpeg;base64,").unwrap();
        assert_eq!(STANDARD.decode(data).unwrap(), photo(40_000));

        let kept = photos(&gateway, 1).await.remove(0);
        assert_eq!(kept.device.unwrap().as_str(), MAC);
        assert_eq!(kept.session.unwrap().as_str(), board.strict.session());
        let detail = kept.detail;
        assert_eq!((&detail["question"], &detail["answer"]), (&json!("What do I hold?"), &json!("A red apple.")));
        assert_eq!((&detail["turn_id"], &detail["mime"]), (&json!(1), &json!("image/jpeg")));
        let file = gateway.config().gateway.data_dir.join(detail["path"].as_str().unwrap());
        assert_eq!(std::fs::read(file).unwrap(), photo(40_000));
        question(&gateway, "answered").await;
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_service_the_photo_is_kept_and_the_person_is_told_that_nobody_can_look() {
    let (gateway, login) = start(None, |_| {}).await;
    let (mut board, _) = mqtt_board(&gateway, &login).await;
    let heard = exchange(&mut board, &speech(), &Talk::new(Mode::Auto)).await.unwrap();
    let words = "The picture was taken, but no service is set up here that can look at pictures.";
    assert_eq!(heard.sentences.join(" "), words);
    assert!(heard.answered());
    assert_eq!(photos(&gateway, 1).await[0].detail["unanswered"], "not_configured");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_an_idle_board_take_a_photo_also_after_its_conversation() {
    let (url, _asked) = service(Service::Says("A cat.")).await;
    let (gateway, login) = start(Some(&url), |_| {}).await;
    let (mut board, first) = mqtt_board(&gateway, &login).await;
    board.goodbye().await.unwrap();
    gateway.until_zero("voxgate_vision_passes_open").await;
    let operators = gateway.operators();
    let call = admin::ToolCall {
        device: DeviceId::parse(MAC).unwrap(),
        tool: "self.camera.take_photo".into(),
        arguments: json!({"question": "Who is there?"}).to_string(),
    };
    let asked = tokio::spawn(async move { operators.device_call(call).await });
    while !asked.is_finished() {
        let _ = board.next(Duration::from_millis(50), "request").await;
    }
    let told: Value = serde_json::from_str(&asked.await.unwrap().unwrap()).unwrap();
    assert_eq!(told, json!({"success": true, "response": "A cat."}));
    let second = board.camera.as_ref().unwrap().told.clone().unwrap().1;
    assert_ne!(first, second, "another token");
    let kept = photos(&gateway, 1).await.remove(0);
    assert_eq!((kept.session, &kept.detail["answer"], &kept.detail["turn_id"]), (None, &json!("A cat."), &Value::Null));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_token_of_a_session_that_lives_lets_a_photo_in_and_only_for_its_device() {
    let (url, _asked) = service(Service::Says("A cat.")).await;
    let (gateway, login) = start(Some(&url), |_| {}).await;
    let (mut board, token) = mqtt_board(&gateway, &login).await;
    // nothing of the body comes: the answer does all the same
    let nothing = |token: &str, device: &str| head(token, device, FORM, "Content-Length: 1000");
    let (name, secret) = token.split_once('.').unwrap();
    let guessed = format!("{name}.{}", "0".repeat(secret.len()));
    let unknown = format!("0.{secret}");
    for (token, device, result) in [
        ("", MAC, "no_token"),
        ("test-token", MAC, "bad_token"),
        (&guessed, MAC, "bad_token"),
        (&unknown, "", "bad_token"),
        (&token, "3c:84:27:aa:bb:03", "other_device"),
    ] {
        let (status, body) = send(&gateway, nothing(token, device).as_bytes()).await;
        assert_eq!((status, &body["success"]), (401, &json!(false)), "{token} {device}: {body}");
        uploads(&gateway, result).await;
    }
    // as the device says its name, in capitals, or not at all
    for device in [MAC, &MAC.to_uppercase(), ""] {
        let (status, body) = post(&gateway, &token, device, &usual()).await;
        assert_eq!((status, body), (200, json!({"success": true, "response": "A cat."})), "{device}");
    }
    board.goodbye().await.unwrap();
    gateway.until_zero("voxgate_vision_passes_open").await;
    assert_eq!(post(&gateway, &token, MAC, &usual()).await.0, 401, "its session is over");
    // the next session has another
    board.hello(PATIENCE).await.unwrap();
    while !matches!(board.next(PATIENCE, "initialize").await.unwrap(), Heard::Text(text) if text["payload"]["method"] == "initialize")
    {
    }
    let next = board.camera.as_ref().unwrap().told.clone().unwrap().1;
    assert_eq!(post(&gateway, &token, MAC, &usual()).await.0, 401);
    assert_eq!(post(&gateway, &next, MAC, &usual()).await.0, 200);
    // a device that was removed sends nothing any more, whatever its session still holds
    gateway.operators().device_remove(DeviceId::parse(MAC).unwrap()).await.unwrap();
    assert_eq!(post(&gateway, &next, MAC, &usual()).await.0, 401);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_photo_too_large_or_broken_off_is_refused_with_its_cause() {
    let (gateway, login) = start(None, |config| {
        config.devices.vision.size = ByteSize::kb(16);
        config.devices.vision.per_minute = 1_000;
    })
    .await;
    let (_board, token) = mqtt_board(&gateway, &login).await;
    let large = form(&[("file", &photo(20_000))]);
    let chunked = |body: &[u8]| {
        let head = head(&token, MAC, FORM, "Transfer-Encoding: chunked");
        [head.as_bytes(), format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
    };
    assert_eq!(post(&gateway, &token, MAC, &large).await.0, 413, "the photo");
    uploads(&gateway, "too_large").await;
    assert_eq!(post(&gateway, &token, MAC, &form(&[("file", &photo(90_000))])).await.0, 413, "all of it");
    assert_eq!(send(&gateway, &chunked(&large)).await.0, 413, "without a length");
    assert_eq!(send(&gateway, &chunked(&form(&[("other", &vec![b'x'; 40_000])]))).await.0, 413, "what nobody wants");

    for (file, what) in
        [(&b"GIF89a..."[..], "a GIF"), (b"", "nothing"), (b"<html>", "text"), (&photo(20)[..8], "half a head")]
    {
        assert_eq!(post(&gateway, &token, MAC, &form(&[("question", b"?"), ("file", file)])).await.0, 415, "{what}");
    }
    uploads(&gateway, "not_an_image").await;
    assert_eq!(post(&gateway, &token, MAC, &form(&[("question", b"what is it")])).await.0, 400);
    uploads(&gateway, "no_photo").await;
    for question in [&[b'x'; 5_000][..], b"\xff\xfe"] {
        assert_eq!(post(&gateway, &token, MAC, &form(&[("question", question), ("file", &photo(100))])).await.0, 400);
    }
    uploads(&gateway, "question").await;
    let many: Vec<(&str, &[u8])> = (0..20).map(|_| ("x", &b"y"[..])).collect();
    assert_eq!(post(&gateway, &token, MAC, &form(&many)).await.0, 400, "parts without end");

    let whole = usual();
    let cut = &whole[..whole.len() - 200];
    assert_eq!(post(&gateway, &token, MAC, cut).await.0, 400, "it ends in the middle of the photo");
    assert_eq!(post(&gateway, &token, MAC, b"no form at all").await.0, 400);
    assert_eq!(post(&gateway, &token, MAC, b"").await.0, 400);
    uploads(&gateway, "malformed").await;
    for kind in ["image/jpeg", "multipart/form-data", "multipart/form-data; boundary="] {
        let head = head(&token, MAC, kind, &format!("Content-Length: {}", whole.len()));
        assert_eq!(send(&gateway, &[head.as_bytes(), &whole].concat()).await.0, 400, "{kind}");
    }
    uploads(&gateway, "not_multipart").await;
    assert_eq!(send(&gateway, b"GET /xiaozhi/vision HTTP/1.1\r\nHost: gw\r\n\r\n").await.0, 405);
    assert_eq!(photos(&gateway, 0).await.len(), 0, "none of it is kept");

    // in any order, with parts that nobody knows, and without a question
    let (status, body) =
        post(&gateway, &token, MAC, &form(&[("x", b"y"), ("file", &photo(100)), ("question", b"what?")])).await;
    assert_eq!((status, &body["success"]), (200, &json!(false)), "{body}");
    assert_eq!(post(&gateway, &token, MAC, &form(&[("file", &photo(100))])).await.0, 200);
    let kept = photos(&gateway, 2).await;
    assert_eq!(
        (&kept[0].detail["question"], &kept[1].detail["question"]),
        (&json!("what?"), &json!("What is in this picture?"))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_that_comes_too_slowly_is_given_up_and_one_at_a_time_is_looked_at_for_each_device() {
    let (url, mut asked) = service(Service::Hangs).await;
    let (gateway, login) = start(Some(&url), |config| {
        config.devices.vision.time = Span::ms(300);
        config.devices.vision.at_once = 2;
    })
    .await;
    let (_board, token) = mqtt_board(&gateway, &login).await;
    let mut form = usual();
    let length = format!("Content-Length: {}", form.len());
    form.truncate(500);
    let slow = [head(&token, MAC, FORM, &length).as_bytes(), &form].concat();
    assert_eq!(send(&gateway, &slow).await.0, 408);
    uploads(&gateway, "slow").await;

    // the service looks at one for ever; another device is served meanwhile, and no third
    let whole = usual();
    let request = [head(&token, MAC, FORM, &format!("Content-Length: {}", whole.len())).as_bytes(), &whole].concat();
    let mut looked_at = TcpStream::connect(gateway.addrs().devices.unwrap()).await.unwrap();
    looked_at.write_all(&request).await.unwrap();
    asked.recv().await.unwrap();
    assert_eq!(send(&gateway, &request).await.0, 429);
    uploads(&gateway, "busy").await;
    let mut others = Vec::new();
    for n in 3..5 {
        let mac = format!("3c:84:27:aa:bb:0{n}");
        let login = self::login(&gateway, &mac).await;
        let mut board = Board::connect(&login, &Path::Mqtt, 60, PATIENCE).await.unwrap().with_camera(b"");
        board.hello(PATIENCE).await.unwrap();
        while board.camera.as_ref().unwrap().told.is_none() {
            let _ = board.next(PATIENCE, "initialize").await.unwrap();
        }
        let token = board.camera.as_ref().unwrap().told.clone().unwrap().1;
        let head = head(&token, &mac, FORM, &format!("Content-Length: {}", whole.len()));
        let mut stream = TcpStream::connect(gateway.addrs().devices.unwrap()).await.unwrap();
        stream.write_all(&[head.as_bytes(), &whole].concat()).await.unwrap();
        if n == 3 {
            asked.recv().await.unwrap();
        } else {
            assert_eq!(answer(stream).await.0, 503);
            uploads(&gateway, "full").await;
            break;
        }
        others.push((board, stream));
    }
    // who breaks off is waited for no longer: the service is let go, the photo is kept, the place is free
    drop(looked_at);
    assert_eq!(asked.recv().await.unwrap().0, "gone");
    question(&gateway, "cancelled").await;
    assert_eq!(photos(&gateway, 1).await[0].detail["unanswered"], "cancelled");
    let mut again = TcpStream::connect(gateway.addrs().devices.unwrap()).await.unwrap();
    again.write_all(&request).await.unwrap();
    asked.recv().await.unwrap();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_whose_session_ends_meanwhile_is_answered_at_once() {
    let (url, mut asked) = service(Service::Hangs).await;
    let (gateway, login) = start(Some(&url), |_| {}).await;
    let (mut board, token) = mqtt_board(&gateway, &login).await;
    let form = usual();
    let head = head(&token, MAC, FORM, &format!("Content-Length: {}", form.len()));
    let mut stream = TcpStream::connect(gateway.addrs().devices.unwrap()).await.unwrap();
    stream.write_all(&[head.as_bytes(), &form].concat()).await.unwrap();
    asked.recv().await.unwrap();
    board.goodbye().await.unwrap();
    let (status, body) = answer(stream).await;
    assert_eq!(
        (status, body),
        (200, json!({"success": false, "message": "The picture could not be looked at just now."}))
    );
    assert_eq!(asked.recv().await.unwrap().0, "gone");
    assert_eq!(photos(&gateway, 1).await[0].detail["unanswered"], "cancelled");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_slow_down_silent_or_refuses_is_told_in_words_and_the_photo_is_kept() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = format!("http://{}/v1", nobody.local_addr().unwrap());
    drop(nobody);
    let not_now = "The picture could not be looked at just now.";
    for (url, cause, words) in [
        (down, "unavailable", not_now),
        (service(Service::Refuses("401 Unauthorized")).await.0, "unauthorized", not_now),
        (service(Service::Refuses("429 Too Many Requests")).await.0, "rate_limited", not_now),
        (service(Service::Hangs).await.0, "timeout", "Looking at the picture took too long."),
        (service(Service::Says(" ")).await.0, "silent", "Nothing could be said about the picture."),
    ] {
        let (gateway, login) = start(Some(&url), |config| {
            config.devices.vision.time = Span::ms(400);
            config.devices.vision.answer = Span::ms(600);
        })
        .await;
        let (_board, token) = mqtt_board(&gateway, &login).await;
        let (status, body) = post(&gateway, &token, MAC, &usual()).await;
        assert_eq!((status, body), (200, json!({"success": false, "message": words})), "{cause}");
        uploads(&gateway, "unanswered").await;
        question(&gateway, cause).await;
        assert_eq!(photos(&gateway, 1).await[0].detail["unanswered"], cause);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_that_is_larger_than_the_service_shall_have_is_kept_and_not_sent() {
    let (url, mut asked) = service(Service::Says("A cat.")).await;
    let (gateway, login) = start(Some(&url), |config| config.vision.largest = ByteSize::kb(16)).await;
    let (_board, token) = mqtt_board(&gateway, &login).await;
    let (status, body) = post(&gateway, &token, MAC, &form(&[("file", &photo(20_000))])).await;
    assert_eq!((status, &body["message"]), (200, &json!("The picture is too large to be looked at.")));
    assert!(asked.try_recv().is_err());
    assert_eq!(photos(&gateway, 1).await[0].detail["size"], 20_000);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_sends_one_photo_after_the_other_has_to_wait() {
    let (gateway, login) = start(None, |config| config.devices.vision.per_minute = 2).await;
    let (_board, token) = mqtt_board(&gateway, &login).await;
    for status in [200, 200, 429] {
        assert_eq!(post(&gateway, &token, MAC, &usual()).await.0, status);
    }
    uploads(&gateway, "limited").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_photos_are_switched_off_boards_are_told_of_no_place_for_them() {
    let (gateway, login) = start(None, |config| config.devices.vision.enabled = false).await;
    let board = board(&gateway, &login, &Path::Mqtt).await;
    assert_eq!(board.camera.as_ref().unwrap().told, None);
    assert_eq!(post(&gateway, "x", MAC, &usual()).await.0, 404);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_first_service_is_down_another_looks_in_the_same_answer() {
    let (down, _asked) = service(Service::Refuses("503 Service Unavailable")).await;
    let (url, mut asked) = service(Service::Says("A cat.")).await;
    let stands_in =
        voxgate::provider::Service { kind: Kind::Openai, url: Some(url), ..voxgate::provider::Service::default() };
    let (gateway, login) = start(Some(&down), |config| config.vision.backup.push(stands_in)).await;
    let (_board, token) = mqtt_board(&gateway, &login).await;
    let (status, body) = post(&gateway, &token, MAC, &usual()).await;
    assert_eq!((status, &body["response"]), (200, &json!("A cat.")));
    assert!(!asked.recv().await.unwrap().0.contains(KEY), "the key is for the first");
    for (route, outcome) in [("0", "unavailable"), ("1", "answered")] {
        let labels = [("capability", "vision"), ("route", route), ("outcome", outcome)];
        gateway.counted("voxgate_provider_requests_total", &labels, 1).await;
    }
    gateway.stop().await;
}
