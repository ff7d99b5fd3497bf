//! Bytes to domain values and back: one folder a dialect, one file a format.
//!
//! Everything here is total: any bytes give a value or a [`WireError`], never a panic and never an
//! allocation that a length field asked for. It must not know transports, sessions or the store.
//!
//! - [`native`]: the native dialect's envelopes, audio packets, images and telemetry.
//! - [`ogg`]: Ogg Opus, written.
//! - [`picture`]: what a picture's file is, by its content.
//! - [`xiaozhi`]: the dialect of stock xiaozhi firmware: JSON, binary frames.
//! - [`wyoming`]: the protocol of speech services, Voxgate's own engine process included.

mod error;
#[cfg(test)]
mod examples;
mod fields;
pub mod native;
pub mod ogg;
pub mod picture;
pub mod wyoming;
pub mod xiaozhi;

use bytes::Bytes;

pub use error::{WireError, WireErrorKind};

use crate::domain::{Body, Downlink, Stream};

/// Reads what a device sent on the topic of `stream`. Audio and images share `payload`'s memory.
pub fn decode(dialect: &'static str, stream: Stream, payload: &Bytes) -> Result<Body, WireError> {
    match dialect {
        native::DIALECT => native::decode(stream, payload),
        xiaozhi::DIALECT => xiaozhi::decode(stream, payload),
        _ => Err(WireError::unsupported("no such dialect")),
    }
}

/// Writes what a device shall get; none where its dialect has no such message. A dialect that is not known gets the
/// native form.
pub fn encode(dialect: &str, downlink: &Downlink) -> Option<Bytes> {
    match dialect {
        xiaozhi::DIALECT => xiaozhi::encode(downlink),
        _ => native::encode(downlink),
    }
}

/// The entry for fuzzers: reads `data` as everything that may come from outside; panics are the findings.
///
/// What is read is written and read again, and has to be the same.
pub fn fuzz(data: &[u8]) {
    let payload = Bytes::copy_from_slice(data);
    for stream in Stream::ALL {
        let body = decode(native::DIALECT, stream, &payload);
        if let Ok(Body::Control(control)) = &body {
            let again = decode(native::DIALECT, stream, &native::client::encode_control(control));
            assert!(matches!(again, Ok(Body::Control(c)) if &c == control), "a control message changed on its way");
        }
        if let Ok(Body::Audio(packet)) = &body {
            let again = decode(native::DIALECT, stream, &native::client::encode_audio(packet));
            assert!(matches!(again, Ok(Body::Audio(p)) if &p == packet), "an audio packet changed on its way");
        }
        if let Ok(downlink) = native::client::decode_downlink(stream, data) {
            let again = encode(native::DIALECT, &downlink).map(|bytes| native::client::decode_downlink(stream, &bytes));
            assert!(again == Some(Ok(downlink)), "a downlink changed on its way");
        }
    }
    let mut buffer = bytes::BytesMut::from(data);
    let mut codec = wyoming::Decoder::default();
    while let Ok(Some(_)) = tokio_util::codec::Decoder::decode(&mut codec, &mut buffer) {}
}
