//! Questions in Anthropic's form.
//!
//! The service keeps the beginning of a question that is marked, so that the next one with the same beginning is
//! answered sooner: the tools and the instructions are, each at its end.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::provider::target::Target;
use crate::provider::turns::{Side, Turns};
use crate::provider::{ChatMessage, ChatRequest, Picture, Role, ToolCall, ToolSpec};

/// The API wants a limit; it is this where none is asked for.
const TOKENS: u32 = 1_024;

/// The question as it is sent.
pub(super) fn body(target: &Target, request: &ChatRequest, temperature: Option<f32>) -> Value {
    let said = Turns::of(&request.messages, parts, text);
    let messages: Vec<Value> = said.turns.into_iter().map(turn).collect();
    let mut body = json!({
        "model": target.model,
        "max_tokens": request.max_tokens.unwrap_or(TOKENS),
        "stream": true,
        "messages": messages,
    });
    if !said.system.is_empty() {
        body["system"] = kept(said.system.iter().map(|words| text(words)).collect());
    }
    if !request.tools.is_empty() {
        body["tools"] = kept(request.tools.iter().map(tool).collect());
    }
    if let Some(temperature) = temperature {
        // 1.0 is the most that there is
        body["temperature"] = f64::from(temperature.min(1.0)).into();
    }
    body
}

/// Marks the last of a list: the service keeps all up to it.
fn kept(mut list: Vec<Value>) -> Value {
    if let Some(last) = list.last_mut() {
        last["cache_control"] = json!({ "type": "ephemeral" });
    }
    list.into()
}

fn turn((side, content): (Side, Vec<Value>)) -> Value {
    let role = match side {
        Side::User => "user",
        Side::Model => "assistant",
    };
    json!({ "role": role, "content": content })
}

/// The blocks of a message. Words that are none are left out: the service refuses them.
fn parts(message: &ChatMessage) -> Vec<Value> {
    let ChatMessage { role, content, calls, answers, picture } = message;
    if let (Role::Tool, Some(call)) = (role, answers) {
        return vec![json!({ "type": "tool_result", "tool_use_id": call, "content": content })];
    }
    let words = Some(content).filter(|content| !content.trim().is_empty()).map(|content| text(content));
    // what a picture shows is best told before what is asked of it
    picture.iter().map(image).chain(words).chain(calls.iter().map(call)).collect()
}

fn text(words: &str) -> Value {
    json!({ "type": "text", "text": words })
}

fn image(picture: &Picture) -> Value {
    let data = STANDARD.encode(&picture.bytes);
    json!({ "type": "image", "source": { "type": "base64", "media_type": picture.mime, "data": data } })
}

/// Arguments that are no object are none: the service refuses them, and the tool has told the model so.
fn call(ToolCall { id, name, arguments }: &ToolCall) -> Value {
    let input: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
    json!({ "type": "tool_use", "id": id, "name": name, "input": input })
}

fn tool(ToolSpec { name, description, parameters }: &ToolSpec) -> Value {
    json!({ "name": name, "description": description, "input_schema": parameters })
}
