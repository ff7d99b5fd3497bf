//! What operators ask of devices that may be away: set a configuration, call a tool, plan an update.
//!
//! An operation is a record and, until it is over or acknowledged, an entry in its device's outbox, which the session of
//! the device sends from. What is under way is in memory too, and decided there under one lock: who finds an operation in
//! a state that allows a step takes it, and everybody after him finds the state that follows. Batches are handed to the
//! store under the same lock, and the store keeps their order. This room knows no session, no link and no dialect.

mod metrics;
mod rules;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use metrics::Metrics;
pub use settings::Settings;

use crate::domain::{Clock, DeviceId, Message, Wall};
use crate::store::records::{Numbers, Operation, OperationKind, OperationState, Outbox, operations, outboxes};
use crate::store::{Batch, CommitNo, Store, StoreError};

/// Longest payload and longest result, bytes of JSON.
const LARGEST: usize = 32 << 10;
/// Longest text of an error, bytes.
const LONGEST: usize = 1 << 10;
/// Records that are read at once.
const PAGE: usize = 512;
/// Ends by devices that are remembered.
const LATELY: usize = 256;
/// How often is looked for what is too late.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often is looked for what is too old.
const PRUNE_EVERY: u32 = 600;

/// Why an operation was not taken, or not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The id was used before.
    #[error("there is an operation {0} already")]
    Exists(String),
    /// There is none of that id.
    #[error("operation not found")]
    Unknown,
    /// It is over already.
    #[error("the operation is {0} already")]
    Over(&'static str),
    /// Too many are under way.
    #[error("{0}")]
    Full(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An operation to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct New {
    /// Its id; none: one is made.
    pub id: Option<String>,
    /// Of which device.
    pub device: DeviceId,
    /// What.
    pub kind: OperationKind,
    /// With what.
    pub payload: Map<String, Value>,
    /// How long it waits; none: as configured.
    pub time: Option<Duration>,
    /// The operator who asks.
    pub by: String,
    /// Those that are asked together.
    pub batch: Option<String>,
}

/// How an operation ends.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// `Acked`, `Failed` or `Canceled`.
    pub state: OperationState,
    /// What came out.
    pub result: Value,
    /// What went wrong.
    pub error: String,
}

/// Which operations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Of this device.
    pub device: Option<DeviceId>,
    /// In this state.
    pub state: Option<OperationState>,
    /// Of this kind.
    pub kind: Option<OperationKind>,
    /// Of those that were asked together.
    pub batch: Option<String>,
    /// Passes over so many.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// The operations of all devices. Share them as an `Arc`.
pub struct Operations {
    settings: Settings,
    store: Arc<dyn Store>,
    numbers: Arc<Numbers>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Fn() -> u128 + Send + Sync>,
    under_way: Mutex<HashMap<String, Operation>>,
    /// Held from the look for an id to its entry.
    beginning: tokio::sync::Mutex<()>,
    /// What devices ended lately: a device whose answer was not written says it again.
    lately: Mutex<VecDeque<Operation>>,
    changed: watch::Sender<u64>,
    metrics: Metrics,
}

type Commit = BoxFuture<'static, Result<CommitNo, StoreError>>;

impl Operations {
    /// Reads what is under way.
    pub async fn open(
        settings: Settings,
        store: Arc<dyn Store>,
        numbers: Arc<Numbers>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Fn() -> u128 + Send + Sync>,
        metrics: Metrics,
    ) -> Result<Arc<Self>, StoreError> {
        let mut under_way = HashMap::new();
        let mut from = 0;
        loop {
            let page = operations::page(&*store, from, None, PAGE).await?;
            let Some(last) = page.last() else { break };
            from = last.n + 1;
            under_way.extend(page.into_iter().filter(|op| !op.state.is_final()).map(|op| (op.id.clone(), op)));
        }
        metrics.under_way.set(i64::try_from(under_way.len()).unwrap_or(i64::MAX));
        let (under_way, changed) = (Mutex::new(under_way), watch::Sender::new(0));
        let (beginning, lately) = (tokio::sync::Mutex::default(), Mutex::default());
        Ok(Arc::new(Self { settings, store, numbers, clock, random, under_way, beginning, lately, changed, metrics }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Operation>> {
        // each change of the map is one statement: a panic elsewhere leaves it whole
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that grows whenever an operation changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A name for operations that are asked together.
    pub fn batch_id(&self) -> String {
        format!("batch-{:016x}", (self.random)() & u128::from(u64::MAX))
    }

    /// Takes an operation; it is durable, and in the outbox of its device, when this resolves.
    pub async fn begin(&self, new: New) -> Result<Operation, OperationError> {
        let operation = self.checked(new)?;
        let commit = {
            let _beginning = self.beginning.lock().await;
            // an id that is over is in the store only
            if operations::get(&*self.store, &operation.id).await?.is_some() {
                return Err(OperationError::Exists(operation.id));
            }
            self.enter(&operation)?
        };
        if let Err(error) = commit.await {
            self.lock().remove(&operation.id);
            return Err(error.into());
        }
        self.metrics.ended("queued");
        self.stir();
        Ok(operation)
    }

    fn checked(&self, new: New) -> Result<Operation, OperationError> {
        let New { id, device, kind, payload, time, by, batch } = new;
        let invalid = |text: &str| OperationError::Invalid(text.to_owned());
        let id = match id.filter(|id| !id.is_empty()) {
            // ids of operations travel in paths and envelopes: the alphabet is that of a device's
            Some(id) => DeviceId::parse(&id).map_err(|error| OperationError::Invalid(error.to_string()))?.to_string(),
            None => format!("op-{:016x}", (self.random)() & u128::from(u64::MAX)),
        };
        let time = time.unwrap_or(self.settings.time.0);
        if time.is_zero() || time > self.settings.time_max.0 {
            return Err(OperationError::Invalid(format!("an operation waits 1 s to {}", self.settings.time_max)));
        }
        let payload = Value::Object(payload);
        if payload.to_string().len() > LARGEST {
            return Err(invalid("a payload has at most 32 KB"));
        }
        if kind == OperationKind::ToolCall && tool(&payload).is_none() {
            return Err(invalid("a tool_call has the name of a tool (name), and arguments that are an object"));
        }
        let now = self.clock.wall();
        Ok(Operation {
            n: self.numbers.next(),
            id,
            device,
            kind,
            state: OperationState::Queued,
            payload,
            result: Value::Null,
            error: String::new(),
            session: String::new(),
            seq: None,
            attempts: 0,
            created: now,
            updated: now,
            acked: None,
            expires: Wall(now.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))),
            by,
            batch,
        })
    }

    /// Enters it in memory and hands it to the store, if there is room.
    fn enter(&self, operation: &Operation) -> Result<Commit, OperationError> {
        let mut under_way = self.lock();
        if under_way.contains_key(&operation.id) {
            return Err(OperationError::Exists(operation.id.clone()));
        }
        if under_way.len() >= self.settings.under_way {
            return Err(OperationError::Full("too many operations are under way".to_owned()));
        }
        if under_way.values().filter(|other| other.device == operation.device).count() >= self.settings.per_device {
            let text = format!("{} has {} operations under way", operation.device, self.settings.per_device);
            return Err(OperationError::Full(text));
        }
        let mut batch = Batch::new();
        operations::put(&mut batch, operation)?;
        outboxes::put(&mut batch, &entry(operation))?;
        let commit = self.store.commit(batch);
        under_way.insert(operation.id.clone(), operation.clone());
        self.metrics.under_way.set(i64::try_from(under_way.len()).unwrap_or(i64::MAX));
        Ok(commit)
    }

    /// It was written to the device's connection. Gives the batch that notes it.
    pub fn sent(&self, id: &str, session: &str, seq: Option<u32>) -> Batch {
        let now = self.clock.wall();
        let mut batch = Batch::new();
        let mut under_way = self.lock();
        if let Some(operation) = under_way.get_mut(id).filter(|op| rules::may(op.state, OperationState::Sent)) {
            operation.state = OperationState::Sent;
            (operation.session, operation.seq, operation.updated) = (session.to_owned(), seq, now);
            operation.attempts = operation.attempts.saturating_add(1);
            noted(operations::put(&mut batch, operation));
            self.metrics.ended("sent");
        }
        drop(under_way);
        self.stir();
        batch
    }

    /// The device says what came of it. Gives the batch that notes it, with the mark of the device's message in the same
    /// commit; empty when it is no operation of this device that is under way.
    pub fn answered(&self, device: &DeviceId, id: &str, end: End) -> Batch {
        let mine = self.lock().get(id).is_some_and(|operation| operation.device == *device);
        if mine && let Ok((operation, batch)) = self.end_with(id, end, |_| true) {
            let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
            lately.truncate(LATELY - 1);
            lately.push_front(operation);
            return batch;
        }
        let mut batch = Batch::new();
        let lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        match lately.iter().find(|operation| operation.id == id && operation.device == *device) {
            // the same again, so that it is written now if it was not
            Some(operation) => {
                noted(operations::put(&mut batch, operation));
                outboxes::delete(&mut batch, device, operation.n);
            }
            None => self.metrics.ended("stray"),
        }
        batch
    }

    /// An operator says how it ended: in the place of a device that cannot, or to take it back.
    pub async fn end(&self, id: &str, end: End) -> Result<Operation, OperationError> {
        let was = self.lock().get(id).cloned();
        match self.end_with(id, end, |_| true) {
            Ok((operation, batch)) => match self.store.commit(batch).await {
                Ok(_) => Ok(operation),
                Err(error) => {
                    // what is not written has not happened
                    self.lock().extend(was.map(|was| (was.id.clone(), was)));
                    Err(error.into())
                }
            },
            Err(OperationError::Unknown) => match operations::get(&*self.store, id).await? {
                Some(over) => Err(OperationError::Over(name(over.state))),
                None => Err(OperationError::Unknown),
            },
            Err(error) => Err(error),
        }
    }

    fn end_with(
        &self,
        id: &str,
        end: End,
        still: impl Fn(&Operation) -> bool,
    ) -> Result<(Operation, Batch), OperationError> {
        let End { state, result, mut error } = end;
        let now = self.clock.wall();
        if result.to_string().len() > LARGEST {
            return Err(OperationError::Invalid("a result has at most 32 KB".to_owned()));
        }
        let cut = (0..=LONGEST.min(error.len())).rev().find(|at| error.is_char_boundary(*at)).unwrap_or_default();
        error.truncate(cut);
        let mut under_way = self.lock();
        let operation = under_way.get(id).ok_or(OperationError::Unknown)?;
        if !rules::may(operation.state, state) || !still(operation) {
            return Err(OperationError::Over(name(operation.state)));
        }
        let mut operation = operation.clone();
        let by_device = matches!(state, OperationState::Acked | OperationState::Failed);
        (operation.state, operation.result, operation.error, operation.updated) = (state, result, error, now);
        operation.acked = by_device.then_some(now);
        let mut batch = Batch::new();
        operations::put(&mut batch, &operation)?;
        outboxes::delete(&mut batch, &operation.device, operation.n);
        under_way.remove(id);
        self.metrics.under_way.set(i64::try_from(under_way.len()).unwrap_or(i64::MAX));
        drop(under_way);
        self.metrics.ended(name(state));
        self.stir();
        Ok((operation, batch))
    }

    /// It is still to be sent.
    pub fn waits(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// One operation.
    pub async fn get(&self, id: &str) -> Result<Option<Operation>, StoreError> {
        if let Some(operation) = self.lock().get(id) {
            return Ok(Some(operation.clone()));
        }
        operations::get(&*self.store, id).await
    }

    /// Operations, newest first.
    pub async fn list(&self, query: &Query) -> Result<Vec<Operation>, StoreError> {
        let (mut found, mut over, mut before) = (Vec::new(), query.offset, u64::MAX);
        while found.len() < query.limit {
            let page = operations::page(&*self.store, 0, Some(before), PAGE).await?;
            let Some(last) = page.last() else { break };
            before = last.n;
            for operation in page.into_iter().filter(|operation| fits(operation, query)) {
                if over > 0 {
                    over -= 1;
                } else if found.len() < query.limit {
                    found.push(operation);
                }
            }
        }
        Ok(found)
    }

    /// How many are under way, and how many of them wait for their device.
    pub fn count(&self) -> (usize, usize) {
        let under_way = self.lock();
        let queued = under_way.values().filter(|operation| operation.state == OperationState::Queued).count();
        (under_way.len(), queued)
    }

    /// Ends what is too late and removes what is too old, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = every.tick() => {}
            }
            self.expire().await;
            if round % PRUNE_EVERY == 0
                && let Err(error) = self.prune().await
            {
                tracing::warn!(%error, "old operations are not removed now");
            }
            round = round.wrapping_add(1);
        }
    }

    /// Ends what is too late now. Nothing is while the clock is unset.
    pub async fn expire(&self) {
        let now = self.clock.wall();
        if now.0 == 0 {
            return;
        }
        let late: Vec<String> = self.lock().values().filter(|op| op.expires < now).map(|op| op.id.clone()).collect();
        for id in late {
            let error = "the device did not do it in time".to_owned();
            let end = End { state: OperationState::Expired, result: Value::Null, error };
            let Ok((operation, batch)) = self.end_with(&id, end, |op| op.expires < now) else { continue };
            tracing::info!(device = %operation.device, id, "an operation has expired");
            if let Err(error) = self.store.commit(batch).await {
                tracing::error!(%error, id, "the end of an operation was not written: it ends again after a restart");
            }
        }
    }

    /// Removes what is over and too old, or too much.
    async fn prune(&self) -> Result<(), StoreError> {
        let keep = u64::try_from(self.settings.keep.0.as_millis()).unwrap_or(u64::MAX);
        let oldest = self.clock.wall().0.saturating_sub(keep);
        let (mut before, mut seen) = (u64::MAX, 0_usize);
        loop {
            let page = operations::page(&*self.store, 0, Some(before), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            before = last.n;
            let mut gone = Batch::new();
            for operation in page.iter().filter(|operation| operation.state.is_final()) {
                seen += 1;
                if seen > self.settings.kept || operation.updated.0 < oldest {
                    operations::remove(&mut gone, operation);
                }
            }
            if !gone.is_empty() {
                self.store.commit(gone).await?;
            }
        }
    }

    fn stir(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }
}

/// A record of our own that cannot be written as JSON is a fault of ours: said, and the rest goes on.
fn noted(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::error!(%error, "the record of an operation was not written");
    }
}

/// The word for a state.
pub fn name(state: OperationState) -> &'static str {
    match state {
        OperationState::Queued => "queued",
        OperationState::Sent => "sent",
        OperationState::Acked => "acked",
        OperationState::Failed => "failed",
        OperationState::Canceled => "canceled",
        OperationState::Expired => "expired",
    }
}

fn fits(operation: &Operation, query: &Query) -> bool {
    query.device.as_ref().is_none_or(|device| operation.device == *device)
        && query.state.is_none_or(|state| operation.state == state)
        && query.kind.is_none_or(|kind| operation.kind == kind)
        && query.batch.as_ref().is_none_or(|batch| operation.batch.as_ref() == Some(batch))
}

/// The name and arguments of a tool's call: `name` (or `tool_name`, `tool`) and `arguments` (or `args`, `parameters`).
fn tool(payload: &Value) -> Option<(&str, Value)> {
    let named = ["name", "tool_name", "tool"].iter().find_map(|key| payload[*key].as_str());
    let arguments = ["arguments", "args", "parameters"].iter().find_map(|key| payload.get(*key));
    let arguments = arguments.cloned().unwrap_or_else(|| Value::Object(Map::new()));
    named.filter(|name| !name.is_empty() && arguments.is_object()).map(|name| (name, arguments))
}

/// What waits in the device's outbox.
fn entry(operation: &Operation) -> Outbox {
    let mut body = operation.payload.clone();
    body["operation_id"] = Value::from(operation.id.clone());
    Outbox {
        n: operation.n,
        device: operation.device.clone(),
        msg_id: operation.id.clone(),
        kind: operation.kind.name().to_owned(),
        body,
        created: operation.created,
        expires: Some(operation.expires),
        // an update that was told twice would be made twice
        at_most_once: operation.kind == OperationKind::OtaPlan,
    }
}

/// The message of an outbox entry, when it is one of an operation: its id, and what is sent.
pub fn message(entry: &Outbox) -> Option<(String, Message)> {
    let id = entry.body["operation_id"].as_str()?.to_owned();
    let message = match entry.kind.as_str() {
        "set_config" => Message::SetConfig { config: entry.body.clone() },
        "ota_plan" => Message::OtaPlan { plan: entry.body.clone() },
        "tool_call" => {
            let (name, arguments) = tool(&entry.body)?;
            Message::ToolCall { operation_id: id.clone(), name: name.to_owned(), arguments }
        }
        _ => return None,
    };
    Some((id, message))
}
