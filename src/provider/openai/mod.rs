//! OpenAI-compatible HTTP services: chat, embeddings, transcription, speech.
//!
//! One form for OpenAI, Ollama, vLLM, llama.cpp's server, Groq, LocalAI, and Voxgate's own engine. It knows
//! their JSON and their streams; it must not know sessions.

mod audio;
mod chat;
mod embed;
mod sse;

pub use audio::{OpenAiSynthesizer, OpenAiTranscriber};
pub use chat::OpenAiChat;
pub use embed::OpenAiEmbedder;

use std::fmt;

use serde_json::Value;

use super::http::{Client, Headers, HttpError, Patience};
use super::{ErrorKind, ProviderError};

/// A service and how to talk to it.
#[derive(Clone)]
pub struct Target {
    /// The route's name in the configuration.
    pub name: String,
    /// Up to and with `/v1`, no slash at its end.
    pub url: String,
    /// The model, in the service's words.
    pub model: Option<String>,
    /// The headers, key included.
    pub headers: Headers,
    /// The key, to be kept out of error texts that quote it.
    pub secret: Option<String>,
    /// How long to wait.
    pub patience: Patience,
    /// The client.
    pub client: Client,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Target {
    /// A service without a key.
    pub fn new(name: impl Into<String>, url: impl Into<String>, client: Client) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            model: None,
            headers: Headers::new(),
            secret: None,
            patience: Patience::default(),
            client,
        }
    }

    fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    fn error(&self, kind: ErrorKind, message: impl Into<String>) -> ProviderError {
        let mut message: String = message.into();
        if let Some(secret) = self.secret.as_ref().filter(|secret| secret.len() > 4) {
            message = message.replace(secret.as_str(), "***");
        }
        ProviderError::new(kind, self.name.as_str(), message)
    }

    /// In the words of providers; an error body in OpenAI's form is said in its own words.
    #[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
    fn failure(&self, error: HttpError) -> ProviderError {
        let HttpError::Status { status, retry_after, body } = &error else {
            return self.error(error.kind(), error.to_string());
        };
        let told = serde_json::from_str::<Value>(body).ok().and_then(|value| problem(&value));
        let (message, code) = told.unwrap_or_else(|| (body.chars().take(200).collect(), String::new()));
        let kind = kind_of(&code).unwrap_or_else(|| error.kind());
        ProviderError { retry_after: *retry_after, ..self.error(kind, format!("status {status}: {message}")) }
    }
}

/// Codes that say more than the status.
fn kind_of(code: &str) -> Option<ErrorKind> {
    match code {
        "model_missing" | "off" => Some(ErrorKind::NotConfigured),
        "busy" | "rate_limit_exceeded" => Some(ErrorKind::RateLimited),
        "invalid_api_key" => Some(ErrorKind::Unauthorized),
        "invalid_request" => Some(ErrorKind::BadRequest),
        _ => None,
    }
}

/// The message and code of an error object: OpenAI's, Ollama's (`{"error": "text"}`), FastAPI's.
fn problem(value: &Value) -> Option<(String, String)> {
    let error = value.get("error").or_else(|| value.get("detail")).filter(|error| !error.is_null())?;
    let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
    let message = error.as_str().map(str::to_owned).or_else(|| text("message")).unwrap_or_else(|| error.to_string());
    Some((message.chars().take(500).collect(), text("code").or_else(|| text("type")).unwrap_or_default()))
}
