//! What operators watch: one line per thing that happened.

use serde::Serialize;
use serde_json::Value;

use super::{DeviceId, Wall};

/// The kinds of `gateway/{gateway}/event/{id}/{kind}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A session opened, resumed or closed.
    Session,
    /// A turn ended: outcome and timings by stage.
    Turn,
    /// What was understood.
    Transcript,
    /// What was answered.
    Reply,
    /// An image is stored.
    Image,
    /// Somebody should look.
    Alert,
    /// Copies for watchers were dropped.
    Gap,
}

impl EventKind {
    /// The last level of the topic.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Session => "session",
            EventKind::Turn => "turn",
            EventKind::Transcript => "transcript",
            EventKind::Reply => "reply",
            EventKind::Image => "image",
            EventKind::Alert => "alert",
            EventKind::Gap => "gap",
        }
    }
}

/// One event of a device (or of the gateway itself, when `device` is none).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Whose.
    pub device: Option<DeviceId>,
    /// When.
    pub at: Wall,
    /// What kind.
    pub kind: EventKind,
    /// The JSON object that is published; small and flat.
    pub detail: Value,
}
