//! The dialect of stock xiaozhi firmware: JSON texts for control, Opus in small binary frames for audio.
//!
//! The JSON is the same over MQTT and WebSocket. Audio goes as [`datagram`]s beside MQTT, or as binary frames in one of three
//! forms over WebSocket ([`frames`]). Nothing has a number but datagrams; nothing is acknowledged.

pub mod datagram;
mod down;
pub mod frames;
#[cfg(test)]
mod tests;
mod up;

use bytes::Bytes;

use super::WireError;
use crate::domain::{Body, Downlink, SessionId, Stream};

pub use up::control;

/// The dialect's name.
pub const DIALECT: &str = crate::domain::dialect::XIAOZHI;

/// Longest control text, in bytes. A page of a device's tools has up to 8,000 characters.
pub const MAX_TEXT: usize = 64 << 10;

/// Longest Opus packet, in bytes.
pub const MAX_OPUS: usize = 1_275;

/// Reads an uplink that came on a topic.
pub(super) fn decode(stream: Stream, payload: &Bytes) -> Result<Body, WireError> {
    match stream {
        Stream::Control => control(payload).map(|control| Body::Control(Box::new(control))),
        Stream::Audio | Stream::Telemetry | Stream::Image => Err(WireError::unsupported("xiaozhi has no such topic")),
    }
}

/// Writes a downlink; none where firmware would not know it. Audio is written as a frame of version 2, from which a
/// connection of another version makes its own: [`frames::reframe`].
pub(super) fn encode(downlink: &Downlink) -> Option<Bytes> {
    match downlink {
        Downlink::Audio(frame) => Some(frames::write(frames::Version::Two, frame.ts_ms, &frame.packet)),
        Downlink::Control { session, message, .. } => down::encode(session.as_ref().map(SessionId::as_str), message),
    }
}
