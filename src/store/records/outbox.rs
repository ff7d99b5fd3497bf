//! Messages that must reach a device: written before they are sent, removed when acknowledged.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Batch, Space, Store, StoreError, list_json, of_device, put_json};
use crate::domain::{DeviceId, Wall};

/// One message for a device. It belongs to the device, not to a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outbox {
    /// Its number, from [`super::Numbers`]: the order.
    pub n: u64,
    /// Whose.
    pub device: DeviceId,
    /// Tells a repeat.
    pub msg_id: String,
    /// The `type` of the envelope.
    pub kind: String,
    /// The rest of the envelope's own fields.
    #[serde(default)]
    pub body: Value,
    /// When it was written.
    pub created: Wall,
    /// After this it is not sent any more; none never ends.
    #[serde(default)]
    pub expires: Option<Wall>,
    /// It leaves when it is written to the device, not on its acknowledgement: `reboot`, `ota_plan`.
    #[serde(default)]
    pub at_most_once: bool,
}

impl Outbox {
    /// It is too late to send it. Nothing expires while the clock is unset.
    pub fn expired(&self, now: Wall) -> bool {
        now.0 > 0 && self.expires.is_some_and(|at| at < now)
    }
}

/// Writes an entry.
pub fn put(batch: &mut Batch, entry: &Outbox) -> Result<(), StoreError> {
    put_json(batch, of_device(Space::Outbox, &entry.device).u64(entry.n), entry)
}

/// Removes an entry.
pub fn delete(batch: &mut Batch, device: &DeviceId, n: u64) {
    batch.delete(of_device(Space::Outbox, device).u64(n));
}

/// What waits for a device, oldest first, at most `limit`.
pub async fn list(store: &dyn Store, device: &DeviceId, limit: usize) -> Result<Vec<Outbox>, StoreError> {
    list_json(store, of_device(Space::Outbox, device), limit).await
}
