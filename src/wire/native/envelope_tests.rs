//! Both encodings of envelopes against each other, and against what is no envelope.

#![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{WireErrorKind, decode, encode, fuzz, some_device};
use super::{DIALECT, client};
use crate::domain::{
    AckMarks, Body, Control, ControlKind, Downlink, HapticPattern, Hello, HelloAck, ImageId, ListenMode, Message,
    SessionId, SpokenFrame, StopReason, Stream, TurnId,
};

fn read(payload: impl Into<Bytes>) -> Result<Control, super::WireError> {
    match decode(DIALECT, Stream::Control, &payload.into(), &some_device())? {
        Body::Control(control) => Ok(*control),
        other => panic!("{other:?}"),
    }
}

fn kind(name: &str, payload: &Value) -> Result<ControlKind, super::WireError> {
    read(json!({ "type": name, "payload": payload }).to_string()).map(|c| c.kind)
}

#[test]
fn what_is_no_envelope_is_refused_without_its_text() {
    let secret = "hunter2";
    for (bad, class) in [
        (String::new(), WireErrorKind::Malformed),
        ("{".to_owned(), WireErrorKind::Malformed),
        (format!("{{\"type\": {secret}}}"), WireErrorKind::Malformed),
        (format!("{{\"kind\": \"{secret}\"}}"), WireErrorKind::Malformed),
        (format!("{{\"type\": [\"{secret}\"]}}"), WireErrorKind::Malformed),
        (format!("{{\"type\": \"{secret}\"}}"), WireErrorKind::UnknownType),
        ("{\"type\": \"hello_ack\"}".to_owned(), WireErrorKind::UnknownType),
        (format!("{{\"type\": \"text\", \"payload\": \"{secret}\"}}"), WireErrorKind::Malformed),
        (format!("{{\"type\": \"text\", \"payload\": {{\"text\": {{\"{secret}\": 1}}}}}}"), WireErrorKind::Malformed),
        (format!("{{\"type\": \"heartbeat\", \"seq\": \"{secret}\"}}"), WireErrorKind::Malformed),
        ("{\"type\": \"heartbeat\", \"seq\": -1}".to_owned(), WireErrorKind::Malformed),
        ("{\"type\": \"heartbeat\", \"seq\": 4294967296}".to_owned(), WireErrorKind::Malformed),
        (format!("{{\"type\": \"heartbeat\", \"msg_id\": \"{}\"}}", "x".repeat(65)), WireErrorKind::TooLarge),
        (
            format!("{{\"type\": \"text\", \"payload\": {{\"text\": \"{}\"}}}}", "x".repeat(300_000)),
            WireErrorKind::TooLarge,
        ),
        (format!("hello {secret}"), WireErrorKind::Malformed),
        ("[".repeat(200_000), WireErrorKind::Malformed),
        (format!("{{\"type\":\"text\",\"payload\":{}", "{\"a\":".repeat(40_000)), WireErrorKind::Malformed),
    ] {
        let error = read(bad.clone()).unwrap_err();
        assert_eq!(error.kind, class, "{}", &bad[..bad.len().min(80)]);
        assert!(!error.to_string().contains(secret) && !format!("{error:?}").contains(secret));
    }
}

#[test]
fn another_dialect_is_not_read_as_this_one() {
    let error = decode("klingon", Stream::Control, &Bytes::from_static(b"{}"), &some_device()).unwrap_err();
    assert_eq!(error.kind, WireErrorKind::Unsupported);
}

#[test]
fn unknown_fields_are_ignored_and_missing_ones_have_their_meaning() {
    let control =
        read(r#"{"type":"heartbeat","color":"red","seq":0,"ts":1.7637e12,"session_id":"","payload":null}"#).unwrap();
    assert_eq!((control.seq, control.ts_ms, control.session_id), (None, Some(1_763_700_000_000), None));
    assert_eq!(kind("listen_start", &json!({})), Ok(ControlKind::ListenStart { mode: None, n: None }));
    assert!(kind("listen_start", &json!({"mode": "shouting"})).is_err());
    for (payload, worked) in
        [(json!({"operation_id": "a"}), true), (json!({"operation_id": "a", "error": "no"}), false)]
    {
        let ControlKind::ToolResult { success, .. } = kind("tool_result", &payload).unwrap() else {
            panic!("{payload}")
        };
        assert_eq!(success, worked);
    }
    assert_eq!(kind("image", &json!({"image_id": 7})), kind("image", &json!({"image_id": "0000000000000007"})));
    for id in [json!(-1), json!("7"), json!("000000000000000g"), json!(null)] {
        assert!(kind("image", &json!({"image_id": id})).is_err(), "{id}");
    }
}

#[test]
fn a_hello_may_say_its_session_in_the_envelope_or_in_the_payload() {
    for text in [
        r#"{"type":"hello","session_id":"s1","payload":{"boot_id":5}}"#,
        r#"{"type":"hello","payload":{"boot_id":5,"session_id":"s1"}}"#,
        r#"{"type":"hello","session_id":"s1","payload":{"boot_id":5,"session_id":"other"}}"#,
    ] {
        assert_eq!(read(text).unwrap().session_id.as_deref(), Some("s1"), "{text}");
    }
}

#[test]
fn a_call_for_help_is_understood_however_it_is_put() {
    for payload in [json!(null), json!({}), json!({"kind": 3, "text": ["x"]}), json!({"kind": ""})] {
        let want = ControlKind::Sos { kind: "unspecified".into(), text: None };
        assert_eq!(kind("sos", &payload), Ok(want), "{payload}");
    }
}

#[test]
fn a_protobuf_downlink_that_comes_up_is_refused() {
    let close = Downlink::Control {
        session: None,
        seq: None,
        ts_ms: 0,
        msg_id: None,
        want_ack: false,
        json: false,
        message: Message::Close { reason: "x".into() },
    };
    assert_eq!(read(encode(DIALECT, &close, &some_device()).unwrap()).unwrap_err().kind, WireErrorKind::UnknownType);
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,20}"
}

fn id() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_.:-]{1,64}"
}

fn free() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4).prop_map(|f| Value::Object(f.into_iter().collect())),
        ]
    })
}

fn stream() -> impl Strategy<Value = Stream> {
    proptest::sample::select(&Stream::ALL[..])
}

fn control_kind() -> impl Strategy<Value = ControlKind> {
    let mode = proptest::sample::select(vec![
        None,
        Some(ListenMode::Auto),
        Some(ListenMode::Manual),
        Some(ListenMode::Realtime),
    ]);
    let hello = (of(any::<u32>()), free(), of(any::<u32>()), btree_map(stream(), any::<u32>(), 0..4)).prop_map(
        |(boot_id, capabilities, last_recv_seq, oldest_seq)| {
            ControlKind::Hello(Hello { boot_id, capabilities, version: None, last_recv_seq, oldest_seq })
        },
    );
    let result = (text(), any::<bool>(), free(), of(text())).prop_map(|(operation_id, success, result, error)| {
        ControlKind::ToolResult { operation_id, success, result, error }
    });
    let plain = vec![ControlKind::Heartbeat, ControlKind::ListenStop, ControlKind::Goodbye];
    prop_oneof![
        3 => hello,
        1 => proptest::sample::select(plain),
        1 => (mode, of(any::<u32>())).prop_map(|(mode, n)| ControlKind::ListenStart { mode, n }),
        1 => of(text()).prop_map(|reason| ControlKind::Abort { reason }),
        1 => text().prop_map(ControlKind::Text),
        1 => any::<u32>().prop_map(|n| ControlKind::Played(TurnId(n))),
        1 => any::<u32>().prop_map(ControlKind::Ack),
        1 => ("[a-z]{1,9}", of(text())).prop_map(|(kind, text)| ControlKind::Sos { kind, text }),
        3 => result,
        1 => (any::<u64>(), of(text()), any::<bool>())
            .prop_map(|(id, question, keep)| ControlKind::ImageNote { image_id: ImageId(id), question, keep }),
    ]
}

fn control() -> impl Strategy<Value = Control> {
    (of(id()), of(1..=u32::MAX), of(any::<u64>()), of("[ -~]{1,64}"), any::<bool>(), control_kind())
        .prop_map(|(session_id, seq, ts_ms, msg_id, json, kind)| Control { session_id, seq, ts_ms, msg_id, json, kind })
}

fn hello_ack() -> impl Strategy<Value = Message> {
    let marks =
        any::<[u32; 4]>().prop_map(|[control, audio, telemetry, image]| AckMarks { control, audio, telemetry, image });
    (id(), any::<bool>(), any::<[u64; 2]>(), marks, any::<[u32; 5]>()).prop_map(
        |(session, resumed, [boot, time], ack, [down_seq, max_packet, max_image, max_in_flight, heartbeat_s])| {
            Message::HelloAck(Box::new(HelloAck {
                session_id: SessionId::parse(&session).unwrap(),
                resumed,
                boot,
                time,
                ack,
                down_seq,
                max_packet,
                max_image,
                max_in_flight,
                heartbeat_s,
                number: None,
                protocol: None,
                media: None,
            }))
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    use HapticPattern as H;
    use StopReason as R;
    let reason = proptest::sample::select(vec![R::Done, R::Abort, R::BargeIn, R::LinkLost, R::Error, R::Closed]);
    let pattern = proptest::sample::select(vec![H::Short, H::Long, H::Double, H::Sos]);
    let image = (stream(), of(any::<u32>()), of(any::<u64>()), of("[0-9a-f]{64}"))
        .prop_map(|(stream, seq, image, sha256)| Message::Ack { stream, seq, image_id: image.map(ImageId), sha256 });
    let turn = any::<u32>().prop_map(TurnId);
    let speech = prop_oneof![
        (text(), any::<bool>()).prop_map(|(text, is_final)| Message::Stt { text, is_final }),
        text().prop_map(|text| Message::Reply { text }),
        turn.clone().prop_map(|turn_id| Message::TtsStart { turn_id, text: String::new(), device_speaks: false }),
        text().prop_map(|text| Message::TtsSentence { text, device_speaks: false }),
        (turn, reason).prop_map(|(turn_id, reason)| Message::TtsStop { turn_id, reason }),
        text().prop_map(|name| Message::Emotion { name }),
    ];
    let command = prop_oneof![
        (pattern, any::<u32>()).prop_map(|(pattern, times)| Message::Haptic { pattern, times }),
        Just(Message::Reboot),
        (text(), text(), free()).prop_map(|(operation_id, name, arguments)| Message::ToolCall {
            operation_id,
            name,
            arguments
        }),
        free().prop_map(|config| Message::SetConfig { config }),
        free().prop_map(|plan| Message::OtaPlan { plan }),
        free().prop_map(|task| Message::TaskUpdate { task }),
        (text(), text()).prop_map(|(level, text)| Message::Alert { level, text, status: None, emotion: None }),
        (text(), text()).prop_map(|(code, message)| Message::Error { code, message }),
        text().prop_map(|reason| Message::Close { reason }),
    ];
    let missing = (any::<u64>(), vec(any::<(u16, u16)>(), 0..5))
        .prop_map(|(id, parts)| Message::ImageMissing { image_id: ImageId(id), parts });
    prop_oneof![1 => hello_ack(), 1 => image, 1 => missing, 5 => speech, 6 => command]
}

fn downlink() -> impl Strategy<Value = Downlink> {
    let control =
        (of(id()), of(any::<u32>()), any::<u64>(), of("[ -~]{1,64}"), any::<bool>(), any::<bool>(), message())
            .prop_map(|(session, seq, ts_ms, msg_id, want_ack, json, message)| {
                let session = session.map(|s| SessionId::parse(&s).unwrap());
                Downlink::Control { session, seq, ts_ms, msg_id, want_ack, json, message }
            });
    let audio = (0u32..16, any::<u32>(), any::<u32>(), any::<bool>(), vec(any::<u8>(), 1..300)).prop_map(
        |(turn, seq, ts_ms, last, packet)| {
            Downlink::Audio(SpokenFrame { turn: TurnId(turn), seq, ts_ms, last, packet: packet.into() })
        },
    );
    prop_oneof![4 => control, 1 => audio]
}

fn stream_of(downlink: &Downlink) -> Stream {
    match downlink {
        Downlink::Audio(_) => Stream::Audio,
        Downlink::Control { .. } => Stream::Control,
    }
}

proptest! {
    #[test]
    fn every_control_message_is_the_same_in_both_encodings(control in control()) {
        for json in [true, false] {
            let said = Control { json, ..control.clone() };
            prop_assert_eq!(read(client::encode_control(&said)), Ok(said));
        }
    }

    #[test]
    fn every_downlink_comes_back_as_it_was(downlink in downlink()) {
        let bytes = encode(DIALECT, &downlink, &some_device()).unwrap();
        prop_assert_eq!(client::decode_downlink(stream_of(&downlink), &bytes), Ok(downlink));
    }

    #[test]
    fn a_message_with_wrong_bytes_is_an_error_or_another_message(
        control in control(), downlink in downlink(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        for bytes in [client::encode_control(&control), encode(DIALECT, &downlink, &some_device()).unwrap()] {
            let mut bytes = bytes.to_vec();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            fuzz(&bytes);
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(data in vec(any::<u8>(), 0..300), first in prop_oneof![Just(b'{'), Just(b'['), Just(0xA1), Just(0xA2)]) {
        fuzz(&data);
        fuzz(&[&[first][..], &data].concat());
    }
}
