//! Tasks without a gateway: their steps, their store, their time, and the agent with a scripted model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod agent;
mod steps;
mod tools;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use tokio::task::JoinHandle;

use super::*;
use crate::domain::ManualClock;
use crate::door::credentials::tests::MapStore;
use crate::store::records::Outbox;
use crate::store::{Key, Page, Range};

/// A store in memory whose disk may be full.
#[derive(Default)]
struct Disk {
    map: MapStore,
    full: AtomicBool,
}

impl Store for Disk {
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<CommitNo, StoreError>> {
        if self.full.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Write("full".to_owned())) });
        }
        self.map.commit(batch)
    }

    fn get(&self, key: Key) -> BoxFuture<'static, Result<Option<Vec<u8>>, StoreError>> {
        self.map.get(key)
    }

    fn scan(&self, range: Range) -> BoxFuture<'static, Result<Page, StoreError>> {
        self.map.scan(range)
    }
}

/// Works as its goal says: `hang`, `panic`, `fail`, `wait N` seconds; counts what runs at once.
#[derive(Default)]
struct Script {
    now: AtomicUsize,
    most: AtomicUsize,
    begun: AtomicUsize,
}

/// Counts down also when the work is dropped.
struct Running(Arc<Script>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Worker(Arc<Script>);

impl Work for Worker {
    fn work(&self, task: Task, steps: Steps) -> BoxFuture<'static, Outcome> {
        let script = Arc::clone(&self.0);
        async move {
            script.begun.fetch_add(1, Ordering::SeqCst);
            let now = script.now.fetch_add(1, Ordering::SeqCst) + 1;
            let _running = Running(Arc::clone(&script));
            script.most.fetch_max(now, Ordering::SeqCst);
            steps.note("tool", true, "looked").await;
            match task.goal.split_once(' ').unwrap_or((&task.goal, "")) {
                ("hang", _) => std::future::pending().await,
                ("panic", _) => panic!("as it was told"),
                ("fail", _) => Outcome::NotDone { text: "No table is free.".into(), error: "nothing found".into() },
                ("wait", seconds) => {
                    tokio::time::sleep(Duration::from_secs(seconds.parse().unwrap())).await;
                    Outcome::Done("waited".into())
                }
                _ => Outcome::Done("A table is booked.".into()),
            }
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// A device with two tools, which notes what is asked of it.
#[derive(Default)]
struct Phone {
    woken: AtomicUsize,
    called: Mutex<Vec<String>>,
}

#[async_trait]
impl Devices for Phone {
    async fn tools(&self, _: &DeviceId) -> Vec<DeviceTool> {
        let tool = |name: &str| DeviceTool {
            name: name.to_owned(),
            description: "d".to_owned(),
            parameters: json!({"type": "object"}),
        };
        vec![tool("self.light.set"), tool("self.page")]
    }

    async fn call(&self, _: &DeviceId, name: &str, arguments: Value) -> Result<String, String> {
        self.called.lock().unwrap().push(format!("{name} {arguments}"));
        match name {
            "self.light.set" => Ok("the light is on".into()),
            _ => Ok("x".repeat(100_000)),
        }
    }

    async fn state(&self, _: &DeviceId) -> Value {
        json!({"connected": true})
    }

    fn outbox_changed(&self, _: &DeviceId) {
        self.woken.fetch_add(1, Ordering::SeqCst);
    }
}

struct Bench {
    store: Arc<Disk>,
    clock: Arc<ManualClock>,
    tasks: Arc<Tasks>,
    script: Arc<Script>,
    phone: Arc<Phone>,
    running: Option<(JoinHandle<()>, CancellationToken)>,
    settings: Settings,
    boot: u64,
}

impl Bench {
    /// Tasks that nobody works on yet.
    async fn new(settings: Settings) -> Self {
        let (store, clock) = (Arc::new(Disk::default()), Arc::new(ManualClock::new(Wall(1_000_000))));
        let tasks = open(&store, &clock, settings.clone(), 1).await;
        let (script, phone) = (Arc::default(), Arc::default());
        Self { store, clock, tasks, script, phone, running: None, settings, boot: 1 }
    }

    /// The same, at work.
    async fn at_work(settings: Settings) -> Self {
        let mut bench = Self::new(settings).await;
        bench.work();
        bench
    }

    fn work(&mut self) {
        let stop = CancellationToken::new();
        let work = Arc::new(Worker(Arc::clone(&self.script)));
        let devices = Arc::clone(&self.phone) as Arc<dyn Devices>;
        let running = tokio::spawn(Arc::clone(&self.tasks).run(work, devices, stop.clone()));
        self.running = Some((running, stop));
    }

    /// The gateway is killed, and starts again on what is written.
    async fn crash(mut self) -> Self {
        if let Some((running, _)) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
        self.again().await
    }

    /// The gateway stops, and starts again on what is written.
    async fn restart(mut self) -> Self {
        if let Some((running, stop)) = self.running.take() {
            stop.cancel();
            running.await.unwrap();
        }
        self.again().await
    }

    async fn again(mut self) -> Self {
        self.boot += 1;
        self.tasks = open(&self.store, &self.clock, self.settings.clone(), self.boot).await;
        self.work();
        self
    }

    async fn begin(&self, id: &str, goal: &str) -> Result<Task, TaskError> {
        self.tasks.begin(named(id, goal)).await
    }

    async fn task(&self, id: &str) -> Task {
        self.tasks.get(id).await.unwrap().unwrap()
    }

    /// Waits until a task is in a state; time stands still but for timers.
    async fn until(&self, id: &str, state: TaskState) -> Task {
        for _ in 0..100_000 {
            let task = self.task(id).await;
            if task.state == state {
                return task;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{id} stays {:?}", self.task(id).await)
    }

    async fn outbox(&self) -> Vec<Outbox> {
        outboxes::list(&*self.store, &cane(), 100).await.unwrap()
    }
}

async fn open(store: &Arc<Disk>, clock: &Arc<ManualClock>, settings: Settings, boot: u64) -> Arc<Tasks> {
    let counter = AtomicU64::new(boot << 24);
    let parts = Parts {
        settings,
        store: Arc::clone(store) as Arc<dyn Store>,
        numbers: Arc::new(Numbers::new(boot)),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        random: Arc::new(move || u128::from(counter.fetch_add(1, Ordering::Relaxed))),
        words: Arc::new(Words::builtin().unwrap()),
        metrics: Metrics::default(),
    };
    Tasks::open(parts).await.unwrap()
}

fn cane() -> DeviceId {
    DeviceId::parse("cane").unwrap()
}

fn named(id: &str, goal: &str) -> New {
    New {
        id: Some(id.to_owned()),
        goal: goal.to_owned(),
        session: None,
        device: Some(cane()),
        timeout: None,
        notify: true,
        speak: true,
        interrupt_previous: false,
        steps: Vec::new(),
        by: "ada".to_owned(),
    }
}
