//! Transcription (`/audio/transcriptions`) and speech (`/audio/speech`).

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use super::Target;
use crate::domain::UP_RATE;
use crate::provider::http::json as read_json;
use crate::provider::{
    ErrorKind, ProviderError, SpeechRequest, SpeechStream, Synthesizer, Transcriber, Transcript, Utterance, speech,
};

/// Separates the parts of a form; no sound and no name contains it.
const BOUNDARY: &str = "voxgate-6f1d2c8e4b7a4f0d9c55";

/// Speech to text behind `/audio/transcriptions`.
#[derive(Debug, Clone)]
pub struct OpenAiTranscriber {
    target: Target,
}

impl OpenAiTranscriber {
    /// A model of `target`.
    pub fn new(target: Target) -> Self {
        Self { target }
    }
}

#[async_trait]
impl Transcriber for OpenAiTranscriber {
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
        let target = &self.target;
        let model = target.model.as_deref().unwrap_or("whisper-1");
        // Services want `en`, not `en-GB`.
        let language = utterance.language.as_deref().and_then(|tag| tag.split('-').next());
        let form = form(&utterance.pcm, model, language);
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let url = target.address("audio/transcriptions");
        let body = target.client.post_bytes(&url, &target.headers, &kind, form, target.patience).await;
        let answer = read_json(body.map_err(|e| target.failure(e))?).await.map_err(|e| target.failure(e))?;
        let text = answer.get("text").and_then(Value::as_str);
        let text = text.ok_or_else(|| target.error(ErrorKind::BadAnswer, "the answer has no text"))?;
        let language = answer.get("language").and_then(Value::as_str).map(str::to_owned);
        Ok(Transcript { text: text.trim().to_owned(), language })
    }
}

fn form(pcm: &[i16], model: &str, language: Option<&str>) -> Bytes {
    let mut form = Vec::with_capacity(pcm.len() * 2 + 1_024);
    let fields = [("model", Some(model)), ("response_format", Some("json")), ("language", language)];
    for (name, value) in fields {
        // A line break in a value would end the field.
        if let Some(value) = value.filter(|value| !value.contains(['\r', '\n'])) {
            let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            form.extend_from_slice(part.as_bytes());
        }
    }
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"speech.wav\"\r\n\
         Content-Type: audio/wav\r\n\r\n"
    );
    form.extend_from_slice(head.as_bytes());
    form.extend_from_slice(&wav_header(pcm.len()));
    form.extend(pcm.iter().flat_map(|s| s.to_le_bytes()));
    form.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    form.into()
}

/// RIFF, 16 kHz, mono, 16 bit.
fn wav_header(samples: usize) -> Vec<u8> {
    let bytes = u32::try_from(samples * 2).unwrap_or(u32::MAX - 36);
    let mut header = Vec::with_capacity(44);
    header.extend_from_slice(b"RIFF");
    header.extend_from_slice(&(bytes + 36).to_le_bytes());
    header.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    header.extend_from_slice(&UP_RATE.to_le_bytes());
    header.extend_from_slice(&(UP_RATE * 2).to_le_bytes());
    header.extend_from_slice(b"\x02\0\x10\0data");
    header.extend_from_slice(&bytes.to_le_bytes());
    header
}

/// Text to speech behind `/audio/speech`, as raw samples.
#[derive(Debug, Clone)]
pub struct OpenAiSynthesizer {
    target: Target,
    voice: Option<String>,
    rate: u32,
}

impl OpenAiSynthesizer {
    /// A voice of `target` that makes `rate` samples a second.
    pub fn new(target: Target, voice: Option<String>, rate: u32) -> Self {
        Self { target, voice, rate }
    }
}

impl Synthesizer for OpenAiSynthesizer {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        let voice = request.voice.or_else(|| self.voice.clone()).unwrap_or_else(|| "alloy".into());
        let model = self.target.model.clone().unwrap_or_else(|| "tts-1".into());
        let call = json!({ "model": model, "input": request.text, "voice": voice, "response_format": "pcm" });
        speech::stream(self.target.clone(), self.target.address("audio/speech"), call, self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wav_that_is_sent_reads_back() {
        let pcm = [1_i16, -2, 3];
        let mut wav = wav_header(pcm.len());
        wav.extend(pcm.iter().flat_map(|s| s.to_le_bytes()));
        let reader = hound::WavReader::new(std::io::Cursor::new(wav)).map_err(|e| e.to_string());
        let read = reader.map(|reader| (reader.spec(), reader.into_samples::<i16>().flatten().collect::<Vec<_>>()));
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        assert_eq!(read, Ok((spec, pcm.to_vec())));
    }
}
