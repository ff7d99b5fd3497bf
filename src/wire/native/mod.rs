//! The native dialect: envelopes (JSON or protobuf), audio packets, images, telemetry.
//!
//! What a payload is follows from its topic's stream and its first bytes: control and telemetry are JSON when
//! they begin with `{` (telemetry also `[`), else protobuf; audio begins with `0xA1`; an image with `0xA2` (a
//! part) or the signature of a JPEG, PNG or WebP file.

mod assembly;
pub(super) mod audio;
pub mod client;
mod envelope_json;
mod envelope_proto;
#[cfg(test)]
mod envelope_tests;
mod image;
mod proto;
mod telemetry;

use bytes::Bytes;

pub use assembly::{Added, AssemblyLimits, ImageAssembler, ImageBudget, Progress};
pub use audio::{HEADER as AUDIO_HEADER, MAX_OPUS, MAX_PCM};
pub use image::{HEADER as IMAGE_HEADER, MAX_IMAGE, MAX_PARTS, is_image_file};
pub use telemetry::MAX_BATCH;
pub(super) use telemetry::normalise;

use super::WireError;
use crate::domain::{Body, Control, Downlink, SessionId, Stream};

/// The dialect's name.
pub const DIALECT: &str = crate::domain::dialect::NATIVE;

/// Longest control or telemetry message, in bytes.
pub const MAX_TEXT: usize = 256 << 10;

/// Reads an uplink.
pub(super) fn decode(stream: Stream, payload: &Bytes) -> Result<Body, WireError> {
    match stream {
        Stream::Control => control(payload).map(|c| Body::Control(Box::new(c))),
        Stream::Audio => audio::decode(payload, audio::Rules::NATIVE).map(Body::Audio),
        Stream::Telemetry => telemetry::decode(bounded(payload)?).map(Body::Telemetry),
        Stream::Image => image::decode(payload).map(Body::Image),
    }
}

fn control(payload: &[u8]) -> Result<Control, WireError> {
    let payload = bounded(payload)?;
    if is_json(payload) { envelope_json::decode_up(payload) } else { envelope_proto::decode_up(payload) }
}

/// Writes a downlink; none where the dialect has no such message.
pub(super) fn encode(downlink: &Downlink) -> Option<Bytes> {
    match downlink {
        Downlink::Audio(frame) => Some(audio::encode_spoken(frame)),
        Downlink::Control { session, seq, ts_ms, msg_id, want_ack, json, message } => {
            let head = Head {
                session_id: session.as_ref().map(SessionId::as_str),
                seq: *seq,
                ts: Some(*ts_ms),
                msg_id: msg_id.as_deref(),
                want_ack: *want_ack,
            };
            if *json { envelope_json::encode_down(head, message) } else { envelope_proto::encode_down(head, message) }
        }
    }
}

/// The envelope around a payload, as both encodings write it.
#[derive(Debug, Clone, Copy)]
struct Head<'a> {
    session_id: Option<&'a str>,
    seq: Option<u32>,
    ts: Option<u64>,
    msg_id: Option<&'a str>,
    want_ack: bool,
}

fn is_json(payload: &[u8]) -> bool {
    payload.first() == Some(&b'{')
}

fn bounded(payload: &[u8]) -> Result<&[u8], WireError> {
    match payload.len() {
        0 => Err(WireError::malformed("the payload is empty")),
        n if n > MAX_TEXT => Err(WireError::too_large("the message is longer than 256 KB")),
        _ => Ok(payload),
    }
}

/// Ids of sessions and messages are short, so that records that hold them are.
fn short_id(text: Option<String>, what: &'static str) -> Result<Option<String>, WireError> {
    match text {
        Some(t) if t.len() > 64 => Err(WireError::too_large(what)),
        Some(t) if t.is_empty() => Ok(None),
        other => Ok(other),
    }
}

/// A firmware without a counter writes 0, always: that is no number, or all but the first would be repeats.
fn numbered(seq: Option<u32>) -> Option<u32> {
    seq.filter(|s| *s != 0)
}
