//! Chat, streaming.

use std::collections::VecDeque;

use futures::StreamExt;
use serde_json::{Value, json};

use super::sse::Events;
use super::{Target, kind_of, problem};
use crate::provider::http::ByteStream;
use crate::provider::{ChatModel, ChatPiece, ChatRequest, ChatStream, ErrorKind, ProviderError};

/// The largest answer in one piece, from servers that do not stream.
const WHOLE: usize = 4 << 20;

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
        let answer =
            Answer { target: self.target.clone(), stage: Stage::Ask(request), ready: VecDeque::new(), failed: None };
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
                Stage::Over => return None,
                Stage::Ask(_) => self.ask().await,
                Stage::Hear { .. } => self.hear().await,
            };
            if let Err(error) = step {
                self.stage = Stage::Over;
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
                    *finished |= take(target, &data, &mut self.ready)?;
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
                take(target, &text, &mut self.ready).map(|_| ())
            }
            Form::Events(events) => {
                let rest = events.finish().map_err(|e| target.error(ErrorKind::BadAnswer, e.to_string()))?;
                for data in rest {
                    finished |= data.trim() == "[DONE]" || take(target, &data, &mut self.ready)?;
                }
                let broken = || target.error(ErrorKind::Unavailable, "the answer broke off");
                if finished { Ok(()) } else { Err(broken()) }
            }
        }
    }
}

/// Takes the words out of a chunk (or a whole answer); true when it says that the answer is finished.
fn take(target: &Target, data: &str, ready: &mut VecDeque<ChatPiece>) -> Result<bool, ProviderError> {
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
    let reason = choice.get("finish_reason").filter(|reason| !reason.is_null());
    if reason.and_then(Value::as_str) == Some("length") {
        ready.push_back(ChatPiece::Cut);
    }
    Ok(reason.is_some())
}

fn body(target: &Target, request: &ChatRequest) -> Value {
    let mut body = json!({ "messages": request.messages, "stream": true });
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
