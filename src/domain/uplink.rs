//! What devices say, free of transport and dialect.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AudioPacket, DeviceId, ImageId, LinkId, Receipt, TurnId};

/// The streams that count apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Envelopes.
    Control,
    /// Audio packets.
    Audio,
    /// Telemetry.
    Telemetry,
    /// Images.
    Image,
}

impl Stream {
    /// All of them, in the order of their numbers in records.
    pub const ALL: [Stream; 4] = [Stream::Control, Stream::Audio, Stream::Telemetry, Stream::Image];

    /// The name in topics, acknowledgements, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Control => "control",
            Stream::Audio => "audio",
            Stream::Telemetry => "telemetry",
            Stream::Image => "image",
        }
    }
}

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Path {
    /// Over an authenticated connection: in order, nothing lost.
    #[default]
    Connection,
    /// As a datagram: late, lost, twice, or sent again by somebody else.
    Datagram,
}

/// Who sent something, over which connection, and when: proven by the door, never read from a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The device that the connection authenticated as.
    pub device: DeviceId,
    /// The connection.
    pub link: LinkId,
    /// The door's arrival number: one counter for all that one device's connections bring.
    pub arrival: u64,
    /// When it arrived (monotonic).
    pub at: Duration,
    /// The dialect of the topic or socket it came by: `native`, `xiaozhi`, `opencane`.
    pub dialect: &'static str,
    /// How it came.
    pub path: Path,
}

/// One message from a device.
#[derive(Debug)]
pub struct Uplink {
    /// Who and when.
    pub origin: Origin,
    /// What.
    pub body: Body,
    /// Settled when the message is durable, taken, or refused.
    pub receipt: Receipt,
}

/// The content of an uplink.
#[derive(Debug)]
pub enum Body {
    /// An envelope.
    Control(Box<Control>),
    /// One audio packet.
    Audio(AudioPacket),
    /// One to 64 telemetry objects.
    Telemetry(Vec<Telemetry>),
    /// A whole image or a part of one.
    Image(ImageUpload),
}

impl Body {
    /// The stream whose numbers it carries.
    pub fn stream(&self) -> Stream {
        match self {
            Body::Control(_) => Stream::Control,
            Body::Audio(_) => Stream::Audio,
            Body::Telemetry(_) => Stream::Telemetry,
            Body::Image(_) => Stream::Image,
        }
    }
}

/// An envelope: a numbered event.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// The session that the device believes to be in.
    pub session_id: Option<String>,
    /// Number in the control stream; none is unsequenced.
    pub seq: Option<u32>,
    /// The device's clock, ms since 1970; none or 0 is no clock.
    pub ts_ms: Option<u64>,
    /// Tells a repeat.
    pub msg_id: Option<String>,
    /// The payload was JSON (else protobuf): answers use the same.
    pub json: bool,
    /// What happened.
    pub kind: ControlKind,
}

/// How the end of an utterance is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListenMode {
    /// The gateway ends the turn; the microphone is ignored while the gateway speaks.
    #[default]
    Auto,
    /// `listen_stop` ends it.
    Manual,
    /// The device cancels echo: heard all the time, speech of 300 ms or more barges in.
    Realtime,
}

/// What a device announces of itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Hello {
    /// Random number chosen at power-on; a hello without one never resumes.
    pub boot_id: Option<u32>,
    /// Free-form capabilities; bounded by the packet size.
    #[serde(default)]
    pub capabilities: Value,
    /// The version of the protocol that it speaks, where it says so.
    #[serde(default)]
    pub version: Option<String>,
    /// The highest contiguous downlink control number that the device has.
    pub last_recv_seq: Option<u32>,
    /// The oldest number that the device still holds, by stream.
    #[serde(default)]
    pub oldest_seq: BTreeMap<Stream, u32>,
}

impl Hello {
    /// The device has tools that can be called (MCP).
    pub fn has_tools(&self) -> bool {
        self.capabilities["features"]["mcp"] == true
    }
}

/// The events of the control stream.
#[derive(Debug, Clone, PartialEq)]
pub enum ControlKind {
    /// Opens or resumes a session.
    Hello(Hello),
    /// I am alive.
    Heartbeat,
    /// Start to listen; `n` numbers it for audio flags.
    ListenStart {
        /// Who ends the turn; none keeps the session's mode.
        mode: Option<ListenMode>,
        /// Number of this start, modulo 16 in audio flags.
        n: Option<u32>,
    },
    /// The utterance is over (manual mode).
    ListenStop,
    /// Be silent.
    Abort {
        /// Free text for the log.
        reason: Option<String>,
    },
    /// A typed turn.
    Text(String),
    /// The device has played a turn to its end.
    Played(TurnId),
    /// Cumulative acknowledgement of downlink control.
    Ack(u32),
    /// Help.
    Sos {
        /// `fall`, `button`, …
        kind: String,
        /// Free text.
        text: Option<String>,
    },
    /// The answer to a `tool_call`.
    ToolResult {
        /// The operation that it answers.
        operation_id: String,
        /// Did it work.
        success: bool,
        /// What came out.
        result: Value,
        /// What went wrong.
        error: Option<String>,
    },
    /// What an image is for.
    ImageNote {
        /// Which image.
        image_id: ImageId,
        /// A question to answer about it.
        question: Option<String>,
        /// `true`: keep it and say nothing.
        keep: bool,
    },
    /// The utterance is over, and this is what the device itself understood.
    Said(String),
    /// The utterance is over, and what was said is to be done in the background.
    Errand {
        /// What the device itself understood; none: the gateway listens.
        said: Option<String>,
    },
    /// A piece of what the device itself understands, while somebody speaks.
    Partial(String),
    /// A telemetry object that came as an event.
    Telemetry(Box<Telemetry>),
    /// A photo that came as an event, to be kept and answered.
    Photo {
        /// The file.
        file: Bytes,
        /// What is asked about it.
        question: Option<String>,
    },
    /// What went wrong on the device: an object.
    Fault(Value),
    /// The session ends.
    Goodbye,
    /// The device heard its wake word; some clients send what was typed this way.
    Wake {
        /// The wake word, or the text.
        text: String,
    },
    /// A JSON-RPC message of the device's tool server (MCP), as it came: an object.
    Mcp(Value),
    /// What older firmware tells of its things: `descriptors` or `states`, as it came: an object.
    Things(Value),
}

impl ControlKind {
    /// The `type` of the envelope.
    pub fn name(&self) -> &'static str {
        match self {
            ControlKind::Hello(_) => "hello",
            ControlKind::Heartbeat => "heartbeat",
            ControlKind::ListenStart { .. } => "listen_start",
            ControlKind::ListenStop => "listen_stop",
            ControlKind::Abort { .. } => "abort",
            ControlKind::Text(_) => "text",
            ControlKind::Played(_) => "played",
            ControlKind::Ack(_) => "ack",
            ControlKind::Sos { .. } => "sos",
            ControlKind::ToolResult { .. } => "tool_result",
            ControlKind::ImageNote { .. } => "image",
            ControlKind::Said(_) => "said",
            ControlKind::Errand { .. } => "errand",
            ControlKind::Partial(_) => "partial",
            ControlKind::Telemetry(_) => "telemetry",
            ControlKind::Photo { .. } => "photo",
            ControlKind::Fault(_) => "fault",
            ControlKind::Goodbye => "goodbye",
            ControlKind::Wake { .. } => "wake",
            ControlKind::Mcp(_) => "mcp",
            ControlKind::Things(_) => "things",
        }
    }

    /// Taken before anything queued.
    pub fn urgent(&self) -> bool {
        matches!(
            self,
            ControlKind::Abort { .. } | ControlKind::Goodbye | ControlKind::Sos { .. } | ControlKind::Hello(_)
        )
    }

    /// Must be on disk before it is acknowledged.
    pub fn durable(&self) -> bool {
        matches!(
            self,
            ControlKind::Text(_)
                | ControlKind::ToolResult { .. }
                | ControlKind::Sos { .. }
                | ControlKind::Ack(_)
                | ControlKind::ImageNote { .. }
                | ControlKind::Photo { .. }
                | ControlKind::Telemetry(_)
                | ControlKind::Fault(_)
        )
    }
}

/// What a device said of itself, before it was normalised.
#[derive(Debug, Clone, Default)]
pub enum Raw {
    /// Nobody has it any more.
    #[default]
    Gone,
    /// All of it.
    Said(serde_json::Map<String, Value>),
    /// It was longer than is kept: so many bytes of JSON.
    TooLong(usize),
}

/// One telemetry object, normalised: whatever the device calls its fields. Two are equal when they measure the same.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Telemetry {
    /// Number in the telemetry stream; none is unsequenced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u32>,
    /// The device's clock, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<u64>,
    /// The normalised groups: battery, network, location, motion, imu, system, values, other.
    #[serde(flatten)]
    pub groups: serde_json::Map<String, Value>,
    /// In the device's own words.
    #[serde(skip)]
    pub raw: Raw,
}

impl PartialEq for Telemetry {
    fn eq(&self, other: &Self) -> bool {
        (self.seq, self.ts, &self.groups) == (other.seq, other.ts, &other.groups)
    }
}

/// An image on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageUpload {
    /// A whole JPEG, PNG or WebP file.
    Whole(Bytes),
    /// One part of one.
    Part(ImagePart),
}

/// One part of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePart {
    /// The device's number for the image.
    pub image: ImageId,
    /// Index of this part, from 0.
    pub index: u16,
    /// How many parts there are, at least 1, at most 4,096.
    pub parts: u16,
    /// Length of the whole image in bytes, at most 4 MB.
    pub total: u32,
    /// CRC-32C of the whole image.
    pub crc32c: u32,
    /// This part's bytes.
    pub data: Bytes,
}
