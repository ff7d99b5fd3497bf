//! What an OpenCane device is told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::domain::{DOWN_RATE, DeviceId, Message, SpokenFrame, StopReason};

/// Of the protocol that is written.
const VERSION: &str = "0.1";
/// Characters of a reply that `tts_start` shows.
const TITLE: usize = 80;

/// What stands around a payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) device: &'a DeviceId,
    pub(super) session: Option<&'a str>,
    pub(super) seq: Option<u32>,
    pub(super) ts_ms: u64,
    pub(super) msg_id: Option<&'a str>,
}

/// Writes a command; none for what these devices have no word for.
pub(super) fn encode(head: Head<'_>, message: &Message) -> Option<Bytes> {
    let (name, payload) = command(message)?;
    Some(envelope(head, name, &payload))
}

/// Writes a frame of speech as a command, for connections that carry text alone.
pub(super) fn speech(head: Head<'_>, frame: &SpokenFrame) -> Bytes {
    let payload = json!({"audio_b64": STANDARD.encode(&frame.packet), "encoding": "opus", "sample_rate_hz": DOWN_RATE});
    envelope(head, "tts_chunk", &payload)
}

/// All eight fields are there, always.
fn envelope(head: Head<'_>, name: &str, payload: &Value) -> Bytes {
    let seq = head.seq.unwrap_or(0);
    let made = || format!("{}-{seq}", head.session.unwrap_or_default());
    json!({
        "version": VERSION,
        "msg_id": head.msg_id.map_or_else(made, str::to_owned),
        "device_id": head.device.as_str(),
        "session_id": head.session.unwrap_or_default(),
        "seq": seq,
        "ts": head.ts_ms,
        "type": name,
        "payload": payload,
    })
    .to_string()
    .into()
}

fn command(message: &Message) -> Option<(&'static str, Value)> {
    Some(match message {
        Message::HelloAck(ack) => (
            "hello_ack",
            json!({
                "runtime": "opencane-hardware",
                "protocol": ack.protocol.as_deref().unwrap_or(VERSION),
                "session_id": ack.session_id,
                "ack_seq": ack.number.unwrap_or(0),
                "resumed": ack.resumed,
                "boot": ack.boot,
                "heartbeat_s": ack.heartbeat_s,
            }),
        ),
        Message::Ack { seq: Some(seq), image_id: None, .. } => ("ack", json!({"ack_seq": seq})),
        Message::Stt { text, is_final: false } => ("stt_partial", json!({"text": text})),
        Message::Stt { text, is_final: true } => ("stt_final", json!({"text": text})),
        Message::TtsStart { text, device_speaks, .. } => {
            let title: String = text.chars().take(TITLE).collect();
            if *device_speaks {
                ("tts_start", json!({"text": title}))
            } else {
                let mode =
                    json!({"text": title, "mode": "server_audio", "encoding": "opus", "sample_rate_hz": DOWN_RATE});
                ("tts_start", mode)
            }
        }
        // a device that gets the speech would say it twice
        Message::TtsSentence { text, device_speaks: true } => ("tts_chunk", json!({"text": text})),
        Message::TtsStop { reason: StopReason::Done, .. } => ("tts_stop", json!({"aborted": false})),
        Message::TtsStop { reason, .. } => ("tts_stop", json!({"aborted": true, "reason": why(*reason)})),
        Message::TaskUpdate { task } => ("task_update", task.clone()),
        Message::ToolCall { operation_id, name, arguments } => {
            ("tool_call", json!({"operation_id": operation_id, "name": name, "arguments": arguments}))
        }
        Message::SetConfig { config } => ("set_config", object(config, "config")),
        Message::OtaPlan { plan } => ("ota_plan", object(plan, "plan")),
        Message::Close { reason } => ("close", json!({"reason": reason})),
        // words of ours, which devices that do not know them leave alone
        Message::Haptic { pattern, times } => ("haptic", json!({"pattern": pattern, "times": times})),
        Message::Reboot => ("reboot", json!({})),
        Message::Alert { level, text, .. } => ("alert", json!({"level": level, "text": text})),
        Message::Ack { .. }
        | Message::ImageMissing { .. }
        | Message::Reply { .. }
        | Message::TtsSentence { device_speaks: false, .. }
        | Message::Emotion { .. }
        | Message::Error { .. }
        | Message::Mcp(_)
        | Message::ThingCommand { .. } => return None,
    })
}

/// The operator's payload as it is.
fn object(value: &Value, name: &str) -> Value {
    match value {
        Value::Object(_) => value.clone(),
        other => Value::Object(Map::from_iter([(name.to_owned(), other.clone())])),
    }
}

/// As the devices' firmware knows it.
fn why(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Done => "done",
        StopReason::Abort => "device_abort",
        StopReason::BargeIn => "barge_in",
        StopReason::LinkLost => "link_lost",
        StopReason::Error => "error",
        StopReason::Closed => "closed",
    }
}
