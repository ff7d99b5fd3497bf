//! Transcription (`/audio/transcriptions`) and speech (`/audio/speech`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use serde_json::{Value, json};

use super::Target;
use super::upload::{self, File};
use crate::audio::Workers;
use crate::provider::http::{ByteStream, json as read_json};
use crate::provider::reply::event;
use crate::provider::sse::Events;
use crate::provider::target::Complaint;
use crate::provider::warm::{Opens, Web};
use crate::provider::{
    ErrorKind, ProviderError, SpeechRequest, SpeechStream, Synthesizer, Transcriber, Transcript, Utterance, speech,
};

/// The longest transcript, in bytes.
const LONGEST: usize = 64 << 10;

/// Speech to text behind `/audio/transcriptions`.
#[derive(Debug, Clone)]
pub struct OpenAiTranscriber {
    target: Target,
    /// Ogg Opus is sent instead of samples; encoded here.
    ogg: Option<Workers>,
    /// The answer is asked for in pieces, until the service is found not to know that.
    streams: Arc<AtomicBool>,
}

impl OpenAiTranscriber {
    /// A model of `target`.
    pub fn new(target: Target) -> Self {
        Self { target, ogg: None, streams: Arc::default() }
    }

    /// Sends Ogg Opus, encoded by `workers`, instead of samples.
    #[must_use]
    pub fn with_ogg(self, workers: Workers) -> Self {
        Self { ogg: Some(workers), ..self }
    }

    /// Asks for the answer in pieces.
    #[must_use]
    pub fn streaming(self) -> Self {
        self.streams.store(true, Ordering::Relaxed);
        self
    }

    async fn file(&self, utterance: &Utterance) -> Result<File, ProviderError> {
        let Some(workers) = &self.ogg else { return Ok(File::wav(&utterance.pcm)) };
        let pcm = Arc::clone(&utterance.pcm);
        let failed = |error: String| self.target.error(ErrorKind::Internal, format!("no ogg of an utterance: {error}"));
        let file = workers.run(move || File::ogg(&pcm)).await.map_err(|error| failed(error.to_string()))?;
        file.map_err(|error| failed(error.to_string()))
    }

    async fn ask(&self, file: &File, language: Option<&str>, streams: bool) -> Result<ByteStream, ProviderError> {
        let target = &self.target;
        let model = target.model.as_deref().unwrap_or("whisper-1");
        let stream = streams.then_some("true");
        let form = file.form(&[
            ("model", Some(model)),
            ("response_format", Some("json")),
            ("language", language),
            ("stream", stream),
        ]);
        let url = target.address("audio/transcriptions");
        let body = target.client.post_bytes(&url, &target.headers, &upload::kind(), form, target.patience).await;
        body.map_err(|error| target.failure(error))
    }
}

#[async_trait]
impl Transcriber for OpenAiTranscriber {
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
        let file = self.file(&utterance).await?;
        // Services want `en`, not `en-GB`.
        let language = utterance.language.as_deref().and_then(|tag| tag.split('-').next());
        let streams = self.streams.load(Ordering::Relaxed);
        let body = match self.ask(&file, language, streams).await {
            Err(refused) if streams && refused.kind == ErrorKind::BadRequest && refused.message.contains("stream") => {
                self.streams.store(false, Ordering::Relaxed);
                self.ask(&file, language, false).await?
            }
            body => body?,
        };
        read(&self.target, body).await
    }

    fn ahead(&self) -> Option<Arc<dyn Opens>> {
        Web::requests(&self.target)
    }
}

/// Reads an answer: in pieces, or whole from a service or a model that makes none, whatever it was asked for.
async fn read(target: &Target, mut body: ByteStream) -> Result<Transcript, ProviderError> {
    let mut head = Vec::new();
    while head.iter().all(u8::is_ascii_whitespace) {
        match body.next().await {
            Some(piece) => head.extend_from_slice(&piece.map_err(|error| target.failure(error))?),
            None => return Err(target.garbled("the answer is empty")),
        }
    }
    let pieces = head.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{');
    let body = futures::stream::once(async { Ok(head.into()) }).chain(body).boxed();
    if pieces { hear(target, body).await } else { whole(target, body).await }
}

async fn whole(target: &Target, body: ByteStream) -> Result<Transcript, ProviderError> {
    let answer = read_json(body).await.map_err(|error| target.failure(error))?;
    let text = answer.get("text").and_then(Value::as_str);
    let text = text.ok_or_else(|| target.error(ErrorKind::BadAnswer, "the answer has no text"))?;
    let language = answer.get("language").and_then(Value::as_str).map(str::to_owned);
    Ok(Transcript { text: text.trim().to_owned(), language, stood_in: false })
}

/// Hears an answer in pieces: those that say more, and one that says it all at the end.
async fn hear(target: &Target, mut body: ByteStream) -> Result<Transcript, ProviderError> {
    let (mut events, mut text) = (Events::default(), String::new());
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| target.failure(error))?;
        for data in events.push(&piece).map_err(|error| target.garbled(error))? {
            if let Some(transcript) = take(target, &data, &mut text)? {
                return Ok(transcript);
            }
        }
    }
    for data in events.finish().map_err(|error| target.garbled(error))? {
        if let Some(transcript) = take(target, &data, &mut text)? {
            return Ok(transcript);
        }
    }
    Err(target.error(ErrorKind::Unavailable, "the answer broke off"))
}

/// Takes an event; gives the transcript with the last.
fn take(target: &Target, data: &str, text: &mut String) -> Result<Option<Transcript>, ProviderError> {
    let transcript = |text: &str| Some(Transcript { text: text.trim().to_owned(), ..Transcript::default() });
    if data.trim() == "[DONE]" {
        return Ok(transcript(text));
    }
    let event = event(target, data)?;
    if let Some(complaint) = Complaint::read(&event) {
        return Err(target.complaint(complaint));
    }
    let words = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
    let choices = event.get("choices").and_then(Value::as_array);
    match event.get("type").and_then(Value::as_str) {
        Some("transcript.text.delta") => text.push_str(words("delta")),
        Some("transcript.text.done") => return Ok(transcript(words("text"))),
        Some(_) => {}
        // vLLM's pieces are those of a chat
        None if choices.is_some() => {
            let delta = choices.and_then(|choices| choices.first()?.pointer("/delta/content")?.as_str());
            text.push_str(delta.unwrap_or_default());
        }
        None => return Err(target.garbled("a piece of the answer has no type")),
    }
    if text.len() > LONGEST {
        return Err(target.garbled("the transcript is longer than 64 KB"));
    }
    Ok(None)
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

    fn ahead(&self) -> Option<Arc<dyn Opens>> {
        Web::requests(&self.target)
    }
}
