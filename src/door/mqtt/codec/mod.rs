//! MQTT 3.1.1 and 5 as bytes: sans-I/O and total. Any bytes give a packet or an error, never a panic,
//! and nothing is allocated from a length field alone.
//!
//! It knows the packets that a client may send (decode) and a server may send (encode); it must not know
//! sockets, topics' meaning, credentials or sessions.

mod connect;
mod decode;
mod encode;
mod props;
mod read;

use bytes::Bytes;

pub use connect::{Connect, Login, Will};
pub use decode::{Frame, decode, decode_connect, frame};
pub use encode::{AckKind, PublishHead, ack, connack, disconnect, pingresp, publish, suback, unsuback};
pub use props::{ConnackProps, PublishProps};

/// The protocol level of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1 (level 4).
    V4,
    /// MQTT 5 (level 5).
    V5,
}

/// Reason codes of MQTT 5 that the door uses; 3.1.1 has its own in a few places.
pub mod reason {
    /// All is well; also: granted QoS 0, normal disconnection.
    pub const SUCCESS: u8 = 0x00;
    /// Nobody subscribes to it.
    pub const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
    /// UNSUBSCRIBE of a filter that was not subscribed.
    pub const NO_SUBSCRIPTION: u8 = 0x11;
    /// Refused, and nothing said of why.
    pub const UNSPECIFIED: u8 = 0x80;
    /// The packet cannot be read.
    pub const MALFORMED: u8 = 0x81;
    /// The packet can be read but breaks the protocol.
    pub const PROTOCOL_ERROR: u8 = 0x82;
    /// A fault of ours, or none of the others.
    pub const IMPLEMENTATION: u8 = 0x83;
    /// The protocol level is not spoken here.
    pub const UNSUPPORTED_VERSION: u8 = 0x84;
    /// The client id is not accepted.
    pub const BAD_CLIENT_ID: u8 = 0x85;
    /// User name or password is wrong.
    pub const BAD_CREDENTIALS: u8 = 0x86;
    /// The identity may not do this.
    pub const NOT_AUTHORIZED: u8 = 0x87;
    /// The gateway cannot serve now.
    pub const SERVER_BUSY: u8 = 0x89;
    /// The gateway stops.
    pub const SHUTTING_DOWN: u8 = 0x8B;
    /// Extended authentication is not spoken here.
    pub const BAD_AUTH_METHOD: u8 = 0x8C;
    /// Nothing came for one and a half keep-alive intervals.
    pub const KEEP_ALIVE: u8 = 0x8D;
    /// The same client id connected again.
    pub const TAKEN_OVER: u8 = 0x8E;
    /// The filter is no filter.
    pub const BAD_FILTER: u8 = 0x8F;
    /// The topic is no topic, or not accepted.
    pub const BAD_TOPIC: u8 = 0x90;
    /// PUBREL or PUBCOMP for an unknown packet id.
    pub const NO_SUCH_ID: u8 = 0x92;
    /// More publishes are on their way than the receive maximum allows.
    pub const RECEIVE_MAXIMUM: u8 = 0x93;
    /// A topic alias that is 0, too large or not set.
    pub const BAD_ALIAS: u8 = 0x94;
    /// Larger than the limit.
    pub const TOO_LARGE: u8 = 0x95;
    /// A limit is reached.
    pub const QUOTA: u8 = 0x97;
    /// The connection was closed by an operator or the gateway's own logic.
    pub const ADMINISTRATIVE: u8 = 0x98;
    /// The payload is not what the topic asks for.
    pub const BAD_PAYLOAD: u8 = 0x99;
    /// Retained messages are not accepted here.
    pub const NO_RETAIN: u8 = 0x9A;
}

/// Why bytes are no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes cannot be read.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// They can be read, but a client must not send them.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// Larger than the limit.
    #[error("packet of {0} bytes is above the limit")]
    TooLarge(usize),
    /// A protocol level that is not spoken here.
    #[error("protocol level {0} is not supported")]
    Version(u8),
}

impl CodecError {
    /// The MQTT 5 reason code.
    pub fn reason(self) -> u8 {
        match self {
            CodecError::Malformed(_) => reason::MALFORMED,
            CodecError::Protocol(_) => reason::PROTOCOL_ERROR,
            CodecError::TooLarge(_) => reason::TOO_LARGE,
            CodecError::Version(_) => reason::UNSUPPORTED_VERSION,
        }
    }

    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            CodecError::Malformed(_) => "malformed",
            CodecError::Protocol(_) => "protocol_error",
            CodecError::TooLarge(_) => "too_large",
            CodecError::Version(_) => "version",
        }
    }
}

/// A UTF-8 text inside a packet: a view, not a copy.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text(Bytes);

impl Text {
    /// Checks bytes from a packet: UTF-8 without NUL.
    pub fn new(bytes: Bytes) -> Result<Self, CodecError> {
        match std::str::from_utf8(&bytes) {
            Ok(text) if !text.contains('\0') => Ok(Self(bytes)),
            _ => Err(CodecError::Malformed("text is not utf-8 or has a nul")),
        }
    }

    /// The same in memory of its own.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // checked in `new`; an empty text is what a mistake there would give
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// A packet from a client after CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// PUBLISH.
    Publish(Publish),
    /// PUBACK.
    PubAck(Ack),
    /// PUBREC.
    PubRec(Ack),
    /// PUBREL.
    PubRel(Ack),
    /// PUBCOMP.
    PubComp(Ack),
    /// SUBSCRIBE.
    Subscribe(Subscribe),
    /// UNSUBSCRIBE.
    Unsubscribe(Unsubscribe),
    /// PINGREQ.
    PingReq,
    /// DISCONNECT.
    Disconnect {
        /// The reason code (0 in 3.1.1).
        reason: u8,
        /// A new session expiry, seconds (MQTT 5).
        expiry: Option<u32>,
    },
}

impl Packet {
    /// The label in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Packet::Publish(_) => "publish",
            Packet::PubAck(_) => "puback",
            Packet::PubRec(_) => "pubrec",
            Packet::PubRel(_) => "pubrel",
            Packet::PubComp(_) => "pubcomp",
            Packet::Subscribe(_) => "subscribe",
            Packet::Unsubscribe(_) => "unsubscribe",
            Packet::PingReq => "pingreq",
            Packet::Disconnect { .. } => "disconnect",
        }
    }
}

/// PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Sent before.
    pub dup: bool,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Keep it for new subscribers.
    pub retain: bool,
    /// The topic; may be invalid as a topic: the codec checks only that it is text.
    pub topic: Text,
    /// The packet id; 0 with QoS 0, never 0 otherwise.
    pub id: u16,
    /// Properties (MQTT 5 only), when there are any.
    pub props: Option<Box<PublishProps>>,
    /// The payload.
    pub payload: Bytes,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Which packet.
    pub id: u16,
    /// The reason code (0 in 3.1.1).
    pub reason: u8,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The filter; may be invalid as a filter.
    pub filter: Text,
    /// The highest QoS to deliver with.
    pub qos: u8,
    /// Do not send back what this client publishes.
    pub no_local: bool,
    /// Keep the retain flag as published.
    pub retain_as_published: bool,
    /// 0: send retained messages; 1: only for a new subscription; 2: do not.
    pub retain_handling: u8,
}

/// SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// The packet id.
    pub id: u16,
    /// The subscription identifier (MQTT 5).
    pub subscription_id: Option<u32>,
    /// At least one.
    pub filters: Vec<Filter>,
}

/// UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The packet id.
    pub id: u16,
    /// At least one.
    pub filters: Vec<Text>,
}

#[cfg(test)]
mod tests;
