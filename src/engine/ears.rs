//! Speech to text, whatever hears: the model of a folder, by what lies in it.

use std::path::Path;
use std::sync::Arc;

use super::EngineError;
use super::recognise::{self, Recogniser};
use super::station::{Desk, Model};
use super::transcribe::{self, Heard, Whisper};

/// A model that hears.
pub enum Ears {
    /// A GGML file of Whisper.
    Whisper(Arc<Whisper>),
    /// SenseVoice or Paraformer.
    Onnx(Arc<Recogniser>),
}

impl Ears {
    /// Loads the model of a folder.
    pub fn load(dir: &Path) -> Result<Self, EngineError> {
        let whisper = dir.join("ggml.bin");
        if !whisper.is_file() && recognise::network_of(dir).is_some() {
            return Ok(Self::Onnx(Arc::new(Recogniser::load(dir)?)));
        }
        if !whisper.is_file() {
            let what =
                "nothing that hears: neither ggml.bin (Whisper) nor NAME.onnx with tokens.txt (SenseVoice, Paraformer)";
            return Err(EngineError::Load(format!("{} has {what}", dir.display())));
        }
        Ok(Self::Whisper(Arc::new(Whisper::load(&whisper)?)))
    }

    /// BCP 47 of what it hears well; none where it hears too many to name.
    pub fn languages(&self) -> Vec<String> {
        match self {
            Ears::Whisper(whisper) => whisper.languages(),
            Ears::Onnx(recogniser) => recogniser.languages(),
        }
    }
}

impl Model for Ears {
    type Worker = Ear;

    fn worker(self: &Arc<Self>) -> Result<Ear, EngineError> {
        Ok(match &**self {
            Ears::Whisper(whisper) => Ear::Whisper(whisper.worker()?),
            Ears::Onnx(recogniser) => Ear::Onnx(Arc::clone(recogniser)),
        })
    }
}

/// What one thread hears with.
pub enum Ear {
    /// Whisper's state.
    Whisper(transcribe::Ear),
    /// The shared model: a call keeps nothing.
    Onnx(Arc<Recogniser>),
}

impl Ear {
    /// The words in 16 kHz mono samples.
    pub fn transcribe(&mut self, pcm: &[i16], language: Option<&str>, desk: &Desk) -> Result<Heard, EngineError> {
        match self {
            Ear::Whisper(ear) => ear.transcribe(pcm, language, desk),
            Ear::Onnx(recogniser) => by_pieces(recogniser, pcm, language, desk),
        }
    }
}

/// Hears long sound piece by piece, a core at a time. Silence is not given to the model.
fn by_pieces(ear: &Recogniser, pcm: &[i16], language: Option<&str>, desk: &Desk) -> Result<Heard, EngineError> {
    let mut heard = Heard::default();
    for piece in recognise::pieces(pcm).into_iter().filter(|piece| transcribe::is_audible(piece)) {
        let core = desk.core();
        let (words, told) = ear.hear(piece, language)?;
        drop(core);
        if !words.is_empty() {
            if !heard.text.is_empty() {
                heard.text.push(' ');
            }
            heard.text.push_str(&words);
            heard.language = heard.language.or(told);
        }
    }
    heard.text = transcribe::unloop(&heard.text);
    Ok(heard)
}
