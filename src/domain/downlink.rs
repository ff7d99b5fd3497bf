//! What the gateway says to a device, free of transport and dialect.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ImageId, MediaOffer, SessionId, Stream, TurnId};

/// One message to a device.
#[derive(Debug, Clone, PartialEq)]
pub enum Downlink {
    /// An envelope.
    Control {
        /// The session that it belongs to; none for a device without one.
        session: Option<SessionId>,
        /// Number in the session's downlink control stream, from 1.
        seq: Option<u32>,
        /// Wall time, ms; 0 when the gateway's clock is unset.
        ts_ms: u64,
        /// Tells a repeat of a message that must arrive.
        msg_id: Option<String>,
        /// The device shall acknowledge it.
        want_ack: bool,
        /// Write it as JSON (else protobuf).
        json: bool,
        /// What.
        message: Message,
    },
    /// One frame of speech.
    Audio(SpokenFrame),
}

/// One frame of speech for a device: Opus, 24 kHz mono, 60 ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpokenFrame {
    /// The turn that it belongs to.
    pub turn: TurnId,
    /// Number in the session's downlink audio stream, from 1.
    pub seq: u32,
    /// Position in the turn's speech, ms.
    pub ts_ms: u32,
    /// The last frame of the turn.
    pub last: bool,
    /// The Opus packet.
    pub packet: Bytes,
}

/// Cumulative acknowledgements by stream, as `hello_ack` carries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AckMarks {
    /// Every control number up to here is durable or given up.
    pub control: u32,
    /// Advisory: the audio mark, at most a second old.
    pub audio: u32,
    /// Every telemetry number up to here is durable or given up.
    pub telemetry: u32,
    /// Every image number up to here is durable or given up.
    pub image: u32,
}

/// The answer to a `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloAck {
    /// The session.
    pub session_id: SessionId,
    /// The session went on (else it is new, and all numbers start at 1).
    pub resumed: bool,
    /// The gateway's boot epoch: changed means that the gateway restarted.
    pub boot: u64,
    /// Wall time, ms; 0 when the gateway's clock is unset.
    pub time: u64,
    /// What the gateway has.
    pub ack: AckMarks,
    /// The next downlink control number minus one.
    pub down_seq: u32,
    /// Largest packet in bytes.
    pub max_packet: u32,
    /// Largest image in bytes.
    pub max_image: u32,
    /// Most unacknowledged QoS 1 publishes.
    pub max_in_flight: u32,
    /// The device shall send a heartbeat this often, seconds.
    pub heartbeat_s: u32,
    /// The hello's own number, for dialects that acknowledge each message by its number.
    #[serde(skip)]
    pub number: Option<u32>,
    /// The version of the protocol that the device says it speaks.
    #[serde(skip)]
    pub protocol: Option<String>,
    /// Where audio goes, when it goes beside the connection that brought the hello.
    #[serde(skip)]
    pub media: Option<MediaOffer>,
}

/// Why speech ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// All was said.
    Done,
    /// The device or an operator asked for silence, or listened anew.
    Abort,
    /// The user spoke into it.
    BargeIn,
    /// The link that carried it went away, or was too slow.
    LinkLost,
    /// A stage failed.
    Error,
    /// The session or the gateway ends.
    Closed,
}

/// A vibration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HapticPattern {
    /// One short pulse.
    Short,
    /// One long pulse.
    Long,
    /// Two pulses.
    Double,
    /// Three short, three long, three short.
    Sos,
}

/// The control messages to a device.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The session is open.
    HelloAck(Box<HelloAck>),
    /// Every number of `stream` up to `seq` is durable or given up; or one image is whole.
    Ack {
        /// Which stream.
        stream: Stream,
        /// Up to here.
        seq: Option<u32>,
        /// For images: this one is stored.
        image_id: Option<ImageId>,
        /// For images: lower-case hex.
        sha256: Option<String>,
    },
    /// Parts of an image that are missing, inclusive ranges.
    ImageMissing {
        /// Which image.
        image_id: ImageId,
        /// From, to; inclusive.
        parts: Vec<(u16, u16)>,
    },
    /// What was understood.
    Stt {
        /// The transcript.
        text: String,
        /// It will not change any more.
        is_final: bool,
    },
    /// The reply as text, whole.
    Reply {
        /// The reply.
        text: String,
    },
    /// Speech begins.
    TtsStart {
        /// The turn.
        turn_id: TurnId,
        /// Its first words, where they are known already.
        text: String,
        /// The device makes the speech itself, of the clauses.
        device_speaks: bool,
    },
    /// The clause that is spoken next.
    TtsSentence {
        /// The clause.
        text: String,
        /// See `TtsStart`.
        device_speaks: bool,
    },
    /// Speech is over; frames of an older turn are void.
    TtsStop {
        /// The turn.
        turn_id: TurnId,
        /// Why.
        reason: StopReason,
    },
    /// A face to show.
    Emotion {
        /// `neutral`, `happy`, …
        name: String,
    },
    /// Vibrate.
    Haptic {
        /// How.
        pattern: HapticPattern,
        /// How often.
        times: u32,
    },
    /// Restart the device.
    Reboot,
    /// Call a tool of the device.
    ToolCall {
        /// Answered by `tool_result`.
        operation_id: String,
        /// Which.
        name: String,
        /// With what.
        arguments: Value,
    },
    /// Change settings of the device.
    SetConfig {
        /// What to change.
        config: Value,
    },
    /// Firmware news.
    OtaPlan {
        /// The plan.
        plan: Value,
    },
    /// How a task goes.
    TaskUpdate {
        /// The task.
        task: Value,
    },
    /// Something to show or say at once.
    Alert {
        /// `info`, `warning`, `critical`.
        level: String,
        /// What.
        text: String,
        /// A word over it, where the dialect has such; none: by the level.
        status: Option<String>,
        /// The face beside it, likewise.
        emotion: Option<String>,
    },
    /// Something went wrong that the device should know.
    Error {
        /// A stable code.
        code: String,
        /// For a person.
        message: String,
    },
    /// The session ends.
    Close {
        /// Why.
        reason: String,
    },
    /// A JSON-RPC message to the device's tool server (MCP), for dialects that have one: an object.
    Mcp(Value),
    /// A command to a thing of older firmware, for dialects that have such.
    ThingCommand {
        /// The thing.
        thing: String,
        /// Which of its methods.
        method: String,
        /// With what: an object.
        parameters: Value,
    },
}

impl Message {
    /// The `type` of the envelope.
    pub fn name(&self) -> &'static str {
        match self {
            Message::HelloAck(_) => "hello_ack",
            Message::Ack { .. } => "ack",
            Message::ImageMissing { .. } => "image_missing",
            Message::Stt { .. } => "stt",
            Message::Reply { .. } => "reply",
            Message::TtsStart { .. } => "tts_start",
            Message::TtsSentence { .. } => "tts_sentence",
            Message::TtsStop { .. } => "tts_stop",
            Message::Emotion { .. } => "emotion",
            Message::Haptic { .. } => "haptic",
            Message::Reboot => "reboot",
            Message::ToolCall { .. } => "tool_call",
            Message::SetConfig { .. } => "set_config",
            Message::OtaPlan { .. } => "ota_plan",
            Message::TaskUpdate { .. } => "task_update",
            Message::Alert { .. } => "alert",
            Message::Error { .. } => "error",
            Message::Close { .. } => "close",
            Message::Mcp(_) => "mcp",
            Message::ThingCommand { .. } => "thing_command",
        }
    }
}
