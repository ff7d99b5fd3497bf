//! Bytes that are no message, on every topic and every port.

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use voxgate::config::Config;
use voxgate::domain::{ControlKind, Downlink, ImageId, Message, Span, Stream};
use voxgate::wire::native::client;

use crate::gateway::answer::ask;
use crate::gateway::metrics::get;
use crate::gateway::peer::{Got, Peer, Version, connect_packet, packet};
use crate::gateway::{PATIENCE, Running, chat};

/// Connections of garbage.
const ROUNDS: usize = 100;
const DROPS: &str = "voxgate_mqtt_drops_total";

/// Bytes that follow from a seed.
struct Noise(u32);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0.to_le_bytes()[1]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

/// Payloads that are certainly no message of a stream.
fn malformed(stream: &str) -> Vec<Vec<u8>> {
    let text = br#"{"type":"text","seq":1,"payload":{"text":"this never arrives whole"}}"#;
    let cut = |whole: &[u8]| (1..whole.len()).step_by(9).map(|at| whole[..at].to_vec()).collect::<Vec<_>>();
    let mut all = vec![Vec::new()];
    match stream {
        "control" => {
            all.extend(cut(text));
            for bad in [r#"{"type":"sing"}"#, r#"{"type":5}"#, r#"{"type":"text","payload":{"text":7}}"#, "{}"] {
                all.push(bad.into());
            }
            all.extend([br#"{"a":"#.repeat(2_000), vec![b'{'; 300 << 10], vec![0xFF; 64]]);
        }
        "audio" => {
            let head = |codec, length: u32| {
                [&[0xA1, 1, codec, 0, 0, 0, 0, 1, 0, 0, 0, 0][..], &length.to_be_bytes(), &[7; 40]].concat()
            };
            all.extend(cut(&head(0, 40)));
            all.extend([head(0, 41), head(0, u32::MAX), head(9, 40), vec![0xA2; 56], head(0, 40)[1..].to_vec()]);
            all.push([&head(0, 5_000)[..16], &[7; 5_000]].concat());
        }
        "telemetry" => {
            for bad in ["{", "[", "[1,2]", r#"{"battery":"#, r#"[{"seq":1},"#] {
                all.push(bad.into());
            }
            all.push(format!("[{}]", vec!["{}"; 65].join(",")).into());
        }
        _ => {
            let part = |index: u16, parts: u16, total: u32| {
                let (index, parts, total) = (index.to_be_bytes(), parts.to_be_bytes(), total.to_be_bytes());
                [&[0xA2, 1, 0, 0][..], &[0; 8], &index, &parts, &total, &[0; 4], b"data"].concat()
            };
            all.extend(cut(&part(0, 2, 100)[..24]));
            all.extend([part(2, 2, 100), part(0, 0, 100), part(0, 2, u32::MAX), part(0, 2, 3), part(0, 5_000, 9_999)]);
            all.extend([b"GIF89a".to_vec(), vec![0xFF, 0xD8]]);
        }
    }
    all
}

async fn garbage_is_dropped_and_counted(version: Version) {
    let gateway = Running::start_with(chat(&["Fine."]), |config| {
        config.mqtt.limits.messages_per_second = 100_000;
        config.mqtt.limits.bytes_per_second = voxgate::domain::ByteSize::mb(100);
    })
    .await;
    let mut other = gateway.device("other").await;
    let mut peer = gateway.peer(version, "cane-1").await;
    let mut noise = Noise(0x1234_5678);
    for stream in ["control", "audio", "telemetry", "image"] {
        let before = gateway.metric(DROPS, &[("cause", "malformed")]).await;
        let bad = malformed(stream);
        for payload in &bad {
            peer.publish(stream, 0, payload).await;
            let id = peer.publish(stream, 1, payload).await;
            let code = if version == Version::V5 { 0x99 } else { 0 };
            assert_eq!(peer.ack().await, (id, code), "{stream}: {:?}", String::from_utf8_lossy(payload));
        }
        for length in 1..60 {
            // chance may make a message of it; it is acknowledged either way
            let payload = noise.bytes(length * 3);
            peer.publish(stream, 0, &payload).await;
            let id = peer.publish(stream, 1, &payload).await;
            assert_eq!(peer.ack().await.0, id);
        }
        gateway.counted(DROPS, &[("cause", "malformed")], before + 2 * bad.len() as u64).await;
        ask(&mut other, "how are you").await.must_be("Fine.");
    }
    peer.control(1, ControlKind::Text("and how are you".into())).await;
    peer.answer().await.must_be("Fine.");
    assert_eq!(gateway.metric("voxgate_session_panics_total", &[]).await, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_every_topic_is_acknowledged_dropped_and_counted() {
    Box::pin(garbage_is_dropped_and_counted(Version::V4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mqtt_5_the_acknowledgement_of_garbage_says_so() {
    Box::pin(garbage_is_dropped_and_counted(Version::V5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_whose_parts_do_not_fit_is_refused_and_told_and_the_next_is_kept() {
    let gateway = Running::start(chat(&["Fine."])).await;
    let mut other = gateway.device("other").await;
    let mut peer = gateway.peer(Version::V5, "cane-1").await;
    let mut file = vec![0xFF, 0xD8, 0xFF];
    file.extend(Noise(7).bytes(5_000));
    let file = Bytes::from(file);
    let mut parts = client::cut_image(ImageId(9), &file, 2_000).unwrap();
    for part in &mut parts {
        part.crc32c ^= 1;
    }
    let told = |downlink: &Downlink| matches!(downlink, Downlink::Control { message: Message::Error { code, .. }, .. } if code == "image_refused");
    for part in &parts {
        peer.publish("image", 1, &client::encode_image_part(part)).await;
    }
    peer.until(told).await;
    gateway.counted("voxgate_images_refused_total", &[("why", "malformed")], 1).await;
    for part in client::cut_image(ImageId(10), &file, 2_000).unwrap() {
        peer.publish("image", 1, &client::encode_image_part(&part)).await;
    }
    let whole = peer
        .until(|d| matches!(d, Downlink::Control { message: Message::Ack { stream: Stream::Image, .. }, .. }))
        .await;
    let Downlink::Control { message: Message::Ack { image_id, sha256, .. }, .. } = whole else { unreachable!() };
    assert_eq!((image_id, sha256.unwrap().len()), (Some(ImageId(10)), 64));
    ask(&mut other, "how are you").await.must_be("Fine.");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_ports_ends_its_own_connection_only() {
    let quick = |config: &mut Config| {
        (config.http.timeout, config.devices.limits.timeout) = (Span::ms(200), Span::ms(200));
    };
    let gateway = Running::start_with(chat(&["Fine."]), quick).await;
    let mut device = gateway.device("cane-1").await;
    let mut noise = Noise(0x8765_4321);
    let (mqtt, http, devices) = (gateway.addrs().mqtt, gateway.http(), gateway.addrs().devices.unwrap());
    for round in 1..=ROUNDS {
        let mut peer = Peer::open(mqtt).await;
        let bytes = noise.bytes(round * 5);
        // every third begins like a CONNECT
        peer.send(&if round % 3 == 0 { packet(0x10, &bytes) } else { bytes }).await;
        peer.hang_up().await;
        peer.closed().await;
    }
    let connects = "voxgate_mqtt_connects_total";
    let ok = gateway.metric(connects, &[("result", "ok")]).await;
    gateway.counted(connects, &[], ok + ROUNDS as u64).await;

    for bytes in
        [noise.bytes(400), b"GET /metrics".to_vec(), [&b"GET / HTTP/1.1\r\nx: "[..], &b"y".repeat(1 << 20)].concat()]
    {
        for port in [http, devices] {
            let mut stream = TcpStream::connect(port).await.unwrap();
            // it may be closed before all is written
            let _ = stream.write_all(&bytes).await;
            let mut answer = Vec::new();
            let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
            assert!(closed.is_ok(), "a connection that says nothing useful is closed");
        }
    }
    assert_eq!(get(http, "/-/healthy").await.0, 200);
    assert_eq!(get(devices, "/xiaozhi/ota/").await.0, 400, "a board says who it is");
    ask(&mut device, "how are you").await.must_be("Fine.");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_control_socket_is_answered_with_an_error() {
    let gateway = Running::start(chat(&["Fine."])).await;
    let mut device = gateway.device("cane-1").await;
    let socket = &gateway.addrs().control;
    // one that never ends its line is open all the while
    let mut half = UnixStream::connect(socket).await.unwrap();
    half.write_all(b"{\"op\":").await.unwrap();
    let mut noise: Vec<u8> = Noise(3).bytes(300);
    noise.retain(|byte| *byte != b'\n');
    let lines =
        [noise, b"{}".to_vec(), br#"{"op":"sing"}"#.to_vec(), br#"{"op":"say","device":"a/b","text":""}"#.to_vec()];
    for line in lines.into_iter().chain([vec![b'x'; 100 << 10]]) {
        let mut stream = UnixStream::connect(socket).await.unwrap();
        // too long a line is answered before all of it is written
        let _ = stream.write_all(&[&line[..], b"\n"].concat()).await;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await.unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    }
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(b"{\"op\":\"status\"}\n").await.unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await.unwrap();
    assert!(answer.starts_with("{\"ok\""), "{answer}");
    ask(&mut device, "how are you").await.must_be("Fine.");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_connect_is_closed_when_its_time_is_over() {
    let gateway = Running::start_with(chat(&["Fine."]), |config| {
        config.mqtt.limits.connect_time = Span::ms(200);
    })
    .await;
    let mut device = gateway.device("cane-1").await;
    let whole = connect_packet(Version::V4, "cane-1", "secret");
    let mut peers = Vec::new();
    for cut in [0, 1, 2, 10, whole.len() - 1] {
        let mut peer = Peer::open(gateway.addrs().mqtt).await;
        peer.send(&whole[..cut]).await;
        peers.push(peer);
    }
    ask(&mut device, "how are you").await.must_be("Fine.");
    for mut peer in peers {
        peer.closed().await;
    }
    gateway.counted("voxgate_mqtt_connects_total", &[("result", "no_connect")], 5).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_giant_length_is_refused_before_a_byte_of_it_is_waited_for() {
    let gateway = Running::start(chat(&["Fine."])).await;
    let mut other = gateway.device("other").await;
    let mut stranger = Peer::open(gateway.addrs().mqtt).await;
    stranger.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]).await;
    stranger.closed().await;
    gateway.counted("voxgate_mqtt_connects_total", &[("result", "too_large")], 1).await;
    let mut peer = gateway.peer(Version::V5, "cane-1").await;
    peer.send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).await;
    assert!(matches!(peer.next().await, Got::Packet(0xE0, why) if why[0] == 0x95), "the reason is told");
    peer.closed().await;
    gateway.counted("voxgate_mqtt_endings_total", &[("reason", "too_large")], 1).await;
    ask(&mut other, "how are you").await.must_be("Fine.");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_another_device() {
    let gateway = Running::start(chat(&["Fine."])).await;
    let mut other = gateway.device("other").await;
    for (version, code) in [(Version::V4, 0), (Version::V5, 0x87)] {
        let mut peer = gateway.peer(version, "cane-1").await;
        let text = br#"{"type":"text","seq":1,"payload":{"text":"not mine"}}"#;
        for topic in
            ["device/other/control", "device/other/down/control", "device/other/status", "gateway/voxgate/status"]
        {
            let before = gateway.metric(DROPS, &[("cause", "not_allowed")]).await;
            let id = peer.publish_on(topic, 1, text).await;
            assert_eq!(peer.ack().await, (id, code), "{topic}");
            gateway.counted(DROPS, &[("cause", "not_allowed")], before + 1).await;
        }
        peer.control(1, ControlKind::Text("mine".into())).await;
        peer.answer().await.must_be("Fine.");
    }
    ask(&mut other, "how are you").await.must_be("Fine.");
    let turns = gateway.turns("other", 1).await;
    assert_eq!(turns.len(), 1, "only its own question: {turns:?}");
    gateway.stop().await;
}
