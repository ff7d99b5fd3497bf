//! The live session of a device: what resuming needs.

use serde::{Deserialize, Serialize};

use super::{Batch, Space, Store, StoreError, get_json, list_json, of_device, put_json};
use crate::domain::{DeviceId, HelloAck, ListenMode, SessionId, Wall};
use crate::store::Key;

/// A `hello` and what it was answered: a repeat gets the same again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastHello {
    /// Its `msg_id`.
    pub msg_id: String,
    /// The answer.
    pub answer: HelloAck,
}

/// A session. One record a device: a new session takes the place of the former one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub session: SessionId,
    /// Whose.
    pub device: DeviceId,
    /// When it was opened.
    pub opened: Wall,
    /// The device's random number of its power-on; none never resumes.
    #[serde(default)]
    pub boot_id: Option<u32>,
    /// What the device itself calls the session, where its dialect has it name them.
    #[serde(default)]
    pub peer: Option<String>,
    /// The last `hello` that carried a `msg_id`.
    #[serde(default)]
    pub last_hello: Option<LastHello>,
    /// The last downlink control number given out.
    #[serde(default)]
    pub down_seq: u32,
    /// It is open; else it is history and never resumes.
    pub open: bool,
    /// Who ends a turn.
    #[serde(default)]
    pub listen: ListenMode,
    /// Turns so far.
    #[serde(default)]
    pub turns: u32,
    /// The dialect that the device spoke last.
    #[serde(default)]
    pub dialect: Option<String>,
}

/// Writes a device's session.
pub fn put(batch: &mut Batch, session: &Session) -> Result<(), StoreError> {
    put_json(batch, of_device(Space::Session, &session.device), session)
}

/// Reads a device's session.
pub async fn get(store: &dyn Store, device: &DeviceId) -> Result<Option<Session>, StoreError> {
    get_json(store, of_device(Space::Session, device)).await
}

/// The sessions of all devices, at most `limit`.
pub async fn list(store: &dyn Store, limit: usize) -> Result<Vec<Session>, StoreError> {
    list_json(store, Key::new(Space::Session), limit).await
}
