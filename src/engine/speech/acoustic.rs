//! The acoustic network: phonemes to the parts of a spectrum, 80 frames a second.
//!
//! Input: `ids` [1, L] (phoneme numbers of `vocab.json`, 0 before and after) and `speed` [1]. Output, each
//! [1, bins, frames]: `lh`, `theta` (magnitude and phase of the harmonic filter), `ln` (noise), `lr`, `phi`
//! (the rest), and `f0` [1, frames] in hertz. It knows nothing of text and nothing of samples.

use std::collections::HashMap;
use std::path::Path;

use rten::{Model, NodeId, Value};

use super::{SpeechError, files};
use crate::engine::lanes::Lanes;

/// Frequency bins of a frame.
pub(super) const BINS: usize = 601;

/// The network's answer: `frames` columns, each part stored bin after bin (`part[bin * frames + frame]`).
pub(super) struct Spectrum {
    pub frames: usize,
    /// Natural logarithm of the harmonic filter's magnitude.
    pub harmonic: Vec<f32>,
    /// Phase of the harmonic filter, before `pi * tanh`.
    pub turn: Vec<f32>,
    /// Natural logarithm of the noise's magnitude.
    pub noise: Vec<f32>,
    /// Natural logarithm of the remainder's magnitude.
    pub rest: Vec<f32>,
    /// Phase of the remainder, radians.
    pub phase: Vec<f32>,
    /// Pitch of each frame in hertz; low values mean "no voice".
    pub pitch: Vec<f32>,
}

pub(super) struct Acoustic {
    model: Model,
    ids: NodeId,
    speed: NodeId,
    outputs: [NodeId; 6],
    numbers: HashMap<char, u8>,
    lanes: Lanes,
}

impl Acoustic {
    pub(super) fn load(dir: &Path) -> Result<Self, SpeechError> {
        let numbers = files::read_json(dir, files::PHONEMES)?;
        let model = load_model(dir, files::ACOUSTIC)?;
        let node = |name| node(&model, files::ACOUSTIC, name);
        let (ids, speed) = (node("ids")?, node("speed")?);
        let outputs = [node("lh")?, node("theta")?, node("ln")?, node("lr")?, node("phi")?, node("f0")?];
        Ok(Self { model, ids, speed, outputs, numbers, lanes: Lanes::of_this_machine() })
    }

    /// The spectrum of one stretch of speech. Characters that are no phonemes are left out; None if none is.
    pub(super) fn spectrum(&self, phonemes: &str) -> Result<Option<Spectrum>, SpeechError> {
        let mut ids = vec![0];
        ids.extend(phonemes.chars().filter_map(|c| self.numbers.get(&c)).map(|&n| i32::from(n)));
        if ids.len() == 1 {
            return Ok(None);
        }
        ids.push(0);
        self.run(ids).map(Some)
    }

    fn run(&self, ids: Vec<i32>) -> Result<Spectrum, SpeechError> {
        let ids = Value::from_shape([1, ids.len()], ids).map_err(failed)?;
        let speed = Value::from_shape([1], vec![1.0_f32]).map_err(failed)?;
        let inputs = vec![(self.ids, ids.into()), (self.speed, speed.into())];
        let answer = self.model.run_n(inputs, self.outputs, Some(self.lanes.options())).map_err(failed)?;
        let [harmonic, turn, noise, rest, phase, pitch] = answer;
        let ([_, frames], pitch) = pitch.into_shape_vec::<f32, 2>().map_err(failed)?;
        Ok(Spectrum {
            frames,
            harmonic: bins(harmonic, frames)?,
            turn: bins(turn, frames)?,
            noise: bins(noise, frames)?,
            rest: bins(rest, frames)?,
            phase: bins(phase, frames)?,
            pitch,
        })
    }
}

/// One part, checked against the shape that the vocoder counts on.
fn bins(value: Value, frames: usize) -> Result<Vec<f32>, SpeechError> {
    let (shape, data) = value.into_shape_vec::<f32, 3>().map_err(failed)?;
    if shape != [1, BINS, frames] {
        return Err(failed(format!("a part has shape {shape:?}, not [1, {BINS}, {frames}]")));
    }
    Ok(data)
}

#[allow(clippy::needless_pass_by_value, reason = "fits map_err")]
fn failed(reason: impl ToString) -> SpeechError {
    SpeechError::Network { file: files::ACOUSTIC, reason: reason.to_string() }
}

/// A network of the voice's folder.
pub(super) fn load_model(dir: &Path, file: &'static str) -> Result<Model, SpeechError> {
    let bytes = files::read(dir, file)?;
    Model::load(bytes).map_err(|error| SpeechError::Damaged { file, reason: error.to_string() })
}

/// An input or output of a network by its name.
pub(super) fn node(model: &Model, file: &'static str, name: &str) -> Result<NodeId, SpeechError> {
    model.node_id(name).map_err(|error| SpeechError::Damaged { file, reason: error.to_string() })
}
