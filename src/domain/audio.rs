//! Audio as it travels: Opus packets with a sequence number and a time.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Samples a second of what a device sends, mono.
pub const UP_RATE: u32 = 16_000;
/// Samples a second of what a device gets, mono.
pub const DOWN_RATE: u32 = 24_000;
/// Length of one downlink Opus packet.
pub const DOWN_FRAME_MS: u32 = 60;

/// How the payload of an audio packet is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// One Opus packet of 10, 20, 40 or 60 ms, at most 1,275 bytes.
    Opus,
    /// Little-endian signed 16-bit samples, at most 3,840 bytes.
    PcmS16le,
}

/// One uplink audio packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioPacket {
    /// How `payload` is coded.
    pub codec: Codec,
    /// Number in the audio stream, from 1 in each session, serial-number arithmetic.
    pub seq: u32,
    /// The device's clock, milliseconds; advisory: order is by `seq`.
    pub ts_ms: u32,
    /// The device says that this is the last packet of the utterance.
    pub last: bool,
    /// What the device's own voice activity detection says, if it has one.
    pub speech: Option<bool>,
    /// Number of the `listen_start` that this packet belongs to, modulo 16; 0 is none.
    pub listen: u8,
    /// The coded audio.
    pub payload: Bytes,
}

/// One Opus packet and how long it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpusFrame {
    /// The packet.
    pub packet: Bytes,
    /// Its duration in milliseconds.
    pub ms: u32,
}
