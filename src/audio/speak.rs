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

    /// The present effort.
    pub fn complexity(&self) -> u8 {
        self.encoder.encoding().complexity
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
    #![allow(clippy::cast_precision_loss, reason = "counts of samples are far below 2^52")]

    use super::*;
    use crate::audio::opus::{self, Decoder};
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

    /// Opus packets of one clause by an encoder of its own, at 24 kHz.
    fn alone(pcm: &[i16]) -> Vec<Bytes> {
        let mut speech = encoder();
        let mut packets = speech.push(24_000, pcm).unwrap();
        packets.extend(speech.flush().unwrap());
        packets.into_iter().map(|frame| frame.packet).collect()
    }

    /// The largest step between two neighbouring samples.
    fn step(samples: &[i16]) -> i32 {
        samples.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap_or(0)
    }

    /// RMS of each 20 ms at 24 kHz, and no less than that of a whisper of noise (-60 dB of full scale).
    fn levels(samples: &[i16]) -> Vec<f64> {
        samples.chunks_exact(480).map(|part| f64::from(crate::audio::level::rms(part)).max(33.0)).collect()
    }

    /// What is heard at a joint of two clauses that never knew of each other, in one decoder.
    struct Joint {
        /// Its largest step against that of the speech around it.
        step: f64,
        /// How much louder any 20 ms of the second are than they are by themselves, dB.
        louder: f64,
        /// How much worse the last 60 ms of the first are than without the second, dB.
        tail: f64,
        /// Samples between the end of the first and the beginning of the second.
        gap: usize,
    }

    fn joint(first: &[i16], second: &[i16]) -> Joint {
        const FRAME: usize = 1_440;
        let (a, b) = (alone(first), alone(second));
        let joined: Vec<Bytes> = a.iter().chain(&b).cloned().collect();
        let heard = opus::decode_all(24_000, &joined).unwrap();
        let [first_alone, second_alone] = [&a, &b].map(|packets| opus::decode_all(24_000, packets).unwrap());
        let at = a.len() * FRAME;
        let around = step(&heard[..at - 480]).max(step(&second_alone));
        let louder = levels(&heard[at..])
            .iter()
            .zip(levels(&second_alone))
            .map(|(joined, own)| 20.0 * (joined / own).log10())
            .fold(0.0, f64::max);
        let from = first.len() - FRAME;
        let tail = |heard: &[i16]| snr_db(&first[from..], &heard[from..], 400);
        Joint {
            step: f64::from(step(&heard[at - 480..at + 480])) / f64::from(around),
            louder,
            tail: tail(&first_alone) - tail(&heard),
            gap: at - first.len(),
        }
    }

    /// Whoever plays an answer has one decoder for it, and a clause that was kept comes behind others that its encoder never
    /// knew: the joint is to be no louder than what it joins, nothing of the first may be missing, and the second has
    /// to sound as it would by itself. A clause ends in a pause, as speech does; one that is torn from the midst of loud words is worse than
    /// anything that a synthesizer makes, and told beside it.
    #[test]
    fn clauses_that_are_encoded_by_themselves_join_without_a_click_and_with_nothing_lost() {
        let Some(clips) = human() else { return };
        let clips: Vec<Vec<i16>> = clips.iter().take(4).map(|clip| resample(16_000, 24_000, clip).unwrap()).collect();
        let loud = |clip: &Vec<i16>| clip[clip.len() * 3 / 10..clip.len() * 4 / 10].to_vec();
        let torn: Vec<_> = clips.iter().map(loud).collect();
        let ends: Vec<_> = clips.iter().map(|clip| clip[clip.len() - 30_000..].to_vec()).collect();
        let begins: Vec<_> = clips.iter().map(|clip| clip[..30_000].to_vec()).collect();
        let worst = |firsts: &[Vec<i16>], seconds: &[Vec<i16>]| {
            let joints: Vec<Joint> = firsts.iter().flat_map(|a| seconds.iter().map(|b| joint(a, b))).collect();
            let most = |of: fn(&Joint) -> f64| joints.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
            let (step, louder, tail) = (most(|j| j.step), most(|j| j.louder), most(|j| j.tail));
            (step, louder, tail, joints.iter().map(|j| j.gap).max().unwrap())
        };
        let (spoken, cut) = (worst(&ends, &begins), worst(&torn, &torn));
        println!("worst of 16 joints (step, louder dB, tail dB, gap samples): spoken {spoken:.2?}, torn {cut:.2?}");
        assert!(spoken.0 <= 1.0 && cut.0 <= 1.1, "a click: {spoken:?} {cut:?}");
        assert!(spoken.1 < 1.0, "the second is louder than it is: {spoken:?}");
        assert!(spoken.2 < 0.1 && cut.2 < 0.1, "the end of the first is not there: {spoken:?} {cut:?}");
        assert!(
            spoken.3 <= 1_440 + 156 && cut.3 <= 1_440 + 156,
            "a packet, and what the codec looks ahead: {spoken:?} {cut:?}"
        );
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
