//! Whole conversations with boards that have stock xiaozhi firmware: simulated, and strict about what they are sent.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use voxgate::admin::{self, Admin, NewDevice};
use voxgate::domain::{DeviceId, ListenMode, Span};
use voxgate::provider::{ChatModel, ChatPiece, ChatRequest, ChatStream, Role, ToolCall};
use voxgate::sim::device::Login;
use voxgate::sim::xiaozhi::{Board, Exchange, Heard, Mode, Path, State, Weather, exchange};
use voxgate::wire::xiaozhi::frames::Version;

use gateway::{PATIENCE, Running, chat, speech, with_chat};

const MAC: &str = "3c:84:27:aa:bb:01";

/// A gateway, and the login of a board that it knows.
async fn start(providers: voxgate::app::Providers) -> (Running, Login) {
    start_with(providers, |_| {}).await
}

async fn start_with(
    providers: voxgate::app::Providers,
    change: impl FnOnce(&mut voxgate::config::Config),
) -> (Running, Login) {
    let gateway = Running::start_with(providers, change).await;
    let new = NewDevice::anew(DeviceId::parse(MAC).unwrap(), ListenMode::Auto);
    let secret = gateway.operators().device_add(new).await.unwrap().secret.unwrap().0;
    let addr = gateway.addrs().mqtt;
    let login = Login { host: addr.ip().to_string(), port: addr.port(), id: DeviceId::parse(MAC).unwrap(), secret };
    (gateway, login)
}

async fn board(login: &Login, path: &Path) -> Board {
    Board::connect(login, path, 60, PATIENCE).await.unwrap()
}

/// A board in a conversation.
async fn greeted(login: &Login) -> Board {
    let mut board = board(login, &Path::Mqtt).await;
    board.hello(PATIENCE).await.unwrap();
    board
}

async fn talk(board: &mut Board, mode: Mode, loss: f64) -> Exchange {
    exchange(board, &speech(), mode, &mut Weather::new(loss, 7)).await.unwrap()
}

/// The next text that `wanted` likes.
async fn until(board: &mut Board, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        if let Heard::Text(text) = board.next(PATIENCE, "text").await.unwrap()
            && wanted(&text)
        {
            return text;
        }
    }
}

/// Waits until a gauge says that nothing is left.
async fn falls_to_zero(gateway: &Running, name: &str) {
    let falling = async { while gateway.metric(name, &[]).await > 0 {} };
    assert!(tokio::time::timeout(PATIENCE, falling).await.is_ok(), "{name} stays");
}

fn content(board: &Board) {
    assert_eq!(board.strict.complaints, [""; 0], "what would trouble firmware");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_over_mqtt_and_datagrams_is_heard_and_answered_in_each_mode() {
    let (gateway, login) = start(chat(&["Because of the air. ", "It scatters blue. 😊"])).await;
    let mut board = greeted(&login).await;
    for mode in [Mode::Auto, Mode::Manual, Mode::Realtime] {
        let heard = talk(&mut board, mode, 0.0).await;
        assert_eq!(heard.transcript, "why is the sky blue");
        assert!(heard.answered(), "{mode:?}: {heard:?}");
        assert_eq!(heard.sentences.concat(), "Because of the air.It scatters blue.");
        assert_eq!(heard.emotion.as_deref(), Some("happy"));
        content(&board);
    }
    board.goodbye().await.unwrap();
    falls_to_zero(&gateway, "voxgate_udp_channels").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_over_websocket_is_heard_and_answered_with_frames_of_each_version() {
    let (gateway, login) = start(chat(&["Because of the air. ", "It scatters blue. 😊"])).await;
    let url = format!("ws://{}/xiaozhi/v1/", gateway.addrs().devices.unwrap());
    for (version, mode) in [(Version::One, Mode::Auto), (Version::Two, Mode::Manual), (Version::Three, Mode::Realtime)]
    {
        let mut board = board(&login, &Path::WebSocket(url.clone(), version)).await;
        board.hello(PATIENCE).await.unwrap();
        let heard = talk(&mut board, mode, 0.0).await;
        assert!(heard.answered() && heard.emotion.as_deref() == Some("happy"), "{version:?}: {heard:?}");
        content(&board);
        drop(board);
        // its end is the conversation's
        falls_to_zero(&gateway, "voxgate_websocket_open").await;
    }
    let wrong = Login { secret: "guessed".into(), ..login.clone() };
    let refused = Board::connect(&wrong, &Path::WebSocket(url, Version::One), 60, PATIENCE).await.err().unwrap();
    assert!(refused.to_string().contains("401"), "{refused}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_stops_no_conversation() {
    let (gateway, login) = start(chat(&["Because of the air."])).await;
    let mut board = greeted(&login).await;
    for loss in [0.02, 0.1] {
        let heard = talk(&mut board, Mode::Auto, loss).await;
        assert!(heard.answered(), "{loss}: {heard:?}");
    }
    content(&board);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_word_is_greeted_and_a_typed_text_answered_although_nothing_was_said_before() {
    let (gateway, login) = start(chat(&["Because of the air."])).await;
    let mut board = greeted(&login).await;
    board.detect("你好小智").await.unwrap();
    let greeting = until(&mut board, |text| text["state"] == "sentence_start").await;
    assert_eq!(greeting["text"], "Yes?");
    until(&mut board, |text| text["state"] == "stop").await;
    // its typed texts come after the start of listening
    board.listen(Mode::Manual).await.unwrap();
    board.detect("why is the sky blue").await.unwrap();
    let answer = until(&mut board, |text| text["state"] == "sentence_start").await;
    assert_eq!(answer["text"], "Because of the air.");
    until(&mut board, |text| text["state"] == "stop").await;
    content(&board);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_is_answered_at_once_and_no_old_speech_follows() {
    let long: Vec<String> = (0..40).map(|n| format!("This is the sentence with the number {n}. ")).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let (gateway, login) = start(chat(&long)).await;
    let mut board = greeted(&login).await;
    board.listen(Mode::Manual).await.unwrap();
    board.microphone(&speech().frames[0], true).await.unwrap();
    board.detect("tell me a long story").await.unwrap();
    let mut frames = 0;
    while frames < 8 {
        frames += u32::from(matches!(board.next(PATIENCE, "frame").await.unwrap(), Heard::Frame(_)));
    }
    board.abort(None).await.unwrap();
    until(&mut board, |text| text["state"] == "stop").await;
    assert_eq!(board.strict.state(), State::Idle);
    let after = board.next(Duration::from_millis(300), "anything").await;
    assert!(after.is_err(), "{after:?}");
    content(&board);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_goes_on_in_a_conversation_that_is_over_is_told_so_and_begins_anew() {
    let (gateway, login) = start(chat(&["Yes."])).await;
    let mut before = greeted(&login).await;
    before.goodbye().await.unwrap();
    let mut board = board(&login, &Path::Mqtt).await;
    board.listen(Mode::Auto).await.unwrap();
    until(&mut board, |text| text["type"] == "goodbye").await;
    gateway.counted("voxgate_unknown_sessions_total", &[], 1).await;
    board.hello(PATIENCE).await.unwrap();
    assert!(talk(&mut board, Mode::Auto, 0.0).await.answered());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_was_switched_off_in_mid_conversation_is_heard_in_its_next_one() {
    // what is not heard ends with the farewell
    let idle = |config: &mut voxgate::config::Config| config.session.xiaozhi.idle = Span::secs(8);
    let (gateway, login) = start_with(chat(&["Yes."]), idle).await;
    let mut before = greeted(&login).await;
    assert!(talk(&mut before, Mode::Auto, 0.0).await.answered());
    drop(before);
    // its datagrams count from 1 again
    let mut board = greeted(&login).await;
    let heard = talk(&mut board, Mode::Auto, 0.0).await;
    assert_eq!((heard.transcript.as_str(), heard.sentences.concat().as_str()), ("why is the sky blue", "Yes."));
    content(&board);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_conversation_is_ended_with_a_farewell() {
    let (gateway, login) = start_with(chat(&["Yes."]), |config| {
        config.session.xiaozhi.idle = Span::ms(300);
    })
    .await;
    let mut board = greeted(&login).await;
    board.listen(Mode::Auto).await.unwrap();
    board.microphone(&speech().silence[0], true).await.unwrap();
    let word = until(&mut board, |text| text["state"] == "sentence_start").await;
    assert_eq!(word["text"], "Goodbye.");
    let session = board.strict.session().to_owned();
    let bye = until(&mut board, |text| text["type"] == "goodbye").await;
    assert_eq!(bye["session_id"], json!(session));
    content(&board);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_words_end_the_conversation_after_their_answer() {
    let (gateway, login) = start_with(chat(&["See you."]), |config| {
        config.session.xiaozhi.exit_words = vec!["Why is the sky blue?".into()];
    })
    .await;
    let mut board = greeted(&login).await;
    assert!(talk(&mut board, Mode::Auto, 0.0).await.answered());
    until(&mut board, |text| text["type"] == "goodbye").await;
    content(&board);
    gateway.stop().await;
}

/// Calls a tool in its first answer, and says in its second what came of it.
struct Caller(Mutex<Vec<ChatRequest>>);

impl ChatModel for Caller {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        let told = request.messages.iter().rev().find(|message| message.role == Role::Tool).map(|m| m.content.clone());
        self.0.lock().unwrap().push(request);
        let piece = match told {
            Some(told) => ChatPiece::Text(format!("The board says {told}.")),
            None => ChatPiece::Call(ToolCall {
                id: "1".into(),
                name: "self_screen_set_theme".into(),
                arguments: "{\"theme\": \"dark\"}".into(),
            }),
        };
        futures::stream::iter([Ok(piece)]).boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_calls_the_boards_tools_and_never_those_for_people() {
    let model = Arc::new(Caller(Mutex::default()));
    let (gateway, login) = start(with_chat(model.clone())).await;
    let tools = [
        ("self.get_device_status", "fine"),
        ("self.screen.set_theme", "true"),
        ("self.reboot", "true"),
        ("self.x", "y"),
    ];
    let mut board = board(&login, &Path::Mqtt).await.with_tools(&tools);
    board.hello(PATIENCE).await.unwrap();
    // the list comes in two pages
    until(&mut board, |text| text["payload"]["params"]["cursor"] == "self.reboot").await;
    gateway.counted("voxgate_device_tools_total", &[("why", "listed")], 1).await;
    let heard = talk(&mut board, Mode::Auto, 0.0).await;
    assert_eq!(heard.sentences, ["The board says true."]);
    assert_eq!(board.called, [("self.screen.set_theme".to_owned(), json!({"theme": "dark"}))]);
    let offered: Vec<String> = model.0.lock().unwrap()[0].tools.iter().map(|tool| tool.name.clone()).collect();
    assert_eq!(offered, ["self_get_device_status", "self_screen_set_theme", "self_x"]);
    content(&board);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_calls_tools_of_a_board_that_is_idle() {
    let (gateway, login) = start(chat(&["Yes."])).await;
    let tools = [("self.get_device_status", "fine"), ("self.reboot", "true")];
    let mut board = board(&login, &Path::Mqtt).await.with_tools(&tools);
    // which dialect it speaks is known from the first thing that it says
    board.say(json!({"type": "ping"})).await.unwrap();
    gateway.counted("voxgate_control_messages_total", &[("kind", "heartbeat")], 1).await;
    let operators = gateway.operators();
    let id = DeviceId::parse(MAC).unwrap();
    let asked = tokio::spawn(async move {
        let listed = operators.device_tools(id.clone()).await.unwrap();
        let call = |tool: &str, arguments: &str| admin::ToolCall {
            device: id.clone(),
            tool: tool.into(),
            arguments: arguments.into(),
        };
        let status = operators.device_call(call("self.get_device_status", "")).await;
        let unknown = operators.device_call(call("self.dance", "{}")).await;
        let bad = operators.device_call(call("self.reboot", "[1]")).await;
        (listed, status, unknown, bad)
    });
    let (listed, status, unknown, bad) = loop {
        if asked.is_finished() {
            break asked.await.unwrap();
        }
        // nothing more comes when all is answered
        let _ = board.next(Duration::from_millis(50), "request").await;
    };
    assert_eq!(listed.iter().map(|tool| tool.user_only).collect::<Vec<_>>(), [false, true]);
    assert_eq!(status.unwrap(), "fine");
    assert!(unknown.unwrap_err().to_string().contains("no tool of this name"));
    assert!(bad.unwrap_err().to_string().contains("no JSON object"));
    content(&board);
    gateway.stop().await;
}
