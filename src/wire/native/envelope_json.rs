//! Envelopes as JSON: `{"type", "session_id", "seq", "ts", "msg_id", "payload"}`.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::WireError;
use super::super::fields::Fields;
use super::{Head, numbered, short_id};
use crate::domain::{
    Control, ControlKind, DOWN_FRAME_MS, DOWN_RATE, Downlink, Hello, HelloAck, ImageId, Message, SessionId, TurnId,
};

/// Reads what a device says.
pub(super) fn decode_up(text: &[u8]) -> Result<Control, WireError> {
    let mut root = Fields::parse(text, "the envelope is no json object")?;
    let name: String = root.need("type")?;
    let session_id = short_id(root.opt("session_id")?, "session_id")?;
    let seq = numbered(root.u32("seq")?);
    let ts_ms = root.ms("ts")?;
    let msg_id = short_id(root.opt("msg_id")?, "msg_id")?;
    let mut payload = root.object("payload")?;
    let inner = if name == "hello" { short_id(payload.opt("session_id")?, "session_id")? } else { None };
    let kind = up(&name, payload)?;
    Ok(Control { session_id: session_id.or(inner), seq, ts_ms, msg_id, json: true, kind })
}

fn up(name: &str, mut p: Fields) -> Result<ControlKind, WireError> {
    Ok(match name {
        "hello" => ControlKind::Hello(hello(p)?),
        "heartbeat" => ControlKind::Heartbeat,
        "listen_start" => ControlKind::ListenStart { mode: p.opt("mode")?, n: p.u32("n")? },
        "listen_stop" => ControlKind::ListenStop,
        "abort" => ControlKind::Abort { reason: p.opt("reason")? },
        "text" => ControlKind::Text(p.need("text")?),
        "played" => ControlKind::Played(turn(&mut p)?),
        "ack" => ControlKind::Ack(p.need_u32("seq")?),
        // a call for help is not refused for a field of the wrong type
        "sos" => ControlKind::Sos {
            kind: p
                .opt("kind")
                .ok()
                .flatten()
                .filter(|k: &String| !k.is_empty())
                .unwrap_or_else(|| "unspecified".to_owned()),
            text: p.opt("text").ok().flatten(),
        },
        "tool_result" => {
            let (operation_id, error) = (p.need("operation_id")?, p.opt::<String>("error")?);
            let success = p.opt("success")?.unwrap_or(error.is_none());
            ControlKind::ToolResult { operation_id, success, result: p.value("result"), error }
        }
        "image" => ControlKind::ImageNote {
            image_id: p.image_id("image_id")?.ok_or_else(|| WireError::malformed("image_id"))?,
            question: p.opt("question")?,
            keep: keep(p.opt::<String>("mode")?.as_deref())?,
        },
        "goodbye" => ControlKind::Goodbye,
        _ => return Err(WireError::unknown_type()),
    })
}

fn hello(mut p: Fields) -> Result<Hello, WireError> {
    let mut oldest = p.object("oldest_seq")?;
    let mut oldest_seq = std::collections::BTreeMap::new();
    for stream in crate::domain::Stream::ALL {
        if let Some(seq) = oldest.u32(stream.name())? {
            oldest_seq.insert(stream, seq);
        }
    }
    Ok(Hello {
        boot_id: p.u32("boot_id")?,
        capabilities: p.value("capabilities"),
        last_recv_seq: p.u32("last_recv_seq")?,
        oldest_seq,
        version: None,
    })
}

fn keep(mode: Option<&str>) -> Result<bool, WireError> {
    match mode {
        None | Some("ask") => Ok(false),
        Some("keep") => Ok(true),
        Some(_) => Err(WireError::malformed("mode")),
    }
}

/// Writes what a device says.
pub(super) fn encode_up(head: Head<'_>, kind: &ControlKind) -> Bytes {
    let payload = match kind {
        ControlKind::Hello(hello) => json!({
            "boot_id": hello.boot_id,
            "capabilities": hello.capabilities,
            "last_recv_seq": hello.last_recv_seq,
            "oldest_seq": hello.oldest_seq.iter().map(|(s, n)| (s.name().to_owned(), json!(n))).collect::<Map<_, _>>(),
        }),
        ControlKind::Heartbeat | ControlKind::ListenStop | ControlKind::Goodbye => json!({}),
        ControlKind::ListenStart { mode, n } => json!({ "mode": mode, "n": n }),
        ControlKind::Abort { reason } => json!({ "reason": reason }),
        // that of a wake word is another dialect's, as those below: the gateway refuses them here
        ControlKind::Text(text) | ControlKind::Wake { text } | ControlKind::Said(text) | ControlKind::Partial(text) => {
            json!({ "text": text })
        }
        ControlKind::Errand { said } => json!({ "text": said }),
        ControlKind::Telemetry(telemetry) => json!(telemetry),
        ControlKind::Photo { question, .. } => json!({ "question": question }),
        ControlKind::Played(turn) => json!({ "turn_id": turn }),
        ControlKind::Ack(seq) => json!({ "seq": seq }),
        ControlKind::Sos { kind, text } => json!({ "kind": kind, "text": text }),
        ControlKind::ToolResult { operation_id, success, result, error } => {
            json!({ "operation_id": operation_id, "success": success, "result": result, "error": error })
        }
        ControlKind::ImageNote { image_id, question, keep } => json!({
            "image_id": hex(*image_id), "question": question, "mode": if *keep { "keep" } else { "ask" },
        }),
        ControlKind::Mcp(payload) | ControlKind::Things(payload) | ControlKind::Fault(payload) => payload.clone(),
    };
    envelope(head, kind.name(), payload)
}

/// Writes what a device shall get.
pub(super) fn encode_down(head: Head<'_>, message: &Message) -> Option<Bytes> {
    Some(envelope(head, message.name(), down(message)?))
}

/// None: the dialect has no such message.
fn down(message: &Message) -> Option<Value> {
    Some(match message {
        Message::HelloAck(ack) => hello_ack(ack),
        Message::Ack { stream, seq, image_id, sha256 } => {
            json!({ "stream": stream, "seq": seq, "image_id": image_id.map(hex), "sha256": sha256 })
        }
        Message::ImageMissing { image_id, parts } => json!({ "image_id": hex(*image_id), "parts": parts }),
        Message::Stt { text, is_final } => json!({ "text": text, "final": is_final }),
        Message::Reply { text } | Message::TtsSentence { text, .. } => json!({ "text": text }),
        Message::TtsStart { turn_id, .. } => json!({ "turn_id": turn_id }),
        Message::TtsStop { turn_id, reason } => json!({ "turn_id": turn_id, "reason": reason }),
        Message::Emotion { name } => json!({ "name": name }),
        Message::Haptic { pattern, times } => json!({ "pattern": pattern, "times": times }),
        Message::Reboot => json!({}),
        Message::ToolCall { operation_id, name, arguments } => {
            json!({ "operation_id": operation_id, "name": name, "arguments": arguments })
        }
        Message::SetConfig { config } => json!({ "config": config }),
        Message::OtaPlan { plan } => json!({ "plan": plan }),
        Message::TaskUpdate { task } => json!({ "task": task }),
        Message::Alert { level, text, .. } => json!({ "level": level, "text": text }),
        Message::Error { code, message } => json!({ "code": code, "message": message }),
        Message::Close { reason } => json!({ "reason": reason }),
        Message::Mcp(_) | Message::ThingCommand { .. } => return None,
    })
}

fn hello_ack(ack: &HelloAck) -> Value {
    json!({
        "session_id": ack.session_id,
        "resumed": ack.resumed,
        "boot": ack.boot,
        "time": ack.time,
        "ack": ack.ack,
        "down_seq": ack.down_seq,
        "max": { "packet": ack.max_packet, "image": ack.max_image, "in_flight": ack.max_in_flight },
        "heartbeat_s": ack.heartbeat_s,
        "audio": { "codec": "opus", "sample_rate": DOWN_RATE, "frame_ms": DOWN_FRAME_MS },
    })
}

/// What is none is not written: small devices have small buffers.
fn envelope(head: Head<'_>, name: &str, mut payload: Value) -> Bytes {
    let mut root = Map::new();
    root.insert("type".into(), name.into());
    let fields: [(&str, Value); 5] = [
        ("session_id", head.session_id.into()),
        ("seq", head.seq.into()),
        ("ts", head.ts.into()),
        ("msg_id", head.msg_id.into()),
        ("want_ack", head.want_ack.then_some(true).into()),
    ];
    root.extend(fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.to_owned(), v)));
    if let Value::Object(map) = &mut payload {
        map.retain(|_, v| !v.is_null());
    }
    root.insert("payload".into(), payload);
    Value::Object(root).to_string().into()
}

/// Reads what a device got.
pub(super) fn decode_down(text: &[u8]) -> Result<Downlink, WireError> {
    let mut root = Fields::parse(text, "the envelope is no json object")?;
    let name: String = root.need("type")?;
    let session = root.opt::<SessionId>("session_id")?;
    let seq = root.u32("seq")?;
    let ts_ms = root.ms("ts")?.unwrap_or(0);
    let msg_id = short_id(root.opt("msg_id")?, "msg_id")?;
    let want_ack = root.opt("want_ack")?.unwrap_or(false);
    let message = message(&name, root.object("payload")?)?;
    Ok(Downlink::Control { session, seq, ts_ms, msg_id, want_ack, json: true, message })
}

fn message(name: &str, mut p: Fields) -> Result<Message, WireError> {
    let image_id = |p: &mut Fields| p.image_id("image_id")?.ok_or_else(|| WireError::malformed("image_id"));
    Ok(match name {
        "hello_ack" => Message::HelloAck(Box::new(read_hello_ack(p)?)),
        "ack" => Message::Ack {
            stream: p.need("stream")?,
            seq: p.u32("seq")?,
            image_id: p.image_id("image_id")?,
            sha256: p.opt("sha256")?,
        },
        "image_missing" => Message::ImageMissing { image_id: image_id(&mut p)?, parts: p.need("parts")? },
        "stt" => Message::Stt { text: p.need("text")?, is_final: p.need("final")? },
        "reply" => Message::Reply { text: p.need("text")? },
        "tts_start" => Message::TtsStart { turn_id: turn(&mut p)?, text: String::new(), device_speaks: false },
        "tts_sentence" => Message::TtsSentence { text: p.need("text")?, device_speaks: false },
        "tts_stop" => Message::TtsStop { turn_id: turn(&mut p)?, reason: p.need("reason")? },
        "emotion" => Message::Emotion { name: p.need("name")? },
        "haptic" => Message::Haptic { pattern: p.need("pattern")?, times: p.need_u32("times")? },
        "reboot" => Message::Reboot,
        "tool_call" => Message::ToolCall {
            operation_id: p.need("operation_id")?,
            name: p.need("name")?,
            arguments: p.value("arguments"),
        },
        "set_config" => Message::SetConfig { config: p.value("config") },
        "ota_plan" => Message::OtaPlan { plan: p.value("plan") },
        "task_update" => Message::TaskUpdate { task: p.value("task") },
        "alert" => Message::Alert { level: p.need("level")?, text: p.need("text")?, status: None, emotion: None },
        "error" => Message::Error { code: p.need("code")?, message: p.need("message")? },
        "close" => Message::Close { reason: p.need("reason")? },
        _ => return Err(WireError::unknown_type()),
    })
}

fn turn(p: &mut Fields) -> Result<TurnId, WireError> {
    p.need_u32("turn_id").map(TurnId)
}

fn read_hello_ack(mut p: Fields) -> Result<HelloAck, WireError> {
    let mut max = p.object("max")?;
    Ok(HelloAck {
        session_id: p.need("session_id")?,
        resumed: p.need("resumed")?,
        boot: p.ms("boot")?.ok_or_else(|| WireError::malformed("boot"))?,
        time: p.ms("time")?.unwrap_or(0),
        ack: p.need("ack")?,
        down_seq: p.need_u32("down_seq")?,
        max_packet: max.need_u32("packet")?,
        max_image: max.need_u32("image")?,
        max_in_flight: max.need_u32("in_flight")?,
        heartbeat_s: p.need_u32("heartbeat_s")?,
        number: None,
        protocol: None,
        media: None,
    })
}

fn hex(id: ImageId) -> String {
    id.to_string()
}
