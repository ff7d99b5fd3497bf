//! The device: what it says in firmware's words, and what it hears, held against what firmware does with it.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::camera::{self, Camera};
use super::socket::{Arrived, Line, MqttLine, WebSocketLine};
use super::strict::{Mode, Strict};
use super::weather::Weather;
use crate::sim::device::Login;
use crate::wire::xiaozhi::frames::Version;

/// Over what it talks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// Control over MQTT, audio as datagrams.
    Mqtt,
    /// All over one WebSocket, at this URL, with frames of this version.
    WebSocket(String, Version),
}

/// Why a device gave up.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// The connection failed or was refused.
    #[error("connection: {0}")]
    Connection(String),
    /// Nothing came in time.
    #[error("no {0} within {1:?}")]
    Silence(&'static str, Duration),
    /// The gateway's hello cannot be used.
    #[error("the gateway's hello is of no use: {0}")]
    Hello(&'static str),
}

/// What it heard.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A text.
    Text(Value),
    /// A frame of speech that it plays, and when it came.
    Frame(Instant, Bytes),
    /// Something that it makes nothing of; the complaint is with the others.
    Noise,
}

/// A device.
pub struct Board {
    line: Line,
    /// What it makes of what comes.
    pub strict: Strict,
    /// What happens to its datagrams.
    pub weather: Weather,
    frame_ms: u32,
    /// Names of the tools that it has, each with what it answers.
    tools: Vec<(String, Value)>,
    /// Calls that it answered: the tool, and its arguments.
    pub called: Vec<(String, Value)>,
    /// What older firmware has instead of tools, as it tells of it.
    things: Vec<Value>,
    /// Commands to its things.
    pub commanded: Vec<Value>,
    /// It never keeps the name of its session, as py-xiaozhi over WebSocket.
    pub nameless: bool,
    /// Its camera.
    pub camera: Option<Camera>,
    id: String,
}

impl Board {
    /// Connects, but says nothing yet. Frames of its microphone have `frame_ms`.
    pub async fn connect(login: &Login, path: &Path, frame_ms: u32, patience: Duration) -> Result<Self, BoardError> {
        let line = match path {
            Path::Mqtt => Line::Mqtt(Box::new(MqttLine::connect(login, patience).await?)),
            Path::WebSocket(url, version) => {
                Line::WebSocket(Box::new(WebSocketLine::connect(login, url, *version, patience).await?))
            }
        };
        let strict = Strict::new(matches!(path, Path::Mqtt));
        Ok(Self {
            line,
            strict,
            weather: Weather::fine(),
            frame_ms,
            tools: Vec::new(),
            called: Vec::new(),
            things: Vec::new(),
            commanded: Vec::new(),
            nameless: false,
            camera: None,
            id: login.id.to_string(),
        })
    }

    /// It has these tools: names, and the text that each answers.
    #[must_use]
    pub fn with_tools(mut self, tools: &[(&str, &str)]) -> Self {
        let answer = |text: &str| json!({"content": [{"type": "text", "text": text}], "isError": false});
        self.tools = tools.iter().map(|(name, text)| ((*name).to_owned(), answer(text))).collect();
        self
    }

    /// Its audio comes and goes as datagrams.
    pub fn has_datagrams(&self) -> bool {
        self.line.datagrams()
    }

    /// It has older firmware: these things (their descriptors) instead of tools.
    #[must_use]
    pub fn with_things(mut self, descriptors: &[Value]) -> Self {
        self.things = descriptors.to_vec();
        self.strict.has_things();
        self
    }

    /// It has a camera, which takes this photo.
    #[must_use]
    pub fn with_camera(mut self, photo: &[u8]) -> Self {
        self.tools.push((camera::TOOL.to_owned(), Value::Null));
        self.camera = Some(Camera::new(photo, &self.id));
        self
    }

    /// Says hello, waits for the gateway's, and opens its way for audio.
    pub async fn hello(&mut self, patience: Duration) -> Result<(), BoardError> {
        self.strict.says_hello();
        let transport = if self.line.datagrams() { "udp" } else { "websocket" };
        let hello = json!({
            "type": "hello", "version": self.line.version(), "transport": transport,
            "features": {"mcp": !self.tools.is_empty()},
            "audio_params": {"format": "opus", "sample_rate": 16_000, "channels": 1, "frame_duration": self.frame_ms},
        });
        self.line.text(&hello).await?;
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Heard::Text(text) = self.next(left, "hello").await? else { continue };
            if text["type"] == "hello" {
                self.line.opened(&text).await?;
                return self.tell_things().await;
            }
        }
    }

    /// Older firmware tells of its things when a conversation begins, one by one.
    async fn tell_things(&mut self) -> Result<(), BoardError> {
        for thing in self.things.clone() {
            self.say(json!({"type": "iot", "update": true, "descriptors": [thing]})).await?;
        }
        Ok(())
    }

    /// Says something, with its session.
    pub async fn say(&mut self, mut text: Value) -> Result<(), BoardError> {
        text["session_id"] = if self.nameless { "" } else { self.strict.session() }.into();
        self.line.text(&text).await
    }

    /// Begins to listen.
    pub async fn listen(&mut self, mode: Mode) -> Result<(), BoardError> {
        self.strict.listens(mode);
        self.say(json!({"type": "listen", "state": "start", "mode": mode.name()})).await
    }

    /// Its button is let go.
    pub async fn stop_listening(&mut self) -> Result<(), BoardError> {
        self.strict.stops_listening();
        self.say(json!({"type": "listen", "state": "stop"})).await
    }

    /// It heard a wake word, or somebody typed.
    pub async fn detect(&mut self, text: &str) -> Result<(), BoardError> {
        self.say(json!({"type": "listen", "state": "detect", "text": text})).await
    }

    /// It wants silence.
    pub async fn abort(&mut self, reason: Option<&str>) -> Result<(), BoardError> {
        self.strict.aborts();
        let mut text = json!({"type": "abort"});
        if let Some(reason) = reason {
            text["reason"] = reason.into();
        }
        self.say(text).await
    }

    /// It ends the conversation.
    pub async fn goodbye(&mut self) -> Result<(), BoardError> {
        let bye = self.say(json!({"type": "goodbye"})).await;
        self.strict.hangs_up();
        bye
    }

    /// Sends a frame of its microphone.
    pub async fn microphone(&mut self, packet: &Bytes) -> Result<(), BoardError> {
        self.line.audio(packet, &mut self.weather).await
    }

    /// The next thing that it hears. What is asked of its tools is answered on the way.
    pub async fn next(&mut self, patience: Duration, what: &'static str) -> Result<Heard, BoardError> {
        let arrived = self.arrival(patience, what).await?;
        self.hears(arrived).await
    }

    /// What comes next. Nothing is lost when this is dropped before it is done.
    pub(super) async fn arrival(&mut self, patience: Duration, what: &'static str) -> Result<Arrived, BoardError> {
        self.line.next(patience, what).await
    }

    /// Makes of it what firmware does.
    pub(super) async fn hears(&mut self, arrived: Arrived) -> Result<Heard, BoardError> {
        Ok(match arrived {
            Arrived::Text(at, text) => {
                let Some(message) = self.strict.text(at, &text) else { return Ok(Heard::Noise) };
                if message["type"] == "iot" {
                    self.commanded.extend(message["commands"].as_array().into_iter().flatten().cloned());
                }
                if message["type"] == "mcp" {
                    self.answer(&message["payload"]).await?;
                }
                Heard::Text(message)
            }
            Arrived::Audio(_, Some(_), _) if !self.weather.down() => Heard::Noise,
            Arrived::Audio(at, seq, packet) => {
                if self.strict.audio(at, seq, &packet) {
                    Heard::Frame(at, packet)
                } else {
                    Heard::Noise
                }
            }
        })
    }

    /// Its tool server, a page of two tools at a time.
    async fn answer(&mut self, request: &Value) -> Result<(), BoardError> {
        let id = request["id"].clone();
        let answer = match request["method"].as_str() {
            Some("initialize") => {
                if let Some(camera) = &mut self.camera {
                    camera.hear(&request["params"]);
                }
                json!({"result": {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}},
                    "serverInfo": {"name": "simulated board", "version": "2.4.2"}}})
            }
            Some("tools/list") => self.page(request["params"]["cursor"].as_str().unwrap_or_default()),
            Some("tools/call") => {
                let name = request["params"]["name"].as_str().unwrap_or_default().to_owned();
                let arguments = &request["params"]["arguments"];
                if let Some(camera) = self.camera.as_ref().filter(|_| name == camera::TOOL) {
                    self.called.push((name, arguments.clone()));
                    let told = camera.take_photo(arguments["question"].as_str().unwrap_or_default()).await;
                    return self
                        .reply(
                            &id,
                            told.map_or_else(|error| json!({"error": {"message": error}}), |text| answered(&text)),
                        )
                        .await;
                }
                let found = self.tools.iter().find(|(tool, _)| *tool == name).map(|(_, answer)| answer.clone());
                self.called.push((name, arguments.clone()));
                found.map_or_else(|| json!({"error": {"message": "unknown tool"}}), |result| json!({"result": result}))
            }
            _ => return Ok(()),
        };
        self.reply(&id, answer).await
    }

    async fn reply(&mut self, id: &Value, answer: Value) -> Result<(), BoardError> {
        let mut payload = json!({"jsonrpc": "2.0", "id": id});
        if let (Value::Object(payload), Value::Object(answer)) = (&mut payload, answer) {
            payload.extend(answer);
        }
        self.say(json!({"type": "mcp", "payload": payload})).await
    }

    fn page(&self, cursor: &str) -> Value {
        let from = self.tools.iter().position(|(name, _)| name == cursor).unwrap_or(0);
        let tool = |(name, _): &(String, Value)| {
            let audience = if name.ends_with("reboot") { json!({"audience": ["user"]}) } else { json!({}) };
            let volume = json!({"type": "object", "properties": {"volume": {"type": "integer"}}});
            json!({"name": name, "description": format!("{name} of the board"), "inputSchema": volume, "annotations": audience})
        };
        let page: Vec<Value> = self.tools[from..].iter().take(2).map(tool).collect();
        let mut result = json!({ "tools": page });
        if let Some((next, _)) = self.tools.get(from + 2) {
            result["nextCursor"] = next.as_str().into();
        }
        json!({ "result": result })
    }
}

/// A text, as a tool answers it.
fn answered(text: &str) -> Value {
    json!({"result": {"content": [{"type": "text", "text": text}], "isError": false}})
}
