//! The dialect of OpenCane's devices: JSON envelopes whose fields have many names, speech as packets or as base64.
//!
//! Its audio packets have the layout of the native ones, of which less counts ([`native::audio`](super::native)). What devices call
//! things is data: `topics/opencane.toml`. A message that says that it is another device's is refused.

mod down;
mod envelope;
mod names;
#[cfg(test)]
mod tests;
mod up;

use bytes::Bytes;

use super::WireError;
use super::native::audio::{self, Rules};
use crate::domain::{AudioPacket, Body, Codec, DeviceId, Downlink, SessionId, SpokenFrame, Stream};

/// The dialect's name.
pub const DIALECT: &str = crate::domain::dialect::OPENCANE;

/// Longest control text, in bytes: an image of 4 MB as base64, and what is around it.
pub const MAX_TEXT: usize = 6 << 20;

/// Reads what `device` sent on the topic of `stream`.
pub(super) fn decode(stream: Stream, payload: &Bytes, device: &DeviceId) -> Result<Body, WireError> {
    if payload.len() > MAX_TEXT {
        return Err(WireError::too_large("the message is longer than 6 MB"));
    }
    match stream {
        Stream::Control => up::control(payload, device),
        Stream::Audio if payload.first() == Some(&b'{') => up::audio(payload, device),
        Stream::Audio => audio::decode(payload, Rules::OPENCANE).map(Body::Audio),
        Stream::Telemetry | Stream::Image => Err(WireError::unsupported("opencane has no such topic")),
    }
}

/// Reads a binary message of a WebSocket: a packet with its header, or Opus as it is, without a number (0).
pub fn binary(payload: &Bytes) -> Result<AudioPacket, WireError> {
    match audio::decode(payload, Rules::OPENCANE) {
        Ok(packet) => Ok(packet),
        Err(error) if payload.is_empty() || payload.len() > super::native::MAX_OPUS => Err(error),
        Err(_) => Ok(AudioPacket {
            codec: Codec::Opus,
            seq: 0,
            ts_ms: 0,
            last: false,
            speech: None,
            listen: 0,
            payload: payload.clone(),
        }),
    }
}

/// Writes a downlink for `device`; none where it has no such message.
pub(super) fn encode(downlink: &Downlink, device: &DeviceId) -> Option<Bytes> {
    match downlink {
        Downlink::Audio(frame) => Some(audio::encode_spoken(frame)),
        Downlink::Control { session, seq, ts_ms, msg_id, message, .. } => {
            let session = session.as_ref().map(SessionId::as_str);
            let head = down::Head { device, session, seq: *seq, ts_ms: *ts_ms, msg_id: msg_id.as_deref() };
            down::encode(head, message)
        }
    }
}

/// A packet of speech as text, for a WebSocket, which carries no packets down.
pub fn as_text(packet: &Bytes, device: &DeviceId, session: Option<&str>, ts_ms: u64) -> Result<Bytes, WireError> {
    let frame: SpokenFrame = audio::decode_spoken(packet)?;
    let head = down::Head { device, session, seq: Some(frame.seq), ts_ms, msg_id: None };
    Ok(down::speech(head, &frame))
}
