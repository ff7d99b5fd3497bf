//! Operations without a device: their steps, their store, their time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use serde_json::json;

use crate::domain::ManualClock;
use crate::door::credentials::tests::MapStore;

use super::*;

struct Bench {
    store: Arc<MapStore>,
    clock: Arc<ManualClock>,
    operations: Arc<Operations>,
}

impl Bench {
    async fn new(settings: Settings) -> Self {
        let (store, clock) = (Arc::new(MapStore::default()), Arc::new(ManualClock::new(Wall(1_000_000))));
        let operations = open(&store, &clock, settings, 1).await;
        Self { store, clock, operations }
    }

    /// The gateway starts again on what is written.
    async fn restart(self) -> Self {
        let operations = open(&self.store, &self.clock, Settings::default(), 2).await;
        Self { operations, ..self }
    }

    async fn outbox(&self) -> Vec<String> {
        let entries = outboxes::list(&*self.store, &cane(), 100).await.unwrap();
        entries.into_iter().map(|entry| entry.msg_id).collect()
    }

    async fn state(&self, id: &str) -> OperationState {
        self.operations.get(id).await.unwrap().unwrap().state
    }
}

async fn open(store: &Arc<MapStore>, clock: &Arc<ManualClock>, settings: Settings, boot: u64) -> Arc<Operations> {
    let (store, clock) = (Arc::clone(store) as Arc<dyn Store>, Arc::clone(clock) as Arc<dyn Clock>);
    let counter = std::sync::atomic::AtomicU64::new(boot << 32);
    let random = Arc::new(move || u128::from(counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
    let numbers = Arc::new(Numbers::new(boot));
    Operations::open(settings, store, numbers, clock, random, Metrics::default()).await.unwrap()
}

fn cane() -> DeviceId {
    DeviceId::parse("cane").unwrap()
}

fn named(id: &str) -> New {
    let payload = json!({"volume": 3}).as_object().unwrap().clone();
    let (kind, by) = (OperationKind::SetConfig, "ada".to_owned());
    New { id: Some(id.to_owned()), device: cane(), kind, payload, time: None, by, batch: None }
}

fn ended(state: OperationState) -> End {
    End { state, result: json!({"ok": true}), error: String::new() }
}

/// 25: an id that was used again took the place of the first.
#[tokio::test]
async fn an_id_that_was_used_is_refused_also_when_its_operation_is_over_and_after_a_restart() {
    let bench = Bench::new(Settings::default()).await;
    bench.operations.begin(named("one")).await.unwrap();
    assert_eq!(bench.operations.begin(named("one")).await, Err(OperationError::Exists("one".into())));
    bench.operations.end("one", ended(OperationState::Acked)).await.unwrap();
    assert_eq!(bench.operations.begin(named("one")).await, Err(OperationError::Exists("one".into())));
    let bench = bench.restart().await;
    assert_eq!(bench.operations.begin(named("one")).await, Err(OperationError::Exists("one".into())));
}

/// 25: operations had no state rules.
#[tokio::test]
async fn who_comes_second_finds_the_operation_over_and_changes_nothing() {
    let bench = Bench::new(Settings::default()).await;
    bench.operations.begin(named("one")).await.unwrap();
    let (first, second) = tokio::join!(
        bench.operations.end("one", ended(OperationState::Canceled)),
        bench.operations.end("one", ended(OperationState::Acked))
    );
    assert!(first.is_ok());
    assert_eq!(second, Err(OperationError::Over("canceled")));
    assert_eq!(bench.state("one").await, OperationState::Canceled);
    assert!(bench.outbox().await.is_empty(), "what was canceled is not sent");
    assert!(bench.operations.sent("one", "s", Some(1)).is_empty());
    assert!(bench.operations.answered(&cane(), "one", ended(OperationState::Acked)).is_empty());
    assert_eq!(bench.operations.end("none", ended(OperationState::Acked)).await, Err(OperationError::Unknown));
}

/// 20: any device could speak for any other.
#[tokio::test]
async fn a_device_ends_no_operation_of_another() {
    let bench = Bench::new(Settings::default()).await;
    bench.operations.begin(named("one")).await.unwrap();
    let mallory = DeviceId::parse("mallory").unwrap();
    assert!(bench.operations.answered(&mallory, "one", ended(OperationState::Acked)).is_empty());
    assert_eq!(bench.state("one").await, OperationState::Queued);
}

/// 25: what was asked of a device that was away was lost.
#[tokio::test]
async fn what_waits_is_there_after_a_restart_and_ends_when_its_time_is_over() {
    let bench = Bench::new(Settings::default()).await;
    bench.operations.begin(named("one")).await.unwrap();
    let soon = New { time: Some(Duration::from_secs(10)), ..named("soon") };
    bench.operations.begin(soon).await.unwrap();
    let bench = bench.restart().await;
    assert_eq!(bench.operations.count(), (2, 2));
    assert_eq!(bench.outbox().await, ["one", "soon"]);
    bench.clock.advance(Duration::from_secs(11));
    bench.operations.expire().await;
    assert_eq!(
        (bench.state("one").await, bench.state("soon").await),
        (OperationState::Queued, OperationState::Expired)
    );
    assert_eq!(bench.outbox().await, ["one"]);
    bench.clock.advance(Duration::from_hours(24));
    bench.operations.expire().await;
    assert_eq!(bench.state("one").await, OperationState::Expired);
}

#[tokio::test]
async fn an_answer_that_was_not_written_is_written_when_it_comes_again() {
    let bench = Bench::new(Settings::default()).await;
    bench.operations.begin(named("one")).await.unwrap();
    bench.store.commit(bench.operations.sent("one", "s", Some(4))).await.unwrap();
    // the commit that this batch went into failed
    assert!(!bench.operations.answered(&cane(), "one", ended(OperationState::Acked)).is_empty());
    let again = bench.operations.answered(&cane(), "one", ended(OperationState::Failed));
    bench.store.commit(again).await.unwrap();
    assert_eq!(bench.state("one").await, OperationState::Acked, "the first word counts");
    assert!(bench.outbox().await.is_empty());
}

#[tokio::test]
async fn too_many_too_long_and_too_large_are_refused() {
    let bench = Bench::new(Settings { per_device: 2, ..Settings::default() }).await;
    for id in ["one", "two"] {
        bench.operations.begin(named(id)).await.unwrap();
    }
    assert!(matches!(bench.operations.begin(named("three")).await, Err(OperationError::Full(_))));
    let long = New { time: Some(Duration::from_hours(400 * 24)), ..named("long") };
    assert!(matches!(bench.operations.begin(long).await, Err(OperationError::Invalid(_))));
    let mut large = named("large");
    large.payload.insert("text".into(), "x".repeat(LARGEST).into());
    assert!(matches!(bench.operations.begin(large).await, Err(OperationError::Invalid(_))));
    let nameless = New { kind: OperationKind::ToolCall, ..named("nameless") };
    assert!(matches!(bench.operations.begin(nameless).await, Err(OperationError::Invalid(_))));
    assert!(matches!(bench.operations.begin(named("a/b")).await, Err(OperationError::Invalid(_))));
}

#[tokio::test]
async fn what_is_over_is_forgotten_when_it_is_old_or_too_much_and_what_waits_is_not() {
    let bench = Bench::new(Settings { kept: 2, ..Settings::default() }).await;
    for id in ["1", "2", "3", "waits"] {
        bench.operations.begin(named(id)).await.unwrap();
        if id != "waits" {
            bench.operations.end(id, ended(OperationState::Acked)).await.unwrap();
        }
    }
    bench.operations.prune().await.unwrap();
    let all = Query { limit: 100, ..Query::default() };
    let left: Vec<String> = bench.operations.list(&all).await.unwrap().into_iter().map(|op| op.id).collect();
    assert_eq!(left, ["waits", "3", "2"]);
    bench.clock.advance(Duration::from_hours(31 * 24));
    bench.operations.prune().await.unwrap();
    assert_eq!(bench.operations.list(&all).await.unwrap().len(), 1);
}
