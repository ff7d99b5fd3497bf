//! One text, made ahead as Opus and kept as a file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use sha2::{Digest, Sha256};

use crate::audio::opus::Encoding;
use crate::audio::packed::{pack, unpack};
use crate::audio::{SpeechEncoder, Workers};
use crate::provider::{SpeechRequest, Synthesizer, Urgency};

/// "Sorry, something went wrong. Please try again.": 24 kHz, 60 ms Opus packets, each behind its length
/// as a big-endian u16. Spoken by the default English voice.
pub(super) const APOLOGY: &[u8] = include_bytes!("../apology.en.opus");
/// "Your call for help has been received.", by the same voice in the same form.
pub(super) const CALL_HEARD: &[u8] = include_bytes!("../sos.en.opus");

/// One text, and its speech.
pub struct Phrase {
    text: String,
    language: Option<String>,
    file: PathBuf,
    frames: Mutex<Vec<Bytes>>,
    /// Another voice said the frames, since its own did not answer. They are better than none, and are not kept.
    lent: AtomicBool,
}

impl Phrase {
    /// Reads what an earlier run made of a text in a language; `built_in` is what is spoken until then.
    pub(super) fn open(
        kind: &str,
        (language, text): (&str, &str),
        voice: &str,
        dir: &Path,
        built_in: Option<&[u8]>,
    ) -> Self {
        let digest = Sha256::digest(format!("{voice}\0{text}").as_bytes());
        let name = digest.iter().take(8).fold(0_u64, |name, byte| name << 8 | u64::from(*byte));
        let file = dir.join(format!("{kind}-{name:016x}.opus"));
        let kept = std::fs::read(&file).ok().and_then(|bytes| unpack(&bytes));
        let frames = kept.or_else(|| unpack(built_in?)).unwrap_or_default();
        let language = Some(language.to_owned()).filter(|language| !language.is_empty());
        Self { text: text.to_owned(), language, file, frames: Mutex::new(frames), lent: AtomicBool::new(false) }
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

    /// Synthesises it and keeps it. Fails without harm when the synthesizer is not there; with one that stands in for it,
    /// there is something to say until it is back.
    pub async fn make(
        &self,
        synthesizer: &dyn Synthesizer,
        workers: &Workers,
        opus: &crate::audio::OpusSettings,
    ) -> Result<(), String> {
        let request = SpeechRequest {
            text: self.text.clone(),
            language: self.language.clone(),
            urgency: Urgency::Background,
            // who stands in is asked once
            alone: self.lent.load(Ordering::Relaxed),
            ..SpeechRequest::default()
        };
        let mut speech = synthesizer.speak(request);
        let mut chunks = Vec::new();
        while let Some(chunk) = speech.next().await {
            chunks.push(chunk.map_err(|error| error.to_string())?);
        }
        let lent = chunks.iter().any(|chunk| chunk.stood_in);
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
        if lent {
            self.lent.store(true, Ordering::Relaxed);
            return Err("another voice stood in".to_owned());
        }
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
        assert!(unpack(APOLOGY).is_some_and(|frames| frames.len() > 20));
        assert!(unpack(CALL_HEARD).is_some_and(|frames| frames.len() > 20));
    }
}
