//! Digital tasks as operators see them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{DeviceId, Span};

/// How far a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
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
    /// It was taken back.
    Canceled,
}

impl TaskStatus {
    /// The word in JSON and tables.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskStepRow {
    /// When, ms since 1970-01-01 UTC.
    pub ts: u64,
    /// `accepted`, `running`, `tool`, `tools`, `recovered`, and how it ended.
    pub stage: String,
    /// `ok` or `error`.
    pub status: String,
    /// What, for people.
    pub message: String,
}

/// A task. Times are ms since 1970-01-01 UTC; 0 is never.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRow {
    /// Which.
    pub task_id: String,
    /// The conversation that it belongs to, as whoever asked calls it.
    pub session_id: String,
    /// What is to be done.
    pub goal: String,
    /// How far it has come.
    pub status: TaskStatus,
    /// What happened, oldest first.
    pub steps: Vec<TaskStepRow>,
    /// What came out: `text`; empty before.
    pub result: Map<String, Value>,
    /// What went wrong, or why it was taken back.
    pub error: String,
    /// How long it may run, s.
    pub timeout_seconds: u64,
    /// Whose; empty: nobody's.
    pub device_id: String,
    /// The device is told how it goes.
    pub notify: bool,
    /// The device says how it ended.
    pub speak: bool,
    /// How often it was begun.
    pub attempts: u32,
    /// Who asked: an operator, or `voice`.
    pub requested_by: String,
    /// When it was asked.
    pub created_at: u64,
    /// When it last changed.
    pub updated_at: u64,
    /// When it was last begun.
    pub started_at: u64,
}

/// A task to begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewTask {
    /// Its id, which was never used before; none: one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is to be done, at most 4 KB.
    pub goal: String,
    /// The conversation that it belongs to; none: `digital-` and the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// How long it may run; none: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Tell the device how it goes.
    pub notify: bool,
    /// Let the device say how it ended.
    pub speak: bool,
    /// Take back what else is under way for the device.
    pub interrupt_previous: bool,
    /// What whoever asks has noted already: stage and message.
    #[serde(default)]
    pub steps: Vec<(String, String)>,
    /// Who asks.
    #[serde(default)]
    pub by: String,
}

/// Which tasks, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskQuery {
    /// This one; the rest is not looked at then.
    #[serde(default)]
    pub id: Option<String>,
    /// Of this conversation.
    #[serde(default)]
    pub session: Option<String>,
    /// Of this device.
    #[serde(default)]
    pub device: Option<DeviceId>,
    /// That have come so far.
    #[serde(default)]
    pub status: Option<TaskStatus>,
    /// Passes over so many.
    #[serde(default)]
    pub offset: usize,
    /// At most so many; 0 is 20.
    #[serde(default)]
    pub limit: usize,
}

/// All remembered tasks together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct TaskStats {
    /// How many there are.
    pub total: u64,
    /// Those that are done.
    pub success: u64,
    /// Those that could not be done.
    pub failed: u64,
    /// Those that took too long.
    pub timeout: u64,
    /// Those that were taken back.
    pub canceled: u64,
    /// Those that wait.
    pub pending: u64,
    /// Those that run.
    pub running: u64,
    /// The share of all that are done, 0 to 1.
    pub success_rate: f64,
    /// From the asking to the end, ms, of those that are over.
    pub avg_duration_ms: f64,
    /// Steps of those that are over.
    pub avg_step_count: f64,
    /// How many are in each state; states without one are left out.
    pub counts_by_status: Map<String, Value>,
}
