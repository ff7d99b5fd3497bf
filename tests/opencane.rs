//! Canes with OpenCane's firmware, over MQTT and over WebSocket: what they and their operators rely on, and what must not
//! happen to them again. The faults that are numbered are those that were found in their former server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use gateway::http::Http;
use gateway::{PATIENCE, Running, chat, speech, with_chat};
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, QoS};
use serde_json::{Value, json};
use tokio::time::timeout;
use voxgate::admin::{Admin, NewOperator, Role, TaskQuery};
use voxgate::domain::{AudioPacket, DeviceId, Downlink, SpokenFrame, Stream};
use voxgate::provider::{ChatModel, ChatPiece, ChatRequest, ChatStream};
use voxgate::wire::native::client;

/// A cane over MQTT, with a client that knows nothing of the gateway.
struct Cane {
    id: String,
    client: AsyncClient,
    events: EventLoop,
    seq: u32,
    /// Messages of ours that the broker has.
    has: usize,
    /// What is said for it there, instead of by itself.
    spokesman: Option<Http>,
}

/// What a cane gets.
#[derive(Debug)]
enum Got {
    Command(Value),
    Frame(SpokenFrame),
    /// The broker has a message of ours.
    Puback,
}

impl Cane {
    async fn connect(gateway: &Running, id: &str, secret: &str) -> Self {
        let addr = gateway.addrs().mqtt;
        let mut options = MqttOptions::new(format!("{id}-client"), addr.ip().to_string(), addr.port());
        options.set_credentials(id, secret).set_max_packet_size(8 << 20, 8 << 20);
        let (client, mut events) = AsyncClient::new(options, 64);
        loop {
            if let Event::Incoming(Incoming::ConnAck(_)) = timeout(PATIENCE, events.poll()).await.unwrap().unwrap() {
                break;
            }
        }
        Self { id: id.to_owned(), client, events, seq: 0, has: 0, spokesman: None }
    }

    async fn new(gateway: &Running, device_text: bool) -> Self {
        let secret = gateway.add("cane-1", device_text).await;
        Self::connect(gateway, "cane-1", &secret).await
    }

    /// A cane that only listens: an operator says over the control API what it would say.
    async fn spoken_for(gateway: &Running, device_text: bool) -> Self {
        let new = NewOperator { name: "olaf".to_owned(), role: Role::Operator, password: None };
        let secret = gateway.operators().operator_add(new).await.unwrap().secret.unwrap().0;
        let spokesman = Http { address: gateway.addrs().http.unwrap(), token: Some(format!("olaf.{secret}")) };
        Self { spokesman: Some(spokesman), ..Self::new(gateway, device_text).await }
    }

    /// Sends an event with the next number.
    async fn say(&mut self, kind: &str, payload: Value) -> u32 {
        self.seq += 1;
        self.say_as(self.seq, kind, payload).await;
        self.seq
    }

    async fn say_as(&mut self, seq: u32, kind: &str, payload: Value) {
        let text = json!({"version": "0.1", "msg_id": format!("m{seq}"), "device_id": self.id, "session_id": "walk-1",
            "seq": seq, "ts": 1_700_000_000_000_u64, "type": kind, "payload": payload});
        if let Some(spokesman) = &self.spokesman {
            let reply = spokesman.post("/v1/device/event", text.clone()).await;
            assert_eq!((reply.status, &reply.body), (200, &json!({"success": true, "event": text})));
            return;
        }
        self.publish("up/control", text.to_string().into_bytes()).await;
    }

    async fn publish(&mut self, topic: &str, payload: Vec<u8>) {
        let qos = if topic.ends_with("audio") { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        self.client.publish(format!("device/{}/{topic}", self.id), qos, false, payload).await.unwrap();
    }

    /// Speech in packets with these numbers and times.
    async fn speak(&mut self, numbers: impl Iterator<Item = (u32, u32)>) {
        let script = speech();
        for (n, (seq, ts_ms)) in (0..script.frames.len()).zip(numbers) {
            if self.spokesman.is_some() {
                let payload = json!({"audio_b64": STANDARD.encode(&script.frames[n]), "timestamp": ts_ms});
                self.say("audio_chunk", payload).await;
                continue;
            }
            let packet = AudioPacket { seq, ts_ms, ..script.frame(n) };
            self.publish("up/audio", client::encode_audio(&packet).to_vec()).await;
        }
    }

    async fn next(&mut self) -> Got {
        loop {
            match timeout(PATIENCE, self.events.poll()).await.expect("the gateway is silent").unwrap() {
                Event::Incoming(Incoming::Publish(publish)) if publish.topic.ends_with("down/audio") => {
                    let downlink = client::decode_downlink(Stream::Audio, &publish.payload).unwrap();
                    let Downlink::Audio(frame) = downlink else { unreachable!() };
                    return Got::Frame(frame);
                }
                Event::Incoming(Incoming::Publish(publish)) => {
                    assert_eq!(publish.topic, format!("device/{}/down/control", self.id));
                    return Got::Command(serde_json::from_slice(&publish.payload).unwrap());
                }
                Event::Incoming(Incoming::PubAck(_)) => {
                    self.has += 1;
                    return Got::Puback;
                }
                _ => {}
            }
        }
    }

    /// The next command.
    async fn command(&mut self) -> Value {
        loop {
            if let Got::Command(command) = self.next().await {
                return command;
            }
        }
    }

    /// The commands up to the first of this kind, as `kind` or `kind:ack_seq`.
    async fn told_until(&mut self, last: &str) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let command = self.command().await;
            let kind = command["type"].as_str().unwrap();
            let ack = command["payload"]["ack_seq"].as_u64().map(|seq| format!(":{seq}")).unwrap_or_default();
            told.push(format!("{kind}{ack}"));
            if kind == last {
                return told;
            }
        }
    }

    /// The same, up to the acknowledgement of this number, which is left out.
    async fn told_until_ack(&mut self, last: u32) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            told.extend(self.told_until("ack").await);
            if told.last() == Some(&format!("ack:{last}")) {
                told.pop();
                return told;
            }
        }
    }

    async fn hello(&mut self) -> Value {
        self.say("hello", json!({"capabilities": {"camera": true}, "device_token": "unused"})).await;
        self.command().await
    }
}

mod replay {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_nominal_voice_turn_is_answered_in_the_recorded_order() {
        let gateway = Running::start(chat(&["The way is clear."])).await;
        let cane = Cane::new(&gateway, false).await;
        nominal(gateway, cane).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_nominal_voice_turn_over_the_control_api_is_answered_in_the_recorded_order() {
        let gateway = Running::start(chat(&["The way is clear."])).await;
        let cane = Cane::spoken_for(&gateway, false).await;
        nominal(gateway, cane).await;
    }

    async fn nominal(gateway: Running, mut cane: Cane) {
        let ack = cane.hello().await;
        assert_eq!((&ack["type"], &ack["seq"], &ack["session_id"]), (&json!("hello_ack"), &json!(1), &json!("walk-1")));
        assert_eq!((&ack["payload"]["ack_seq"], &ack["payload"]["protocol"]), (&json!(1), &json!("0.1")));
        cane.say("heartbeat", json!({})).await;
        cane.say("listen_start", json!({})).await;
        cane.speak((1..).map(|n| (n, n * 60))).await;
        let stop = cane.say("listen_stop", json!({})).await;
        let told = cane.told_until("tts_start").await;
        assert_eq!(told, ["ack:2", "ack:3", &format!("ack:{stop}"), "stt_final", "tts_start"]);
        let mut frames = 0;
        let stop = loop {
            match cane.next().await {
                Got::Frame(_) => frames += 1,
                Got::Command(command) => break command,
                Got::Puback => {}
            }
        };
        assert_eq!((&stop["type"], &stop["payload"]), (&json!("tts_stop"), &json!({"aborted": false})));
        assert!(frames > 0);
        let turn = gateway.last_turn("cane-1").await;
        assert_eq!((&turn["outcome"], &turn["reply"]), (&json!("answered"), &json!("The way is clear.")));
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn duplicates_and_disorder_make_one_turn() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let cane = Cane::new(&gateway, true).await;
        disordered(gateway, cane).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn duplicates_and_disorder_over_the_control_api_make_one_turn() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let cane = Cane::spoken_for(&gateway, true).await;
        disordered(gateway, cane).await;
    }

    async fn disordered(gateway: Running, mut cane: Cane) {
        cane.hello().await;
        cane.say("listen_start", json!({})).await;
        let script = speech();
        let mut order: Vec<usize> = (0..script.frames.len()).collect();
        for pair in order.chunks_mut(3) {
            pair.reverse();
        }
        for index in order {
            let payload = json!({"audio_b64": STANDARD.encode(&script.frames[index]), "chunk_index": index});
            cane.say("audio_chunk", payload.clone()).await;
            if index % 4 == 0 {
                cane.say_as(cane.seq, "audio_chunk", payload).await;
            }
        }
        let stop = cane.say("listen_stop", json!({})).await;
        cane.say_as(stop, "listen_stop", json!({})).await;
        cane.say_as(2, "listen_start", json!({})).await;
        let mut told = cane.told_until("tts_stop").await;
        // the repeats may be looked at after the answer has begun; what follows them in order tells that they were
        let last = cane.say("heartbeat", json!({})).await;
        told.extend(cane.told_until_ack(last).await);
        let wanted = ["ack:2".to_owned(), format!("ack:{stop}"), format!("ack:{stop}"), "ack:2".to_owned()];
        let acks: Vec<&String> = told.iter().filter(|told| told.starts_with("ack")).collect();
        assert_eq!(acks, wanted.iter().collect::<Vec<_>>(), "{told:?}");
        let rest: Vec<&String> = told.iter().filter(|told| !told.starts_with("ack")).collect();
        assert_eq!(rest, ["stt_final", "tts_start", "tts_chunk", "tts_stop"]);
        assert_eq!(gateway.turns("cane-1", 1).await.len(), 1);
        gateway.stop().await;
    }
}

mod never_again {
    use super::*;

    // fault 1
    #[tokio::test(flavor = "multi_thread")]
    async fn a_message_that_is_no_object_stops_nobody_from_being_served() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut cane = Cane::new(&gateway, true).await;
        for bytes in [&b"[1]"[..], b"", b"null", b"\xff\xfe", b"{\"type\":[]}", b"{\"type\":\"hello\",\"payload\":7}"] {
            cane.publish("up/control", bytes.to_vec()).await;
            cane.publish("up/audio", bytes.to_vec()).await;
        }
        assert_eq!(cane.hello().await["type"], "hello_ack");
        gateway.stop().await;
    }

    // fault 2
    #[tokio::test(flavor = "multi_thread")]
    async fn a_restart_forgets_no_number_and_does_nothing_twice() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut cane = Cane::new(&gateway, true).await;
        let secret = gateway.secret("cane-1");
        cane.hello().await;
        let seq = cane.say("tool_result", json!({"operation_id": "op-1", "result": 1})).await;
        let before = loop {
            let command = cane.command().await;
            if command["payload"]["ack_seq"] == seq {
                break command["seq"].as_u64().unwrap();
            }
        };
        let gateway = gateway.restart().await;
        let mut again = Cane::connect(&gateway, "cane-1", &secret).await;
        again.say_as(seq, "tool_result", json!({"operation_id": "op-1", "result": 1})).await;
        let ack = again.command().await;
        assert_eq!((&ack["type"], &ack["payload"]["ack_seq"]), (&json!("ack"), &json!(seq)));
        assert!(ack["seq"].as_u64().unwrap() > before, "what the cane is told goes on being numbered");
        let results = gateway.entries("cane-1").await.iter().filter(|entry| entry["tool_result"].is_object()).count();
        assert_eq!(results, 1);
        gateway.stop().await;
    }

    // fault 3
    #[tokio::test(flavor = "multi_thread")]
    async fn numbers_of_speech_swallow_no_control() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        cane.say("listen_start", json!({})).await;
        cane.speak((100..).map(|n| (n, n * 60))).await;
        cane.say("listen_stop", json!({})).await;
        assert_eq!(cane.told_until("tts_stop").await.last().unwrap(), "tts_stop");
        gateway.stop().await;
    }

    // fault 4
    #[tokio::test(flavor = "multi_thread")]
    async fn messages_without_a_number_are_all_done() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut cane = Cane::new(&gateway, true).await;
        for _ in 0..3 {
            cane.publish("up/control", br#"{"type":"heartbeat"}"#.to_vec()).await;
            assert_eq!(cane.command().await["type"], "ack");
        }
        gateway.stop().await;
    }

    // fault 5
    #[tokio::test(flavor = "multi_thread")]
    async fn speech_whose_clock_stands_still_or_wraps_is_heard_whole() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        for (turns, from) in [(1, 1), (2, u32::MAX - 5)] {
            cane.say("listen_start", json!({})).await;
            cane.speak((0..).map(|n: u32| (from.wrapping_add(n), 0))).await;
            cane.say("listen_stop", json!({})).await;
            cane.told_until("tts_stop").await;
            let turn = gateway.turns("cane-1", turns).await.pop().unwrap();
            assert_eq!(turn["heard"]["frames"], speech().frames.len(), "{turn}");
        }
        gateway.stop().await;
    }

    // fault 7
    #[tokio::test(flavor = "multi_thread")]
    async fn a_heartbeat_does_not_end_listening() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        cane.say("listen_start", json!({})).await;
        cane.speak((1..).map(|n| (n, n * 60))).await;
        cane.say("heartbeat", json!({})).await;
        cane.say("listen_stop", json!({})).await;
        assert!(cane.told_until("tts_stop").await.contains(&"stt_final".to_owned()));
        gateway.stop().await;
    }

    // fault 8
    #[tokio::test(flavor = "multi_thread")]
    async fn an_abort_ends_the_turn_and_nothing_of_it_follows() {
        let long: Vec<&str> = std::iter::repeat_n("many words follow each other here. ", 40).collect();
        let gateway = Running::start(chat(&long)).await;
        let mut cane = Cane::new(&gateway, false).await;
        cane.hello().await;
        cane.say("listen_stop", json!({})).await;
        cane.say("listen_start", json!({})).await;
        cane.say("listen_stop", json!({"transcript": "talk"})).await;
        while !matches!(cane.next().await, Got::Frame(_)) {}
        cane.say("abort", json!({"reason": "button"})).await;
        let stop = cane.command().await;
        assert_eq!((&stop["type"], &stop["payload"]["aborted"]), (&json!("tts_stop"), &json!(true)));
        cane.say("heartbeat", json!({})).await;
        loop {
            match cane.next().await {
                Got::Frame(frame) => panic!("a frame after the abort: {frame:?}"),
                Got::Command(command) => {
                    assert_eq!(command["type"], "ack");
                    break;
                }
                Got::Puback => {}
            }
        }
        // also when nothing was said there is an answer
        cane.say("abort", json!({})).await;
        assert_eq!(cane.command().await["type"], "tts_stop");
        gateway.stop().await;
    }

    // fault 9
    #[tokio::test(flavor = "multi_thread")]
    async fn a_failed_model_leaves_the_cane_ready_and_is_not_read_out() {
        let gateway = Running::start(gateway::broken_chat()).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        for _ in 0..2 {
            cane.say("listen_start", json!({})).await;
            cane.say("listen_stop", json!({"transcript": "why is the sky blue"})).await;
            let mut spoken = String::new();
            loop {
                let command = cane.command().await;
                spoken.push_str(command["payload"]["text"].as_str().unwrap_or_default());
                if command["type"] == "tts_stop" {
                    break;
                }
            }
            assert!(!spoken.contains("secret of the vendor") && spoken.contains("Sorry"), "{spoken}");
        }
        gateway.stop().await;
    }

    // fault 10
    #[tokio::test(flavor = "multi_thread")]
    async fn a_new_session_is_told_nothing_of_the_former_one() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        cane.say("listen_stop", json!({"transcript": "hello"})).await;
        let text = json!({"type": "hello", "session_id": "walk-2", "seq": 1, "msg_id": "x", "last_recv_seq": 0});
        cane.publish("up/control", text.to_string().into_bytes()).await;
        loop {
            let command = cane.command().await;
            if command["type"] == "hello_ack" {
                assert_eq!((&command["session_id"], &command["seq"]), (&json!("walk-2"), &json!(1)));
                break;
            }
        }
        cane.publish("up/control", br#"{"type":"heartbeat","session_id":"walk-2","seq":2}"#.to_vec()).await;
        let next = cane.command().await;
        assert_eq!((&next["type"], &next["session_id"]), (&json!("ack"), &json!("walk-2")));
        gateway.stop().await;
    }

    // fault 20
    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_speaks_for_another_device() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut cane = Cane::new(&gateway, true).await;
        let secret = gateway.add("victim", true).await;
        let mut victim = Cane::connect(&gateway, "victim", &secret).await;
        victim.hello().await;
        let text = json!({"type": "listen_stop", "device_id": "victim", "session_id": "walk-1",
            "payload": {"transcript": "open the door"}});
        cane.publish("up/control", text.to_string().into_bytes()).await;
        cane.hello().await;
        victim.say("heartbeat", json!({})).await;
        assert_eq!(victim.command().await["payload"]["ack_seq"], 2, "nothing came in between");
        gateway.counted("voxgate_mqtt_drops_total", &[("cause", "not_allowed")], 1).await;
        assert!(gateway.turns("victim", 0).await.is_empty());
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cane_that_counts_anew_is_not_deaf() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        for _ in 0..5 {
            cane.say("heartbeat", json!({})).await;
        }
        // it lost power, and calls its session as before
        cane.seq = 0;
        let text = json!({"type": "hello", "session_id": "walk-1", "seq": 1, "msg_id": "after-the-fall"});
        cane.publish("up/control", text.to_string().into_bytes()).await;
        cane.told_until("hello_ack").await;
        cane.seq = 1;
        cane.say("listen_start", json!({})).await;
        cane.say("listen_stop", json!({"transcript": "hello"})).await;
        assert_eq!(cane.told_until("tts_stop").await.last().unwrap(), "tts_stop");
        gateway.stop().await;
    }

    // fault 6
    #[tokio::test(flavor = "multi_thread")]
    async fn a_session_that_was_closed_and_came_back_is_found_and_can_be_spoken_to() {
        let quick = |config: &mut voxgate::config::Config| {
            config.session.opencane.silent_after = voxgate::domain::Span(Duration::from_millis(300));
        };
        let gateway = Running::start_with(chat(&["Yes."]), quick).await;
        let mut cane = Cane::new(&gateway, true).await;
        let id = DeviceId::parse("cane-1").unwrap();
        cane.hello().await;
        assert_eq!(cane.command().await["type"], "close");
        assert_eq!(gateway.operators().device_state(id.clone()).await.unwrap().state, "closed");
        cane.say("listen_start", json!({})).await;
        // its state is told when it is done with a message: before it looks at the next
        let next = cane.say("heartbeat", json!({})).await;
        cane.told_until_ack(next).await;
        let state = gateway.operators().device_state(id.clone()).await.unwrap();
        assert_eq!((state.state.as_str(), state.online), ("listening", true));
        gateway.operators().say(id, "Mind the kerb.".to_owned()).await.unwrap();
        assert!(cane.told_until("tts_stop").await.contains(&"tts_chunk".to_owned()));
        gateway.stop().await;
    }

    // fault 12
    #[tokio::test(flavor = "multi_thread")]
    async fn a_service_that_hangs_for_one_cane_holds_up_no_other() {
        struct Stuck;
        impl ChatModel for Stuck {
            fn chat(&self, request: ChatRequest) -> ChatStream {
                if format!("{request:?}").contains("wait for ever") {
                    return futures::stream::pending().boxed();
                }
                futures::stream::iter([Ok(ChatPiece::Text("Yes.".to_owned()))]).boxed()
            }
        }
        let gateway = Running::start(with_chat(std::sync::Arc::new(Stuck))).await;
        let mut stuck = Cane::new(&gateway, true).await;
        let secret = gateway.add("cane-2", true).await;
        let mut other = Cane::connect(&gateway, "cane-2", &secret).await;
        for (cane, words) in [(&mut stuck, "wait for ever"), (&mut other, "is it green?")] {
            cane.hello().await;
            cane.say("listen_start", json!({})).await;
            cane.say("listen_stop", json!({"transcript": words})).await;
        }
        assert!(other.told_until("tts_stop").await.contains(&"tts_chunk".to_owned()));
        stuck.told_until("stt_final").await;
        let state = gateway.operators().device_state(DeviceId::parse("cane-1").unwrap()).await.unwrap();
        assert_eq!(state.state, "thinking");
        // nor is it held up itself
        stuck.say("abort", json!({})).await;
        stuck.say("heartbeat", json!({})).await;
        stuck.told_until_ack(stuck.seq).await;
        gateway.stop().await;
    }

    // fault 13: 17 commits a turn
    #[tokio::test(flavor = "multi_thread")]
    async fn a_turn_is_not_written_piece_by_piece() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        let groups = async || gateway.metric("voxgate_store_groups_total", &[]).await;
        let before = groups().await;
        cane.say("listen_start", json!({})).await;
        cane.speak((1..).map(|n| (n, n * 60))).await;
        cane.say("listen_stop", json!({})).await;
        cane.told_until("tts_stop").await;
        gateway.turns("cane-1", 1).await;
        // the page of metrics may be a moment old
        gateway.counted("voxgate_store_groups_total", &[], before + 1).await;
        let groups = groups().await - before;
        assert!((1..=5).contains(&groups), "{groups} groups of writes for one turn");
        gateway.stop().await;
    }

    // fault 14
    #[tokio::test(flavor = "multi_thread")]
    async fn speech_is_opus_in_numbered_packets_and_none_comes_after_its_end() {
        let gateway = Running::start(chat(&["The way is clear."])).await;
        let mut cane = Cane::new(&gateway, false).await;
        cane.hello().await;
        cane.say("listen_start", json!({})).await;
        cane.say("listen_stop", json!({"transcript": "is it?"})).await;
        let mut packets = Vec::new();
        loop {
            match cane.next().await {
                Got::Frame(frame) => packets.push(frame),
                Got::Command(command) if command["type"] == "tts_stop" => break,
                _ => {}
            }
        }
        let numbers: Vec<u32> = packets.iter().map(|frame| frame.seq).collect();
        assert_eq!(numbers, (numbers[0]..numbers[0] + u32::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
        let bytes: Vec<_> = packets.iter().map(|frame| frame.packet.clone()).collect();
        let samples = voxgate::audio::opus::decode_all(16_000, &bytes).unwrap();
        assert_eq!(samples.len(), bytes.len() * 960, "packets of 60 ms");
        assert!(samples.iter().any(|sample| sample.unsigned_abs() > 1_000), "it is heard");
        cane.say("heartbeat", json!({})).await;
        loop {
            match cane.next().await {
                Got::Frame(frame) => panic!("a frame after the end: {frame:?}"),
                Got::Command(command) => {
                    assert_eq!(command["type"], "ack");
                    break;
                }
                Got::Puback => {}
            }
        }
        gateway.stop().await;
    }

    // fault 15
    #[tokio::test(flavor = "multi_thread")]
    async fn a_cane_that_never_says_that_somebody_has_finished_is_answered_all_the_same() {
        let quick = |config: &mut voxgate::config::Config| config.session.audio_stall = voxgate::domain::Span::ms(300);
        let gateway = Running::start_with(chat(&["Yes."]), quick).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        cane.say("listen_start", json!({})).await;
        cane.speak((1..).map(|n| (n, n * 60))).await;
        let told = cane.told_until("tts_stop").await;
        assert!(told.contains(&"stt_final".to_owned()), "{told:?}");
        gateway.stop().await;
    }
}

mod senses {
    use super::*;

    /// A picture of one pixel.
    const PNG: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

    #[tokio::test(flavor = "multi_thread")]
    async fn a_photo_is_kept_before_it_is_acknowledged_and_who_asks_is_told_what_came_of_it() {
        let gateway = Running::start(chat(&["unused"])).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        cane.say("image_ready", json!({"image_base64": PNG, "question": "what is that"})).await;
        let mut told = Vec::new();
        while cane.has < 2 || told.last() != Some(&json!("tts_stop")) {
            if let Got::Command(command) = cane.next().await {
                told.push(command["type"].clone());
            }
        }
        let kept =
            gateway.entries("cane-1").await.into_iter().find(|entry| entry["question"] == "what is that").unwrap();
        assert_eq!(kept["mime"], "image/png");
        assert!(told.contains(&json!("tts_chunk")), "no service is set up, and that is said: {told:?}");
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn telemetry_in_any_words_is_normalised_and_acknowledged() {
        let gateway = Running::start(chat(&["unused"])).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        for soc in [80, 79] {
            let seq = cane.say("sensor", json!({"soc": soc, "net_type": "LTE"})).await;
            assert_eq!(cane.command().await["payload"]["ack_seq"], seq);
        }
        let entries = gateway.entries("cane-1").await;
        assert!(entries.iter().any(|entry| entry["telemetry"]["battery"]["percent"] == 80), "{entries:?}");
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_fault_of_the_device_is_written_down_without_an_answer() {
        let gateway = Running::start(chat(&["unused"])).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        cane.say("error", json!({"error": "camera"})).await;
        cane.say("heartbeat", json!({})).await;
        assert_eq!(cane.command().await["payload"]["ack_seq"], 3);
        assert!(gateway.entries("cane-1").await.iter().any(|entry| entry["device_error"]["error"] == "camera"));
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_cane_understands_is_shown_as_it_grows_and_answered_whole() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        cane.say("listen_start", json!({})).await;
        for text in ["why is", "the sky blue"] {
            cane.say("audio_chunk", json!({"text": text})).await;
        }
        cane.say("listen_stop", json!({})).await;
        let told = cane.told_until("tts_stop").await;
        assert_eq!(
            told,
            ["ack:2", "stt_partial", "stt_partial", "ack:5", "stt_final", "tts_start", "tts_chunk", "tts_stop"]
        );
        assert_eq!(gateway.last_turn("cane-1").await["transcript"], "why is the sky blue");
        gateway.stop().await;
    }

    /// What it says, or what the gateway hears: a button of the cane makes a task of it.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_cane_wants_done_in_the_background_is_a_task_and_no_question() {
        let gateway = Running::start(chat(&["Yes."])).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        for (n, heard) in [Some("a table for two"), None].into_iter().enumerate() {
            cane.say("listen_start", json!({})).await;
            let end = if let Some(text) = heard {
                json!({"text": text, "intent": "digital_task"})
            } else {
                cane.speak((1..).map(|n| (n, n * 60))).await;
                json!({"digital_task": true})
            };
            cane.say("listen_stop", end).await;
            cane.told_until("tts_stop").await;
            while gateway.operators().task_list(TaskQuery::default()).await.unwrap().len() <= n {
                cane.command().await;
            }
            let tasks = gateway.operators().task_list(TaskQuery::default()).await.unwrap();
            let turns = gateway.turns("cane-1", n + 1).await;
            let asked = turns.iter().find(|turn| turn["transcript"] == tasks[0].goal).unwrap();
            assert_eq!(asked["reply"], "I'm working on it. I'll tell you when it's done.", "{asked}");
            assert_eq!(heard.is_none(), tasks[0].goal != "a table for two", "{:?}", tasks[0].goal);
            assert_eq!((tasks[0].device_id.as_str(), tasks[0].requested_by.as_str()), ("cane-1", "voice"));
            // the cane is told of its end, and says it
            while cane.told_until("task_update").await.is_empty() {}
            cane.told_until("tts_stop").await;
        }
        // the next one is a question again
        cane.say("listen_start", json!({})).await;
        cane.say("listen_stop", json!({"text": "what now"})).await;
        cane.told_until("tts_stop").await;
        assert_eq!(gateway.operators().task_list(TaskQuery::default()).await.unwrap().len(), 2);
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cane_that_falls_silent_is_told_and_may_come_back() {
        let quick = |config: &mut voxgate::config::Config| {
            config.session.opencane.silent_after = voxgate::domain::Span(Duration::from_millis(300));
        };
        let gateway = Running::start_with(chat(&["Yes."]), quick).await;
        let mut cane = Cane::new(&gateway, true).await;
        cane.hello().await;
        let close = cane.command().await;
        assert_eq!((&close["type"], &close["payload"]["reason"]), (&json!("close"), &json!("heartbeat_timeout")));
        cane.say("listen_start", json!({})).await;
        cane.say("listen_stop", json!({"transcript": "hello"})).await;
        assert_eq!(cane.told_until("tts_stop").await.last().unwrap(), "tts_stop");
        gateway.stop().await;
    }
}

mod websocket {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

    use super::*;

    type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

    async fn gateway(pieces: &[&str]) -> Running {
        Running::start_with(chat(pieces), |config| config.websocket.opencane = true).await
    }

    async fn connect(gateway: &Running, token: &str) -> Socket {
        let addr = gateway.addrs().devices.unwrap();
        let url = format!("ws://{addr}/?device_id=cane-1&session_id=walk-1&token={token}");
        connect_async(url).await.unwrap().0
    }

    async fn next(socket: &mut Socket) -> Message {
        timeout(PATIENCE, socket.next()).await.expect("the gateway is silent").unwrap().unwrap()
    }

    async fn command(socket: &mut Socket) -> Value {
        loop {
            if let Message::Text(text) = next(socket).await {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    async fn say(socket: &mut Socket, seq: u32, kind: &str, payload: Value) {
        let text = json!({"type": kind, "seq": seq, "payload": payload}).to_string();
        socket.send(Message::text(text)).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_wrong_token_is_told_by_the_code_that_canes_know() {
        let gateway = gateway(&["unused"]).await;
        gateway.add("cane-1", true).await;
        for token in ["", "wrong"] {
            let mut socket = connect(&gateway, token).await;
            let Message::Close(Some(close)) = next(&mut socket).await else { panic!("no close") };
            assert_eq!((u16::from(close.code), close.reason.as_str()), (4_401, "unauthorized"));
        }
        assert_eq!(super::gateway::metrics::get(gateway.addrs().devices.unwrap(), "/").await.0, 404);
        gateway.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_turn_in_packets_and_one_in_bare_opus_are_spoken_as_text() {
        let gateway = gateway(&["The way is clear."]).await;
        let secret = gateway.add("cane-1", false).await;
        let mut socket = connect(&gateway, &secret).await;
        say(&mut socket, 1, "hello", json!({})).await;
        assert_eq!(command(&mut socket).await["session_id"], "walk-1");
        let script = speech();
        for (turn, framed) in [(1, true), (2, false)] {
            say(&mut socket, turn * 10, "listen_start", json!({})).await;
            for n in 0..script.frames.len() {
                let packet = AudioPacket { seq: u32::try_from(n).unwrap() + 1, ..script.frame(n) };
                let bytes = if framed { client::encode_audio(&packet) } else { packet.payload };
                socket.send(Message::binary(bytes)).await.unwrap();
            }
            socket.send(Message::text("[1]")).await.unwrap();
            say(&mut socket, turn * 10 + 1, "listen_stop", json!({})).await;
            let mut frames = 0;
            loop {
                let told = command(&mut socket).await;
                frames += usize::from(told["payload"]["audio_b64"].is_string());
                if told["type"] == "tts_stop" {
                    break;
                }
            }
            assert!(frames > 0);
            let heard = gateway.turns("cane-1", turn as usize).await.pop().unwrap();
            assert_eq!(
                (&heard["outcome"], &heard["heard"]["frames"]),
                (&json!("answered"), &json!(script.frames.len()))
            );
        }
        gateway.stop().await;
    }
}
