//! A station: one engine's threads behind a bounded queue, with its state for `/health`.
//!
//! Each thread owns a worker (a Whisper state, a chat context) made from one shared model. A model that is
//! missing is looked for again at the next call, so that `voxgate models pull` needs no restart. The
//! station knows queues, threads and time; it must not know what its model does.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::EngineError;
use super::cores::{Cores, Pass, Urgency};

/// So many past durations make the p99.
const REMEMBERED: usize = 100;
/// A step that takes less than this is never called hung.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something that is loaded once and worked with on several threads.
pub trait Model: Send + Sync + Sized + 'static {
    /// What one thread needs of its own.
    type Worker;
    /// Makes it.
    fn worker(self: &Arc<Self>) -> Result<Self::Worker, EngineError>;
}

/// How a station is set up.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// `stt`, `chat`, `tts`, `embed`.
    pub name: &'static str,
    /// Threads.
    pub threads: usize,
    /// Calls that may wait.
    pub queue: usize,
    /// Place in the line for cores.
    pub urgency: Urgency,
    /// None: loaded at start. Some: loaded at the first call, and forgotten after so long without one.
    pub idle: Option<Duration>,
}

/// What `/health` says of a station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `ready`, `loading`, `asleep` (loaded at the first call), `missing`, `failed` or `off`.
    pub state: &'static str,
    /// What is wrong and what mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Calls that wait.
    pub waiting: usize,
    /// Calls that run.
    pub running: usize,
    /// A call has shown no progress for three times the p99 and at least 5 s.
    pub hung: bool,
}

impl Health {
    /// Of an engine that the configuration switches off.
    pub fn off() -> Self {
        Self { state: "off", reason: None, waiting: 0, running: 0, hung: false }
    }
}

type Job<M> = Box<dyn FnOnce(Result<&mut <M as Model>::Worker, EngineError>, &Desk) + Send>;

/// What a running call may use.
pub struct Desk {
    cores: Arc<Cores>,
    urgency: Urgency,
    log: Arc<Log>,
    seat: usize,
}

impl Desk {
    /// Waits for a core. The wait does not count as silence of the engine.
    pub fn core(&self) -> Pass {
        self.waits(|| self.cores.enter(self.urgency))
    }

    /// Lets more urgent calls in, then goes on.
    pub fn breathe(&self, pass: Pass) -> Pass {
        self.waits(|| pass.breathe())
    }

    fn waits(&self, wait: impl FnOnce() -> Pass) -> Pass {
        self.progress();
        self.mark(None);
        let pass = wait();
        self.mark(Some(Instant::now()));
        pass
    }

    fn mark(&self, running: Option<Instant>) {
        if let Some(seat) = self.log.lock().running.get_mut(self.seat) {
            *seat = running;
        }
    }

    /// A sign of life of a long call.
    pub fn progress(&self) {
        let mut log = self.log.lock();
        if let Some(since) = log.running.get_mut(self.seat).and_then(Option::as_mut) {
            let step = since.elapsed();
            *since = Instant::now();
            log.remember(step);
        }
    }
}

/// State and times, shared by the threads of a station.
#[derive(Default)]
struct Log(Mutex<Times>);

#[derive(Default)]
struct Times {
    state: State,
    /// Last sign of life of each thread's running call.
    running: Vec<Option<Instant>>,
    past: VecDeque<Duration>,
}

#[derive(Default, Clone)]
enum State {
    #[default]
    Asleep,
    Loading,
    Ready,
    Broken(EngineError),
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Times {
    fn remember(&mut self, step: Duration) {
        if self.past.len() == REMEMBERED {
            self.past.pop_front();
        }
        self.past.push_back(step);
    }

    fn hung(&self) -> bool {
        let mut past: Vec<_> = self.past.iter().copied().collect();
        past.sort_unstable();
        let p99 = past.get(past.len() * 99 / 100).or(past.last()).copied().unwrap_or_default();
        let limit = PATIENCE.max(p99 * 3);
        // While it loads, the disk sets the pace.
        !matches!(self.state, State::Loading) && self.running.iter().flatten().any(|since| since.elapsed() > limit)
    }
}

/// The threads of one engine. Dropping it lets them finish what they are at.
pub struct Station<M: Model> {
    queue: Sender<Job<M>>,
    log: Arc<Log>,
    missing: Arc<dyn Fn() -> Option<EngineError> + Send + Sync>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl<M: Model> Station<M> {
    /// Starts the threads. `missing` says quickly what is not there; `load` loads.
    pub fn start(
        plan: Plan,
        cores: &Arc<Cores>,
        missing: impl Fn() -> Option<EngineError> + Send + Sync + 'static,
        load: impl Fn() -> Result<M, EngineError> + Send + Sync + 'static,
    ) -> Result<Self, EngineError> {
        let threads = plan.threads.max(1);
        let (queue, jobs) = crossbeam_channel::bounded(plan.queue.max(1));
        let log = Arc::new(Log::default());
        log.lock().running = vec![None; threads];
        if plan.idle.is_none() {
            log.lock().state = State::Loading;
        }
        let missing: Arc<dyn Fn() -> Option<EngineError> + Send + Sync> = Arc::new(missing);
        let shelf = Arc::new(Shelf { model: Mutex::new(None), load: Box::new(load), missing: Arc::clone(&missing) });
        let mut handles = Vec::with_capacity(threads);
        for seat in 0..threads {
            let desk = Desk { cores: Arc::clone(cores), urgency: plan.urgency, log: Arc::clone(&log), seat };
            let (jobs, shelf) = (jobs.clone(), Arc::clone(&shelf));
            let handle = std::thread::Builder::new()
                .name(format!("{}-{seat}", plan.name))
                .spawn(move || sit(plan, &jobs, &shelf, &desk))
                .map_err(|e| EngineError::Failed(format!("no thread for {}: {e}", plan.name)))?;
            handles.push(handle);
        }
        Ok(Self { queue, log, missing, threads: handles })
    }

    /// Puts a call into the queue. It runs even when nobody waits for it any more: look at your channel first.
    pub fn post(
        &self,
        job: impl FnOnce(Result<&mut M::Worker, EngineError>, &Desk) + Send + 'static,
    ) -> Result<(), EngineError> {
        self.queue.try_send(Box::new(job)).map_err(|error| match error {
            TrySendError::Full(_) => EngineError::Busy,
            TrySendError::Disconnected(_) => EngineError::Stopping,
        })
    }

    /// Runs a call and waits for its answer. Dropping the future before its turn skips it.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut M::Worker, &Desk) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.post(move |worker, desk| {
            if !reply.is_closed() {
                let _gone = reply.send(worker.and_then(|worker| work(worker, desk)));
            }
        })?;
        answer.await.unwrap_or_else(|_| Err(EngineError::Failed("the call ended without an answer".into())))
    }

    /// How it is.
    pub fn health(&self) -> Health {
        let missing = (self.missing)();
        let log = self.log.lock();
        let (state, reason) = match (&log.state, missing) {
            (State::Ready, _) => ("ready", None),
            (State::Loading, _) => ("loading", None),
            (_, Some(error)) => ("missing", Some(error.to_string())),
            (State::Broken(EngineError::Missing(_)) | State::Asleep, None) => ("asleep", None),
            (State::Broken(error), None) => ("failed", Some(error.to_string())),
        };
        let running = log.running.iter().flatten().count();
        Health { state, reason, waiting: self.queue.len(), running, hung: log.hung() }
    }

    /// Takes no more calls, and blocks until those that run have ended.
    pub fn close(self) {
        drop(self.queue);
        for thread in self.threads {
            // A thread that panicked has said so.
            let _ended = thread.join();
        }
    }
}

/// The shared model, if it is loaded.
struct Shelf<M> {
    model: Mutex<Option<Arc<M>>>,
    load: Box<dyn Fn() -> Result<M, EngineError> + Send + Sync>,
    missing: Arc<dyn Fn() -> Option<EngineError> + Send + Sync>,
}

impl<M: Model> Shelf<M> {
    /// A worker on the shared model, which is loaded if need be; others wait meanwhile.
    fn worker(&self, name: &str, log: &Log) -> Result<M::Worker, EngineError> {
        let mut shared = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        let model = if let Some(model) = &*shared {
            Arc::clone(model)
        } else {
            Arc::clone(shared.insert(Arc::new(self.fetch(name, log)?)))
        };
        let worker = model.worker();
        log.lock().state = worker.as_ref().err().map_or(State::Ready, |error| State::Broken(error.clone()));
        worker
    }

    fn fetch(&self, name: &str, log: &Log) -> Result<M, EngineError> {
        let before = std::mem::replace(&mut log.lock().state, State::Loading);
        let begin = Instant::now();
        let loaded = (self.missing)().map_or_else(|| (self.load)(), Err);
        match &loaded {
            Ok(_) => tracing::info!(engine = name, ms = begin.elapsed().as_millis(), "engine loaded"),
            Err(error) => {
                // Each call looks again: the log is told once.
                if !matches!(before, State::Broken(former) if former == *error) {
                    tracing::warn!(engine = name, %error, "engine not available");
                }
                log.lock().state = State::Broken(error.clone());
            }
        }
        loaded
    }

    fn forget(&self, log: &Log) {
        *self.model.lock().unwrap_or_else(PoisonError::into_inner) = None;
        log.lock().state = State::Asleep;
    }
}

/// A thread's life.
fn sit<M: Model>(plan: Plan, jobs: &Receiver<Job<M>>, shelf: &Shelf<M>, desk: &Desk) {
    let mut worker = if plan.idle.is_none() { shelf.worker(plan.name, &desk.log).ok() } else { None };
    loop {
        let job = match plan.idle.filter(|_| worker.is_some()) {
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(idle) => jobs.recv_timeout(idle),
        };
        let job = match job {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                worker = None;
                shelf.forget(&desk.log);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        desk.mark(Some(Instant::now()));
        let made = match worker.take() {
            Some(worker) => Ok(worker),
            None => shelf.worker(plan.name, &desk.log),
        };
        worker = run::<M>(plan.name, job, made, desk);
        desk.progress();
        desk.mark(None);
    }
}

/// Runs one call; a worker that panicked is not used again.
fn run<M: Model>(name: &str, job: Job<M>, made: Result<M::Worker, EngineError>, desk: &Desk) -> Option<M::Worker> {
    let outcome = catch_unwind(AssertUnwindSafe(|| match made {
        Ok(mut worker) => {
            job(Ok(&mut worker), desk);
            Some(worker)
        }
        Err(error) => {
            job(Err(error), desk);
            None
        }
    }));
    outcome.unwrap_or_else(|_| {
        tracing::error!(engine = name, "an engine call panicked");
        None
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    #![allow(clippy::unnecessary_wraps, reason = "a station takes functions that may fail")]

    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    struct Counter(AtomicUsize);

    impl Model for Counter {
        type Worker = Arc<Counter>;
        fn worker(self: &Arc<Self>) -> Result<Arc<Counter>, EngineError> {
            Ok(Arc::clone(self))
        }
    }

    fn plan(queue: usize, idle: Option<Duration>) -> Plan {
        Plan { name: "test", threads: 1, queue, urgency: Urgency::Chat, idle }
    }

    fn counter() -> Result<Counter, EngineError> {
        Ok(Counter(AtomicUsize::new(0)))
    }

    fn count(worker: &mut Arc<Counter>, _: &Desk) -> Result<usize, EngineError> {
        Ok(worker.0.fetch_add(1, Ordering::SeqCst) + 1)
    }

    #[tokio::test]
    async fn a_missing_model_is_said_and_found_without_a_restart() {
        let there = Arc::new(AtomicBool::new(false));
        let look = Arc::clone(&there);
        let missing =
            move || (!look.load(Ordering::SeqCst)).then(|| EngineError::Missing("missing: run x".to_string()));
        let station = Station::start(plan(4, None), &Cores::new(1, 1), missing, counter).unwrap();
        assert_eq!(station.call(count).await, Err(EngineError::Missing("missing: run x".into())));
        assert_eq!(station.health().state, "missing");
        there.store(true, Ordering::SeqCst);
        assert_eq!(station.call(count).await, Ok(1));
        assert_eq!(station.health().state, "ready");
    }

    #[tokio::test]
    async fn a_call_that_panics_fails_alone() {
        let station = Station::start(plan(4, None), &Cores::new(1, 1), || None, counter).unwrap();
        let broken: Result<(), _> = station.call(|_, _| panic!("on purpose")).await;
        assert!(matches!(broken, Err(EngineError::Failed(_))));
        assert_eq!(station.call(count).await, Ok(1));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_instead_of_growing() {
        let station = Station::start(plan(1, None), &Cores::new(1, 1), || None, counter).unwrap();
        let (started, running) = std::sync::mpsc::sync_channel(1);
        let (go, gate) = std::sync::mpsc::sync_channel::<()>(1);
        station
            .post(move |_, _| {
                started.send(()).unwrap();
                let _ = gate.recv();
            })
            .unwrap();
        running.recv().unwrap();
        assert_eq!(station.health().running, 1);
        station.post(|_, _| {}).unwrap();
        assert_eq!(station.post(|_, _| {}), Err(EngineError::Busy));
        go.send(()).unwrap();
    }

    #[tokio::test]
    async fn a_model_that_nobody_uses_leaves_memory_and_comes_back() {
        let loads = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&loads);
        let load = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            counter()
        };
        let idle = Some(Duration::from_millis(1));
        let station = Station::start(plan(4, idle), &Cores::new(1, 1), || None, load).unwrap();
        assert_eq!((station.health().state, loads.load(Ordering::SeqCst)), ("asleep", 0));
        assert_eq!(station.call(count).await, Ok(1));
        while station.health().state != "asleep" {
            tokio::task::yield_now().await;
        }
        assert_eq!(station.call(count).await, Ok(1));
        assert_eq!(loads.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn silence_is_hung_only_far_beyond_what_is_usual() {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(
            async {
                let mut times = Times { running: vec![Some(Instant::now())], ..Times::default() };
                tokio::time::advance(Duration::from_secs(4)).await;
                assert!(!times.hung());
                tokio::time::advance(Duration::from_secs(2)).await;
                assert!(times.hung());
                times.remember(Duration::from_secs(3));
                assert!(!times.hung(), "9 s are usual here");
                times.state = State::Loading;
                tokio::time::advance(Duration::from_mins(1)).await;
                assert!(!times.hung());
            },
        );
    }
}
