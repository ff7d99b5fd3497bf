//! Kaldi's filterbank features: what FunASR's models (SenseVoice, Paraformer) hear.
//!
//! 80 logarithms of energy every 10 ms from windows of 25 ms (Hamming), without dither, of samples in the range of 16 bit.
//! Written by Kaldi's definitions (`feature-window`, `mel-computations`) and compared with `kaldi-native-fbank` 1.23 in a
//! test; `docs/decisions/06-onnx-speech.md` says why no crate is used.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// Numbers in a frame.
pub const BINS: usize = 80;
/// Samples of a window and between two of them, at 16 kHz.
const WINDOW: usize = 400;
const STEP: usize = 160;
/// Length of the transform, and what of it is summed: Kaldi leaves the highest one out.
const POINTS: usize = 512;
const USED: usize = POINTS / 2;
const RATE: f64 = 16_000.0;
const LOWEST: f64 = 20.0;
const EMPHASIS: f32 = 0.97;

/// The tables.
pub struct Filterbank {
    window: Vec<f32>,
    /// First point and weights of each filter.
    filters: Vec<(usize, Vec<f32>)>,
    transform: Arc<dyn RealToComplex<f32>>,
}

impl Filterbank {
    pub fn new() -> Self {
        Self {
            window: (0..WINDOW).map(hamming).collect(),
            filters: filters(),
            transform: RealFftPlanner::new().plan_fft_forward(POINTS),
        }
    }

    /// Frames of [`BINS`] numbers, one after the other, of 16 kHz mono. None where there is less than a window.
    pub fn frames(&self, sound: &[i16]) -> Vec<f32> {
        let mut frames = Vec::with_capacity(sound.len() / STEP * BINS);
        let mut wave = self.transform.make_input_vec();
        let mut points = self.transform.make_output_vec();
        let mut scratch = self.transform.make_scratch_vec();
        for window in sound.windows(WINDOW).step_by(STEP) {
            self.prepare(window, &mut wave);
            // It fails only for buffers of other lengths than its own.
            if self.transform.process_with_scratch(&mut wave, &mut points, &mut scratch).is_err() {
                return Vec::new();
            }
            let power: Vec<f32> = points.iter().take(USED).map(Complex::norm_sqr).collect();
            frames.extend(self.filters.iter().map(|(first, weights)| {
                let energy: f32 = weights.iter().zip(&power[*first..]).map(|(weight, power)| weight * power).sum();
                energy.max(f32::EPSILON).ln()
            }));
        }
        frames
    }

    /// Without its mean, high tones stressed, faded in and out, and zeros behind.
    fn prepare(&self, window: &[i16], wave: &mut [f32]) {
        wave.fill(0.0);
        for (to, from) in wave.iter_mut().zip(window) {
            *to = f32::from(*from);
        }
        let mean = wave.iter().sum::<f32>() / WINDOW as f32;
        let mut before = f32::NAN;
        for (sample, fade) in wave.iter_mut().zip(&self.window) {
            let now = *sample - mean;
            let last = if before.is_nan() { now } else { before };
            *sample = (now - EMPHASIS * last) * fade;
            before = now;
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the model takes 32 bit floats")]
fn hamming(n: usize) -> f32 {
    (0.54 - 0.46 * (2.0 * PI * n as f64 / (WINDOW - 1) as f64).cos()) as f32
}

fn mel(hertz: f64) -> f64 {
    1_127.0 * (1.0 + hertz / 700.0).ln()
}

/// Triangles of equal width on the scale of mel, from 20 Hz to half the rate.
#[allow(clippy::cast_possible_truncation, reason = "the model takes 32 bit floats")]
fn filters() -> Vec<(usize, Vec<f32>)> {
    let (low, high) = (mel(LOWEST), mel(RATE / 2.0));
    let width = (high - low) / (BINS + 1) as f64;
    let filter = |bin: usize| {
        let (left, right) = (low + bin as f64 * width, low + (bin + 2) as f64 * width);
        let weight = |point: usize| {
            let at = mel(RATE * point as f64 / POINTS as f64);
            ((at - left) / width).min((right - at) / width).max(0.0) as f32
        };
        let inside = |point: &usize| weight(*point) > 0.0;
        let first = (0..USED).find(inside).unwrap_or(0);
        (first, (first..USED).take_while(inside).map(weight).collect())
    };
    (0..BINS).map(filter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A saw with noise, in whole numbers.
    fn sound(samples: usize) -> Vec<i16> {
        let mut state = 1_u32;
        let mut next = |n: usize| {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345) % (1 << 31);
            i16::try_from((state >> 16) % 8_001).unwrap_or(0) - 4_000 + i16::try_from(n % 160).unwrap_or(0) * 20
        };
        (0..samples).map(&mut next).collect()
    }

    /// The first and the last frame of 1,200 samples by kaldi-native-fbank 1.23.0 (dither 0, Hamming, 80 bins).
    const FIRST: [f32; BINS] = [
        14.4934, 16.1487, 17.3111, 17.0036, 16.3845, 15.4077, 16.8259, 16.7528, 14.6362, 17.2164, 17.4194, 16.5039,
        16.7983, 17.3092, 16.9006, 16.6657, 16.7668, 17.3260, 19.0522, 18.9469, 17.4416, 16.9742, 18.2457, 18.3646,
        18.6685, 18.3700, 18.1419, 18.3574, 19.2564, 19.6958, 19.1172, 19.2598, 20.7668, 19.9652, 18.3332, 18.0918,
        19.1139, 19.7465, 19.9134, 20.5952, 19.6420, 21.0107, 20.5127, 21.2743, 21.4174, 20.6094, 21.1504, 21.9345,
        22.1415, 22.5983, 22.1760, 21.5478, 21.9484, 21.0908, 22.0041, 21.9686, 21.3073, 22.0332, 22.1496, 21.4840,
        21.0014, 22.9144, 23.3679, 22.6752, 22.6966, 23.5395, 23.1506, 23.1831, 24.3996, 24.0872, 22.8855, 23.6460,
        23.6761, 23.5958, 23.4698, 23.9747, 24.1297, 23.8578, 23.5641, 23.7213,
    ];
    const LAST: [f32; BINS] = [
        13.8954, 15.1736, 16.7590, 16.1876, 15.7632, 15.7558, 16.6066, 17.0561, 16.2322, 15.3114, 16.7181, 17.5892,
        18.1161, 18.1165, 17.8895, 17.4165, 17.6811, 17.2418, 17.4935, 18.0131, 18.6322, 18.6639, 19.0674, 19.0341,
        17.8740, 19.0835, 19.4416, 18.5884, 19.1974, 19.0611, 19.2370, 20.5115, 20.5562, 21.0392, 20.3970, 19.3151,
        20.3120, 20.7264, 20.1914, 20.4850, 21.1300, 21.2500, 20.9443, 21.5912, 21.8756, 21.2474, 20.8270, 20.0151,
        20.8013, 21.0205, 21.1504, 22.4707, 22.4765, 21.6030, 22.1625, 22.5254, 21.0388, 22.8131, 24.0456, 22.2894,
        22.4688, 22.7519, 23.2984, 21.9497, 22.7351, 22.9130, 22.7871, 23.5764, 23.7076, 23.8230, 23.3431, 23.4480,
        23.3059, 24.2936, 23.9055, 24.3604, 23.5576, 24.0514, 24.2555, 23.7119,
    ];

    #[test]
    fn the_numbers_are_those_of_kaldi() {
        let frames = Filterbank::new().frames(&sound(1_200));
        assert_eq!(frames.len(), 6 * BINS);
        for (ours, theirs) in frames.iter().zip(FIRST).chain(frames[5 * BINS..].iter().zip(LAST)) {
            assert!((ours - theirs).abs() < 1e-3, "{ours} and {theirs}");
        }
    }

    #[test]
    fn silence_is_the_floor_and_less_than_a_window_is_nothing() {
        let bank = Filterbank::new();
        assert!(bank.frames(&[0; WINDOW]).iter().all(|value| (value + 15.942_385).abs() < 1e-3));
        assert!(bank.frames(&[0; WINDOW - 1]).is_empty());
        assert_eq!(bank.frames(&[i16::MIN; WINDOW + STEP]).len(), 2 * BINS);
    }
}
