//! One entry, and its key in the store.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::day::Day;
use crate::domain::{DeviceId, Policy, SessionId, Wall};
use crate::store::{Batch, Key, Space, StoreError};

/// What an entry tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A session opened, resumed or closed.
    Session,
    /// A turn: transcript, reply, outcome, timings by stage.
    Turn,
    /// An image was stored.
    Image,
    /// A milestone of telemetry.
    Telemetry,
    /// Somebody should look.
    Alert,
    /// The safety policy changed what was said.
    SafetyPolicy,
    /// The interaction policy kept something from being said, or added to it.
    InteractionPolicy,
}

impl Kind {
    /// The word in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Session => "session",
            Kind::Turn => "turn",
            Kind::Image => "image",
            Kind::Telemetry => "telemetry",
            Kind::Alert => "alert",
            Kind::SafetyPolicy => "safety_policy",
            Kind::InteractionPolicy => "interaction_policy",
        }
    }
}

impl From<Policy> for Kind {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Safety => Kind::SafetyPolicy,
            Policy::Interaction => Kind::InteractionPolicy,
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number; grows in the order of appending, over restarts too.
    pub n: u64,
    /// When, by the gateway's clock; 0 while that is unset.
    pub at: Wall,
    /// Whose.
    pub device: DeviceId,
    /// In which session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// What.
    pub kind: Kind,
    /// The rest, a JSON object.
    #[serde(default)]
    pub body: Value,
}

impl Entry {
    /// Day, device, time, number.
    pub(super) fn key(&self) -> Key {
        device_key(Day::of(self.at), &self.device).u64(self.at.0).u64(self.n)
    }

    pub(super) fn put(&self, batch: &mut Batch) -> Result<(), StoreError> {
        let text = serde_json::to_vec(self).map_err(|e| StoreError::Write(format!("lifelog entry: {e}")))?;
        batch.put(self.key(), text);
        Ok(())
    }

    pub(super) fn parse(key: &Key, payload: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(payload).map_err(|e| StoreError::Damaged(format!("record {key:?}: {e}")))
    }
}

/// All entries of a day begin with this.
pub(super) fn day_key(day: Day) -> Key {
    Key::new(Space::Lifelog).u32(day.0)
}

/// All entries of a device on a day begin with this.
pub(super) fn device_key(day: Day, device: &DeviceId) -> Key {
    day_key(day).device(device)
}

/// The day in a stored key.
pub(super) fn day_of(key: &Key) -> Option<Day> {
    let bytes = key.as_bytes().get(1..5)?;
    Some(Day(u32::from_be_bytes(bytes.try_into().ok()?)))
}

/// The device in a stored key.
pub(super) fn device_of(key: &Key) -> Option<DeviceId> {
    let rest = key.as_bytes().get(5..)?;
    let end = rest.iter().position(|b| *b == 0)?;
    DeviceId::parse(std::str::from_utf8(&rest[..end]).ok()?).ok()
}
