//! Samples over a real store, with a clock that the test sets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::domain::{Body, Bulletins, ByteSize, Event, ManualClock, QoS, Span, Stream};
use crate::store::testing::open_small;
use crate::wire;

const NOON: u64 = 1_763_700_000_000;

/// What was published, in order.
#[derive(Default)]
struct Noted(Mutex<Vec<(String, Bytes)>>);

impl Bulletins for Noted {
    fn event(&self, _: Event) {}

    fn publish(&self, topic: &str, payload: Bytes, _: QoS, retain: bool) {
        assert!(retain);
        self.0.lock().unwrap().push((topic.to_owned(), payload));
    }

    fn watched(&self, _: &str) -> bool {
        true
    }
}

impl Noted {
    fn take(&self) -> Vec<(String, Value)> {
        let read = |(topic, payload): (String, Bytes)| (topic, serde_json::from_slice(&payload).unwrap_or_default());
        std::mem::take(&mut *self.0.lock().unwrap()).into_iter().map(read).collect()
    }
}

struct Bench {
    samples: Arc<Samples>,
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    noted: Arc<Noted>,
    boot: u64,
    dir: TempDir,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let dir = TempDir::new().unwrap();
        let store = open_small(dir.path()).unwrap().store;
        Self::on(settings, dir, store, 1)
    }

    fn on(settings: Settings, dir: TempDir, store: Arc<dyn Store>, boot: u64) -> Self {
        let (clock, noted) = (Arc::new(ManualClock::new(Wall(NOON))), Arc::new(Noted::default()));
        let samples = Samples::new(Parts {
            settings,
            store: Arc::clone(&store),
            numbers: Arc::new(Numbers::new(boot)),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            board: Board::new(Arc::clone(&noted) as Arc<dyn Bulletins>, Arc::new(|device| device.as_str().into())),
            metrics: Metrics::default(),
        });
        Self { samples, store, clock, noted, boot, dir }
    }

    /// The next run on the same store.
    fn restarted(self, settings: Settings) -> Self {
        Self::on(settings, self.dir, self.store, self.boot + 1)
    }

    /// A device says something; gives when its last sample was kept.
    async fn say(&self, device: &str, said: Value, last: Option<Wall>) -> Option<Wall> {
        let mut batch = Batch::new();
        let (telemetry, now) = (measured(&said), self.clock.wall());
        let kept = self.samples.keep(&mut batch, (&id(device), None), &telemetry, (last, now), false);
        if !batch.is_empty() {
            self.store.commit(batch).await.unwrap();
        }
        kept
    }

    async fn ask(&self, device: Option<&str>) -> Vec<u64> {
        let everything =
            Query { device: device.map(id), session: None, from: Wall(0), to: Wall(u64::MAX), offset: 0, limit: MOST };
        let found = query(&*self.store, &everything).await.unwrap();
        found.iter().map(|one| one.at.0 - NOON).collect()
    }

    fn bytes(&self) -> u64 {
        self.samples.bytes.load(Ordering::Relaxed)
    }

    fn pass(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }
}

fn id(device: &str) -> DeviceId {
    DeviceId::parse(device).unwrap()
}

fn measured(said: &Value) -> Telemetry {
    let body = wire::decode("native", Stream::Telemetry, &Bytes::from(said.to_string()), &id("cane-1")).unwrap();
    let Body::Telemetry(mut all) = body else { panic!("no telemetry") };
    all.remove(0)
}

fn every() -> Settings {
    Settings { sample_every: Span::secs(0), ..Settings::default() }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    assert!(Settings::default().check("telemetry").is_empty());
    let wrong = Settings {
        sample_every: Span::days(2),
        retention: Span::secs(1),
        retention_size: ByteSize::kb(1),
        ..Settings::default()
    };
    let keys: Vec<String> = wrong.check("telemetry").into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["telemetry.sample_every", "telemetry.retention", "telemetry.retention_size"]);
}

#[tokio::test]
async fn a_device_that_measures_ten_times_a_second_is_kept_once_a_minute() {
    let bench = Bench::new(Settings::default());
    let mut last = None;
    for _ in 0..1_300 {
        last = bench.say("cane-1", json!({"soc": 50}), last).await;
        bench.pass(100);
    }
    assert_eq!(bench.ask(Some("cane-1")).await, [120_000, 60_000, 0]);
    // a clock that was set back does not silence it
    bench.clock.set_wall(Wall(NOON - 5));
    assert_eq!(bench.say("cane-1", json!({"soc": 50}), last).await, Some(Wall(NOON - 5)));
}

#[tokio::test]
async fn nothing_is_kept_without_a_clock_or_when_it_is_off() {
    let bench = Bench::new(Settings { keep: false, ..every() });
    assert_eq!(bench.say("cane-1", json!({"soc": 50}), None).await, None);
    let bench = bench.restarted(every());
    bench.clock.set_wall(Wall(0));
    assert_eq!(bench.say("cane-1", json!({"soc": 50}), None).await, None);
    assert!(bench.ask(None).await.is_empty());
}

#[tokio::test]
async fn a_devices_own_words_are_kept_beside_and_never_without_a_bound() {
    let bench = Bench::new(every());
    bench.say("cane-1", json!({"SOC": "81", "ts": 5, "seq": 3}), None).await;
    bench.pass(1);
    bench.say("cane-1", json!({"soc": 80, "blob": "x".repeat(100_000)}), None).await;
    let all = Query { device: None, session: None, from: Wall(0), to: Wall(u64::MAX), offset: 0, limit: 0 };
    let found = query(&*bench.store, &all).await.unwrap();
    assert_eq!(Value::Object(found[1].raw.clone().unwrap()), json!({"SOC": "81", "ts": 5, "seq": 3}));
    assert_eq!((found[1].ts, found[1].seq), (Some(5), Some(3)));
    assert_eq!(Value::Object(found[1].sample.clone()), json!({"battery": {"percent": 81}}));
    assert_eq!((found[0].raw.clone(), found[0].sample["battery"].clone()), (None, json!({"percent": 80})));
    assert!(found[0].too_long > 100_000 && bench.bytes() < 2_000, "{} {}", found[0].too_long, bench.bytes());
}

#[tokio::test]
async fn samples_that_are_not_normalised_are_the_devices_own_words_and_there_is_no_latest_value() {
    let bench = Bench::new(Settings { normalize: false, ..every() });
    bench.say("cane-1", json!({"soc": 81}), None).await;
    let all = Query { device: None, session: None, from: Wall(0), to: Wall(u64::MAX), offset: 0, limit: 0 };
    let found = query(&*bench.store, &all).await.unwrap();
    assert!(found[0].sample.is_empty() && found[0].schema.is_empty() && found[0].raw.is_some());
    bench.samples.board.flush(&bench.samples.metrics);
    assert_eq!(bench.noted.take(), []);
}

#[tokio::test]
async fn what_is_too_old_is_swept_and_nothing_else() {
    let bench = Bench::new(Settings { retention: Span::secs(3_600), ..every() });
    for n in 0..1_200 {
        bench.say(if n % 2 == 0 { "cane-1" } else { "cane-10" }, json!({"soc": 50}), None).await;
        bench.pass(6_000);
    }
    bench.samples.sweep().await.unwrap();
    // 7200 s have passed: what arrived from 3600 s on stays
    let left = bench.ask(None).await;
    assert_eq!((left.len(), left.first(), left.last()), (600, Some(&7_194_000), Some(&3_600_000)));
    assert!(left.is_sorted_by(|a, b| a > b), "newest first");
    assert_eq!(bench.ask(Some("cane-1")).await.len(), 300, "each device has its own");
    // without a clock nothing is old
    bench.clock.set_wall(Wall(0));
    bench.samples.sweep().await.unwrap();
    assert_eq!(bench.ask(None).await.len(), 600);
}

#[tokio::test]
async fn what_is_too_much_goes_oldest_first_whoever_measured_it() {
    let settings = Settings { retention_size: ByteSize::kb(64), ..every() };
    let bench = Bench::new(settings.clone());
    for n in 0..600 {
        bench.say(if n < 500 { "loud" } else { "quiet" }, json!({"soc": 50}), None).await;
        bench.pass(1_000);
    }
    let before = bench.bytes();
    assert!(before > 64 << 10, "{before}");
    bench.samples.sweep().await.unwrap();
    assert!(bench.bytes() <= 64 << 10 && bench.bytes() > 63 << 10, "{}", bench.bytes());
    assert_eq!(bench.ask(Some("quiet")).await.len(), 100);
    let (after, count) = (bench.bytes(), bench.ask(None).await.len());
    // the next run counts the same
    let bench = bench.restarted(settings);
    bench.samples.count().await.unwrap();
    assert_eq!((bench.bytes(), bench.ask(None).await.len()), (after, count));
}

#[tokio::test]
async fn a_query_is_one_of_a_time_a_session_and_a_place_in_the_list() {
    let bench = Bench::new(every());
    let session = SessionId::parse("s-1").unwrap();
    for n in 0..700_u64 {
        let mut batch = Batch::new();
        let whose = id("cane-1");
        let session = (n % 7 == 0).then_some(&session);
        bench.samples.keep(&mut batch, (&whose, session), &measured(&json!({"n": n})), (None, Wall(NOON + n)), false);
        bench.store.commit(batch).await.unwrap();
    }
    let ask = |session: Option<&str>, from, to, offset, limit| Query {
        device: Some(id("cane-1")),
        session: session.map(str::to_owned),
        from: Wall(NOON + from),
        to: Wall(NOON + to),
        offset,
        limit,
    };
    let at = async |asked: Query| -> Vec<u64> {
        query(&*bench.store, &asked).await.unwrap().iter().map(|one| one.at.0 - NOON).collect()
    };
    assert_eq!(at(ask(None, 10, 12, 0, 0)).await, [12, 11, 10]);
    assert_eq!(at(ask(None, 0, 999, 300, 2)).await, [399, 398]);
    assert_eq!(at(ask(Some("s-1"), 0, 999, 98, 9)).await, [7, 0]);
    assert_eq!(at(ask(Some("s-2"), 0, 999, 0, 9)).await, [0_u64; 0]);
    assert_eq!(at(ask(None, 0, 999, 0, 0)).await.len(), LIMIT);
    assert_eq!(at(Query { device: None, ..ask(Some("s-1"), 0, 999, 0, 500) }).await.len(), 100);
}

#[tokio::test]
async fn the_latest_value_is_the_last_of_each_group_and_is_published_when_it_changes() {
    let bench = Bench::new(Settings::default());
    bench.say("cane-1", json!({"soc": 81, "fw": "1.2"}), None).await;
    bench.say("cane-1", json!({"rssi": -67, "ts": 9}), None).await;
    bench.say("cane-1", json!({"soc": 80, "rssi": -60}), None).await;
    bench.samples.board.flush(&bench.samples.metrics);
    bench.samples.board.flush(&bench.samples.metrics);
    let want = json!({
        "battery": {"percent": 80}, "network": {"rssi_dbm": -60}, "schema": SCHEMA, "ts": NOON,
    });
    assert_eq!(bench.noted.take(), [("cane-1".to_owned(), want)]);
}

#[tokio::test]
async fn the_latest_value_comes_back_after_a_restart_and_newer_words_win() {
    let bench = Bench::new(every());
    bench.say("cane-1", json!({"soc": 81}), None).await;
    bench.pass(1);
    bench.say("cane-1", json!({"rssi": -67}), None).await;
    let bench = bench.restarted(every());
    // it says something before what it said before is read
    bench.say("cane-1", json!({"rssi": -50}), None).await;
    bench.samples.recall(vec![id("cane-1"), id("silent")]).await.unwrap();
    bench.samples.board.flush(&bench.samples.metrics);
    let published = bench.noted.take();
    assert_eq!(published.len(), 1, "who never said anything has no value: {published:?}");
    assert_eq!(
        (&published[0].1["battery"]["percent"], &published[0].1["network"]["rssi_dbm"]),
        (&json!(81), &json!(-50))
    );
    let bench = bench.restarted(Settings { latest: false, ..every() });
    bench.samples.recall(vec![id("cane-1")]).await.unwrap();
    assert_eq!(bench.noted.take(), [("cane-1".to_owned(), Value::Null)], "switched off, it is taken back");
}

#[tokio::test]
async fn what_a_removed_device_still_says_is_not_published() {
    let bench = Bench::new(every());
    bench.say("cane-1", json!({"soc": 81}), None).await;
    bench.samples.board().forget(&id("cane-1"));
    bench.say("cane-1", json!({"soc": 80}), None).await;
    bench.samples.board.flush(&bench.samples.metrics);
    assert_eq!(bench.noted.take(), [("cane-1".to_owned(), Value::Null)]);
    bench.samples.board().welcome(&id("cane-1"));
    bench.say("cane-1", json!({"soc": 79}), None).await;
    bench.samples.board.flush(&bench.samples.metrics);
    assert_eq!(bench.noted.take()[0].1["battery"]["percent"], 79);
}
