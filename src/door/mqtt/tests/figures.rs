//! Measurements, run by hand: `cargo test --no-default-features --lib door::mqtt::tests::figures -- --ignored --nocapture`

use std::io::{Read, Write};

use super::*;

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The clients are bare file descriptors of this process: what grows is the door.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn memory_of_idle_connections() {
    let mut settings = local();
    settings.limits.connections = 5_000;
    settings.limits.connects_per_second = 100_000;
    let fixture = Fixture::with(settings).await;
    let open = |n: usize, tag: &'static str| {
        let packets: Vec<_> =
            (0..n).map(|i| fixture.connect_packet(Version::V4, "operator", &format!("{tag}{i}"), 600)).collect();
        let addr = fixture.addr;
        tokio::task::spawn_blocking(move || {
            let connect = |packet: Vec<u8>| {
                let mut stream = std::net::TcpStream::connect(addr).unwrap();
                stream.write_all(&packet).unwrap();
                stream.read_exact(&mut [0; 4]).unwrap();
                stream
            };
            packets.into_iter().map(connect).collect::<Vec<_>>()
        })
    };
    let warm = open(100, "w").await.unwrap();
    let before = resident_kb();
    let rest = open(2_000, "r").await.unwrap();
    let after = resident_kb();
    println!("connections 2000: {:.2} KB each", (after - before) as f64 / 2_000.0);
    drop((warm, rest));
    fixture.stop().await;
}

/// Opens so many connections of a kind and waits until it may close them. Another process: what grows is the door.
const CLIENTS: &str = r"
import socket, ssl, struct, sys
kind, port, n, ca = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
secret = sys.stdin.readline().strip()
text = lambda s: struct.pack('>H', len(s)) + s.encode()
context = ssl.create_default_context(cafile=ca)
kept = []
for i in range(n):
    body = text('MQTT') + bytes([4, 0xC2, 2, 0x58]) + text(kind + str(i)) + text('operator') + text(secret)
    packet = bytes([0x10, len(body)]) + body
    s = socket.create_connection(('localhost', port))
    if kind in ('tls', 'wss'):
        s = context.wrap_socket(s, server_hostname='localhost')
    want = 4
    if kind in ('ws', 'wss'):
        s.sendall(b'GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                  b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n'
                  b'Sec-WebSocket-Protocol: mqtt\r\n\r\n')
        got = b''
        while not got.endswith(b'\r\n\r\n'):
            got += s.recv(1)
        packet = bytes([0x82, 0x80 | len(packet), 0, 0, 0, 0]) + packet
        want = 6
    s.sendall(packet)
    while want:
        want -= len(s.recv(want))
    kept.append(s)
print('ready', flush=True)
sys.stdin.readline()
";

/// The bytes that an idle connection costs, by listener; each in a process of its own:
/// `cargo nextest run --lib --run-ignored only --no-capture -E 'test(memory_over)'`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn memory_over_tcp() {
    memory_of(Listener::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn memory_over_tls() {
    memory_of(Listener::Tls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn memory_over_websocket() {
    memory_of(Listener::WebSocket).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn memory_over_websocket_and_tls() {
    memory_of(Listener::WebSocketTls).await;
}

async fn memory_of(listener: Listener) {
    use tokio::io::{AsyncBufReadExt, BufReader};
    {
        let papers = super::transports::Papers::new();
        let mut settings = papers.settings();
        settings.limits.connections = 5_000;
        settings.limits.connects_per_second = 100_000;
        let fixture = Fixture::with(settings).await;
        let clients = async |n: usize| {
            let port = fixture.addr_of(listener).port().to_string();
            let mut child = tokio::process::Command::new("python3")
                .args(["-c", CLIENTS, listener.label(), &port, &n.to_string()])
                .arg(papers.path("ca.pem"))
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let secret = format!("{}\n", fixture.secrets["operator"].reveal());
            child.stdin.as_mut().unwrap().write_all(secret.as_bytes()).await.unwrap();
            let ready = BufReader::new(child.stdout.as_mut().unwrap()).lines().next_line().await.unwrap();
            assert_eq!(ready.as_deref(), Some("ready"));
            child
        };
        // they stay: what the first connections cost besides themselves does not count, and they leave no holes
        let first = clients(200).await;
        let before = resident_kb();
        let kept = clients(1_000).await;
        let after = resident_kb();
        let each = (after.saturating_sub(before)) as f64 / 1_000.0;
        println!("{}: {each:.2} KB an idle connection", listener.label());
        drop((first, kept));
        fixture.stop().await;
    }
}

/// Two devices with four connections each, 250 packets a second on each, from the client's write to the ingress.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn latency_of_uplink_audio() {
    let mut fixture = Fixture::new().await;
    let begun = tokio::time::Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for n in 0..8_u32 {
        let (user, id) = if n < 4 { ("dev1", n) } else { ("dev2", n) };
        let mut peer = fixture.peer_as(Version::V4, user, &format!("c{id}"), 60).await;
        senders.spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(4));
            for _ in 0..1_000 {
                tick.tick().await;
                let now = u32::try_from(begun.elapsed().as_micros()).unwrap();
                peer.publish(&format!("device/{user}/audio"), &audio(now), 0, 0).await;
            }
        });
    }
    let mut late = Vec::new();
    while late.len() < 8_000 {
        if let Seen::Audio(_, packet) = fixture.seen().await {
            // taken when the test's task sees it: one channel and one wake-up later than the ingress
            late.push(u32::try_from(begun.elapsed().as_micros()).unwrap().saturating_sub(packet.seq));
        }
    }
    late.sort_unstable();
    println!("8 connections x 250/s: p50 {} us, p99 {} us, max {} us", late[4_000], late[7_920], late[7_999]);
    while senders.join_next().await.is_some() {}
    fixture.stop().await;
}
