//! Deepgram: speech to text over a WebSocket.
//!
//! The utterance goes out in pieces, then word that it is over; what is final comes back piece by piece, and a summary ends it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

use super::http::{Headers, HttpError};
use super::socket::{self, Heard, Hearer, Sayer};
use super::target::{Complaint, Target};
use super::warm::{Opens, Web};
use super::{ErrorKind, ProviderError, Transcriber, Transcript, Utterance};
use crate::domain::UP_RATE;

/// Where the service is.
pub const URL: &str = "https://api.deepgram.com/v1";
/// The model, where none is named: the service wants one.
const MODEL: &str = "nova-3";
/// Samples in one piece: 100 ms. An empty piece would close the stream.
const PIECE: usize = 1_600;
/// Says that the utterance is over: the service tells what it still holds, sums up, and closes.
const OVER: &str = r#"{"type":"CloseStream"}"#;
/// The longest transcript, in bytes.
const LONGEST: usize = 64 << 10;

/// The headers of a request.
pub fn headers(key: Option<&str>) -> Headers {
    key.map_or_else(Headers::new, |key| Headers::new().with("authorization", format!("Token {key}")))
}

/// Speech to text behind `/listen`.
#[derive(Debug, Clone)]
pub struct DeepgramTranscriber {
    target: Target,
}

impl DeepgramTranscriber {
    /// A model of `target`.
    pub fn new(target: Target) -> Self {
        Self { target }
    }
}

#[async_trait]
impl Transcriber for DeepgramTranscriber {
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError> {
        let target = &self.target;
        let query = query(target.model.as_deref().unwrap_or(MODEL), utterance.language.as_deref());
        let url = target.address("listen");
        let opened = socket::open(&target.client, (&url, &query), &target.headers, target.patience).await;
        let (mut sayer, mut hearer) = opened.map_err(|error| target.failure(error))?;
        let saying = async {
            if let Err(error) = say(&mut sayer, &utterance.pcm).await {
                // why it broke is heard on the other side of the same connection
                tracing::debug!(provider = target.name, %error, "an utterance was not sent to its end");
            }
            std::future::pending::<std::convert::Infallible>().await
        };
        tokio::select! {
            never = saying => match never {},
            transcript = self.hear(&mut hearer) => transcript,
        }
    }

    fn ahead(&self) -> Option<Arc<dyn Opens>> {
        Web::socket(&self.target)
    }
}

/// What is sent, and how it is to be heard.
fn query(model: &str, language: Option<&str>) -> Vec<(&'static str, String)> {
    let mut query = vec![
        ("encoding", "linear16".to_owned()),
        ("sample_rate", UP_RATE.to_string()),
        ("channels", "1".to_owned()),
        ("interim_results", "false".to_owned()),
        ("smart_format", "true".to_owned()),
        ("model", model.to_owned()),
    ];
    // Streams are not asked which language they are in: these models hear several at once, the others take English.
    let several = || (model.starts_with("nova-2") || model.starts_with("nova-3")).then_some("multi");
    query.extend(language.or_else(several).map(|language| ("language", language.to_owned())));
    query
}

async fn say(sayer: &mut Sayer, pcm: &[i16]) -> Result<(), HttpError> {
    for piece in pcm.chunks(PIECE) {
        let bytes: Vec<u8> = piece.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        sayer.bytes(Bytes::from(bytes)).await?;
    }
    sayer.text(OVER).await
}

impl DeepgramTranscriber {
    async fn hear(&self, hearer: &mut Hearer) -> Result<Transcript, ProviderError> {
        let target = &self.target;
        let mut transcript = Transcript::default();
        loop {
            match hearer.next().await.map_err(|error| target.failure(error))? {
                Heard::Text(text) => {
                    if self.take(&text, &mut transcript)? {
                        return Ok(transcript);
                    }
                }
                Heard::Bytes(_) => {}
                // also with 1000: the summary comes before the end, and without it words may be missing
                Heard::Closed(code, reason) => return Err(self.closed(code, &reason)),
            }
        }
    }

    /// Takes a message; true when it is the last.
    fn take(&self, text: &str, transcript: &mut Transcript) -> Result<bool, ProviderError> {
        let target = &self.target;
        let message: Value = serde_json::from_str(text)
            .map_err(|error| target.garbled(format!("a piece of the answer is not json: {error}")))?;
        match message.get("type").and_then(Value::as_str) {
            Some("Results") => {
                let channel = message.get("channel").ok_or_else(|| target.garbled("a result has no channel"))?;
                if message.get("is_final").and_then(Value::as_bool) == Some(true) {
                    add(transcript, channel);
                }
                if transcript.text.len() > LONGEST {
                    return Err(target.garbled("the transcript is longer than 64 KB"));
                }
                Ok(false)
            }
            Some("Metadata") => Ok(true),
            Some("Error") => Err(self.refused(&message)),
            Some(_) => Ok(false),
            None => Err(Complaint::read(&message)
                .map_or_else(|| target.garbled("a piece of the answer has no type"), |told| target.complaint(told))),
        }
    }

    fn refused(&self, message: &Value) -> ProviderError {
        let text = ["description", "message", "err_msg"].iter().find_map(|key| message.get(*key)?.as_str());
        let text: String = text.unwrap_or("the service failed and does not say why").chars().take(500).collect();
        self.target.error(ErrorKind::Internal, text)
    }

    /// The service's reasons: `DATA-…` is what was sent, `NET-…` what did not come in time.
    fn closed(&self, code: u16, reason: &str) -> ProviderError {
        let kind = match code {
            _ if reason.starts_with("DATA") => ErrorKind::BadRequest,
            1_002 | 1_003 | 1_007..=1_010 => ErrorKind::BadRequest,
            1_011 if !reason.starts_with("NET") => ErrorKind::Internal,
            _ => ErrorKind::Unavailable,
        };
        self.target.error(kind, format!("the service closed the stream: {code} {reason}").trim_end())
    }
}

/// Adds what is final. A stretch without words has an empty transcript.
fn add(transcript: &mut Transcript, channel: &Value) {
    let best = channel.pointer("/alternatives/0").unwrap_or(&Value::Null);
    let words = best.get("transcript").and_then(Value::as_str).unwrap_or_default().trim();
    if words.is_empty() {
        return;
    }
    if is_spaced(transcript.text.chars().last(), words.chars().next()) {
        transcript.text.push(' ');
    }
    transcript.text.push_str(words);
    if transcript.language.is_none() {
        let language = best.pointer("/languages/0").or_else(|| channel.get("detected_language"));
        transcript.language = language.and_then(Value::as_str).map(str::to_owned);
    }
}

/// Chinese and Japanese are written without spaces.
fn is_spaced(before: Option<char>, after: Option<char>) -> bool {
    let unspaced = |c: char| matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}');
    before.is_some_and(|before| !(unspaced(before) && after.is_some_and(unspaced)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stretches_are_put_together_as_their_language_is_written() {
        let said = |parts: &[&str]| {
            let mut transcript = Transcript::default();
            for part in parts {
                add(&mut transcript, &json!({ "alternatives": [{ "transcript": part, "languages": ["en"] }] }));
            }
            transcript.text
        };
        assert_eq!(said(&["Turn it on.", "", " Now. "]), "Turn it on. Now.");
        assert_eq!(said(&["打开灯。", "现在"]), "打开灯。现在");
        assert_eq!(said(&["안녕", "now"]), "안녕 now");
    }

    #[test]
    fn a_language_that_is_not_known_is_left_to_models_that_hear_several() {
        let language = |model: &str, language: Option<&str>| {
            query(model, language).into_iter().find(|(key, _)| *key == "language").map(|(_, value)| value)
        };
        assert_eq!(language("nova-3", None).as_deref(), Some("multi"));
        assert_eq!(language("nova-3", Some("de")).as_deref(), Some("de"));
        assert_eq!(language("base", None), None);
    }
}
