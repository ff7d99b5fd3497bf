//! The typed records on top of the [`Store`] trait: one small file each.
//!
//! Payloads are JSON, so that they can grow: new fields have defaults, old records stay readable
//! (`tests/data/records` has one of each version, played by a test). Functions that change something
//! add to a [`Batch`] of the caller, so that a mark and its effect go together.

mod device;
mod inbox;
mod measurement;
mod number;
mod numbered;
mod operation;
mod outbox;
mod session;
mod task;
mod windows;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use device::{Binding, Board, Device, DeviceSettings, Persona, Status, Transport, TtsMode, Watching};
pub use inbox::{Inbox, InboxKind, Next, Quarantined};
pub use measurement::{Measurement, Stub};
pub use number::Numbers;
pub use operation::{Operation, OperationKind, OperationState};
pub use outbox::Outbox;
pub use session::{LastHello, Session};
pub use task::{Task, TaskState, TaskStep};

/// Devices and their credentials.
pub mod devices {
    pub use super::device::{get, list, put, remove};
}
/// Messages taken in but not yet done, and those that were given up.
pub mod inboxes {
    pub use super::inbox::{
        done, drop_quarantined, list, list_all, list_kind, list_quarantined, next, put, release, retry_quarantined,
    };
}
/// What devices measured.
pub mod measurements {
    pub use super::measurement::{Wanted, get, latest, oldest, page, put, remove};
}
/// Messages that must reach a device.
pub mod outboxes {
    pub use super::outbox::{delete, list, put};
}
/// What operators asked of devices.
pub mod operations {
    pub use super::operation::{get, page, put, remove};
}
/// What the gateway works on by itself.
pub mod tasks {
    pub use super::task::{get, page, put, remove};
}
/// The live session of a device.
pub mod sessions {
    pub use super::session::{get, list, put};
}
/// Sequence windows, one record a device.
pub mod marks {
    pub use super::windows::{get, put};
}

use super::{Batch, Key, Range, Space, Store, StoreError};

/// Most records of one page of a listing.
const PAGE: usize = 512;

/// Writes a value as JSON.
fn put_json(batch: &mut Batch, key: Key, value: &impl Serialize) -> Result<(), StoreError> {
    let text = serde_json::to_vec(value).map_err(|e| StoreError::Write(format!("record {key:?}: {e}")))?;
    batch.put(key, text);
    Ok(())
}

/// Reads a value from JSON.
fn parse<T: DeserializeOwned>(key: &Key, payload: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(payload).map_err(|e| StoreError::Damaged(format!("record {key:?}: {e}")))
}

async fn get_json<T: DeserializeOwned>(store: &dyn Store, key: Key) -> Result<Option<T>, StoreError> {
    let payload = store.get(key.clone()).await?;
    payload.map(|p| parse(&key, &p)).transpose()
}

/// All records that begin with `prefix`, page by page, at most `limit`.
async fn list_json<T: DeserializeOwned>(store: &dyn Store, prefix: Key, limit: usize) -> Result<Vec<T>, StoreError> {
    let to = prefix.clone().after_prefix();
    let mut from = prefix;
    let mut found = Vec::new();
    while found.len() < limit {
        let wanted = PAGE.min(limit - found.len());
        let range = Range { from: from.clone(), to: to.clone(), limit: wanted, backwards: false };
        let page = store.scan(range).await?;
        for (key, payload) in &page.records {
            found.push(parse(key, payload)?);
        }
        match page.records.last() {
            Some((last, _)) if page.records.len() == wanted => from = last.clone().byte(0),
            _ => break,
        }
    }
    Ok(found)
}

/// The key of one record of a device.
fn of_device(space: Space, device: &crate::domain::DeviceId) -> Key {
    Key::new(space).device(device)
}

#[cfg(test)]
mod tests;
