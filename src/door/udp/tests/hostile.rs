//! Datagrams that nobody wants: counted, dropped, and of no effect on who talks.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::door::udp::metrics::{Cause, Down};
use crate::wire::xiaozhi::datagram::HEADER;

#[tokio::test]
async fn every_kind_of_bad_datagram_is_counted_and_the_conversation_goes_on() {
    let mut talk = Conversation::local().await;
    talk.say(&[0x58]).await;
    let good = talk.voice.datagram(2, &[0x58, 1, 2, 3]).to_vec();
    let mut unknown = good.clone();
    unknown[4] ^= 1;
    let mut kind = good.clone();
    kind[0] = 2;
    let stereo = talk.voice.datagram(2, &[0x5c, 1]);
    let jump = talk.voice.datagram(5_000, &[0x58]);
    let old = talk.voice.datagram(0xffff_ff00, &[0x58]);
    let bad: [(&[u8], Cause); 10] = [
        (&[], Cause::Length),
        (&good[..HEADER - 1], Cause::Length),
        (&good[..HEADER], Cause::Length),
        (&[&good[..], &[0; 2_000]].concat(), Cause::Length),
        (&kind, Cause::Kind),
        (b"GET / HTTP/1.1\r\n\r\n", Cause::Kind),
        (&unknown, Cause::UnknownSsrc),
        (&stereo, Cause::Format),
        (&jump, Cause::Jump),
        (&old, Cause::Late),
    ];
    for (datagram, _) in bad {
        talk.send(datagram).await;
    }
    talk.send(&talk.voice.datagram(1, &[0x58])).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(&good, talk.door).await.unwrap();
    let (_, packet) = talk.say(&[0x58, 4, 5, 6]).await;
    assert_eq!((packet.seq, &packet.payload[..]), (2, &[0x58, 4, 5, 6][..]));
    let counts = Cause::ALL.map(|cause| (cause.name(), talk.world.metrics.count(cause)));
    let expected = [
        ("length", 4),
        ("type", 2),
        ("unknown_ssrc", 1),
        ("replay", 1),
        ("late", 1),
        ("format", 1),
        ("address", 1),
        ("jump", 1),
    ];
    assert_eq!(counts, expected);
    talk.channels.send(&talk.device, &frame(&[0x58])).unwrap();
    talk.gets().await;
    talk.end().await;
}

#[tokio::test]
async fn a_recorded_conversation_sent_again_reaches_nobody_from_whatever_address() {
    let mut talk = Conversation::local().await;
    let mut record = Vec::new();
    for _ in 0..150 {
        let datagram = talk.voice.next(&[0x58, 1, 2, 3]);
        talk.send(&datagram).await;
        talk.heard.recv().await.unwrap();
        record.push(datagram);
    }
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for silence in [0, 10] {
        talk.world.clock.advance(Duration::from_secs(silence));
        for socket in [&talk.socket, &other] {
            let pairs = record.windows(2).step_by(10).flatten();
            for datagram in record.iter().chain(record.iter().step_by(7)).chain(pairs) {
                socket.send_to(datagram, talk.door).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    }
    let (_, packet) = talk.say(&[0x58]).await;
    assert_eq!(packet.seq, 151, "and nothing before it");
    assert!(talk.heard.is_empty());
    assert_eq!(talk.world.metrics.count_moves(), 0);
    talk.end().await;
}

#[tokio::test]
async fn after_a_goodbye_a_recording_has_no_channel_to_go_to() {
    let mut talk = Conversation::local().await;
    talk.say(&[0x58]).await;
    let record = talk.voice.next(&[0x58]);
    talk.channels.close(&talk.device, None);
    talk.send(&record).await;
    talk.voice = Voice::new(&talk.channels.open(&talk.device, &control(LINK), DIALECT).unwrap());
    talk.send(&record).await;
    assert_eq!(talk.say(&[0x58]).await.1.seq, 1);
    assert_eq!(talk.world.metrics.count(Cause::UnknownSsrc), 2);
    talk.end().await;
}

/// Any bytes, among them such as have the shape of a datagram and the ssrc of an open channel, but no key.
fn anything(ssrc: u32) -> impl Strategy<Value = Vec<u8>> {
    let shaped = (prop_oneof![Just(ssrc), any::<u32>()], any::<u32>(), prop_oneof![0_u32..300, any::<u32>()]);
    let secret = proptest::collection::vec(any::<u8>(), 0..200);
    let shaped = (shaped, secret).prop_map(|((ssrc, ts_ms, seq), secret)| {
        let length = u16::try_from(secret.len()).unwrap();
        [&Header { ssrc, ts_ms, seq }.write(length)[..], &secret].concat()
    });
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..1_600), shaped]
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

#[tokio::test]
async fn any_bytes_from_any_address_reach_nobody_and_move_nothing_while_the_device_talks() {
    let world = World::new();
    let door = world.door(local());
    let channels = door.channels();
    let (device, home) = (id("dev-1"), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let mut voice = Voice::new(&channels.open(&device, &control(LINK), DIALECT).unwrap());
    let (tx, heard) = mpsc::channel(64);
    let (ear, heard, mut packets) = (Ear(tx), Mutex::new(heard), Vec::new());
    let route = Route { peer: home.local_addr().unwrap(), local: None };
    let first = voice.next(&[0x58]);
    channels.receive(&first, route, &ear, &mut packets);
    heard.lock().unwrap().try_recv().unwrap();

    let voice = Mutex::new(voice);
    let all = (proptest::collection::vec((anything(voice.lock().unwrap().ssrc), addresses()), 1..40), 0_u64..1_900);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let ran = runner.run(&all, |(datagrams, pause)| {
        let mut packets = Vec::new();
        world.clock.advance(Duration::from_millis(pause));
        for (datagram, peer) in datagrams {
            channels.receive(&datagram, Route { peer, local: None }, &ear, &mut packets);
            prop_assert!(heard.lock().unwrap().try_recv().is_err(), "somebody was heard without a key");
        }
        let datagram = voice.lock().unwrap().next(&[0x58]);
        channels.receive(&datagram, route, &ear, &mut packets);
        prop_assert!(heard.lock().unwrap().try_recv().is_ok(), "the device is not heard any more");
        Ok(())
    });
    ran.unwrap();
    assert_eq!((world.metrics.count_moves(), channels.len()), (0, 1));
    channels.send(&device, &frame(&[0x58])).unwrap();
    let mut buffer = [0; 64];
    home.recv_from(&mut buffer).await.unwrap();
    assert_eq!(world.metrics.count_down(Down::Sent), 1);
}

#[tokio::test]
async fn who_does_not_know_a_channels_name_teaches_it_no_address() {
    let world = World::new();
    let door = world.door(local());
    let channels = door.channels();
    let ssrc = Voice::new(&channels.open(&id("dev-1"), &control(LINK), DIALECT).unwrap()).ssrc;
    let (tx, mut heard) = mpsc::channel(1);
    let ear = Ear(tx);
    let all = (anything(1), addresses());
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let ran = runner.run(&all, |(mut datagram, peer)| {
        if datagram.get(4..8).is_some_and(|name| name == ssrc.to_be_bytes()) {
            datagram[4] ^= 1;
        }
        channels.receive(&datagram, Route { peer, local: None }, &ear, &mut Vec::new());
        Ok(())
    });
    ran.unwrap();
    assert!(heard.try_recv().is_err());
    assert_eq!(channels.send(&id("dev-1"), &frame(&[0x58])), Err(SendError::Gone));
}
