//! From delivery to the device's socket.

use super::*;

#[tokio::test]
async fn downlinks_arrive_unasked_and_never_twice() {
    let mut fixture = Fixture::new().await;
    let mut peer = fixture.peer(Version::V4, "dev1").await;
    let link = fixture.link().await;
    link.send(down("device/dev1/down/control", b"1", PacketKind::Control)).unwrap();
    assert_eq!(peer.message().await, ("device/dev1/down/control".into(), b"1".to_vec()));
    assert_eq!(peer.subscribe(&["device/dev1/down/control", "device/dev1/down/audio"], 1).await, [1, 1]);
    assert_eq!(peer.subscribe(&["device/dev2/down/control", "#", "a#"], 1).await, [0x80, 0x80, 0x80]);
    for n in [b"2", b"3"] {
        link.send(down("device/dev1/down/control", n, PacketKind::Control)).unwrap();
    }
    assert_eq!(peer.message().await.1, b"2");
    assert_eq!(peer.message().await.1, b"3");
    peer.ping().await;
    // a second connection of the same device hears what the first is told, by its subscription
    let mut second = fixture.peer_as(Version::V4, "dev1", "second", 60).await;
    assert_eq!(second.subscribe(&["device/dev1/down/#"], 0).await, [0]);
    link.send(down("device/dev1/down/audio", b"4", PacketKind::Audio)).unwrap();
    assert_eq!(peer.message().await.1, b"4");
    assert_eq!(second.message().await.1, b"4");
    peer.ping().await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_qos_1_downlink_has_a_packet_id_and_a_full_queue_says_so() {
    let mut settings = local();
    settings.limits.downlink_packets = 4;
    let mut fixture = Fixture::with(settings).await;
    let mut peer = fixture.peer(Version::V5, "dev1").await;
    let link = fixture.link().await;
    let packet = LinkPacket { qos: QoS::AtLeastOnce, ..down("t", b"x", PacketKind::Control) };
    link.send(packet).unwrap();
    assert_eq!(peer.packet().await, (0x32, vec![0, 1, b't', 0, 1, 0, b'x']));
    peer.send(&[0x40, 2, 0, 1]).await;
    peer.ping().await;
    let big = down("t", &vec![0; 200_000], PacketKind::Control);
    let sent = (0..50).filter(|_| link.send(big.clone()).is_ok()).count();
    assert!(sent < 50, "a peer that does not read fills its queue");
    drop(peer);
    until("gone", || link.send(big.clone()) == Err(crate::domain::SendError::Gone)).await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_downlink_larger_than_its_client_takes_is_dropped_and_counted_and_the_next_arrives() {
    let mut fixture = Fixture::new().await;
    let mut body = [&text("MQTT")[..], &[5, 0xC2, 0, 60, 5, 0x27, 0, 0, 0, 64], &text("small")].concat();
    body.extend([text("dev1"), text(fixture.secrets["dev1"].reveal())].concat());
    let mut peer = fixture.raw().await;
    peer.version = Version::V5;
    peer.send(&packet(0x10, &body)).await;
    assert_eq!(peer.packet().await.0, 0x20);
    let link = fixture.link().await;
    for (size, kind) in [(100, PacketKind::Control), (100, PacketKind::Audio), (3, PacketKind::Control)] {
        let packet = LinkPacket { qos: QoS::AtLeastOnce, ..down("t", &vec![b'x'; size], kind) };
        link.send(packet).unwrap();
    }
    let (_, arrived) = peer.packet().await;
    assert!(arrived.ends_with(b"xxx") && arrived.len() < 64, "{arrived:?}");
    assert_eq!(fixture.metrics.drops("client_max_packet"), 2);
    peer.ping().await;
    fixture.stop().await;
}

/// The peer does not read, the socket is full, the turn is cancelled: only what the kernel already has may follow.
#[tokio::test]
async fn no_stale_frame_leaves_after_audio_is_cleared() {
    let mut fixture = Fixture::new().await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2_048).unwrap();
    let stream = socket.connect(fixture.addr).await.unwrap();
    let mut peer = Peer { stream, buffer: BytesMut::new(), version: Version::V4 };
    peer.send(&fixture.connect_packet(Version::V4, "dev1", "a", 60)).await;
    let link = fixture.link().await;
    for n in 0..400_u16 {
        let mut frame = n.to_be_bytes().to_vec();
        frame.resize(200, 0);
        link.send(down("device/dev1/down/audio", &frame, PacketKind::Audio)).unwrap();
    }
    let (mut written, mut quiet) = (0, 0);
    until("the socket is full", || {
        let now = fixture.metrics.packets("out", "publish");
        quiet = if now == written { quiet + 1 } else { 0 };
        written = now;
        quiet > 50
    })
    .await;
    let unsent = link.clear_audio();
    assert!(unsent > 300, "the kernel held more than a quarter of the frames: {unsent} were left");
    link.send(down("device/dev1/down/control", b"stop", PacketKind::Control)).unwrap();
    assert_eq!(peer.packet().await.0, 0x20);
    let mut stale = Vec::new();
    loop {
        let (topic, payload) = peer.message().await;
        if topic.ends_with("control") {
            break;
        }
        stale.push(u16::from_be_bytes([payload[0], payload[1]]));
    }
    assert!(stale.windows(2).all(|w| w[1] == w[0] + 1), "in order: {stale:?}");
    assert!(stale.len() + unsent <= 400, "{} frames after {unsent} were cleared", stale.len());
    println!("frames in the kernel when the turn was cancelled: {}", stale.len());
    peer.ping().await;
    fixture.stop().await;
}

#[tokio::test]
async fn an_idle_device_gets_its_frame_at_once() {
    let mut fixture = Fixture::new().await;
    let mut peer = fixture.peer(Version::V4, "dev1").await;
    let link = fixture.link().await;
    for _ in 0..50 {
        let begun = tokio::time::Instant::now();
        link.send(down("device/dev1/down/audio", &[0; 200], PacketKind::Audio)).unwrap();
        peer.message().await;
        assert!(begun.elapsed() < Duration::from_millis(200), "no Nagle, no delayed acknowledgement");
    }
    fixture.stop().await;
}
