//! A session hears of its device's links in their true order, also from a device that comes and goes all the time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::audio::{VadModel, Workers};
use crate::delivery;
use crate::domain::{
    Bulletins, Clock, Event, ImageUpload, LinkPacket, QoS, Refusal, SendError, Span, SystemClock, Wall,
};
use crate::door::credentials::tests::MapStore;
use crate::lifelog::{self, Lifelog};
use crate::operations::{self, Operations};
use crate::session::{self, EarParts, Intake, Limits, Overdue, SharedReport, Taken, Turn, TurnRunner};
use crate::store::records::{Inbox, InboxKind, Numbers};
use crate::store::{Batch, CommitNo, Key, Page, Range, Store, StoreError};
use crate::telemetry;
use crate::topics::Table;

const PATIENCE: Duration = Duration::from_secs(20);

/// Counts the records that are read.
#[derive(Default)]
struct CountedStore {
    map: MapStore,
    read: AtomicUsize,
}

impl Store for CountedStore {
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<CommitNo, StoreError>> {
        self.map.commit(batch)
    }

    fn get(&self, key: Key) -> BoxFuture<'static, Result<Option<Vec<u8>>, StoreError>> {
        self.map.get(key)
    }

    fn scan(&self, range: Range) -> BoxFuture<'static, Result<Page, StoreError>> {
        let page = self.map.scan(range).now_or_never().expect("the map is in memory");
        self.read.fetch_add(page.as_ref().map_or(0, |page| page.records.len()), Ordering::Relaxed);
        Box::pin(async { page })
    }
}

struct Nobody;

impl TurnRunner for Nobody {
    fn run(&self, _: Turn, _: SharedReport) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

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

#[derive(Debug)]
struct Wire(LinkId);

impl Link for Wire {
    fn id(&self) -> LinkId {
        self.0
    }

    fn send(&self, _: LinkPacket) -> Result<(), SendError> {
        Ok(())
    }

    fn clear_audio(&self) -> usize {
        0
    }

    fn close(&self, _: &'static str) {}
}

struct Rig {
    router: Router,
    store: Arc<CountedStore>,
    links: AtomicUsize,
    _dir: TempDir,
}

impl Rig {
    async fn new(rest_after: Span) -> Self {
        let (dir, store) = (TempDir::new().unwrap(), Arc::new(CountedStore::default()));
        let (shared, clock): (Arc<dyn Store>, Arc<dyn Clock>) = (store.clone(), Arc::new(SystemClock));
        // the run after the one whose numbers the records have
        let numbers = Arc::new(Numbers::new(2));
        let lifelog = Lifelog::open(
            lifelog::Settings::default(),
            dir.path(),
            shared.clone(),
            clock.clone(),
            numbers.clone(),
            &lifelog::Metrics::default(),
        );
        let (settings, random) = (operations::Settings::default(), Arc::new(|| 7));
        let metrics = operations::Metrics::default();
        let operations =
            Operations::open(settings, shared.clone(), numbers.clone(), clock.clone(), random, metrics).await.unwrap();
        let table = Arc::new(Table::builtin("gw").unwrap());
        let delivery = Arc::new(Delivery::new(table, None, delivery::Metrics::default()));
        let voice = crate::audio::Settings::default();
        let parts = telemetry::Parts {
            settings: telemetry::Settings::default(),
            store: Arc::clone(&shared),
            numbers: Arc::clone(&numbers),
            clock: Arc::clone(&clock),
            board: telemetry::Board::new(Arc::new(Nobody), Arc::new(|device| device.as_str().into())),
            metrics: telemetry::Metrics::default(),
        };
        let samples = telemetry::Samples::new(parts);
        let parts = Parts {
            settings: session::Settings { rest_after, ..session::Settings::default() },
            ears: EarParts {
                vad: VadModel::load(None, &voice.vad),
                turn_model: crate::audio::TurnModel::off(),
                settings: voice,
                workers: Workers::new(1, crate::audio::workers::Metrics::default()).unwrap(),
                metrics: crate::audio::Metrics::default(),
            },
            store: shared,
            lifelog: Arc::new(lifelog.unwrap()),
            numbers,
            sink: delivery.clone(),
            bulletins: Arc::new(Nobody),
            clock,
            runner: Arc::new(Nobody),
            samples,
            intake: Arc::new(Nobody),
            alarm: None,
            photos: None,
            operations,
            rooms: session::Rooms::default(),
            random: Arc::new(|| 7),
            boot: 2,
            limits: Limits { packet: 0, image: 0, in_flight: 0 },
            metrics: session::Metrics::default(),
        };
        let router = Router::new(delivery, Arc::new(parts), CancellationToken::new());
        Self { router, store, links: AtomicUsize::new(0), _dir: dir }
    }

    /// Something of an earlier run; a session that is there for two seconds does it.
    async fn leave_something(&self, device: &DeviceId) {
        let mut batch = Batch::new();
        inboxes::put(&mut batch, &Inbox::new(1, device.clone(), InboxKind::Task, json!({}), Wall(1))).unwrap();
        self.store.commit(batch).await.unwrap();
    }

    fn up(&self, device: &DeviceId) -> LinkId {
        let link = LinkId(self.links.fetch_add(1, Ordering::Relaxed) as u64);
        self.router.link_up(device, Arc::new(Wire(link)));
        link
    }

    async fn until(&self, what: &str, done: impl Fn(&[Info]) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !done(&self.router.sessions()) {
            assert!(Instant::now() < until, "{what}: {} sessions", self.router.sessions().len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn device(n: usize) -> DeviceId {
    DeviceId::parse(&format!("cane-{n}")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn devices_that_come_and_go_all_the_time_leave_no_session_behind_and_find_one_when_they_stay() {
    const DEVICES: usize = 40;
    let rig = Arc::new(Rig::new(Span::ms(1)).await);
    for n in 0..DEVICES {
        rig.leave_something(&device(n)).await;
    }
    for round in 0..20 {
        let mut coming = tokio::task::JoinSet::new();
        for n in 0..DEVICES {
            let rig = Arc::clone(&rig);
            coming.spawn(async move {
                for turn in 0..40_u64 {
                    let link = rig.up(&device(n));
                    // a little while of any length, so that it leaves at any moment of its session's start
                    for _ in 0..(turn * 37 + n as u64) % 400 {
                        std::hint::spin_loop();
                    }
                    tokio::task::yield_now().await;
                    rig.router.link_down(&device(n), link);
                    if turn % 8 == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            });
        }
        coming.join_all().await;
        rig.until("all rest", <[Info]>::is_empty).await;
        let links: Vec<_> = (0..DEVICES).map(|n| (n, rig.up(&device(n)))).collect();
        let here = |infos: &[Info]| infos.len() == DEVICES && infos.iter().all(|info| info.online);
        rig.until("all are here", here).await;
        if round % 2 == 0 {
            // they go, and come back in the moment in which their sessions go to rest
            for (n, link) in &links {
                rig.router.link_down(&device(*n), *link);
            }
            tokio::time::sleep(Duration::from_micros(1_000 + 100 * round)).await;
            let links: Vec<_> = (0..DEVICES).map(|n| (n, rig.up(&device(n)))).collect();
            rig.until("all are here again", here).await;
            for (n, link) in &links {
                rig.router.link_down(&device(*n), *link);
            }
        } else {
            for (n, link) in &links {
                rig.router.link_down(&device(*n), *link);
            }
        }
        rig.until("all rest again", <[Info]>::is_empty).await;
    }
}

#[tokio::test]
async fn what_waits_for_others_costs_a_device_that_connects_nothing() {
    let rig = Rig::new(Span::secs(60)).await;
    let mut batch = Batch::new();
    for n in 0..900 {
        let body = json!({"text": "hello"});
        inboxes::put(&mut batch, &Inbox::new(n, device(1), InboxKind::Text, body, Wall(1))).unwrap();
    }
    rig.store.commit(batch).await.unwrap();
    for n in 2..100 {
        rig.up(&device(n));
    }
    rig.router.inner.tasks.close();
    rig.router.inner.tasks.wait().await;
    assert_eq!(rig.store.read.load(Ordering::Relaxed), 0, "records of others that were read");
    assert!(rig.router.sessions().is_empty());
    rig.up(&device(1));
    rig.until("who left something finds a session", |infos| infos.len() == 1 && infos[0].online).await;
}
