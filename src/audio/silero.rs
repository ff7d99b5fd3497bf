//! Silero VAD v6, run by `rten`.
//!
//! The file is `silero_vad_16k_sequence.onnx` of the PyPI package silero-vad 6.2.3 (MIT): input `[n, 576]` (64 samples of
//! context and 512 new ones), state `h` and `c` of `[1, 1, 128]`; output one probability for each frame.

use std::path::Path;
use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, ValueView};

use super::vad::{FRAME, Vad};

const CONTEXT: usize = 64;
const STATE: usize = 128;

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
    #[error("{0} is not the 16 kHz sequence model of Silero v6")]
    Shape(String),
    /// A run failed.
    #[error("silero run failed: {0}")]
    Run(String),
}

/// The weights, shared by all streams.
#[derive(Debug)]
pub struct SileroModel {
    model: Model,
    inputs: [NodeId; 3],
    outputs: [NodeId; 3],
    pool: Arc<ThreadPool>,
}

impl SileroModel {
    /// Loads the file and proves it on one frame of silence.
    pub fn load(path: &Path) -> Result<Self, SileroError> {
        let failed = |message: String| SileroError::Load { path: path.display().to_string(), message };
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let model = ModelOptions::with_all_ops().prepack_weights(true).load(bytes);
        let model = model.map_err(|error| failed(error.to_string()))?;
        let node = |name: &str| model.find_node(name).ok_or_else(|| SileroError::Shape(path.display().to_string()));
        let inputs = [node("input")?, node("h")?, node("c")?];
        let outputs = [node("speech_probs")?, node("hn")?, node("cn")?];
        let model = Self { model, inputs, outputs, pool: Arc::new(ThreadPool::with_num_threads(1)) };
        let quiet = model.run(&[0.0; CONTEXT + FRAME], &mut State::default())?;
        if !(0.0..0.5).contains(&quiet) {
            return Err(SileroError::Shape(path.display().to_string()));
        }
        Ok(model)
    }

    fn run(&self, input: &[f32; CONTEXT + FRAME], state: &mut State) -> Result<f32, SileroError> {
        let failed = |error: &dyn std::error::Error| SileroError::Run(error.to_string());
        let inputs = vec![
            (self.inputs[0], ValueView::from_shape([1, CONTEXT + FRAME], &input[..]).map_err(|e| failed(&e))?.into()),
            (self.inputs[1], ValueView::from_shape([1, 1, STATE], &state.h[..]).map_err(|e| failed(&e))?.into()),
            (self.inputs[2], ValueView::from_shape([1, 1, STATE], &state.c[..]).map_err(|e| failed(&e))?.into()),
        ];
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pool)));
        let [speech, h, c] = self.model.run_n(inputs, self.outputs, Some(options)).map_err(|e| failed(&e))?;
        let h = h.into_shape_vec::<f32, 3>().map_err(|e| failed(&e))?.1;
        let c = c.into_shape_vec::<f32, 3>().map_err(|e| failed(&e))?.1;
        let speech = speech.into_shape_vec::<f32, 1>().map_err(|e| failed(&e))?.1;
        if h.len() != STATE || c.len() != STATE {
            return Err(SileroError::Run("state of another size".to_owned()));
        }
        state.h.copy_from_slice(&h);
        state.c.copy_from_slice(&c);
        speech.first().copied().ok_or_else(|| SileroError::Run("no probability".to_owned()))
    }
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

/// One stream; about 3.5 KB.
#[derive(Debug)]
pub struct SileroVad {
    model: Arc<SileroModel>,
    state: State,
    input: [f32; CONTEXT + FRAME],
    failed: bool,
}

impl SileroVad {
    /// A fresh stream.
    pub fn new(model: Arc<SileroModel>) -> Self {
        Self { model, state: State::default(), input: [0.0; CONTEXT + FRAME], failed: false }
    }
}

impl Vad for SileroVad {
    fn process(&mut self, frame: &[i16; FRAME]) -> f32 {
        self.input.copy_within(FRAME.., 0);
        for (slot, sample) in self.input[CONTEXT..].iter_mut().zip(frame) {
            *slot = f32::from(*sample) / 32_768.0;
        }
        match self.model.run(&self.input, &mut self.state) {
            Ok(probability) => probability,
            Err(error) => {
                // The model was proved when it was loaded: say it once a stream, and hear nothing.
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::error!(%error, "voice activity model failed");
                }
                0.0
            }
        }
    }

    fn reset(&mut self) {
        self.state = State::default();
        self.input = [0.0; CONTEXT + FRAME];
    }
}
