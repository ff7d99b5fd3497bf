//! What is written can be read, and what is missing is seen.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::packets::{self, Packet, Publish, Template};
use super::subscribe::Seen;
use super::{Content, Login};
use crate::domain::{Body, ControlKind, DeviceId, Stream};
use crate::wire;

fn split(mut bytes: &[u8]) -> Vec<Packet<'_>> {
    let mut found = Vec::new();
    while let Some((packet, length)) = packets::next(bytes).unwrap() {
        found.push(packet);
        bytes = &bytes[length..];
    }
    assert!(bytes.is_empty(), "half a packet is left");
    found
}

#[test]
fn each_publish_of_a_batch_has_its_number_its_packet_id_and_its_time() {
    let mut template = Template::new("bench/0042", 1, Content::Audio, 3);
    let seen: Vec<_> = split(template.fill(65_535, 3, 77)).into_iter().map(|p| Publish::of(p).unwrap()).collect();
    assert_eq!(seen.iter().map(|p| p.number).collect::<Vec<_>>(), [65_535, 65_536, 65_537]);
    assert_eq!(seen.iter().map(|p| p.id.unwrap()).collect::<Vec<_>>(), [[0, 1], [0, 2], [0, 3]], "never 0");
    assert!(seen.iter().all(|p| (p.from, p.at) == (42, 77)));
}

#[test]
fn what_devices_publish_is_of_the_native_dialect() {
    let device = DeviceId::parse("bench-1").unwrap();
    let topic = "device/bench-1/audio";
    let mut audio = Template::new(topic, 0, Content::Audio, 1);
    let payload = bytes::Bytes::copy_from_slice(&split(audio.fill(9, 1, 0))[0].body[2 + topic.len()..]);
    let Ok(Body::Audio(packet)) = wire::decode("native", Stream::Audio, &payload, &device) else { panic!("no audio") };
    assert_eq!((payload.len(), packet.seq), (packets::PAYLOAD, 9));
    let topic = "device/bench-1/control";
    let mut beats = Template::new(topic, 1, Content::Heartbeat, 1);
    let payload = bytes::Bytes::copy_from_slice(&split(beats.fill(9, 1, 0))[0].body[2 + topic.len() + 2..]);
    let Ok(Body::Control(control)) = wire::decode("native", Stream::Control, &payload, &device) else {
        panic!("no control")
    };
    assert_eq!((payload.len(), control.seq), (packets::PAYLOAD, Some(9)));
    assert!(matches!(control.kind, ControlKind::Heartbeat));
}

#[test]
fn half_a_packet_is_waited_for_and_a_length_without_end_is_refused() {
    let whole = packets::connect(&Login { id: "dev".into(), password: Some("x".repeat(200)) });
    for end in 0..whole.len() {
        assert_eq!(packets::next(&whole[..end]).unwrap(), None, "{end} bytes");
    }
    assert_eq!(packets::next(&whole).unwrap().unwrap().1, whole.len());
    assert!(packets::next(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0]).is_err());
}

#[test]
fn what_comes_again_does_not_make_up_for_what_is_missing() {
    let publish = |number| Publish { from: 3, id: None, number, at: 0 };
    let mut seen = Seen::default();
    for number in [1, 2, 5, 5, 4] {
        seen.note(publish(number));
    }
    assert_eq!((seen.count, seen.repeats), (5, 2), "4 came behind 5: out of order is a fault, too");
}
