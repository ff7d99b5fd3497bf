//! The other broker is away, is killed, or this gateway is: what was acknowledged arrives, in order.

use super::*;
use crate::gateway::binary::Binary;
use crate::gateway::mosquitto::{free_port, installed};
use crate::gateway::peer::packet;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use voxgate::bridge::{Full, QueueSettings};
use voxgate::domain::ByteSize;

fn outward(port: u16) -> BridgeSettings {
    BridgeSettings { out: vec![route("t/#", "", "")], ..bridge(port) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_the_other_broker_is_away_arrives_in_order_when_it_is_back() {
    if !installed() {
        return;
    }
    let mut remote = Mosquitto::prepare("");
    let gateway = start(outward(remote.port)).await;
    let mut here = operator(&gateway, "anna", Version::V4).await;
    let topics = numbered("t/", 0..300);
    publish_all(&mut here, &topics).await;
    gateway.counted("voxgate_bridge_queued_messages", &[("bridge", "b")], 300).await;
    gateway.counted("voxgate_bridge_connects_total", &[("result", "unreachable")], 2).await;
    let (status, part) = gateway.ready("bridge b").await;
    assert_eq!((status, &part["state"]), (200, &"degraded".into()), "voice needs no bridge: {part}");
    let detail = part["detail"].as_str().unwrap();
    assert!(detail.contains("cannot be reached") && detail.contains("300 messages wait"), "{detail}");
    remote.serve().await;
    remote.receives(CLIENT, &topics).await;
    gateway.counted("voxgate_bridge_messages_total", &[("direction", "out")], 300).await;
    assert_eq!(remote.received(CLIENT).len(), 300, "each of them once");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_in_mid_stream_misses_nothing_that_was_acknowledged_here() {
    if !installed() {
        return;
    }
    let mut remote = Mosquitto::start("").await;
    let gateway = start(outward(remote.port)).await;
    connected(&gateway).await;
    let mut here = operator(&gateway, "anna", Version::V4).await;
    let topics = numbered("t/", 0..900);
    for part in topics.chunks(300) {
        let (first, second) = part.split_at(150);
        publish_all(&mut here, first).await;
        // nobody looks at how far it is
        remote.kill();
        publish_all(&mut here, second).await;
        remote.serve().await;
    }
    remote.receives(CLIENT, &topics).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_outlives_a_restart_of_the_gateway() {
    if !installed() {
        return;
    }
    let mut remote = Mosquitto::prepare("");
    let gateway = start(outward(remote.port)).await;
    let mut here = operator(&gateway, "anna", Version::V4).await;
    let topics = numbered("t/", 0..120);
    publish_all(&mut here, &topics[..100]).await;
    let gateway = gateway.restart().await;
    let mut here = operator(&gateway, "bert", Version::V4).await;
    publish_all(&mut here, &topics[100..]).await;
    gateway.counted("voxgate_bridge_queued_messages", &[("bridge", "b")], 120).await;
    remote.serve().await;
    remote.receives(CLIENT, &topics).await;
    gateway.counted("voxgate_bridge_messages_total", &[("direction", "out")], 120).await;
    // what arrived is gone for good
    let gateway = gateway.restart().await;
    connected(&gateway).await;
    let mut here = operator(&gateway, "carl", Version::V4).await;
    publish_all(&mut here, &["t/last".to_owned()]).await;
    let all: Vec<String> = topics.into_iter().chain(["t/last".to_owned()]).collect();
    remote.receives(CLIENT, &all).await;
    assert_eq!(remote.received(CLIENT).len(), 121);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_outlives_a_kill_of_the_gateway() {
    if !installed() {
        return;
    }
    let mut remote = Mosquitto::prepare("");
    let rest = format!(
        "[engine]\nstart = \"off\"\n[[bridges]]\nname = \"b\"\nhost = \"127.0.0.1\"\nport = {}\nreconnect_max = \"1s\"\n\
         out = [{{ filter = \"t/#\" }}]\n",
        remote.port
    );
    let mut binary = Binary::serve(&rest).await;
    let mut sent = Vec::new();
    for (life, name) in ["anna", "bert", "carl"].into_iter().enumerate() {
        let added = binary.json(&["operator", "add", name, "--role", "operator", "--json"]);
        let secret = added["secret"].as_str().unwrap();
        let mut here = Peer::connect(binary.addr("mqtt"), Version::V4, name, secret).await;
        let topics = numbered("t/", life * 50..life * 50 + 50);
        publish_all(&mut here, &topics).await;
        sent.extend(topics);
        binary.kill();
        binary.serve_again().await;
    }
    remote.serve().await;
    remote.receives(CLIENT, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_broker_has_for_us_waits_there_while_this_gateway_is_down() {
    if !installed() {
        return;
    }
    let remote = Mosquitto::start("").await;
    let mut settings = bridge(remote.port);
    settings.incoming = vec![route("orders/#", "", "")];
    let gateway = start(settings).await;
    remote.says(&format!("Sending SUBACK to {CLIENT}")).await;
    let (dir, config) = gateway.put_away().await;
    for n in 0..20 {
        remote.publish(&format!("orders/{n}"), "x", &["-r"]).await;
    }
    let gateway = Running::start_in(dir, Box::new(config), chat(&["Yes."])).await;
    gateway.counted("voxgate_bridge_messages_total", &[("direction", "in")], 20).await;
    // each was acknowledged once it was kept here: it is there for whoever asks
    let mut here = operator(&gateway, "anna", Version::V4).await;
    here.subscribe("orders/#").await;
    for _ in 0..20 {
        message(&mut here).await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_drops_its_oldest_and_counts_them() {
    if !installed() {
        return;
    }
    let mut remote = Mosquitto::prepare("");
    let queue = QueueSettings { messages: 10, ..QueueSettings::default() };
    let gateway = start(BridgeSettings { queue, ..outward(remote.port) }).await;
    let mut here = operator(&gateway, "anna", Version::V4).await;
    let topics = numbered("t/", 0..35);
    publish_all(&mut here, &topics).await;
    gateway.counted("voxgate_bridge_drops_total", &[("bridge", "b"), ("cause", "queue_full")], 25).await;
    assert_eq!(gateway.metric("voxgate_bridge_queued_messages", &[("bridge", "b")]).await, 10);
    let (_, part) = gateway.ready("bridge b").await;
    assert!(part["detail"].as_str().unwrap().contains("25 were dropped"), "{part}");
    // a restart does not bring them back
    let gateway = gateway.restart().await;
    remote.serve().await;
    remote.receives(CLIENT, &topics[25..]).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_must_lose_nothing_refuses_what_does_not_fit_to_its_publisher() {
    if !installed() {
        return;
    }
    let mut remote = Mosquitto::prepare("");
    let queue = QueueSettings { bytes: ByteSize::kb(4), full: Full::Refuse, ..QueueSettings::default() };
    let gateway = start(BridgeSettings { queue, ..outward(remote.port) }).await;
    let mut here = operator(&gateway, "anna", Version::V5).await;
    let mut taken = Vec::new();
    for topic in numbered("t/", 0..60) {
        here.publish_on(&topic, 1, b"x").await;
        match here.ack().await.1 {
            0 => taken.push(topic),
            code => assert_eq!(code, 0x97),
        }
    }
    let fit = taken.len();
    assert!((20..30).contains(&fit), "4096 bytes hold {fit} messages of 164");
    assert_eq!(taken, numbered("t/", 0..fit));
    gateway.counted("voxgate_bridge_drops_total", &[("cause", "queue_refused")], 60 - fit as u64).await;
    assert_eq!(gateway.metric("voxgate_bridge_drops_total", &[("cause", "queue_full")]).await, 0);
    remote.serve().await;
    remote.receives(CLIENT, &taken).await;
    gateway.stop().await;
}

/// A broker by hand: it lets a client in and says what it publishes.
struct Broker {
    stream: TcpStream,
    inbox: BytesMut,
}

impl Broker {
    async fn accept(listener: &TcpListener, present: bool) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let mut broker = Self { stream, inbox: BytesMut::new() };
        assert_eq!(broker.packet().await.0, 0x10);
        broker.stream.write_all(&[0x20, 2, u8::from(present), 0]).await.unwrap();
        broker
    }

    async fn packet(&mut self) -> (u8, BytesMut) {
        loop {
            if self.inbox.len() >= 2 && self.inbox.len() >= 2 + usize::from(self.inbox[1]) {
                assert!(self.inbox[1] < 0x80, "packets here are short");
                let (first, length) = (self.inbox.get_u8(), self.inbox.get_u8());
                return (first, self.inbox.split_to(length.into()));
            }
            let read = tokio::time::timeout(crate::gateway::PATIENCE, self.stream.read_buf(&mut self.inbox));
            assert!(read.await.expect("silence").unwrap() > 0, "closed");
        }
    }

    /// The next message: its mark of a repeat, its topic, its packet id.
    async fn publish(&mut self) -> (bool, String, u16) {
        let (first, mut body) = self.packet().await;
        assert_eq!(first & 0xF6, 0x32, "a publish at qos 1");
        let length = body.get_u16();
        let topic = String::from_utf8(body.split_to(length.into()).to_vec()).unwrap();
        (first & 8 > 0, topic, body.get_u16())
    }

    async fn ack(&mut self, id: u16) {
        self.stream.write_all(&packet(0x40, &id.to_be_bytes())).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_stays_until_it_is_acknowledged_and_keeps_its_packet_id() {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let gateway = start(outward(port)).await;
    let mut broker = Broker::accept(&listener, false).await;
    let mut here = operator(&gateway, "anna", Version::V4).await;
    let topics = numbered("t/", 0..100);
    publish_all(&mut here, &topics).await;
    // 64 of them are on their way, and no more
    let mut first = Vec::new();
    for _ in 0..64 {
        first.push(broker.publish().await);
    }
    assert!(first.iter().all(|(again, ..)| !again));
    assert_eq!(first.iter().map(|(_, topic, _)| topic.clone()).collect::<Vec<_>>(), topics[..64]);
    for (_, _, id) in &first[..3] {
        broker.ack(*id).await;
    }
    let more = [broker.publish().await, broker.publish().await, broker.publish().await];
    assert_eq!(more[2].1, "t/66");
    gateway.counted("voxgate_bridge_messages_total", &[("direction", "out")], 3).await;
    drop(broker);
    // all that was not acknowledged comes again, first, in its order and under its id
    let mut broker = Broker::accept(&listener, true).await;
    for expected in first[3..].iter().chain(&more) {
        let (again, topic, id) = broker.publish().await;
        assert_eq!((again, &topic, id), (true, &expected.1, expected.2));
        broker.ack(id).await;
    }
    for topic in &topics[67..] {
        let (again, got, id) = broker.publish().await;
        assert_eq!((again, &got), (false, topic));
        broker.ack(id).await;
    }
    gateway.counted("voxgate_bridge_messages_total", &[("direction", "out")], 100).await;
    gateway.stop().await;
}

/// How fast a queue leaves, to a broker that does nothing but acknowledge.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure for docs/decisions/03-bridge.md"]
async fn how_fast_a_queue_leaves() {
    const MESSAGES: usize = 20_000;
    let port = free_port();
    let gateway = start(outward(port)).await;
    let mut here = operator(&gateway, "anna", Version::V4).await;
    for part in 0..MESSAGES / 50 {
        for n in 0..50 {
            here.publish_on(&format!("t/{}", part * 50 + n), 1, &[7; 100]).await;
        }
        for _ in 0..50 {
            assert_eq!(here.ack().await.1, 0);
        }
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let mut broker = Broker::accept(&listener, true).await;
    let begun = tokio::time::Instant::now();
    for n in 0..MESSAGES {
        let (_, topic, id) = broker.publish().await;
        assert_eq!(topic, format!("t/{n}"));
        broker.ack(id).await;
    }
    let took = begun.elapsed();
    println!("{MESSAGES} messages of 100 bytes left in {took:?}: {:.0} a second", MESSAGES as f64 / took.as_secs_f64());
    gateway.counted("voxgate_bridge_messages_total", &[("direction", "out")], MESSAGES as u64).await;
    gateway.stop().await;
}
