//! Questions in Gemini's form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::memory::{self, Memory};
use crate::provider::turns::{Side, Turns};
use crate::provider::{ChatMessage, ChatRequest, Picture, Role, ToolCall, ToolSpec};

/// Thoughts count as tokens of the answer: a model that cannot but think gets so many more, or a short answer would be
/// all thoughts and no word.
const THOUGHTS: u32 = 1_024;

/// The question as it is sent.
pub(super) fn body(model: &str, request: &ChatRequest, memory: &Memory) -> Value {
    let parts = |message: &ChatMessage| parts(message, &request.messages, memory);
    let said = Turns::of(&request.messages, parts, text);
    let contents: Vec<Value> = said.turns.into_iter().map(turn).collect();
    let mut body = json!({ "contents": contents });
    if !said.system.is_empty() {
        body["systemInstruction"] = json!({ "parts": said.system.iter().map(|words| text(words)).collect::<Vec<_>>() });
    }
    if !request.tools.is_empty() {
        body["tools"] = json!([{ "functionDeclarations": request.tools.iter().map(tool).collect::<Vec<_>>() }]);
    }
    let config = config(model, request);
    if !config.is_empty() {
        body["generationConfig"] = config.into();
    }
    body
}

/// Limits, and how much is thought before the first word: as little as the model allows, for somebody waits for it.
fn config(model: &str, request: &ChatRequest) -> Map<String, Value> {
    let thinking = if model.starts_with("gemini-2.5-flash") {
        Some((json!({ "thinkingBudget": 0 }), 0))
    } else if model.starts_with("gemini-2.5-pro") {
        // the least that it takes
        Some((json!({ "thinkingBudget": 128 }), 128))
    } else if model.starts_with("gemini-3") {
        Some((json!({ "thinkingLevel": "low" }), THOUGHTS))
    } else {
        None
    };
    let mut config = Map::new();
    let thoughts = thinking.as_ref().map_or(0, |(_, tokens)| *tokens);
    if let Some(tokens) = request.max_tokens {
        config.insert("maxOutputTokens".into(), tokens.saturating_add(thoughts).into());
    }
    if let Some(temperature) = request.temperature {
        config.insert("temperature".into(), f64::from(temperature).into());
    }
    if let Some((how, _)) = thinking {
        config.insert("thinkingConfig".into(), how);
    }
    config
}

fn turn((side, parts): (Side, Vec<Value>)) -> Value {
    let role = match side {
        Side::User => "user",
        Side::Model => "model",
    };
    json!({ "role": role, "parts": parts })
}

fn parts(message: &ChatMessage, all: &[ChatMessage], memory: &Memory) -> Vec<Value> {
    let ChatMessage { role, content, calls, answers, picture } = message;
    if let (Role::Tool, Some(id)) = (role, answers) {
        return vec![answer(id, content, all)];
    }
    let words = Some(content).filter(|content| !content.trim().is_empty()).map(|content| text(content));
    picture.iter().map(image).chain(words).chain(calls.iter().map(|one| call(one, memory))).collect()
}

fn text(words: &str) -> Value {
    json!({ "text": words })
}

fn image(picture: &Picture) -> Value {
    json!({ "inlineData": { "mimeType": picture.mime, "data": STANDARD.encode(&picture.bytes) } })
}

/// A call goes back as it came: with its signature, and with its id only when the service gave it one.
fn call(ToolCall { id, name, arguments }: &ToolCall, memory: &Memory) -> Value {
    let args: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
    let mut function = json!({ "name": name, "args": args });
    if let Some(id) = memory::given(id) {
        function["id"] = id.into();
    }
    let mut part = json!({ "functionCall": function });
    if let Some(signature) = memory.signature(id) {
        part["thoughtSignature"] = signature.into();
    }
    part
}

/// The answer to a call names the tool, which only the call knows.
fn answer(id: &str, content: &str, all: &[ChatMessage]) -> Value {
    let called = all.iter().flat_map(|message| &message.calls).rev().find(|call| call.id == id);
    let name = called.map_or("unknown", |call| call.name.as_str());
    let mut function = json!({ "name": name, "response": { "output": content } });
    if let Some(id) = memory::given(id) {
        function["id"] = id.into();
    }
    json!({ "functionResponse": function })
}

/// A tool. Its schema goes as JSON Schema: the field of old takes a part of it only, and schemas of MCP servers have more.
fn tool(ToolSpec { name, description, parameters }: &ToolSpec) -> Value {
    json!({ "name": name, "description": description, "parametersJsonSchema": parameters })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_answer_is_not_all_thoughts() {
        let request = ChatRequest { max_tokens: Some(64), ..ChatRequest::default() };
        let config = |model: &str| Value::Object(config(model, &request));
        assert_eq!(config("gemini-2.0-flash"), json!({ "maxOutputTokens": 64 }));
        let none = json!({ "maxOutputTokens": 64, "thinkingConfig": { "thinkingBudget": 0 } });
        assert_eq!(config("gemini-2.5-flash-lite"), none);
        let low = json!({ "maxOutputTokens": 1_088, "thinkingConfig": { "thinkingLevel": "low" } });
        assert_eq!(config("gemini-3-flash-preview"), low);
    }
}
