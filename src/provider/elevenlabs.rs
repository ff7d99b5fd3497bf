//! ElevenLabs: text to speech, streaming, as raw samples.

use std::sync::Arc;

use futures::StreamExt;
use serde_json::json;

use super::http::Headers;
use super::target::Target;
use super::warm::{Opens, Web};
use super::{ErrorKind, SpeechRequest, SpeechStream, Synthesizer, speech};

/// Where the service is.
pub const URL: &str = "https://api.elevenlabs.io/v1";
/// Samples a second that the service makes.
pub const RATES: [u32; 6] = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000];

/// The headers of a request.
pub fn headers(key: Option<&str>) -> Headers {
    key.map_or_else(Headers::new, |key| Headers::new().with("xi-api-key", key))
}

/// A voice's id: it stands in the address, so nothing else may.
pub fn is_voice(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Text to speech behind `/text-to-speech/{voice}/stream`.
#[derive(Debug, Clone)]
pub struct ElevenLabsSynthesizer {
    target: Target,
    voice: String,
    rate: u32,
}

impl ElevenLabsSynthesizer {
    /// A voice of `target` that makes `rate` samples a second, which is one of [`RATES`].
    pub fn new(target: Target, voice: impl Into<String>, rate: u32) -> Self {
        Self { target, voice: voice.into(), rate }
    }
}

impl Synthesizer for ElevenLabsSynthesizer {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        let (target, rate) = (self.target.clone(), self.rate);
        let voice = request.voice.as_deref().unwrap_or(&self.voice);
        if !is_voice(voice) {
            let error = target.error(ErrorKind::BadRequest, format!("{voice:?} is no id of a voice"));
            return futures::stream::once(async { Err(error) }).boxed();
        }
        let mut call = json!({ "text": request.text });
        if let Some(model) = &target.model {
            call["model_id"] = model.as_str().into();
        }
        let language = request.language.as_deref().and_then(|tag| tag.split('-').next());
        if let Some(language) = language.filter(|_| takes_language(target.model.as_deref())) {
            call["language_code"] = language.into();
        }
        let url = target.address(&format!("text-to-speech/{voice}/stream?output_format=pcm_{rate}"));
        speech::stream(target, url, call, rate)
    }

    fn ahead(&self) -> Option<Arc<dyn Opens>> {
        Web::requests(&self.target)
    }
}

/// Other models answer with an error when they are told a language; they find it in the text.
fn takes_language(model: Option<&str>) -> bool {
    model.is_some_and(|model| model.ends_with("_v2_5"))
}
