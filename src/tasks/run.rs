//! Works on tasks: so many at a time, each within its time, until the gateway stops.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::toolbox::Devices;
use super::{Tasks, locked};
use crate::store::records::{Task, TaskState};

/// How often is looked for what could not be written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often of these is looked for what is too old.
const PRUNE_EVERY: u32 = 600;

/// What came of working on a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done: what is to be told of it.
    Done(String),
    /// It is not: what is to be told, and what went wrong, in words for operators.
    NotDone {
        /// For who asked; may be empty.
        text: String,
        /// For operators: never a provider's own text.
        error: String,
    },
}

/// Works on one task. Dropping the future ends the work.
pub trait Work: Send + Sync {
    /// Works on it to its end; notes what it does.
    fn work(&self, task: Task, steps: Steps) -> BoxFuture<'static, Outcome>;

    /// Nothing more will be worked on: what it started is ended.
    fn close(&self) -> BoxFuture<'static, ()>;
}

/// Where work notes what it does.
#[derive(Clone)]
pub struct Steps {
    tasks: Arc<Tasks>,
    id: String,
}

impl Steps {
    /// Notes a step, durably; its device is told. False when the task is over.
    pub async fn note(&self, stage: &str, ok: bool, message: &str) -> bool {
        self.tasks.step(&self.id, stage, ok, message).await
    }

    /// Counts a call of a tool.
    pub(super) fn count(&self, source: &'static str, ok: bool) {
        self.tasks.parts.metrics.tool(source, ok);
    }
}

impl Tasks {
    /// Works on what waits until `stop`. What runs then is taken up again at the next start.
    pub async fn run(self: Arc<Self>, work: Arc<dyn Work>, devices: Arc<dyn Devices>, stop: CancellationToken) {
        self.recover().await;
        let mut jobs = JoinSet::new();
        let mut names: HashMap<Id, String> = HashMap::new();
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = 0_u32;
        loop {
            while jobs.len() < self.parts.settings.concurrent
                && let Some((task, token, begun)) = self.claim()
            {
                let (id, tasks, work) = (task.id.clone(), Arc::clone(&self), Arc::clone(&work));
                let job = jobs.spawn(async move {
                    if let Err(error) = begun.await {
                        tracing::error!(%error, id = task.id, "a task cannot be begun");
                        // not at once again: the store needs a moment
                        tokio::time::sleep(LOOK_EVERY).await;
                        return tasks.unclaim(&task.id);
                    }
                    tasks.work_on(task, token, work).await;
                });
                names.insert(job.id(), id);
            }
            for device in std::mem::take(&mut *locked(&self.told)) {
                devices.outbox_changed(&device);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = jobs.join_next_with_id(), if !jobs.is_empty() => match ended {
                    Ok((job, ())) => drop(names.remove(&job)),
                    Err(error) => self.job_failed(names.remove(&error.id()), &error).await,
                },
                () = self.stir.notified() => {}
                _ = every.tick() => {
                    self.write_ends().await;
                    if round.is_multiple_of(PRUNE_EVERY)
                        && let Err(error) = self.prune().await
                    {
                        tracing::warn!(%error, "old tasks are not removed now");
                    }
                    round = round.wrapping_add(1);
                }
            }
        }
        jobs.shutdown().await;
        self.release().await;
        work.close().await;
    }

    /// A fault of ours in the work on one task is that task's end, and nobody else's.
    async fn job_failed(&self, id: Option<String>, error: &tokio::task::JoinError) {
        let Some(id) = id.filter(|_| error.is_panic()) else { return };
        tracing::error!(id, "the work on a task panicked");
        // an end that is not written is kept and tried again
        let _ = self.end(&id, TaskState::Failed, "", "a fault of the gateway").await;
    }

    async fn work_on(self: Arc<Self>, task: Task, token: CancellationToken, work: Arc<dyn Work>) {
        let (id, time) = (task.id.clone(), Duration::from_millis(task.timeout_ms));
        tracing::info!(id, attempt = task.attempts, "a task is begun");
        let steps = Steps { tasks: Arc::clone(&self), id: id.clone() };
        let working = tokio::time::timeout(time, work.work(task, steps));
        let outcome = tokio::select! {
            // taken back: its end is written already
            biased;
            () = token.cancelled() => return,
            outcome = working => outcome,
        };
        let ended = match outcome {
            Ok(Outcome::Done(text)) => self.end(&id, TaskState::Success, &text, "").await,
            Ok(Outcome::NotDone { text, error }) => self.end(&id, TaskState::Failed, &text, &error).await,
            Err(_) => {
                let error = format!("not done within {}", crate::domain::Span(time));
                self.end(&id, TaskState::Timeout, "", &error).await
            }
        };
        match ended {
            // somebody was quicker; or it is kept, and written later
            Ok(_) | Err(_) => {}
        }
    }
}
