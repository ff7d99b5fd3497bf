//! The values of the operations that say whose a device is. Their JSON is that of OpenCane's control API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Secret;
use crate::domain::DeviceId;

/// How far a device has come: registered → bound → activated → revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BindingStatus {
    /// It has a token, and may not come in yet.
    Registered,
    /// It is somebody's, and may not come in yet.
    Bound,
    /// It may come in.
    Activated,
    /// It may not come in any more.
    Revoked,
}

impl BindingStatus {
    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            BindingStatus::Registered => "registered",
            BindingStatus::Bound => "bound",
            BindingStatus::Activated => "activated",
            BindingStatus::Revoked => "revoked",
        }
    }
}

/// A device and whose it is. Times are ms since 1970-01-01 UTC; 0 and empty texts are "not".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BindingRow {
    /// Which.
    pub device_id: String,
    /// How far it has come. A device that was added by hand, or claimed, is activated from the start.
    pub status: BindingStatus,
    /// Whose.
    pub user_id: String,
    /// When it became known.
    pub created_at_ms: u64,
    /// When this last changed.
    pub updated_at_ms: u64,
    /// When it was activated.
    pub activated_at_ms: u64,
    /// When it was revoked.
    pub revoked_at_ms: u64,
    /// Why.
    pub revoke_reason: String,
    /// What whoever registered it noted.
    pub metadata: Map<String, Value>,
}

/// A device to register.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewBinding {
    /// Which.
    pub device: DeviceId,
    /// A token that somebody chose, of 12 characters at least; none: the gateway makes one of 256 random bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Gives a device that is registered another token; the one way back of a device that was revoked.
    #[serde(default)]
    pub force_rotate: bool,
    /// Noted with it, at most 8 KB as JSON; none: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// A device that was registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registered {
    /// It.
    pub device: BindingRow,
    /// Its token, told once, here; none: it has one already, or it was chosen by who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

/// A step of a device on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum BindingStep {
    /// It is somebody's.
    Bind {
        /// Whose.
        user: String,
        /// And may come in at once.
        #[serde(default)]
        activate: bool,
    },
    /// It may come in.
    Activate {
        /// Whose it is; none: as it was bound.
        #[serde(default)]
        user: Option<String>,
    },
    /// It may not come in any more, and what of it is connected goes.
    Revoke {
        /// Why, for the record.
        #[serde(default)]
        reason: String,
    },
}

/// Which devices.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BindingQuery {
    /// This one.
    #[serde(default)]
    pub device: Option<DeviceId>,
    /// That have come so far.
    #[serde(default)]
    pub status: Option<BindingStatus>,
    /// Of this user.
    #[serde(default)]
    pub user: Option<String>,
    /// Passes over so many.
    #[serde(default)]
    pub offset: usize,
    /// At most so many.
    #[serde(default)]
    pub limit: usize,
}
