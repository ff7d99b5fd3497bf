//! Chat, streaming.
//!
//! One form, many servers: what some of them refuse of it is left out, and remembered; what some of them add to it
//! (thoughts) is not said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Target;
use super::thoughts::Thoughts;
use crate::provider::reply::{self, Calls, Dialect, Progress, Reply, event};
use crate::provider::target::Complaint;
use crate::provider::warm::{Opens, Web};
use crate::provider::{
    ChatMessage, ChatModel, ChatRequest, ChatStream, ErrorKind, Picture, ProviderError, Role, ToolCall, ToolSpec,
};

/// A chat model behind `/chat/completions`.
#[derive(Debug, Clone)]
pub struct OpenAiChat {
    target: Target,
    refuses: Arc<Refuses>,
}

/// What the model was found not to take.
#[derive(Debug, Default)]
struct Refuses {
    /// `max_tokens`: models that think want `max_completion_tokens`.
    max_tokens: AtomicBool,
    temperature: AtomicBool,
}

impl OpenAiChat {
    /// A model of `target`.
    pub fn new(target: Target) -> Self {
        Self { target, refuses: Arc::default() }
    }
}

impl ChatModel for OpenAiChat {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        let form = Form {
            completion_tokens: self.refuses.max_tokens.load(Ordering::Relaxed),
            temperature: !self.refuses.temperature.load(Ordering::Relaxed),
        };
        let dialect = Completions { form, refuses: Arc::clone(&self.refuses), thoughts: Thoughts::default() };
        reply::stream(self.target.clone(), dialect, request)
    }

    fn ahead(&self) -> Option<Arc<dyn Opens>> {
        Web::requests(&self.target)
    }
}

/// Which words a question is put in.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// `max_completion_tokens` instead of `max_tokens`.
    completion_tokens: bool,
    /// It goes with a temperature.
    temperature: bool,
}

/// Chat completions.
struct Completions {
    form: Form,
    refuses: Arc<Refuses>,
    thoughts: Thoughts,
}

impl Dialect for Completions {
    fn question(&self, target: &Target, request: &ChatRequest) -> (String, Value) {
        (target.address("chat/completions"), body(target, request, self.form))
    }

    fn relents(&mut self, refused: &ProviderError) -> bool {
        let Self { form, refuses, .. } = self;
        if refused.kind != ErrorKind::BadRequest {
            return false;
        }
        if !form.completion_tokens && refused.message.contains("max_completion_tokens") {
            form.completion_tokens = true;
            refuses.max_tokens.store(true, Ordering::Relaxed);
        } else if form.temperature && refused.message.contains("temperature") {
            form.temperature = false;
            refuses.temperature.store(true, Ordering::Relaxed);
        } else {
            return false;
        }
        true
    }

    fn take(&mut self, target: &Target, data: &str, reply: &mut Reply) -> Result<Progress, ProviderError> {
        let value = event(target, data)?;
        if let Some(complaint) = Complaint::read(&value) {
            return Err(target.complaint(complaint));
        }
        let Some(choices) = value.get("choices").and_then(Value::as_array) else {
            return Err(target.garbled("a piece of the answer has no choices"));
        };
        // A last piece with nothing but the usage has no choice at all.
        let Some(choice) = choices.first() else { return Ok(Progress::More) };
        let message = choice.get("delta").or_else(|| choice.get("message"));
        // beside it, thoughts: `reasoning_content` or `reasoning`, by server
        let text = message.and_then(|message| message.get("content")).and_then(Value::as_str);
        self.thoughts.hear(text.unwrap_or_default(), |words| reply.say(words));
        if let Some(pieces) = message.and_then(|message| message.get("tool_calls")).and_then(Value::as_array) {
            hear(&mut reply.calls, pieces).map_err(|what| target.garbled(what))?;
        }
        match choice.get("finish_reason").and_then(Value::as_str) {
            None => Ok(Progress::More),
            Some(reason) => self.finish(target, reason, reply),
        }
    }

    fn end(&mut self, reply: &mut Reply) {
        self.thoughts.end(|words| reply.say(words));
    }
}

impl Completions {
    /// Why the answer ends.
    fn finish(&mut self, target: &Target, reason: &str, reply: &mut Reply) -> Result<Progress, ProviderError> {
        self.end(reply);
        let (kind, what) = match reason {
            "length" => {
                reply.cut();
                return Ok(Progress::Finished);
            }
            "content_filter" | "sensitive" => (ErrorKind::BadRequest, "the answer was blocked"),
            "insufficient_system_resource" | "network_error" => (ErrorKind::Unavailable, "the service gave up"),
            "error" => (ErrorKind::Internal, "the service failed"),
            _ => return Ok(Progress::Finished),
        };
        Err(target.error(kind, format!("{what}: {reason}")))
    }
}

/// Takes a piece of `tool_calls`. Some servers send the whole name again with each piece.
fn hear(calls: &mut Calls, pieces: &[Value]) -> Result<(), &'static str> {
    for (at, piece) in pieces.iter().enumerate() {
        let index = piece.get("index").and_then(Value::as_u64).unwrap_or(at as u64);
        let function = piece.get("function").unwrap_or(&Value::Null);
        let text = |value: &'_ Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let (id, name) = (text(piece, "id"), text(function, "name"));
        let arguments = text(function, "arguments").unwrap_or_default();
        calls.hear(index, id.as_deref(), name.as_deref(), &arguments)?;
    }
    Ok(())
}

fn body(target: &Target, request: &ChatRequest, form: Form) -> Value {
    let messages: Vec<Value> = request.messages.iter().map(message).collect();
    let mut body = json!({ "messages": messages, "stream": true });
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    if let Some(model) = &target.model {
        body["model"] = model.as_str().into();
    }
    if let Some(tokens) = request.max_tokens {
        body[if form.completion_tokens { "max_completion_tokens" } else { "max_tokens" }] = tokens.into();
    }
    if let Some(temperature) = request.temperature.filter(|_| form.temperature) {
        body["temperature"] = f64::from(temperature).into();
    }
    body
}

fn message(message: &ChatMessage) -> Value {
    let ChatMessage { role, content, calls, answers, picture } = message;
    if let Some(Picture { mime, bytes }) = picture {
        let url = format!("data:{mime};base64,{}", STANDARD.encode(bytes));
        let parts = json!([{ "type": "text", "text": content }, { "type": "image_url", "image_url": { "url": url } }]);
        return json!({ "role": role, "content": parts });
    }
    match role {
        Role::Tool => json!({ "role": "tool", "tool_call_id": answers, "content": content }),
        Role::Assistant if !calls.is_empty() => {
            let call = |ToolCall { id, name, arguments }: &ToolCall| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
            let content = Some(content).filter(|content| !content.is_empty());
            json!({ "role": "assistant", "content": content, "tool_calls": calls.iter().map(call).collect::<Vec<_>>() })
        }
        Role::System | Role::User | Role::Assistant => json!({ "role": role, "content": content }),
    }
}

fn tool(tool: &ToolSpec) -> Value {
    let ToolSpec { name, description, parameters } = tool;
    json!({ "type": "function", "function": { "name": name, "description": description, "parameters": parameters } })
}
