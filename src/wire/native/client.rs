//! The device's side of the dialect: for the simulator, and for tests that play a device.

use bytes::Bytes;
use serde_json::Value;

use super::super::WireError;
use super::{Head, audio, bounded, envelope_json, envelope_proto, image, is_json, telemetry};
use crate::domain::{AudioPacket, Control, Downlink, ImageId, ImagePart, Stream, Telemetry};

/// Writes an envelope, as JSON or protobuf as `control.json` says.
pub fn encode_control(control: &Control) -> Bytes {
    let head = Head {
        session_id: control.session_id.as_deref(),
        seq: control.seq,
        ts: control.ts_ms,
        msg_id: control.msg_id.as_deref(),
        want_ack: false,
    };
    if control.json {
        envelope_json::encode_up(head, &control.kind)
    } else {
        envelope_proto::encode_up(head, &control.kind)
    }
}

/// Writes an audio packet.
pub fn encode_audio(packet: &AudioPacket) -> Bytes {
    audio::encode(packet)
}

/// Writes telemetry, one object or several, as JSON or protobuf.
pub fn encode_telemetry(items: &[Telemetry], json: bool) -> Bytes {
    if !json {
        return telemetry::proto::encode(items);
    }
    let values: Vec<Value> = items.iter().filter_map(|t| serde_json::to_value(t).ok()).collect();
    match <[Value; 1]>::try_from(values) {
        Ok([one]) => one.to_string().into(),
        Err(many) => Value::Array(many).to_string().into(),
    }
}

/// Writes a part of an image.
pub fn encode_image_part(part: &ImagePart) -> Bytes {
    image::encode_part(part)
}

/// Cuts an image into parts of at most `size` bytes of data; none where the limits do not allow it.
pub fn cut_image(id: ImageId, file: &Bytes, size: usize) -> Option<Vec<ImagePart>> {
    image::cut(id, file, size)
}

/// Reads what the gateway sent on the downlink topic of `stream`. Of a frame's turn the wire has the number
/// modulo 16.
pub fn decode_downlink(stream: Stream, payload: &[u8]) -> Result<Downlink, WireError> {
    match stream {
        Stream::Audio => audio::decode_spoken(&Bytes::copy_from_slice(payload)).map(Downlink::Audio),
        Stream::Control => {
            let payload = bounded(payload)?;
            if is_json(payload) { envelope_json::decode_down(payload) } else { envelope_proto::decode_down(payload) }
        }
        Stream::Telemetry | Stream::Image => Err(WireError::unsupported("this stream has no downlinks")),
    }
}
