//! What an OpenCane device says.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::super::native::normalise;
use super::super::native::{MAX_OPUS, MAX_PCM};
use super::super::{WireError, picture};
use super::envelope::{Head, Object, number, open};
use super::names::NAMES;
use crate::domain::{AudioPacket, Body, Codec, Control, ControlKind, DeviceId, Hello, ListenMode};

/// Most pieces of text and reasons, bytes.
const MAX_WORDS: usize = 8 << 10;

/// Reads an envelope that `device` sent.
pub(super) fn control(text: &[u8], device: &DeviceId) -> Result<Body, WireError> {
    let (head, kind, payload) = open(text)?;
    check(&head, device)?;
    let kind = kind.ok_or_else(|| WireError::malformed("type"))?;
    let event = NAMES.event(&kind);
    if event == "audio_chunk" {
        return chunk(head, payload);
    }
    let said = event_of(event, &head, payload)?;
    Ok(Body::Control(Box::new(envelope(head, said))))
}

/// Reads speech that came as JSON on a topic of its own.
pub(super) fn audio(text: &[u8], device: &DeviceId) -> Result<Body, WireError> {
    let (head, _, mut payload) = open(text)?;
    check(&head, device)?;
    let within = packet(&mut payload, &head)?;
    // it may stand under a name that else is that of the payload
    let found = match within {
        None => packet(&mut Object::parse(text)?, &head)?,
        found => found,
    };
    found.map(Body::Audio).ok_or_else(|| WireError::malformed("audio"))
}

/// The identity is the connection's: a message that names another device is nobody's.
fn check(head: &Head, device: &DeviceId) -> Result<(), WireError> {
    match &head.device {
        Some(claimed) if claimed != device.as_str() => Err(WireError::identity()),
        _ => Ok(()),
    }
}

fn envelope(head: Head, kind: ControlKind) -> Control {
    let Head { session, msg_id, seq, ts_ms, .. } = head;
    Control { session_id: session, seq, ts_ms, msg_id, json: true, kind }
}

fn event_of(event: &str, head: &Head, mut p: Object) -> Result<ControlKind, WireError> {
    Ok(match event {
        "hello" => ControlKind::Hello(hello(head, p)),
        "heartbeat" => ControlKind::Heartbeat,
        // only the device ends an utterance
        "listen_start" => ControlKind::ListenStart { mode: Some(ListenMode::Manual), n: None },
        "listen_stop" => match (words(&mut p, "text")?, errand(&mut p)) {
            (said, true) => ControlKind::Errand { said },
            (Some(text), false) => ControlKind::Said(text),
            (None, false) => ControlKind::ListenStop,
        },
        "abort" => ControlKind::Abort { reason: words(&mut p, "reason")? },
        "telemetry" => ControlKind::Telemetry(Box::new(normalise(p.rest()))),
        "tool_result" => result(p)?,
        "image_ready" => photo(p)?,
        "error" => ControlKind::Fault(Value::Object(p.rest())),
        "sos" => {
            let kind = p.text("kind").filter(|kind| kind.len() <= 64).unwrap_or_else(|| "unspecified".to_owned());
            ControlKind::Sos { kind, text: words(&mut p, "text").ok().flatten() }
        }
        _ => return Err(WireError::unknown_type()),
    })
}

/// Its token says nothing that the connection did not prove, and goes no further.
fn hello(head: &Head, mut p: Object) -> Hello {
    let capabilities = p.field("capabilities").filter(Value::is_object).unwrap_or_else(|| json!({}));
    let last = p.number("last_recv_seq").or_else(|| p.object("resume").number("last_recv_seq"));
    Hello { capabilities, last_recv_seq: last, version: head.version.clone(), ..Hello::default() }
}

/// What was said is to be done in the background.
fn errand(p: &mut Object) -> bool {
    let intent = p.text("intent").is_some_and(|intent| intent == "digital_task");
    p.switch("digital_task").unwrap_or(false) || intent
}

fn words(p: &mut Object, field: &str) -> Result<Option<String>, WireError> {
    match p.text(field).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) {
        Some(text) if text.len() > MAX_WORDS => Err(WireError::too_large("a text has at most 8 KB")),
        other => Ok(other),
    }
}

fn result(mut p: Object) -> Result<ControlKind, WireError> {
    let operation_id = p.text("operation_id").filter(|id| id.len() <= 64);
    let operation_id = operation_id.ok_or_else(|| WireError::malformed("operation_id"))?;
    let error = match p.field("error") {
        None | Some(Value::Bool(false)) => None,
        Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
        Some(other) => Some(other.to_string()),
    };
    let success = p.switch("success").unwrap_or(error.is_none());
    Ok(ControlKind::ToolResult { operation_id, success, result: p.field("result").unwrap_or(Value::Null), error })
}

fn photo(mut p: Object) -> Result<ControlKind, WireError> {
    let Some(Value::String(text)) = p.field("image") else {
        return Err(WireError::malformed("an image as base64"));
    };
    let file = base64(&text).ok_or_else(|| WireError::malformed("the image is no base64"))?;
    if picture::read(&file).is_none() {
        return Err(WireError::malformed("the image is no jpeg, png or webp file"));
    }
    Ok(ControlKind::Photo { file, question: words(&mut p, "question")? })
}

/// A piece of speech, or of what the device understood of it.
fn chunk(head: Head, mut p: Object) -> Result<Body, WireError> {
    if let Some(text) = words(&mut p, "text")? {
        return Ok(Body::Control(Box::new(envelope(head, ControlKind::Partial(text)))));
    }
    let packet = packet(&mut p, &head)?.ok_or_else(|| WireError::malformed("audio"))?;
    Ok(Body::Audio(packet))
}

/// The packet of a JSON object; none when there is no audio in it. Its number: that of the piece, else of the envelope, else
/// none (0): never a time, which stands still on some devices and goes backwards on others.
fn packet(p: &mut Object, head: &Head) -> Result<Option<AudioPacket>, WireError> {
    let Some(Value::String(text)) = p.field("audio") else { return Ok(None) };
    let payload = base64(&text).ok_or_else(|| WireError::malformed("the audio is no base64"))?;
    let (codec, most) = match p.text("encoding").map(|name| name.to_ascii_lowercase()).as_deref() {
        None | Some("opus") => (Codec::Opus, MAX_OPUS),
        Some("pcm" | "pcm16" | "pcm_s16le" | "s16le") => (Codec::PcmS16le, MAX_PCM),
        Some(_) => return Err(WireError::unsupported("speech is opus, or pcm of 16 bits and 16 kHz")),
    };
    if payload.is_empty() || payload.len() > most || (codec == Codec::PcmS16le && payload.len() % 2 == 1) {
        return Err(WireError::malformed(
            "a packet has one piece of speech: opus of 1,275 bytes, pcm of 3,840 at most",
        ));
    }
    // pieces count from 0
    let order = p.field("order").and_then(|value| number(&value)).map(|order| order.wrapping_add(1));
    let seq = order.or(head.seq).unwrap_or(0);
    let ts_ms = head.ts_ms.map_or(0, |ts| u32::try_from(ts & u64::from(u32::MAX)).unwrap_or(0));
    Ok(Some(AudioPacket { codec, seq, ts_ms, last: false, speech: p.switch("speech"), listen: 0, payload }))
}

/// Base64 as devices write it: with or without padding, as an URL has it, after the prefix of a data URI, in lines.
fn base64(text: &str) -> Option<Bytes> {
    let text = text.strip_prefix("data:").and_then(|uri| uri.split_once(',')).map_or(text, |(_, data)| data);
    let clean: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bare = clean.trim_end_matches('=');
    let read =
        STANDARD.decode(&clean).or_else(|_| STANDARD_NO_PAD.decode(bare)).or_else(|_| URL_SAFE_NO_PAD.decode(bare));
    read.ok().map(Bytes::from)
}
