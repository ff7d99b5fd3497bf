//! What a device says: one JSON object a text.

use serde_json::{Map, Value};

use super::super::WireError;
use super::super::fields::Fields;
use super::MAX_TEXT;
use crate::domain::{Control, ControlKind, Hello, ListenMode};

/// What a hello tells that is worth keeping; the rest is left out, so that a record of it stays small.
const HELLO: [&str; 5] = ["version", "transport", "features", "audio_params", "text_font"];

/// Reads a control text. Nothing in it has a number; a `session_id` is what the device believes, often `""`.
pub fn control(text: &[u8]) -> Result<Control, WireError> {
    match text.len() {
        0 => return Err(WireError::malformed("the text is empty")),
        n if n > MAX_TEXT => return Err(WireError::too_large("the text is longer than 64 KB")),
        _ => {}
    }
    let mut root = Fields::parse(text, "the text is no json object")?;
    let name: String = root.need("type")?;
    let session_id = root.opt::<String>("session_id").ok().flatten().filter(|id| (1..=64).contains(&id.len()));
    let kind = kind(&name, root)?;
    Ok(Control { session_id, seq: None, ts_ms: None, msg_id: None, json: true, kind })
}

fn kind(name: &str, mut root: Fields) -> Result<ControlKind, WireError> {
    Ok(match name {
        "hello" => ControlKind::Hello(hello(&mut root)),
        "listen" => listen(&mut root)?,
        "abort" => ControlKind::Abort { reason: root.opt("reason").ok().flatten() },
        "mcp" => ControlKind::Mcp(object(&mut root, "payload")?),
        "iot" => ControlKind::Things(root.rest()),
        "goodbye" => ControlKind::Goodbye,
        "ping" => ControlKind::Heartbeat,
        _ => return Err(WireError::unknown_type()),
    })
}

/// A browser's hello has other fields than firmware's: nothing in it has to be there.
fn hello(root: &mut Fields) -> Hello {
    let known = HELLO.iter().filter_map(|name| root.take(name).map(|value| ((*name).to_owned(), value)));
    let capabilities = Value::Object(known.collect::<Map<_, _>>());
    Hello { capabilities, ..Hello::default() }
}

fn listen(root: &mut Fields) -> Result<ControlKind, WireError> {
    let state: String = root.need("state")?;
    Ok(match state.as_str() {
        // a mode that is not known is the session's own
        "start" => ControlKind::ListenStart { mode: root.opt::<ListenMode>("mode").ok().flatten(), n: None },
        "stop" => ControlKind::ListenStop,
        "detect" => ControlKind::Wake { text: root.opt("text")?.unwrap_or_default() },
        _ => return Err(WireError::malformed("state")),
    })
}

fn object(root: &mut Fields, name: &'static str) -> Result<Value, WireError> {
    root.take(name).filter(Value::is_object).ok_or_else(|| WireError::malformed(name))
}
