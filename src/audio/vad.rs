//! Voice activity: how likely a frame is speech.
//!
//! The trait, the choice of a model, and the energy gate that keeps silent streams from costing anything. It
//! knows nothing of turns.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::earshot::EarshotVad;
use super::level::rms;
use super::silero::{SileroModel, SileroVad};
use crate::domain::{Problem, Span};

/// Samples in one frame: 32 ms at 16 kHz.
pub const FRAME: usize = 512;
/// [`FRAME`] as a length.
pub(crate) const FRAME_SAMPLES: u32 = 512;
/// [`FRAME`] in milliseconds.
pub const FRAME_MS: u32 = 32;

/// Tells speech from everything else, frame by frame, in order; one a stream.
pub trait Vad: Send {
    /// Probability of speech in the next 32 ms, 0 to 1.
    fn process(&mut self, frame: &[i16; FRAME]) -> f32;
    /// Forgets the stream.
    fn reset(&mut self);
}

/// `[voice.vad]`: telling speech from noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// An energy gate in front of the model: frames that are hardly louder than the noise so far are silence
    /// without asking it. Default true.
    pub gate: bool,
    /// Always silence below this level, dB relative to full scale. -90 to -30; default -66.
    pub gate_floor_db: f32,
    /// The gate opens so many dB above the noise. 1 to 12; default 3.
    pub gate_margin_db: f32,
    /// The gate stays open for so long after the last loud frame. Default 300ms.
    pub gate_hold: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self { gate: true, gate_floor_db: -66.0, gate_margin_db: 3.0, gate_hold: Span::ms(300) }
    }
}

impl Settings {
    /// What is wrong with the settings at `path`.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(-90.0..=-30.0).contains(&self.gate_floor_db) {
            problems.push(Problem::new(format!("{path}.gate_floor_db"), "outside -90 to -30", "use -66"));
        }
        if !(1.0..=12.0).contains(&self.gate_margin_db) {
            problems.push(Problem::new(format!("{path}.gate_margin_db"), "outside 1 to 12", "use 3"));
        }
        if self.gate_hold.0.as_millis() > 5_000 {
            problems.push(Problem::new(format!("{path}.gate_hold"), "more than 5s", "use 300ms"));
        }
        problems
    }
}

#[derive(Debug, Clone)]
enum Kind {
    Silero(Arc<SileroModel>),
    Earshot,
}

/// The model that all streams share.
#[derive(Debug, Clone)]
pub struct VadModel {
    kind: Kind,
    settings: Settings,
    fallback: Option<String>,
}

impl VadModel {
    /// Silero from the file at `path`, else the small model in the binary; [`VadModel::fallback`] says why.
    /// Reads the file: not for the async runtime once that serves.
    pub fn load(path: Option<&Path>, settings: &Settings) -> Self {
        let loaded = match path {
            Some(path) => SileroModel::load(path).map_err(|error| error.to_string()),
            None => Err("no file is configured".to_owned()),
        };
        let (kind, fallback) = match loaded {
            Ok(model) => (Kind::Silero(Arc::new(model)), None),
            Err(why) => (Kind::Earshot, Some(why)),
        };
        Self { kind, settings: settings.clone(), fallback }
    }

    /// `silero` or `earshot`.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Silero(_) => "silero",
            Kind::Earshot => "earshot",
        }
    }

    /// Why it is not Silero, when it is not.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// A fresh stream, gated as the settings say.
    pub fn stream(&self) -> Gated {
        let inner: Box<dyn Vad> = match &self.kind {
            Kind::Silero(model) => Box::new(SileroVad::new(Arc::clone(model))),
            Kind::Earshot => Box::new(EarshotVad::new()),
        };
        Gated::new(inner, &self.settings)
    }
}

/// A [`Vad`] behind an energy gate that follows the noise.
pub struct Gated {
    inner: Box<dyn Vad>,
    gate: bool,
    /// The least level that opens, as an RMS of 16-bit samples.
    least: f32,
    margin: f32,
    hold_frames: u32,
    /// RMS of the noise so far.
    noise: f32,
    /// Frames for which the gate stays open.
    open: u32,
    /// The frame before, kept while shut so that the model hears the onset.
    before: [i16; FRAME],
    has_before: bool,
    asked: u64,
}

impl std::fmt::Debug for Gated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gated").field("noise", &self.noise).field("open", &self.open).finish_non_exhaustive()
    }
}

/// How fast the noise estimate rises while nobody speaks: 2 dB a second, as a factor a frame.
const NOISE_RISE: f32 = 1.007_4;
/// How fast it rises on frames that the model is sure are no speech: 1 dB a frame, so that a room is learnt at once.
const NOISE_LEARN: f32 = 1.122;
/// The model is sure that this is no speech.
const NO_SPEECH: f32 = 0.05;
/// A frame that the model finds this likely holds the gate open, however quiet.
const HOLDS: f32 = 0.2;
/// Where the noise estimate starts: -60 dB of full scale, so that the gate is open until it has learnt more.
const FIRST_NOISE: f32 = 33.0;

fn factor(db: f32) -> f32 {
    10f32.powf(db / 20.0)
}

impl Gated {
    fn new(inner: Box<dyn Vad>, settings: &Settings) -> Self {
        let hold = settings.gate_hold.0.as_millis() / u128::from(FRAME_MS);
        Self {
            inner,
            gate: settings.gate,
            least: 32_768.0 * factor(settings.gate_floor_db),
            margin: factor(settings.gate_margin_db),
            hold_frames: u32::try_from(hold).unwrap_or(u32::MAX),
            noise: FIRST_NOISE,
            open: 0,
            before: [0; FRAME],
            has_before: false,
            asked: 0,
        }
    }

    /// How often the model was asked since the stream began.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// The noise falls at once and rises by at most `rise` a frame.
    fn learn(&mut self, level: f32, rise: f32) {
        self.noise = level.max(1.0).min(self.noise * rise);
    }

    fn ask(&mut self, frame: &[i16; FRAME]) -> f32 {
        self.asked += 1;
        self.inner.process(frame)
    }
}

impl Vad for Gated {
    fn process(&mut self, frame: &[i16; FRAME]) -> f32 {
        if !self.gate {
            return self.ask(frame);
        }
        let level = rms(frame);
        let loud = level > self.least && level > self.noise * self.margin;
        if !loud && self.open == 0 {
            self.learn(level, NOISE_RISE);
            self.before = *frame;
            self.has_before = true;
            return 0.0;
        }
        if std::mem::take(&mut self.has_before) {
            let before = self.before;
            self.ask(&before);
        }
        let probability = self.ask(frame);
        let speech = probability >= HOLDS;
        if !speech {
            self.learn(level, if probability < NO_SPEECH { NOISE_LEARN } else { NOISE_RISE });
        }
        self.open = if loud || speech { self.hold_frames } else { self.open - 1 };
        probability
    }

    fn reset(&mut self) {
        self.inner.reset();
        self.open = 0;
        self.has_before = false;
    }
}
