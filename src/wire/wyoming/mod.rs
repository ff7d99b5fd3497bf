//! The Wyoming protocol of Home Assistant's voice services: events over a byte stream.
//!
//! An event is one line of JSON (`{"type": …, "data": {…}, "data_length": n, "payload_length": m}`), then
//! `n` bytes of JSON that are merged over `data`, then `m` bytes of payload (audio, as a rule). See
//! <https://github.com/OHF-Voice/wyoming>. It must not know what the events mean to an engine.

mod codec;

use bytes::Bytes;
use serde_json::{Map, Value};

pub use codec::{Codec, Limits, WyomingError};

/// One event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Event {
    /// The `type`: `transcribe`, `audio-chunk`, `synthesize`, …
    pub kind: String,
    /// The fields.
    pub data: Map<String, Value>,
    /// Raw bytes; for `audio-chunk` signed 16-bit little-endian samples.
    pub payload: Bytes,
}

impl Event {
    /// An event without fields and payload.
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }

    /// Sets the field `name`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.data.insert(name.into(), value.into());
        self
    }

    /// Sets the payload.
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.payload = payload.into();
        self
    }

    /// The field `name` as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.data.get(name)?.as_str()
    }

    /// The field `name` as a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.data.get(name)?.as_u64()
    }
}
