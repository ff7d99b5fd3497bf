//! What an Opus packet says about itself, before any codec touches it.
//!
//! A parser of the framing of RFC 6716 section 3: duration, mode, number of frames, in-band redundancy. It
//! checks every length, so that the C decoder only ever sees packets that are well formed. It must not know a
//! codec, a transport or a session.

/// The largest Opus frame (RFC 6716 section 3.2.1).
const MAX_FRAME: usize = 1_275;
/// The longest packet in time: 120 ms (RFC 6716 section 3.2.5, R5), in samples at 48 kHz.
const MAX_SAMPLES_48K: u32 = 5_760;
/// The largest packet that is looked at: domain's limit for one Opus packet of up to 60 ms.
pub const MAX_PACKET: usize = 1_275;

/// Which half of Opus coded a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Linear prediction: speech at low rates.
    Silk,
    /// Both.
    Hybrid,
    /// MDCT: music, or very short frames.
    Celt,
}

/// Why bytes are no Opus packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// There is not even the first byte.
    #[error("empty packet")]
    Empty,
    /// More bytes than one packet may have.
    #[error("packet of {0} bytes, more than {MAX_PACKET}")]
    TooLarge(usize),
    /// The lengths inside do not add up.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
}

/// The framing of one Opus packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketInfo {
    /// Which half of Opus coded it.
    pub mode: Mode,
    /// Number of frames inside, 1 to 48.
    pub frames: u32,
    /// Length of one frame, microseconds: 2,500 to 60,000.
    pub frame_us: u32,
    /// Two channels.
    pub stereo: bool,
    /// It carries nothing: a sender in discontinuous transmission is silent.
    pub dtx: bool,
    /// It carries a coarse copy of the packet before it (in-band forward error correction).
    pub fec: bool,
}

impl PacketInfo {
    /// Reads the framing; total on any bytes.
    pub fn parse(packet: &[u8]) -> Result<Self, PacketError> {
        let (&toc, rest) = packet.split_first().ok_or(PacketError::Empty)?;
        if packet.len() > MAX_PACKET {
            return Err(PacketError::TooLarge(packet.len()));
        }
        let (mode, frame_us) = configuration(toc >> 3);
        let framing = framing(toc & 3, rest)?;
        if framing.frames * (frame_us * 48 / 1_000) > MAX_SAMPLES_48K {
            return Err(PacketError::Malformed("longer than 120 ms"));
        }
        let stereo = toc & 4 != 0;
        Ok(Self {
            mode,
            frames: framing.frames,
            frame_us,
            stereo,
            dtx: framing.first.len() <= 1 && framing.bytes <= 2,
            fec: redundant(mode, frame_us, stereo, framing.first),
        })
    }

    /// How long it sounds, in samples at `rate`.
    pub fn samples(&self, rate: u32) -> u32 {
        self.frames * (self.frame_us / 100) * (rate / 100) / 100
    }

    /// How long it sounds, in whole milliseconds (2.5 ms frames round down).
    pub fn ms(&self) -> u32 {
        self.frames * self.frame_us / 1_000
    }
}

/// The table of RFC 6716 section 3.1: mode and frame length of a configuration number.
fn configuration(config: u8) -> (Mode, u32) {
    match config {
        0..=11 => (Mode::Silk, [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)]),
        12..=15 => (Mode::Hybrid, [10_000, 20_000][usize::from(config & 1)]),
        _ => (Mode::Celt, [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)]),
    }
}

struct Framing<'a> {
    frames: u32,
    first: &'a [u8],
    bytes: usize,
}

/// Checks the four ways of packing frames (RFC 6716 section 3.2).
fn framing(code: u8, rest: &[u8]) -> Result<Framing<'_>, PacketError> {
    match code {
        0 => one(rest),
        1 => equal(2, rest),
        2 => {
            let (length, rest) = frame_length(rest)?;
            let (first, second) = rest.split_at_checked(length).ok_or(PacketError::Malformed("first frame cut off"))?;
            fits(second)?;
            Ok(Framing { frames: 2, first, bytes: rest.len() })
        }
        _ => many(rest),
    }
}

fn fits(frame: &[u8]) -> Result<(), PacketError> {
    if frame.len() > MAX_FRAME { Err(PacketError::Malformed("frame too large")) } else { Ok(()) }
}

fn one(rest: &[u8]) -> Result<Framing<'_>, PacketError> {
    fits(rest)?;
    Ok(Framing { frames: 1, first: rest, bytes: rest.len() })
}

fn equal(frames: u32, rest: &[u8]) -> Result<Framing<'_>, PacketError> {
    let count = frames as usize;
    if !rest.len().is_multiple_of(count) {
        return Err(PacketError::Malformed("frames of unequal length"));
    }
    let (first, _) = rest.split_at(rest.len() / count);
    fits(first)?;
    Ok(Framing { frames, first, bytes: rest.len() })
}

/// A frame length in one or two bytes (RFC 6716 section 3.2.1), and what follows.
fn frame_length(rest: &[u8]) -> Result<(usize, &[u8]), PacketError> {
    const CUT: PacketError = PacketError::Malformed("frame length cut off");
    let (&low, rest) = rest.split_first().ok_or(CUT)?;
    if low < 252 {
        return Ok((usize::from(low), rest));
    }
    let (&high, rest) = rest.split_first().ok_or(CUT)?;
    Ok((usize::from(high) * 4 + usize::from(low), rest))
}

/// Code 3: a count, perhaps padding, frames of one length or each with its own.
fn many(rest: &[u8]) -> Result<Framing<'_>, PacketError> {
    let (&head, mut rest) = rest.split_first().ok_or(PacketError::Malformed("frame count cut off"))?;
    let (frames, padded, variable) = (u32::from(head & 0x3f), head & 0x40 != 0, head & 0x80 != 0);
    if frames == 0 || frames > 48 {
        return Err(PacketError::Malformed("number of frames"));
    }
    if padded {
        rest = without_padding(rest)?;
    }
    if !variable {
        return equal(frames, rest);
    }
    let mut lengths = [0usize; 48];
    let listed = &mut lengths[..frames as usize - 1];
    for length in listed.iter_mut() {
        (*length, rest) = frame_length(rest)?;
    }
    let total: usize = listed.iter().sum();
    let last = rest.get(total..).ok_or(PacketError::Malformed("frames cut off"))?;
    fits(last)?;
    let first = listed.first().map_or(rest, |length| &rest[..*length]);
    Ok(Framing { frames, first, bytes: rest.len() })
}

/// Takes the padding off the end; its length is a chain of bytes, 255 meaning 254 and one more byte.
fn without_padding(mut rest: &[u8]) -> Result<&[u8], PacketError> {
    const CUT: PacketError = PacketError::Malformed("padding cut off");
    let mut padding = 0usize;
    loop {
        let (&byte, after) = rest.split_first().ok_or(CUT)?;
        rest = after;
        if byte < 255 {
            padding += usize::from(byte);
            break;
        }
        padding += 254;
    }
    let kept = rest.len().checked_sub(padding).ok_or(CUT)?;
    Ok(&rest[..kept])
}

/// Whether the linear-prediction part carries redundancy for the packet before (RFC 6716 section 4.2.3): after
/// one voice flag for each 20 ms comes the flag; all have even odds, so they are the first bits as they stand.
fn redundant(mode: Mode, frame_us: u32, stereo: bool, first: &[u8]) -> bool {
    if mode == Mode::Celt {
        return false;
    }
    // A frame of one byte is a sender's silence; its bits are no flags.
    let Some(&byte) = first.first().filter(|_| first.len() > 1) else {
        return false;
    };
    let voice_flags = (frame_us / 20_000).max(1);
    let mid = byte >> (7 - voice_flags) & 1 == 1;
    mid || stereo && byte >> (6 - 2 * voice_flags) & 1 == 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_packet_is_named() {
        assert_eq!(PacketInfo::parse(&[]), Err(PacketError::Empty));
        assert_eq!(PacketInfo::parse(&[0; 1_276]), Err(PacketError::TooLarge(1_276)));
        for (bytes, why) in [
            (&[0x01, 1, 2, 3][..], "frames of unequal length"),
            (&[0x02, 200, 1], "first frame cut off"),
            (&[0x02], "frame length cut off"),
            (&[0x02, 253], "frame length cut off"),
            (&[0x03], "frame count cut off"),
            (&[0x03, 0], "number of frames"),
            (&[0x03, 49], "number of frames"),
            (&[0x03, 0x41, 255, 255], "padding cut off"),
            (&[0x03, 0x41, 9, 1, 2], "padding cut off"),
            (&[0x03, 0x83, 4, 4, 1], "frames cut off"),
            // three frames of 60 ms
            (&[0x1b, 3, 1, 2, 3], "longer than 120 ms"),
        ] {
            assert_eq!(PacketInfo::parse(bytes), Err(PacketError::Malformed(why)), "{bytes:02x?}");
        }
    }

    #[test]
    fn the_duration_is_that_of_the_first_byte_and_the_count() {
        for (bytes, ms, samples) in [
            (&[0x00, 1, 2][..], 10, 160),
            (&[0x58, 1, 2], 60, 960),
            (&[0x49, 1, 2], 40, 640),
            (&[0x4b, 3, 1, 2, 3], 60, 960),
            (&[0x78, 1, 2], 20, 320),
            (&[0xe0, 1, 2], 2, 40),
            (&[0x4b, 0x83, 1, 2, 9, 8, 8, 7], 60, 960),
            (&[0x4b, 0x41, 3, 9, 9, 0, 0, 0], 20, 320),
        ] {
            let info = PacketInfo::parse(bytes).unwrap();
            assert_eq!((info.ms(), info.samples(16_000)), (ms, samples), "{bytes:02x?}");
            assert_eq!(info.samples(24_000) * 2, info.samples(48_000));
        }
    }

    #[test]
    fn a_packet_that_carries_nothing_is_known() {
        assert!(PacketInfo::parse(&[0x58]).unwrap().dtx);
        assert!(!PacketInfo::parse(&[0x58, 1, 2, 3, 4]).unwrap().dtx);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_bounded_answer(bytes in proptest::collection::vec(any::<u8>(), 0..1_400)) {
            if let Ok(info) = PacketInfo::parse(&bytes) {
                prop_assert!(info.samples(48_000) <= 5_760 && info.samples(48_000) > 0);
                prop_assert!((1..=48).contains(&info.frames));
            }
        }
    }
}
