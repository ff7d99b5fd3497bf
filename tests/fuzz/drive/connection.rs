//! What holds whatever one client sends to a door: its connection ends when it has said all, nothing panics, memory
//! stays within its limit, and another client is served meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use voxgate::domain::{
    Arrivals, AudioPacket, ByteSize, Clock, Commands, DeviceId, Ingress, Link, LinkId, Origin, Refusal, Settled, Span,
    SystemClock, Uplink,
};
use voxgate::door::credentials::{self, Credentials};
use voxgate::door::mqtt::{Bus, BusParts, Door, DoorControl, Metrics, Parts, Settings};
use voxgate::door::rights::Rights;
use voxgate::store::{self, Store};
use voxgate::topics::{Access, Rule, Subject, Table};

/// Longer than any close may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all messages may take in memory: little, so that what inputs leave behind (sessions, retained messages) reaches it.
const MEMORY: ByteSize = ByteSize::mb(1);

/// The largest packet.
const PACKET: ByteSize = ByteSize::kb(256);

/// A door of its own, with its store in a temporary folder.
pub struct Rig {
    runtime: Runtime,
    addr: SocketAddr,
    secrets: [String; 2],
    bystander: Mutex<TcpStream>,
    metrics: Metrics,
    door: DoorControl,
    _bus: Arc<Bus>,
    _stop: CancellationToken,
    _dir: TempDir,
}

/// Takes everything.
struct Everything;

impl Ingress for Everything {
    fn link_up(&self, _: &DeviceId, _: Arc<dyn Link>) {}
    fn link_down(&self, _: &DeviceId, _: LinkId) {}
    fn audio(&self, _: Origin, _: AudioPacket) {}
    fn deliver(&self, uplink: Uplink) -> BoxFuture<'_, ()> {
        uplink.receipt.settle(Settled::Taken);
        Box::pin(async {})
    }
}

impl Commands for Everything {
    fn command(&self, _: DeviceId, _: &str, _: Bytes) -> BoxFuture<'static, Result<(), Refusal>> {
        Box::pin(async { Ok(()) })
    }
}

impl Rig {
    /// Opens it, on a free port of loopback.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(Self::open()).into_rig(runtime)
    }

    /// The first byte says how the client comes in: bit 0 MQTT 5, bit 1 without CONNECT, bit 2 as a device, bit 3
    /// with the session that it had. The rest is what it sends then.
    pub fn drive(&self, data: &[u8]) {
        let Some((&how, bytes)) = data.split_first() else { return };
        self.runtime.block_on(async {
            let all = self.say(how, bytes);
            tokio::time::timeout(PATIENCE, all).await.expect("a connection that has said all ends");
            tokio::time::timeout(PATIENCE, self.alive()).await.expect("another client is served");
        });
        assert_eq!(self.metrics.endings("panic"), 0, "a connection's task panicked");
        // a packet that began below the limit may end above it, and is a message by then
        let most = MEMORY.len() + 2 * PACKET.len();
        assert!(self.door.memory() <= most, "{} bytes of {most}", self.door.memory());
    }

    async fn say(&self, how: u8, bytes: &[u8]) {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let (mut reading, mut writing) = stream.split();
        let mut all = Vec::new();
        if how & 2 == 0 {
            let login = (how & 4 != 0).then_some(("stranger", self.secrets[0].as_str()));
            all.extend(connect(how & 1 != 0, how & 8 == 0, "stranger", login));
        }
        all.extend_from_slice(bytes);
        let write = async {
            // it may have been thrown out before it said all
            let _ = writing.write_all(&all).await;
            let _ = writing.shutdown().await;
        };
        let read = async {
            let mut rest = [0; 4 << 10];
            while matches!(reading.read(&mut rest).await, Ok(n) if n > 0) {}
        };
        tokio::join!(write, read);
    }

    async fn alive(&self) {
        let mut stream = self.bystander.lock().await;
        stream.write_all(&[0xC0, 0]).await.expect("the bystander is connected");
        let mut pong = [0; 2];
        stream.read_exact(&mut pong).await.expect("the bystander is answered");
        assert_eq!(pong, [0xD0, 0]);
    }

    async fn open() -> Opened {
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let of_store = store::Settings { reserve: ByteSize(0), ..store::Settings::default() };
        let (path, time) = (dir.path().join("store"), clock.clone());
        let metrics = store::Metrics::register(&mut Registry::default());
        let opening = move || store::open(of_store, &path, time, &metrics);
        let store: Arc<dyn Store> = tokio::task::spawn_blocking(opening).await.unwrap().unwrap().store;
        let table = Arc::new(Table::builtin("gw").unwrap());
        let rules = vec![Rule { subject: Subject::Everyone, access: Access::Readwrite, filter: "#".to_owned() }];
        let mut settings = Settings { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Settings::default() };
        (settings.anonymous, settings.rules, settings.sys_interval) = (true, rules, Span::secs(0));
        // no limit in time: an input is not slowed down
        (settings.limits.messages_per_second, settings.limits.bytes_per_second) = (1 << 30, ByteSize::mb(10_000));
        settings.limits.takeovers = usize::MAX;
        (settings.limits.memory, settings.limits.packet) = (MEMORY, PACKET);
        let rights = Rights::open(table.clone(), settings.rules.clone(), store.clone()).await.unwrap();
        let (metrics, stop, tracker) = (Metrics::default(), CancellationToken::new(), TaskTracker::new());
        let parts = BusParts {
            store: store.clone(),
            rights: rights.clone(),
            table: table.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let bus = Bus::start(settings.bus.clone(), &settings.limits, parts, &tracker, stop.clone());
        // nor for a wrong password
        let patient = credentials::Settings { delay: Span::secs(0), ..credentials::Settings::default() };
        let options = credentials::Options { settings: patient, ..credentials::Options::default() };
        let credentials = Credentials::open_with(store, dir.path(), clock.clone(), options).await.unwrap();
        let mut secrets = [String::new(), String::new()];
        for (id, secret) in ["stranger", "bystander"].into_iter().zip(&mut secrets) {
            let made = credentials.add_device(&DeviceId::parse(id).unwrap()).await.unwrap();
            made.reveal().clone_into(secret);
        }
        let parts = Parts {
            ingress: Arc::new(Everything),
            commands: Arc::new(Everything),
            credentials,
            table,
            rights,
            bus: bus.clone(),
            clock,
            arrivals: Arrivals::default(),
            metrics: metrics.clone(),
        };
        let door = Door::bind(settings, parts).unwrap();
        let addr = door.addrs()[0].1;
        let control = door.control();
        tokio::spawn(door.run(stop.clone()));
        let mut bystander = TcpStream::connect(addr).await.unwrap();
        let hello = connect(false, true, "bystander", Some(("bystander", &secrets[1])));
        bystander.write_all(&hello).await.unwrap();
        let mut connack = [0; 4];
        bystander.read_exact(&mut connack).await.unwrap();
        assert_eq!(connack, [0x20, 2, 0, 0]);
        Opened { addr, secrets, bystander, metrics, door: control, bus, stop, dir }
    }
}

struct Opened {
    addr: SocketAddr,
    secrets: [String; 2],
    bystander: TcpStream,
    metrics: Metrics,
    door: DoorControl,
    bus: Arc<Bus>,
    stop: CancellationToken,
    dir: TempDir,
}

impl Opened {
    fn into_rig(self, runtime: Runtime) -> Rig {
        let Self { addr, secrets, bystander, metrics, door, bus, stop, dir } = self;
        Rig {
            runtime,
            addr,
            secrets,
            bystander: Mutex::new(bystander),
            metrics,
            door,
            _bus: bus,
            _stop: stop,
            _dir: dir,
        }
    }
}

/// CONNECT, keep-alive 0.
fn connect(five: bool, clean: bool, id: &str, login: Option<(&str, &str)>) -> Vec<u8> {
    let flags = u8::from(clean) << 1 | if login.is_some() { 0xC0 } else { 0 };
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', if five { 5 } else { 4 }, flags, 0, 0];
    if five {
        // the session outlives the connection for a minute
        body.extend_from_slice(&[5, 0x11, 0, 0, 0, 60]);
    }
    let mut text = |text: &str| {
        body.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    };
    text(id);
    if let Some((user, secret)) = login {
        text(user);
        text(secret);
    }
    let length = u8::try_from(body.len()).expect("short");
    assert!(length < 0x80, "one byte of remaining length");
    [&[0x10, length], &body[..]].concat()
}
