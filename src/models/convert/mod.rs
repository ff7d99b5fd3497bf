//! Conversion: weights as a package carries them become the files that the engines read.
//!
//! Blocking work on files; it runs on a thread of its own. It must not know where the weights came
//! from, nor the manifest: it gets a folder with inputs and the path of the one file to make.

mod ct2;
mod ggml;
#[cfg(feature = "engine")]
mod gguf;
mod vocabulary;
mod whisper;

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use ct2::Ct2Error;

/// What is done to the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Conversion {
    /// Whisper in CTranslate2's binary (`model.bin`, `vocabulary.txt` or `vocabulary.json`) to
    /// whisper.cpp's GGML file with 8 bit blocks.
    #[serde(rename = "whisper-ct2-ggml-q8_0")]
    WhisperCt2GgmlQ8_0,
    /// A GGUF file (`model.gguf.in`) with its matrices quantised again to 8 bit blocks.
    #[serde(rename = "gguf-requantise-q8_0")]
    GgufRequantiseQ8_0,
}

/// Why a conversion failed.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// A file cannot be read or written.
    #[error("{what}: {source}")]
    Io {
        /// Which file, or what was being done.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The weights are not what the converter knows.
    #[error(transparent)]
    Ct2(#[from] Ct2Error),
    /// The inputs do not fit together, or are not the model they should be.
    #[error("{0}")]
    Shape(String),
    /// This binary was built without what the conversion needs.
    #[error(
        "this voxgate was built without the feature \"engine\", which this conversion needs: use a build with it, or \
         pull the models there and copy the folder"
    )]
    NotBuilt,
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}

impl ConvertError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// How far a conversion is, and whether it shall go on.
pub trait Watch {
    /// `done` of `total` (bytes of input). `false` stops the conversion.
    fn step(&mut self, done: u64, total: u64) -> bool;
}

impl<F: FnMut(u64, u64) -> bool> Watch for F {
    fn step(&mut self, done: u64, total: u64) -> bool {
        self(done, total)
    }
}

impl Conversion {
    /// Reads the inputs in `from` and writes the file `to`, which is synced to the disk.
    pub fn run(self, from: &Path, to: &Path, watch: &mut dyn Watch) -> Result<(), ConvertError> {
        match self {
            Conversion::WhisperCt2GgmlQ8_0 => whisper::convert(from, to, watch),
            #[cfg(feature = "engine")]
            Conversion::GgufRequantiseQ8_0 => gguf::requantise(from, to, watch),
            #[cfg(not(feature = "engine"))]
            Conversion::GgufRequantiseQ8_0 => Err(ConvertError::NotBuilt),
        }
    }

    /// Whether this binary can do it.
    pub fn built(self) -> bool {
        match self {
            Conversion::WhisperCt2GgmlQ8_0 => true,
            Conversion::GgufRequantiseQ8_0 => cfg!(feature = "engine"),
        }
    }
}
