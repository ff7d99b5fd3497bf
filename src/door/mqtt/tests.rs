//! The door over real TCP: a raw client, a recording ingress.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod access;
mod downlinks;
mod figures;
mod hostile;
mod limits;
mod peers;
mod sequences;
mod tls;
mod transports;
mod uplinks;
mod watchers;
mod websocket;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::codec::{PublishHead, Version};
use super::*;
use crate::domain::{
    Arrivals, AudioPacket, DeviceId, Link, LinkId, LinkPacket, Origin, PacketKind, QoS, Refusal, SystemClock, Uplink,
};
use crate::door::credentials::Secret;
use crate::door::credentials::tests::MapStore;
use crate::door::rights::Rights;
use crate::topics::Role;

/// What the ingress saw.
#[derive(Debug)]
pub(super) enum Seen {
    Up(Arc<dyn Link>),
    Down,
    Audio(Origin, AudioPacket),
    Uplink(Uplink),
}

pub(super) struct Recorder {
    seen: mpsc::Sender<Seen>,
    /// `deliver` takes a permit: close the lane by taking them away.
    lane: Semaphore,
    pub audio: AtomicUsize,
}

impl Ingress for Recorder {
    fn link_up(&self, _: &DeviceId, link: Arc<dyn Link>) {
        self.seen.try_send(Seen::Up(link)).unwrap();
    }

    fn link_down(&self, _: &DeviceId, _: LinkId) {
        let _ = self.seen.try_send(Seen::Down);
    }

    fn audio(&self, origin: Origin, packet: AudioPacket) {
        self.audio.fetch_add(1, Ordering::SeqCst);
        let _ = self.seen.try_send(Seen::Audio(origin, packet));
    }

    fn deliver(&self, uplink: Uplink) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.lane.acquire().await.unwrap().forget();
            let _ = self.seen.try_send(Seen::Uplink(uplink));
        })
    }
}

/// Commands as (device, name, payload).
#[derive(Default)]
pub(super) struct RecordedCommands(pub Mutex<Vec<(String, String, Bytes)>>);

impl Commands for RecordedCommands {
    fn command(&self, device: DeviceId, name: &str, payload: Bytes) -> BoxFuture<'static, Result<(), Refusal>> {
        let refused = name == "unknown";
        self.0.lock().unwrap().push((device.to_string(), name.to_owned(), payload));
        Box::pin(async move { if refused { Err(Refusal::NotAllowed) } else { Ok(()) } })
    }
}

/// A running door.
pub(super) struct Fixture {
    pub addr: SocketAddr,
    pub addrs: Vec<(Listener, SocketAddr)>,
    pub control: DoorControl,
    pub recorder: Arc<Recorder>,
    pub commands: Arc<RecordedCommands>,
    pub bus: Arc<Bus>,
    pub metrics: Metrics,
    pub secrets: HashMap<&'static str, Secret>,
    seen: mpsc::Receiver<Seen>,
    stop: CancellationToken,
    tracker: TaskTracker,
    settings: Settings,
    store: Arc<MapStore>,
    credentials: Arc<Credentials>,
    dir: tempfile::TempDir,
}

pub(super) fn local() -> Settings {
    // without the figures of `$SYS`: nobody asked for them where they are not the subject
    let sys_interval = crate::domain::Span::secs(0);
    Settings { listen: SocketAddr::from(([127, 0, 0, 1], 0)), sys_interval, ..Settings::default() }
}

pub(super) fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(local()).await
    }

    pub async fn with(settings: Settings) -> Self {
        assert_eq!(settings.check("mqtt"), []);
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock);
        let store = Arc::new(MapStore::default());
        let credentials = Credentials::open(store.clone(), dir.path(), clock.clone()).await.unwrap();
        let mut secrets = HashMap::new();
        for id in ["dev1", "dev2"] {
            secrets.insert(id, credentials.add_device(&device(id)).await.unwrap());
        }
        for (name, role) in [("viewer", Role::Viewer), ("operator", Role::Operator), ("admin", Role::Admin)] {
            secrets.insert(name, credentials.add_operator(name, role).await.unwrap());
        }
        Self::over(settings, store, credentials, secrets, dir).await
    }

    /// Stops and starts again over the same store, as a restart of the process does.
    pub async fn restart(self) -> Self {
        let Self { settings, store, credentials, secrets, stop, tracker, dir, .. } = self;
        finish(&stop, &tracker).await;
        Self::over(settings, store, credentials, secrets, dir).await
    }

    async fn over(
        settings: Settings,
        store: Arc<MapStore>,
        credentials: Arc<Credentials>,
        secrets: HashMap<&'static str, Secret>,
        dir: tempfile::TempDir,
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (stop, tracker, metrics) = (CancellationToken::new(), TaskTracker::new(), Metrics::default());
        let table = table();
        let rights = Rights::open(table.clone(), settings.rules.clone(), store.clone()).await.unwrap();
        let bus = Bus::start(
            settings.bus.clone(),
            &settings.limits,
            BusParts {
                store: store.clone(),
                rights: rights.clone(),
                table: table.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
            },
            &tracker,
            stop.clone(),
        );
        bus.load(&*store, &settings.limits).await.unwrap();
        let (tx, seen) = mpsc::channel(100_000);
        let lane = Semaphore::new(Semaphore::MAX_PERMITS >> 1);
        let recorder = Arc::new(Recorder { seen: tx, lane, audio: AtomicUsize::new(0) });
        let commands = Arc::new(RecordedCommands::default());
        let parts = Parts {
            ingress: recorder.clone(),
            commands: commands.clone(),
            credentials: credentials.clone(),
            table,
            rights,
            bus: bus.clone(),
            clock,
            arrivals: Arrivals::default(),
            metrics: metrics.clone(),
        };
        let door = Door::bind(settings.clone(), parts).unwrap();
        let (addrs, control) = (door.addrs().to_vec(), door.control());
        let addr = addrs[0].1;
        let run = door.run(stop.clone());
        tracker.spawn(async move { run.await.unwrap() });
        Self {
            addr,
            addrs,
            control,
            recorder,
            commands,
            bus,
            metrics,
            secrets,
            seen,
            stop,
            tracker,
            settings,
            store,
            credentials,
            dir,
        }
    }

    /// The next thing that the ingress saw.
    pub async fn seen(&mut self) -> Seen {
        tokio::time::timeout(Duration::from_secs(10), self.seen.recv()).await.expect("nothing was seen").unwrap()
    }

    pub async fn uplink(&mut self) -> Uplink {
        loop {
            if let Seen::Uplink(uplink) = self.seen().await {
                return uplink;
            }
        }
    }

    pub async fn link(&mut self) -> Arc<dyn Link> {
        loop {
            if let Seen::Up(link) = self.seen().await {
                return link;
            }
        }
    }

    /// Closes the control lane.
    pub fn close_lane(&self) {
        self.recorder.lane.forget_permits(usize::MAX);
    }

    pub fn open_lane(&self, n: usize) {
        self.recorder.lane.add_permits(n);
    }

    pub async fn raw(&self) -> Peer {
        Peer { stream: TcpStream::connect(self.addr).await.unwrap(), buffer: BytesMut::new(), version: Version::V4 }
    }

    /// Connects as a known user, keep-alive 60.
    pub async fn peer(&self, version: Version, user: &str) -> Peer {
        self.peer_as(version, user, user, 60).await
    }

    pub async fn peer_as(&self, version: Version, user: &str, client_id: &str, keep_alive: u16) -> Peer {
        let mut peer = self.raw().await;
        peer.version = version;
        peer.send(&self.connect_packet(version, user, client_id, keep_alive)).await;
        let (first, body) = peer.packet().await;
        assert_eq!((first, body.get(..2)), (0x20, Some(&[0, 0][..])), "connack");
        peer
    }

    pub fn connect_packet(&self, version: Version, user: &str, client_id: &str, keep_alive: u16) -> Vec<u8> {
        let secret = self.secrets.get(user).map(|s| s.reveal().to_owned()).unwrap_or_default();
        connect(version, client_id, keep_alive, Some((user, &secret)), None)
    }

    pub async fn stop(self) {
        finish(&self.stop, &self.tracker).await;
    }
}

async fn finish(stop: &CancellationToken, tracker: &TaskTracker) {
    stop.cancel();
    tracker.close();
    tokio::time::timeout(Duration::from_secs(5), tracker.wait()).await.expect("the door did not stop");
}

/// A raw client: bytes out, packets in.
#[derive(Debug)]
pub(super) struct Peer {
    pub stream: TcpStream,
    buffer: BytesMut,
    pub version: Version,
}

impl Peer {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet: its first byte and its body. Panics when the connection closes or nothing comes.
    pub async fn packet(&mut self) -> (u8, Vec<u8>) {
        self.next().await.expect("the door closed the connection")
    }

    /// The next packet, none when the connection is closed.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(f) = codec::frame(&self.buffer, 1 << 28).unwrap()
                && self.buffer.len() >= f.header + f.body
            {
                let all = self.buffer.split_to(f.header + f.body);
                return Some((f.first, all[f.header..].to_vec()));
            }
            let read = self.stream.read_buf(&mut self.buffer);
            match tokio::time::timeout(Duration::from_secs(10), read).await.expect("the door is silent") {
                Ok(n) if n > 0 => {}
                _ => return None,
            }
        }
    }

    pub async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }

    pub async fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, id: u16) {
        self.publish_with(topic, payload, PublishHead { qos, id, ..PublishHead::default() }).await;
    }

    pub async fn publish_with(&mut self, topic: &str, payload: &[u8], head: PublishHead<'_>) {
        let mut out = BytesMut::new();
        codec::publish(&mut out, self.version, head, topic, payload);
        self.send(&out).await;
    }

    /// Subscribes at one QoS; returns the codes.
    pub async fn subscribe(&mut self, filters: &[&str], qos: u8) -> Vec<u8> {
        let mut body = vec![0, 9];
        let skip = if self.version == Version::V5 {
            body.push(0);
            3
        } else {
            2
        };
        for filter in filters {
            body.extend(text(filter));
            body.push(qos);
        }
        self.send(&packet(0x82, &body)).await;
        let (first, body) = self.packet().await;
        assert_eq!(first, 0x90);
        body[skip..].to_vec()
    }

    /// PINGREQ and back: everything sent before has been read.
    pub async fn ping(&mut self) {
        self.send(&[0xC0, 0]).await;
        assert_eq!(self.packet().await, (0xD0, vec![]));
    }

    /// The next PUBLISH: topic and payload.
    pub async fn message(&mut self) -> (String, Vec<u8>) {
        let (first, body) = self.packet().await;
        assert_eq!(first & 0xF0, 0x30, "a publish, not {first:#x}");
        let n = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + n].to_vec()).unwrap();
        let mut rest = &body[2 + n..];
        if first & 6 != 0 {
            rest = &rest[2..];
        }
        if self.version == Version::V5 {
            rest = &rest[1 + usize::from(rest[0])..];
        }
        (topic, rest.to_vec())
    }
}

pub(super) fn text(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut n = body.len();
    loop {
        let byte = u8::try_from(n % 128).unwrap();
        n /= 128;
        bytes.push(if n > 0 { byte | 0x80 } else { byte });
        if n == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// A CONNECT; the will is a topic and a payload, QoS 0.
pub(super) fn connect(
    version: Version,
    client_id: &str,
    keep_alive: u16,
    login: Option<(&str, &str)>,
    will: Option<(&str, &str)>,
) -> Vec<u8> {
    let v5 = version == Version::V5;
    let mut body = text("MQTT");
    let flags = 2 | if login.is_some() { 0xC0 } else { 0 } | if will.is_some() { 4 } else { 0 };
    body.extend([if v5 { 5 } else { 4 }, flags]);
    body.extend(keep_alive.to_be_bytes());
    body.extend(v5.then_some(0));
    body.extend(text(client_id));
    if let Some((topic, payload)) = will {
        body.extend(v5.then_some(0));
        body.extend(text(topic));
        body.extend(text(payload));
    }
    if let Some((user, password)) = login {
        body.extend(text(user));
        body.extend(text(password));
    }
    packet(0x10, &body)
}

/// An audio packet of the native dialect.
pub(super) fn audio(seq: u32) -> Vec<u8> {
    let mut p = vec![0xA1, 1, 0, 0];
    p.extend(seq.to_be_bytes());
    p.extend([0, 0, 0, 0, 0, 0, 0, 3, 0xF8, 0xFF, 0xFE]);
    p
}

/// A typed turn.
pub(super) fn typed(words: &str) -> Vec<u8> {
    format!(r#"{{"type":"text","payload":{{"text":"{words}"}}}}"#).into_bytes()
}

pub(super) fn down(topic: &str, payload: &[u8], kind: PacketKind) -> LinkPacket {
    LinkPacket { topic: topic.into(), payload: Bytes::copy_from_slice(payload), qos: QoS::AtMostOnce, kind }
}

fn table() -> Arc<Table> {
    Arc::new(Table::builtin("gw").unwrap())
}

/// Waits until something is true that a metric or register will soon say.
pub(super) async fn until(what: &str, mut check: impl FnMut() -> bool) {
    let waiting = async {
        while !check() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), waiting).await.is_ok(), "never happened: {what}");
}
