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
