//! A device and its credential. The credential is opaque here: the door makes and checks it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Batch, Space, Store, StoreError, get_json, list_json, of_device, put_json};
use crate::domain::{DeviceId, ListenMode, Profile, Wall};
use crate::store::Key;

/// Who speaks the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TtsMode {
    /// The gateway synthesises and sends Opus.
    #[default]
    ServerAudio,
    /// The device gets the text and speaks it itself.
    DeviceText,
}

/// How a board with xiaozhi firmware shall speak to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// MQTT, audio as datagrams.
    #[default]
    Mqtt,
    /// One WebSocket for each conversation.
    Websocket,
}

/// How a board that enrolled itself over HTTP is known again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    /// A keyed hash of the number that the board made up for itself.
    pub client: String,
    /// Random, drawn at each enrolment: the secret is derived with it, so an old one never comes back.
    pub generation: String,
}

/// Who answers on a device, where it is not who answers on all others. The prompt is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Persona {
    /// The language that is spoken to it (BCP 47); none: `voice.reply.language`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The voice, in the words of the provider of speech; none: that provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// The instructions that conversations start with; none: `voice.reply.system_prompt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

impl Persona {
    /// It is who answers everywhere.
    pub fn is_empty(&self) -> bool {
        self.language.is_none() && self.voice.is_none() && self.prompt.is_none()
    }
}

impl fmt::Debug for Persona {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prompt = self.prompt.as_ref().map(|prompt| format!("{} bytes", prompt.len()));
        let mut debug = f.debug_struct("Persona");
        debug.field("language", &self.language).field("voice", &self.voice).field("prompt", &prompt).finish()
    }
}

/// How a device is watched over, where it is not as the configuration says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Watching {
    /// How closely; none: by its dialect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// IANA time zone of its person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// As in `22:00-07:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<String>,
}

impl Watching {
    /// As the configuration says.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What an operator set for a device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceSettings {
    /// Who ends a turn, unless the device says otherwise.
    #[serde(default)]
    pub audio_mode: ListenMode,
    /// Who speaks the reply.
    #[serde(default)]
    pub tts_mode: TtsMode,
    /// `native`, `xiaozhi`, `opencane`; none is found out.
    #[serde(default)]
    pub dialect: Option<String>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How a board shall speak to the gateway; none: as the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Who answers on it.
    #[serde(default, skip_serializing_if = "Persona::is_empty")]
    pub persona: Persona,
    /// Where it stands: of the devices of one room that wake to one word, one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// How it is watched over.
    #[serde(default, skip_serializing_if = "Watching::is_empty")]
    pub watching: Watching,
}

/// How far a device has come that was registered over the control API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has a secret.
    Registered,
    /// It is somebody's.
    Bound,
    /// It may connect.
    Activated,
    /// It may not connect any more.
    Revoked,
}

/// Whose a device is, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// How far.
    pub status: Status,
    /// Whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When it was activated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated: Option<Wall>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Wall>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What whoever registered it noted.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// When this last changed.
    pub updated: Wall,
}

impl Binding {
    /// That of a device which an operator added by hand, or claimed: it may connect.
    pub fn by_hand(created: Wall, revoked: bool) -> Self {
        let status = if revoked { Status::Revoked } else { Status::Activated };
        let activated = Some(created);
        Self { status, user: None, activated, revoked: None, reason: None, metadata: Map::new(), updated: created }
    }
}

/// A device that may connect.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its id, the CONNECT user name.
    pub id: DeviceId,
    /// What its secret is checked against; never the secret itself. Not shown by `Debug`.
    pub verifier: String,
    /// What an operator set.
    #[serde(default)]
    pub settings: DeviceSettings,
    /// When it was added.
    pub created: Wall,
    /// It may not connect any more.
    #[serde(default)]
    pub revoked: bool,
    /// It enrolled itself; none: its password was made or chosen by hand. Not shown by `Debug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<Board>,
    /// It was named beforehand, and its board has not come yet: the first that says its name until then is it. None: it
    /// came, or it was never expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Wall>,
    /// Whose it is; none: it was added by hand, and is nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

impl Device {
    /// Whose it is, and how far it has come.
    pub fn standing(&self) -> Binding {
        self.binding.clone().unwrap_or_else(|| Binding::by_hand(self.created, self.revoked))
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("id", &self.id)
            .field("settings", &self.settings)
            .field("created", &self.created)
            .field("revoked", &self.revoked)
            .field("expected", &self.expected)
            .field("binding", &self.binding)
            .finish_non_exhaustive()
    }
}

/// Writes a device.
pub fn put(batch: &mut Batch, device: &Device) -> Result<(), StoreError> {
    put_json(batch, of_device(Space::Device, &device.id), device)
}

/// Removes a device.
pub fn remove(batch: &mut Batch, id: &DeviceId) {
    batch.delete(of_device(Space::Device, id));
}

/// Reads a device.
pub async fn get(store: &dyn Store, id: &DeviceId) -> Result<Option<Device>, StoreError> {
    get_json(store, of_device(Space::Device, id)).await
}

/// All devices, at most `limit`.
pub async fn list(store: &dyn Store, limit: usize) -> Result<Vec<Device>, StoreError> {
    list_json(store, Key::new(Space::Device), limit).await
}
