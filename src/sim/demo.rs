//! `voxgate demo`: one simulated device asks one question through the real broker; what it hears is written
//! to a WAV.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use super::device::{Arrived, Device, DeviceError, Login};
use super::script::{Script, ScriptError};
use super::turn::{self, Turn};
use crate::audio::opus::OpusError;
use crate::audio::{opus, resample, wav};
use crate::domain::{DOWN_RATE, Downlink, ListenMode, Message, UP_RATE};
use crate::provider::{SpeechRequest, Synthesizer};

/// The question that is asked when no WAV is given.
pub const QUESTION: &str = "Can you explain why the sky is blue?";

/// Why a demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The question.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The question could not be spoken.
    #[error("the question could not be spoken by the local voice: {0}; give one with --wav FILE")]
    Question(String),
    /// The answer is no Opus.
    #[error("the answer cannot be decoded: {0}")]
    Opus(#[from] OpusError),
    /// The answer could not be written.
    #[error("the answer could not be written: {0}")]
    Write(String),
}

/// Makes the question with the configured voice.
pub async fn question(synthesizer: &dyn Synthesizer) -> Result<Script, DemoError> {
    Ok(Script::from_pcm(&spoken(synthesizer, QUESTION).await?, "the spoken question")?)
}

/// A text in the configured voice: 16 kHz.
pub async fn spoken(synthesizer: &dyn Synthesizer, text: &str) -> Result<Vec<i16>, DemoError> {
    let request = SpeechRequest { text: text.to_owned(), ..SpeechRequest::default() };
    let mut speech = synthesizer.speak(request);
    let (mut rate, mut samples) = (UP_RATE, Vec::new());
    while let Some(chunk) = speech.next().await {
        let chunk = chunk.map_err(|error| DemoError::Question(error.to_string()))?;
        rate = chunk.rate;
        samples.extend(chunk.samples);
    }
    resample::resample(rate, UP_RATE, &samples).map_err(|error| DemoError::Question(error.to_string()))
}

/// Asks; tells each thing that happens to `tell`.
pub async fn ask(
    login: &Login,
    script: &Script,
    ahead: u32,
    mut tell: impl FnMut(&str) + Send,
) -> Result<Turn, DemoError> {
    let mut device = Device::connect(login, Duration::from_secs(10)).await?;
    let mut watch = |arrived: &Arrived| {
        if let Downlink::Control { message, .. } = &arrived.downlink
            && let Some(line) = line(message)
        {
            tell(&line);
        }
    };
    let turn = turn::run(&mut device, script, ListenMode::Auto, ahead, &mut watch).await;
    device.disconnect().await;
    Ok(turn?)
}

fn line(message: &Message) -> Option<String> {
    match message {
        Message::Stt { text, .. } => Some(format!("heard: {text}")),
        Message::TtsSentence { text, .. } => Some(format!("says:  {text}")),
        Message::Error { code, message } => Some(format!("error: {code}: {message}")),
        Message::TtsStop { reason, .. } => Some(format!("done:  {reason:?}")),
        _ => None,
    }
}

/// Writes Opus frames as a WAV of 24 kHz; returns its length in seconds.
pub fn write_answer(path: &Path, frames: &[Bytes]) -> Result<f64, DemoError> {
    let samples = opus::decode_all(DOWN_RATE, frames)?;
    wav::write(path, DOWN_RATE, &samples).map_err(|error| DemoError::Write(format!("{}: {error}", path.display())))?;
    Ok(samples.len() as f64 / f64::from(DOWN_RATE))
}
