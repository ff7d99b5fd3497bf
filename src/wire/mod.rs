//! Bytes to domain values and back: one folder a dialect, one file a format.
//!
//! Everything here is total: any bytes give a value or a [`WireError`], never a panic and never an
//! allocation that a length field asked for. It must not know transports, sessions or the store.
//!
//! - [`native`]: the native dialect's envelopes, audio packets, images and telemetry.
//! - [`ogg`]: Ogg Opus, written.
//! - [`opencane`]: the dialect of OpenCane's devices: JSON envelopes, packets.
//! - [`picture`]: what a picture's file is, by its content.
//! - [`xiaozhi`]: the dialect of stock xiaozhi firmware: JSON, binary frames.
//! - [`wyoming`]: the protocol of speech services, Voxgate's own engine process included.

mod error;
#[cfg(test)]
mod examples;
mod fields;
pub mod native;
pub mod ogg;
pub mod opencane;
pub mod picture;
pub mod wyoming;
pub mod xiaozhi;

use bytes::Bytes;

pub use error::{WireError, WireErrorKind};

use crate::domain::{Body, DeviceId, Downlink, Stream};

/// Reads what `device` sent on the topic of `stream`. Audio and images share `payload`'s memory.
pub fn decode(dialect: &'static str, stream: Stream, payload: &Bytes, device: &DeviceId) -> Result<Body, WireError> {
    match dialect {
        opencane::DIALECT => opencane::decode(stream, payload, device),
        native::DIALECT => native::decode(stream, payload),
        xiaozhi::DIALECT => xiaozhi::decode(stream, payload),
        _ => Err(WireError::unsupported("no such dialect")),
    }
}

/// Writes what `device` shall get; none where its dialect has no such message. A dialect that is not known gets the
/// native form.
pub fn encode(dialect: &str, downlink: &Downlink, device: &DeviceId) -> Option<Bytes> {
    match dialect {
        opencane::DIALECT => opencane::encode(downlink, device),
        xiaozhi::DIALECT => xiaozhi::encode(downlink),
        _ => native::encode(downlink),
    }
}

/// The entry for fuzzers: reads `data` as everything that may come from outside; panics are the findings.
///
/// What is read is written and read again, and has to be the same.
pub fn fuzz(data: &[u8]) {
    let payload = Bytes::copy_from_slice(data);
    let Ok(device) = DeviceId::parse("d") else { return };
    for stream in Stream::ALL {
        // what comes of it has no other form
        let _ = decode(opencane::DIALECT, stream, &payload, &device);
        let _ = decode(xiaozhi::DIALECT, stream, &payload, &device);
        let body = decode(native::DIALECT, stream, &payload, &device);
        if let Ok(Body::Control(control)) = &body {
            let again = decode(native::DIALECT, stream, &native::client::encode_control(control), &device);
            assert!(matches!(again, Ok(Body::Control(c)) if &c == control), "a control message changed on its way");
        }
        if let Ok(Body::Audio(packet)) = &body {
            let again = decode(native::DIALECT, stream, &native::client::encode_audio(packet), &device);
            assert!(matches!(again, Ok(Body::Audio(p)) if &p == packet), "an audio packet changed on its way");
        }
        if let Ok(downlink) = native::client::decode_downlink(stream, data) {
            let bytes = encode(native::DIALECT, &downlink, &device);
            let again = bytes.map(|bytes| native::client::decode_downlink(stream, &bytes));
            assert!(again == Some(Ok(downlink)), "a downlink changed on its way");
        }
    }
    let mut buffer = bytes::BytesMut::from(data);
    let mut codec = wyoming::Decoder::default();
    while let Ok(Some(_)) = tokio_util::codec::Decoder::decode(&mut codec, &mut buffer) {}
}

/// Whose messages tests read.
#[cfg(test)]
fn some_device() -> DeviceId {
    DeviceId::parse("d").unwrap_or_else(|_| unreachable!("a letter is an id"))
}
