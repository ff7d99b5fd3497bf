//! Sessions of many devices on one store, and the devices' side of them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::DurableError;
use crate::audio::{self, VadModel, Workers};
use crate::domain::{
    AudioPacket, Body, Bulletins, Clock, Codec, Control, ControlKind, DeviceId, Downlink, DownlinkSink, Event, Hello,
    HelloAck, ImagePart, ImageUpload, LinkId, Message, NoRoom, Origin, QoS, Receipt, Refusal, Settled, Uplink,
};
use crate::lifelog::{self, Lifelog};
use crate::operations::{self, Operations};
use crate::session::{
    self, EarParts, Handle, Intake, Limits, Overdue, Parts, SharedReport, Stored, Taken, Turn, TurnRunner, start,
};
use crate::store::records::Numbers;
use crate::store::{self, SledStore, Store};
use crate::telemetry::{self, Board, Samples};

/// A device that says hello with it again is the same one.
const BOOT_ID: u32 = 7;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store in a folder, and what it counts.
pub(super) struct Opened {
    pub(super) store: Arc<SledStore>,
    pub(super) metrics: store::Metrics,
    pub(super) boot: u64,
}

/// Opens the store of a bench; each sync of its journal takes `slower` longer.
pub(super) fn open(
    settings: &store::Settings,
    dir: &Path,
    clock: Arc<dyn Clock>,
    slower: Duration,
) -> Result<Opened, DurableError> {
    let metrics = store::Metrics::register(&mut Registry::default());
    let opened = store::open_slowed(settings.clone(), &dir.join("store"), clock, &metrics, slower)?;
    Ok(Opened { store: opened.store, metrics, boot: opened.report.boot })
}

/// What devices are answered.
#[derive(Default)]
struct Answers(Mutex<HashMap<DeviceId, oneshot::Sender<HelloAck>>>);

impl Answers {
    fn waiting(&self) -> MutexGuard<'_, HashMap<DeviceId, oneshot::Sender<HelloAck>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DownlinkSink for Answers {
    fn send(&self, device: &DeviceId, downlink: Downlink) -> Result<(), NoRoom> {
        if let Downlink::Control { message: Message::HelloAck(ack), .. } = downlink
            && let Some(waiting) = self.waiting().remove(device)
        {
            // who does not wait any more needs no answer
            let _ = waiting.send(*ack);
        }
        Ok(())
    }

    fn clear_audio(&self, _: &DeviceId) -> usize {
        0
    }
}

/// Answers each turn at once, with about as many words as people and models use.
struct AtOnce;

impl TurnRunner for AtOnce {
    fn run(&self, turn: Turn, report: SharedReport) -> BoxFuture<'static, ()> {
        if let session::Input::Text(text) = &turn.input {
            report.write(|report| {
                report.transcript.clone_from(text);
                report.reply = text.chars().rev().collect();
            });
        }
        Box::pin(async {})
    }
}

/// Keeps images as the gateway does.
struct Album(Arc<Lifelog>, Arc<dyn Clock>);

impl Intake for Album {
    fn image(&self, device: &DeviceId, upload: ImageUpload) -> BoxFuture<'static, Result<Taken, Refusal>> {
        let (lifelog, at, device) = (Arc::clone(&self.0), self.1.wall(), device.clone());
        Box::pin(async move {
            let (id, bytes) = match upload {
                ImageUpload::Part(ImagePart { image, data, .. }) => (image, data),
                ImageUpload::Whole(_) => return Err(Refusal::NotAllowed),
            };
            let size = bytes.len() as u64;
            let kept = lifelog.store_image(&device, at, bytes).await.map_err(|_| Refusal::Storage)?;
            let (sha256, mime, path) = (kept.sha256, kept.mime, kept.path);
            Ok(Taken::Image(Stored { id, sha256, mime, size, path }))
        })
    }

    fn overdue(&self, _: &DeviceId) -> Overdue {
        Overdue::default()
    }
}

struct Nobody;

impl Bulletins for Nobody {
    fn event(&self, _: Event) {}

    fn publish(&self, _: &str, _: Bytes, _: QoS, _: bool) {}

    fn watched(&self, _: &str) -> bool {
        false
    }
}

/// The sessions of devices, and the devices.
pub(super) struct Fleet {
    devices: Vec<Device>,
    answers: Arc<Answers>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    pub(super) lifelog: Arc<Lifelog>,
}

/// A device: what it sends goes into its session's lanes.
#[derive(Clone)]
pub(super) struct Device {
    pub(super) id: DeviceId,
    handle: Handle,
    answers: Arc<Answers>,
    arrivals: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
    /// Its session, once it has said hello.
    pub(super) session: Option<String>,
    /// The last number that it used.
    pub(super) seq: u32,
}

impl Fleet {
    pub(super) async fn start(
        opened: &Opened,
        dir: &Path,
        devices: u32,
        clock: &Arc<dyn Clock>,
        mark_delay: Option<Duration>,
    ) -> Result<Self, DurableError> {
        let shared: Arc<dyn Store> = opened.store.clone();
        let numbers = Arc::new(Numbers::new(opened.boot));
        let metrics = lifelog::Metrics::default();
        let lifelog = lifelog::Settings::default();
        let lifelog = Lifelog::open(lifelog, dir, shared.clone(), Arc::clone(clock), Arc::clone(&numbers), &metrics)?;
        let (lifelog, answers) = (Arc::new(lifelog), Arc::new(Answers::default()));
        let voice = audio::Settings::default();
        let mut settings = session::Settings::default();
        if let Some(delay) = mark_delay {
            settings.mark_delay = crate::domain::Span(delay);
        }
        let workers =
            Workers::new(1, audio::workers::Metrics::default()).map_err(|_| DurableError::Session("no threads"))?;
        let random: Arc<dyn Fn() -> u128 + Send + Sync> = Arc::new(rand::random::<u128>);
        let operations = Operations::open(
            operations::Settings::default(),
            shared.clone(),
            Arc::clone(&numbers),
            Arc::clone(clock),
            Arc::clone(&random),
            operations::Metrics::default(),
        );
        let operations = operations.await?;
        let samples = Samples::new(telemetry::Parts {
            settings: telemetry::Settings::default(),
            store: shared.clone(),
            numbers: Arc::clone(&numbers),
            clock: Arc::clone(clock),
            board: Board::new(Arc::new(Nobody), Arc::new(|device| device.as_str().into())),
            metrics: telemetry::Metrics::default(),
        });
        let parts = Arc::new(Parts {
            settings,
            ears: EarParts {
                vad: VadModel::load(None, &voice.vad),
                turn_model: crate::audio::TurnModel::off(),
                settings: voice,
                workers,
                metrics: audio::Metrics::default(),
            },
            store: shared,
            lifelog: Arc::clone(&lifelog),
            numbers,
            sink: answers.clone(),
            bulletins: Arc::new(Nobody),
            clock: Arc::clone(clock),
            runner: Arc::new(AtOnce),
            samples,
            intake: Arc::new(Album(Arc::clone(&lifelog), Arc::clone(clock))),
            alarm: None,
            photos: None,
            operations,
            rooms: session::Rooms::default(),
            random,
            boot: opened.boot,
            limits: Limits { packet: 0, image: 0, in_flight: 0 },
            metrics: session::Metrics::default(),
        });
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let mut all = Vec::new();
        for n in 0..devices {
            let id = DeviceId::parse(&format!("bench-{n:04}"))?;
            let (notices_tx, notices) = mpsc::channel(4);
            let (handle, starting) = start(id.clone(), Arc::clone(&parts), notices_tx, notices, true);
            let stop = stop.clone();
            tasks.spawn(async move {
                if starting.run(stop).await.is_err() {
                    tracing::error!("a session of the bench panicked");
                }
            });
            let (answers, arrivals) = (Arc::clone(&answers), Arc::default());
            all.push(Device { id, handle, answers, arrivals, clock: Arc::clone(clock), session: None, seq: 0 });
        }
        Ok(Self { devices: all, answers, tasks, stop, lifelog })
    }

    /// The devices; each belongs to one task.
    pub(super) fn devices(&self) -> Vec<Device> {
        self.devices.clone()
    }

    /// Ends the sessions: what they promised is written.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.answers.waiting().clear();
    }
}

impl Device {
    fn origin(&self) -> Origin {
        Origin {
            device: self.id.clone(),
            link: LinkId(1),
            arrival: self.arrivals.fetch_add(1, Ordering::Relaxed),
            at: self.clock.mono(),
            dialect: crate::domain::dialect::NATIVE,
            path: crate::domain::Path::Connection,
        }
    }

    async fn push(&self, body: Body, receipt: Receipt) -> Result<(), DurableError> {
        let uplink = Uplink { origin: self.origin(), body, receipt };
        self.handle.lanes.push(uplink).await.map_err(|_| DurableError::Session("its lanes are closed"))
    }

    async fn control(&self, seq: u32, kind: ControlKind, receipt: Receipt) -> Result<(), DurableError> {
        let session_id = self.session.clone();
        let control = Control { session_id, seq: Some(seq), ts_ms: None, msg_id: None, json: true, kind };
        self.push(Body::Control(Box::new(control)), receipt).await
    }

    /// Opens a session, or goes on with one; its numbers go on after what is acknowledged.
    pub(super) async fn hello(&mut self) -> Result<HelloAck, DurableError> {
        let (answer, answered) = oneshot::channel();
        self.answers.waiting().insert(self.id.clone(), answer);
        let hello = Hello { boot_id: Some(BOOT_ID), ..Hello::default() };
        let control = Control {
            session_id: self.session.clone(),
            // a hello is never a repeat: it needs no number
            seq: None,
            ts_ms: None,
            msg_id: None,
            json: true,
            kind: ControlKind::Hello(hello),
        };
        self.push(Body::Control(Box::new(control)), Receipt::none()).await?;
        let answer = tokio::time::timeout(PATIENCE, answered).await;
        let ack = answer.ok().and_then(Result::ok).ok_or(DurableError::Session("no answer to a hello"))?;
        self.session = Some(ack.session_id.to_string());
        self.seq = ack.ack.control;
        Ok(ack)
    }

    /// Sends a message with this number and waits for what becomes of it.
    pub(super) async fn say(&self, seq: u32, kind: ControlKind) -> Result<Settled, DurableError> {
        let (receipt, settled) = Receipt::new();
        self.control(seq, kind, receipt).await?;
        settled.await.map_err(|_| DurableError::Session("a message was lost on its way"))
    }

    /// An image in one piece.
    pub(super) async fn image(&self, part: ImagePart) -> Result<Settled, DurableError> {
        let (receipt, settled) = Receipt::new();
        self.push(Body::Image(ImageUpload::Part(part)), receipt).await?;
        settled.await.map_err(|_| DurableError::Session("an image was lost on its way"))
    }

    /// A frame of a silent microphone.
    pub(super) fn frame(&self, seq: u32) -> Result<(), DurableError> {
        let packet = AudioPacket {
            codec: Codec::Opus,
            seq,
            ts_ms: seq.wrapping_mul(60),
            last: false,
            speech: None,
            listen: 0,
            payload: Bytes::from_static(&[0xF8, 0xFF, 0xFE]),
        };
        let pushed = self.handle.lanes.push_audio(self.origin(), packet);
        pushed.map(drop).map_err(|_| DurableError::Session("its lanes are closed"))
    }
}

/// A message whose effect is a record of about 300 bytes.
pub(super) fn effect(name: &str) -> ControlKind {
    let words: Value = json!({"seen": "a door, a step of about fifteen centimetres, a hand rail on the left side"});
    ControlKind::ToolResult { operation_id: name.to_owned(), success: true, result: words, error: None }
}
