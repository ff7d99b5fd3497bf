//! Opus packets in binary WebSocket frames, in the three forms that firmware knows.
//!
//! 1: the packet alone. 2: version, type, reserved, timestamp, size (16 bytes, big-endian). 3: type, reserved, size (4 bytes).

use bytes::{BufMut, Bytes, BytesMut};

use super::super::WireError;
use super::MAX_OPUS;

/// Length of the header of version 2.
const HEAD_TWO: usize = 16;
/// Length of the header of version 3.
const HEAD_THREE: usize = 4;
/// What the frame holds: an Opus packet.
const OPUS: u8 = 0;
/// What the frame holds: a JSON text.
const JSON: u8 = 1;

/// How frames are built, as the device's `Protocol-Version` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Version {
    /// The packet alone.
    #[default]
    One,
    /// With a timestamp.
    Two,
    /// With a short header.
    Three,
}

impl Version {
    /// Reads a version's number.
    pub fn parse(number: &str) -> Option<Self> {
        match number {
            "1" => Some(Version::One),
            "2" => Some(Version::Two),
            "3" => Some(Version::Three),
            _ => None,
        }
    }

    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            Version::One => 1,
            Version::Two => 2,
            Version::Three => 3,
        }
    }
}

/// What a frame held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// An Opus packet, and the device's time where the form has one (ms; else 0).
    Opus(u32, Bytes),
    /// A control text.
    Json(Bytes),
}

/// Reads a frame. A length that is not that of the rest is an error; the packet shares the frame's memory.
pub fn read(version: Version, frame: &Bytes) -> Result<Frame, WireError> {
    let (kind, ts_ms, payload) = match version {
        Version::One => (OPUS, 0, frame.clone()),
        Version::Two => {
            let head: &[u8; HEAD_TWO] = head(frame)?;
            // some senders leave version and type 0
            let kind = u16::from_be_bytes([head[2], head[3]]);
            let kind = u8::try_from(kind).map_err(|_| WireError::malformed("type").at(2))?;
            let ts_ms = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
            let size = u32::from_be_bytes([head[12], head[13], head[14], head[15]]);
            (kind, ts_ms, rest(frame, HEAD_TWO, usize::try_from(size).unwrap_or(usize::MAX))?)
        }
        Version::Three => {
            let head: &[u8; HEAD_THREE] = head(frame)?;
            (head[0], 0, rest(frame, HEAD_THREE, usize::from(u16::from_be_bytes([head[2], head[3]])))?)
        }
    };
    match kind {
        OPUS if payload.is_empty() => Err(WireError::malformed("the packet is empty")),
        OPUS if payload.len() > MAX_OPUS => Err(WireError::too_large("the opus packet is longer than 1,275 bytes")),
        OPUS => Ok(Frame::Opus(ts_ms, payload)),
        JSON => Ok(Frame::Json(payload)),
        _ => Err(WireError::malformed("type")),
    }
}

/// Writes an Opus packet. Packets longer than a frame's size can say do not exist: see [`MAX_OPUS`].
pub fn write(version: Version, ts_ms: u32, packet: &Bytes) -> Bytes {
    let size = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    let packet = &packet[..usize::from(size)];
    let mut frame = BytesMut::with_capacity(HEAD_TWO + packet.len());
    match version {
        Version::One => {}
        Version::Two => {
            frame.put_u16(2);
            frame.put_u16(u16::from(OPUS));
            frame.put_u32(0);
            frame.put_u32(ts_ms);
            frame.put_u32(u32::from(size));
        }
        Version::Three => {
            frame.put_u8(OPUS);
            frame.put_u8(0);
            frame.put_u16(size);
        }
    }
    frame.put_slice(packet);
    frame.freeze()
}

/// Makes a frame of `version` of one of version 2; what is none comes back as it is.
pub fn reframe(version: Version, frame: Bytes) -> Bytes {
    match (version, read(Version::Two, &frame)) {
        (Version::One, Ok(Frame::Opus(_, packet))) => packet,
        (Version::Three, Ok(Frame::Opus(ts_ms, packet))) => write(Version::Three, ts_ms, &packet),
        _ => frame,
    }
}

fn head<const N: usize>(frame: &[u8]) -> Result<&[u8; N], WireError> {
    frame.first_chunk().ok_or_else(|| WireError::malformed("the frame is shorter than its header").at(frame.len()))
}

fn rest(frame: &Bytes, from: usize, size: usize) -> Result<Bytes, WireError> {
    let rest = frame.slice(from..);
    if rest.len() == size { Ok(rest) } else { Err(WireError::malformed("size").at(from)) }
}
