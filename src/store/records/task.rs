//! Tasks that the gateway works on by itself: by number, which is their order, and by id.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::numbered::{self, Numbered};
use super::{Batch, Space, Store, StoreError};
use crate::domain::{DeviceId, Wall};

/// How far a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It waits for its turn.
    Pending,
    /// It is worked on.
    Running,
    /// It is done.
    Success,
    /// It could not be done.
    Failed,
    /// It was not done in its time.
    Timeout,
    /// Somebody took it back.
    Canceled,
}

impl TaskState {
    /// All of them, in their order.
    pub const ALL: [TaskState; 6] =
        [Self::Pending, Self::Running, Self::Success, Self::Failed, Self::Timeout, Self::Canceled];

    /// Nothing follows.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
        }
    }
}

/// Something that happened to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStep {
    /// When.
    pub at: Wall,
    /// `accepted`, `running`, `tool`, `recovered`, `canceled`, …
    pub stage: String,
    /// `ok` or `error`.
    pub status: String,
    /// What, for people.
    #[serde(default)]
    pub message: String,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its number.
    pub n: u64,
    /// Its name.
    pub id: String,
    /// What is to be done, in the words of who asked.
    pub goal: String,
    /// How far it has come.
    pub state: TaskState,
    /// What happened so far, oldest first; bounded.
    #[serde(default)]
    pub steps: Vec<TaskStep>,
    /// What came out: an object.
    #[serde(default)]
    pub result: Value,
    /// What went wrong.
    #[serde(default)]
    pub error: String,
    /// What the one who asked calls the conversation that it belongs to.
    #[serde(default)]
    pub session: String,
    /// Whose; none: no device is told and none has tools for it.
    #[serde(default)]
    pub device: Option<DeviceId>,
    /// How long it may run, ms.
    pub timeout_ms: u64,
    /// The device is told how it goes.
    #[serde(default)]
    pub notify: bool,
    /// The device says how it ended.
    #[serde(default)]
    pub speak: bool,
    /// Who asked: an operator's name, or `voice`.
    #[serde(default)]
    pub by: String,
    /// How often it was begun.
    #[serde(default)]
    pub attempts: u32,
    /// The entry in the device's outbox that tells of something that is not the end.
    #[serde(default)]
    pub progress: Option<u64>,
    /// When it was asked.
    pub created: Wall,
    /// When it last changed.
    pub updated: Wall,
    /// When it was last begun.
    #[serde(default)]
    pub started: Option<Wall>,
}

impl Numbered for Task {
    const SPACE: Space = Space::Task;

    fn number(&self) -> u64 {
        self.n
    }

    fn id(&self) -> &str {
        &self.id
    }
}

/// Writes a task.
pub fn put(batch: &mut Batch, task: &Task) -> Result<(), StoreError> {
    numbered::put(batch, task)
}

/// Removes a task.
pub fn remove(batch: &mut Batch, task: &Task) {
    numbered::remove(batch, task);
}

/// Reads a task by its id.
pub async fn get(store: &dyn Store, id: &str) -> Result<Option<Task>, StoreError> {
    numbered::get(store, id).await
}

/// A page of tasks: those before number `before`, newest first, or all from `from` on, oldest first.
pub async fn page(store: &dyn Store, from: u64, before: Option<u64>, limit: usize) -> Result<Vec<Task>, StoreError> {
    numbered::page(store, from, before, limit).await
}
