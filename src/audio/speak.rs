//! Speech on its way to a device: samples of any rate in, Opus packets of one length out.
//!
//! Plain work, meant for [`Workers`](super::Workers); knows no pacing and no turn.

use bytes::Bytes;

use super::opus::{Encoder, Encoding, OpusError};
use super::resample::{ResampleError, Resampler};
use crate::domain::OpusFrame;

/// libopus looks this far ahead, samples at 24 kHz (6.5 ms); as much silence pushes the last speech out.
const LOOKAHEAD_MS_TENTHS: usize = 65;

/// Why speech cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpeakError {
    /// The codec refuses.
    #[error(transparent)]
    Opus(#[from] OpusError),
    /// The rate cannot be converted.
    #[error(transparent)]
    Resample(#[from] ResampleError),
}

/// Encodes one answer, in order.
#[derive(Debug)]
pub struct SpeechEncoder {
    encoder: Encoder,
    resampler: Option<Resampler>,
    /// Samples at the encoder's rate that are no whole packet yet.
    pending: Vec<i16>,
    /// Something was encoded since the last flush, so that the codec still holds its end.
    open: bool,
}

impl SpeechEncoder {
    /// Encodes as `encoding` says, usually [`Encoding::down`].
    pub fn new(encoding: Encoding) -> Result<Self, SpeakError> {
        Ok(Self { encoder: Encoder::new(encoding)?, resampler: None, pending: Vec::new(), open: false })
    }

    /// Changes the effort from the next packet on, 0 to 10: less while the machine is busy.
    pub fn set_complexity(&mut self, complexity: u8) -> Result<(), SpeakError> {
        Ok(self.encoder.set_complexity(complexity)?)
    }

    /// Takes mono samples of `rate` and gives the packets that are full. The rate may change from piece to piece.
    pub fn push(&mut self, rate: u32, samples: &[i16]) -> Result<Vec<OpusFrame>, SpeakError> {
        self.at_rate(rate)?;
        match &mut self.resampler {
            Some(resampler) => resampler.push(samples, &mut self.pending)?,
            None => self.pending.extend_from_slice(samples),
        }
        self.packets()
    }

    /// The speech is over (or pauses): gives the rest, filled up with silence to a whole packet. Nothing in, nothing
    /// out; more may be pushed afterwards.
    pub fn flush(&mut self) -> Result<Vec<OpusFrame>, SpeakError> {
        if let Some(mut resampler) = self.resampler.take() {
            resampler.finish(&mut self.pending)?;
        }
        if self.pending.is_empty() && !self.open {
            return Ok(Vec::new());
        }
        let encoding = self.encoder.encoding();
        let ahead = LOOKAHEAD_MS_TENTHS * encoding.rate as usize / 10_000;
        let length = (self.pending.len() + ahead).next_multiple_of(encoding.frame_samples());
        self.pending.resize(length, 0);
        let packets = self.packets()?;
        self.open = false;
        Ok(packets)
    }

    fn at_rate(&mut self, rate: u32) -> Result<(), SpeakError> {
        let own = self.encoder.encoding().rate;
        let present = self.resampler.as_ref().map_or(own, Resampler::from);
        if rate == present {
            return Ok(());
        }
        if let Some(mut resampler) = self.resampler.take() {
            resampler.finish(&mut self.pending)?;
        }
        if rate != own {
            self.resampler = Some(Resampler::new(rate, own)?);
        }
        Ok(())
    }

    fn packets(&mut self) -> Result<Vec<OpusFrame>, SpeakError> {
        let encoding = self.encoder.encoding();
        let size = encoding.frame_samples();
        let whole = self.pending.len() / size;
        let mut packets = Vec::with_capacity(whole);
        for frame in self.pending.chunks_exact(size) {
            let packet = Bytes::from(self.encoder.encode(frame)?);
            packets.push(OpusFrame { packet, ms: encoding.frame_ms });
        }
        self.pending.drain(..whole * size);
        self.open |= whole > 0;
        Ok(packets)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]
    #![allow(clippy::cast_possible_truncation, reason = "made-up samples are in range")]

    use super::*;
    use crate::audio::opus::Decoder;
    use crate::audio::resample::resample;
    use crate::audio::testing::{human, snr_db};

    fn encoder() -> SpeechEncoder {
        SpeechEncoder::new(Encoding::down(24_000, 5)).unwrap()
    }

    fn tone(rate: u32, seconds: u32) -> Vec<i16> {
        (0..rate * seconds)
            .map(|n| (6_000.0 * (f64::from(n) * 300.0 * std::f64::consts::TAU / f64::from(rate)).sin()) as i16)
            .collect()
    }

    #[test]
    fn nothing_gives_nothing_and_an_absurd_rate_is_an_error() {
        let mut speech = encoder();
        assert!(speech.push(24_000, &[]).unwrap().is_empty());
        assert!(speech.flush().unwrap().is_empty());
        assert_eq!(speech.push(1, &[0; 10]), Err(SpeakError::Resample(ResampleError::Rate(1))));
        assert!(SpeechEncoder::new(Encoding { frame_ms: 33, ..Encoding::up() }).is_err());
    }

    #[test]
    fn pieces_of_any_size_and_rate_become_whole_packets_of_60_ms() {
        for rate in [16_000, 22_050, 24_000, 48_000] {
            let mut speech = encoder();
            let mut packets = Vec::new();
            for piece in tone(rate, 2).chunks(777) {
                packets.extend(speech.push(rate, piece).unwrap());
            }
            packets.extend(speech.flush().unwrap());
            // 2 s and the look-ahead.
            assert_eq!(packets.len(), 34, "{rate}");
            assert!(packets.iter().all(|packet| packet.ms == 60 && packet.packet.len() < 400));
        }
    }

    #[test]
    fn a_rate_that_changes_in_mid_answer_loses_nothing() {
        let mut speech = encoder();
        let mut packets = speech.push(22_050, &tone(22_050, 1)).unwrap();
        packets.extend(speech.push(16_000, &tone(16_000, 1)).unwrap());
        packets.extend(speech.push(24_000, &tone(24_000, 1)).unwrap());
        packets.extend(speech.flush().unwrap());
        assert_eq!(packets.len(), 51);
    }

    #[test]
    fn speech_sounds_the_same_at_every_effort_and_to_its_very_end() {
        let Some(clips) = human() else { return };
        // The clip ends on speech: what the encoder looks ahead must come out too.
        let said = &clips[5][..clips[5].len() * 6 / 10];
        let mut fits = Vec::new();
        for complexity in [1, 5, 9] {
            let mut speech = encoder();
            speech.set_complexity(complexity).unwrap();
            let mut packets = speech.push(16_000, said).unwrap();
            packets.extend(speech.flush().unwrap());
            let mut decoder = Decoder::new().unwrap();
            let mut heard = Vec::new();
            for packet in &packets {
                decoder.decode(&packet.packet, &mut heard).unwrap();
            }
            assert!(heard.len() >= said.len());
            fits.push(snr_db(said, &heard, 240));
        }
        assert!(fits.iter().all(|fit| *fit > 6.0), "{fits:.1?}");
        assert!(resample(16_000, 24_000, said).unwrap().len() > said.len());
    }
}
