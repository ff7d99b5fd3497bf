//! The values of devices' operations. Their JSON is that of OpenCane's control API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{DeviceId, Span};

/// What is asked of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationType {
    /// Change settings of the device.
    #[serde(alias = "config")]
    SetConfig,
    /// Call a tool of the device.
    #[serde(alias = "tool")]
    ToolCall,
    /// Firmware news. It is sent at most once.
    #[serde(alias = "ota")]
    OtaPlan,
}

impl OperationType {
    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::SetConfig => "set_config",
            Self::ToolCall => "tool_call",
            Self::OtaPlan => "ota_plan",
        }
    }
}

/// How far an operation has come: queued → sent → acked | failed; canceled and expired from either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationStatus {
    /// It waits for the device.
    Queued,
    /// It was written to the device's connection.
    Sent,
    /// The device did it.
    Acked,
    /// The device could not do it.
    Failed,
    /// An operator took it back.
    Canceled,
    /// The device did not do it in time.
    Expired,
}

impl OperationStatus {
    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Acked => "acked",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Expired => "expired",
        }
    }
}

/// An operation. Times are ms since 1970-01-01 UTC; 0 is never.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OperationRow {
    /// Which.
    pub operation_id: String,
    /// Of which device.
    pub device_id: String,
    /// In which session it was last sent; empty before.
    pub session_id: String,
    /// What.
    pub op_type: OperationType,
    /// The type of the message that the device gets.
    pub command_type: OperationType,
    /// How far it has come.
    pub status: OperationStatus,
    /// With what.
    pub payload: Map<String, Value>,
    /// What came out.
    pub result: Value,
    /// What went wrong.
    pub error: String,
    /// The number of the message that it was last sent in, where the dialect has numbers.
    pub seq: Option<u32>,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was asked.
    pub created_at_ms: u64,
    /// When it last changed.
    pub updated_at_ms: u64,
    /// When the device did it, or could not.
    pub acked_at_ms: u64,
    /// When it is too late.
    pub expires_at_ms: u64,
    /// The operator who asked.
    pub requested_by: String,
    /// Those that were asked together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<String>,
}

/// What to ask, of whomever.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// What.
    pub op_type: OperationType,
    /// With what, at most 32 KB.
    #[serde(default)]
    pub payload: Map<String, Value>,
    /// How long it waits for the device; none: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Span>,
    /// The operator who asks.
    #[serde(default)]
    pub by: String,
}

/// An operation of one device to begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewOperation {
    /// Of which.
    pub device: DeviceId,
    /// Its id, which was never used before; none: one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What.
    pub order: Order,
}

/// Which devices: all that every condition fits. None that is given is every one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Selection {
    /// One of these.
    #[serde(default)]
    pub devices: Vec<DeviceId>,
    /// Of this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// That spoke this dialect last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// Every device, on purpose: without a condition and without this, nothing is done.
    #[serde(default)]
    pub all: bool,
}

/// What became of one device of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatchRow {
    /// Which.
    pub device_id: String,
    /// Its operation, when it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationRow>,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How an operation ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationEnd {
    /// Which.
    pub id: String,
    /// `acked`, `failed` or `canceled`.
    pub status: OperationStatus,
    /// What came out.
    #[serde(default)]
    pub result: Value,
    /// What went wrong.
    #[serde(default)]
    pub error: String,
}

/// Which operations, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OperationQuery {
    /// This one; the rest is not looked at then.
    #[serde(default)]
    pub id: Option<String>,
    /// Of this device.
    #[serde(default)]
    pub device: Option<DeviceId>,
    /// That have come so far.
    #[serde(default)]
    pub status: Option<OperationStatus>,
    /// Of this kind.
    #[serde(default)]
    pub op_type: Option<OperationType>,
    /// Of those that were asked together.
    #[serde(default)]
    pub batch: Option<String>,
    /// Passes over so many.
    #[serde(default)]
    pub offset: usize,
    /// At most so many; 0 is 100.
    #[serde(default)]
    pub limit: usize,
}
