//! Spectrum to samples.
//!
//! Each frame of 12.5 ms is the sum of three spectra: a pulse train of the voice's pitch seen through the
//! harmonic filter, noise of a given magnitude, and a remainder with its own phase. An inverse transform and
//! overlapping windows make samples of them. It works frame by frame: besides the samples themselves
//! it needs a few kilobytes.

use std::f32::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::RATE;
use super::acoustic::{BINS, Spectrum};

/// Samples from one frame to the next.
pub(super) const HOP: usize = 300;
/// Samples that a frame covers: four hops, so that four windows overlap everywhere.
const WINDOW: usize = 4 * HOP;
/// A frame's centre lies so far from its start.
const HALF: usize = WINDOW / 2;
/// Below this pitch (hertz) nothing vibrates.
const LOWEST_PITCH: f32 = 40.0;
/// Harmonics are made up to here (hertz), just short of half the rate.
const HIGHEST_HARMONIC: f32 = 11_000.0;
/// No magnitude above e^7: an outlier of the network must not become a bang.
const LOUDEST: f32 = 7.0;

/// The transforms and the window; made once, used by all threads.
pub(super) struct Vocoder {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    window: Vec<f32>,
}

impl Vocoder {
    pub(super) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        Self {
            forward: planner.plan_fft_forward(WINDOW),
            inverse: planner.plan_fft_inverse(WINDOW),
            window: (0..WINDOW).map(|n| 0.5 - 0.5 * (2.0 * PI * n as f32 / WINDOW as f32).cos()).collect(),
        }
    }

    /// The sound of `spectrum`: [`HOP`] samples a frame, around -1..1. `noise` starts the random part:
    /// the same seed makes the same samples.
    pub(super) fn sound(&self, spectrum: &Spectrum, seed: u64) -> Vec<f32> {
        let samples = spectrum.frames * HOP;
        let pulses = pulse_train(&spectrum.pitch);
        let mut dice = Dice::new(seed);
        let mut sum = vec![0.0; samples + WINDOW];
        let mut weight = vec![0.0_f32; samples + WINDOW];
        let mut time = self.forward.make_input_vec();
        let mut bins = self.forward.make_output_vec();
        for frame in 0..spectrum.frames {
            self.cut_pulses(&pulses, frame, &mut time);
            // The plans and the buffers are of one size, so these cannot fail; were they to, silence is right.
            if self.forward.process(&mut time, &mut bins).is_err() {
                continue;
            }
            colour(&mut bins, spectrum, frame, &mut dice);
            if self.inverse.process(&mut bins, &mut time).is_err() {
                continue;
            }
            let start = frame * HOP;
            for (n, (&sample, &w)) in time.iter().zip(&self.window).enumerate() {
                sum[start + n] += sample * w / WINDOW as f32;
                weight[start + n] += w * w;
            }
        }
        let inside = HALF..HALF + samples;
        sum[inside.clone()].iter().zip(&weight[inside]).map(|(s, w)| s / w.max(1e-6)).collect()
    }

    /// The window around a frame's centre; past the ends the train is mirrored. Scaled so that a harmonic
    /// of height one has magnitude one half of the window's sum over [`HOP`], which is what the network
    /// was taught with.
    fn cut_pulses(&self, pulses: &[f32], frame: usize, out: &mut [f32]) {
        let last = pulses.len().saturating_sub(1);
        for (n, sample) in out.iter_mut().enumerate() {
            let at = (frame * HOP + n).abs_diff(HALF);
            let at = if at > last { (2 * last).saturating_sub(at) } else { at };
            *sample = pulses[at] * self.window[n] / HOP as f32;
        }
    }
}

/// Turns the pulses' spectrum of one frame into that of the speech.
fn colour(bins: &mut [Complex32], spectrum: &Spectrum, frame: usize, dice: &mut Dice) {
    let magnitude = |part: &[f32], at: usize| part[at].min(LOUDEST).exp();
    for (bin, value) in bins.iter_mut().enumerate().take(BINS) {
        let at = bin * spectrum.frames + frame;
        let filter = Complex32::from_polar(magnitude(&spectrum.harmonic, at), PI * squashed(spectrum.turn[at]));
        let rest = Complex32::from_polar(magnitude(&spectrum.rest, at), spectrum.phase[at]);
        *value = *value * filter + dice.normal_pair() * magnitude(&spectrum.noise, at) + rest;
    }
    // A real signal has no phase at zero and at half the rate; realfft insists on it.
    for end in [0, BINS - 1] {
        bins[end].im = 0.0;
    }
}

/// The hyperbolic tangent through one exponential: five times as fast as the library's, exact enough for an angle.
fn squashed(x: f32) -> f32 {
    1.0 - 2.0 / ((2.0 * x).exp() + 1.0)
}

/// All harmonics of the pitch at height one, as samples; silence where there is no pitch.
///
/// The sum of H cosines is taken in closed form: sin((H + 1/2) t) / (2 sin(t / 2)) - 1/2.
fn pulse_train(pitch: &[f32]) -> Vec<f32> {
    let mut cycle = 0.0_f64;
    #[allow(clippy::cast_possible_truncation, reason = "an angle: single precision will do")]
    let sample = |n: usize| {
        let hertz = pitch_at(pitch, n);
        let audible = hertz.max(LOWEST_PITCH);
        cycle = (cycle + f64::from(audible) / f64::from(RATE)).fract();
        if hertz <= LOWEST_PITCH {
            return 0.0;
        }
        let t = 2.0 * PI * cycle as f32;
        let harmonics = (HIGHEST_HARMONIC / audible).floor();
        let divisor = 2.0 * (t / 2.0).sin();
        if divisor.abs() <= 2e-3 { harmonics } else { ((harmonics + 0.5) * t).sin() / divisor - 0.5 }
    };
    (0..pitch.len() * HOP).map(sample).collect()
}

/// The pitch at one sample: straight lines between the middles of the frames, flat beyond the outer ones.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; the whole part is meant")]
fn pitch_at(pitch: &[f32], sample: usize) -> f32 {
    let place = ((sample as f32 + 0.5) / HOP as f32 - 0.5).max(0.0);
    let before = place as usize;
    let share = place - before as f32;
    let left = pitch[before];
    let right = pitch.get(before + 1).copied().unwrap_or(left);
    left + (right - left) * share
}

/// A small random generator (xorshift64*): noise needs to be white, not secret.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Evenly spread over (0, 1].
    fn unit(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40;
        (bits as f32 + 1.0) / 16_777_216.0
    }

    /// Two independent normal values of variance one (Box and Muller).
    fn normal_pair(&mut self) -> Complex32 {
        Complex32::from_polar((-2.0 * self.unit().ln()).sqrt(), 2.0 * PI * self.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A spectrum that is the same in every frame.
    fn steady(frames: usize, hertz: f32, harmonic: f32, noise: f32) -> Spectrum {
        let part = |value: f32| vec![value; BINS * frames];
        Spectrum {
            frames,
            harmonic: part(harmonic),
            turn: part(0.0),
            noise: part(noise),
            rest: part(-100.0),
            phase: part(0.0),
            pitch: vec![hertz; frames],
        }
    }

    fn level(samples: &[f32]) -> f32 {
        (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32).sqrt()
    }

    #[test]
    fn no_frames_make_no_sound() {
        assert!(Vocoder::new().sound(&steady(0, 200.0, 0.0, 0.0), 1).is_empty());
    }

    #[test]
    fn very_few_frames_make_as_many_hops() {
        for frames in 1..5 {
            let sound = Vocoder::new().sound(&steady(frames, 150.0, 0.0, 0.0), 1);
            assert_eq!(sound.len(), frames * HOP);
            assert!(sound.iter().all(|sample| sample.is_finite()));
        }
    }

    #[test]
    fn an_open_filter_gives_back_the_pulses() {
        // The pulses go in divided by the hop: a filter of that height undoes it.
        let spectrum = steady(40, 200.0, (HOP as f32).ln(), -100.0);
        let sound = Vocoder::new().sound(&spectrum, 1);
        let pulses = pulse_train(&spectrum.pitch);
        let inside = WINDOW..pulses.len() - WINDOW;
        let difference: Vec<f32> =
            sound[inside.clone()].iter().zip(&pulses[inside.clone()]).map(|(a, b)| a - b).collect();
        assert!(level(&difference) < 0.01 * level(&pulses[inside]), "{}", level(&difference));
    }

    #[test]
    fn pulses_come_at_the_pitch_and_stop_without_one() {
        let pulses = pulse_train(&[240.0; 80]);
        let peaks = pulses.windows(3).filter(|w| w[1] > 20.0 && w[1] >= w[0] && w[1] > w[2]).count();
        assert!((238..=242).contains(&peaks), "{peaks} pulses in a second at 240 Hz");
        assert!(pulse_train(&[30.0; 10]).iter().all(|&sample| sample == 0.0));
    }

    #[test]
    fn noise_is_as_loud_as_asked_and_the_same_for_the_same_seed() {
        let vocoder = Vocoder::new();
        let quiet = vocoder.sound(&steady(80, 0.0, -100.0, 0.0), 7);
        let loud = vocoder.sound(&steady(80, 0.0, -100.0, 2.0), 7);
        let ratio = level(&loud) / level(&quiet);
        assert!((ratio - 2.0_f32.exp()).abs() < 0.05, "{ratio}");
        assert_eq!(quiet, vocoder.sound(&steady(80, 0.0, -100.0, 0.0), 7));
        assert_ne!(quiet, vocoder.sound(&steady(80, 0.0, -100.0, 0.0), 8));
    }

    #[test]
    fn the_fast_tangent_is_the_tangent() {
        for x in [-90.0, -3.0, -0.01, 0.0, 1e-4, 0.5, 2.0, 90.0_f32] {
            assert!((squashed(x) - x.tanh()).abs() < 1e-6, "{x}");
        }
    }

    #[test]
    fn an_outlier_of_the_network_is_no_bang() {
        let sound = Vocoder::new().sound(&steady(10, 0.0, -100.0, 60.0), 1);
        assert!(level(&sound) < 7.0_f32.exp(), "{}", level(&sound));
    }
}
