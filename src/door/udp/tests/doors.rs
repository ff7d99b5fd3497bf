//! Through a real socket, there and back; and the life of channels.

use super::*;
use crate::domain::{Codec, Path, Span};
use crate::door::udp::metrics::{Cause, Down};

#[tokio::test]
async fn what_a_device_says_arrives_with_the_identity_of_its_hello() {
    let mut talk = Conversation::local().await;
    talk.world.clock.advance(Duration::from_millis(700));
    let (origin, packet) = talk.say(&[0x58, 1, 2, 3]).await;
    assert_eq!(
        origin,
        Origin {
            device: id("dev-1"),
            link: LINK,
            arrival: 1,
            at: Duration::from_millis(700),
            dialect: DIALECT,
            path: Path::Datagram
        }
    );
    assert_eq!((packet.codec, packet.seq, packet.ts_ms, packet.last), (Codec::Opus, 1, 0, false));
    assert_eq!((packet.speech, packet.listen, &packet.payload[..]), (None, 0, &[0x58, 1, 2, 3][..]));
    let (origin, packet) = talk.say(&[0x58]).await;
    assert_eq!((origin.arrival, packet.seq), (2, 2));
    assert_eq!(talk.world.metrics.count_ok(), 2);
    talk.end().await;
}

#[tokio::test]
async fn a_frame_goes_nowhere_before_the_device_was_heard_and_then_to_where_it_is() {
    let mut talk = Conversation::local().await;
    let frame = frame(&[0x58, 9, 8, 7]);
    assert_eq!(talk.channels.send(&talk.device, &frame), Err(SendError::Gone));
    assert_eq!(talk.channels.send(&id("nobody"), &frame), Err(SendError::Gone));
    talk.say(&[0x58]).await;
    for seq in 1..=3 {
        talk.channels.send(&talk.device, &frame).unwrap();
        let (from, datagram) = talk.gets().await;
        let header = Header::read(&datagram).unwrap();
        assert_eq!((from, header.ssrc, header.seq), (talk.door, talk.voice.ssrc, seq));
        assert!(header.ts_ms > 0);
        assert_eq!(talk.voice.cipher.open(&datagram).unwrap().0, [0x58, 9, 8, 7][..]);
    }
    let count = |what| talk.world.metrics.count_down(what);
    assert_eq!((count(Down::Sent), count(Down::NoAddress), count(Down::NoChannel)), (3, 1, 1));
    talk.end().await;
}

#[tokio::test]
async fn answers_come_from_the_very_address_that_the_device_sends_to() {
    let settings = Settings { listen: "0.0.0.0:0".parse().unwrap(), ..local() };
    // not the address that the system would choose
    let to = IpAddr::from([127, 0, 0, 77]);
    let mut talk = Conversation::new(settings, "127.0.0.1:0", Some(to)).await;
    talk.say(&[0x58]).await;
    talk.channels.send(&talk.device, &frame(&[0x58])).unwrap();
    assert_eq!(talk.gets().await.0, talk.door);
    talk.end().await;
}

#[tokio::test]
async fn a_socket_of_ipv6_serves_devices_of_ipv4_too() {
    let settings = Settings { listen: "[::]:0".parse().unwrap(), ..local() };
    let mut talk = Conversation::new(settings, "127.0.0.1:0", Some(IpAddr::from([127, 0, 0, 1]))).await;
    talk.say(&[0x58]).await;
    talk.channels.send(&talk.device, &frame(&[0x58])).unwrap();
    assert_eq!(talk.gets().await.0, talk.door);
    talk.end().await;
}

#[tokio::test]
async fn a_device_that_is_gone_does_not_end_the_door() {
    let mut talk = Conversation::local().await;
    talk.say(&[0x58]).await;
    let gone = std::mem::replace(&mut talk.socket, UdpSocket::bind("127.0.0.1:0").await.unwrap());
    drop(gone);
    for _ in 0..20 {
        // refused by the peer's system, or not: never by panic, never for others
        let _ = talk.channels.send(&talk.device, &frame(&[0x58]));
    }
    let other = id("dev-2");
    talk.voice = Voice::new(&talk.channels.open(&other, &control(LINK), DIALECT).unwrap());
    assert_eq!(talk.say(&[0x58]).await.0.device, other);
    talk.channels.send(&other, &frame(&[0x58])).unwrap();
    talk.gets().await;
    talk.end().await;
}

#[tokio::test]
async fn a_frame_that_the_system_refuses_is_lost_and_counted_and_ends_no_turn() {
    let world = World::new();
    let door = world.door(local());
    let (channels, device) = (door.channels(), id("dev-1"));
    let mut voice = Voice::new(&channels.open(&device, &control(LINK), DIALECT).unwrap());
    let (tx, _heard) = mpsc::channel(10);
    // no socket of IPv4 reaches it
    let nowhere = Route { peer: "[2001:db8::1]:9".parse().unwrap(), local: None };
    channels.receive(&voice.next(&[0x58]), nowhere, &Ear(tx), &mut Vec::new());
    assert_eq!(channels.send(&device, &frame(&[0x58])), Ok(()));
    assert_eq!(world.metrics.count_down(Down::Error), 1);
}

#[tokio::test]
async fn an_interruption_and_the_end_of_a_channel_take_back_what_waits_of_it() {
    let world = World::new();
    let door = world.door(local());
    let (channels, device, other) = (door.channels(), id("dev-1"), id("dev-2"));
    let (tx, _heard) = mpsc::channel(10);
    for device in [&device, &other] {
        let mut voice = Voice::new(&channels.open(device, &control(LINK), DIALECT).unwrap());
        channels.receive(&voice.next(&[0x58]), route(9), &Ear(tx.clone()), &mut Vec::new());
    }
    channels.outbox().pretend_busy();
    let speak = || [&device, &device, &other].map(|device| channels.send(device, &frame(&[0x58])).unwrap());
    speak();
    assert_eq!((channels.clear(&device), channels.clear(&device), channels.outbox().len()), (2, 0, 1));
    speak();
    channels.close(&device, None);
    assert_eq!((channels.clear(&device), channels.outbox().len()), (0, 2));
    assert_eq!(world.metrics.count_down(Down::Cleared), 4);
}

#[tokio::test]
async fn a_new_hello_ends_the_former_channel_with_its_key_and_its_name() {
    let mut talk = Conversation::local().await;
    talk.say(&[0x58]).await;
    let offer = talk.channels.open(&talk.device, &control(LinkId(12)), DIALECT).unwrap();
    let before = std::mem::replace(&mut talk.voice, Voice::new(&offer));
    assert_ne!(before.ssrc, talk.voice.ssrc);
    assert_eq!(talk.channels.send(&talk.device, &frame(&[0x58])), Err(SendError::Gone), "not heard on this one yet");
    talk.send(&before.datagram(2, &[0x58])).await;
    assert_eq!(talk.say(&[0x58]).await.0.link, LinkId(12));
    assert_eq!(talk.world.metrics.count(Cause::UnknownSsrc), 1);
    assert_eq!((talk.channels.len(), talk.world.metrics.count_ends("replaced")), (1, 1));
    talk.end().await;
}

#[tokio::test]
async fn a_channel_is_closed_by_its_own_connection_or_by_any() {
    let world = World::new();
    let door = world.door(local());
    let (channels, device) = (door.channels(), id("dev-1"));
    channels.open(&device, &control(LINK), DIALECT).unwrap();
    channels.close(&device, Some(LinkId(99)));
    assert_eq!(channels.len(), 1, "the end of another connection is not its end");
    channels.close(&device, Some(LINK));
    assert!(channels.is_empty());
    channels.open(&device, &control(LINK), DIALECT).unwrap();
    channels.close(&device, None);
    channels.close(&device, None);
    assert_eq!((channels.len(), world.metrics.count_ends("closed"), world.metrics.open_channels()), (0, 2, 0));
}

#[tokio::test]
async fn a_channel_that_nothing_uses_ends_and_one_in_use_does_not() {
    let world = World::new();
    let door = world.door(Settings { idle: Span::secs(180), ..local() });
    let channels = door.channels();
    channels.open(&id("left"), &control(LINK), DIALECT).unwrap();
    let voice = Voice::new(&channels.open(&id("talks"), &control(LINK), DIALECT).unwrap());
    let (tx, mut heard) = mpsc::channel(10);
    for (seq, pause) in [(1, 100), (2, 79), (3, 1)] {
        world.clock.advance(Duration::from_secs(pause));
        channels.receive(&voice.datagram(seq, &[0x58]), route(1), &Ear(tx.clone()), &mut Vec::new());
        heard.try_recv().unwrap();
        channels.sweep();
        assert_eq!(channels.len(), if seq == 3 { 1 } else { 2 });
    }
    world.clock.advance(Duration::from_mins(3));
    channels.sweep();
    assert_eq!((channels.len(), world.metrics.count_ends("idle")), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_running_door_looks_for_idle_channels_by_itself() {
    let world = World::new();
    let door = world.door(local());
    let channels = door.channels();
    channels.open(&id("left"), &control(LINK), DIALECT).unwrap();
    world.clock.advance(Duration::from_secs(200));
    let (tx, _heard) = mpsc::channel(1);
    let gone = async {
        while !channels.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! { () = door.run(Arc::new(Ear(tx)), CancellationToken::new()) => {}, () = gone => {} }
    assert!(channels.is_empty());
}

#[tokio::test]
async fn with_all_channels_open_a_further_device_gets_none_and_a_known_one_its_next() {
    let world = World::new();
    let door = world.door(Settings { channels: 2, ..local() });
    let channels = door.channels();
    let open = |name: &str| channels.open(&id(name), &control(LINK), DIALECT).is_some();
    assert_eq!([open("a"), open("b"), open("c"), open("b")], [true, true, false, true]);
    assert_eq!((channels.len(), world.metrics.count_opens("limit")), (2, 1));
    channels.close(&id("a"), None);
    assert!(open("c"));
}

#[tokio::test]
async fn a_device_that_cannot_be_told_where_to_send_to_gets_no_channel() {
    let world = World::new();
    let door = world.door(Settings { listen: "0.0.0.0:0".parse().unwrap(), ..local() });
    let channels = door.channels();
    assert!(channels.open(&id("dev-1"), &Control(LINK, None), DIALECT).is_none());
    assert_eq!((channels.len(), world.metrics.count_opens("no_host")), (0, 1));
    let ours = IpAddr::from([10, 0, 0, 1]);
    let offer = channels.open(&id("dev-1"), &Control(LINK, Some((ours, ours))), DIALECT).unwrap();
    assert_eq!((&*offer.host, offer.port), ("10.0.0.1", door.address().port()));
}

#[tokio::test]
async fn names_of_channels_are_unique_and_never_zero_whatever_chance_says() {
    let world = World::new();
    let random: Arc<dyn Fn() -> u128 + Send + Sync> = Arc::new(|| 0);
    let door = Door::bind(local(), Parts { random, ..world.parts.clone() }).unwrap();
    let channels = door.channels();
    let offers: Vec<_> =
        ["a", "b", "c"].map(|name| channels.open(&id(name), &control(LINK), DIALECT).unwrap()).to_vec();
    let names: Vec<u32> = offers.iter().map(|offer| Voice::new(offer).ssrc).collect();
    assert_eq!(names, [1, 2, 3]);
    for offer in &offers {
        assert_eq!((offer.nonce[..4].to_vec(), offer.nonce[8..].to_vec()), (vec![1, 0, 0, 0], vec![0; 8]));
    }
}

#[tokio::test]
async fn keys_are_in_no_debug_text() {
    let world = World::new();
    let door = world.door(local());
    let channels = door.channels();
    let offer = channels.open(&id("dev-1"), &control(LINK), DIALECT).unwrap();
    let text = format!("{door:?} {channels:?} {offer:?}");
    let key = format!("{:?}", offer.key);
    assert!(!text.contains(key.trim_matches(['[', ']'])) && text.contains("open: 1"), "{text}");
}

#[tokio::test]
async fn a_port_in_use_is_said_with_the_key_to_change() {
    let world = World::new();
    let door = world.door(local());
    let again = Door::bind(Settings { listen: door.address(), ..local() }, world.parts.clone());
    let error = again.unwrap_err().to_string();
    assert!(error.contains("udp.listen") && error.contains(&door.address().to_string()), "{error}");
}

fn route(port: u16) -> Route {
    Route { peer: SocketAddr::from(([127, 0, 0, 1], port)), local: None }
}
