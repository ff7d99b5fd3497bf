//! Text to speech, whatever makes it: a [`Speaker`] a voice.
//!
//! Knows text and samples, and how to cut text into what is said at a time. It must not know protocols.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::EngineError;
use super::piper::{self, Piper};
use super::speech::{self, SpeechError};
use super::station::Model;

/// A voice.
pub trait Speaker: Send + Sync {
    /// Samples a second of what it makes.
    fn rate(&self) -> u32;
    /// Says a sentence: mono, signed 16 bit. Blocks; uses one core.
    fn say(&self, text: &str) -> Result<Vec<i16>, EngineError>;
    /// BCP 47 of what it reads well.
    fn languages(&self) -> Vec<String>;
}

/// A voice that several threads use.
pub struct Voice(pub Box<dyn Speaker>);

impl Model for Voice {
    type Worker = Arc<Voice>;

    fn worker(self: &Arc<Self>) -> Result<Arc<Voice>, EngineError> {
        Ok(Arc::clone(self))
    }
}

impl Speaker for speech::Voice {
    fn rate(&self) -> u32 {
        speech::RATE
    }

    fn say(&self, text: &str) -> Result<Vec<i16>, EngineError> {
        match self.synthesize(text) {
            // A sentence of emoji between two others is passed over.
            Err(SpeechError::Unspeakable) => Ok(Vec::new()),
            said => said.map_err(|error| EngineError::Failed(error.to_string())),
        }
    }

    fn languages(&self) -> Vec<String> {
        vec!["en".into()]
    }
}

impl Voice {
    /// The voice of a folder: one of Piper's, else the built-in one.
    pub fn load(dir: &Path, speaker: Option<&str>) -> Result<Self, EngineError> {
        if piper::files(dir).is_some() {
            return Ok(Self(Box::new(Piper::load(dir, speaker)?)));
        }
        if !dir.join(speech::FILES[0].1).is_file() {
            let what = "no voice: neither NAME.onnx with NAME.onnx.json (Piper) nor hibari.onnx";
            return Err(EngineError::Load(format!("{} has {what}", dir.display())));
        }
        let wrong = |error: SpeechError| EngineError::Load(format!("{}: {error}", dir.display()));
        Ok(Self(Box::new(speech::Voice::load(dir).map_err(wrong)?)))
    }
}

/// The program espeak-ng: robotic, but any language; run, never linked.
pub struct Espeak;

/// espeak-ng writes WAV files with this rate.
const ESPEAK_RATE: u32 = 22_050;

impl Espeak {
    /// It is installed and answers.
    pub fn find() -> Result<Self, EngineError> {
        let run = Command::new("espeak-ng").arg("--version").stdin(Stdio::null()).output();
        match run {
            Ok(out) if out.status.success() => Ok(Self),
            _ => Err(EngineError::Missing(
                "missing: install espeak-ng, or run `voxgate models pull` and set engine.voice = \"hibari\"".into(),
            )),
        }
    }
}

impl Speaker for Espeak {
    fn rate(&self) -> u32 {
        ESPEAK_RATE
    }

    fn say(&self, text: &str) -> Result<Vec<i16>, EngineError> {
        let failed = |e: &dyn std::fmt::Display| EngineError::Failed(format!("espeak-ng: {e}"));
        // The text goes by stdin: a command line is seen by everybody on the machine.
        let mut child = Command::new("espeak-ng")
            .args(["--stdin", "--stdout", "-v", "en-us"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| failed(&e))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes()).map_err(|e| failed(&e))?;
        }
        let mut wav = Vec::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_end(&mut wav).map_err(|e| failed(&e))?;
        }
        let status = child.wait().map_err(|e| failed(&e))?;
        if !status.success() {
            return Err(failed(&status));
        }
        // The header of a stream has no true length: all after the 44 bytes of it is sound.
        Ok(wav.get(44..).unwrap_or_default().chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect())
    }

    fn languages(&self) -> Vec<String> {
        vec!["en".into()]
    }
}

/// So many characters are said at a time at most.
const LONGEST: usize = 240;

/// Cuts text where a voice would breathe: at sentence ends, and long sentences at commas or spaces.
pub fn sentences(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut sentence = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        sentence.push(if c.is_control() { ' ' } else { c });
        let ends = matches!(c, '。' | '！' | '？' | '\n')
            || matches!(c, '.' | '!' | '?' | ';') && chars.peek().is_none_or(|next| next.is_whitespace());
        let long = sentence.chars().count() >= LONGEST && matches!(c, ',' | '，' | ':' | ' ')
            || sentence.chars().count() >= LONGEST * 2;
        if ends || long {
            close(&mut all, &mut sentence);
        }
    }
    close(&mut all, &mut sentence);
    all
}

fn close(all: &mut Vec<String>, sentence: &mut String) {
    if sentence.chars().any(char::is_alphanumeric) {
        all.push(sentence.trim().to_owned());
    }
    sentence.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_where_a_voice_would_breathe() {
        assert_eq!(sentences("It is 3.5 degrees. Take a coat!  "), ["It is 3.5 degrees.", "Take a coat!"]);
        assert_eq!(sentences("你好。再见"), ["你好。", "再见"]);
        assert!(sentences(" ... \n!?").is_empty());
    }

    #[test]
    fn a_text_without_an_end_is_cut_too() {
        let words = "word ".repeat(400);
        let parts = sentences(&words);
        assert!(parts.len() > 5 && parts.iter().all(|p| p.chars().count() <= LONGEST * 2));
        assert!(sentences(&"x".repeat(5_000)).iter().all(|p| p.chars().count() <= LONGEST * 2));
        assert_eq!(parts.join(" ").split_whitespace().count(), 400);
    }
}
