//! Smart Turn v3: whether somebody who pauses has said all that he wants to say, from how it sounds.
//!
//! The file is `smart-turn-v3.2-cpu.onnx` of the PyPI package pipecat-ai 1.14.0 (BSD-2): input `[1, 80, 800]`, the log-mel of
//! the last eight seconds as Whisper sees it, output the probability that the turn is complete. It is read and run by
//! `rten`. About 45 ms of CPU: never on the async runtime.

#![allow(clippy::cast_possible_truncation, reason = "what is computed in 64 bits is kept in 32")]

use std::path::Path;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use rten::{Model, NodeId, RunOptions, ThreadPool, Value, ValueView};

use super::mel;

/// What it hears: eight seconds.
const SAMPLES: usize = 128_000;
const WINDOW: usize = 400;
const HOP: usize = 160;
const STEPS: usize = SAMPLES / HOP;
const MELS: usize = 80;
/// No energy is less than this.
const FLOOR: f64 = 1e-10;

/// Why the model cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path}: {message}")]
pub struct SmartTurnError {
    path: String,
    message: String,
}

/// The model, shared by all sessions; about 9 MB.
pub struct SmartTurn {
    model: Model,
    input: NodeId,
    output: NodeId,
    front: Front,
    /// Of one thread: it shall not take the cores from those who serve.
    pool: Arc<ThreadPool>,
}

impl std::fmt::Debug for SmartTurn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmartTurn").finish_non_exhaustive()
    }
}

impl SmartTurn {
    /// Loads the file, and runs it once. Not for the async runtime.
    pub fn load(path: &Path) -> Result<Self, SmartTurnError> {
        let failed = |message: String| SmartTurnError { path: path.display().to_string(), message };
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let model = Model::load(bytes).map_err(|error| failed(error.to_string()))?;
        let node = |name: &str| model.find_node(name).ok_or_else(|| failed(format!("it has no {name}")));
        let (input, output) = (node("input_features")?, node("logits")?);
        let pool = Arc::new(ThreadPool::with_num_threads(1));
        let loaded = Self { model, input, output, front: Front::new(), pool };
        loaded.complete(&vec![0; 16_000]).map_err(failed)?;
        Ok(loaded)
    }

    /// The probability that what was said is all, 0 to 1; of 16 kHz mono, the last eight seconds count.
    pub fn complete(&self, pcm: &[i16]) -> Result<f32, String> {
        let features = self.front.log_mel(pcm);
        let input = ValueView::from_shape([1, MELS, STEPS], &features[..]).map_err(|error| error.to_string())?;
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pool)));
        let run = self.model.run_n(vec![(self.input, input.into())], [self.output], Some(options));
        let [answer] = run.map_err(|error| error.to_string())?;
        let Value::FloatTensor(tensor) = answer else { return Err("its output is no f32".to_owned()) };
        let found = tensor.into_data().first().copied().filter(|p| (0.0..=1.0).contains(p));
        found.ok_or_else(|| "its output is no probability".to_owned())
    }
}

/// Samples → log-mel, as Whisper's feature extractor makes it.
struct Front {
    fft: Arc<dyn RealToComplex<f64>>,
    window: Vec<f64>,
    /// Of each filter: its first bin, and its weights from there.
    filters: Vec<(usize, Vec<f64>)>,
}

impl Front {
    fn new() -> Self {
        let turn = std::f64::consts::TAU / WINDOW as f64;
        let window = (0..WINDOW).map(|n| 0.5 - 0.5 * (turn * n as f64).cos()).collect();
        let bank = mel::filterbank(MELS);
        let filters = bank.chunks(mel::BINS).map(|row| {
            let first = row.iter().position(|weight| *weight > 0.0).unwrap_or(0);
            let weights = row[first..].iter().take_while(|weight| **weight > 0.0).map(|weight| f64::from(*weight));
            (first, weights.collect())
        });
        Self { fft: RealFftPlanner::new().plan_fft_forward(WINDOW), window, filters: filters.collect() }
    }

    /// `[MELS, STEPS]` of the last eight seconds; what is shorter is silence before.
    fn log_mel(&self, pcm: &[i16]) -> Vec<f32> {
        let audio = normalised(pcm);
        let mut out = vec![0.0; MELS * STEPS];
        let (mut time, mut bins) = (self.fft.make_input_vec(), self.fft.make_output_vec());
        let mut work: Vec<Complex<f64>> = self.fft.make_scratch_vec();
        for step in 0..STEPS {
            for (n, slot) in time.iter_mut().enumerate() {
                *slot = audio[mirrored(step * HOP + n)] * self.window[n];
            }
            // the buffers have the plan's own lengths, so this cannot fail
            if self.fft.process_with_scratch(&mut time, &mut bins, &mut work).is_err() {
                continue;
            }
            for (mel, (first, weights)) in self.filters.iter().enumerate() {
                let energy: f64 =
                    weights.iter().zip(&bins[*first..]).map(|(weight, bin)| weight * bin.norm_sqr()).sum();
                out[mel * STEPS + step] = energy.max(FLOOR).log10();
            }
        }
        let least = out.iter().copied().fold(f64::MIN, f64::max) - 8.0;
        out.into_iter().map(|value| ((value.max(least) + 4.0) / 4.0) as f32).collect()
    }
}

/// Eight seconds of mean 0 and variance 1.
fn normalised(pcm: &[i16]) -> Vec<f64> {
    let said = &pcm[pcm.len().saturating_sub(SAMPLES)..];
    let mut audio = vec![0.0; SAMPLES];
    for (slot, sample) in audio[SAMPLES - said.len()..].iter_mut().zip(said) {
        *slot = f64::from(*sample) / 32_768.0;
    }
    let mean = audio.iter().sum::<f64>() / SAMPLES as f64;
    let variance = audio.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / SAMPLES as f64;
    let scale = 1.0 / (variance + 1e-7).sqrt();
    for sample in &mut audio {
        *sample = (*sample - mean) * scale;
    }
    audio
}

/// Where a window's sample is found: half a window before the first sample and behind the last the audio is mirrored.
fn mirrored(at: usize) -> usize {
    let at = at.abs_diff(WINDOW / 2);
    if at < SAMPLES { at } else { 2 * (SAMPLES - 1) - at }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]

    use super::*;
    use crate::audio::testing::{human, smart_turn_file};

    /// From `tests/data/smart_turn.py`, which asks the feature extractor and onnxruntime.
    #[derive(serde::Deserialize)]
    struct Reference {
        /// Of the chirp: place in `[80, 800]` and value.
        features: Vec<(usize, f32)>,
        /// Recording, samples of it, probability.
        said: Vec<(usize, usize, f32)>,
    }

    fn reference() -> Reference {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/smart_turn.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn a_chirp_looks_as_whisper_s_feature_extractor_shows_it() {
        let chirp = (0..48_000i32).map(|n| {
            let t = f64::from(n) / 16_000.0;
            ((std::f64::consts::TAU * (200.0 * t + 600.0 * t * t)).sin() * 8_000.0) as i16
        });
        let features = Front::new().log_mel(&chirp.collect::<Vec<_>>());
        let expected = reference().features;
        assert_eq!((features.len(), expected.len()), (64_000, 400));
        for (at, value) in expected {
            assert!((features[at] - value).abs() < 2e-3, "{at}: {} where {value} is right", features[at]);
        }
    }

    #[test]
    fn on_real_speech_it_says_what_onnxruntime_says() {
        let (Some(clips), Some(path)) = (human(), smart_turn_file()) else { return };
        let model = SmartTurn::load(&path).unwrap();
        let said = reference().said;
        let undecided = said.iter().filter(|(.., p)| (0.2..0.8).contains(p)).count();
        assert!(said.len() >= 40 && undecided >= 4, "{undecided} of {} are near the middle", said.len());
        for (clip, samples, expected) in said {
            let found = model.complete(&clips[clip][..samples]).unwrap();
            // numbers of eight bits are rounded in another order: 0.088 was seen, and what is near the middle may fall anywhere
            let (far, middle) = ((found - expected).abs(), (expected - 0.5).abs() < 0.1);
            assert!(
                far < 0.15 && (middle || (found > 0.5) == (expected > 0.5)),
                "{clip} to {samples}: {found} where {expected} is right"
            );
        }
    }

    #[test]
    fn another_file_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.onnx");
        for make in [None, Some(&b"garbage"[..])] {
            if let Some(bytes) = make {
                std::fs::write(&path, bytes).unwrap();
            }
            let error = SmartTurn::load(&path).unwrap_err().to_string();
            assert!(error.contains("x.onnx"), "{error}");
        }
        let Some(silero) = crate::audio::testing::silero_file() else { return };
        assert!(SmartTurn::load(&silero).unwrap_err().to_string().contains("input_features"));
    }
}
