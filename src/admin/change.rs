//! What an operator changes of a device.

use serde::{Deserialize, Serialize};

use super::Transport;
use crate::domain::DeviceId;

/// Changes of one device's settings. None leaves a setting as it is; an empty text takes it back: then it is as the
/// configuration says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceChange {
    /// Which.
    pub device: DeviceId,
    /// What people call it, at most 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The language that is spoken to it (BCP 47).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The voice, in the words of the provider of speech, at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// The instructions that its conversations start with, at most 16 KB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Where it stands, at most 64 characters: of the boards of one room that wake to one word, the one that heard it
    /// loudest answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// How closely what is said on it is watched: `off`, `audit`, `cane`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The IANA time zone of its person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// When nothing is said to it unasked, as in `22:00-07:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<String>,
    /// How a board speaks to the gateway, from its next start on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
}

impl DeviceChange {
    /// Nothing yet.
    pub fn of(device: DeviceId) -> Self {
        Self {
            device,
            name: None,
            language: None,
            voice: None,
            prompt: None,
            room: None,
            policy: None,
            timezone: None,
            quiet_hours: None,
            transport: None,
        }
    }

    /// It changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::of(self.device.clone())
    }
}
