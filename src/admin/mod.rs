//! What operators may ask of a gateway, and the local socket that they ask it over.
//!
//! [`Admin`] is implemented twice by the app (on a running gateway, and on an opened store while no
//! gateway runs) and once by [`Client`], which speaks to the first over the socket: the command line
//! does not know which of them it talks to. This room knows nothing of sessions, stores or doors.

mod binding;
mod boards;
mod cache;
mod change;
mod client;
mod inbox;
mod operation;
mod protocol;
mod providers;
mod reload;
mod runtime;
mod server;
mod settings;
mod task;
mod telemetry;
#[cfg(test)]
pub(crate) mod testing;
mod types;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::DeviceId;

pub use binding::{BindingQuery, BindingRow, BindingStatus, BindingStep, NewBinding, Registered};
pub use boards::{
    Alert, Claim, FirmwareName, FirmwarePart, FirmwareRow, ImportBoard, Level, NewFirmware, NewTalk, PendingRow,
    TalkLink, ToolCall, ToolRow, Transport,
};
pub use cache::{CacheCleared, CacheName, CacheRow, CacheWarmed};
pub use change::DeviceChange;
pub use client::Client;
pub use inbox::{InboxName, InboxQuery, InboxRow};
pub use operation::{
    BatchRow, NewOperation, OperationEnd, OperationQuery, OperationRow, OperationStatus, OperationType, Order,
    Selection,
};
pub use protocol::{MAX_ANSWER, MAX_REQUEST, Request};
pub use providers::{ProviderRow, ProviderState, WeightTerms};
pub use reload::Reloaded;
pub use runtime::{Counted, DeviceState, Runtime, Sample};
pub use server::{ControlError, ControlServer};
pub use settings::Settings;
pub use task::{NewTask, TaskQuery, TaskRow, TaskStats, TaskStatus, TaskStepRow};
pub use telemetry::{TelemetryQuery, TelemetryRow};
pub use types::{
    Credential, DeviceRow, ImportOutcome, ImportUser, LifelogQuery, LifelogRow, ModelRow, ModelState, NewDevice,
    NewOperator, NewPassword, NewRule, OperatorRow, Role, RuleRow, Said, Secret, SessionRow, Status,
};

/// Why an operation was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminErrorKind {
    /// The state of things does not allow it.
    Conflict,
    /// There is one already.
    Exists,
    /// A fault of the gateway's.
    Internal,
    /// The request makes no sense.
    Invalid,
    /// There is none of that name.
    NotFound,
    /// Only a running gateway can do it, and none runs.
    NotRunning,
    /// The store cannot do it: locked, full, damaged.
    Store,
}

/// An operation that was not done. The text is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// Why.
    pub kind: AdminErrorKind,
    /// What happened and what mends it, lowercase, no full stop, no secret.
    pub message: String,
}

impl AdminError {
    /// An operation that was not done because of `kind`.
    pub fn new(kind: AdminErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Lifelog entries as they come; an error is the last item.
pub type LifelogTail = BoxStream<'static, Result<LifelogRow, AdminError>>;

/// The operators' operations.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Makes a device and its credential. The secret is told once, here.
    async fn device_add(&self, device: NewDevice) -> Result<Credential, AdminError>;

    /// All devices, by id.
    async fn device_list(&self) -> Result<Vec<DeviceRow>, AdminError>;

    /// Changes a device's settings; they count from its next turn on.
    async fn device_set(&self, change: DeviceChange) -> Result<(), AdminError>;

    /// Removes a device's credential and settings, and ends its connections; its lifelog stays.
    async fn device_remove(&self, device: DeviceId) -> Result<(), AdminError>;

    /// Registers a device, or gives one that is registered another token. A token is told once, here.
    async fn device_register(&self, new: NewBinding) -> Result<Registered, AdminError>;

    /// Takes a device one step on: binds, activates or revokes it. One that is revoked loses its connections.
    async fn device_step(&self, device: DeviceId, step: BindingStep) -> Result<BindingRow, AdminError>;

    /// Whose devices are, by id.
    async fn device_bindings(&self, query: BindingQuery) -> Result<Vec<BindingRow>, AdminError>;

    /// How a device is.
    async fn device_state(&self, device: DeviceId) -> Result<DeviceState, AdminError>;

    /// Takes an event as if the device had sent it, in OpenCane's words; done when what has to be durable of it is.
    async fn device_event(&self, device: DeviceId, event: Map<String, Value>) -> Result<(), AdminError>;

    /// Begins an operation of a device, which may be away.
    async fn operation_begin(&self, new: NewOperation) -> Result<OperationRow, AdminError>;

    /// Begins the same operation on many devices; one outcome each, by device.
    async fn operation_batch(&self, selection: Selection, order: Order) -> Result<Vec<BatchRow>, AdminError>;

    /// Ends an operation: in the place of a device that cannot say so, or to take it back.
    async fn operation_end(&self, end: OperationEnd) -> Result<OperationRow, AdminError>;

    /// Operations, newest first.
    async fn operation_list(&self, query: OperationQuery) -> Result<Vec<OperationRow>, AdminError>;

    /// Begins a task, which is worked on in the background.
    async fn task_begin(&self, new: NewTask) -> Result<TaskRow, AdminError>;

    /// Takes a task back.
    async fn task_cancel(&self, id: String, reason: String) -> Result<TaskRow, AdminError>;

    /// Tasks, newest first.
    async fn task_list(&self, query: TaskQuery) -> Result<Vec<TaskRow>, AdminError>;

    /// All remembered tasks together, or those of one conversation.
    async fn task_stats(&self, session: Option<String>) -> Result<TaskStats, AdminError>;

    /// Messages that were taken in and are not done, those that were put aside last.
    async fn inbox_list(&self, query: InboxQuery) -> Result<Vec<InboxRow>, AdminError>;

    /// Takes a message that was put aside back into the inbox: it is tried again at once where its device is connected,
    /// else when it is back.
    async fn inbox_retry(&self, message: InboxName) -> Result<(), AdminError>;

    /// Drops a message that was put aside.
    async fn inbox_drop(&self, message: InboxName) -> Result<(), AdminError>;

    /// What caches hold, and how they did since the start.
    async fn cache_stats(&self) -> Result<Vec<CacheRow>, AdminError>;

    /// Has caches forget what they hold.
    async fn cache_clear(&self, which: CacheName) -> Result<Vec<CacheCleared>, AdminError>;

    /// Makes the phrases ahead that are not there.
    async fn cache_warm(&self) -> Result<CacheWarmed, AdminError>;

    /// How the gateway is, with its devices and what it counted.
    async fn runtime(&self) -> Result<Runtime, AdminError>;

    /// How the gateway is now, as it is noted for its history.
    async fn sample(&self) -> Result<Sample, AdminError>;

    /// How the gateway was since `since` (ms since 1970-01-01 UTC), oldest first.
    async fn samples(&self, since: u64) -> Result<Vec<Sample>, AdminError>;

    /// Boards that wait to be claimed, in the order in which they came.
    async fn device_pending(&self) -> Result<Vec<PendingRow>, AdminError>;

    /// Makes the board that shows a code a device, in the place of one of the same id; gives the id.
    async fn device_claim(&self, claim: Claim) -> Result<DeviceId, AdminError>;

    /// Makes a link that lets one browser in as a device, once. It is told once, here.
    async fn device_talk(&self, new: NewTalk) -> Result<TalkLink, AdminError>;

    /// The tools of a device that is connected.
    async fn device_tools(&self, device: DeviceId) -> Result<Vec<ToolRow>, AdminError>;

    /// Calls a tool of a device that is connected; its answer as text.
    async fn device_call(&self, call: ToolCall) -> Result<String, AdminError>;

    /// Shows something on a device that is connected, in a conversation or not.
    async fn device_alert(&self, alert: Alert) -> Result<(), AdminError>;

    /// Takes a part of a firmware file.
    async fn firmware_upload(&self, part: FirmwarePart) -> Result<(), AdminError>;

    /// Offers an uploaded firmware to boards.
    async fn firmware_add(&self, new: NewFirmware) -> Result<FirmwareRow, AdminError>;

    /// All firmware, by board and version.
    async fn firmware_list(&self) -> Result<Vec<FirmwareRow>, AdminError>;

    /// Offers a firmware to another share of boards, percent; 0 holds it.
    async fn firmware_rollout(&self, name: FirmwareName, share: u32) -> Result<FirmwareRow, AdminError>;

    /// Removes a firmware; downloads of it end.
    async fn firmware_remove(&self, name: FirmwareName) -> Result<(), AdminError>;

    /// Makes an operator and a credential. The secret is told once, here.
    async fn operator_add(&self, operator: NewOperator) -> Result<Credential, AdminError>;

    /// All operators, by name.
    async fn operator_list(&self) -> Result<Vec<OperatorRow>, AdminError>;

    /// Removes an operator and ends the operator's connections.
    async fn operator_remove(&self, name: String) -> Result<(), AdminError>;

    /// Gives a device another password and ends its connections. A secret is told once, here.
    async fn device_password(&self, new: NewPassword) -> Result<Credential, AdminError>;

    /// The key that an operator signs requests to the control API with; another one when the password is changed.
    async fn operator_signing_key(&self, name: String) -> Result<Secret, AdminError>;

    /// Gives an operator another password and ends the operator's connections. A secret is told once, here.
    async fn operator_password(&self, new: NewPassword) -> Result<Credential, AdminError>;

    /// Adds a rule about topics; it counts at once.
    async fn rule_add(&self, rule: NewRule) -> Result<RuleRow, AdminError>;

    /// All rules about topics, those of the configuration first.
    async fn rule_list(&self) -> Result<Vec<RuleRow>, AdminError>;

    /// Removes a rule about topics by its id.
    async fn rule_remove(&self, id: String) -> Result<(), AdminError>;

    /// Makes devices and operators of another broker's users; one outcome each. `dry`: only says what it would do.
    async fn import_users(&self, users: Vec<ImportUser>, dry: bool) -> Result<Vec<ImportOutcome>, AdminError>;

    /// Adds another broker's rules; one outcome each. `dry`: only says what it would do.
    async fn import_rules(&self, rules: Vec<NewRule>, dry: bool) -> Result<Vec<ImportOutcome>, AdminError>;

    /// Expects a board that another server knew: the first that says its name in its time is enrolled without a code.
    /// `dry`: only says what it would do.
    async fn import_board(&self, board: ImportBoard, dry: bool) -> Result<ImportOutcome, AdminError>;

    /// The open sessions, by device.
    async fn session_list(&self) -> Result<Vec<SessionRow>, AdminError>;

    /// The last entries that the query matches, oldest first.
    async fn lifelog_list(&self, query: LifelogQuery) -> Result<Vec<LifelogRow>, AdminError>;

    /// Entries as they are written, from now on.
    async fn lifelog_tail(&self, query: LifelogQuery) -> Result<LifelogTail, AdminError>;

    /// Telemetry samples that the query matches, newest first.
    async fn telemetry_samples(&self, query: TelemetryQuery) -> Result<Vec<TelemetryRow>, AdminError>;

    /// Speaks a text on a device.
    async fn say(&self, device: DeviceId, text: String) -> Result<Said, AdminError>;

    /// Ends what a device is saying; `false`: it said nothing.
    async fn abort(&self, device: DeviceId) -> Result<bool, AdminError>;

    /// Reads the configuration anew: services, prompts, voices and keys count from the next turn on.
    async fn config_reload(&self) -> Result<Reloaded, AdminError>;

    /// How the gateway is.
    async fn status(&self) -> Result<Status, AdminError>;

    /// How the services stand that it asks, pool by pool.
    async fn providers(&self) -> Result<Vec<ProviderRow>, AdminError>;

    /// The models that the gateway's engines need, and whether they are there.
    async fn models(&self) -> Result<Vec<ModelRow>, AdminError>;
}
