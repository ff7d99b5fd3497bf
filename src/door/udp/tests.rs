//! The door in front of a simulated device: what each test needs, and the tests by subject.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod doors;
mod figures;
mod hostile;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::channel::Route;
use super::*;
use crate::domain::{
    AudioPacket, Datagrams, DeviceId, Link, LinkId, LinkPacket, ManualClock, MediaOffer, Origin, SendError,
    SpokenFrame, TurnId, Uplink, Wall,
};
use crate::wire::xiaozhi::DIALECT;
use crate::wire::xiaozhi::datagram::{Cipher, Header};

const LINK: LinkId = LinkId(11);

/// A device's control connection.
#[derive(Debug)]
struct Control(LinkId, Option<(IpAddr, IpAddr)>);

impl Link for Control {
    fn id(&self) -> LinkId {
        self.0
    }

    fn send(&self, _: LinkPacket) -> Result<(), SendError> {
        Err(SendError::Gone)
    }

    fn clear_audio(&self) -> usize {
        0
    }

    fn close(&self, _: &'static str) {}

    fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        self.1
    }
}

fn control(link: LinkId) -> Control {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    Control(link, Some((loopback, loopback)))
}

type Heard = (Origin, AudioPacket);

/// Hears what arrives.
struct Ear(mpsc::Sender<Heard>);

impl Ingress for Ear {
    fn link_up(&self, _: &DeviceId, _: Arc<dyn Link>) {}

    fn link_down(&self, _: &DeviceId, _: LinkId) {}

    fn audio(&self, origin: Origin, packet: AudioPacket) {
        self.0.try_send((origin, packet)).expect("room for what a test sends");
    }

    fn deliver(&self, _: Uplink) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// Parts with a clock moved by hand and numbers that count.
struct World {
    clock: Arc<ManualClock>,
    metrics: Metrics,
    parts: Parts,
}

impl World {
    fn new() -> Self {
        let (clock, metrics) = (Arc::new(ManualClock::new(Wall(0))), Metrics::default());
        let count = AtomicU64::new(0);
        // both halves and all words differ
        let random = move || {
            let next = u128::from(count.fetch_add(1, Ordering::Relaxed) + 1);
            next.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        };
        let parts = Parts {
            clock: clock.clone(),
            arrivals: Arrivals::default(),
            random: Arc::new(random),
            metrics: metrics.clone(),
        };
        Self { clock, metrics, parts }
    }

    fn door(&self, settings: Settings) -> Door {
        Door::bind(settings, self.parts.clone()).unwrap()
    }
}

fn local() -> Settings {
    Settings { listen: "127.0.0.1:0".parse().unwrap(), ..Settings::default() }
}

fn id(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

fn frame(packet: &'static [u8]) -> SpokenFrame {
    SpokenFrame { turn: TurnId(1), seq: 1, ts_ms: 0, last: false, packet: Bytes::from_static(packet) }
}

/// What a device makes of an offer.
struct Voice {
    cipher: Cipher,
    ssrc: u32,
    seq: u32,
}

impl Voice {
    fn new(offer: &MediaOffer) -> Self {
        let ssrc = u32::from_be_bytes(offer.nonce[4..8].try_into().unwrap());
        Self { cipher: Cipher::new(&offer.key), ssrc, seq: 0 }
    }

    fn datagram(&self, seq: u32, packet: &[u8]) -> Bytes {
        self.cipher.seal(Header { ssrc: self.ssrc, ts_ms: 0, seq }, packet).unwrap()
    }

    fn next(&mut self, packet: &[u8]) -> Bytes {
        self.seq += 1;
        self.datagram(self.seq, packet)
    }
}

/// A door at work, a device with an open channel, and what arrives of it.
struct Conversation {
    world: World,
    channels: Arc<Channels>,
    heard: mpsc::Receiver<Heard>,
    device: DeviceId,
    voice: Voice,
    socket: UdpSocket,
    door: SocketAddr,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Conversation {
    async fn new(settings: Settings, from: &str, to: Option<IpAddr>) -> Self {
        let world = World::new();
        let door = world.door(settings);
        let (channels, mut address) = (door.channels(), door.address());
        if let Some(ip) = to {
            address.set_ip(ip);
        }
        let (tx, heard) = mpsc::channel(1_000);
        let stop = CancellationToken::new();
        let running = tokio::spawn(door.run(Arc::new(Ear(tx)), stop.clone()));
        let device = id("dev-1");
        let voice = Voice::new(&channels.open(&device, &control(LINK), DIALECT).unwrap());
        let socket = UdpSocket::bind(from).await.unwrap();
        Self { world, channels, heard, device, voice, socket, door: address, stop, running }
    }

    async fn local() -> Self {
        Self::new(local(), "127.0.0.1:0", None).await
    }

    async fn send(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.door).await.unwrap();
    }

    /// Says something, and waits until it has arrived.
    async fn say(&mut self, packet: &[u8]) -> Heard {
        let datagram = self.voice.next(packet);
        self.send(&datagram).await;
        self.heard.recv().await.unwrap()
    }

    /// What the device gets: from where, and the datagram.
    async fn gets(&self) -> (SocketAddr, Vec<u8>) {
        let mut buffer = [0; 2_048];
        let (length, from) = self.socket.recv_from(&mut buffer).await.unwrap();
        (from, buffer[..length].to_vec())
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap();
        assert!(self.channels.is_empty());
    }
}
