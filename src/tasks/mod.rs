//! Digital tasks: what somebody wants done, and the gateway works on by itself, in the background, with tools.
//!
//! A task is a record. What waits or runs is in memory too, and decided there under one lock: who finds a task in a state
//! that allows a step takes it, and everybody after him finds the state that follows; a cancellation is never undone by a
//! success that comes late. Each step that its device is told of puts an entry into the device's outbox in the same batch.
//! This room knows no session, no link and no dialect; what devices can do it asks of [`Devices`].

mod agent;
mod mcp;
mod metrics;
mod rules;
mod run;
mod settings;
#[cfg(test)]
mod tests;
mod toolbox;
mod update;
mod web;
mod words;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use agent::{Agent, Parts as AgentParts, SetupError};
pub use metrics::Metrics;
pub use run::{Outcome, Steps, Work};
pub use settings::{Mcp, Settings, Voice, Web};
pub use toolbox::{DeviceTool, Devices};
pub use words::{Said, Words, WordsError};

use crate::domain::{Clock, DeviceId, Wall};
use crate::store::records::{Numbers, Task, TaskState, TaskStep, outboxes, tasks};
use crate::store::{Batch, CommitNo, Store, StoreError};
use update::{Event, cut};

/// Longest goal, bytes.
const GOAL: usize = 4 << 10;
/// Longest text of a result, bytes.
const RESULT: usize = 8 << 10;
/// Longest text of an error or a step, bytes.
const LONGEST: usize = 512;
/// Longest name of a session, bytes.
const SESSION: usize = 128;
/// Most steps of one task that are written down; of those after them only the end is.
const STEPS: usize = 64;
/// Records that are read at once.
const PAGE: usize = 512;

/// Why a task was not taken, or not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The id was used before.
    #[error("there is a task {0} already")]
    Exists(String),
    /// There is none of that id.
    #[error("task not found")]
    Unknown,
    /// It is over already.
    #[error("the task is {0} already")]
    Over(&'static str),
    /// Too many wait or run.
    #[error("{0}")]
    Full(String),
    /// Tasks are switched off.
    #[error("tasks are switched off: tasks.enabled")]
    Off,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A task to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// Its id; none: one is made.
    pub id: Option<String>,
    /// What is to be done.
    pub goal: String,
    /// What the conversation that it belongs to is called; none: `digital-` and the id.
    pub session: Option<String>,
    /// Whose.
    pub device: Option<DeviceId>,
    /// How long it may run; none: as configured.
    pub timeout: Option<Duration>,
    /// Tell the device how it goes.
    pub notify: bool,
    /// Let the device say how it ended.
    pub speak: bool,
    /// Take back what else is under way for the device.
    pub interrupt_previous: bool,
    /// What its one who asks has noted already: stage and message.
    pub steps: Vec<(String, String)>,
    /// Who asks.
    pub by: String,
}

/// Which tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Of this conversation.
    pub session: Option<String>,
    /// Of this device.
    pub device: Option<DeviceId>,
    /// In this state.
    pub state: Option<TaskState>,
    /// Passes over so many.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// All remembered tasks together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stats {
    /// How many are in each state, in the order of [`TaskState::ALL`].
    pub counts: [u64; 6],
    /// From the asking to the end, ms, of those that are over.
    pub mean_duration_ms: f64,
    /// Steps of those that are over.
    pub mean_steps: f64,
}

impl Stats {
    /// How many there are.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many are in a state.
    pub fn of(&self, state: TaskState) -> u64 {
        TaskState::ALL.iter().position(|one| *one == state).map_or(0, |at| self.counts[at])
    }
}

/// What tasks are made of.
pub struct Parts {
    /// `[tasks]`.
    pub settings: Settings,
    /// The records.
    pub store: Arc<dyn Store>,
    /// Numbers of records.
    pub numbers: Arc<Numbers>,
    /// Time for records.
    pub clock: Arc<dyn Clock>,
    /// Random bits for ids.
    pub random: Arc<dyn Fn() -> u128 + Send + Sync>,
    /// What devices are told, and what somebody says.
    pub words: Arc<Words>,
    /// What is counted.
    pub metrics: Metrics,
}

/// One that waits or runs.
struct Live {
    task: Task,
    /// Cancelled when it is taken back.
    token: CancellationToken,
    /// It is written: before that it is not begun.
    durable: bool,
}

type Commit = BoxFuture<'static, Result<CommitNo, StoreError>>;

/// The tasks of all devices. Share them as an `Arc`.
pub struct Tasks {
    parts: Parts,
    live: Mutex<HashMap<String, Live>>,
    /// Ends that the store did not take yet.
    unwritten: Mutex<Vec<(Task, Batch)>>,
    /// Held from the look for an id to its entry.
    beginning: tokio::sync::Mutex<()>,
    /// Something waits to be begun, or a device to be told.
    stir: Notify,
    /// Devices whose outbox has something new.
    told: Mutex<BTreeSet<DeviceId>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // each change is one statement: a panic elsewhere leaves it whole
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tasks {
    /// Reads what waits or ran.
    pub async fn open(parts: Parts) -> Result<Arc<Self>, StoreError> {
        let mut live = HashMap::new();
        let mut from = 0;
        loop {
            let page = tasks::page(&*parts.store, from, None, PAGE).await?;
            let Some(last) = page.last() else { break };
            from = last.n + 1;
            let under_way = page.into_iter().filter(|task| !task.state.is_final());
            live.extend(
                under_way.map(|task| (task.id.clone(), Live { task, token: CancellationToken::new(), durable: true })),
            );
        }
        let tasks = Self {
            parts,
            live: Mutex::new(live),
            unwritten: Mutex::default(),
            beginning: tokio::sync::Mutex::default(),
            stir: Notify::new(),
            told: Mutex::default(),
        };
        tasks.gauge(&locked(&tasks.live));
        Ok(Arc::new(tasks))
    }

    fn gauge(&self, live: &HashMap<String, Live>) {
        let running = live.values().filter(|one| one.task.state == TaskState::Running).count();
        self.parts.metrics.under_way.set(i64::try_from(live.len()).unwrap_or(i64::MAX));
        self.parts.metrics.running.set(i64::try_from(running).unwrap_or(i64::MAX));
    }

    /// `[tasks]`.
    pub fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    /// What somebody says begins a task, and may: the words with which it is taken or refused.
    pub fn asked_for(&self, words: &str) -> Option<Said> {
        self.parts.settings.by_voice().then(|| self.parts.words.route(words)).flatten()
    }

    /// The same of words that are said to begin a task: by a button, or by a device that understands by itself.
    pub fn asked_outright(&self, words: &str) -> Option<Said> {
        (!words.trim().is_empty()).then(|| self.parts.words.answers(words))
    }

    /// Takes a task; it is durable when this resolves.
    pub async fn begin(&self, new: New) -> Result<Task, TaskError> {
        let result = self.begin_it(new).await;
        self.parts.metrics.step(if result.is_ok() { "accepted" } else { "refused" });
        result
    }

    async fn begin_it(&self, new: New) -> Result<Task, TaskError> {
        if !self.parts.settings.enabled {
            return Err(TaskError::Off);
        }
        let replaces = new.interrupt_previous;
        let mut task = self.checked(new)?;
        let commit = {
            let _beginning = self.beginning.lock().await;
            // an id that is over is in the store only, or not even there yet
            if self.get(&task.id).await?.is_some() {
                return Err(TaskError::Exists(task.id));
            }
            if replaces {
                self.replace(&task).await?;
            }
            self.enter(&mut task)?
        };
        if let Err(error) = commit.await {
            let mut live = locked(&self.live);
            live.remove(&task.id);
            self.gauge(&live);
            return Err(error.into());
        }
        if let Some(live) = locked(&self.live).get_mut(&task.id) {
            live.durable = true;
        }
        self.stir.notify_one();
        Ok(task)
    }

    /// Takes back what else is under way for the task's device.
    async fn replace(&self, task: &Task) -> Result<(), TaskError> {
        let Some(device) = &task.device else { return Ok(()) };
        let mine = |live: &Live| live.task.device.as_ref() == Some(device);
        let others: Vec<String> =
            locked(&self.live).values().filter(|live| mine(live)).map(|live| live.task.id.clone()).collect();
        for id in others {
            match self.cancel(&id, &format!("replaced by {}", task.id)).await {
                // it ended meanwhile
                Ok(_) | Err(TaskError::Over(_) | TaskError::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn checked(&self, new: New) -> Result<Task, TaskError> {
        let New { id, goal, session, device, timeout, notify, speak, steps, by, .. } = new;
        let settings = &self.parts.settings;
        let goal = goal.trim().to_owned();
        if goal.is_empty() || goal.len() > GOAL {
            return Err(TaskError::Invalid("a task has a goal, of at most 4 KB".to_owned()));
        }
        let id = match id.filter(|id| !id.is_empty()) {
            // ids travel in paths and envelopes: the alphabet is that of a device's
            Some(id) => DeviceId::parse(&id).map_err(|error| TaskError::Invalid(error.to_string()))?.to_string(),
            None => format!("{:012x}", (self.parts.random)() & 0xffff_ffff_ffff),
        };
        let timeout = timeout.unwrap_or(settings.timeout.0);
        if timeout < Duration::from_secs(1) || timeout > settings.timeout_max.0 {
            return Err(TaskError::Invalid(format!("a task may run 1 s to {}", settings.timeout_max)));
        }
        let session = session.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("digital-{id}"));
        if session.len() > SESSION || session.contains(char::is_control) {
            return Err(TaskError::Invalid("the name of a session has at most 128 characters".to_owned()));
        }
        let now = self.parts.clock.wall();
        let step = |(stage, message): (String, String)| TaskStep {
            at: now,
            stage: cut(&stage, 64),
            status: "ok".to_owned(),
            message: cut(&message, LONGEST),
        };
        Ok(Task {
            n: self.parts.numbers.next(),
            id,
            goal,
            state: TaskState::Pending,
            steps: steps.into_iter().take(STEPS / 2).map(step).collect(),
            result: Value::Object(Map::new()),
            error: String::new(),
            session,
            notify: notify && device.is_some(),
            speak,
            device,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            by,
            attempts: 0,
            progress: None,
            created: now,
            updated: now,
            started: None,
        })
    }

    /// Enters it in memory and hands it to the store, if there is room.
    fn enter(&self, task: &mut Task) -> Result<Commit, TaskError> {
        let settings = &self.parts.settings;
        let mut live = locked(&self.live);
        if live.len() >= settings.queue {
            return Err(TaskError::Full("too many tasks are under way".to_owned()));
        }
        let mine = live.values().filter(|live| live.task.device.is_some() && live.task.device == task.device);
        if mine.count() >= settings.per_device {
            return Err(TaskError::Full(format!("the device has {} tasks under way", settings.per_device)));
        }
        self.add_step(task, "accepted", true, "the task was accepted");
        let mut batch = Batch::new();
        self.tell(&mut batch, task, Event::Accepted, None)?;
        tasks::put(&mut batch, task)?;
        let commit = self.parts.store.commit(batch);
        live.insert(task.id.clone(), Live { task: task.clone(), token: CancellationToken::new(), durable: false });
        self.gauge(&live);
        Ok(commit)
    }

    fn add_step(&self, task: &mut Task, stage: &str, ok: bool, message: &str) {
        task.updated = self.parts.clock.wall();
        if task.steps.len() >= STEPS {
            return;
        }
        let status = if ok { "ok" } else { "error" };
        task.steps.push(TaskStep {
            at: task.updated,
            stage: stage.to_owned(),
            status: status.to_owned(),
            message: cut(message, LONGEST),
        });
    }

    /// Puts word of the task's state into its device's outbox, in the place of the word that is not the end.
    fn tell(&self, batch: &mut Batch, task: &mut Task, event: Event, note: Option<&str>) -> Result<(), StoreError> {
        let Some(device) = task.device.clone().filter(|_| task.notify) else { return Ok(()) };
        if let Some(former) = task.progress.take() {
            outboxes::delete(batch, &device, former);
        }
        let n = self.parts.numbers.next();
        let text = self.parts.words.message(task, event, note);
        let ttl = self.parts.settings.update_ttl.0;
        outboxes::put(batch, &update::entry(task, &device, event, &text, (n, self.parts.clock.wall(), ttl)))?;
        task.progress = (!task.state.is_final()).then_some(n);
        locked(&self.told).insert(device);
        self.stir.notify_one();
        Ok(())
    }

    /// Notes something that happened to a task that runs; false when it does not run any more.
    async fn step(&self, id: &str, stage: &str, ok: bool, message: &str) -> bool {
        let commit = {
            let mut live = locked(&self.live);
            let Some(live) = live.get_mut(id).filter(|live| live.task.state == TaskState::Running) else {
                return false;
            };
            self.add_step(&mut live.task, stage, ok, message);
            let mut batch = Batch::new();
            let told = self.tell(&mut batch, &mut live.task, Event::Step, Some(message));
            noted(told.and_then(|()| tasks::put(&mut batch, &live.task)));
            self.parts.store.commit(batch)
        };
        if let Err(error) = commit.await {
            self.parts.metrics.failed_commits.inc();
            tracing::warn!(%error, id, "a step of a task was not written");
        }
        true
    }

    /// Begins the one that waits for longest, in memory; it is begun when the commit is done.
    fn claim(&self) -> Option<(Task, CancellationToken, Commit)> {
        let mut live = locked(&self.live);
        let next = live
            .values()
            .filter(|one| one.durable && one.task.state == TaskState::Pending)
            .min_by_key(|one| one.task.n)?;
        let id = next.task.id.clone();
        let one = live.get_mut(&id)?;
        one.task.state = TaskState::Running;
        one.task.attempts = one.task.attempts.saturating_add(1);
        self.add_step(&mut one.task, "running", true, "the task was begun");
        one.task.started = Some(one.task.updated);
        let mut batch = Batch::new();
        let told = self.tell(&mut batch, &mut one.task, Event::Running, None);
        noted(told.and_then(|()| tasks::put(&mut batch, &one.task)));
        let begun = (one.task.clone(), one.token.clone(), self.parts.store.commit(batch));
        self.gauge(&live);
        Some(begun)
    }

    /// It was not begun after all: the store did not take that.
    fn unclaim(&self, id: &str) {
        let mut live = locked(&self.live);
        if let Some(one) = live.get_mut(id).filter(|one| one.task.state == TaskState::Running) {
            one.task.state = TaskState::Pending;
            one.task.attempts = one.task.attempts.saturating_sub(1);
        }
        self.gauge(&live);
    }

    /// An operator or its owner takes it back.
    pub async fn cancel(&self, id: &str, reason: &str) -> Result<Task, TaskError> {
        let ended = self.end(id, TaskState::Canceled, "", reason).await;
        match ended {
            Err(TaskError::Unknown) => match self.get(id).await? {
                Some(over) => Err(TaskError::Over(over.state.name())),
                None => Err(TaskError::Unknown),
            },
            other => other,
        }
    }

    /// Ends it, if nobody has ended it before. An end that the store does not take now is written when it does.
    async fn end(&self, id: &str, state: TaskState, text: &str, error: &str) -> Result<Task, TaskError> {
        let (task, batch) = self.end_in_memory(id, state, text, error)?;
        self.parts.metrics.step(state.name());
        if let Some(started) = task.started.filter(|_| state != TaskState::Canceled) {
            let ms = task.updated.0.saturating_sub(started.0);
            self.parts.metrics.seconds.observe(Duration::from_millis(ms).as_secs_f64());
        }
        tracing::info!(id, state = state.name(), by = task.by, steps = task.steps.len(), "a task is over");
        // in the list before it is handed in: whoever looks in between must find it over
        locked(&self.unwritten).push((task.clone(), batch.clone()));
        let written = self.parts.store.commit(batch).await;
        match written {
            Ok(_) => {
                locked(&self.unwritten).retain(|(other, _)| other.n != task.n);
                Ok(task)
            }
            Err(error) => {
                self.parts.metrics.failed_commits.inc();
                tracing::error!(%error, id, "the end of a task is not written yet");
                Err(error.into())
            }
        }
    }

    fn end_in_memory(&self, id: &str, state: TaskState, text: &str, error: &str) -> Result<(Task, Batch), TaskError> {
        let mut live = locked(&self.live);
        let one = live.get(id).ok_or(TaskError::Unknown)?;
        if !rules::may(one.task.state, state) {
            return Err(TaskError::Over(one.task.state.name()));
        }
        let mut task = one.task.clone();
        task.state = state;
        task.error = cut(error, LONGEST);
        if !text.is_empty() {
            task.result = json!({"text": cut(text, RESULT)});
        }
        // the end is worth a place among the steps, however many there are
        task.steps.truncate(STEPS - 1);
        let ok = matches!(state, TaskState::Success | TaskState::Canceled);
        self.add_step(&mut task, state.name(), ok, if ok && error.is_empty() { "the task is done" } else { error });
        let mut batch = Batch::new();
        self.tell(&mut batch, &mut task, Event::End, None)?;
        tasks::put(&mut batch, &task)?;
        if let Some(one) = live.remove(id) {
            one.token.cancel();
        }
        self.gauge(&live);
        Ok((task, batch))
    }

    /// Writes the ends that the store did not take before.
    async fn write_ends(&self) {
        let ends: Vec<(u64, Batch)> =
            locked(&self.unwritten).iter().map(|(task, batch)| (task.n, batch.clone())).collect();
        for (n, batch) in ends {
            if self.parts.store.commit(batch).await.is_err() {
                return;
            }
            locked(&self.unwritten).retain(|(task, _)| task.n != n);
        }
    }

    /// What ran when the gateway ended waits again; what was begun too often is over.
    async fn recover(&self) {
        let ran: Vec<(String, u32)> = locked(&self.live)
            .values()
            .filter(|one| one.task.state == TaskState::Running)
            .map(|one| (one.task.id.clone(), one.task.attempts))
            .collect();
        for (id, attempts) in ran {
            if attempts >= self.parts.settings.attempts {
                let error = format!("the gateway ended {attempts} times while it worked on it");
                tracing::error!(id, attempts, "a task is given up: the gateway ended each time it worked on it");
                // an end that is not written is kept and tried again
                let _ = self.end(&id, TaskState::Failed, "", &error).await;
                continue;
            }
            tracing::info!(id, attempts, "a task is taken up again");
            self.parts.metrics.step("recovered");
            let commit = self.again(&id);
            if let Some(Err(error)) = futures::future::OptionFuture::from(commit).await {
                self.parts.metrics.failed_commits.inc();
                tracing::warn!(%error, id, "that a task is taken up again was not written");
            }
        }
    }

    fn again(&self, id: &str) -> Option<Commit> {
        let mut live = locked(&self.live);
        let one = live.get_mut(id).filter(|one| rules::may(one.task.state, TaskState::Pending))?;
        one.task.state = TaskState::Pending;
        self.add_step(&mut one.task, "recovered", true, "the gateway was restarted: the task begins again");
        let mut batch = Batch::new();
        let told = self.tell(&mut batch, &mut one.task, Event::Recovered, None);
        noted(told.and_then(|()| tasks::put(&mut batch, &one.task)));
        self.gauge(&live);
        Some(self.parts.store.commit(batch))
    }

    /// The gateway stops in the midst of what runs: that is no attempt of theirs. They stay as they are, and are taken up
    /// again at the next start.
    async fn release(&self) {
        let mut batch = Batch::new();
        for one in locked(&self.live).values_mut().filter(|one| one.task.state == TaskState::Running) {
            one.task.attempts = one.task.attempts.saturating_sub(1);
            noted(tasks::put(&mut batch, &one.task));
        }
        if !batch.is_empty()
            && let Err(error) = self.parts.store.commit(batch).await
        {
            tracing::warn!(%error, "the stop counts as an attempt of the tasks that ran");
        }
        self.write_ends().await;
    }

    /// One task.
    pub async fn get(&self, id: &str) -> Result<Option<Task>, StoreError> {
        if let Some(live) = locked(&self.live).get(id) {
            return Ok(Some(live.task.clone()));
        }
        if let Some((task, _)) = locked(&self.unwritten).iter().find(|(task, _)| task.id == id) {
            return Ok(Some(task.clone()));
        }
        tasks::get(&*self.parts.store, id).await
    }

    /// Tasks, newest first.
    pub async fn list(&self, query: &Query) -> Result<Vec<Task>, StoreError> {
        let (mut found, mut over, mut before) = (Vec::new(), query.offset, u64::MAX);
        while found.len() < query.limit {
            let page = self.page(before).await?;
            let Some(last) = page.last() else { break };
            before = last.n;
            for task in page.into_iter().filter(|task| fits(task, query)) {
                if over > 0 {
                    over -= 1;
                } else if found.len() < query.limit {
                    found.push(task);
                }
            }
        }
        Ok(found)
    }

    /// Records as they are now: memory is ahead of the store.
    async fn page(&self, before: u64) -> Result<Vec<Task>, StoreError> {
        let mut page = tasks::page(&*self.parts.store, 0, Some(before), PAGE).await?;
        let live = locked(&self.live);
        let unwritten = locked(&self.unwritten);
        for task in page.iter_mut().filter(|task| !task.state.is_final()) {
            let over = unwritten.iter().find(|(other, _)| other.n == task.n).map(|(other, _)| other);
            if let Some(now) = over.or_else(|| live.get(&task.id).map(|live| &live.task)) {
                *task = now.clone();
            }
        }
        Ok(page)
    }

    /// All that are remembered, or those of one conversation.
    pub async fn stats(&self, session: Option<&str>) -> Result<Stats, StoreError> {
        let (mut stats, mut before) = (Stats::default(), u64::MAX);
        let (mut over, mut ms, mut steps) = (0_u64, 0_u64, 0_u64);
        loop {
            let page = self.page(before).await?;
            let Some(last) = page.last() else { break };
            before = last.n;
            for task in page.iter().filter(|task| session.is_none_or(|session| task.session == session)) {
                if let Some(at) = TaskState::ALL.iter().position(|state| *state == task.state) {
                    stats.counts[at] += 1;
                }
                if task.state.is_final() {
                    over += 1;
                    ms = ms.saturating_add(task.updated.0.saturating_sub(task.created.0));
                    steps += task.steps.len() as u64;
                }
            }
        }
        if over > 0 {
            (stats.mean_duration_ms, stats.mean_steps) = (ms as f64 / over as f64, steps as f64 / over as f64);
        }
        Ok(stats)
    }

    /// How many wait or run, and how many of them run.
    pub fn count(&self) -> (usize, usize) {
        let live = locked(&self.live);
        (live.len(), live.values().filter(|one| one.task.state == TaskState::Running).count())
    }

    /// How many were done since the start, and how many failed or were not done in their time.
    pub fn ended(&self) -> (u64, u64) {
        self.parts.metrics.ended()
    }

    /// Removes what is over and too old, or too much. Nothing is too old while the clock is unset.
    async fn prune(&self) -> Result<(), StoreError> {
        let keep = u64::try_from(self.parts.settings.keep.0.as_millis()).unwrap_or(u64::MAX);
        let oldest = self.parts.clock.wall().0.saturating_sub(keep);
        let (mut before, mut seen) = (u64::MAX, 0_usize);
        loop {
            let page = tasks::page(&*self.parts.store, 0, Some(before), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            before = last.n;
            let mut gone = Batch::new();
            for task in page.iter().filter(|task| task.state.is_final()) {
                seen += 1;
                if seen > self.parts.settings.kept || task.updated < Wall(oldest) {
                    tasks::remove(&mut gone, task);
                }
            }
            if !gone.is_empty() {
                self.parts.store.commit(gone).await?;
            }
        }
    }
}

/// A record of our own that cannot be written as JSON is a fault of ours: said, and the rest goes on.
fn noted(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::error!(%error, "the record of a task was not written");
    }
}

fn fits(task: &Task, query: &Query) -> bool {
    query.session.as_ref().is_none_or(|session| task.session == *session)
        && query.device.as_ref().is_none_or(|device| task.device.as_ref() == Some(device))
        && query.state.is_none_or(|state| task.state == state)
}
