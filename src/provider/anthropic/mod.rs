//! Anthropic's Messages API: chat, streaming, with tools and pictures.
//!
//! It knows the events of `/v1/messages` and what they mean; `request` writes the questions.

mod request;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::http::Headers;
use super::reply::{self, Dialect, Progress, Reply, event};
use super::target::{Complaint, Target};
use super::warm::{Opens, Web};
use super::{ChatModel, ChatRequest, ChatStream, ErrorKind, ProviderError};

/// Where the service is.
pub const URL: &str = "https://api.anthropic.com/v1";
/// The version of the API that is spoken here.
const VERSION: &str = "2023-06-01";

/// The headers of a request.
pub fn headers(key: Option<&str>) -> Headers {
    let headers = Headers::new().with("anthropic-version", VERSION);
    match key {
        Some(key) => headers.with("x-api-key", key),
        None => headers,
    }
}

/// A model behind `/messages`.
#[derive(Debug, Clone)]
pub struct AnthropicChat {
    target: Target,
    /// The model takes no temperature: newer ones refuse it.
    fixed: Arc<AtomicBool>,
}

impl AnthropicChat {
    /// A model of `target`.
    pub fn new(target: Target) -> Self {
        Self { target, fixed: Arc::default() }
    }
}

impl ChatModel for AnthropicChat {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        let warm = !self.fixed.load(Ordering::Relaxed);
        reply::stream(self.target.clone(), Messages { warm, fixed: Arc::clone(&self.fixed) }, request)
    }

    fn ahead(&self) -> Option<Arc<dyn Opens>> {
        Web::requests(&self.target)
    }
}

/// Messages.
struct Messages {
    /// This question goes with a temperature.
    warm: bool,
    fixed: Arc<AtomicBool>,
}

impl Dialect for Messages {
    fn question(&self, target: &Target, request: &ChatRequest) -> (String, Value) {
        let temperature = request.temperature.filter(|_| self.warm);
        (target.address("messages"), request::body(target, request, temperature))
    }

    fn relents(&mut self, refused: &ProviderError) -> bool {
        let cold = refused.kind == ErrorKind::BadRequest && refused.message.contains("temperature");
        if cold {
            self.fixed.store(true, Ordering::Relaxed);
        }
        cold && std::mem::take(&mut self.warm)
    }

    fn take(&mut self, target: &Target, data: &str, reply: &mut Reply) -> Result<Progress, ProviderError> {
        let event = event(target, data)?;
        match event.get("type").and_then(Value::as_str) {
            Some("content_block_start") => begin(&event, reply).map_err(|what| target.garbled(what))?,
            Some("content_block_delta") => go_on(&event, reply).map_err(|what| target.garbled(what))?,
            Some("message_delta") => return stop(target, &event, reply),
            Some("message_stop") => return Ok(Progress::Over),
            Some("error") => return Err(failure(target, &event)),
            Some("message") => return Err(target.garbled("the answer does not stream")),
            // pings, starts and ends that say nothing here, and what is new
            Some(_) => {}
            None => return Err(target.garbled("a piece of the answer has no type")),
        }
        Ok(Progress::More)
    }
}

/// A block of words or a call begins.
fn begin(event: &Value, reply: &mut Reply) -> Result<(), &'static str> {
    let block = event.get("content_block").unwrap_or(&Value::Null);
    let text = |key: &str| block.get(key).and_then(Value::as_str);
    match text("type") {
        Some("tool_use") => reply.calls.hear(index(event)?, text("id"), text("name"), ""),
        Some("text") => {
            reply.say(text("text").unwrap_or_default());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A block goes on. Pieces of what is no call of ours (the service's own tools, thoughts) are passed over.
fn go_on(event: &Value, reply: &mut Reply) -> Result<(), &'static str> {
    let delta = event.get("delta").unwrap_or(&Value::Null);
    let text = |key: &str| delta.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "text_delta" => reply.say(text("text")),
        "input_json_delta" => {
            let index = index(event)?;
            if reply.calls.knows(index) {
                reply.calls.hear(index, None, None, text("partial_json"))?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn index(event: &Value) -> Result<u64, &'static str> {
    event.get("index").and_then(Value::as_u64).ok_or("a block of the answer has no index")
}

/// Why the answer ends.
fn stop(target: &Target, event: &Value, reply: &mut Reply) -> Result<Progress, ProviderError> {
    let reason = event.get("delta").and_then(|delta| delta.get("stop_reason")).and_then(Value::as_str);
    match reason {
        None => return Ok(Progress::More),
        Some("refusal") => return Err(target.error(ErrorKind::BadRequest, "the model refused to answer")),
        Some("max_tokens" | "model_context_window_exceeded") => reply.cut(),
        Some(_) => {}
    }
    Ok(Progress::Finished)
}

/// An `error` event: its type stands for the status that it would have had.
fn failure(target: &Target, event: &Value) -> ProviderError {
    let Some(complaint) = Complaint::read(event) else {
        return target.error(ErrorKind::Internal, "the service failed and does not say why");
    };
    let status = match complaint.code.as_str() {
        "invalid_request_error" => Some(400),
        "authentication_error" => Some(401),
        "permission_error" => Some(403),
        "not_found_error" => Some(404),
        "request_too_large" => Some(413),
        "rate_limit_error" => Some(429),
        "timeout_error" => Some(504),
        "overloaded_error" => Some(529),
        _ => None,
    };
    target.complaint(Complaint { status, ..complaint })
}
