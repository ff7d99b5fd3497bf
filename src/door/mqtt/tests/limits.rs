//! What clients together may take, and the figures that say how much they took.

use super::*;
use crate::domain::{ByteSize, Receipt, SendError, Span};
use crate::door::mqtt::client::{Client, Room};
use crate::door::mqtt::hub::QueueLimits;
use crate::door::mqtt::memory::Memory;
use crate::topics::Who;

fn tight() -> Settings {
    let mut settings = local();
    settings.bus.bytes = ByteSize::mb(1);
    settings.limits.packet = ByteSize::kb(256);
    settings.limits.memory = ByteSize::mb(2);
    settings.limits.watcher_bytes = ByteSize::mb(64);
    settings.limits.messages_per_second = 1_000_000;
    settings.limits.bytes_per_second = ByteSize::mb(1_000);
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hoards_most_goes_when_memory_is_used_up_and_others_miss_nothing() {
    const MESSAGES: usize = 300;
    let fixture = Fixture::with(tight()).await;
    let mut hoarder = fixture.peer_as(Version::V5, "operator", "hoarder", 60).await;
    hoarder.subscribe(&["big/#"], 0).await;
    let mut reader = fixture.peer_as(Version::V5, "operator", "reader", 60).await;
    reader.subscribe(&["big/#"], 0).await;
    let reading = tokio::spawn(async move {
        for n in 0..MESSAGES {
            assert_eq!(reader.message().await.0, format!("big/{n}"), "in order, without a gap");
        }
        reader
    });
    let mut admin = fixture.peer(Version::V5, "admin").await;
    let body = vec![7; 100_000];
    for n in 0..MESSAGES {
        admin.publish(&format!("big/{n}"), &body, 1, 1).await;
        assert_eq!(admin.packet().await.0, 0x40, "acknowledged, whatever others do not read");
    }
    let reader = reading.await.unwrap();
    until("the hoarder is gone", || fixture.metrics.endings("too_slow") == 1).await;
    assert_eq!(fixture.metrics.drops("memory"), 1);
    until("all is given back", || fixture.bus.memory().used() == 0).await;
    drop((hoarder, reader));
    fixture.stop().await;
}

#[tokio::test]
async fn who_hoards_goes_before_who_begins_a_large_packet() {
    let fixture = Fixture::with(tight()).await;
    let mut hoarder = fixture.peer_as(Version::V5, "operator", "hoarder", 60).await;
    hoarder.subscribe(&["big/#"], 0).await;
    let mut admin = fixture.peer(Version::V5, "admin").await;
    // half of the memory waits for the hoarder, whose socket is full as well
    let memory = fixture.bus.memory();
    for _ in 0..2_000 {
        while memory.used() < 1 << 20 {
            let message = Arc::new(Message::new("big/x", vec![7; 100_000].into(), 0, false).charged(memory));
            fixture.bus.hub().dispatch(&message, Receipt::none());
        }
        tokio::task::yield_now().await;
    }
    let others = memory.charge((2 << 20) - memory.used());
    assert!(memory.full());
    admin.publish("other", &vec![0; 100_000], 1, 1).await;
    assert_eq!(admin.packet().await, (0x40, vec![0, 1]), "it is taken");
    until("the hoarder is gone", || fixture.metrics.endings("too_slow") == 1).await;
    drop((others, hoarder));
    fixture.stop().await;
}

#[tokio::test]
async fn no_large_packet_is_begun_without_memory_and_small_ones_go_on() {
    let fixture = Fixture::with(tight()).await;
    let mut large = fixture.peer_as(Version::V5, "admin", "large", 60).await;
    let mut small = fixture.peer_as(Version::V5, "admin", "small", 60).await;
    let all = fixture.bus.memory().charge(2 << 20);
    large.publish("x", &vec![0; 100_000], 1, 1).await;
    assert_eq!(large.next().await, Some((0xE0, vec![0x97])));
    assert_eq!(fixture.metrics.drops("memory"), 1);
    until("its end is counted", || fixture.metrics.endings("memory") == 1).await;
    small.publish("x", &[0; 1_000], 1, 1).await;
    assert_eq!(small.packet().await, (0x40, vec![0, 1]));
    drop(all);
    small.publish("x", &vec![0; 100_000], 1, 2).await;
    assert_eq!(small.packet().await, (0x40, vec![0, 2]));
    fixture.stop().await;
}

#[test]
fn a_device_whose_downlinks_wait_gets_no_more_when_memory_is_used_up() {
    let memory = Memory::new(1_000);
    let (who, peer) = (Who::Device(device("dev1")), SocketAddr::from(([127, 0, 0, 1], 1)));
    let room = Room { limits: QueueLimits { packets: 10, bytes: 1 << 20 }, memory: memory.clone() };
    let client = Client::new(LinkId(1), who, "k".into(), peer, room, Metrics::default());
    let send = |bytes: &[u8]| client.send(down("device/dev1/down/audio", bytes, PacketKind::Audio));
    assert_eq!(send(&[0; 2_000]), Ok(()), "what goes at once takes nothing");
    assert_eq!(send(b"x"), Err(SendError::Full));
    assert_eq!(client.clear_audio(), 1);
    assert_eq!((memory.used(), send(b"x")), (0, Ok(())));
    client.close_queue();
    assert_eq!(memory.used(), 0);
}

#[tokio::test]
async fn topics_may_be_as_long_and_as_deep_as_it_is_configured() {
    let mut settings = local();
    (settings.limits.topic_levels, settings.limits.topic_length) = (8, 64);
    let fixture = Fixture::with(settings).await;
    let (deep, long) = ("1/2/3/4/5/6/7/8", "l".repeat(64));
    let mut peer = fixture.peer(Version::V5, "admin").await;
    let (deeper, longer) = (format!("{deep}/9"), format!("{long}+"));
    assert_eq!(peer.subscribe(&[deep, &long, &deeper, &longer], 0).await, [0, 0, 0x8F, 0x8F]);
    for topic in [deep, &long] {
        peer.publish(topic, b"x", 0, 0).await;
        assert_eq!(peer.message().await.0, topic);
    }
    for topic in [deeper, format!("{long}x")] {
        let mut peer = fixture.peer_as(Version::V5, "admin", &topic, 60).await;
        peer.publish(&topic, b"x", 0, 0).await;
        assert_eq!(peer.next().await, Some((0xE0, vec![0x90])), "{topic}");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn the_figures_stand_below_sys_in_mosquittos_names() {
    let fixture = Fixture::with(Settings { sys_interval: Span::ms(1), ..local() }).await;
    let mut everything = fixture.peer_as(Version::V4, "operator", "everything", 60).await;
    everything.subscribe(&["#"], 0).await;
    let mut viewer = fixture.peer(Version::V4, "viewer").await;
    assert_eq!(viewer.subscribe(&["$SYS/broker/#"], 1).await, [1]);
    let mut admin = fixture.peer(Version::V5, "admin").await;
    admin.publish("$SYS/broker/uptime", b"0", 1, 1).await;
    assert_eq!(admin.packet().await, (0x40, vec![0, 1, 0x87]), "nobody else writes there");
    admin.publish("lab", b"four", 1, 2).await;
    let mut told = HashMap::new();
    let wanted = [
        ("version", concat!("voxgate version ", env!("CARGO_PKG_VERSION"))),
        ("clients/connected", "3"),
        ("clients/maximum", "3"),
        ("clients/total", "3"),
        ("subscriptions/count", "2"),
        ("publish/messages/received", "2"),
        ("publish/bytes/received", "5"),
        ("messages/stored", "0"),
    ];
    while wanted.iter().any(|(name, value)| told.get(*name).map(String::as_str) != Some(*value)) {
        let (topic, value) = viewer.message().await;
        let name = topic.strip_prefix("$SYS/broker/").expect("nothing else was asked for").to_owned();
        told.insert(name, String::from_utf8(value).unwrap());
    }
    while !told.contains_key("load/messages/received/1min") {
        let (topic, value) = viewer.message().await;
        told.insert(topic["$SYS/broker/".len()..].to_owned(), String::from_utf8(value).unwrap());
    }
    assert_eq!(everything.message().await, ("lab".into(), b"four".to_vec()), "and no figure before it");
    fixture.stop().await;
}
