//! The values of the operations on boards with stock firmware, and on their firmware.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Secret;
use crate::domain::{DeviceId, Span, Wall};

/// How a board speaks to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// MQTT, audio as datagrams.
    Mqtt,
    /// A WebSocket for each conversation.
    Websocket,
}

/// A board that waits to be claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRow {
    /// What it says to be.
    pub id: DeviceId,
    /// What its screen shows.
    pub code: String,
    /// `new`; `other_board`: its id is that of another; `by_hand`: its id is that of a device that was added by hand.
    pub reason: String,
    /// Where it asked from.
    pub address: String,
    /// Its type, as it says.
    pub board: String,
    /// When it first asked.
    pub since: Wall,
}

/// A board to make a device of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What its screen shows.
    pub code: String,
    /// What people call it; none: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it shall speak; none: as before, else as the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
}

/// A board that another server knew, and that is expected here. Its settings are as in `DeviceChange`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportBoard {
    /// Its MAC, in any case, with colons or dashes.
    pub mac: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The language that is spoken to it (BCP 47).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Its voice, in the words of the provider of speech.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// The instructions that its conversations start with, and what was remembered. Not shown by `Debug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// For how long it is let in without a code, a minute to thirty days.
    pub within: Span,
}

impl fmt::Debug for ImportBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportBoard").field("mac", &self.mac).field("within", &self.within).finish_non_exhaustive()
    }
}

/// A part of a firmware file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwarePart {
    /// Which upload: 32 hex digits of the sender's.
    pub upload: String,
    /// Where it begins.
    pub offset: u64,
    /// At most 32 KB, in base64.
    pub data: String,
}

impl fmt::Debug for FirmwarePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirmwarePart")
            .field("upload", &self.upload)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// A firmware to offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFirmware {
    /// The upload that brought the file.
    pub upload: String,
    /// For which type of board.
    pub board: String,
    /// What it must be; none: what the image says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Boards that are offered it, percent.
    pub share: u32,
}

/// Which firmware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareName {
    /// The board's type.
    pub board: String,
    /// Numbers with dots between.
    pub version: String,
}

/// One firmware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareRow {
    /// The board's type.
    pub board: String,
    /// Numbers with dots between.
    pub version: String,
    /// Boards that are offered it, percent; 0: held.
    pub share: u32,
    /// Bytes.
    pub size: u64,
    /// Of the file.
    pub sha256: String,
    /// When it was added.
    pub added: Wall,
}

/// A browser to let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTalk {
    /// As which device; it is made when there is none.
    pub device: DeviceId,
    /// How long the link waits for its browser; none: as the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Span>,
}

/// What lets a browser in, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TalkLink {
    /// As which device.
    pub device: DeviceId,
    /// The page's address, with the ticket in its fragment.
    pub url: Secret,
    /// Until when it is good.
    pub until: Wall,
    /// There was no such device before.
    pub made: bool,
}

/// A tool of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRow {
    /// As the device calls it.
    pub name: String,
    /// What it does, in the device's words.
    pub description: String,
    /// JSON Schema of its arguments, as text.
    pub parameters: String,
    /// For people only: no model is told of it.
    pub user_only: bool,
}

/// Something to show on a device at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// On which.
    pub device: DeviceId,
    /// What.
    pub text: String,
    /// How much it matters.
    pub level: Level,
    /// A word over it, for boards with stock firmware; none: by the level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The face beside it, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emotion: Option<String>,
}

/// How much an alert matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// News.
    #[default]
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must look.
    Critical,
}

impl Level {
    /// The word that devices are told.
    pub fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Critical => "critical",
        }
    }
}

/// A call of a device's tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Whose.
    pub device: DeviceId,
    /// Which.
    pub tool: String,
    /// A JSON object as text; empty is `{}`.
    pub arguments: String,
}
