//! What operators asked of devices: by number, which is their order, and by id.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::numbered::{self, Numbered};
use super::{Batch, Space, Store, StoreError};
use crate::domain::{DeviceId, Wall};

/// What is asked of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Change settings.
    SetConfig,
    /// Call a tool.
    ToolCall,
    /// Firmware news.
    OtaPlan,
}

impl OperationKind {
    /// The `type` of the envelope.
    pub fn name(self) -> &'static str {
        match self {
            Self::SetConfig => "set_config",
            Self::ToolCall => "tool_call",
            Self::OtaPlan => "ota_plan",
        }
    }
}

/// How far an operation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
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

impl OperationState {
    /// Nothing follows.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Sent)
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its number, which is that of its entry in the outbox too.
    pub n: u64,
    /// Its name.
    pub id: String,
    /// Of which device.
    pub device: DeviceId,
    /// What.
    pub kind: OperationKind,
    /// How far it has come.
    pub state: OperationState,
    /// With what: an object.
    pub payload: Value,
    /// What came out.
    #[serde(default)]
    pub result: Value,
    /// What went wrong.
    #[serde(default)]
    pub error: String,
    /// The session that it was last sent in.
    #[serde(default)]
    pub session: String,
    /// The number that it was last sent under.
    #[serde(default)]
    pub seq: Option<u32>,
    /// How often it was sent.
    #[serde(default)]
    pub attempts: u32,
    /// When it was asked.
    pub created: Wall,
    /// When it last changed.
    pub updated: Wall,
    /// When the device did it, or could not.
    #[serde(default)]
    pub acked: Option<Wall>,
    /// When it is too late.
    pub expires: Wall,
    /// The operator who asked.
    #[serde(default)]
    pub by: String,
    /// Those that were asked together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
}

impl Numbered for Operation {
    const SPACE: Space = Space::Operation;

    fn number(&self) -> u64 {
        self.n
    }

    fn id(&self) -> &str {
        &self.id
    }
}

/// Writes an operation.
pub fn put(batch: &mut Batch, operation: &Operation) -> Result<(), StoreError> {
    numbered::put(batch, operation)
}

/// Removes an operation.
pub fn remove(batch: &mut Batch, operation: &Operation) {
    numbered::remove(batch, operation);
}

/// Reads an operation by its id.
pub async fn get(store: &dyn Store, id: &str) -> Result<Option<Operation>, StoreError> {
    numbered::get(store, id).await
}

/// A page of operations: those before number `before`, newest first, or all from `from` on, oldest first.
pub async fn page(
    store: &dyn Store,
    from: u64,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Operation>, StoreError> {
    numbered::page(store, from, before, limit).await
}
