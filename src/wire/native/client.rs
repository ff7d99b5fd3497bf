//! The device's side (first cut).
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};
use super::WireError;
use crate::domain::{AudioPacket, Codec, Control, ControlKind, Downlink, SpokenFrame, Stream, TurnId};

pub(super) fn header(codec: Codec, flags: u8, seq: u32, ts: u32, data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(16 + data.len());
    out.put_slice(&[0xA1, 1, u8::from(codec == Codec::PcmS16le), flags]);
    out.put_u32(seq);
    out.put_u32(ts);
    out.put_u32(u32::try_from(data.len()).unwrap_or(0));
    out.put_slice(data);
    out.freeze()
}

/// Audio up.
pub fn encode_audio(p: &AudioPacket) -> Bytes {
    header(p.codec, u8::from(p.last) | (p.listen << 4), p.seq, p.ts_ms, &p.payload)
}

/// Control up.
pub fn encode_control(c: &Control) -> Bytes {
    let payload: Value = match &c.kind {
        ControlKind::Hello(h) => serde_json::to_value(h).unwrap_or_default(),
        ControlKind::ListenStart { mode, n } => json!({"mode": mode, "n": n}),
        ControlKind::Text(t) => json!({"text": t}),
        ControlKind::Ack(seq) => json!({"seq": seq}),
        ControlKind::Played(t) => json!({"turn_id": t}),
        ControlKind::Sos { kind, text } => json!({"kind": kind, "text": text}),
        _ => json!({}),
    };
    let mut v = json!({"type": c.kind.name(), "seq": c.seq, "payload": payload});
    if let Some(s) = &c.session_id { v["session_id"] = json!(s); }
    if let Some(s) = &c.msg_id { v["msg_id"] = json!(s); }
    Bytes::from(v.to_string())
}

/// Downlink.
pub fn decode_downlink(stream: Stream, payload: &[u8]) -> Result<Downlink, WireError> {
    if stream != Stream::Audio { return super::control::decode_down(payload); }
    let p = super::audio(&Bytes::copy_from_slice(payload))?;
    Ok(Downlink::Audio(SpokenFrame { turn: TurnId(u32::from(p.listen)), seq: p.seq, ts_ms: p.ts_ms, last: p.last, packet: p.payload }))
}
