//! Audio packets: a header of 16 bytes, big-endian, and one coded packet.
//!
//! `[0]` magic `0xA1` · `[1]` version 1 · `[2]` codec (0 opus, 1 pcm_s16le) · `[3]` flags · `[4..8]` sequence ·
//! `[8..12]` timestamp ms · `[12..16]` payload length. Flags: bit 0 last of the utterance, bit 1 the device says
//! speech, bit 2 the device says silence, bit 3 not used, bits 4 to 7 the turn (down) or the `listen_start` (up)
//! modulo 16.

use bytes::{BufMut, Bytes, BytesMut};

use super::super::WireError;
use crate::domain::{AudioPacket, Codec, SpokenFrame, TurnId};

/// Length of the header in bytes.
pub const HEADER: usize = 16;
/// Most bytes of one Opus packet (RFC 6716, section 3.4).
pub const MAX_OPUS: usize = 1_275;
/// Most bytes of one PCM packet: 120 ms at 16 kHz.
pub const MAX_PCM: usize = 3_840;

const MAGIC: u8 = 0xA1;
const VERSION: u8 = 1;
const LAST: u8 = 1;
const SPEECH: u8 = 1 << 1;
const SILENCE: u8 = 1 << 2;

/// Where dialects that share the layout differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wire) struct Rules {
    /// Bytes 1 to 3 are the version, the codec and the flags; else they are ignored, and the payload is Opus.
    pub typed: bool,
    /// The length must be that of the rest; else 0 is "the rest", and bytes after the payload are dropped.
    pub exact_length: bool,
}

impl Rules {
    /// Version, codec and flags count, the length is exact.
    pub(super) const NATIVE: Self = Self { typed: true, exact_length: true };
    /// OpenCane's: one layout, less of it meant.
    pub(in crate::wire) const OPENCANE: Self = Self { typed: false, exact_length: false };
}

/// Header fields that both ways have.
#[derive(Debug, Clone, Copy)]
struct Header {
    codec: Codec,
    flags: u8,
    seq: u32,
    ts_ms: u32,
}

/// Reads an uplink packet; its payload shares `packet`'s memory.
pub(in crate::wire) fn decode(packet: &Bytes, rules: Rules) -> Result<AudioPacket, WireError> {
    let (Header { codec, flags, seq, ts_ms }, payload) = split(packet, rules)?;
    let speech = match (flags & SPEECH != 0, flags & SILENCE != 0) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        // both at once say nothing
        _ => None,
    };
    Ok(AudioPacket { codec, seq, ts_ms, last: flags & LAST != 0, speech, listen: flags >> 4, payload })
}

/// Reads a downlink packet, as a device does. Of the turn the wire has the number modulo 16.
pub(in crate::wire) fn decode_spoken(packet: &Bytes) -> Result<SpokenFrame, WireError> {
    let (Header { codec, flags, seq, ts_ms }, packet) = split(packet, Rules::NATIVE)?;
    if codec != Codec::Opus {
        return Err(WireError::malformed("speech is opus").at(2));
    }
    Ok(SpokenFrame { turn: TurnId(u32::from(flags >> 4)), seq, ts_ms, last: flags & LAST != 0, packet })
}

/// Writes an uplink packet, as a device does.
pub(super) fn encode(packet: &AudioPacket) -> Bytes {
    let speech = match packet.speech {
        Some(true) => SPEECH,
        Some(false) => SILENCE,
        None => 0,
    };
    let flags = u8::from(packet.last) | speech | packet.listen << 4;
    join(Header { codec: packet.codec, flags, seq: packet.seq, ts_ms: packet.ts_ms }, &packet.payload)
}

/// Writes a downlink packet.
pub(in crate::wire) fn encode_spoken(frame: &SpokenFrame) -> Bytes {
    let turn = u8::try_from(frame.turn.0 % 16).unwrap_or(0);
    let flags = u8::from(frame.last) | turn << 4;
    join(Header { codec: Codec::Opus, flags, seq: frame.seq, ts_ms: frame.ts_ms }, &frame.packet)
}

fn split(packet: &Bytes, rules: Rules) -> Result<(Header, Bytes), WireError> {
    let Some((header, _)) = packet.split_first_chunk::<HEADER>() else {
        return Err(WireError::malformed("an audio packet has a header of 16 bytes").at(packet.len()));
    };
    let [magic, version, codec, flags, s0, s1, s2, s3, t0, t1, t2, t3, l0, l1, l2, l3] = *header;
    if magic != MAGIC {
        return Err(WireError::malformed("an audio packet begins with 0xA1").at(0));
    }
    if rules.typed && version != VERSION {
        return Err(WireError::malformed("the audio packet's version is not 1").at(1));
    }
    let codec = match codec {
        _ if !rules.typed => Codec::Opus,
        0 => Codec::Opus,
        1 => Codec::PcmS16le,
        _ => return Err(WireError::malformed("the codec is neither opus nor pcm_s16le").at(2)),
    };
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let payload = rest(packet, length, rules)?;
    let flags = if rules.typed { flags } else { 0 };
    let header =
        Header { codec, flags, seq: u32::from_be_bytes([s0, s1, s2, s3]), ts_ms: u32::from_be_bytes([t0, t1, t2, t3]) };
    check(header, &payload)?;
    Ok((header, payload))
}

fn rest(packet: &Bytes, length: usize, rules: Rules) -> Result<Bytes, WireError> {
    let have = packet.len() - HEADER;
    let wrong = || WireError::malformed("the length is not that of the payload").at(12);
    match length {
        _ if length == have => Ok(packet.slice(HEADER..)),
        _ if rules.exact_length || length > have => Err(wrong()),
        0 => Ok(packet.slice(HEADER..)),
        _ => Ok(packet.slice(HEADER..HEADER + length)),
    }
}

fn check(header: Header, payload: &[u8]) -> Result<(), WireError> {
    match header.codec {
        // an empty packet only says that the utterance is over
        _ if payload.is_empty() && header.flags & LAST == 0 => {
            Err(WireError::malformed("an empty audio packet that is not the last").at(12))
        }
        Codec::Opus if payload.len() > MAX_OPUS => Err(WireError::too_large("an opus packet has at most 1,275 bytes")),
        Codec::PcmS16le if payload.len() > MAX_PCM => Err(WireError::too_large("a pcm packet has at most 3,840 bytes")),
        Codec::PcmS16le if payload.len() % 2 == 1 => Err(WireError::malformed("half a sample of pcm").at(12)),
        _ => Ok(()),
    }
}

fn join(header: Header, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER + payload.len());
    out.put_u8(MAGIC);
    out.put_u8(VERSION);
    out.put_u8(match header.codec {
        Codec::Opus => 0,
        Codec::PcmS16le => 1,
    });
    out.put_u8(header.flags);
    out.put_u32(header.seq);
    out.put_u32(header.ts_ms);
    out.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    out.put_slice(payload);
    out.freeze()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

    use proptest::prelude::*;

    use super::*;

    const LENIENT: Rules = Rules::OPENCANE;

    fn packet(head: [u8; 4], length: u32, payload: &[u8]) -> Bytes {
        let mut out = head.to_vec();
        out.extend_from_slice(&7u32.to_be_bytes());
        out.extend_from_slice(&420u32.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(payload);
        out.into()
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_the_place() {
        let good = packet([0xA1, 1, 0, 0], 3, &[1, 2, 3]);
        for cut in 0..good.len() {
            assert!(decode(&good.slice(..cut), Rules::NATIVE).is_err(), "cut at {cut}");
        }
        for (bad, at) in [
            (packet([0xA0, 1, 0, 0], 3, &[1, 2, 3]), 0),
            (packet([0xA1, 2, 0, 0], 3, &[1, 2, 3]), 1),
            (packet([0xA1, 1, 2, 0], 3, &[1, 2, 3]), 2),
            (packet([0xA1, 1, 0, 0], 0, &[1, 2, 3]), 12),
            (packet([0xA1, 1, 0, 0], 2, &[1, 2, 3]), 12),
            (packet([0xA1, 1, 0, 0], u32::MAX, &[1, 2, 3]), 12),
            (packet([0xA1, 1, 0, 0], 0, &[]), 12),
            (packet([0xA1, 1, 1, 0], 3, &[1, 2, 3]), 12),
        ] {
            assert_eq!(decode(&bad, Rules::NATIVE).unwrap_err().at, Some(at));
        }
        assert!(decode(&packet([0xA1, 1, 0, 0], 1_276, &[0; 1_276]), Rules::NATIVE).is_err());
        assert!(decode(&packet([0xA1, 1, 1, 0], 3_842, &[0; 3_842]), Rules::NATIVE).is_err());
    }

    #[test]
    fn a_packet_is_read_without_a_copy() {
        let bytes = packet([0xA1, 1, 0, 0x53], 3, &[1, 2, 3]);
        let audio = decode(&bytes, Rules::NATIVE).unwrap();
        assert_eq!((audio.seq, audio.ts_ms, audio.last, audio.speech, audio.listen), (7, 420, true, Some(true), 5));
        assert_eq!(audio.payload.as_ptr(), bytes[HEADER..].as_ptr());
        assert_eq!(encode(&audio), bytes);
    }

    #[test]
    fn an_empty_last_packet_ends_an_utterance() {
        let audio = decode(&packet([0xA1, 1, 0, 1], 0, &[]), Rules::NATIVE).unwrap();
        assert!(audio.last && audio.payload.is_empty());
    }

    #[test]
    fn a_dialect_may_be_less_strict_with_the_same_layout() {
        for (length, want) in [(0, 3), (2, 2), (3, 3)] {
            let audio = decode(&packet([0xA1, 1, 1, 0], length, &[1, 2, 3]), LENIENT).unwrap();
            assert_eq!((audio.codec, audio.payload.len()), (Codec::Opus, want));
        }
        assert!(decode(&packet([0xA1, 1, 1, 0], 4, &[1, 2, 3]), LENIENT).is_err());
    }

    #[test]
    fn speech_carries_its_turn_modulo_16() {
        let frame = SpokenFrame { turn: TurnId(35), seq: 9, ts_ms: 60, last: false, packet: Bytes::from_static(&[1]) };
        let bytes = encode_spoken(&frame);
        assert_eq!(bytes[3] >> 4, 3);
        assert_eq!(decode_spoken(&bytes).unwrap(), SpokenFrame { turn: TurnId(3), ..frame });
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_packet_or_an_error(data in proptest::collection::vec(any::<u8>(), 0..80), magic in any::<bool>()) {
            let mut data = data;
            if magic && data.len() > 1 {
                data[..2].copy_from_slice(&[0xA1, 1]);
            }
            let data = Bytes::from(data);
            let _ = (decode(&data, Rules::NATIVE), decode(&data, LENIENT), decode_spoken(&data));
        }

        #[test]
        fn every_packet_comes_back(
            pcm in any::<bool>(), seq in any::<u32>(), ts_ms in any::<u32>(), last in any::<bool>(),
            speech in any::<Option<bool>>(), listen in 0u8..16, payload in proptest::collection::vec(any::<u8>(), 1..600),
        ) {
            let mut payload = payload;
            if pcm && payload.len() % 2 == 1 {
                payload.push(0);
            }
            let codec = if pcm { Codec::PcmS16le } else { Codec::Opus };
            let packet = AudioPacket { codec, seq, ts_ms, last, speech, listen, payload: payload.into() };
            prop_assert_eq!(decode(&encode(&packet), Rules::NATIVE).unwrap(), packet);
        }
    }
}
