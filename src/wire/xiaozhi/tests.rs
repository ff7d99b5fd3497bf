//! Firmware's texts and frames, as they are on the wire, and what is none.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::frames::{Frame, Version, read, reframe, write};
use super::*;
use crate::domain::{
    AckMarks, ControlKind, HelloAck, ListenMode, MediaOffer, Message, SpokenFrame, StopReason, TurnId,
};
use crate::wire::WireErrorKind;

fn kind(text: &Value) -> Result<ControlKind, WireError> {
    control(text.to_string().as_bytes()).map(|control| control.kind)
}

fn down(message: Message) -> Option<Value> {
    let session = Some(SessionId::parse("s1").unwrap());
    let downlink =
        Downlink::Control { session, seq: Some(7), ts_ms: 9, msg_id: None, want_ack: true, json: true, message };
    encode(&downlink).map(|text| serde_json::from_slice(&text).unwrap())
}

fn hello_ack(media: Option<MediaOffer>) -> Message {
    Message::HelloAck(Box::new(HelloAck {
        session_id: SessionId::parse("s1").unwrap(),
        resumed: false,
        boot: 1,
        time: 2,
        ack: AckMarks::default(),
        down_seq: 0,
        max_packet: 1,
        max_image: 1,
        max_in_flight: 1,
        heartbeat_s: 30,
        number: None,
        protocol: None,
        media,
    }))
}

#[test]
fn a_hello_of_firmware_tells_what_it_can() {
    let text = json!({"type": "hello", "version": 3, "transport": "udp", "features": {"mcp": true, "aec": true},
        "audio_params": {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60}, "junk": [1, 2]});
    let Ok(ControlKind::Hello(hello)) = kind(&text) else { panic!("no hello") };
    assert!(hello.has_tools() && hello.boot_id.is_none());
    assert_eq!(hello.capabilities["audio_params"]["frame_duration"], 60);
    assert!(hello.capabilities.get("junk").is_none(), "what nobody knows is not kept");
}

#[test]
fn a_browsers_hello_has_no_audio_and_is_one_all_the_same() {
    let text = json!({"type": "hello", "device_id": "x", "device_mac": "y", "token": "z", "features": {"mcp": false}});
    let Ok(ControlKind::Hello(hello)) = kind(&text) else { panic!("no hello") };
    assert!(!hello.has_tools());
    assert!(!hello.capabilities.to_string().contains('z'), "its token is not kept");
}

#[test]
fn every_text_of_a_device_has_its_meaning() {
    let start = |mode: &str| kind(&json!({"session_id": "", "type": "listen", "state": "start", "mode": mode}));
    let started = |mode| Ok(ControlKind::ListenStart { mode, n: None });
    assert_eq!(start("auto"), started(Some(ListenMode::Auto)));
    assert_eq!(start("manual"), started(Some(ListenMode::Manual)));
    assert_eq!(start("realtime"), started(Some(ListenMode::Realtime)));
    assert_eq!(start("telepathy"), started(None));
    assert_eq!(kind(&json!({"type": "listen", "state": "stop"})), Ok(ControlKind::ListenStop));
    let wake = json!({"type": "listen", "state": "detect", "text": "hi there"});
    assert_eq!(kind(&wake), Ok(ControlKind::Wake { text: "hi there".into() }));
    let reason = Some("wake_word_detected".to_owned());
    assert_eq!(kind(&json!({"type": "abort", "reason": "wake_word_detected"})), Ok(ControlKind::Abort { reason }));
    assert_eq!(kind(&json!({"type": "abort", "reason": 3})), Ok(ControlKind::Abort { reason: None }));
    assert_eq!(kind(&json!({"type": "goodbye", "session_id": "s"})), Ok(ControlKind::Goodbye));
    assert_eq!(kind(&json!({"type": "ping"})), Ok(ControlKind::Heartbeat));
    let rpc = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": []}});
    assert_eq!(kind(&json!({"type": "mcp", "payload": rpc})), Ok(ControlKind::Mcp(rpc)));
    let things = json!({"update": true, "descriptors": [{"name": "Lamp"}]});
    let text = json!({"type": "iot", "update": true, "descriptors": [{"name": "Lamp"}]});
    assert_eq!(kind(&text), Ok(ControlKind::Things(things)));
}

#[test]
fn an_empty_session_id_is_none_and_a_strange_one_is_not_believed() {
    let of = |id: Value| control(json!({"type": "ping", "session_id": id}).to_string().as_bytes()).unwrap().session_id;
    assert_eq!(of(json!("")), None);
    assert_eq!(of(json!(7)), None);
    assert_eq!(of(json!("x".repeat(65))), None);
    assert_eq!(of(json!("s1")), Some("s1".into()));
}

#[test]
fn what_is_no_text_of_a_device_says_what_is_wrong_with_it() {
    let error = |text: &str| control(text.as_bytes()).unwrap_err().kind;
    assert_eq!(error(""), WireErrorKind::Malformed);
    assert_eq!(error("[]"), WireErrorKind::Malformed);
    assert_eq!(error("{\"type\": 4}"), WireErrorKind::Malformed);
    assert_eq!(error("{\"type\": \"dance\"}"), WireErrorKind::UnknownType);
    assert_eq!(error("{\"type\": \"listen\"}"), WireErrorKind::Malformed);
    assert_eq!(error("{\"type\": \"listen\", \"state\": \"fly\"}"), WireErrorKind::Malformed);
    assert_eq!(error("{\"type\": \"mcp\", \"payload\": 3}"), WireErrorKind::Malformed);
    assert_eq!(error(&format!("{{\"type\": \"ping\", \"x\": \"{}\"}}", "x".repeat(MAX_TEXT))), WireErrorKind::TooLarge);
    let deep = format!("{{\"type\":\"mcp\",\"payload\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(error(&deep), WireErrorKind::Malformed, "nested as deep as a stack");
}

#[test]
fn the_answer_to_a_hello_over_mqtt_has_all_four_fields_of_udp() {
    let media = MediaOffer { host: "192.0.2.7".into(), port: 8884, key: [0xAB; 16], nonce: [1; 16] };
    let text = down(hello_ack(Some(media))).unwrap();
    assert_eq!(
        (&text["type"], &text["transport"], &text["session_id"]),
        (&json!("hello"), &json!("udp"), &json!("s1"))
    );
    assert_eq!(text["audio_params"]["sample_rate"], 24_000);
    let udp = &text["udp"];
    assert_eq!((&udp["server"], &udp["port"]), (&json!("192.0.2.7"), &json!(8884)));
    assert_eq!(udp["key"], json!("ab".repeat(16)));
    assert_eq!(udp["nonce"], json!("01".repeat(16)));
}

#[test]
fn the_answer_to_a_hello_over_websocket_names_its_transport() {
    let text = down(hello_ack(None)).unwrap();
    assert_eq!(text["transport"], "websocket");
    assert!(text.get("udp").is_none());
}

#[test]
fn every_downlink_that_firmware_knows_is_in_its_words() {
    let turn_id = TurnId(3);
    let said = |message, want: Value| {
        let mut want = want;
        want["session_id"] = json!("s1");
        assert_eq!(down(message), Some(want));
    };
    said(Message::Stt { text: "hi".into(), is_final: true }, json!({"type": "stt", "text": "hi"}));
    said(
        Message::TtsStart { turn_id, text: String::new(), device_speaks: false },
        json!({"type": "tts", "state": "start"}),
    );
    said(
        Message::TtsSentence { text: "Yes.".into(), device_speaks: false },
        json!({"type": "tts", "state": "sentence_start", "text": "Yes."}),
    );
    said(Message::TtsStop { turn_id, reason: StopReason::Done }, json!({"type": "tts", "state": "stop"}));
    said(Message::Emotion { name: "happy".into() }, json!({"type": "llm", "emotion": "happy", "text": ""}));
    said(Message::Reboot, json!({"type": "system", "command": "reboot"}));
    said(Message::Close { reason: "idle".into() }, json!({"type": "goodbye"}));
    let alert = Message::Alert { level: "warning".into(), text: "Low battery".into(), status: None, emotion: None };
    let want = json!({"type": "alert", "status": "Warning", "message": "Low battery", "emotion": "thinking"});
    said(alert, want);
    let call = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list", "params": {"cursor": ""}});
    said(Message::Mcp(call.clone()), json!({"type": "mcp", "payload": call}));
}

#[test]
fn what_firmware_has_no_word_for_is_not_sent() {
    for message in [
        Message::Reply { text: "x".into() },
        Message::Stt { text: "x".into(), is_final: false },
        Message::Error { code: "x".into(), message: "y".into() },
        Message::Ack { stream: Stream::Control, seq: Some(1), image_id: None, sha256: None },
    ] {
        assert_eq!(down(message), None);
    }
}

#[test]
fn frames_of_each_version_are_what_firmware_writes() {
    let packet = Bytes::from_static(&[0xF8, 1, 2]);
    assert_eq!(write(Version::One, 9, &packet), packet);
    let two = [&[0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 3][..], &packet].concat();
    assert_eq!(write(Version::Two, 9, &packet), two);
    assert_eq!(write(Version::Three, 9, &packet), [&[0, 0, 0, 3][..], &packet].concat());
    let frame = SpokenFrame { turn: TurnId(1), seq: 1, ts_ms: 9, last: false, packet: packet.clone() };
    let written = encode(&Downlink::Audio(frame)).unwrap();
    for version in [Version::One, Version::Two, Version::Three] {
        assert_eq!(reframe(version, written.clone()), write(version, 9, &packet));
    }
}

#[test]
fn frames_that_lie_about_their_length_are_none() {
    let bad = |version, bytes: &'static [u8]| assert!(read(version, &Bytes::from_static(bytes)).is_err(), "{bytes:?}");
    bad(Version::One, &[]);
    bad(Version::Two, &[0, 2, 0, 0]);
    bad(Version::Two, &[0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 3, 1, 2]);
    bad(Version::Two, &[0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2]);
    bad(Version::Two, &[0, 2, 9, 9, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 1]);
    bad(Version::Three, &[0, 0]);
    bad(Version::Three, &[0, 0, 0, 9, 1]);
    bad(Version::Three, &[0, 0, 0, 1, 1, 2]);
    bad(Version::Three, &[7, 0, 0, 1, 1]);
    assert!(read(Version::One, &vec![1; MAX_OPUS + 1].into()).is_err());
    let json = Bytes::from_static(&[1, 0, 0, 2, b'{', b'}']);
    assert_eq!(read(Version::Three, &json), Ok(Frame::Json(Bytes::from_static(b"{}"))));
}

proptest! {
    #[test]
    fn any_bytes_are_a_text_or_an_error(bytes: Vec<u8>) {
        let _ = control(&bytes);
    }

    #[test]
    fn what_is_written_as_a_frame_is_read_as_it_was(packet in proptest::collection::vec(any::<u8>(), 1..300), ts: u32) {
        let packet = Bytes::from(packet);
        for version in [Version::One, Version::Two, Version::Three] {
            let ts = if version == Version::Two { ts } else { 0 };
            prop_assert_eq!(read(version, &write(version, ts, &packet)), Ok(Frame::Opus(ts, packet.clone())));
        }
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes: Vec<u8>) {
        for version in [Version::One, Version::Two, Version::Three] {
            let _ = read(version, &bytes.clone().into());
        }
    }
}
