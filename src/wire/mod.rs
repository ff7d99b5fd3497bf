//! Bytes to domain values and back: one folder a dialect, one file a format.
//!
//! Everything here is total: any bytes give a value or a [`WireError`], never a panic and never an
//! allocation that a length field asked for. It must not know transports, sessions or the store.

pub mod native;
pub mod wyoming;

use bytes::Bytes;

use crate::domain::{Body, Downlink, Stream};

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{stream}: {what}")]
pub struct WireError {
    /// Where.
    pub stream: &'static str,
    /// What.
    pub what: &'static str,
}

impl WireError {
    pub(crate) fn new(stream: &'static str, what: &'static str) -> Self {
        Self { stream, what }
    }
}

/// Uplink bytes.
pub fn decode(_dialect: &'static str, stream: Stream, payload: &Bytes) -> Result<Body, WireError> {
    native::decode(stream, payload)
}

/// Downlink bytes.
pub fn encode(_dialect: &str, downlink: &Downlink) -> Bytes {
    native::encode(downlink)
}
