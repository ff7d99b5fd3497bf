//! The values of the operators' operations. Their JSON is what `--json` prints: fields are added,
//! never renamed or removed.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{DeviceId, ListenMode, SessionId, Wall};
use crate::observe::Verdict;

/// A secret on its way between a person and the gateway. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A device to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDevice {
    /// Its id, which is its CONNECT user name.
    pub id: DeviceId,
    /// A password that a person chose; none: the gateway makes a secret of 256 random bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// How the end of an utterance is found before the device says so.
    #[serde(default)]
    pub mode: ListenMode,
    /// The device has a voice of its own: replies are sent as text.
    #[serde(default)]
    pub device_text: bool,
    /// BCP 47; none: the gateway's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Replaces the credential and settings of a device that exists.
    #[serde(default)]
    pub replace: bool,
}

impl NewDevice {
    /// A device with a secret that the gateway makes, in the place of one of the same name.
    pub fn anew(id: DeviceId, mode: ListenMode) -> Self {
        Self { id, password: None, mode, device_text: false, language: None, replace: true }
    }
}

/// An operator to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOperator {
    /// The name, which is the CONNECT user name.
    pub name: String,
    /// What the operator may do.
    pub role: Role,
    /// A password that a person chose; none: the gateway makes a secret of 256 random bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

/// What an operator may do; each role includes the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Watch.
    Viewer,
    /// Watch and command devices.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// A password to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPassword {
    /// The device's id or the operator's name.
    pub name: String,
    /// The password that a person chose; none: the gateway makes a secret of 256 random bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

/// A rule about topics to add. The texts are those of `[[mqtt.rules]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRule {
    /// `everyone`, `anonymous`, `user:NAME`, `role:device`, `role:viewer`, `role:operator`, `role:admin`.
    pub subject: String,
    /// `read`, `write`, `readwrite`, `deny`.
    pub access: String,
    /// A topic filter, in which `%u` and `%c` stand for user name and client id.
    pub filter: String,
}

/// A rule about topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRow {
    /// By which it is removed; none: it stands in the configuration.
    #[serde(default)]
    pub id: Option<String>,
    /// The rule.
    #[serde(flatten)]
    pub rule: NewRule,
}

/// Somebody whose password is known as a hash of another broker's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportUser {
    /// The name.
    pub name: String,
    /// The hash: `$7$…`, `$6$…` or `$argon2id$…`.
    pub hash: Secret,
    /// What the operator may do; none: it is a device.
    #[serde(default)]
    pub role: Option<Role>,
}

/// What becomes, or would become, of one thing that is imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportOutcome {
    /// It is new.
    Added,
    /// It is there already, and stays as it is.
    There,
    /// It is not taken, for this reason.
    Refused(String),
}

/// What somebody connects with. Shown once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The CONNECT user name.
    pub user: String,
    /// The CONNECT password; none when the person who asked chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// Its id.
    pub id: DeviceId,
    /// When it was made.
    pub created: Wall,
    /// The dialect of its last uplink, when it has sent any.
    #[serde(default)]
    pub dialect: Option<String>,
    /// It has a connection; none: no gateway runs that could know.
    #[serde(default)]
    pub online: Option<bool>,
    /// Replies are sent as text.
    #[serde(default)]
    pub device_text: bool,
    /// What people call it.
    #[serde(default)]
    pub name: Option<String>,
    /// The language that is spoken to it; none: the gateway's.
    #[serde(default)]
    pub language: Option<String>,
    /// Its voice; none: the gateway's.
    #[serde(default)]
    pub voice: Option<String>,
    /// It has instructions of its own.
    #[serde(default)]
    pub prompt: bool,
    /// Where it stands.
    #[serde(default)]
    pub room: Option<String>,
    /// Its board has not come yet, and is let in without a code until then; none: it came, or was never expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Wall>,
}

/// One operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRow {
    /// The name.
    pub name: String,
    /// What the operator may do.
    pub role: Role,
    /// When it was made.
    pub created: Wall,
}

/// One open session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Whose.
    pub device: DeviceId,
    /// Which.
    pub session: SessionId,
    /// `idle`, `listening`, `thinking`, `speaking`.
    pub state: String,
    /// When it was opened.
    pub opened: Wall,
    /// When the device was last heard of.
    pub last_seen: Wall,
    /// Turns so far.
    pub turns: u32,
    /// The device is connected.
    pub connected: bool,
}

/// Which lifelog entries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LifelogQuery {
    /// Of one device; none: of all.
    #[serde(default)]
    pub device: Option<DeviceId>,
    /// Not before.
    #[serde(default)]
    pub since: Option<Wall>,
    /// Before.
    #[serde(default)]
    pub until: Option<Wall>,
    /// Of one kind: `session`, `turn`, `image`, `telemetry`, …
    #[serde(default)]
    pub kind: Option<String>,
    /// At most so many, the newest of them; 0 is the gateway's own limit.
    #[serde(default)]
    pub limit: usize,
}

/// One lifelog entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LifelogRow {
    /// When.
    pub at: Wall,
    /// Whose; none: the gateway's own.
    #[serde(default)]
    pub device: Option<DeviceId>,
    /// In which session.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// `session`, `turn`, `image`, `telemetry`, …
    pub kind: String,
    /// The rest, flat; a turn has `transcript`, `reply`, `outcome` and `stages_ms`.
    pub detail: Value,
}

/// What became of a text to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// It is being spoken now; else it waits for the device, or for its turn.
    pub now: bool,
    /// For a person.
    pub detail: String,
}

/// A model of the local engines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRow {
    /// Its name in the manifest.
    pub name: String,
    /// What it does: `transcribe`, `chat`, `speak`, `vad`, `embed`.
    pub part: String,
    /// Is it there.
    pub state: ModelState,
    /// Size on disk, or to fetch.
    pub bytes: u64,
    /// Its licence (SPDX).
    pub licence: String,
}

/// Whether a model is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelState {
    /// It is there and as it should be.
    Ready,
    /// It is not there.
    Missing,
    /// It is there, but not what the manifest says.
    Damaged,
}

impl ModelState {
    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            ModelState::Ready => "ready",
            ModelState::Missing => "missing",
            ModelState::Damaged => "damaged",
        }
    }
}

/// How a gateway is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The gateway's name.
    pub gateway: String,
    /// The version of the package.
    pub version: String,
    /// The boot epoch that `hello_ack` carries.
    pub boot: u64,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Devices known.
    pub devices: u64,
    /// Devices connected.
    pub online: u64,
    /// Open sessions.
    pub sessions: u64,
    /// Addresses that it listens on: `mqtt`, `http`, … and where.
    pub listeners: Vec<(String, String)>,
    /// Its parts and how they are.
    pub health: Verdict,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        let credential = Credential { user: "cane".into(), secret: Some(Secret("hush-hush".into())) };
        assert!(!format!("{credential:?}").contains("hush"));
    }
}
