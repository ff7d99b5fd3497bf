//! What canes say in all their words, and what is none.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::{AckMarks, Control, ControlKind, HelloAck, ListenMode, Message, StopReason, TurnId};
use crate::wire::WireErrorKind;

fn cane() -> DeviceId {
    DeviceId::parse("cane-1").unwrap()
}

fn read(text: &Value) -> Result<Body, WireError> {
    decode(Stream::Control, &Bytes::from(text.to_string()), &cane())
}

fn control(text: &Value) -> Control {
    match read(text) {
        Ok(Body::Control(control)) => *control,
        other => panic!("{text}: {other:?}"),
    }
}

fn audio(text: &Value) -> AudioPacket {
    match read(text) {
        Ok(Body::Audio(packet)) => packet,
        other => panic!("{text}: {other:?}"),
    }
}

fn down(message: Message) -> Option<Value> {
    let session = Some(SessionId::parse("s1").unwrap());
    let downlink =
        Downlink::Control { session, seq: Some(7), ts_ms: 9, msg_id: None, want_ack: true, json: true, message };
    encode(&downlink, &cane()).map(|text| serde_json::from_slice(&text).unwrap())
}

#[test]
fn an_envelope_is_one_whatever_its_fields_are_called() {
    for text in [
        json!({"version": "0.1", "msg_id": "m", "device_id": "cane-1", "session_id": "s", "seq": 3, "ts": 5, "type": "heartbeat", "payload": {}}),
        json!({"v": "0.1", "id": "m", "deviceId": "cane-1", "sessionId": "s", "msgSeq": "3", "timestamp": 5.0, "event": "hb"}),
        json!({"message-id": "m", "imei": "cane-1", "SID": "s", "sequence": 3, "t": 5, "cmd": "PING", "data": null}),
    ] {
        let Control { session_id, seq, ts_ms, msg_id, kind, .. } = control(&text);
        assert_eq!(
            (session_id.as_deref(), seq, ts_ms, msg_id.as_deref()),
            (Some("s"), Some(3), Some(5), Some("m")),
            "{text}"
        );
        assert_eq!(kind, ControlKind::Heartbeat);
    }
}

#[test]
fn a_number_that_is_none_is_no_number() {
    for seq in [json!(0), json!(-4), json!("x"), json!(null), json!(5_000_000_000_u64), json!([1])] {
        assert_eq!(control(&json!({"type": "hb", "seq": seq})).seq, None, "{seq}");
    }
}

#[test]
fn a_message_that_names_another_device_is_refused() {
    for name in ["device_id", "deviceId", "imei"] {
        let error = read(&json!({"type": "hb", name: "victim"})).unwrap_err();
        assert_eq!(error.kind, WireErrorKind::Identity);
    }
    let named = Bytes::from(json!({"device_id": "victim", "audio": "AAAA"}).to_string());
    assert_eq!(decode(Stream::Audio, &named, &cane()).unwrap_err().kind, WireErrorKind::Identity);
}

#[test]
fn the_token_of_a_hello_is_not_kept() {
    let text = json!({"type": "hello", "version": "0.2", "payload": {"token": "secret", "capabilities": {"camera": true},
        "resume": {"lastRecvSeq": 9}}});
    let ControlKind::Hello(hello) = control(&text).kind else { panic!("no hello") };
    assert_eq!((hello.last_recv_seq, hello.version.as_deref()), (Some(9), Some("0.2")));
    assert_eq!(hello.capabilities, json!({"camera": true}));
    assert!(!format!("{hello:?}").contains("secret"));
}

#[test]
fn who_ends_an_utterance_is_the_device() {
    let start = control(&json!({"type": "mic_start"})).kind;
    assert_eq!(start, ControlKind::ListenStart { mode: Some(ListenMode::Manual), n: None });
    assert_eq!(control(&json!({"type": "mic_stop", "payload": {}})).kind, ControlKind::ListenStop);
    let said = control(&json!({"type": "listen_stop", "payload": {"transcript": " hello "}})).kind;
    assert_eq!(said, ControlKind::Said("hello".into()));
    for (payload, said) in [
        (json!({"text": "book a table", "intent": "digital_task"}), Some("book a table".to_owned())),
        (json!({"digital_task": true}), None),
    ] {
        assert_eq!(
            control(&json!({"type": "listen_stop", "payload": payload})).kind,
            ControlKind::Errand { said },
            "{payload}"
        );
    }
    for payload in [json!({"intent": "navigation"}), json!({"digital_task": false})] {
        let kind = control(&json!({"type": "listen_stop", "payload": payload})).kind;
        assert_eq!(kind, ControlKind::ListenStop, "{payload}");
    }
}

#[test]
fn speech_as_base64_has_the_number_of_the_piece_and_never_that_of_a_time() {
    let piece = |more: Value| {
        let mut payload = json!({"audioBase64": "AQID"});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        audio(&json!({"type": "chunk", "seq": 40, "payload": payload}))
    };
    assert_eq!(piece(json!({"chunkIndex": 0})).seq, 1);
    assert_eq!(piece(json!({"frame_index": "7", "vad": false})).speech, Some(false));
    assert_eq!(piece(json!({"timestamp": 12})).seq, 40, "the envelope's");
    assert_eq!(&piece(json!({})).payload[..], [1, 2, 3]);
    assert_eq!(piece(json!({"encoding": "pcm", "audio_b64": "AAD//w=="})).codec, Codec::PcmS16le);
    assert_eq!(audio(&json!({"type": "audio", "payload": {"audio": "AQID"}})).seq, 0, "none at all");
    for bad in
        [json!({"audio": "*"}), json!({"audio": ""}), json!({"audio": 7}), json!({"audio": "AQID", "codec": "mp3"})]
    {
        assert!(read(&json!({"type": "audio_chunk", "payload": bad})).is_err(), "{bad}");
    }
}

#[test]
fn speech_on_its_own_topic_may_be_json_or_a_packet() {
    for text in [
        json!({"audio_b64": "AQID", "seq": 4}),
        json!({"data": "AQID", "codec": "opus", "sequence": 4}),
        json!({"payload": {"audio": "AQID"}, "seq": 4}),
    ] {
        let Ok(Body::Audio(packet)) = decode(Stream::Audio, &Bytes::from(text.to_string()), &cane()) else {
            panic!("{text}")
        };
        assert_eq!((packet.seq, &packet.payload[..]), (4, &[1, 2, 3][..]), "{text}");
    }
    // any version, type and flags; length 0 is the rest
    let packet = [0xA1, 9, 1, 0xFF, 0, 0, 0, 4, 0, 0, 0, 60, 0, 0, 0, 0, 1, 2, 3];
    let Ok(Body::Audio(packet)) = decode(Stream::Audio, &Bytes::copy_from_slice(&packet), &cane()) else {
        panic!("no packet")
    };
    assert_eq!((packet.seq, packet.codec, packet.last, packet.payload.len()), (4, Codec::Opus, false, 3));
    assert!(decode(Stream::Audio, &Bytes::from_static(b"[1]"), &cane()).is_err());
}

#[test]
fn what_the_device_understood_counts_before_what_it_heard() {
    let piece = control(&json!({"type": "audio_chunk", "payload": {"text": "turn left", "audio_b64": "AQID"}}));
    assert_eq!(piece.kind, ControlKind::Partial("turn left".into()));
}

#[test]
fn a_result_without_a_verdict_succeeded_unless_it_tells_an_error() {
    let result = |payload: Value| match control(&json!({"type": "tool_result", "payload": payload})).kind {
        ControlKind::ToolResult { operation_id, success, error, .. } => (operation_id, success, error),
        other => panic!("{other:?}"),
    };
    assert_eq!(result(json!({"operationId": "op-1", "result": 3})), ("op-1".into(), true, None));
    assert_eq!(result(json!({"op_id": "op-1", "error": "no"})), ("op-1".into(), false, Some("no".into())));
    assert_eq!(result(json!({"operation_id": "o", "success": 0, "error": ""})), ("o".into(), false, None));
    assert!(read(&json!({"type": "tool_result", "payload": {"success": true}})).is_err());
}

#[test]
fn an_image_is_one_by_its_content() {
    assert!(read(&json!({"type": "image_ready", "payload": {"image": "AQID"}})).is_err());
    assert!(read(&json!({"type": "image_ready", "payload": {"image_url": "asset://1"}})).is_err());
}

#[test]
fn what_nobody_knows_is_an_error_of_its_own() {
    assert_eq!(read(&json!({"type": "dance"})).unwrap_err().kind, WireErrorKind::UnknownType);
    for bad in ["[1]", "7", "{", "null", "{}", "\u{fffd}"] {
        assert_eq!(
            decode(Stream::Control, &Bytes::from(bad), &cane()).unwrap_err().kind,
            WireErrorKind::Malformed,
            "{bad}"
        );
    }
    assert!(decode(Stream::Control, &Bytes::from(vec![b' '; MAX_TEXT + 1]), &cane()).is_err());
}

#[test]
fn commands_have_all_eight_fields_and_the_words_that_devices_know() {
    let ack = Message::HelloAck(Box::new(HelloAck {
        session_id: SessionId::parse("s1").unwrap(),
        resumed: true,
        boot: 4,
        time: 0,
        ack: AckMarks::default(),
        down_seq: 0,
        max_packet: 1,
        max_image: 1,
        max_in_flight: 1,
        heartbeat_s: 30,
        number: Some(12),
        protocol: Some("0.1".into()),
        media: None,
    }));
    let told = down(ack).unwrap();
    let fields: Vec<&String> = told.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["version", "msg_id", "device_id", "session_id", "seq", "ts", "type", "payload"]);
    assert_eq!((&told["type"], &told["seq"], &told["device_id"]), (&json!("hello_ack"), &json!(7), &json!("cane-1")));
    assert_eq!((&told["payload"]["runtime"], &told["payload"]["ack_seq"]), (&json!("opencane-hardware"), &json!(12)));
    let turn_id = TurnId(1);
    let start = |device_speaks| down(Message::TtsStart { turn_id, text: "x".repeat(99), device_speaks }).unwrap();
    assert_eq!(start(true)["payload"], json!({"text": "x".repeat(80)}));
    assert_eq!(start(false)["payload"]["mode"], "server_audio");
    let chunk = |device_speaks| down(Message::TtsSentence { text: "Yes.".into(), device_speaks });
    assert_eq!(chunk(true).unwrap()["type"], "tts_chunk");
    assert_eq!(chunk(false), None, "the device would say it twice");
    let stop = |reason| down(Message::TtsStop { turn_id, reason }).unwrap()["payload"].clone();
    assert_eq!(stop(StopReason::Done), json!({"aborted": false}));
    assert_eq!(stop(StopReason::BargeIn), json!({"aborted": true, "reason": "barge_in"}));
    assert_eq!(down(Message::Reply { text: "Yes.".into() }), None);
}

#[test]
fn speech_for_a_connection_without_packets_is_text() {
    let packet = Bytes::from_static(&[1, 2, 3]);
    let frame = SpokenFrame { turn: TurnId(1), seq: 8, ts_ms: 60, last: false, packet };
    let packet = encode(&Downlink::Audio(frame), &cane()).unwrap();
    let text: Value = serde_json::from_slice(&as_text(&packet, &cane(), Some("s"), 5).unwrap()).unwrap();
    assert_eq!((&text["type"], &text["seq"], &text["session_id"]), (&json!("tts_chunk"), &json!(8), &json!("s")));
    assert_eq!(text["payload"], json!({"audio_b64": "AQID", "encoding": "opus", "sample_rate_hz": 24_000}));
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let bytes = Bytes::from(bytes);
        for stream in Stream::ALL {
            let _ = decode(stream, &bytes, &cane());
        }
        let _ = (binary(&bytes), as_text(&bytes, &cane(), None, 0));
    }

    #[test]
    fn any_object_is_a_message_or_an_error(
        kind in prop::sample::select(vec!["hello", "audio_chunk", "image_ready", "tool_result", "telemetry", "sos", "error"]),
        keys in prop::collection::vec("[a-zA-Z_]{1,12}", 0..8),
        value in prop::sample::select(vec![json!(null), json!(-1), json!("x"), json!([]), json!({}), json!(true), json!(1e300)]),
    ) {
        let payload: serde_json::Map<String, Value> = keys.into_iter().map(|key| (key, value.clone())).collect();
        let _ = read(&json!({"type": kind, "payload": payload}));
        let _ = read(&json!({"type": kind, "payload": value}));
    }
}
