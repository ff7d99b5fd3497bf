//! Silero VAD v6.
//!
//! The file is `silero_vad_16k_sequence.onnx` of the PyPI package silero-vad 6.2.3 (MIT): input `[n, 576]` (64 samples
//! of context and 512 new ones), state `h` and `c` of `[1, 1, 128]`; output one probability for each frame. It is read
//! by `rten`, and run by the few layers below, which cost about a quarter of what rten's general machinery does
//! on one frame (docs/decisions/20-silero.md). At load both must agree, so that another file is refused.

use std::path::Path;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use rten::{Model, ModelOptions, Value, ValueView};

use super::dense::Dense;
use super::vad::{FRAME, Vad};

const CONTEXT: usize = 64;
const INPUT: usize = CONTEXT + FRAME;
const STATE: usize = 128;
/// Window of the short-time Fourier transform, its step, its bins, and how many of it fit one input.
const WINDOW: usize = 256;
const HOP: usize = 128;
const BINS: usize = WINDOW / 2 + 1;
const STEPS: usize = 4;
/// How far rten and the layers below may differ.
const TOLERANCE: f32 = 1e-3;

/// Why the model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SileroError {
    /// The file cannot be read, or is no model.
    #[error("cannot load {path}: {message}")]
    Load {
        /// The file.
        path: String,
        /// What the loader says.
        message: String,
    },
    /// A model, but not this one.
    #[error("{path} is not the 16 kHz sequence model of Silero v6: {what}")]
    Other {
        /// The file.
        path: String,
        /// What is different.
        what: String,
    },
}

/// The weights, shared by all streams; about 1 MB.
pub struct SileroModel {
    window: Vec<f32>,
    fft: Arc<dyn RealToComplex<f32>>,
    /// 129 bins → 128, three taps.
    first: Dense<4>,
    /// 128 → 64, three taps, every second step.
    second: Dense<2>,
    /// 64 → 64, every second step of two: the tap before the first is always padding.
    third: Dense<1>,
    /// 64 → 128 on a single step: only the middle tap is not padding.
    fourth: Dense<1>,
    /// Input and state → the four gates.
    gates: Dense<1>,
    output: Vec<f32>,
    output_bias: f32,
}

impl std::fmt::Debug for SileroModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SileroModel").finish_non_exhaustive()
    }
}

impl SileroModel {
    /// Loads the file and proves it against rten on a quarter of a second of noise.
    pub fn load(path: &Path) -> Result<Self, SileroError> {
        let path_text = || path.display().to_string();
        let failed = |message: String| SileroError::Load { path: path_text(), message };
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let file = ModelOptions::with_all_ops().enable_optimization(false).load(bytes);
        let file = file.map_err(|error| failed(error.to_string()))?;
        let other = |what: String| SileroError::Other { path: path_text(), what };
        let model = Self::from_file(&file).map_err(other)?;
        model.prove(&file).map_err(other)?;
        Ok(model)
    }

    fn from_file(file: &Model) -> Result<Self, String> {
        let get = |name: &str, length: usize| weights(file, name, length);
        let basis = get("stft.forward_basis_buffer", 2 * BINS * WINDOW)?;
        let first = get("encoder.0.weight", 128 * BINS * 3)?;
        let second = get("encoder.1.weight", 64 * 128 * 3)?;
        let third = get("encoder.2.weight", 64 * 64 * 3)?;
        let fourth = get("encoder.3.weight", 128 * 64 * 3)?;
        let of_input = get("onnx::LSTM_209", 4 * STATE * STATE)?;
        let of_state = get("onnx::LSTM_210", 4 * STATE * STATE)?;
        let bias = get("onnx::LSTM_211", 8 * STATE)?;
        let gate_bias = (0..4 * STATE).map(|n| bias[n] + bias[4 * STATE + n]).collect();
        // ONNX has [output, channel, tap]; here the inputs are ordered tap by tap.
        let tap = |w: &[f32], channels: usize, output: usize, input: usize| {
            w[(output * channels + input % channels) * 3 + input / channels]
        };
        Ok(Self {
            // The row of frequency 0 is the window itself.
            window: basis[..WINDOW].to_vec(),
            fft: RealFftPlanner::new().plan_fft_forward(WINDOW),
            first: Dense::new(128, 3 * BINS, get("encoder.0.bias", 128)?, |o, i| tap(&first, BINS, o, i)),
            second: Dense::new(64, 3 * 128, get("encoder.1.bias", 64)?, |o, i| tap(&second, 128, o, i)),
            third: Dense::new(64, 2 * 64, get("encoder.2.bias", 64)?, |o, i| tap(&third, 64, o, 64 + i)),
            fourth: Dense::new(128, 64, get("encoder.3.bias", 128)?, |o, i| tap(&fourth, 64, o, 64 + i)),
            gates: Dense::new(4 * STATE, 2 * STATE, gate_bias, |o, i| {
                if i < STATE { of_input[o * STATE + i] } else { of_state[o * STATE + i - STATE] }
            }),
            output: get("output.weight", STATE)?,
            output_bias: get("output.bias", 1)?[0],
        })
    }

    /// Runs both on the same frames.
    fn prove(&self, file: &Model) -> Result<(), String> {
        let (mut ours, mut theirs) = (State::default(), State::default());
        let mut noise = 1u32;
        for frame in 1..=8u8 {
            let input: [f32; INPUT] = std::array::from_fn(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise as f32 / u32::MAX as f32 - 0.5) * f32::from(frame) / 16.0
            });
            let here = self.run(&input, &mut ours, &mut Scratch::new(self));
            let there = reference(file, &input, &mut theirs)?;
            let pairs = ours.h.iter().zip(&theirs.h).chain([(&here, &there)]);
            // Written so that what is no number is no agreement either.
            if !pairs.into_iter().all(|(a, b)| (a - b).abs() < TOLERANCE) {
                return Err("its layers give other results".to_owned());
            }
        }
        Ok(())
    }

    fn run(&self, input: &[f32; INPUT], state: &mut State, scratch: &mut Scratch) -> f32 {
        let mut spectra = [[0.0; BINS]; STEPS];
        self.spectra(input, &mut spectra, scratch);

        let x: [[f32; 4]; 3 * BINS] = std::array::from_fn(|k| {
            let (tap, bin) = (k / BINS, k % BINS);
            std::array::from_fn(|t| (t + tap).checked_sub(1).and_then(|at| spectra.get(at)).map_or(0.0, |s| s[bin]))
        });
        let mut first = [0.0; 4 * 128];
        self.first.apply(&x, &mut first);
        relu(&mut first);

        let x: [[f32; 2]; 3 * 128] = std::array::from_fn(|k| {
            let (tap, channel) = (k / 128, k % 128);
            std::array::from_fn(|t| (2 * t + tap).checked_sub(1).map_or(0.0, |at| first[at * 128 + channel]))
        });
        let mut second = [0.0; 2 * 64];
        self.second.apply(&x, &mut second);
        relu(&mut second);

        // Its two steps one after the other are the two taps.
        let mut third = [0.0; 64];
        self.third.apply(&second.map(|x| [x]), &mut third);
        relu(&mut third);
        let mut fourth = [0.0; 128];
        self.fourth.apply(&third.map(|x| [x]), &mut fourth);
        relu(&mut fourth);

        self.remember(&fourth, state);
        let sum: f32 = state.h.iter().zip(&self.output).map(|(h, w)| h.max(0.0) * w).sum();
        sigmoid(sum + self.output_bias)
    }

    /// Magnitudes of the four windows; the input is mirrored at its end.
    fn spectra(&self, input: &[f32; INPUT], spectra: &mut [[f32; BINS]; STEPS], scratch: &mut Scratch) {
        for (step, spectrum) in spectra.iter_mut().enumerate() {
            for (n, slot) in scratch.time.iter_mut().enumerate() {
                let at = step * HOP + n;
                let at = if at < INPUT { at } else { 2 * (INPUT - 1) - at };
                *slot = input[at] * self.window[n];
            }
            // The buffers have the plan's own lengths, so this cannot fail.
            let Scratch { time, bins, work } = scratch;
            if self.fft.process_with_scratch(time, bins, work).is_ok() {
                for (bin, value) in spectrum.iter_mut().zip(&*bins) {
                    *bin = value.norm_sqr().sqrt();
                }
            }
        }
    }

    /// One step of the long short-term memory; ONNX orders its gates input, output, forget, cell.
    fn remember(&self, x: &[f32; 128], state: &mut State) {
        let x: [[f32; 1]; 2 * STATE] = std::array::from_fn(|n| [if n < STATE { x[n] } else { state.h[n - STATE] }]);
        let mut gates = [0.0; 4 * STATE];
        self.gates.apply(&x, &mut gates);
        for n in 0..STATE {
            let [input, output, forget] = [0, 1, 2].map(|gate| sigmoid(gates[gate * STATE + n]));
            state.c[n] = forget * state.c[n] + input * tanh(gates[3 * STATE + n]);
            state.h[n] = output * tanh(state.c[n]);
        }
    }
}

fn relu(values: &mut [f32]) {
    for value in values {
        *value = value.max(0.0);
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// By one exponential: half the cost of the library's.
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + (2.0 * x).exp())
}

/// A constant of the model, of a known length.
fn weights(file: &Model, name: &str, length: usize) -> Result<Vec<f32>, String> {
    let id = file.find_node(name).ok_or_else(|| format!("{name} is missing"))?;
    let [value] = file.run_n(vec![], [id], None).map_err(|error| format!("{name}: {error}"))?;
    let Value::FloatTensor(tensor) = value else { return Err(format!("{name} is not f32")) };
    let weights = tensor.into_data();
    if weights.len() == length { Ok(weights) } else { Err(format!("{name} has {} values", weights.len())) }
}

/// One frame by rten.
fn reference(file: &Model, input: &[f32; INPUT], state: &mut State) -> Result<f32, String> {
    let node = |name: &str| file.find_node(name).ok_or_else(|| format!("{name} is missing"));
    let text = |error: &dyn std::error::Error| error.to_string();
    let inputs = vec![
        (node("input")?, ValueView::from_shape([1, INPUT], &input[..]).map_err(|e| text(&e))?.into()),
        (node("h")?, ValueView::from_shape([1, 1, STATE], &state.h[..]).map_err(|e| text(&e))?.into()),
        (node("c")?, ValueView::from_shape([1, 1, STATE], &state.c[..]).map_err(|e| text(&e))?.into()),
    ];
    let outputs = [node("speech_probs")?, node("hn")?, node("cn")?];
    let [speech, h, c] = file.run_n(inputs, outputs, None).map_err(|e| text(&e))?;
    let flat = |value: Value, length: usize| {
        let Value::FloatTensor(tensor) = value else { return Err("output of another type".to_owned()) };
        let data = tensor.into_data();
        if data.len() == length { Ok(data) } else { Err("output of another length".to_owned()) }
    };
    state.h.copy_from_slice(&flat(h, STATE)?);
    state.c.copy_from_slice(&flat(c, STATE)?);
    Ok(flat(speech, 1)?[0])
}

#[derive(Debug)]
struct State {
    h: [f32; STATE],
    c: [f32; STATE],
}

impl Default for State {
    fn default() -> Self {
        Self { h: [0.0; STATE], c: [0.0; STATE] }
    }
}

/// Buffers of the Fourier transform.
#[derive(Debug)]
struct Scratch {
    time: Vec<f32>,
    bins: Vec<Complex<f32>>,
    work: Vec<Complex<f32>>,
}

impl Scratch {
    fn new(model: &SileroModel) -> Self {
        let fft = &model.fft;
        Self { time: fft.make_input_vec(), bins: fft.make_output_vec(), work: fft.make_scratch_vec() }
    }
}

/// One stream; about 7 KB.
#[derive(Debug)]
pub struct SileroVad {
    model: Arc<SileroModel>,
    state: State,
    input: [f32; INPUT],
    scratch: Scratch,
}

impl SileroVad {
    /// A fresh stream.
    pub fn new(model: Arc<SileroModel>) -> Self {
        let scratch = Scratch::new(&model);
        Self { model, state: State::default(), input: [0.0; INPUT], scratch }
    }
}

impl Vad for SileroVad {
    fn process(&mut self, frame: &[i16; FRAME]) -> f32 {
        self.input.copy_within(FRAME.., 0);
        for (slot, sample) in self.input[CONTEXT..].iter_mut().zip(frame) {
            *slot = f32::from(*sample) / 32_768.0;
        }
        self.model.run(&self.input, &mut self.state, &mut self.scratch)
    }

    fn reset(&mut self) {
        self.state = State::default();
        self.input = [0.0; INPUT];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]

    use super::*;
    use crate::audio::testing::{human, silero_file};

    #[test]
    fn on_speech_every_frame_is_what_rten_says() {
        let (Some(clips), Some(path)) = (human(), silero_file()) else { return };
        let file = Model::load_file(&path).unwrap();
        let mut stream = SileroVad::new(Arc::new(SileroModel::load(&path).unwrap()));
        let mut theirs = State::default();
        let mut speech = 0;
        for frame in clips.concat().as_chunks::<FRAME>().0 {
            let here = stream.process(frame);
            let there = reference(&file, &stream.input, &mut theirs).unwrap();
            assert!((here - there).abs() < TOLERANCE, "{here} where rten has {there}");
            speech += usize::from(here > 0.5);
        }
        assert!(speech > 200, "{speech}");
    }

    #[test]
    fn another_model_or_no_model_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.onnx");
        assert!(matches!(SileroModel::load(&path), Err(SileroError::Load { .. })));
        std::fs::write(&path, b"garbage").unwrap();
        assert!(matches!(SileroModel::load(&path), Err(SileroError::Load { .. })));
        let Some(good) = silero_file() else { return };
        let mut bytes = std::fs::read(good).unwrap();
        // A weight in the middle of the encoder turned upside down.
        let middle = bytes.len() / 2;
        for byte in &mut bytes[middle..middle + 4_000] {
            *byte ^= 0x80;
        }
        std::fs::write(&path, &bytes[..bytes.len() / 3]).unwrap();
        assert!(SileroModel::load(&path).is_err(), "cut off");
    }
}
