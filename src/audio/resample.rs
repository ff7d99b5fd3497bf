//! From one sample rate to another, as the samples come.
//!
//! Mono, by FFT (rubato); about 5 us for 60 ms. The filter's delay is taken off the start and made up at the end,
//! so that what comes out lasts as long as what went in.

#![allow(clippy::cast_possible_truncation, reason = "samples are computed as floats and are in range; `as` saturates")]

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _};

/// The rates that are accepted, samples a second.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;
/// Samples at the input that are worked on together.
const CHUNK: usize = 480;

/// Why samples cannot be resampled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResampleError {
    /// A rate outside 4 to 192 kHz.
    #[error("cannot resample at {0} samples a second")]
    Rate(u32),
    /// The resampler refuses.
    #[error("resampler: {0}")]
    Failed(String),
}

/// A stream of samples changing its rate.
pub struct Resampler {
    from: u32,
    to: u32,
    /// None where nothing is to be done.
    fft: Option<Fft<f32>>,
    pending: Vec<f32>,
    room: Vec<f32>,
    /// Samples of the filter's delay still to be dropped.
    delay: usize,
    taken: u64,
    given: u64,
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

impl Resampler {
    /// From `from` to `to` samples a second.
    pub fn new(from: u32, to: u32) -> Result<Self, ResampleError> {
        if let Some(wrong) = [from, to].into_iter().find(|rate| !RATES.contains(rate)) {
            return Err(ResampleError::Rate(wrong));
        }
        let fft = if from == to {
            None
        } else {
            let made = Fft::new(from as usize, to as usize, CHUNK, 1, FixedSync::Both);
            Some(made.map_err(|error| ResampleError::Failed(error.to_string()))?)
        };
        let delay = fft.as_ref().map_or(0, rubato::Resampler::output_delay);
        let room = vec![0.0; fft.as_ref().map_or(0, rubato::Resampler::output_frames_max)];
        Ok(Self { from, to, fft, pending: Vec::new(), room, delay, taken: 0, given: 0 })
    }

    /// The rate of what goes in.
    pub fn from(&self) -> u32 {
        self.from
    }

    /// Takes samples, and appends what is ready to `out`.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) -> Result<(), ResampleError> {
        self.taken += samples.len() as u64;
        let Some(fft) = &mut self.fft else {
            out.extend_from_slice(samples);
            self.given += samples.len() as u64;
            return Ok(());
        };
        self.pending.extend(samples.iter().map(|sample| f32::from(*sample)));
        let chunk = fft.input_frames_next();
        let mut at = 0;
        while self.pending.len() - at >= chunk {
            let written = convert(fft, &self.pending[at..at + chunk], &mut self.room)?;
            at += chunk;
            let dropped = self.delay.min(written);
            self.delay -= dropped;
            out.extend(self.room[dropped..written].iter().map(|sample| sample.round() as i16));
            self.given += (written - dropped) as u64;
        }
        self.pending.drain(..at);
        Ok(())
    }

    /// Appends what is still inside, and is as new afterwards.
    pub fn finish(&mut self, out: &mut Vec<i16>) -> Result<(), ResampleError> {
        let Some(chunk) = self.fft.as_ref().map(rubato::Resampler::input_frames_next) else { return Ok(()) };
        let owed = (self.taken * u64::from(self.to)).div_ceil(u64::from(self.from));
        let start = out.len();
        let missing = usize::try_from(owed.saturating_sub(self.given)).unwrap_or(0);
        let silence = vec![0; chunk];
        while out.len() - start < missing {
            self.push(&silence, out)?;
        }
        out.truncate(start + missing);
        if let Some(fft) = &mut self.fft {
            fft.reset();
            self.delay = fft.output_delay();
        }
        self.pending.clear();
        (self.taken, self.given) = (0, 0);
        Ok(())
    }
}

fn convert(fft: &mut Fft<f32>, input: &[f32], room: &mut [f32]) -> Result<usize, ResampleError> {
    let failed = |error: &dyn std::error::Error| ResampleError::Failed(error.to_string());
    let frames = room.len();
    let input = InterleavedSlice::new(input, 1, input.len()).map_err(|error| failed(&error))?;
    let mut output = InterleavedSlice::new_mut(room, 1, frames).map_err(|error| failed(&error))?;
    let (_, written) = fft.process_into_buffer(&input, &mut output, None).map_err(|error| failed(&error))?;
    Ok(written)
}

/// All of `samples` at once.
pub fn resample(from: u32, to: u32, samples: &[i16]) -> Result<Vec<i16>, ResampleError> {
    let mut resampler = Resampler::new(from, to)?;
    let mut out = Vec::with_capacity(samples.len() * to as usize / from as usize + CHUNK);
    resampler.push(samples, &mut out)?;
    resampler.finish(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]

    use super::*;
    use crate::audio::testing::snr_db;

    #[allow(clippy::cast_sign_loss, reason = "a length is not negative")]
    fn sine(rate: u32, hz: f64, seconds: f64) -> Vec<i16> {
        let samples = (f64::from(rate) * seconds) as u32;
        (0..samples)
            .map(|n| (8_000.0 * (f64::from(n) * hz * std::f64::consts::TAU / f64::from(rate)).sin()) as i16)
            .collect()
    }

    #[test]
    fn absurd_rates_are_refused() {
        assert_eq!(Resampler::new(0, 16_000).err(), Some(ResampleError::Rate(0)));
        assert_eq!(Resampler::new(16_000, 1_000_000).err(), Some(ResampleError::Rate(1_000_000)));
    }

    #[test]
    fn a_tone_keeps_its_pitch_its_level_and_its_length() {
        for (from, to) in
            [(22_050, 24_000), (16_000, 24_000), (48_000, 24_000), (44_100, 16_000), (24_000, 16_000), (8_000, 16_000)]
        {
            let made = resample(from, to, &sine(from, 440.0, 0.5)).unwrap();
            let want = sine(to, 440.0, 0.5);
            assert!(made.len().abs_diff(want.len()) <= 1, "{from} to {to}: {} for {}", made.len(), want.len());
            let middle = 800..want.len() - 800;
            let fit = snr_db(&want[middle.clone()], &made[middle], 0);
            assert!(fit > 40.0, "{from} to {to}: {fit:.1} dB");
        }
    }

    #[test]
    fn what_does_not_fit_the_lower_rate_is_taken_out() {
        let made = resample(48_000, 16_000, &sine(48_000, 11_000.0, 0.5)).unwrap();
        assert!(crate::audio::level::rms(&made[500..7_000]) < 20.0);
    }

    #[test]
    fn pieces_of_any_size_give_the_same_as_the_whole() {
        let tone = sine(22_050, 300.0, 0.7);
        let whole = resample(22_050, 24_000, &tone).unwrap();
        let mut resampler = Resampler::new(22_050, 24_000).unwrap();
        for _ in 0..2 {
            let mut out = Vec::new();
            for piece in tone.chunks(333) {
                resampler.push(piece, &mut out).unwrap();
            }
            resampler.finish(&mut out).unwrap();
            assert_eq!(out, whole);
        }
    }

    #[test]
    fn the_same_rate_passes_through_and_nothing_gives_nothing() {
        assert_eq!(resample(24_000, 24_000, &[1, 2, 3]).unwrap(), [1, 2, 3]);
        assert!(resample(16_000, 24_000, &[]).unwrap().is_empty());
    }
}
