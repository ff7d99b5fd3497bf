//! What is said again and again, made ahead and kept as Opus: the apology for a stage that failed, a greeting, a farewell.
//!
//! Each is synthesised when a synthesizer first answers and kept as a file, so that it is spoken at once, without any
//! provider, also after a restart with the engine gone. Until then the apology is the one that comes with the binary.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use sha2::{Digest, Sha256};

use crate::audio::opus::Encoding;
use crate::audio::packed::{pack, unpack};
use crate::audio::{SpeechEncoder, Workers};
use crate::provider::{SpeechRequest, Synthesizer};

/// "Sorry, something went wrong. Please try again.": 24 kHz, 60 ms Opus packets, each behind its length
/// as a big-endian u16. Spoken by the default English voice.
const BUILT_IN: &[u8] = include_bytes!("apology.en.opus");
/// "Your call for help has been received.", by the same voice in the same form.
const CALL_HEARD: &[u8] = include_bytes!("sos.en.opus");

/// What is made ahead.
pub struct Phrases {
    apology: Phrase,
    sos: Phrase,
    others: Vec<Phrase>,
}

impl Phrases {
    /// The apology, what is said when somebody called for help, and texts that are said as they are; those that are empty are none. `voice` is who speaks them, `dir`
    /// where they are kept.
    pub fn open(apology: &str, sos: &str, others: &[&str], voice: &str, dir: &Path) -> Self {
        let open = |text: &&str| Phrase::open("phrase", text, voice, dir, None);
        let others = others.iter().filter(|text| !text.trim().is_empty()).map(open).collect();
        let apology = Phrase::open("apology", apology, voice, dir, unpack(BUILT_IN));
        Self { apology, sos: Phrase::open("sos", sos, voice, dir, unpack(CALL_HEARD)), others }
    }

    /// What is said when somebody called for help.
    pub fn sos(&self) -> &Phrase {
        &self.sos
    }

    /// The gateway's own words, made or not.
    pub fn knows(&self, text: &str) -> bool {
        self.others.iter().any(|phrase| phrase.text == text)
    }

    /// What is said when a stage fails.
    pub fn apology(&self) -> &Phrase {
        &self.apology
    }

    /// The frames of a text that is said as it is, when they are made.
    pub fn find(&self, text: &str) -> Option<Vec<Bytes>> {
        self.others.iter().find(|phrase| phrase.text == text).map(Phrase::frames).filter(|frames| !frames.is_empty())
    }

    /// Those that this configuration's own synthesizer has not made yet.
    pub fn unmade(&self) -> impl Iterator<Item = &Phrase> {
        [&self.apology, &self.sos].into_iter().chain(&self.others).filter(|phrase| !phrase.made())
    }
}

/// One text, and its speech.
pub struct Phrase {
    text: String,
    file: PathBuf,
    frames: Mutex<Vec<Bytes>>,
}

impl Phrase {
    /// Reads what an earlier run made; `built_in` is what is spoken until then.
    fn open(kind: &str, text: &str, voice: &str, dir: &Path, built_in: Option<Vec<Bytes>>) -> Self {
        let digest = Sha256::digest(format!("{voice}\0{text}").as_bytes());
        let name = digest.iter().take(8).fold(0_u64, |name, byte| name << 8 | u64::from(*byte));
        let file = dir.join(format!("{kind}-{name:016x}.opus"));
        let kept = std::fs::read(&file).ok().and_then(|bytes| unpack(&bytes));
        let frames = kept.or(built_in).unwrap_or_default();
        Self { text: text.to_owned(), file, frames: Mutex::new(frames) }
    }

    /// The words.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The frames: 24 kHz, 60 ms each.
    pub fn frames(&self) -> Vec<Bytes> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It was made by this configuration's own synthesizer.
    pub fn made(&self) -> bool {
        self.file.is_file()
    }

    /// Synthesises it and keeps it. Fails without harm when the synthesizer is not there.
    pub async fn make(
        &self,
        synthesizer: &dyn Synthesizer,
        request: SpeechRequest,
        workers: &Workers,
        opus: &crate::audio::OpusSettings,
    ) -> Result<(), String> {
        let mut speech = synthesizer.speak(SpeechRequest { text: self.text.clone(), ..request });
        let mut chunks = Vec::new();
        while let Some(chunk) = speech.next().await {
            chunks.push(chunk.map_err(|error| error.to_string())?);
        }
        let opus = opus.clone();
        let encode = move || -> Result<Vec<Bytes>, String> {
            let encoding = Encoding::down(opus.bitrate, opus.complexity);
            let mut encoder = SpeechEncoder::new(encoding).map_err(|error| error.to_string())?;
            let mut frames = Vec::new();
            for chunk in chunks {
                frames.extend(encoder.push(chunk.rate, &chunk.samples).map_err(|error| error.to_string())?);
            }
            frames.extend(encoder.flush().map_err(|error| error.to_string())?);
            Ok(frames.into_iter().map(|frame| frame.packet).collect())
        };
        let frames = workers.run(encode).await.map_err(|error| error.to_string())??;
        if frames.is_empty() {
            return Err("the synthesizer made no sound".to_owned());
        }
        let packed = pack(&frames);
        *self.frames.lock().unwrap_or_else(PoisonError::into_inner) = frames;
        let file = self.file.clone();
        let kept = workers.run(move || keep(&file, &packed)).await.map_err(|error| error.to_string())?;
        kept.map_err(|error| format!("{}: {error}", self.file.display()))
    }
}

fn keep(file: &Path, packed: &[u8]) -> std::io::Result<()> {
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let partial = file.with_extension("part");
    std::fs::write(&partial, packed)?;
    std::fs::rename(&partial, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_whole() {
        assert!(unpack(BUILT_IN).is_some_and(|frames| frames.len() > 20));
        assert!(unpack(CALL_HEARD).is_some_and(|frames| frames.len() > 20));
    }
}
