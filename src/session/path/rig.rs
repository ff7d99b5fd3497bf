//! A real session without a door, on a store double: what it says is kept, its process can die.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::double::DoubleStore;
use crate::audio::{VadModel, Workers};
use crate::domain::{
    Body, Bulletins, Clock, Control, ControlKind, DeviceId, Downlink, DownlinkSink, Event, ImageUpload, LinkId,
    ManualClock, Message, NoRoom, Origin, Path, QoS, Receipt, Refusal, Uplink, Wall,
};
use crate::lifelog::{self, Lifelog};
use crate::operations::{self, Operations};
use crate::session::{
    self, EarParts, Handle, Intake, Limits, Notice, Overdue, Parts, SharedReport, Taken, Turn, TurnRunner, start,
};
use crate::store::Store;
use crate::store::records::Numbers;
use crate::telemetry::{self, Board, Samples};

/// Answers every turn at once, and writes down what was asked.
struct AtOnce;

impl TurnRunner for AtOnce {
    fn run(&self, turn: Turn, report: SharedReport) -> BoxFuture<'static, ()> {
        if let session::Input::Text(text) = &turn.input {
            report.write(|report| report.transcript.clone_from(text));
        }
        Box::pin(async {})
    }
}

struct Nobody;

impl Intake for Nobody {
    fn image(&self, _: &DeviceId, _: ImageUpload) -> BoxFuture<'static, Result<Taken, Refusal>> {
        Box::pin(async { Err(Refusal::NotAllowed) })
    }

    fn overdue(&self, _: &DeviceId) -> Overdue {
        Overdue::default()
    }
}

impl Bulletins for Nobody {
    fn event(&self, _: Event) {}

    fn publish(&self, _: &str, _: Bytes, _: QoS, _: bool) {}

    fn watched(&self, _: &str) -> bool {
        false
    }
}

/// What the device is told.
#[derive(Default)]
struct Tape(Mutex<Vec<Message>>);

impl DownlinkSink for Tape {
    fn send(&self, _: &DeviceId, downlink: Downlink) -> Result<(), NoRoom> {
        if let Downlink::Control { message, .. } = downlink {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        }
        Ok(())
    }

    fn clear_audio(&self, _: &DeviceId) -> usize {
        0
    }
}

/// What lasts longer than a process.
pub(super) struct World {
    pub(super) device: DeviceId,
    pub(super) clock: Arc<ManualClock>,
    workers: Workers,
    dir: tempfile::TempDir,
    boot: u64,
    random: Arc<Mutex<u128>>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            device: DeviceId::parse("cane-1").unwrap(),
            clock: Arc::new(ManualClock::new(Wall(1_767_225_600_000))),
            workers: Workers::new(1, crate::audio::workers::Metrics::default()).unwrap(),
            dir: tempfile::tempdir().unwrap(),
            boot: 0,
            random: Arc::default(),
        }
    }
}

/// One run of the gateway.
pub(super) struct Run {
    pub(super) store: Arc<DoubleStore>,
    tape: Arc<Tape>,
    handle: Handle,
    task: JoinHandle<()>,
    arrivals: u64,
    device: DeviceId,
}

impl Run {
    pub(super) async fn start(world: &mut World, store: DoubleStore) -> Self {
        world.boot += 1;
        let (store, tape) = (Arc::new(store), Arc::new(Tape::default()));
        let numbers = Arc::new(Numbers::new(world.boot));
        let shared: Arc<dyn Store> = store.clone();
        let clock: Arc<dyn Clock> = world.clock.clone();
        let metrics = lifelog::Metrics::default();
        let lifelog = Lifelog::open(
            lifelog::Settings::default(),
            world.dir.path(),
            shared.clone(),
            clock.clone(),
            numbers.clone(),
            &metrics,
        );
        let voice = crate::audio::Settings::default();
        let last = Arc::clone(&world.random);
        let random: Arc<dyn Fn() -> u128 + Send + Sync> = Arc::new(move || {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            *last += 1;
            *last
        });
        let operations = Operations::open(
            operations::Settings::default(),
            shared.clone(),
            numbers.clone(),
            clock.clone(),
            random.clone(),
            operations::Metrics::default(),
        );
        let samples = Samples::new(telemetry::Parts {
            settings: telemetry::Settings::default(),
            store: shared.clone(),
            numbers: numbers.clone(),
            clock: clock.clone(),
            board: Board::new(Arc::new(Nobody), Arc::new(|device| device.as_str().into())),
            metrics: telemetry::Metrics::default(),
        });
        let parts = Parts {
            settings: session::Settings::default(),
            ears: EarParts {
                vad: VadModel::load(None, &voice.vad),
                turn_model: crate::audio::TurnModel::off(),
                settings: voice,
                workers: world.workers.clone(),
                metrics: crate::audio::Metrics::default(),
            },
            store: shared,
            lifelog: Arc::new(lifelog.unwrap()),
            numbers,
            sink: tape.clone(),
            bulletins: Arc::new(Nobody),
            clock,
            runner: Arc::new(AtOnce),
            samples,
            intake: Arc::new(Nobody),
            alarm: None,
            photos: None,
            operations: operations.await.unwrap(),
            rooms: session::Rooms::default(),
            random,
            boot: world.boot,
            limits: Limits { packet: 0, image: 0, in_flight: 0 },
            metrics: session::Metrics::default(),
        };
        let (notices_tx, notices) = mpsc::channel::<Notice>(16);
        let (handle, starting) = start(world.device.clone(), Arc::new(parts), notices_tx, notices, true);
        let task = tokio::spawn(async move { starting.run(CancellationToken::new()).await.unwrap() });
        Self { store, tape, handle, task, arrivals: 0, device: world.device.clone() }
    }

    /// Everything that can happen by itself has happened: the clock of the tests stands still until then.
    pub(super) async fn settle(&self) {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        assert!(!self.task.is_finished(), "the session ended by itself");
    }

    /// A message arrives.
    pub(super) async fn control(
        &mut self,
        session: Option<String>,
        seq: Option<u32>,
        kind: ControlKind,
    ) -> tokio::sync::oneshot::Receiver<crate::domain::Settled> {
        self.arrivals += 1;
        let (receipt, settled) = Receipt::new();
        let origin = Origin {
            device: self.device.clone(),
            link: LinkId(1),
            arrival: self.arrivals,
            at: std::time::Duration::ZERO,
            dialect: crate::domain::dialect::NATIVE,
            path: Path::Connection,
        };
        let control = Control { session_id: session, seq, ts_ms: None, msg_id: None, json: true, kind };
        let uplink = Uplink { origin, body: Body::Control(Box::new(control)), receipt };
        self.handle.lanes.push(uplink).await.unwrap();
        settled
    }

    /// What the device was told since last asked.
    pub(super) fn told(&self) -> Vec<Message> {
        std::mem::take(&mut *self.tape.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// SIGKILL: so many of the commits under way were on disk, nobody was told.
    pub(super) async fn kill(self, durable: usize) -> DoubleStore {
        self.task.abort();
        // aborted is what it is for
        let _ = self.task.await;
        self.store.end_well(durable, false);
        DoubleStore::of(self.store.durable())
    }
}
