//! Google's Gemini API: chat, streaming, with tools and pictures.
//!
//! It knows the pieces of `streamGenerateContent` and what they mean; `request` writes the questions, `memory` keeps
//! what a model signs its calls with.

mod memory;
mod request;

use std::sync::Arc;

use serde_json::Value;

use self::memory::Memory;
use super::http::Headers;
use super::reply::{self, Dialect, Progress, Reply, event};
use super::target::{Complaint, Target};
use super::warm::{Opens, Web};
use super::{ChatModel, ChatRequest, ChatStream, ErrorKind, ProviderError};

/// Where the service is.
pub const URL: &str = "https://generativelanguage.googleapis.com/v1beta";

/// The headers of a request: the key is never in the address, which proxies write down.
pub fn headers(key: Option<&str>) -> Headers {
    key.map_or_else(Headers::new, |key| Headers::new().with("x-goog-api-key", key))
}

/// A model behind `:streamGenerateContent`.
#[derive(Debug, Clone)]
pub struct GeminiChat {
    target: Target,
    memory: Arc<Memory>,
}

impl GeminiChat {
    /// A model of `target`.
    pub fn new(target: Target) -> Self {
        Self { target, memory: Arc::default() }
    }
}

impl ChatModel for GeminiChat {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        reply::stream(self.target.clone(), Contents { memory: Arc::clone(&self.memory) }, request)
    }

    fn ahead(&self) -> Option<Arc<dyn Opens>> {
        Web::requests(&self.target)
    }
}

/// Contents.
struct Contents {
    memory: Arc<Memory>,
}

impl Dialect for Contents {
    fn question(&self, target: &Target, request: &ChatRequest) -> (String, Value) {
        let model = target.model.as_deref().unwrap_or_default();
        let model = model.strip_prefix("models/").unwrap_or(model);
        let url = target.address(&format!("models/{model}:streamGenerateContent?alt=sse"));
        (url, request::body(model, request, &self.memory))
    }

    fn take(&mut self, target: &Target, data: &str, reply: &mut Reply) -> Result<Progress, ProviderError> {
        let piece = event(target, data)?;
        if let Some(complaint) = Complaint::read(&piece) {
            return Err(target.complaint(complaint));
        }
        if let Some(reason) = piece.pointer("/promptFeedback/blockReason").and_then(Value::as_str) {
            return Err(target.error(ErrorKind::BadRequest, format!("the question was blocked: {reason}")));
        }
        let candidate = piece.pointer("/candidates/0");
        if candidate.is_none() && piece.get("usageMetadata").is_none() {
            return Err(target.garbled("a piece of the answer has no candidates"));
        }
        let parts = candidate.and_then(|candidate| candidate.pointer("/content/parts")).and_then(Value::as_array);
        for part in parts.map_or(&[][..], Vec::as_slice) {
            self.hear(part, reply).map_err(|what| target.garbled(what))?;
        }
        let reason = candidate.and_then(|candidate| candidate.get("finishReason")).and_then(Value::as_str);
        reason.map_or(Ok(Progress::More), |reason| stop(target, reason, reply))
    }
}

impl Contents {
    /// Words, or a whole call. Thoughts are not said.
    fn hear(&self, part: &Value, reply: &mut Reply) -> Result<(), &'static str> {
        if part.get("thought").and_then(Value::as_bool) == Some(true) {
            return Ok(());
        }
        reply.say(part.get("text").and_then(Value::as_str).unwrap_or_default());
        let Some(call) = part.get("functionCall") else { return Ok(()) };
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let id = self.memory.keep(text(call, "id"), text(part, "thoughtSignature"));
        let arguments = call.get("args").map_or_else(String::new, Value::to_string);
        reply.calls.hear(reply.calls.next_index(), Some(&id), text(call, "name").as_deref(), &arguments)
    }
}

/// Why the answer ends.
fn stop(target: &Target, reason: &str, reply: &mut Reply) -> Result<Progress, ProviderError> {
    match reason {
        "STOP" | "FINISH_REASON_UNSPECIFIED" => {}
        "MAX_TOKENS" => reply.cut(),
        "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" => {
            return Err(target.error(ErrorKind::BadRequest, format!("the answer was blocked: {reason}")));
        }
        _ => return Err(target.garbled(format!("the answer ended with {reason}"))),
    }
    Ok(Progress::Finished)
}
