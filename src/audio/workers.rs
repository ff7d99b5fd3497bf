//! Threads for codec work, so that no encode or decode ever runs on the async runtime.
//!
//! A fixed number of threads, a bounded queue in front. Jobs are milliseconds long; models with seconds of work
//! have threads of their own.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, oneshot};

/// Base names of what is counted.
pub mod names {
    /// Jobs that wait.
    pub const QUEUED: &str = "voxgate_codec_jobs_queued";
    /// Threads at work.
    pub const BUSY: &str = "voxgate_codec_threads_busy";
    /// Jobs that panicked.
    pub const PANICS: &str = "voxgate_codec_job_panics";
}

/// Jobs that may wait for each thread; then the callers wait.
const QUEUE_PER_THREAD: usize = 256;

/// Why a job has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkersError {
    /// The threads have stopped.
    #[error("the codec threads have stopped")]
    Stopped,
    /// The job panicked; others go on.
    #[error("a codec job panicked: {0}")]
    Panicked(String),
    /// A thread could not be started.
    #[error("cannot start a codec thread: {0}")]
    Spawn(String),
}

/// Gauges of the threads; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    queued: Gauge,
    busy: Gauge,
    panics: Counter,
}

impl Metrics {
    /// Registers the gauges.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(names::QUEUED, "Codec jobs that wait for a thread", metrics.queued.clone());
        registry.register(names::BUSY, "Codec threads at work", metrics.busy.clone());
        registry.register(names::PANICS, "Codec jobs that panicked", metrics.panics.clone());
        metrics
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A pool of codec threads; clones share it. They end when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Workers {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    jobs: Option<Sender<Job>>,
    room: Arc<Semaphore>,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    queued: AtomicUsize,
    busy: AtomicUsize,
    metrics: Metrics,
}

impl State {
    fn queue(&self, up: bool) {
        count(&self.queued, &self.metrics.queued, up);
    }

    fn work(&self, up: bool) {
        count(&self.busy, &self.metrics.busy, up);
    }
}

fn count(number: &AtomicUsize, gauge: &Gauge, up: bool) {
    if up {
        number.fetch_add(1, Ordering::Relaxed);
        gauge.inc();
    } else {
        number.fetch_sub(1, Ordering::Relaxed);
        gauge.dec();
    }
}

impl Workers {
    /// Starts `threads` threads (at least one) for codec work.
    pub fn new(threads: usize, metrics: Metrics) -> Result<Self, WorkersError> {
        Self::named("codec", threads, metrics)
    }

    /// The same for other work; the threads are called by this name and a number.
    pub fn named(name: &str, threads: usize, metrics: Metrics) -> Result<Self, WorkersError> {
        let threads = threads.max(1);
        let (jobs, inbox) = bounded::<Job>(threads * QUEUE_PER_THREAD);
        let state = Arc::new(State { metrics, ..State::default() });
        let spawn = |n| {
            let inbox = inbox.clone();
            let thread = std::thread::Builder::new().name(format!("{name}-{n}")).spawn(move || serve(&inbox));
            thread.map_err(|error| WorkersError::Spawn(error.to_string()))
        };
        let handles: Vec<_> = (0..threads).map(spawn).collect::<Result<_, _>>()?;
        let room = Arc::new(Semaphore::new(threads * QUEUE_PER_THREAD));
        Ok(Self { pool: Arc::new(Pool { jobs: Some(jobs), room, state, threads: handles }) })
    }

    /// Runs `job` on a thread and gives its result; waits where the queue is full. A job whose caller has gone
    /// (a cancelled turn) is not begun.
    pub async fn run<T, F>(&self, job: F) -> Result<T, WorkersError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let permit = Arc::clone(&self.pool.room).acquire_owned().await.map_err(|_| WorkersError::Stopped)?;
        let (answer, result) = oneshot::channel();
        let state = Arc::clone(&self.pool.state);
        state.queue(true);
        let task: Job = Box::new(move || {
            // Held to here: as many permits as places in the channel, so that sending never blocks.
            drop(permit);
            state.queue(false);
            if answer.is_closed() {
                return;
            }
            state.work(true);
            let done = catch_unwind(AssertUnwindSafe(job)).map_err(|panic| {
                state.metrics.panics.inc();
                WorkersError::Panicked(panic_text(&*panic))
            });
            state.work(false);
            // The caller may have gone meanwhile.
            answer.send(done).ok();
        });
        let sent = self.pool.jobs.as_ref().is_some_and(|jobs| jobs.try_send(task).is_ok());
        if !sent {
            self.pool.state.queue(false);
            return Err(WorkersError::Stopped);
        }
        result.await.map_err(|_| WorkersError::Stopped)?
    }

    /// Jobs that wait for a thread.
    pub fn queued(&self) -> usize {
        self.pool.state.queued.load(Ordering::Relaxed)
    }

    /// Threads at work.
    pub fn busy(&self) -> usize {
        self.pool.state.busy.load(Ordering::Relaxed)
    }
}

fn serve(inbox: &Receiver<Job>) {
    for job in inbox {
        job();
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        let here = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // The last clone may be dropped by a job.
            if thread.thread().id() != here && thread.join().is_err() {
                tracing::error!("a codec thread had panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is what a panic is for")]

    use super::*;

    #[tokio::test]
    async fn a_panic_is_that_job_s_error_only() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let workers = Workers::new(1, metrics.clone()).unwrap();
        let failed = workers.run(|| -> u32 { panic!("bad packet {}", 7) }).await;
        assert_eq!(failed, Err(WorkersError::Panicked("bad packet 7".to_owned())));
        assert_eq!(workers.run(|| 41 + 1).await, Ok(42));
        assert_eq!((metrics.panics.get(), workers.busy(), workers.queued()), (1, 0, 0));
    }

    #[tokio::test]
    async fn a_job_whose_caller_has_gone_is_not_begun() {
        let workers = Workers::new(1, Metrics::default()).unwrap();
        let (release, gate) = bounded::<()>(1);
        let (started, entered) = oneshot::channel();
        let blocker = {
            let workers = workers.clone();
            tokio::spawn(async move {
                workers
                    .run(move || {
                        started.send(()).ok();
                        gate.recv().ok();
                    })
                    .await
            })
        };
        entered.await.unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&ran);
        let mut cancelled = Box::pin(workers.run(move || seen.fetch_add(1, Ordering::SeqCst)));
        assert!(futures::poll!(&mut cancelled).is_pending());
        assert_eq!((workers.queued(), workers.busy()), (1, 1));
        drop(cancelled);
        release.send(()).unwrap();
        blocker.await.unwrap().unwrap();
        workers.run(|| ()).await.unwrap();
        assert_eq!((ran.load(Ordering::SeqCst), workers.queued()), (0, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn more_jobs_than_the_queue_holds_all_run() {
        let workers = Workers::new(2, Metrics::default()).unwrap();
        let jobs = (0..3_000u64).map(|n| {
            let workers = workers.clone();
            async move { workers.run(move || n).await.unwrap() }
        });
        let sum: u64 = futures::future::join_all(jobs).await.into_iter().sum();
        assert_eq!(sum, 2_999 * 3_000 / 2);
    }

    #[tokio::test]
    async fn the_last_clone_may_go_inside_a_job() {
        let workers = Workers::new(1, Metrics::default()).unwrap();
        let inner = workers.clone();
        let (go, wait) = bounded::<()>(1);
        let mut job = Box::pin(async move {
            let w = workers;
            w.run(move || {
                wait.recv().ok();
                drop(inner);
            })
            .await
        });
        assert!(futures::poll!(&mut job).is_pending());
        go.send(()).unwrap();
        assert!(matches!(job.await, Ok(()) | Err(WorkersError::Stopped)));
    }
}
