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
use voxgate::sim::interrupt::How;
use voxgate::sim::load::{self, Load, Until};
use voxgate::sim::report::Report;
use voxgate::sim::talker::{Kind, Manner};
use voxgate::sim::xiaozhi::{Board, Exchange, Heard, Mode, Path, State, Talk, Weather, exchange};
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
    board.weather = Weather::new(loss, 0.0, 7);
    exchange(board, &speech(), &Talk::new(mode)).await.unwrap()
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
        assert_eq!(heard.turn.transcript, "why is the sky blue");
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
    board.microphone(&speech().frames[0]).await.unwrap();
    board.detect("tell me a long story").await.unwrap();
    let mut frames = 0;
    while frames < 8 {
        frames += u32::from(matches!(board.next(PATIENCE, "frame").await.unwrap(), Heard::Frame(..)));
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
async fn a_board_that_restarts_without_a_word_is_heard_again_at_once() {
    let (gateway, login) = start(chat(&["Yes."])).await;
    let mut before = greeted(&login).await;
    assert!(talk(&mut before, Mode::Manual, 0.0).await.answered());
    drop(before);
    let mut board = greeted(&login).await;
    assert!(talk(&mut board, Mode::Manual, 0.0).await.answered(), "its datagrams are numbered from 1 again");
    content(&board);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_ends_although_the_board_sends_nothing_while_it_is_silent() {
    let (gateway, login) = start_with(chat(&["Yes."]), |config| {
        config.session.audio_stall = Span::secs(0);
    })
    .await;
    let mut board = greeted(&login).await;
    board.listen(Mode::Auto).await.unwrap();
    let speech = speech();
    for frame in speech.frames.iter().chain(&speech.silence[..4]) {
        board.microphone(frame).await.unwrap();
    }
    until(&mut board, |text| text["state"] == "stop").await;
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
    board.microphone(&speech().silence[0]).await.unwrap();
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

/// A crowd of boards, each with a path of its own, as `voxgate sim` makes them.
async fn crowd(gateway: &Running, devices: u32) -> Vec<(Login, Kind)> {
    let mut crowd = Vec::new();
    let url = format!("ws://{}/xiaozhi/v1/", gateway.addrs().devices.unwrap());
    for n in 0..devices {
        let id = DeviceId::parse(&format!("3c:84:27:aa:cc:{n:02x}")).unwrap();
        let new = NewDevice::anew(id.clone(), ListenMode::Auto);
        let secret = gateway.operators().device_add(new).await.unwrap().secret.unwrap().0;
        let addr = gateway.addrs().mqtt;
        let login = Login { host: addr.ip().to_string(), port: addr.port(), id, secret };
        let path = if n % 2 == 0 { Path::Mqtt } else { Path::WebSocket(url.clone(), Version::One) };
        crowd.push((login, Kind::Xiaozhi(path)));
    }
    crowd
}

fn manner() -> Manner {
    Manner { mode: ListenMode::Auto, interrupt: None, ahead: 5, loss: 0.0, reorder: 0.0, leave: 0.0 }
}

async fn run(gateway: &Running, devices: u32, turns: usize, manner: Manner) -> Report {
    let load = Load {
        devices: crowd(gateway, devices).await,
        manner,
        until: Until::Turns(turns),
        ramp: Duration::from_millis(100),
        hold: Duration::ZERO,
    };
    load::run(&load, Arc::new(speech()), |_, _| {}).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn boards_that_leave_and_come_back_over_both_transports_get_every_answer() {
    let (gateway, _) = start(chat(&["Because of the air."])).await;
    let report = run(&gateway, 4, 3, Manner { leave: 1.0, ..manner() }).await;
    assert!(report.clean(), "{report}");
    assert_eq!((report.answered, report.lost), (12, 0), "{report}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_stop_when_a_button_is_pressed_and_nothing_of_them_follows() {
    let (gateway, _) =
        start(chat(&["Because of the air, which scatters blue light the most of all, as you can see."])).await;
    let report = run(&gateway, 4, 2, Manner { interrupt: Some(How::Abort), ..manner() }).await;
    let interrupted = report.interrupted.unwrap();
    assert_eq!((interrupted.count + interrupted.missed, interrupted.after_stop), (8, 0), "{report}");
    assert!(interrupted.count > 0 && report.complaints.is_empty(), "{report}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_costs_sound_and_no_answer() {
    let (gateway, _) = start(chat(&["Because of the air."])).await;
    let report = run(&gateway, 2, 2, Manner { loss: 0.1, reorder: 0.1, ..manner() }).await;
    assert_eq!((report.answered, report.complaints.len()), (4, 0), "{report}");
    gateway.stop().await;
}

#[test]
fn the_bench_answers_its_boards() {
    let mut bench = std::process::Command::new(env!("CARGO_BIN_EXE_voxgate"));
    bench.args([
        "bench",
        "--dialect",
        "xiaozhi",
        "--transport",
        "both",
        "--devices",
        "2",
        "--turns",
        "1",
        "--frame",
        "20",
        "--json",
    ]);
    let output = bench.env_remove("VOXGATE_CONFIG").output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(found["report"]["answered"], 2, "{found}");
    assert!(found["report"]["complaints"].is_null(), "{found}");
}
