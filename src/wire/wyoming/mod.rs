//! Wyoming, the protocol of Home Assistant's voice services: bytes ↔ events.
//!
//! An event is one line of JSON (`type`, `version`, `data`, `data_length`, `payload_length`), then `data_length`
//! bytes of more JSON, then `payload_length` bytes of payload, mostly audio. This folder knows the framing and
//! the names; it must not know what a service does with them.
//! Source: <https://github.com/OHF-Voice/wyoming> (README, "Format").

mod codec;

pub use codec::{Decoder, Limits, WyomingError, encode};

use bytes::Bytes;
use serde_json::{Map, Value};

/// One event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Event {
    /// `transcribe`, `audio-chunk`, …
    pub kind: String,
    /// What it says; both JSON parts of the wire format merged.
    pub data: Map<String, Value>,
    /// Bytes that come with it: audio.
    pub payload: Bytes,
}

impl Event {
    /// An event that says nothing but its name.
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }

    /// One thing more that it says.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.data.insert(key.into(), value.into());
        self
    }

    /// `audio-start` of signed 16-bit mono.
    pub fn audio_start(rate: u32) -> Self {
        Self::new("audio-start").with("rate", rate).with("width", 2).with("channels", 1)
    }

    /// `audio-chunk` of signed 16-bit mono.
    pub fn audio_chunk(rate: u32, samples: &[i16]) -> Self {
        let mut event = Self::new("audio-chunk").with("rate", rate).with("width", 2).with("channels", 1);
        event.payload = samples.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<u8>>().into();
        event
    }

    /// `error` with a text for people.
    pub fn error(text: impl Into<String>, code: &str) -> Self {
        Self::new("error").with("text", text.into()).with("code", code)
    }

    /// A text of `data`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.data.get(key).and_then(Value::as_str)
    }

    /// A whole number of `data`.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.data.get(key).and_then(Value::as_u64)
    }

    /// The payload as little-endian signed 16-bit samples; an odd last byte is left out.
    pub fn samples(&self) -> impl Iterator<Item = i16> + '_ {
        self.payload.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
    }
}
