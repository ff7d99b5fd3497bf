//! What an uplink frame costs between the door and what was heard: the bytes of a native audio packet with a
//! proven identity → wire → router → session lane → sequence window → jitter, Opus decode, voice activity.
//! No socket, no provider; router, sessions, codec threads and store are the real ones.
//!
//! `cargo bench --bench uplink`. Criterion's figures are CPU time of the process, all threads, frames back to
//! back (16 in a row for a session, then a heartbeat that is taken only when they have been heard): "thrpt" is
//! frames a second per core. The lines "in life" are the same frames one at a time, each 60 ms, as devices send
//! them: waking tasks and threads for one frame is a part of what a frame costs. Speech is Debian's
//! pocketsphinx-testdata where it is installed, else a made-up voice; Silero's file is where `VOXGATE_SILERO` says.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench may panic and speaks to a person, and criterion's macros write no docs"
)]

mod cpu;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use voxgate::audio::{VadModel, Workers};
use voxgate::config::Config;
use voxgate::delivery::{self, Delivery};
use voxgate::domain::{
    Body, Bulletins, Clock, Control, ControlKind, DeviceId, Event, Ingress, LinkId, Origin, Path, QoS, Receipt, Stream,
    SystemClock, Uplink,
};
use voxgate::lifelog::{self, Lifelog};
use voxgate::operations::{self, Operations};
use voxgate::pipeline::images::Images;
use voxgate::router::Router;
use voxgate::session::{self, EarParts, Limits, SharedReport, Turn, TurnRunner};
use voxgate::sim::bench::voice;
use voxgate::sim::script::Script;
use voxgate::store::records::Numbers;
use voxgate::store::{self, Opened, Store};
use voxgate::telemetry::{self, Board, Samples};
use voxgate::topics::Table;
use voxgate::wire::{self, native::client};
use voxgate::{audio, store as store_room};

use cpu::{CpuTime, cpu};

const NATIVE: &str = "native";
/// Frames of one session in a row.
const BURST: usize = 16;
/// Where a native audio packet has its number.
const SEQ: std::ops::Range<usize> = 4..8;
/// How long the frames of "in life" go on.
const IN_LIFE: Duration = Duration::from_secs(12);
const FRAME: Duration = Duration::from_millis(60);

/// A turn that is over at once: a minute of speech without a pause is cut, and then nobody answers.
struct Nobody;

impl TurnRunner for Nobody {
    fn run(&self, _: Turn, _: SharedReport) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Operators who do not look.
struct Unwatched;

impl Bulletins for Unwatched {
    fn event(&self, _: Event) {}

    fn publish(&self, _: &str, _: Bytes, _: QoS, _: bool) {}

    fn watched(&self, _: &str) -> bool {
        false
    }
}

fn silero() -> Option<PathBuf> {
    std::env::var_os("VOXGATE_SILERO").map(PathBuf::from).filter(|path| path.exists())
}

/// The payloads that one device sends, over and over, their numbers still to be written.
fn speech() -> Vec<Bytes> {
    let file = "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0880.wav";
    let script = Script::from_wav(file.as_ref()).unwrap_or_else(|_| {
        println!("no human speech here: a made-up voice instead");
        Script::from_pcm(&voice(Duration::from_secs(6)), "a made-up voice").unwrap()
    });
    (0..script.frames.len()).map(|n| client::encode_audio(&script.frame(n))).collect()
}

fn silence() -> Vec<Bytes> {
    let script = Script::from_pcm(&voice(Duration::from_millis(60)), "a made-up voice").unwrap();
    (1..17).map(|n| client::encode_audio(&script.frame(n))).collect()
}

/// A router with real sessions behind it, and the devices that talk to it.
struct Rig {
    clock: Arc<SystemClock>,
    registry: Registry,
    router: Router,
    store: Arc<store_room::SledStore>,
    stop: CancellationToken,
    vad: &'static str,
    devices: Vec<DeviceId>,
    /// Sequence number, the same for every device; twice that is the arrival number.
    sent: u64,
    payloads: Vec<Bytes>,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn new(devices: usize, payloads: Vec<Bytes>) -> Self {
        let (config, dir) = (Config::default(), tempfile::tempdir().unwrap());
        let mut registry = Registry::default();
        let clock = Arc::new(SystemClock);
        let shared_clock: Arc<dyn Clock> = clock.clone();
        let store_metrics = store::Metrics::register(&mut registry);
        let mut settings = config.store.clone();
        settings.reserve = voxgate::domain::ByteSize(0);
        let opened = store::open(settings, &dir.path().join("store"), Arc::clone(&shared_clock), &store_metrics);
        let Opened { store, report } = opened.unwrap();
        let shared: Arc<dyn Store> = store.clone();
        let numbers = Arc::new(Numbers::new(report.boot));
        let log_metrics = lifelog::Metrics::register(&mut registry);
        let lifelog = Lifelog::open(
            config.lifelog.clone(),
            dir.path(),
            Arc::clone(&shared),
            Arc::clone(&shared_clock),
            Arc::clone(&numbers),
            &log_metrics,
        );
        let lifelog = Arc::new(lifelog.unwrap());
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let vad = VadModel::load(silero().as_deref(), &config.voice.vad);
        let vad_name = vad.name();
        let table = Arc::new(Table::builtin("bench").unwrap());
        let delivery = Arc::new(Delivery::new(table, None, delivery::Metrics::register(&mut registry)));
        let random: Arc<dyn Fn() -> u128 + Send + Sync> = Arc::new(rand::random::<u128>);
        let operations = Operations::open(
            config.operations.clone(),
            Arc::clone(&shared),
            Arc::clone(&numbers),
            Arc::clone(&shared_clock),
            Arc::clone(&random),
            operations::Metrics::register(&mut registry),
        );
        let samples = Samples::new(telemetry::Parts {
            settings: config.telemetry.clone(),
            store: Arc::clone(&shared),
            numbers: Arc::clone(&numbers),
            clock: Arc::clone(&shared_clock),
            board: Board::new(Arc::new(Unwatched), Arc::new(|device| device.as_str().into())),
            metrics: telemetry::Metrics::register(&mut registry),
        });
        let parts = session::Parts {
            settings: config.session.clone(),
            ears: EarParts {
                settings: config.voice.audio(),
                vad,
                turn_model: audio::TurnModel::off(),
                workers: Workers::new(cores, audio::workers::Metrics::register(&mut registry)).unwrap(),
                metrics: audio::Metrics::register(&mut registry),
            },
            store: shared,
            lifelog: Arc::clone(&lifelog),
            numbers,
            sink: delivery.clone(),
            bulletins: Arc::new(Unwatched),
            clock: Arc::clone(&shared_clock),
            alarm: None,
            operations: operations.await.unwrap(),
            runner: Arc::new(Nobody),
            samples,
            intake: Arc::new(Images::new(lifelog, shared_clock)),
            photos: None,
            rooms: session::Rooms::default(),
            random,
            boot: report.boot,
            limits: Limits { packet: 262_144, image: 4 << 20, in_flight: 32 },
            metrics: session::Metrics::register(&mut registry),
        };
        let stop = CancellationToken::new();
        let router = Router::new(delivery, Arc::new(parts), stop.clone());
        let devices = (0..devices).map(|n| DeviceId::parse(&format!("bench-{n}")).unwrap()).collect();
        Self { clock, registry, router, store, stop, vad: vad_name, devices, sent: 0, payloads, _dir: dir }
    }

    fn origin(&self, device: usize, arrival: u64) -> Origin {
        let device = self.devices[device].clone();
        Origin { device, link: LinkId(1), arrival, at: self.clock.mono(), dialect: NATIVE, path: Path::Connection }
    }

    /// What the door does with the bytes of an audio packet, once it knows whose they are.
    fn frame(&self, device: usize) {
        let packet = numbered(&self.payloads, self.sent);
        let Ok(Body::Audio(packet)) = wire::decode(NATIVE, Stream::Audio, &packet, &self.devices[device]) else {
            panic!("an audio packet is an audio packet")
        };
        self.router.audio(self.origin(device, 2 * self.sent), packet);
    }

    /// A burst of each device; returns when all of it has been heard.
    async fn round(&mut self) {
        let from = self.sent;
        for device in 0..self.devices.len() {
            for n in 0..BURST {
                self.sent = from + 1 + n as u64;
                self.frame(device);
            }
        }
        // control is taken in order of arrival, so these are taken when the ears are back
        let mut owed = Vec::with_capacity(self.devices.len());
        for device in 0..self.devices.len() {
            let (receipt, settled) = Receipt::new();
            let kind = ControlKind::Heartbeat;
            let control = Control { session_id: None, seq: None, ts_ms: None, msg_id: None, json: true, kind };
            let body = Body::Control(Box::new(control));
            self.router.deliver(Uplink { origin: self.origin(device, 2 * self.sent + 1), body, receipt }).await;
            owed.push(settled);
        }
        for settled in owed {
            settled.await.unwrap();
        }
    }

    /// A counter's value.
    fn count(&self, name: &str) -> u64 {
        let text = voxgate::observe::encode(&self.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("_total "));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        self.router.stopped().await;
        self.store.close().await;
    }
}

/// The bytes of the frame with this number.
fn numbered(payloads: &[Bytes], number: u64) -> Bytes {
    let mut packet = BytesMut::from(&payloads[usize::try_from(number).unwrap() % payloads.len()][..]);
    packet[SEQ].copy_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
    packet.freeze()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// The bench's own share: copying a payload and writing its number, with and without the wire's parse.
fn parse(c: &mut Criterion<CpuTime>) {
    let payloads = speech();
    let mut group = c.benchmark_group("uplink");
    group.throughput(Throughput::Elements(1));
    let mut n = 0;
    group.bench_function("the bench's own copy of a packet", |b| {
        b.iter(|| {
            n += 1;
            numbered(&payloads, n)
        });
    });
    let device = DeviceId::parse("bench").unwrap();
    group.bench_function("copy and wire parse", |b| {
        b.iter(|| {
            n += 1;
            wire::decode(NATIVE, Stream::Audio, &numbered(&payloads, n), &device)
        });
    });
}

fn heard(c: &mut Criterion<CpuTime>) {
    let runtime = runtime();
    let mut group = c.benchmark_group("uplink");
    for (what, payloads) in [("silent", silence()), ("talking", speech())] {
        for sessions in [1, 200] {
            let mut rig = runtime.block_on(Rig::new(sessions, payloads.clone()));
            group.throughput(Throughput::Elements((sessions * BURST) as u64));
            let name = format!("{BURST} frames to heard, {what}, {} sessions, {}", sessions, rig.vad);
            group.bench_function(name, |b| {
                b.iter_custom(|rounds| {
                    let begun = cpu();
                    runtime.block_on(async {
                        for _ in 0..rounds {
                            rig.round().await;
                        }
                    });
                    cpu().checked_sub(begun).unwrap()
                });
            });
            let (sent, taken) = (rig.sent * sessions as u64, rig.count("voxgate_audio_packets"));
            assert_eq!((taken, rig.count("voxgate_audio_dropped")), (sent, 0), "every frame reached its session");
            runtime.block_on(rig.end());
        }
    }
}

/// One frame of each session every 60 ms, spread over them: printed, as criterion cannot pace.
fn in_life(_: &mut Criterion<CpuTime>) {
    let runtime = runtime();
    for (what, payloads) in [("silent", silence()), ("talking", speech())] {
        for sessions in [1_usize, 200] {
            runtime.block_on(async {
                let mut rig = Rig::new(sessions, payloads.clone()).await;
                rig.round().await;
                let (begun, spent, first) = (Instant::now(), cpu(), rig.sent);
                let step = FRAME / u32::try_from(sessions).unwrap();
                let mut due = begun;
                while due < begun + IN_LIFE {
                    rig.sent += 1;
                    for device in 0..sessions {
                        sleep_until(due).await;
                        rig.frame(device);
                        due += step;
                    }
                }
                let (wall, spent) = (begun.elapsed().as_secs_f64(), cpu().saturating_sub(spent).as_secs_f64());
                let frames = (rig.sent - first) as f64 * sessions as f64;
                rig.round().await;
                assert_eq!(rig.count("voxgate_audio_dropped"), 0, "no frame was dropped");
                println!(
                    "uplink/in life, {what}, {sessions} sessions, {}: {:.1} us CPU a frame, {:.0} frames/s per core; \
                     {:.1} % of a core for {:.0} frames/s",
                    rig.vad,
                    spent / frames * 1e6,
                    frames / spent,
                    spent / wall * 100.0,
                    frames / wall,
                );
                rig.end().await;
            });
        }
    }
}

fn settings() -> Criterion<CpuTime> {
    Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
}

criterion_group! { name = uplink; config = settings(); targets = parse, heard, in_life }
criterion_main!(uplink);
