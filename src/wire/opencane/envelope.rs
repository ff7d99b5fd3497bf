//! Envelopes: a JSON object whose fields have many names.

use serde_json::{Map, Value};

use super::super::WireError;
use super::super::fields::whole;
use super::names::{NAMES, bare};

/// A JSON object whose fields are found by their bare names.
#[derive(Debug, Default)]
pub(super) struct Object(Vec<(String, String, Value)>);

impl Object {
    pub(super) fn of(map: Map<String, Value>) -> Self {
        Self(map.into_iter().map(|(name, value)| (bare(&name), name, value)).collect())
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, WireError> {
        serde_json::from_slice(text).map(Self::of).map_err(|e| WireError::json("the envelope is no json object", &e))
    }

    /// Takes the first of these fields that is there and not null.
    fn take(&mut self, names: &[String]) -> Option<Value> {
        let at = names
            .iter()
            .find_map(|wanted| self.0.iter().position(|(bare, _, value)| bare == wanted && !value.is_null()))?;
        Some(self.0.swap_remove(at).2)
    }

    /// A field of the envelope.
    pub(super) fn head(&mut self, field: &str) -> Option<Value> {
        self.take(NAMES.envelope(field))
    }

    /// A field of a payload.
    pub(super) fn field(&mut self, field: &str) -> Option<Value> {
        self.take(NAMES.payload(field))
    }

    /// A text that is not empty; numbers and switches are written out, as loosely typed firmware means them.
    pub(super) fn text(&mut self, field: &str) -> Option<String> {
        self.field(field).and_then(text)
    }

    /// A number from 0.
    pub(super) fn number(&mut self, field: &str) -> Option<u32> {
        self.field(field).and_then(|value| number(&value))
    }

    /// A switch.
    pub(super) fn switch(&mut self, field: &str) -> Option<bool> {
        self.field(field).and_then(|value| switch(&value))
    }

    /// An object within.
    pub(super) fn object(&mut self, field: &str) -> Self {
        match self.field(field) {
            Some(Value::Object(map)) => Self::of(map),
            _ => Self::default(),
        }
    }

    /// All that is not the envelope's, under its own names.
    pub(super) fn not_envelope(self) -> Map<String, Value> {
        self.0.into_iter().filter(|(bare, ..)| !NAMES.is_envelope(bare)).map(|(_, name, value)| (name, value)).collect()
    }

    /// All that is left, under its own names.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.0.into_iter().map(|(_, name, value)| (name, value)).collect()
    }
}

/// What stands around a payload.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) device: Option<String>,
    pub(super) session: Option<String>,
    pub(super) msg_id: Option<String>,
    pub(super) version: Option<String>,
    pub(super) seq: Option<u32>,
    pub(super) ts_ms: Option<u64>,
}

/// Takes an envelope apart: its head, its type if it has one, its payload.
pub(super) fn open(text: &[u8]) -> Result<(Head, Option<String>, Object), WireError> {
    let mut root = Object::parse(text)?;
    let head = Head {
        device: root.head("device_id").and_then(self::text),
        session: root.head("session_id").and_then(self::text),
        msg_id: root.head("msg_id").and_then(self::text).filter(|id| id.len() <= 64),
        version: root.head("version").and_then(self::text).filter(|version| version.len() <= 16),
        // 0 is what firmware without a counter writes, always
        seq: root.head("seq").and_then(|value| number(&value)).filter(|seq| *seq != 0),
        ts_ms: root.head("ts").and_then(|value| whole(&value)),
    };
    let kind = root.head("type").and_then(self::text);
    let payload = match root.head("payload") {
        Some(Value::Object(map)) => Object::of(map),
        Some(value) => Object::of(Map::from_iter([("value".to_owned(), value)])),
        None => Object::of(root.not_envelope()),
    };
    Ok((head, kind, payload))
}

fn text(value: Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(switch) => switch.to_string(),
        _ => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

pub(super) fn number(value: &Value) -> Option<u32> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => whole(other),
    };
    number.and_then(|number| u32::try_from(number).ok())
}

fn switch(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(switch) => Some(*switch),
        Value::Number(number) => number.as_f64().map(|number| number != 0.0),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        },
        _ => None,
    }
}
