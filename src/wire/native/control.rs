//! Envelopes as JSON.
use bytes::Bytes;
use serde_json::{Map, Value, json};
use super::WireError;
use crate::domain::{Control, ControlKind, Downlink, Hello, ImageId, ListenMode, Message, Stream, TurnId};

pub(super) fn decode(payload: &[u8]) -> Result<Control, WireError> {
    let bad = |what: &'static str| WireError::new("control", what);
    let value: Value = serde_json::from_slice(payload).map_err(|_| bad("no JSON"))?;
    let text = |v: &Value, k: &str| v.get(k).and_then(Value::as_str).map(str::to_owned);
    let num = |v: &Value, k: &str| v.get(k).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let p = value.get("payload").cloned().unwrap_or(json!({}));
    let kind = match value.get("type").and_then(Value::as_str).ok_or_else(|| bad("no type"))? {
        "hello" => ControlKind::Hello(serde_json::from_value::<Hello>(p).map_err(|_| bad("hello"))?),
        "heartbeat" => ControlKind::Heartbeat,
        "listen_start" => ControlKind::ListenStart {
            mode: p.get("mode").map(|m| serde_json::from_value::<ListenMode>(m.clone())).transpose().map_err(|_| bad("mode"))?,
            n: num(&p, "n"),
        },
        "listen_stop" => ControlKind::ListenStop,
        "abort" => ControlKind::Abort { reason: text(&p, "reason") },
        "text" => ControlKind::Text(text(&p, "text").ok_or_else(|| bad("text"))?),
        "played" => ControlKind::Played(TurnId(num(&p, "turn_id").ok_or_else(|| bad("turn_id"))?)),
        "ack" => ControlKind::Ack(num(&p, "seq").ok_or_else(|| bad("seq"))?),
        "sos" => ControlKind::Sos { kind: text(&p, "kind").unwrap_or_default(), text: text(&p, "text") },
        "tool_result" => ControlKind::ToolResult {
            operation_id: text(&p, "operation_id").unwrap_or_default(),
            success: p.get("success").and_then(Value::as_bool).unwrap_or(false),
            result: p.get("result").cloned().unwrap_or_default(), error: text(&p, "error") },
        "goodbye" => ControlKind::Goodbye,
        _ => return Err(bad("unknown type")),
    };
    Ok(Control { session_id: text(&value, "session_id"), seq: num(&value, "seq"), ts_ms: value.get("ts").and_then(Value::as_u64), msg_id: text(&value, "msg_id"), json: true, kind })
}

pub(super) fn encode(downlink: &Downlink) -> Bytes {
    let Downlink::Control { session, seq, ts_ms, msg_id, want_ack, message, .. } = downlink else { return Bytes::new() };
    let mut out = Map::new();
    out.insert("type".into(), json!(message.name()));
    if let Some(s) = session { out.insert("session_id".into(), json!(s)); }
    if let Some(s) = seq { out.insert("seq".into(), json!(s)); }
    out.insert("ts".into(), json!(ts_ms));
    if let Some(m) = msg_id { out.insert("msg_id".into(), json!(m)); }
    if *want_ack { out.insert("want_ack".into(), json!(true)); }
    out.insert("payload".into(), payload(message));
    Bytes::from(Value::Object(out).to_string())
}

fn payload(m: &Message) -> Value {
    match m {
        Message::HelloAck(h) => json!({"session_id": h.session_id, "resumed": h.resumed, "boot": h.boot, "time": h.time, "ack": h.ack, "down_seq": h.down_seq}),
        Message::Ack { stream, seq, image_id, sha256 } => json!({"stream": stream, "seq": seq, "image_id": image_id.map(|i| i.to_string()), "sha256": sha256}),
        Message::ImageMissing { image_id, parts } => json!({"image_id": image_id.to_string(), "parts": parts}),
        Message::Stt { text, is_final } => json!({"text": text, "final": is_final}),
        Message::Reply { text } | Message::TtsSentence { text } => json!({"text": text}),
        Message::TtsStart { turn_id } => json!({"turn_id": turn_id}),
        Message::TtsStop { turn_id, reason } => json!({"turn_id": turn_id, "reason": reason}),
        Message::Emotion { name } => json!({"name": name}),
        Message::Haptic { pattern, times } => json!({"pattern": pattern, "times": times}),
        Message::ToolCall { operation_id, name, arguments } => json!({"operation_id": operation_id, "name": name, "arguments": arguments}),
        Message::Reboot => json!({}),
        Message::SetConfig { config } => config.clone(),
        Message::OtaPlan { plan } => plan.clone(),
        Message::TaskUpdate { task } => task.clone(),
        Message::Alert { level, text } => json!({"level": level, "text": text}),
        Message::Error { code, message } => json!({"code": code, "message": message}),
        Message::Close { reason } => json!({"reason": reason}),
    }
}

pub(super) fn decode_down(payload: &[u8]) -> Result<Downlink, WireError> {
    let bad = |what: &'static str| WireError::new("control", what);
    let v: Value = serde_json::from_slice(payload).map_err(|_| bad("no JSON"))?;
    let p = v.get("payload").cloned().unwrap_or_default();
    let t = |k: &str| p.get(k).and_then(Value::as_str).unwrap_or_default().to_owned();
    let n = |k: &str| p.get(k).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let message = match v.get("type").and_then(Value::as_str).unwrap_or_default() {
        "hello_ack" => Message::HelloAck(Box::new(serde_json::from_value(p.clone()).map_err(|_| bad("hello_ack"))?)),
        "ack" => Message::Ack { stream: serde_json::from_value(p["stream"].clone()).unwrap_or(Stream::Control), seq: Some(n("seq")), image_id: p.get("image_id").and_then(Value::as_str).and_then(|h| u64::from_str_radix(h, 16).ok()).map(ImageId), sha256: p.get("sha256").and_then(Value::as_str).map(str::to_owned) },
        "stt" => Message::Stt { text: t("text"), is_final: true },
        "reply" => Message::Reply { text: t("text") },
        "tts_start" => Message::TtsStart { turn_id: TurnId(n("turn_id")) },
        "tts_sentence" => Message::TtsSentence { text: t("text") },
        "tts_stop" => Message::TtsStop { turn_id: TurnId(n("turn_id")), reason: serde_json::from_value(p["reason"].clone()).map_err(|_| bad("reason"))? },
        "error" => Message::Error { code: t("code"), message: t("message") },
        "reboot" => Message::Reboot,
        _ => return Err(bad("unknown type")),
    };
    Ok(Downlink::Control { session: None, seq: v.get("seq").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()), ts_ms: 0, msg_id: None, want_ack: false, json: true, message })
}
