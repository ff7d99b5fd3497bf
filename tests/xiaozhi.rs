//! Whole conversations with boards that have stock xiaozhi firmware: simulated, and strict about what they are sent.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use voxgate::admin::{self, Admin, DeviceChange, NewDevice};
use voxgate::domain::{DeviceId, Downlink, ListenMode, Message, Span};
use voxgate::provider::{ChatModel, ChatPiece, ChatRequest, ChatStream, Role, ToolCall};
use voxgate::sim::bench::voice;
use voxgate::sim::device::Login;
use voxgate::sim::script::Script;
use voxgate::sim::xiaozhi::{Board, Exchange, Heard, Mode, Path, State, Talk, Weather, exchange};
use voxgate::wire::xiaozhi::frames::Version;

use gateway::peer::{self, Got, Peer};
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
    gateway.until_zero("voxgate_udp_channels").await;
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
        gateway.until_zero("voxgate_websocket_open").await;
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
async fn over_websocket_a_board_that_never_says_the_name_of_its_session_is_in_it() {
    let (gateway, login) = start(chat(&["Yes."])).await;
    let url = format!("ws://{}/xiaozhi/v1/", gateway.addrs().devices.unwrap());
    let mut board = board(&login, &Path::WebSocket(url, Version::One)).await;
    board.nameless = true;
    board.hello(PATIENCE).await.unwrap();
    for mode in [Mode::Auto, Mode::Manual] {
        assert!(talk(&mut board, mode, 0.0).await.answered());
    }
    content(&board);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_subscribes_gets_each_message_once_as_does_one_that_never_does() {
    let (gateway, login) = start(chat(&["Yes."])).await;
    let hello = json!({"type": "hello", "version": 3, "transport": "udp", "features": {},
        "audio_params": {"format": "opus", "sample_rate": 16_000, "channels": 1, "frame_duration": 60}});
    // a hello is the first that is sent, and, after it and an alert, the third
    for (subscribes, sent) in [(true, 1), (false, 3)] {
        let mut peer = Peer::connect(gateway.addrs().mqtt, peer::Version::V4, MAC, &login.secret).await;
        if subscribes {
            peer.subscribe(&format!("xz/{MAC}/down")).await;
        }
        let mut counts = BTreeMap::<String, u32>::new();
        peer.publish_on(&format!("xz/{MAC}/up"), 0, hello.to_string().as_bytes()).await;
        // what follows the hello in order tells that no second one is on its way
        gateway.counted("voxgate_downlink_packets_total", &[("kind", "control")], sent).await;
        gateway.operators().device_alert(alert("Dinner is ready", None, None)).await.unwrap();
        while !counts.contains_key("alert") {
            if let Got::Message(topic, payload) = peer.next().await {
                assert_eq!(topic, format!("xz/{MAC}/down"));
                let text: Value = serde_json::from_slice(&payload).unwrap();
                *counts.entry(text["type"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        assert_eq!(counts.get("hello"), Some(&1), "{counts:?}");
        drop(peer);
        gateway.until_zero("voxgate_mqtt_connections").await;
    }
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

/// Its wake word, so loud.
async fn calls(board: &mut Board, loudness: i16) {
    let word: Vec<i16> = voice(Duration::from_millis(900)).iter().map(|sample| sample / loudness).collect();
    for frame in &Script::from_pcm(&word, "a wake word").unwrap().frames {
        board.microphone(frame).await.unwrap();
    }
}

/// Says its wake word, so loud, and then that it woke.
async fn wakes(board: &mut Board, loudness: i16) {
    calls(board, loudness).await;
    board.detect("你好小智").await.unwrap();
}

/// A gateway and the two boards of a kitchen, which have said hello.
async fn kitchen() -> (Running, Board, Board) {
    let (gateway, far) = start_with(chat(&["Yes."]), |config| {
        config.session.xiaozhi.room_window = Span::secs(2);
        config.session.xiaozhi.late_audio = Span::secs(1);
    })
    .await;
    let id = DeviceId::parse("3c:84:27:aa:bb:02").unwrap();
    let new = NewDevice::anew(id.clone(), ListenMode::Auto);
    let secret = gateway.operators().device_add(new).await.unwrap().secret.unwrap().0;
    let near = Login { id: id.clone(), secret, ..far.clone() };
    for device in [far.id.clone(), id] {
        let change = DeviceChange { room: Some("kitchen".into()), ..DeviceChange::of(device) };
        gateway.operators().device_set(change).await.unwrap();
    }
    let (far, near) = (greeted(&far).await, greeted(&near).await);
    (gateway, far, near)
}

/// The near one says "Yes?", the far one is sent back to rest.
async fn the_near_one_answers(gateway: &Running, far: &mut Board, near: &mut Board) {
    let greeting = until(near, |text| text["state"] == "sentence_start").await;
    assert_eq!(greeting["text"], "Yes?");
    let session = far.strict.session().to_owned();
    let end = until(far, |text| text["type"] == "goodbye" || text["type"] == "tts").await;
    assert_eq!((&end["type"], &end["session_id"]), (&json!("goodbye"), &json!(session)));
    gateway.counted("voxgate_outdone_wakes_total", &[], 1).await;
    content(far);
    content(near);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_boards_in_a_room_the_one_that_heard_its_name_louder_answers() {
    let (gateway, mut far, mut near) = kitchen().await;
    wakes(&mut far, 8).await;
    wakes(&mut near, 1).await;
    the_near_one_answers(&gateway, &mut far, &mut near).await;
    // alone it answers
    far.hello(PATIENCE).await.unwrap();
    wakes(&mut far, 8).await;
    until(&mut far, |text| text["state"] == "sentence_start").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_word_counts_although_its_datagrams_are_overtaken_by_the_news_of_it() {
    let (gateway, mut far, mut near) = kitchen().await;
    wakes(&mut far, 8).await;
    near.detect("你好小智").await.unwrap();
    until(&mut near, |text| text["type"] == "stt").await;
    calls(&mut near, 1).await;
    the_near_one_answers(&gateway, &mut far, &mut near).await;
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
struct Caller {
    tool: &'static str,
    asked: Mutex<Vec<ChatRequest>>,
}

impl Caller {
    fn of(tool: &'static str) -> Arc<Self> {
        Arc::new(Self { tool, asked: Mutex::default() })
    }
}

impl ChatModel for Caller {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        let told = request.messages.iter().rev().find(|message| message.role == Role::Tool).map(|m| m.content.clone());
        self.asked.lock().unwrap().push(request);
        let piece = match told {
            Some(told) => ChatPiece::Text(format!("The board says {told}.")),
            None => ChatPiece::Call(ToolCall {
                id: "1".into(),
                name: self.tool.into(),
                arguments: "{\"theme\": \"dark\"}".into(),
            }),
        };
        futures::stream::iter([Ok(piece)]).boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_calls_the_boards_tools_and_never_those_for_people() {
    let model = Caller::of("self_screen_set_theme");
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
    let offered: Vec<String> = model.asked.lock().unwrap()[0].tools.iter().map(|tool| tool.name.clone()).collect();
    assert_eq!(offered, ["self_get_device_status", "self_screen_set_theme", "self_x"]);
    content(&board);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_worked_on_with_the_boards_own_tools_and_its_end_is_said() {
    let model = Caller::of("device_self_screen_set_theme");
    let (gateway, login) = start(with_chat(model.clone())).await;
    let tools = [("self.screen.set_theme", "true"), ("self.reboot", "true")];
    let mut board = board(&login, &Path::Mqtt).await.with_tools(&tools);
    board.hello(PATIENCE).await.unwrap();
    until(&mut board, |text| text["payload"]["method"] == "tools/list").await;
    gateway.counted("voxgate_device_tools_total", &[("why", "listed")], 1).await;
    let new = admin::NewTask {
        id: Some("dark".into()),
        goal: "make the screen dark".into(),
        session: None,
        device: Some(DeviceId::parse(MAC).unwrap()),
        timeout: None,
        notify: true,
        speak: true,
        interrupt_previous: false,
        steps: Vec::new(),
        by: "test".into(),
    };
    gateway.operators().task_begin(new).await.unwrap();
    let said = until(&mut board, |text| text["state"] == "sentence_start").await;
    let query = admin::TaskQuery { id: Some("dark".into()), ..Default::default() };
    let task = gateway.operators().task_list(query).await.unwrap().remove(0);
    assert_eq!(said["text"], "Done.", "{task:?}");
    until(&mut board, |text| text["type"] == "tts" && text["state"] == "stop").await;
    assert_eq!(board.called, [("self.screen.set_theme".to_owned(), json!({"theme": "dark"}))]);
    assert_eq!(task.status, admin::TaskStatus::Success, "{task:?}");
    let told = task.result["text"].as_str().unwrap();
    assert!(told.starts_with("The board says ") && told.contains("true"), "{told}");
    let offered: Vec<String> = model.asked.lock().unwrap()[0].tools.iter().map(|tool| tool.name.clone()).collect();
    assert!(offered.contains(&"device_self_screen_set_theme".to_owned()), "{offered:?}");
    assert!(!offered.contains(&"device_self_reboot".to_owned()), "that is for people: {offered:?}");
    content(&board);
    gateway.stop().await;
}

/// Fault 25 of OpenCane, for boards: what is asked of one that is away is asked when it is there, by its own tools.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_call_waits_for_a_board_that_is_away_and_what_it_has_no_word_for_fails() {
    let (gateway, login) = start(chat(&["Yes."])).await;
    let (operators, id) = (gateway.operators(), DeviceId::parse(MAC).unwrap());
    let begin = async |name: &str, op_type, payload: Value| {
        let payload = payload.as_object().unwrap().clone();
        let order = admin::Order { op_type, payload, time: None, by: "test".into() };
        let new = admin::NewOperation { device: id.clone(), id: Some(name.into()), order };
        operators.operation_begin(new).await.unwrap()
    };
    let call = json!({"name": "self.get_device_status", "arguments": {"deep": true}});
    let begun = begin("call", admin::OperationType::ToolCall, call).await;
    assert_eq!(begun.status, admin::OperationStatus::Queued);
    begin("config", admin::OperationType::SetConfig, json!({"a": 1})).await;
    let mut board = board(&login, &Path::Mqtt).await.with_tools(&[("self.get_device_status", "fine")]);
    board.hello(PATIENCE).await.unwrap();
    let ended = async |name: &str| {
        let query = admin::OperationQuery { id: Some(name.into()), ..Default::default() };
        let row = operators.operation_list(query).await.unwrap().remove(0);
        (row.acked_at_ms > 0).then_some(row)
    };
    let begun = tokio::time::Instant::now();
    let (mut called, mut config) = (None, None);
    while called.is_none() || config.is_none() {
        assert!(begun.elapsed() < PATIENCE, "{called:?} {config:?}");
        let _ = board.next(Duration::from_millis(50), "request").await;
        (called, config) = (ended("call").await, ended("config").await);
    }
    let (called, config) = (called.unwrap(), config.unwrap());
    assert_eq!((called.status, called.result), (admin::OperationStatus::Acked, json!("fine")));
    assert_eq!(config.status, admin::OperationStatus::Failed);
    assert!(config.error.contains("no word"), "{}", config.error);
    assert_eq!(board.called, [("self.get_device_status".to_owned(), json!({"deep": true}))]);
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

/// Asks a thing for its state in its first answer, sets it in its second, and says in its third what came of it.
struct OldHand(Mutex<Vec<ChatRequest>>);

impl ChatModel for OldHand {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        let told: Vec<String> =
            request.messages.iter().filter(|m| m.role == Role::Tool).map(|m| m.content.clone()).collect();
        self.0.lock().unwrap().push(request);
        let call = |id: &str, name: &str, arguments: &str| {
            ChatPiece::Call(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() })
        };
        let piece = match told.len() {
            0 => call("1", "Speaker_get_state", ""),
            1 => call("2", "Speaker_SetVolume", "{\"volume\": 30}"),
            2 => call("3", "Speaker_SetVolume", "{\"volume\": \"loud\"}"),
            _ => ChatPiece::Text(told.join("; ")),
        };
        futures::stream::iter([Ok(piece)]).boxed()
    }
}

fn speaker() -> Value {
    json!({
        "name": "Speaker", "description": "loudspeaker",
        "properties": {"volume": {"description": "how loud", "type": "number"}},
        "methods": {"SetVolume": {"description": "sets it", "parameters": {
            "volume": {"description": "0 to 100", "type": "number"}}}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_things_of_older_firmware_are_tools_and_their_states_can_be_asked_for() {
    let model = Arc::new(OldHand(Mutex::default()));
    let (gateway, login) = start(with_chat(model.clone())).await;
    let mut board = board(&login, &Path::Mqtt).await.with_things(&[speaker()]);
    board.hello(PATIENCE).await.unwrap();
    board
        .say(json!({"type": "iot", "update": true, "states": [{"name": "Speaker", "state": {"volume": 70}}]}))
        .await
        .unwrap();
    // what makes no sense is counted, and harms nothing
    for garbage in
        [json!({"descriptors": [{"name": 7}]}), json!({"states": [{"name": "Lamp", "state": {}}]}), json!({})]
    {
        let mut text = garbage;
        text["type"] = "iot".into();
        board.say(text).await.unwrap();
    }
    let heard = talk(&mut board, Mode::Auto, 0.0).await;
    let said = heard.sentences.concat();
    assert!(said.contains("\"volume\":70") && said.contains("the device was told to"), "{said}");
    assert!(said.contains("volume is no integer"), "{said}");
    assert_eq!(board.commanded, [json!({"name": "Speaker", "method": "SetVolume", "parameters": {"volume": 30}})]);
    let offered: Vec<String> = model.0.lock().unwrap()[0].tools.iter().map(|tool| tool.name.clone()).collect();
    assert_eq!(offered, ["Speaker_SetVolume", "Speaker_get_state"]);
    for why in ["thing", "state", "no_things"] {
        assert_eq!(gateway.metric("voxgate_device_tools_total", &[("why", why)]).await, 1, "{why}");
    }
    // an operator does the same by hand
    let operators = gateway.operators();
    let id = DeviceId::parse(MAC).unwrap();
    assert_eq!(operators.device_tools(id.clone()).await.unwrap().len(), 2);
    let tool = "Speaker.SetVolume".to_owned();
    let call = admin::ToolCall { device: id, tool, arguments: "{\"volume\": 5}".into() };
    operators.device_call(call).await.unwrap();
    until(&mut board, |text| text["type"] == "iot").await;
    assert_eq!(board.commanded.len(), 2);
    content(&board);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_has_tools_keeps_them_whatever_it_tells_of_things() {
    let (gateway, login) = start(chat(&["Yes."])).await;
    let tools = [("self.get_device_status", "fine")];
    let mut board = board(&login, &Path::Mqtt).await.with_tools(&tools).with_things(&[speaker()]);
    board.hello(PATIENCE).await.unwrap();
    until(&mut board, |text| text["payload"]["method"] == "tools/list").await;
    gateway.counted("voxgate_device_tools_total", &[("why", "beside_mcp")], 1).await;
    gateway.counted("voxgate_device_tools_total", &[("why", "listed")], 1).await;
    let listed = gateway.operators().device_tools(DeviceId::parse(MAC).unwrap()).await.unwrap();
    assert_eq!(listed.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["self.get_device_status"]);
    gateway.stop().await;
}

fn alert(text: &str, status: Option<&str>, emotion: Option<&str>) -> admin::Alert {
    admin::Alert {
        device: DeviceId::parse(MAC).unwrap(),
        text: text.into(),
        level: admin::Level::Warning,
        status: status.map(str::to_owned),
        emotion: emotion.map(str::to_owned),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_reaches_a_board_over_mqtt_idle_or_not_and_one_over_websocket_in_a_conversation_only() {
    let (gateway, login) = start(chat(&["Yes."])).await;
    let operators = gateway.operators();
    let nobody = operators.device_alert(alert("Dinner", None, None)).await.unwrap_err();
    assert_eq!(nobody.kind, admin::AdminErrorKind::NotFound, "{nobody}");
    let mut mqtt = board(&login, &Path::Mqtt).await;
    // which dialect it speaks is known from the first thing that it says
    mqtt.say(json!({"type": "ping"})).await.unwrap();
    gateway.counted("voxgate_control_messages_total", &[("kind", "heartbeat")], 1).await;
    operators.device_alert(alert("Dinner is ready", None, None)).await.unwrap();
    let told = until(&mut mqtt, |text| text["type"] == "alert").await;
    assert_eq!(
        (&told["message"], &told["status"], &told["emotion"]),
        (&json!("Dinner is ready"), &json!("Warning"), &json!("thinking"))
    );
    mqtt.hello(PATIENCE).await.unwrap();
    operators.device_alert(alert("The door is open", Some("Door"), Some("surprised"))).await.unwrap();
    let told = until(&mut mqtt, |text| text["type"] == "alert").await;
    assert_eq!((&told["status"], &told["emotion"]), (&json!("Door"), &json!("surprised")));
    content(&mqtt);
    for bad in [
        alert(" ", None, None),
        alert("x", Some(""), None),
        alert("x", None, Some("a\nb")),
        alert(&"x".repeat(2_000), None, None),
    ] {
        assert_eq!(operators.device_alert(bad).await.unwrap_err().kind, admin::AdminErrorKind::Invalid);
    }
    drop(mqtt);
    gateway.until_zero("voxgate_mqtt_connections").await;

    let url = format!("ws://{}/xiaozhi/v1/", gateway.addrs().devices.unwrap());
    let mut websocket = board(&login, &Path::WebSocket(url, Version::One)).await;
    websocket.hello(PATIENCE).await.unwrap();
    operators.device_alert(alert("Hello", None, None)).await.unwrap();
    until(&mut websocket, |text| text["type"] == "alert").await;
    drop(websocket);
    gateway.until_zero("voxgate_websocket_open").await;
    let gone = operators.device_alert(alert("Hello", None, None)).await.unwrap_err();
    assert!(gone.to_string().contains("not connected"), "{gone}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_device_gets_an_alert_as_its_contract_has_it() {
    let gateway = Running::start(chat(&["Yes."])).await;
    let mut device = gateway.device("cane-1").await;
    let alert = admin::Alert { device: DeviceId::parse("cane-1").unwrap(), ..alert("Low battery", Some("x"), None) };
    gateway.operators().device_alert(alert).await.unwrap();
    let told = gateway::until(&mut device, |downlink| {
        matches!(downlink, Downlink::Control { message: Message::Alert { .. }, .. })
    })
    .await;
    let Downlink::Control { message: Message::Alert { level, text, .. }, .. } = told else { unreachable!("an alert") };
    assert_eq!((level.as_str(), text.as_str()), ("warning", "Low battery"));
    gateway.stop().await;
}
