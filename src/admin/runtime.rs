//! How devices and the gateway are, for programs of operators.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BindingStatus;

/// How one device is. Times are ms since 1970-01-01 UTC; 0 and empty texts are "not".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceState {
    /// Which.
    pub device_id: String,
    /// Its session, or its last.
    pub session_id: String,
    /// `ready`, `listening`, `thinking`, `speaking`, `closed`.
    pub state: String,
    /// It has a connection.
    pub online: bool,
    /// How far it has come.
    pub status: BindingStatus,
    /// Whose it is.
    pub user_id: String,
    /// When the session was opened.
    pub created_at_ms: u64,
    /// When it was last heard of, in this run of the gateway.
    pub last_seen_ms: u64,
    /// Turns of the session.
    pub turns: u32,
}

/// What sessions have counted since the gateway started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// When it started.
    pub started_at_ms: u64,
    /// Control messages that devices sent.
    pub events_total: u64,
    /// The same by type.
    pub events_by_type: BTreeMap<String, u64>,
    /// Messages that were sent again, and not done again.
    pub duplicate_events_total: u64,
    /// Turns that ended.
    pub voice_turn_total: u64,
    /// Those that failed.
    pub voice_turn_failed: u64,
    /// Commits that failed: what they carried was not acknowledged.
    pub failed_commits_total: u64,
}

/// How the gateway is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Runtime {
    /// Always `voxgate`: where OpenCane names its adapter.
    pub adapter: String,
    /// Where it listens for devices, as in `mqtt 0.0.0.0:1883`.
    pub transport: String,
    /// It answers, so it runs.
    pub running: bool,
    /// `ready`, `degraded`, `missing`: the worst of its parts.
    pub health: String,
    /// The version of the package.
    pub version: String,
    /// What was counted.
    pub metrics: Counted,
    /// Operations that wait for a device or for its answer.
    pub operations_under_way: u64,
    /// Those of them that were not sent yet.
    pub operations_queued: u64,
    /// Tasks that wait for their turn.
    pub tasks_pending: u64,
    /// Tasks that are worked on.
    pub tasks_running: u64,
    /// Every device that may come in, and how it is.
    pub devices: Vec<DeviceState>,
}

/// How the gateway was at one time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// When, ms since 1970-01-01 UTC.
    pub ts: u64,
    /// Devices that may come in.
    pub devices_total: u64,
    /// Those without a connection. Devices are counted, not sessions.
    pub devices_offline: u64,
    /// The share of those.
    pub device_offline_rate: f64,
    /// Sessions in memory.
    pub sessions: u64,
    /// Turns that ended since the start.
    pub voice_turn_total: u64,
    /// Those that failed.
    pub voice_turn_failed: u64,
    /// The share of those.
    pub voice_turn_failure_rate: f64,
    /// Operations under way.
    pub operations_under_way: u64,
    /// Those not sent yet.
    pub operations_queued: u64,
    /// Tasks that wait for their turn.
    #[serde(default)]
    pub tasks_pending: u64,
    /// Tasks that are worked on.
    #[serde(default)]
    pub tasks_running: u64,
    /// Tasks that were done since the start.
    #[serde(default)]
    pub tasks_done_total: u64,
    /// Tasks that failed, or were not done in their time, since the start.
    #[serde(default)]
    pub tasks_failed_total: u64,
    /// The share of those.
    #[serde(default)]
    pub task_failure_rate: f64,
    /// Commits that failed since the start.
    pub failed_commits_total: u64,
}
