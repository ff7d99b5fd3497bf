//! Measurements, run by hand: `cargo test --lib door::udp::tests::figures -- --ignored --nocapture --test-threads 1`

use std::io::Write;
use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};

use super::*;

const DEVICES: usize = 200;
const SECONDS: usize = 10;
/// What a device says in 60 ms, with its header.
const LENGTH: usize = 136;

/// Another process, so that what this one uses is the door's: each device has a socket, and says a frame each 60 ms.
const DEVICES_PY: &str = r"
import socket, sys, time
port, n, length = map(int, sys.argv[1:])
all = sys.stdin.buffer.read()
sockets = []
for i in range(n):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(('127.0.0.1', port))
    s.setblocking(False)
    sockets.append(s)
def drain(s):
    got = 0
    try:
        while True:
            s.recv(2048)
            got += 1
    except BlockingIOError:
        return got
start, got = time.monotonic(), 0
for i in range(len(all) // length):
    due = start + i * 0.06 / n
    late = due - time.monotonic()
    if late > 0.0005:
        time.sleep(late)
    s = sockets[i % n]
    got += drain(s)
    s.send(all[i * length:(i + 1) * length])
time.sleep(0.3)
print(got + sum(map(drain, sockets)))
";

/// Hears a frame and answers with one.
struct Echo(Arc<Channels>);

impl Ingress for Echo {
    fn link_up(&self, _: &DeviceId, _: Arc<dyn Link>) {}

    fn link_down(&self, _: &DeviceId, _: LinkId) {}

    fn audio(&self, origin: Origin, _: AudioPacket) {
        self.0.send(&origin.device, &frame(&[0x58; 180])).unwrap();
    }

    fn deliver(&self, _: Uplink) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let s = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    s(usage.user_time()) + s(usage.system_time())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn cpu_of_two_hundred_conversations() {
    let world = World::new();
    let parts = Parts { clock: Arc::new(crate::domain::SystemClock), ..world.parts.clone() };
    let door = Door::bind(local(), parts).unwrap();
    let (channels, port) = (door.channels(), door.address().port().to_string());
    let open = |n| Voice::new(&channels.open(&id(&format!("dev-{n}")), &control(LINK), DIALECT).unwrap());
    let mut voices: Vec<_> = (0..DEVICES).map(open).collect();
    let mut said = Vec::new();
    for _ in 0..SECONDS * 1_000 / 60 {
        for voice in &mut voices {
            said.extend_from_slice(&voice.next(&[0x58; LENGTH - 16]));
        }
    }
    let stop = CancellationToken::new();
    let running = tokio::spawn(door.run(Arc::new(Echo(channels)), stop.clone()));
    let mut devices = Command::new("python3")
        .args(["-c", DEVICES_PY, &port, &DEVICES.to_string(), &LENGTH.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    devices.stdin.take().unwrap().write_all(&said).unwrap();
    let before = cpu();
    let out = tokio::task::spawn_blocking(move || devices.wait_with_output().unwrap()).await.unwrap();
    let used = cpu() - before;
    println!(
        "{DEVICES} devices, {} datagrams in, {} taken, {} got by devices: {:.2} % of a core",
        said.len() / LENGTH,
        world.metrics.count_ok(),
        String::from_utf8_lossy(&out.stdout).trim(),
        used / SECONDS as f64 * 100.0
    );
    stop.cancel();
    running.await.unwrap();
}

#[test]
#[ignore = "a measurement"]
fn cost_of_a_seal_and_of_a_datagram_that_nobody_wants() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let parts = Parts { clock: Arc::new(crate::domain::SystemClock), ..world.parts.clone() };
    let door = Door::bind(local(), parts).unwrap();
    let channels = door.channels();
    let voice = Voice::new(&channels.open(&id("dev-1"), &control(LINK), DIALECT).unwrap());
    let (tx, _rx) = mpsc::channel(1);
    let (ear, route) = (Ear(tx), Route { peer: door.address(), local: None });
    let timed = |what: &str, run: &mut dyn FnMut(u32)| {
        let before = cpu();
        (0..1_000_000).for_each(&mut *run);
        println!("{what}: {:.0} ns", (cpu() - before) * 1e3);
    };
    let packet = [0x58; 120];
    timed("seal 120 bytes", &mut |seq| drop(std::hint::black_box(voice.datagram(seq, &packet))));
    let datagram = voice.datagram(1, &packet);
    timed("open 120 bytes", &mut |_| drop(std::hint::black_box(voice.cipher.open(&datagram))));
    let mut unknown = datagram.to_vec();
    unknown[4] ^= 1;
    timed("drop an unknown ssrc", &mut |_| channels.receive(&unknown, route, &ear, &mut Vec::new()));
}
