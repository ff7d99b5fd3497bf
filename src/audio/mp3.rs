//! MP3 to samples, as it comes: for services that speak in nothing else.
//!
//! The only file that names the decoder. It knows nothing of where the bytes come from; they may be garbage.

use nanomp3_core::{Channels, DecodeError, Decoder, MAX_SAMPLES_PER_FRAME};

/// A frame counts once the next ones begin where it ends: so many bytes are looked at, four frames of speech at 48 kbit/s.
const AHEAD: usize = 600;

/// Bytes that are no MP3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sound is no mp3")]
pub struct NoMp3;

/// Decodes one stream.
pub struct Mp3 {
    decoder: Box<Decoder>,
    held: Vec<u8>,
}

impl std::fmt::Debug for Mp3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mp3").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

/// Samples of one rate, mono.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sound {
    /// Samples a second; 0 while there are none.
    pub rate: u32,
    /// The samples.
    pub samples: Vec<i16>,
}

impl Default for Mp3 {
    fn default() -> Self {
        Self { decoder: Box::new(Decoder::new()), held: Vec::new() }
    }
}

impl Mp3 {
    /// Takes more bytes, cut anywhere; gives what is now whole.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Sound, NoMp3> {
        self.held.extend_from_slice(bytes);
        self.decode(AHEAD)
    }

    /// The stream ended: gives the rest. Half a frame at its end is left out.
    pub fn finish(&mut self) -> Result<Sound, NoMp3> {
        self.decode(1)
    }

    fn decode(&mut self, least: usize) -> Result<Sound, NoMp3> {
        let mut sound = Sound::default();
        let mut room = [0_i16; MAX_SAMPLES_PER_FRAME];
        let mut done = 0;
        while self.held.len() - done >= least {
            let (used, frame) = self.decoder.decode(&self.held[done..], &mut room);
            match frame {
                Ok(frame) if sound.rate == 0 || sound.rate == frame.sample_rate => {
                    sound.rate = frame.sample_rate;
                    let all = &room[..frame.samples_produced * usize::from(frame.channels.num())];
                    match frame.channels {
                        Channels::Mono => sound.samples.extend_from_slice(all),
                        Channels::Stereo => {
                            sound.samples.extend(all.chunks_exact(2).map(|pair| i16::midpoint(pair[0], pair[1])));
                        }
                    }
                }
                // one stream, one rate
                Ok(_) => return Err(NoMp3),
                Err(DecodeError::NoFrame) if least > 1 => return Err(NoMp3),
                // a frame that cannot be heard, or the end
                Err(_) => {}
            }
            if used == 0 {
                break;
            }
            done += used;
        }
        self.held.drain(..done.min(self.held.len()));
        Ok(sound)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    /// Bits, written one after the other.
    #[derive(Default)]
    struct Bits(Vec<bool>);

    impl Bits {
        fn put(&mut self, value: u32, width: u32) {
            self.0.extend((0..width).rev().map(|bit| value >> bit & 1 == 1));
        }

        fn bytes(&self, length: usize) -> Vec<u8> {
            let mut bytes: Vec<u8> = self
                .0
                .chunks(8)
                .map(|bits| bits.iter().enumerate().map(|(n, bit)| u8::from(*bit) << (7 - n)).sum())
                .collect();
            bytes.resize(length, 0);
            bytes
        }
    }

    /// A frame as the standard writes it: MPEG-2, layer III, 48 kbit/s, 24 kHz, mono. Of its 576 lines the one of number 22
    /// (458 Hz) sounds, or none.
    fn frame(sounds: bool) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.put(0xfff3_64c0, 32);
        // the data begins here; one private bit
        bits.put(0, 9);
        let pairs = if sounds { 12 } else { 0 };
        // eleven pairs of nothing, each a bit, then (1, 0) with its sign
        bits.put(if sounds { 14 } else { 0 }, 12);
        bits.put(pairs, 9);
        // gain, scale factors of no bits, a long window
        bits.put(200, 8);
        bits.put(0, 10);
        // the table of code words of each region, where regions end, scale, the last table
        bits.put(1, 5);
        bits.put(1, 5);
        bits.put(1, 5);
        bits.put(0, 9);
        assert_eq!(bits.0.len(), (4 + 9) * 8);
        if sounds {
            bits.put((1 << 11) - 1, 11);
            bits.put(0b010, 3);
        }
        bits.bytes(144)
    }

    fn loud(samples: &[i16]) -> f64 {
        let power: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        (power / samples.len().max(1) as f64).sqrt()
    }

    fn decoded(bytes: &[u8], size: usize) -> Result<Sound, NoMp3> {
        let (mut mp3, mut all) = (Mp3::default(), Sound::default());
        for piece in bytes.chunks(size) {
            let sound = mp3.push(piece)?;
            all.rate = all.rate.max(sound.rate);
            all.samples.extend(sound.samples);
        }
        let rest = mp3.finish()?;
        all.rate = all.rate.max(rest.rate);
        all.samples.extend(rest.samples);
        Ok(all)
    }

    #[test]
    fn frames_sound_the_same_wherever_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..50).flat_map(|_| frame(true)).collect();
        let whole = decoded(&bytes, bytes.len()).unwrap();
        assert_eq!((whole.rate, whole.samples.len()), (24_000, 50 * 576));
        assert!(loud(&whole.samples) > 50.0, "{}", loud(&whole.samples));
        // 458 Hz passes zero 916 times a second, within the modulation of a single line
        let turns = whole.samples.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
        assert!((900..1_300).contains(&turns), "{turns} in 1.2 s");
        for size in [1, 7, 143, 144, 145, 720, 1_000] {
            assert_eq!(decoded(&bytes, size).unwrap(), whole, "pieces of {size}");
        }
        let silent: Vec<u8> = (0..10).flat_map(|_| frame(false)).collect();
        assert!(loud(&decoded(&silent, 144).unwrap().samples) < 1.0);
    }

    #[test]
    fn the_first_frames_are_heard_before_the_last_ones_come() {
        let mut mp3 = Mp3::default();
        let bytes: Vec<u8> = (0..6).flat_map(|_| frame(true)).collect();
        assert!(mp3.push(&bytes).unwrap().samples.len() >= 576);
    }

    #[test]
    fn what_is_no_mp3_is_said_to_be_none_and_half_a_frame_is_left_out() {
        assert_eq!(decoded(&[7; 4_000], 500), Err(NoMp3));
        assert_eq!(decoded(b"<html>", 3), Ok(Sound::default()));
        assert_eq!(decoded(&[], 3), Ok(Sound::default()));
        let mut bytes: Vec<u8> = (0..10).flat_map(|_| frame(true)).collect();
        bytes.truncate(bytes.len() - 70);
        assert_eq!(decoded(&bytes, 100).unwrap().samples.len(), 9 * 576);
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..3_000),
            frames in 0usize..8,
            at in 0usize..3_000,
            size in 1usize..800,
        ) {
            let at = at.min(bytes.len());
            bytes.splice(at..at, (0..frames).flat_map(|_| frame(true)));
            let _ = decoded(&bytes, size);
        }
    }
}
