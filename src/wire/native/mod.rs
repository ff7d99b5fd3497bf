//! The native dialect (first cut, JSON only: replaced by the full codec).

pub mod assembly;
pub mod client;
mod control;

use bytes::{Buf, Bytes};

use super::WireError;
use crate::domain::{AudioPacket, Body, Codec, Downlink, ImageId, ImagePart, ImageUpload, Stream, Telemetry};

/// Largest image, bytes.
pub const MAX_IMAGE: u32 = 4 << 20;

/// Bytes of an uplink stream → body.
pub fn decode(stream: Stream, payload: &Bytes) -> Result<Body, WireError> {
    match stream {
        Stream::Audio => audio(payload).map(Body::Audio),
        Stream::Control => control::decode(payload).map(|c| Body::Control(Box::new(c))),
        Stream::Telemetry => telemetry(payload).map(Body::Telemetry),
        Stream::Image => image(payload).map(Body::Image),
    }
}

/// Downlink → bytes.
pub fn encode(downlink: &Downlink) -> Bytes {
    match downlink {
        Downlink::Audio(frame) => client::header(Codec::Opus, u8::from(frame.last) | ((u8::try_from(frame.turn.0 % 16).unwrap_or(0)) << 4), frame.seq, frame.ts_ms, &frame.packet),
        Downlink::Control { .. } => control::encode(downlink),
    }
}

pub(super) fn audio(payload: &Bytes) -> Result<AudioPacket, WireError> {
    if payload.len() < 16 {
        return Err(WireError::new("audio", "shorter than its header"));
    }
    let mut head = &payload[..16];
    let (magic, version, codec, flags) = (head.get_u8(), head.get_u8(), head.get_u8(), head.get_u8());
    let (seq, ts_ms, length) = (head.get_u32(), head.get_u32(), head.get_u32());
    if magic != 0xA1 || version != 1 {
        return Err(WireError::new("audio", "no audio packet of version 1"));
    }
    let (codec, most) = match codec {
        0 => (Codec::Opus, 1_275),
        1 => (Codec::PcmS16le, 3_840),
        _ => return Err(WireError::new("audio", "unknown codec")),
    };
    if length as usize != payload.len() - 16 || length > most {
        return Err(WireError::new("audio", "wrong length"));
    }
    let speech = match flags & 6 { 2 => Some(true), 4 => Some(false), _ => None };
    Ok(AudioPacket { codec, seq, ts_ms, last: flags & 1 == 1, speech, listen: flags >> 4, payload: payload.slice(16..) })
}

fn telemetry(payload: &Bytes) -> Result<Vec<Telemetry>, WireError> {
    let one_or_many: serde_json::Value =
        serde_json::from_slice(payload).map_err(|_| WireError::new("telemetry", "no JSON"))?;
    let list = match one_or_many { serde_json::Value::Array(list) => list, one => vec![one] };
    if list.len() > 64 {
        return Err(WireError::new("telemetry", "more than 64 objects"));
    }
    list.into_iter().map(|v| serde_json::from_value(v).map_err(|_| WireError::new("telemetry", "no object"))).collect()
}

fn image(payload: &Bytes) -> Result<ImageUpload, WireError> {
    if payload.first() != Some(&0xA2) {
        return Ok(ImageUpload::Whole(payload.clone()));
    }
    if payload.len() < 24 {
        return Err(WireError::new("image", "shorter than its header"));
    }
    let mut head = &payload[4..24];
    let (image, index, parts) = (ImageId(head.get_u64()), head.get_u16(), head.get_u16());
    let (total, crc32c) = (head.get_u32(), head.get_u32());
    Ok(ImageUpload::Part(ImagePart { image, index, parts, total, crc32c, data: payload.slice(24..) }))
}
