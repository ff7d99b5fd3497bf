//! The built-in English voice: text in, 24 kHz samples out.
//!
//! An own implementation of what the package `hibari-tts` 0.2.1 (`PyPI`, Apache-2.0) computes, run on its
//! data files; `docs/decisions/04-voice.md` says what was taken as facts. In order of the work:
//! `normalise` (written to spoken words), `tagger` (parts of speech), `pronounce` with `lexicon` and
//! `unknown` (words to phonemes), `acoustic` (phonemes to spectra), `vocode` (spectra to samples), then
//! `engine::level` (silence and loudness). It knows nothing of providers, protocols or the runtime: plain CPU work.

mod acoustic;
mod files;
mod letters;
mod lexicon;
mod normalise;
mod numbers;
mod pronounce;
mod sounds;
mod tagger;
mod token;
mod unknown;
mod vocode;
mod voice;

pub use files::FILES;
pub use voice::{MAX_TEXT, Voice};

/// Samples a second of everything the voice says (mono).
pub const RATE: u32 = 24_000;

/// Why the voice could not be loaded or could not speak.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    /// A file of the voice could not be read: not pulled yet, or no permission.
    #[error("voice file {file} cannot be read: {source}")]
    Unreadable {
        /// The file's name in the voice's folder.
        file: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the voice is not what it should be: cut short, or of another version.
    #[error("voice file {file} is damaged: {reason}")]
    Damaged {
        /// The file's name in the voice's folder.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A network refused to run: a defect, or out of memory.
    #[error("speech network {file} failed: {reason}")]
    Network {
        /// The network's file name.
        file: &'static str,
        /// What the runtime said.
        reason: String,
    },
    /// Nothing in the text can be said in English: empty, only emoji, another script.
    #[error("nothing in the text can be spoken")]
    Unspeakable,
}
