//! Operators' clients: what they see through the bus.

use super::*;
use crate::domain::{Bulletins, Event, EventKind, Wall};

#[tokio::test]
async fn a_watcher_sees_what_devices_say_and_hear() {
    let mut fixture = Fixture::new().await;
    let mut watcher = fixture.peer(Version::V4, "operator").await;
    assert_eq!(watcher.subscribe(&["device/#", "gateway/#", "device/+/audio"], 1).await, [1, 1, 1]);
    let mut peer = fixture.peer(Version::V4, "dev1").await;
    let link = fixture.link().await;
    peer.publish("device/dev1/audio", &audio(1), 0, 0).await;
    peer.publish("device/dev1/control", &typed("hi"), 1, 1).await;
    peer.publish("device/dev2/control", &typed("not mine"), 0, 0).await;
    fixture.uplink().await.receipt.settle(crate::domain::Settled::Taken);
    assert_eq!(peer.packet().await.0, 0x40);
    link.send(down("device/dev1/down/control", b"reply", PacketKind::Control)).unwrap();
    assert_eq!(peer.message().await.1, b"reply");
    let detail = serde_json::json!({"text": "hi"});
    fixture.bus.event(Event { device: Some(device("dev1")), at: Wall(5), kind: EventKind::Transcript, detail });
    let seen = [
        ("device/dev1/status", "online".to_owned().into_bytes()),
        ("device/dev1/audio", audio(1)),
        ("device/dev1/control", typed("hi")),
        ("device/dev1/down/control", b"reply".to_vec()),
        ("gateway/gw/event/dev1/transcript", br#"{"text":"hi","at":5}"#.to_vec()),
    ];
    for (topic, payload) in seen {
        assert_eq!(watcher.message().await, (topic.to_owned(), payload));
    }
    fixture.stop().await;
}

#[tokio::test]
async fn retained_messages_greet_new_subscribers_and_empty_ones_forget() {
    let fixture = Fixture::new().await;
    fixture.bus.publish("gateway/gw/status", Bytes::from_static(b"{}"), QoS::AtLeastOnce, true);
    let mut watcher = fixture.peer(Version::V4, "operator").await;
    let mut admin = fixture.peer(Version::V5, "admin").await;
    // the bus has carried it when a later message is back
    admin.subscribe(&["probe"], 0).await;
    admin.publish("probe", b"1", 0, 0).await;
    admin.message().await;
    watcher.subscribe(&["gateway/#"], 2).await;
    let (first, body) = watcher.packet().await;
    assert_eq!((first, &body[body.len() - 2..]), (0x33, &b"{}"[..]), "retained flag, the publisher's QoS");
    fixture.bus.publish("gateway/gw/status", Bytes::new(), QoS::AtLeastOnce, true);
    let (first, _) = watcher.packet().await;
    assert_eq!(first, 0x32, "live: no retained flag");
    let mut late = fixture.peer_as(Version::V4, "operator", "late", 60).await;
    late.subscribe(&["gateway/#"], 0).await;
    late.ping().await;
    fixture.stop().await;
}

#[tokio::test]
async fn mqtt_5_options_hold() {
    let fixture = Fixture::new().await;
    let mut admin = fixture.peer(Version::V5, "admin").await;
    // no local, with identifier 7; and a second filter that overlaps, with identifier 9
    let mut body = vec![0, 1, 2, 0x0B, 7];
    body.extend([text("lab/#"), vec![0b0100 | 1]].concat());
    admin.send(&packet(0x82, &body)).await;
    assert_eq!(admin.packet().await, (0x90, vec![0, 1, 0, 1]));
    let mut other = fixture.peer_as(Version::V5, "admin", "other", 60).await;
    for (id, filter) in [(7, "lab/a"), (9, "lab/+")] {
        let mut body = vec![0, 1, 2, 0x0B, id];
        body.extend([text(filter), vec![2]].concat());
        other.send(&packet(0x82, &body)).await;
        other.packet().await;
    }
    admin.publish("lab/a", b"x", 1, 3).await;
    assert_eq!(admin.packet().await, (0x40, vec![0, 3]), "and nothing of its own");
    let mut expected = text("lab/a");
    expected.extend([0, 1, 4, 0x0B, 7, 0x0B, 9, b'x']);
    let (first, got) = other.packet().await;
    let mut turned = expected.clone();
    (turned[10 + 1], turned[12 + 1]) = (9, 7);
    assert_eq!(first, 0x32, "one copy, at the publisher's QoS");
    assert!(got == expected || got == turned, "{got:?}");
    admin.ping().await;
    // a shared subscription and a filter that is none are refused one by one
    assert_eq!(other.subscribe(&["$share/g/x", "a#", "ok"], 0).await, [0, 0x8F, 0]);
    other.send(&packet(0xA2, &[vec![0, 4, 0], text("ok"), text("nope")].concat())).await;
    assert_eq!(other.packet().await, (0xB0, vec![0, 4, 0, 0, 0x11]));
    fixture.stop().await;
}

#[tokio::test]
async fn qos_2_goes_through_to_the_end() {
    let fixture = Fixture::new().await;
    let mut watcher = fixture.peer(Version::V4, "operator").await;
    watcher.subscribe(&["lab/#"], 2).await;
    let mut admin = fixture.peer(Version::V4, "admin").await;
    admin.publish("lab/x", b"twice", 2, 9).await;
    assert_eq!(admin.packet().await, (0x50, vec![0, 9]));
    admin.send(&[0x62, 2, 0, 9]).await;
    assert_eq!(admin.packet().await, (0x70, vec![0, 9]));
    let (first, body) = watcher.packet().await;
    assert_eq!(first, 0x34);
    let id = [body[7], body[8]];
    watcher.send(&[0x50, 2, id[0], id[1]]).await;
    assert_eq!(watcher.packet().await, (0x62, id.to_vec()));
    watcher.send(&[0x70, 2, id[0], id[1]]).await;
    watcher.ping().await;
    fixture.stop().await;
}

/// Two hundred thousand copies for one who does not read: he goes, and no device waits for him.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_does_not_read_goes_and_delays_nobody() {
    let mut settings = local();
    settings.limits.watcher_packets = 200;
    settings.limits.messages_per_second = 1_000_000;
    settings.limits.bytes_per_second = crate::domain::ByteSize::mb(1_000);
    let fixture = Fixture::with(settings).await;
    let mut slow = fixture.peer(Version::V5, "operator").await;
    slow.subscribe(&["device/#"], 1).await;
    let mut peer = fixture.peer(Version::V4, "dev1").await;
    let mut late = Duration::ZERO;
    let mut frame = audio(1);
    frame.resize(1_200, 0);
    frame[12..16].copy_from_slice(&1_184_u32.to_be_bytes());
    for round in 0..400_usize {
        let begun = tokio::time::Instant::now();
        for _ in 0..50 {
            peer.publish("device/dev1/audio", &frame, 0, 0).await;
        }
        peer.ping().await;
        late = late.max(begun.elapsed());
        assert_eq!(fixture.recorder.audio.load(Ordering::SeqCst), (round + 1) * 50, "every frame is taken at once");
    }
    until("the watcher is gone", || fixture.metrics.endings("too_slow") == 1).await;
    assert!(late < Duration::from_secs(1), "{late:?} for a round of 50 frames");
    println!("slowest round of 50 frames beside a stuck watcher: {late:?}");
    // it is told where it can still be told
    let mut last = None;
    while let Some(packet) = slow.next().await {
        last = Some(packet);
    }
    assert!(last.is_some());
    fixture.stop().await;
}

#[tokio::test]
async fn audio_is_not_copied_while_nobody_watches() {
    let fixture = Fixture::new().await;
    assert!(!fixture.bus.watched("device/dev1/audio"));
    let mut watcher = fixture.peer(Version::V4, "operator").await;
    watcher.subscribe(&["device/+/control"], 0).await;
    assert!(!fixture.bus.watched("device/dev1/audio"));
    watcher.subscribe(&["device/+/audio"], 0).await;
    assert!(fixture.bus.watched("device/dev1/audio"));
    watcher.send(&[0xE0, 0]).await;
    watcher.closed().await;
    until("forgotten", || !fixture.bus.watched("device/dev1/audio")).await;
    fixture.stop().await;
}
