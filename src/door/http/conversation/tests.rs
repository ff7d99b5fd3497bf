//! Small parts; whole conversations are in `tests/xiaozhi.rs`.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use bytes::Bytes;

use super::link::{Next, Socket};
use super::*;
use crate::domain::{Link, LinkPacket, PacketKind, QoS, SendError};

fn packet(kind: PacketKind, bytes: usize) -> LinkPacket {
    LinkPacket { topic: "".into(), payload: Bytes::from(vec![0; bytes]), qos: QoS::AtMostOnce, kind }
}

#[tokio::test]
async fn what_waits_is_bounded_and_an_interruption_takes_the_speech_out_of_it() {
    let socket = Socket::new(LinkId(1), None, "xiaozhi", (4, 100));
    for kind in [PacketKind::Audio, PacketKind::Control, PacketKind::Audio] {
        socket.send(packet(kind, 20)).unwrap();
    }
    assert_eq!(socket.send(packet(PacketKind::Audio, 50)), Err(SendError::Full));
    assert_eq!(socket.clear_audio(), 2);
    socket.send(packet(PacketKind::Audio, 80)).unwrap();
    assert!(matches!(socket.next().await, Next::Send(packet) if packet.kind == PacketKind::Control));
    socket.end("over");
    assert_eq!(socket.send(packet(PacketKind::Control, 1)), Err(SendError::Gone));
    // what was said before its end is still sent
    assert!(matches!(socket.next().await, Next::Send(packet) if packet.payload.len() == 80));
    assert!(matches!(socket.next().await, Next::End("over")));
}

#[test]
fn settings_that_leave_no_room_for_a_conversation_are_told() {
    let settings = Settings { queue_packets: 1, ..Settings::default() };
    assert_eq!(settings.check("websocket")[0].key, "websocket.queue_packets");
    assert_eq!(Settings::default().check("websocket"), []);
}
