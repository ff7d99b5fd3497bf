//! From a device to the ingress, and what it is told.

use super::*;
use crate::domain::{Body, ControlKind, Settled};

fn words(uplink: &Uplink) -> String {
    match &uplink.body {
        Body::Control(control) => match &control.kind {
            ControlKind::Text(words) => words.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn audio_and_control_arrive_with_the_proven_identity() {
    let mut fixture = Fixture::new().await;
    let mut peer = fixture.peer(Version::V4, "dev1").await;
    let link = fixture.link().await.id();
    peer.publish("device/dev1/audio", &audio(7), 0, 0).await;
    peer.publish("device/dev1/control", &typed("hi"), 1, 1).await;
    let Seen::Audio(first, packet) = fixture.seen().await else { panic!("audio first") };
    assert_eq!((first.device.as_str(), first.link, first.dialect, packet.seq), ("dev1", link, "native", 7));
    let uplink = fixture.uplink().await;
    assert_eq!(words(&uplink), "hi");
    assert!(uplink.origin.arrival > first.arrival);
    uplink.receipt.settle(Settled::Durable);
    assert_eq!(peer.packet().await, (0x40, vec![0, 1]));
    fixture.stop().await;
}

#[tokio::test]
async fn acknowledgements_leave_in_order_of_arrival() {
    let mut fixture = Fixture::new().await;
    let mut peer = fixture.peer(Version::V5, "dev1").await;
    peer.publish("device/dev1/control", &typed("one"), 1, 11).await;
    peer.publish("device/dev1/control", b"garbage", 1, 12).await;
    peer.publish("device/dev1/control", &typed("three"), 2, 13).await;
    peer.publish("device/dev1/audio", &audio(1), 1, 14).await;
    peer.publish("device/dev2/control", &typed("not mine"), 1, 15).await;
    let (one, three) = (fixture.uplink().await, fixture.uplink().await);
    three.receipt.settle(Settled::Durable);
    peer.ping().await; // nothing has left: the first is not settled
    one.receipt.settle(Settled::Taken);
    assert_eq!(peer.packet().await, (0x40, vec![0, 11]));
    assert_eq!(peer.packet().await, (0x40, vec![0, 12, 0x99]));
    assert_eq!(peer.packet().await, (0x50, vec![0, 13]));
    assert_eq!(peer.packet().await, (0x40, vec![0, 14]));
    assert_eq!(peer.packet().await, (0x40, vec![0, 15, 0x87]));
    peer.send(&[0x62, 2, 0, 13]).await;
    assert_eq!(peer.packet().await, (0x70, vec![0, 13]));
    peer.send(&[0x62, 2, 0, 13]).await;
    assert_eq!(peer.packet().await, (0x70, vec![0, 13, 0x92]));
    fixture.stop().await;
}

#[tokio::test]
async fn refusals_are_acknowledged_in_3_1_1_but_for_what_nobody_has() {
    let mut fixture = Fixture::new().await;
    let mut peer = fixture.peer(Version::V4, "dev1").await;
    for id in 1..=4 {
        peer.publish("device/dev1/control", &typed("x"), 1, id).await;
    }
    fixture.uplink().await.receipt.settle(Settled::Refused(Refusal::Quota));
    fixture.uplink().await.receipt.settle(Settled::Refused(Refusal::Storage));
    drop(fixture.uplink().await); // forgotten by whoever had it
    fixture.uplink().await.receipt.settle(Settled::Durable);
    for id in [1, 4] {
        assert_eq!(peer.packet().await, (0x40, vec![0, id]));
    }
    assert_eq!(fixture.metrics.drops("withheld"), 2);
    fixture.stop().await;
}

#[tokio::test]
async fn a_repeated_qos_2_publish_is_handed_on_once() {
    let mut fixture = Fixture::new().await;
    let mut peer = fixture.peer(Version::V4, "dev1").await;
    let head = PublishHead { qos: 2, id: 5, ..PublishHead::default() };
    peer.publish_with("device/dev1/control", &typed("once"), head).await;
    fixture.uplink().await.receipt.settle(Settled::Durable);
    assert_eq!(peer.packet().await, (0x50, vec![0, 5]));
    peer.publish_with("device/dev1/control", &typed("once"), PublishHead { dup: true, ..head }).await;
    assert_eq!(peer.packet().await, (0x50, vec![0, 5]));
    peer.send(&[0x62, 2, 0, 5]).await;
    assert_eq!(peer.packet().await, (0x70, vec![0, 5]));
    peer.publish_with("device/dev1/control", &typed("anew"), head).await;
    assert_eq!(words(&fixture.uplink().await), "anew");
    fixture.stop().await;
}

#[tokio::test]
async fn a_full_lane_stops_one_socket_and_its_keep_alive_only() {
    let mut fixture = Fixture::new().await;
    let mut stuck = fixture.peer_as(Version::V4, "dev1", "a", 1).await;
    let link = fixture.link().await;
    let mut other = fixture.peer(Version::V4, "dev2").await;
    fixture.close_lane();
    stuck.publish("device/dev1/control", &typed("waits"), 1, 1).await;
    stuck.send(&[0xC0, 0]).await; // not read while the lane is full
    for seq in 1..=20 {
        other.publish("device/dev2/audio", &audio(seq), 0, 0).await;
    }
    other.ping().await;
    until("the other's audio", || fixture.recorder.audio.load(Ordering::SeqCst) == 20).await;
    // downlinks still leave
    link.send(down("device/dev1/down/control", b"x", PacketKind::Control)).unwrap();
    assert_eq!(stuck.message().await.1, b"x");
    // two and a half seconds unread: more than its keep-alive allows a silent client
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    fixture.open_lane(1);
    fixture.uplink().await.receipt.settle(Settled::Taken);
    let mut packets = [stuck.packet().await.0, stuck.packet().await.0];
    packets.sort_unstable();
    assert_eq!(packets, [0x40, 0xD0], "acknowledged, and its ping answered");
    fixture.stop().await;
}

#[tokio::test]
async fn a_socket_unread_for_too_long_is_closed() {
    let mut settings = local();
    settings.limits.stuck = crate::domain::Span::ms(300);
    let mut fixture = Fixture::with(settings).await;
    let mut peer = fixture.peer(Version::V5, "dev1").await;
    fixture.link().await;
    fixture.close_lane();
    peer.publish("device/dev1/control", &typed("waits"), 1, 1).await;
    assert_eq!(peer.next().await, Some((0xE0, vec![0x97])));
    until("counted", || fixture.metrics.endings("stuck") == 1).await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_too_fast_is_read_more_slowly_and_loses_nothing() {
    let mut settings = local();
    settings.limits.messages_per_second = 100;
    let fixture = Fixture::with(settings).await;
    let mut peer = fixture.peer(Version::V4, "dev1").await;
    let begun = tokio::time::Instant::now();
    for seq in 0..150 {
        peer.publish("device/dev1/audio", &audio(seq), 0, 0).await;
    }
    until("all of it", || fixture.recorder.audio.load(Ordering::SeqCst) == 150).await;
    assert!(begun.elapsed() > Duration::from_millis(400), "50 above the burst at 100 a second");
    fixture.stop().await;
}

#[tokio::test]
async fn commands_reach_their_executor_and_are_never_retained() {
    let fixture = Fixture::new().await;
    let mut operator = fixture.peer(Version::V5, "operator").await;
    operator.publish("gateway/gw/command/dev1/say", b"hello", 1, 1).await;
    assert_eq!(operator.packet().await, (0x40, vec![0, 1]));
    assert_eq!(*fixture.commands.0.lock().unwrap(), [("dev1".into(), "say".into(), Bytes::from_static(b"hello"))]);
    let head = PublishHead { qos: 1, id: 2, retain: true, ..PublishHead::default() };
    operator.publish_with("gateway/gw/command/dev1/reboot", b"{}", head).await;
    assert_eq!(operator.packet().await, (0x40, vec![0, 2, 0x9A]));
    let mut viewer = fixture.peer(Version::V5, "viewer").await;
    viewer.publish("gateway/gw/command/dev1/reboot", b"", 1, 3).await;
    assert_eq!(viewer.packet().await, (0x40, vec![0, 3, 0x87]));
    // not even an administrator speaks in a device's name
    let mut admin = fixture.peer(Version::V5, "admin").await;
    admin.publish("device/dev1/control", &typed("not mine"), 1, 4).await;
    assert_eq!(admin.packet().await, (0x40, vec![0, 4, 0x87]));
    assert_eq!(fixture.commands.0.lock().unwrap().len(), 1);
    fixture.stop().await;
}

#[tokio::test]
async fn a_large_image_arrives_whole_and_a_larger_one_ends_the_connection() {
    let fixture = Fixture::new().await;
    let mut peer = fixture.peer(Version::V5, "dev1").await;
    peer.publish("device/dev1/control", &vec![b'x'; 4 << 20], 1, 1).await;
    assert_eq!(peer.packet().await, (0x40, vec![0, 1, 0x99]), "read whole, and not json");
    peer.send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).await;
    assert_eq!(peer.next().await, Some((0xE0, vec![0x95])));
    fixture.stop().await;
}

#[tokio::test]
async fn a_qos_2_publish_that_nobody_took_is_handed_on_when_it_comes_again() {
    let mut settings = local();
    settings.limits.stuck = crate::domain::Span::ms(100);
    let mut fixture = Fixture::with(settings).await;
    let mut connect = fixture.connect_packet(Version::V4, "dev1", "a", 60);
    connect[9] &= !2; // its session is kept
    fixture.close_lane();
    let mut first = fixture.raw().await;
    first.send(&connect).await;
    first.packet().await;
    first.publish("device/dev1/control", &typed("twice"), 2, 7).await;
    until("it is read", || fixture.metrics.packets("in", "publish") == 1).await;
    drop(first);
    until("it is gone", || fixture.metrics.connections_of(Listener::Tcp) == 0).await;
    fixture.open_lane(10);
    let mut again = fixture.raw().await;
    again.send(&connect).await;
    assert_eq!(again.packet().await, (0x20, vec![1, 0]));
    let head = PublishHead { dup: true, qos: 2, id: 7, ..PublishHead::default() };
    again.publish_with("device/dev1/control", &typed("twice"), head).await;
    fixture.uplink().await.receipt.settle(Settled::Taken);
    assert_eq!(again.packet().await, (0x50, vec![0, 7]));
    fixture.stop().await;
}
