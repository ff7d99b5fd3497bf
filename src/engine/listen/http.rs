//! OpenAI-compatible HTTP: chat (streaming or not), embeddings, the list of models; and `/health`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::domain::Clock;
use crate::engine::EngineError;
use crate::engine::chat::{self, Finish, Piece, Role, Turn};
use crate::engine::engines::Engines;

/// Tokens of an answer when the request does not say.
const USUAL_TOKENS: usize = 160;
/// Warmth of an answer when the request does not say: a model this small wanders when it is warm.
const USUAL_TEMPERATURE: f64 = 0.2;
/// The largest request, in bytes.
const REQUEST: usize = 1 << 20;
/// The most texts in one embeddings request.
const TEXTS: usize = 256;

#[derive(Clone)]
struct Desk {
    engines: Arc<Engines>,
    clock: Arc<dyn Clock>,
}

/// The routes.
pub fn router(engines: Arc<Engines>, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(completions))
        .route("/v1/embeddings", post(embeddings))
        .layer(DefaultBodyLimit::max(REQUEST))
        .with_state(Desk { engines, clock })
}

/// 200 while the process serves; the body says which engine is how.
async fn health(State(desk): State<Desk>) -> Response {
    Json(desk.engines.health()).into_response()
}

async fn models(State(desk): State<Desk>) -> Response {
    let settings = desk.engines.settings();
    let names = [&settings.chat, &settings.embed].into_iter().filter(|name| *name != "off");
    let data: Vec<_> =
        names.map(|name| json!({ "id": name, "object": "model", "created": 0, "owned_by": "voxgate" })).collect();
    Json(json!({ "object": "list", "data": data })).into_response()
}

/// An error in OpenAI's form.
fn refusal(error: &EngineError) -> Response {
    let status = match error {
        EngineError::Missing(_) | EngineError::Off(_) | EngineError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        EngineError::Busy => StatusCode::TOO_MANY_REQUESTS,
        EngineError::Request(_) => StatusCode::BAD_REQUEST,
        EngineError::Load(_) | EngineError::Failed(_) | EngineError::Listen { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = (status, Json(problem(error))).into_response();
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

fn problem(error: &EngineError) -> Value {
    json!({ "error": { "message": error.to_string(), "type": error.code(), "code": error.code() } })
}

#[derive(Deserialize)]
struct ChatCall {
    #[serde(default)]
    model: Option<String>,
    messages: Vec<Message>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(alias = "max_completion_tokens")]
    max_tokens: Option<usize>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<u64>,
    #[serde(default)]
    stop: Option<OneOrMore>,
}

#[derive(Deserialize, Default)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_vec(self) -> Vec<String> {
        match self {
            OneOrMore::One(text) => vec![text],
            OneOrMore::More(texts) => texts,
        }
    }
}

impl Message {
    fn turn(self) -> Result<Turn, EngineError> {
        let role = match self.role.as_str() {
            "system" | "developer" => Role::System,
            "user" | "tool" | "function" => Role::User,
            "assistant" => Role::Assistant,
            other => return Err(EngineError::Request(format!("there is no role {other:?}"))),
        };
        let content = match self.content {
            None => String::new(),
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => parts.into_iter().filter_map(|part| part.text).collect(),
        };
        Ok(Turn { role, content })
    }
}

impl ChatCall {
    fn request(self) -> Result<chat::Request, EngineError> {
        if self.messages.is_empty() {
            return Err(EngineError::Request("messages is empty".into()));
        }
        let turns = self.messages.into_iter().map(Message::turn).collect::<Result<_, _>>()?;
        Ok(chat::Request {
            turns,
            max_tokens: self.max_tokens.unwrap_or(USUAL_TOKENS).max(1),
            temperature: self.temperature.unwrap_or(USUAL_TEMPERATURE).clamp(0.0, 2.0),
            top_p: self.top_p.unwrap_or(0.9),
            seed: self.seed.unwrap_or(0),
            stop: self.stop.map(OneOrMore::into_vec).unwrap_or_default(),
        })
    }
}

fn unreadable(rejection: &JsonRejection) -> Response {
    refusal(&EngineError::Request(rejection.body_text()))
}

async fn completions(State(desk): State<Desk>, call: Result<Json<ChatCall>, JsonRejection>) -> Response {
    let Json(call) = match call {
        Ok(call) => call,
        Err(rejection) => return unreadable(&rejection),
    };
    let frame = Frame {
        model: call.model.clone().unwrap_or_else(|| desk.engines.settings().chat.clone()),
        created: desk.clock.wall().0 / 1_000,
        usage: call.stream_options.as_ref().is_some_and(|options| options.include_usage),
    };
    let stream = call.stream;
    let mut pieces = match call.request().and_then(|request| desk.engines.chat(request)) {
        Ok(pieces) => pieces,
        Err(error) => return refusal(&error),
    };
    // A failure before the first word has a status of its own, also when streaming.
    match pieces.recv().await {
        None => refusal(&EngineError::Failed("the answer ended before it began".into())),
        Some(Piece::Failed(error)) => refusal(&error),
        Some(first) if stream => streamed(frame, first, pieces),
        Some(first) => whole(&frame, first, pieces).await,
    }
}

/// What the parts of an answer have in common.
struct Frame {
    model: String,
    created: u64,
    usage: bool,
}

impl Frame {
    fn json(&self, object: &str, choice: &Value) -> Value {
        json!({
            "id": format!("chatcmpl-{}", self.created), "object": object, "created": self.created,
            "model": self.model, "choices": [choice],
        })
    }

    fn chunk(&self, delta: &Value, finish: Option<&str>) -> String {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        format!("data: {}\n\n", self.json("chat.completion.chunk", &choice))
    }

    fn piece(&self, piece: Piece) -> String {
        match piece {
            Piece::Text(text) => self.chunk(&json!({ "content": text }), None),
            Piece::End { finish, prompt, remembered, answer } => {
                let mut text = self.chunk(&json!({}), Some(name(finish)));
                if self.usage {
                    let mut last = self.json("chat.completion.chunk", &Value::Null);
                    last["choices"] = json!([]);
                    last["usage"] = usage(prompt, remembered, answer);
                    text = text + "data: " + &last.to_string() + "\n\n";
                }
                text + "data: [DONE]\n\n"
            }
            Piece::Failed(error) => format!("data: {}\n\n", problem(&error)),
        }
    }
}

fn name(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}

fn usage(prompt: usize, remembered: usize, answer: usize) -> Value {
    json!({
        "prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer,
        "prompt_tokens_details": { "cached_tokens": remembered },
    })
}

fn streamed(frame: Frame, first: Piece, pieces: mpsc::Receiver<Piece>) -> Response {
    let begin = frame.chunk(&json!({ "role": "assistant", "content": "" }), None) + &frame.piece(first);
    let rest = futures::stream::unfold((frame, pieces), |(frame, mut pieces)| async move {
        let text = frame.piece(pieces.recv().await?);
        Some((Ok::<_, Infallible>(text), (frame, pieces)))
    });
    let body = futures::StreamExt::chain(futures::stream::iter([Ok(begin)]), rest);
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(body)).into_response()
}

async fn whole(frame: &Frame, first: Piece, mut pieces: mpsc::Receiver<Piece>) -> Response {
    let mut content = String::new();
    let mut next = Some(first);
    while let Some(piece) = next {
        match piece {
            Piece::Text(text) => content.push_str(&text),
            Piece::Failed(error) => return refusal(&error),
            Piece::End { finish, prompt, remembered, answer } => {
                let message = json!({ "role": "assistant", "content": content });
                let choice = json!({ "index": 0, "message": message, "finish_reason": name(finish) });
                let mut value = frame.json("chat.completion", &choice);
                value["usage"] = usage(prompt, remembered, answer);
                return Json(value).into_response();
            }
        }
        next = pieces.recv().await;
    }
    refusal(&EngineError::Failed("the answer broke off".into()))
}

#[derive(Deserialize)]
struct EmbedCall {
    input: OneOrMore,
}

async fn embeddings(State(desk): State<Desk>, call: Result<Json<EmbedCall>, JsonRejection>) -> Response {
    let texts = match call {
        Ok(Json(call)) => call.input.into_vec(),
        Err(rejection) => return unreadable(&rejection),
    };
    if texts.is_empty() || texts.len() > TEXTS {
        return refusal(&EngineError::Request(format!("input has {} texts, 1 to {TEXTS} are served", texts.len())));
    }
    match desk.engines.embed(texts).await {
        Err(error) => refusal(&error),
        Ok(vectors) => {
            let one = |(index, vector)| json!({ "object": "embedding", "index": index, "embedding": vector });
            let data: Vec<Value> = vectors.into_iter().enumerate().map(one).collect();
            Json(json!({ "object": "list", "data": data, "model": desk.engines.settings().embed })).into_response()
        }
    }
}
