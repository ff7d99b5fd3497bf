//! The cases that end rumqttd's own broker (K1 to K10 of its audit), and bytes that are no MQTT.

use super::*;

/// The door lives: a device speaks, an operator hears it through the bus.
async fn alive(fixture: &mut Fixture) {
    let mut watcher = fixture.peer_as(Version::V4, "operator", "alive", 60).await;
    watcher.subscribe(&["device/dev2/control"], 0).await;
    let mut peer = fixture.peer_as(Version::V5, "dev2", "alive", 60).await;
    peer.publish("device/dev2/control", &typed("alive"), 0, 0).await;
    assert_eq!(watcher.message().await.1, typed("alive"));
    assert_eq!(fixture.metrics.bus_restarts.get(), 0);
    assert!(!fixture.bus.degraded());
}

#[tokio::test]
async fn k1_topics_that_kill_the_router_are_messages_like_others() {
    let mut fixture = Fixture::new().await;
    let mut admin = fixture.peer(Version::V5, "admin").await;
    let mut watcher = fixture.peer(Version::V4, "operator").await;
    watcher.subscribe(&["#", "$SYS/#"], 1).await;
    admin.publish("设备/1", b"x", 1, 1).await;
    assert_eq!(watcher.message().await, ("设备/1".into(), b"x".to_vec()));
    assert_eq!(admin.packet().await, (0x40, vec![0, 1]));
    admin.publish("é", b"", 1, 2).await;
    assert_eq!(watcher.message().await, ("é".into(), vec![]));
    admin.packet().await;
    admin.publish("$x", b"y", 1, 3).await;
    assert_eq!(admin.packet().await, (0x40, vec![0, 3, 0x87]));
    alive(&mut fixture).await;
    fixture.stop().await;
}

#[tokio::test]
async fn k2_properties_reach_those_who_can_read_them() {
    let mut fixture = Fixture::new().await;
    let mut four = fixture.peer(Version::V4, "operator").await;
    let mut five = fixture.peer_as(Version::V5, "operator", "five", 60).await;
    four.subscribe(&["lab"], 0).await;
    five.subscribe(&["lab"], 0).await;
    let mut admin = fixture.peer(Version::V5, "admin").await;
    let props = [0x26, 0, 1, b'k', 0, 1, b'v'];
    let body = [text("lab"), vec![7], props.to_vec(), b"x".to_vec()].concat();
    admin.send(&packet(0x30, &body)).await;
    assert_eq!(four.packet().await, (0x30, [text("lab"), b"x".to_vec()].concat()));
    assert_eq!(five.packet().await, (0x30, body));
    alive(&mut fixture).await;
    fixture.stop().await;
}

#[tokio::test]
async fn k3_packets_of_servers_end_their_sender_only() {
    let mut fixture = Fixture::new().await;
    for bytes in
        [&[0x20, 3, 0, 0, 0][..], &[0xB0, 4, 0, 1, 0, 0], &[0x90, 3, 0, 1, 0], &[0xD0, 0], &[0x10, 0], &[0xF0, 0]]
    {
        for version in [Version::V4, Version::V5] {
            let mut peer = fixture.peer_as(version, "dev1", &format!("{bytes:?}{version:?}"), 60).await;
            peer.send(bytes).await;
            peer.closed().await;
        }
    }
    alive(&mut fixture).await;
    fixture.stop().await;
}

#[tokio::test]
async fn k4_and_k5_connections_that_are_refused_or_reset_leave_nothing_behind() {
    let mut settings = local();
    settings.limits.connections = 20;
    let mut fixture = Fixture::with(settings).await;
    for n in 0..200 {
        let mut peer = fixture.raw().await;
        // an operator's: a device is refused after five takeovers
        let id = if n % 2 == 0 { "site/dev1" } else { "other" };
        peer.send(&fixture.connect_packet(Version::V4, "operator", id, 60)).await;
        peer.stream.set_zero_linger().unwrap();
        drop(peer);
    }
    let metrics = fixture.metrics.clone();
    until("all gone", || metrics.connections_of(Listener::Tcp) == 0).await;
    alive(&mut fixture).await;
    fixture.stop().await;
}

#[tokio::test]
async fn k6_the_only_member_of_a_shared_group_leaves_with_a_message_unanswered() {
    let mut fixture = Fixture::new().await;
    let mut four = fixture.raw().await;
    // clean session off: it is persistent
    let mut connect = fixture.connect_packet(Version::V4, "operator", "member", 60);
    connect[9] &= !2;
    four.send(&connect).await;
    assert_eq!(four.packet().await, (0x20, vec![0, 0]));
    assert_eq!(four.subscribe(&["$share/g/x", "$share/g", "$share//x"], 1).await, [1, 0x80, 0x80]);
    let mut admin = fixture.peer(Version::V4, "admin").await;
    admin.publish("x", b"1", 1, 1).await;
    assert_eq!(four.message().await.1, b"1");
    drop(four);
    let mut again = fixture.raw().await;
    again.send(&connect).await;
    assert_eq!(again.packet().await, (0x20, vec![1, 0]), "its session is there");
    let (first, _) = again.packet().await;
    assert_eq!(first, 0x3A, "the message again, marked as a repeat");
    alive(&mut fixture).await;
    fixture.stop().await;
}

#[tokio::test]
async fn k10_connections_that_say_nothing_block_nobody() {
    let mut fixture = Fixture::new().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(fixture.raw().await);
    }
    alive(&mut fixture).await;
    fixture.stop().await;
}

#[tokio::test]
async fn garbage_on_the_port_is_closed() {
    let mut fixture = Fixture::new().await;
    let mut noise = 0x1234_5678_u32;
    for round in 0..300_usize {
        let mut peer = fixture.raw().await;
        let bytes: Vec<u8> = (0..=round)
            .map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 17;
                noise ^= noise << 5;
                noise.to_le_bytes()[0]
            })
            .collect();
        // every third begins like a CONNECT
        let bytes = if round % 3 == 0 { packet(0x10, &bytes) } else { bytes };
        let _ = peer.stream.write_all(&bytes).await;
        let _ = peer.stream.shutdown().await;
        peer.closed().await;
    }
    let mut http = fixture.raw().await;
    http.send(b"GET / HTTP/1.1\r\n\r\n").await;
    http.closed().await;
    let mut huge = fixture.raw().await;
    huge.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]).await;
    huge.closed().await;
    alive(&mut fixture).await;
    fixture.stop().await;
}

#[tokio::test]
async fn framed_garbage_after_connect_ends_its_sender_only() {
    let mut fixture = Fixture::new().await;
    let mut noise = 0x8765_4321_u32;
    for round in 0..300_usize {
        let version = if round % 2 == 0 { Version::V4 } else { Version::V5 };
        let mut peer = fixture.peer_as(version, "operator", "noise", 60).await;
        let mut byte = || {
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            noise.to_le_bytes()[1]
        };
        let first = byte();
        let body: Vec<u8> = (0..round % 40).map(|_| byte()).collect();
        let _ = peer.stream.write_all(&packet(first, &body)).await;
        let _ = peer.stream.shutdown().await;
        peer.closed().await;
    }
    alive(&mut fixture).await;
    assert_eq!(fixture.metrics.endings("panic"), 0);
    fixture.stop().await;
}

#[tokio::test]
async fn topics_with_wildcards_or_nothing_in_them_end_the_connection() {
    let mut fixture = Fixture::new().await;
    for topic in ["", "a/+", "#", "device/dev1/#"] {
        let mut peer = fixture.peer_as(Version::V5, "admin", topic, 60).await;
        peer.publish(topic, b"x", 0, 0).await;
        assert_eq!(peer.next().await, Some((0xE0, vec![0x90])), "{topic:?}");
    }
    let mut alias = fixture.peer(Version::V5, "admin").await;
    alias.send(&packet(0x30, &[text("a"), vec![3, 0x23, 0, 0]].concat())).await;
    assert_eq!(alias.next().await, Some((0xE0, vec![0x94])));
    alive(&mut fixture).await;
    fixture.stop().await;
}

/// How many a second the door lets in is its setting; here it is to hinder nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_who_come_and_go_at_once_are_served_and_leave_nothing_behind() {
    const CROWDS: u64 = 8;
    const EACH: u64 = 250;
    let mut settings = local();
    settings.limits.connects_per_second = 100_000;
    let mut fixture = Fixture::with(settings).await;
    let mut device = fixture.peer(Version::V4, "dev1").await;
    // it is counted after its CONNACK
    until("the device is counted", || fixture.metrics.connects("ok") > 0).await;
    let before = fixture.metrics.connects("ok");
    let addr = fixture.addr;
    let mut crowds = tokio::task::JoinSet::new();
    for crowd in 0..CROWDS {
        let hellos: Vec<_> =
            (0..EACH).map(|n| fixture.connect_packet(Version::V4, "operator", &format!("{crowd}-{n}"), 60)).collect();
        crowds.spawn(async move {
            for (n, hello) in hellos.iter().enumerate() {
                let stream = TcpStream::connect(addr).await.unwrap();
                let mut peer = Peer { stream, buffer: BytesMut::new(), version: Version::V4 };
                peer.send(hello).await;
                assert_eq!(peer.packet().await, (0x20, vec![0, 0]));
                match n % 3 {
                    0 => peer.send(&[0xE0, 0]).await,
                    1 => peer.stream.set_zero_linger().unwrap(),
                    _ => {}
                }
            }
        });
    }
    let mut frames = 0;
    while !crowds.is_empty() {
        frames += 1;
        device.publish("device/dev1/audio", &audio(frames), 0, 0).await;
        device.ping().await;
        while let Some(done) = crowds.try_join_next() {
            done.unwrap();
        }
    }
    assert_eq!(fixture.metrics.connects("ok") - before, CROWDS * EACH);
    assert_eq!(fixture.recorder.audio.load(Ordering::SeqCst), frames as usize, "a device is heard all the while");
    let metrics = fixture.metrics.clone();
    until("only the device is left", || metrics.connections_of(Listener::Tcp) == 1).await;
    assert_eq!(fixture.bus.hub().figures().kept, 0);
    alive(&mut fixture).await;
    fixture.stop().await;
}

/// Distinct topics leave nothing in the bus.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_thousand_topics_leave_nothing_behind() {
    let mut settings = local();
    settings.limits.messages_per_second = 10_000_000;
    settings.limits.bytes_per_second = crate::domain::ByteSize::mb(1_000);
    let fixture = Fixture::with(settings).await;
    let mut watcher = fixture.peer(Version::V4, "operator").await;
    watcher.subscribe(&["last"], 0).await;
    let mut admin = fixture.peer(Version::V4, "admin").await;
    let mut out = BytesMut::new();
    for n in 0..200_000_u32 {
        codec::publish(&mut out, Version::V4, PublishHead::default(), &format!("t/{n}"), b"x");
        if out.len() > 60_000 {
            admin.send(&out).await;
            out.clear();
        }
    }
    codec::publish(&mut out, Version::V4, PublishHead::default(), "last", b"x");
    admin.send(&out).await;
    let last = tokio::time::timeout(Duration::from_mins(1), watcher.message()).await;
    assert_eq!(last.unwrap().0, "last", "a client's own publishes wait for credit, none is lost");
    until("the bus is empty", || fixture.metrics.bus_live.get() == 0).await;
    assert_eq!(fixture.metrics.drops("bus_token"), 0);
    fixture.stop().await;
}
