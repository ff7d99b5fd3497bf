//! Messages that were taken in and are not done, as operators see them.

use serde::{Deserialize, Serialize};

use crate::domain::{DeviceId, Wall};

/// Which messages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InboxQuery {
    /// Of this device.
    #[serde(default)]
    pub device: Option<DeviceId>,
    /// Only what was put aside.
    #[serde(default)]
    pub put_aside: bool,
    /// At most so many of each; 0 is 100.
    #[serde(default)]
    pub limit: usize,
}

/// A message that was taken in and is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxRow {
    /// Whose.
    pub device: DeviceId,
    /// Its number.
    pub n: u64,
    /// `text`, `tool_result`, `sos`, `image` or `task`.
    pub kind: String,
    /// `waiting` (or being done), or `put_aside`.
    pub state: String,
    /// When it came, ms since 1970-01-01 UTC.
    pub received: Wall,
    /// After this it is not done any more.
    pub not_after: Option<Wall>,
    /// Tries begun.
    pub attempts: u32,
    /// Why it was put aside; else empty.
    pub reason: String,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxName {
    /// Whose.
    pub device: DeviceId,
    /// Its number.
    pub n: u64,
}
