//! Chat, streaming.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use serde_json::{Value, json};

use super::sse::Events;
use super::{Target, kind_of, problem};
use crate::provider::http::ByteStream;
use crate::provider::{
    ChatMessage, ChatModel, ChatPiece, ChatRequest, ChatStream, ErrorKind, Picture, ProviderError, Role, ToolCall,
    ToolSpec,
};

/// The largest answer in one piece, from servers that do not stream.
const WHOLE: usize = 4 << 20;
/// Most calls in one answer, and the longest arguments of one, in bytes.
const CALLS: usize = 16;
const ARGUMENTS: usize = 64 << 10;

/// A chat model behind `/chat/completions`.
#[derive(Debug, Clone)]
pub struct OpenAiChat {
    target: Target,
}

impl OpenAiChat {
    /// A model of `target`.
    pub fn new(target: Target) -> Self {
        Self { target }
    }
}

impl ChatModel for OpenAiChat {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        let answer = Answer {
            target: self.target.clone(),
            stage: Stage::Ask(request),
            ready: VecDeque::new(),
            calls: Calls::default(),
            failed: None,
        };
        futures::stream::unfold(answer, |mut answer| async move {
            let item = answer.next().await?;
            Some((item, answer))
        })
        .boxed()
    }
}

/// An answer on its way.
struct Answer {
    target: Target,
    stage: Stage,
    ready: VecDeque<ChatPiece>,
    /// Made when the answer is whole.
    calls: Calls,
    /// Said after the words that came before it.
    failed: Option<ProviderError>,
}

enum Stage {
    Ask(ChatRequest),
    /// The body; it is an event stream, or JSON in one piece from a server that does not stream.
    Hear {
        body: ByteStream,
        form: Form,
        finished: bool,
    },
    Over,
}

enum Form {
    Unknown,
    Events(Events),
    Whole(Vec<u8>),
}

impl Answer {
    async fn next(&mut self) -> Option<Result<ChatPiece, ProviderError>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(Ok(piece));
            }
            if let Some(error) = self.failed.take() {
                return Some(Err(error));
            }
            let step = match &mut self.stage {
                Stage::Over => return self.calls.take().map(|call| Ok(ChatPiece::Call(call))),
                Stage::Ask(_) => self.ask().await,
                Stage::Hear { .. } => self.hear().await,
            };
            if let Err(error) = step {
                self.stage = Stage::Over;
                // half a call is none
                self.calls = Calls::default();
                self.failed = Some(error);
            }
        }
    }

    async fn ask(&mut self) -> Result<(), ProviderError> {
        let Stage::Ask(request) = std::mem::replace(&mut self.stage, Stage::Over) else { return Ok(()) };
        let target = &self.target;
        let (url, question) = (target.address("chat/completions"), body(target, &request));
        let call = target.client.post_stream(&url, &target.headers, &question, target.patience);
        let body = call.await.map_err(|error| target.failure(error))?;
        self.stage = Stage::Hear { body, form: Form::Unknown, finished: false };
        Ok(())
    }

    async fn hear(&mut self) -> Result<(), ProviderError> {
        let Stage::Hear { body, form, finished } = &mut self.stage else { return Ok(()) };
        let target = &self.target;
        let garbled = |error: &dyn std::fmt::Display| target.error(ErrorKind::BadAnswer, error.to_string());
        let Some(piece) = body.next().await else {
            let (form, finished) = (std::mem::replace(form, Form::Unknown), *finished);
            self.stage = Stage::Over;
            return self.end(form, finished);
        };
        let piece = piece.map_err(|error| target.failure(error))?;
        if let Form::Unknown = form {
            match piece.iter().find(|b| !b.is_ascii_whitespace()) {
                None => return Ok(()),
                Some(b'{') => *form = Form::Whole(Vec::new()),
                Some(_) => *form = Form::Events(Events::default()),
            }
        }
        match form {
            Form::Unknown => Ok(()),
            Form::Whole(all) => {
                all.extend_from_slice(&piece);
                if all.len() > WHOLE { Err(garbled(&"the answer is longer than 4 MB")) } else { Ok(()) }
            }
            Form::Events(events) => {
                for data in events.push(&piece).map_err(|e| garbled(&e))? {
                    if data.trim() == "[DONE]" {
                        // What a server sends after the end is nobody's business.
                        self.stage = Stage::Over;
                        return Ok(());
                    }
                    *finished |= take(target, &data, &mut self.ready, &mut self.calls)?;
                }
                Ok(())
            }
        }
    }

    /// The body ended.
    fn end(&mut self, form: Form, mut finished: bool) -> Result<(), ProviderError> {
        let target = &self.target;
        match form {
            Form::Unknown => Err(target.error(ErrorKind::BadAnswer, "the answer is empty")),
            Form::Whole(all) => {
                let text = String::from_utf8_lossy(&all);
                take(target, &text, &mut self.ready, &mut self.calls).map(|_| ())
            }
            Form::Events(events) => {
                let rest = events.finish().map_err(|e| target.error(ErrorKind::BadAnswer, e.to_string()))?;
                for data in rest {
                    finished |= data.trim() == "[DONE]" || take(target, &data, &mut self.ready, &mut self.calls)?;
                }
                let broken = || target.error(ErrorKind::Unavailable, "the answer broke off");
                if finished { Ok(()) } else { Err(broken()) }
            }
        }
    }
}

/// Calls as they are written, piece by piece, by their index.
#[derive(Debug, Default)]
struct Calls(BTreeMap<u64, ToolCall>);

impl Calls {
    /// Takes a piece of `tool_calls`.
    fn hear(&mut self, calls: &[Value]) -> Result<(), &'static str> {
        for (at, piece) in calls.iter().enumerate() {
            let index = piece.get("index").and_then(Value::as_u64).unwrap_or(at as u64);
            if !self.0.contains_key(&index) && self.0.len() >= CALLS {
                return Err("more than 16 tool calls in one answer");
            }
            let call = self.0.entry(index).or_insert_with(|| ToolCall {
                id: String::new(),
                name: String::new(),
                arguments: String::new(),
            });
            let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
            if let Some(id) = text(piece, "id").filter(|id| !id.is_empty()) {
                call.id = id;
            }
            let function = piece.get("function").unwrap_or(&Value::Null);
            // some servers send the whole name again with each piece
            if let Some(name) = text(function, "name").filter(|name| !name.is_empty()) {
                call.name = name;
            }
            call.arguments.push_str(&text(function, "arguments").unwrap_or_default());
            if call.name.len() > ARGUMENTS || call.id.len() > ARGUMENTS || call.arguments.len() > ARGUMENTS {
                return Err("a tool call is longer than 64 KB");
            }
        }
        Ok(())
    }

    /// The first that is left. One without an id gets its number.
    fn take(&mut self) -> Option<ToolCall> {
        let (index, mut call) = self.0.pop_first()?;
        if call.id.is_empty() {
            call.id = format!("call-{index}");
        }
        Some(call)
    }
}

/// Takes the words out of a chunk (or a whole answer); true when it says that the answer is finished.
fn take(
    target: &Target,
    data: &str,
    ready: &mut VecDeque<ChatPiece>,
    calls: &mut Calls,
) -> Result<bool, ProviderError> {
    let value: Value = serde_json::from_str(data)
        .map_err(|e| target.error(ErrorKind::BadAnswer, format!("a piece of the answer is not json: {e}")))?;
    if let Some((message, code)) = problem(&value) {
        return Err(target.error(kind_of(&code).unwrap_or(ErrorKind::Internal), message));
    }
    let Some(choices) = value.get("choices").and_then(Value::as_array) else {
        return Err(target.error(ErrorKind::BadAnswer, "a piece of the answer has no choices"));
    };
    // A last piece with nothing but the usage has no choice at all.
    let Some(choice) = choices.first() else { return Ok(false) };
    let message = choice.get("delta").or_else(|| choice.get("message"));
    let text = message.and_then(|message| message.get("content")).and_then(Value::as_str);
    ready.extend(text.filter(|text| !text.is_empty()).map(ChatPiece::from));
    if let Some(pieces) = message.and_then(|message| message.get("tool_calls")).and_then(Value::as_array) {
        calls.hear(pieces).map_err(|what| target.error(ErrorKind::BadAnswer, what))?;
    }
    let reason = choice.get("finish_reason").filter(|reason| !reason.is_null());
    if reason.and_then(Value::as_str) == Some("length") {
        ready.push_back(ChatPiece::Cut);
    }
    Ok(reason.is_some())
}

fn body(target: &Target, request: &ChatRequest) -> Value {
    let messages: Vec<Value> = request.messages.iter().map(message).collect();
    let mut body = json!({ "messages": messages, "stream": true });
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    if let Some(model) = &target.model {
        body["model"] = model.as_str().into();
    }
    if let Some(tokens) = request.max_tokens {
        body["max_tokens"] = tokens.into();
    }
    if let Some(temperature) = request.temperature {
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
