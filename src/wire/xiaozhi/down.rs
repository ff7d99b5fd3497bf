//! What a device gets: one JSON object a text.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::domain::{DOWN_FRAME_MS, DOWN_RATE, HelloAck, MediaOffer, Message};

/// Writes a control text; none for what firmware has no word for. `session` goes with each: only `goodbye` checks it.
pub(super) fn encode(session: Option<&str>, message: &Message) -> Option<Bytes> {
    let mut text = body(message)?;
    // an alert, a tool call: also for a device without a session
    text["session_id"] = session.unwrap_or_default().into();
    Some(text.to_string().into())
}

fn body(message: &Message) -> Option<Value> {
    Some(match message {
        Message::HelloAck(ack) => hello(ack),
        Message::Stt { text, is_final: true } => json!({"type": "stt", "text": text}),
        Message::TtsStart { .. } => json!({"type": "tts", "state": "start"}),
        Message::TtsSentence { text, .. } => json!({"type": "tts", "state": "sentence_start", "text": text}),
        Message::TtsStop { .. } => json!({"type": "tts", "state": "stop"}),
        // firmware shows the face; what is in `text` it does not read
        Message::Emotion { name } => json!({"type": "llm", "emotion": name, "text": ""}),
        Message::Mcp(payload) => json!({"type": "mcp", "payload": payload}),
        Message::ThingCommand { thing, method, parameters } => {
            json!({"type": "iot", "commands": [{"name": thing, "method": method, "parameters": parameters}]})
        }
        Message::Reboot => json!({"type": "system", "command": "reboot"}),
        // all three are required
        Message::Alert { level, text, status: word, emotion } => {
            let (status, face) = (word.as_deref().unwrap_or(status(level)), emotion.as_deref().unwrap_or(face(level)));
            json!({"type": "alert", "status": status, "message": text, "emotion": face})
        }
        Message::Close { .. } => json!({"type": "goodbye"}),
        Message::Ack { .. }
        | Message::ImageMissing { .. }
        | Message::Stt { is_final: false, .. }
        | Message::Reply { .. }
        | Message::Haptic { .. }
        | Message::ToolCall { .. }
        | Message::SetConfig { .. }
        | Message::OtaPlan { .. }
        | Message::TaskUpdate { .. }
        | Message::Error { .. } => return None,
    })
}

/// A missing `transport` ends firmware, as does one of the four fields of `udp`.
fn hello(ack: &HelloAck) -> Value {
    let audio = json!({"format": "opus", "sample_rate": DOWN_RATE, "channels": 1, "frame_duration": DOWN_FRAME_MS});
    let mut text = json!({"type": "hello", "version": 3, "transport": "websocket", "audio_params": audio});
    if let Some(MediaOffer { host, port, key, nonce }) = &ack.media {
        text["transport"] = "udp".into();
        text["udp"] = json!({
            "server": &**host, "port": port, "key": hex(key), "nonce": hex(nonce), "encryption": "aes-128-ctr",
        });
    }
    text
}

fn status(level: &str) -> &'static str {
    match level {
        "critical" => "Alarm",
        "warning" => "Warning",
        _ => "Info",
    }
}

fn face(level: &str) -> &'static str {
    match level {
        "critical" => "shocked",
        "warning" => "thinking",
        _ => "neutral",
    }
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}
