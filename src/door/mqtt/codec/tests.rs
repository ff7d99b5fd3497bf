//! Any bytes give a packet or an error; what is written reads back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

fn one(version: Version, bytes: &[u8]) -> Result<Packet, CodecError> {
    let frame = frame(bytes, 1 << 20)?.ok_or(CodecError::Malformed("short"))?;
    let all = Bytes::copy_from_slice(bytes);
    decode(version, frame.first, all.slice(frame.header..frame.header + frame.body))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_a_packet_or_an_error(first: u8, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for version in [Version::V4, Version::V5] {
            let _ = decode(version, first, Bytes::from(body.clone()));
        }
        let _ = decode_connect(0x10, Bytes::from(body.clone()));
        let _ = frame(&body, 1_000);
    }

    #[test]
    fn a_connect_with_any_byte_changed_is_a_packet_or_an_error(at in 0_usize..60, to: u8, cut in 0_usize..60) {
        let mut bytes = connect_with_everything();
        let last = bytes.len() - 1;
        bytes[at.min(last)] = to;
        bytes.truncate(cut.max(1));
        let _ = decode_connect(0x10, Bytes::from(bytes));
    }

    #[test]
    fn a_publish_reads_back_as_it_is_written(
        v5: bool, qos in 0_u8..3, retain: bool, id in 1_u16.., topic in "[a-z设/]{1,40}",
        payload in proptest::collection::vec(any::<u8>(), 0..20_000), content in proptest::option::of("[a-z]{0,9}"),
    ) {
        let version = if v5 { Version::V5 } else { Version::V4 };
        let text = |t: &str| Text::new(Bytes::copy_from_slice(t.as_bytes())).unwrap();
        let props = content.as_deref().map(|c| Box::new(PublishProps {
            content_type: Some(text(c)), user: vec![(text("a"), text("b"))], expiry: Some(7), ..PublishProps::default()
        })).filter(|_| v5);
        let id = if qos > 0 { id } else { 0 };
        let head = PublishHead { qos, retain, id, props: props.as_deref(), expiry: Some(7), ..PublishHead::default() };
        let mut out = BytesMut::new();
        prop_assert_eq!(publish(&mut out, version, head, &topic, &payload), out.len());
        let want = Publish { dup: false, qos, retain, topic: text(&topic), id, props, payload: payload.into() };
        prop_assert_eq!(one(version, &out), Ok(Packet::Publish(want)));
    }
}

/// A CONNECT body of MQTT 5 with a will, properties and credentials.
fn connect_with_everything() -> Vec<u8> {
    let mut b = vec![0, 4];
    b.extend(b"MQTT");
    b.extend([5, 0xF6, 0, 30, 8, 0x11, 0, 0, 0, 9, 0x21, 0, 5, 0, 2]);
    b.extend(b"id");
    b.extend([5, 0x18, 0, 0, 0, 1, 0, 1, b't', 0, 1, b'p', 0, 1, b'u', 0, 2, b's', b'3']);
    b
}

#[test]
fn a_full_connect_is_read() {
    let connect = decode_connect(0x10, connect_with_everything().into()).unwrap();
    assert_eq!((connect.version, connect.keep_alive, connect.clean), (Version::V5, 30, true));
    assert_eq!((connect.session_expiry, connect.receive_maximum), (9, 5));
    let will = connect.will.clone().unwrap();
    assert_eq!(
        (will.topic.as_str(), &will.payload[..], will.qos, will.retain, will.delay),
        ("t", &b"p"[..], 2, true, 1)
    );
    assert!(!format!("{connect:?}").contains("s3"), "a password must not be printed");
    assert_eq!(connect.login.unwrap().user.as_str(), "u");
}

#[test]
fn what_a_client_must_not_send_is_refused() {
    let cases: &[(&str, Version, &[u8])] = &[
        ("connack (K3)", Version::V5, &[0x20, 3, 0, 0, 0]),
        ("suback", Version::V4, &[0x90, 3, 0, 1, 0]),
        ("unsuback (K3)", Version::V5, &[0xB0, 4, 0, 1, 0, 0]),
        ("pingresp", Version::V4, &[0xD0, 0]),
        ("auth", Version::V5, &[0xF0, 0]),
        ("type 0", Version::V4, &[0, 0]),
        ("qos 3", Version::V4, &[0x36, 5, 0, 1, b'a', 0, 1]),
        ("dup at qos 0", Version::V4, &[0x38, 3, 0, 1, b'a']),
        ("packet id 0", Version::V4, &[0x32, 5, 0, 1, b'a', 0, 0]),
        ("nul in a topic", Version::V4, &[0x30, 3, 0, 1, 0]),
        ("topic is not utf-8", Version::V4, &[0x30, 3, 0, 1, 0xFF]),
        ("topic longer than the packet", Version::V4, &[0x30, 3, 0, 9, b'a']),
        ("subscribe without filters", Version::V4, &[0x82, 2, 0, 1]),
        ("subscribe with wrong flags", Version::V4, &[0x80, 6, 0, 1, 0, 1, b'a', 0]),
        ("v5 options in 3.1.1", Version::V4, &[0x82, 6, 0, 1, 0, 1, b'a', 4]),
        ("retain handling 3", Version::V5, &[0x82, 7, 0, 1, 0, 0, 1, b'a', 0x30]),
        ("subscription id 0", Version::V5, &[0x82, 9, 0, 1, 2, 0x0B, 0, 0, 1, b'a', 0]),
        ("a property twice", Version::V5, &[0x30, 8, 0, 1, b'a', 4, 1, 0, 1, 0]),
        ("a property of another packet", Version::V5, &[0x30, 9, 0, 1, b'a', 5, 0x11, 0, 0, 0, 1]),
        ("pubrel with wrong flags", Version::V4, &[0x60, 2, 0, 1]),
        ("ping with a body", Version::V4, &[0xC0, 1, 0]),
    ];
    for (name, version, bytes) in cases {
        assert!(one(*version, bytes).is_err(), "{name} was accepted");
    }
}

#[test]
fn a_packet_above_the_limit_is_refused_on_its_header() {
    assert_eq!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], 1_000), Err(CodecError::TooLarge(268_435_460)));
    assert_eq!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], 1_000).unwrap_err().name(), "malformed");
    assert_eq!(frame(&[0x30, 0xFF], 1_000), Ok(None));
    assert_eq!(frame(&[], 1_000), Ok(None));
}

#[test]
fn refusals_of_mqtt_5_become_0x80_in_3_1_1() {
    let mut out = BytesMut::new();
    suback(&mut out, Version::V4, 7, &[0, 1, 0x87]);
    assert_eq!(&out[..], [0x90, 5, 0, 7, 0, 1, 0x80]);
    out.clear();
    suback(&mut out, Version::V5, 7, &[0, 1, 0x87]);
    assert_eq!(&out[..], [0x90, 6, 0, 7, 0, 0, 1, 0x87]);
}
