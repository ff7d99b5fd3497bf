//! What Voxgate asks of the outside: transcription, chat, speech, embeddings.
//!
//! The traits and their one vendor-free error are here; a folder a protocol holds the adapters.
//! Cancelling a call is dropping its future or stream.

pub mod anthropic;
pub mod deepgram;
pub mod edge;
pub mod elevenlabs;
pub mod gemini;
pub mod guarded;
pub mod http;
mod known;
pub mod openai;
pub mod pool;
mod reply;
mod settings;
mod socket;
mod speech;
mod sse;
mod target;
mod turns;
pub mod warm;
pub mod wyoming;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::domain::Current;

pub use known::Known;
pub use settings::{Ability, Backup, Kind, Local, Providers, Service, Settings, SetupError};
pub use target::Target;

/// Why a call failed, whoever the vendor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Nobody answers at the address.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// Too many requests.
    RateLimited,
    /// Nobody is free here: the services are at their limits, and the wait for one would be too long.
    Busy,
    /// The key is missing or wrong.
    Unauthorized,
    /// The service says that the request is wrong: our fault or the configuration's.
    BadRequest,
    /// The service answered, but not in its protocol.
    BadAnswer,
    /// The service failed inside.
    Internal,
    /// No provider is configured (or the model is missing) for this.
    NotConfigured,
}

impl ErrorKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        ErrorKind::Unavailable,
        ErrorKind::Timeout,
        ErrorKind::RateLimited,
        ErrorKind::Busy,
        ErrorKind::Unauthorized,
        ErrorKind::BadRequest,
        ErrorKind::BadAnswer,
        ErrorKind::Internal,
        ErrorKind::NotConfigured,
    ];

    /// What a status of HTTP outside 2xx says.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => ErrorKind::Unauthorized,
            408 | 504 => ErrorKind::Timeout,
            // 402: what was paid for is used up
            402 | 429 => ErrorKind::RateLimited,
            // 529 is "overloaded" where it is used at all
            502 | 503 | 529 => ErrorKind::Unavailable,
            500..=599 => ErrorKind::Internal,
            400..=499 => ErrorKind::BadRequest,
            _ => ErrorKind::BadAnswer,
        }
    }

    /// The label in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Timeout => "timeout",
            ErrorKind::RateLimited => "rate_limited",
            ErrorKind::Busy => "busy",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::BadRequest => "bad_request",
            ErrorKind::BadAnswer => "bad_answer",
            ErrorKind::Internal => "internal",
            ErrorKind::NotConfigured => "not_configured",
        }
    }

    /// Asking again, here or elsewhere, may help.
    pub fn transient(self) -> bool {
        matches!(
            self,
            ErrorKind::Unavailable
                | ErrorKind::Timeout
                | ErrorKind::RateLimited
                | ErrorKind::Busy
                | ErrorKind::Internal
        )
    }
}

/// A failed call. The text is for the log of an operator: never a secret, never spoken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{provider}: {message}")]
pub struct ProviderError {
    /// Why.
    pub kind: ErrorKind,
    /// The route's name in the configuration.
    pub provider: String,
    /// What happened, lowercase, no full stop.
    pub message: String,
    /// The service asked to be left alone for so long.
    pub retry_after: Option<Duration>,
}

impl ProviderError {
    /// A failure of `provider`.
    pub fn new(kind: ErrorKind, provider: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, provider: provider.into(), message: message.into(), retry_after: None }
    }
}

/// Who waits for an answer. Where there is a queue, the first of these goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Urgency {
    /// Somebody who has just spoken.
    #[default]
    Turn,
    /// Somebody who has said nothing just now, and hears something all the same: a greeting, a farewell, how a task ended.
    Greeting,
    /// Nobody: a phrase that is made ahead, a task that the gateway works on by itself.
    Background,
}

/// An utterance as a provider gets it: 16 kHz, mono, signed 16 bit.
#[derive(Debug, Clone, Default)]
pub struct Utterance {
    /// The samples, [`crate::domain::UP_RATE`] a second.
    pub pcm: Arc<[i16]>,
    /// BCP 47, when known.
    pub language: Option<String>,
    /// Who waits for the words.
    pub urgency: Urgency,
}

/// What was understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transcript {
    /// The words, trimmed; empty when there were none.
    pub text: String,
    /// BCP 47, when the service says.
    pub language: Option<String>,
    /// Another service than the one that was to be asked understood it, which caches do not keep.
    pub stood_in: bool,
}

/// Speech to text.
#[async_trait]
pub trait Transcriber: Send + Sync {
    /// The whole utterance in one call.
    async fn transcribe(&self, utterance: Utterance) -> Result<Transcript, ProviderError>;

    /// Everything that decides what it answers (type, address, model, …), without a secret: caches keep its answers under this.
    /// None: nobody knows, and nothing is kept.
    fn identity(&self) -> Option<&str> {
        None
    }

    /// What opens a connection to it ahead of need; none where there is nothing to open.
    fn ahead(&self) -> Option<Arc<dyn warm::Opens>> {
        None
    }
}

/// Who said a chat message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool that the model called.
    Tool,
}

/// A picture, as its file is.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// `image/jpeg`, `image/png`, `image/webp`.
    pub mime: &'static str,
    /// The file.
    pub bytes: bytes::Bytes,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.mime, self.bytes.len())
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who.
    pub role: Role,
    /// What.
    pub content: String,
    /// The tools that the model called with it.
    pub calls: Vec<ToolCall>,
    /// The call that it answers.
    pub answers: Option<String>,
    /// What is shown with it, to a model that sees.
    pub picture: Option<Picture>,
}

impl ChatMessage {
    /// Somebody says something.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), calls: Vec::new(), answers: None, picture: None }
    }

    /// Somebody shows a picture, and says something about it.
    pub fn showing(content: impl Into<String>, picture: Picture) -> Self {
        Self { picture: Some(picture), ..Self::new(Role::User, content) }
    }

    /// The model calls tools, with what it said before.
    pub fn calling(content: impl Into<String>, calls: Vec<ToolCall>) -> Self {
        Self { calls, ..Self::new(Role::Assistant, content) }
    }

    /// A tool answers a call.
    pub fn answering(call: &ToolCall, content: impl Into<String>) -> Self {
        Self { answers: Some(call.id.clone()), ..Self::new(Role::Tool, content) }
    }
}

/// A tool that a model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Letters, digits, `_` and `-`, at most 64 of them.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments: an object.
    pub parameters: serde_json::Value,
}

/// A call that a model makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// By which the answer is told.
    pub id: String,
    /// A [`ToolSpec::name`], as the model writes it.
    pub name: String,
    /// JSON, as the model writes it: it may be none.
    pub arguments: String,
}

/// A request to a chat model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChatRequest {
    /// The conversation, oldest first.
    pub messages: Vec<ChatMessage>,
    /// At most so many tokens of answer.
    pub max_tokens: Option<u32>,
    /// 0.0 is the surest word each time.
    pub temperature: Option<f32>,
    /// What the model may call.
    pub tools: Vec<ToolSpec>,
    /// Who waits for the answer.
    pub urgency: Urgency,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatPiece {
    /// Some words.
    Text(String),
    /// The answer ended at `max_tokens`, most likely in mid-sentence.
    Cut,
    /// The model calls a tool, and waits for its answer.
    Call(ToolCall),
    /// Nothing of the answer: it is another model's than the one that was to be asked, which caches do not keep. Comes first.
    StoodIn,
}

impl<T: Into<String>> From<T> for ChatPiece {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

/// Pieces of an answer, as they come. Ends with the answer; an error is the last item.
pub type ChatStream = BoxStream<'static, Result<ChatPiece, ProviderError>>;

/// A chat model.
pub trait ChatModel: Send + Sync {
    /// Streams the answer.
    fn chat(&self, request: ChatRequest) -> ChatStream;

    /// See [`Transcriber::identity`].
    fn identity(&self) -> Option<&str> {
        None
    }

    /// What opens a connection to it ahead of need; none where there is nothing to open.
    fn ahead(&self) -> Option<Arc<dyn warm::Opens>> {
        None
    }
}

impl ChatModel for Current<dyn ChatModel> {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        self.now().chat(request)
    }
}

/// A piece of speech.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PcmChunk {
    /// Samples a second, mono.
    pub rate: u32,
    /// Signed 16 bit.
    pub samples: Vec<i16>,
    /// It is another voice than the one that was asked for, which caches do not keep: said with the first chunk of an answer.
    pub stood_in: bool,
}

/// A request for speech.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpeechRequest {
    /// What to say: one clause or sentence.
    pub text: String,
    /// The voice, in the provider's words.
    pub voice: Option<String>,
    /// BCP 47.
    pub language: Option<String>,
    /// Who waits for it.
    pub urgency: Urgency,
    /// Nobody stands in: it is to be kept, and another voice would not be.
    pub alone: bool,
}

/// Speech as it is made. Ends with the speech; an error is the last item.
pub type SpeechStream = BoxStream<'static, Result<PcmChunk, ProviderError>>;

/// Text to speech.
pub trait Synthesizer: Send + Sync {
    /// Streams the speech.
    fn speak(&self, request: SpeechRequest) -> SpeechStream;

    /// See [`Transcriber::identity`].
    fn identity(&self) -> Option<&str> {
        None
    }

    /// What opens a connection to it ahead of need; none where there is nothing to open.
    fn ahead(&self) -> Option<Arc<dyn warm::Opens>> {
        None
    }
}

/// Text to vectors.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// One vector a text, all of one length.
    async fn embed(&self, texts: Vec<String>, urgency: Urgency) -> Result<Vec<Vec<f32>>, ProviderError>;

    /// See [`Transcriber::identity`].
    fn identity(&self) -> Option<&str> {
        None
    }
}
