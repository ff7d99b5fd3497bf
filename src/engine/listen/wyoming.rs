//! Wyoming: speech to text and text to speech on one listener, as Home Assistant expects them.

use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

use crate::engine::EngineError;
use crate::engine::engines::Engines;
use crate::wire::wyoming::{Decoder, Event, WyomingError};

/// The one input format.
const RATE: u32 = 16_000;
/// Samples in one chunk of speech: 100 ms at 24 kHz.
const CHUNK: usize = 2_400;

/// Serves one connection until it ends or the token is cancelled.
pub async fn serve<S>(socket: S, engines: Arc<Engines>, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut talk = Talk { wire: Framed::new(socket, Decoder::default()), engines, hearing: Hearing::default() };
    tokio::select! {
        () = stop.cancelled() => {}
        ended = talk.run() => match ended {
            Ok(()) => {}
            Err(WyomingError::Io(error)) => tracing::debug!(%error, "wyoming connection ended"),
            Err(error) => tracing::warn!(%error, "wyoming connection closed"),
        },
    }
}

/// The utterance that comes in.
#[derive(Default)]
struct Hearing {
    language: Option<String>,
    pcm: Vec<i16>,
    /// The utterance is refused; the rest of it is not kept.
    refused: Option<EngineError>,
}

struct Talk<S> {
    wire: Framed<S, Decoder>,
    engines: Arc<Engines>,
    hearing: Hearing,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Talk<S> {
    async fn run(&mut self) -> Result<(), WyomingError> {
        while let Some(event) = self.wire.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    // The peer learns why before the connection ends: after bad framing nothing can be read.
                    let _told = self.wire.send(Event::error(error.to_string(), "protocol")).await;
                    return Err(error);
                }
            };
            match event.kind.as_str() {
                "describe" => self.wire.send(info(&self.engines)).await?,
                "ping" => self.wire.send(Event { kind: "pong".into(), ..event }).await?,
                "transcribe" => self.hearing.language = event.text("language").map(str::to_owned),
                "audio-start" => {
                    let language = self.hearing.language.take();
                    self.hearing = Hearing { language, ..Hearing::default() };
                }
                "audio-chunk" => self.hear(&event),
                "audio-stop" => self.transcribe().await?,
                "synthesize" => self.speak(&event).await?,
                // Events of newer versions are no errors.
                other => tracing::debug!(kind = other, "wyoming event passed over"),
            }
        }
        Ok(())
    }

    fn hear(&mut self, chunk: &Event) {
        if self.hearing.refused.is_some() {
            return;
        }
        let is = |key: &str, wanted: u32| chunk.number(key).is_none_or(|n| n == u64::from(wanted));
        if !(is("rate", RATE) && is("width", 2) && is("channels", 1)) {
            self.hearing.refused =
                Some(EngineError::Request("send 16000 samples a second, 2 bytes each, one channel".into()));
            return;
        }
        let longest = self.engines.settings().max_utterance;
        let most = usize::try_from(longest.0.as_millis() * u128::from(RATE) / 1_000).unwrap_or(usize::MAX);
        self.hearing.pcm.extend(chunk.samples());
        if self.hearing.pcm.len() > most {
            self.hearing.pcm = Vec::new();
            self.hearing.refused = Some(EngineError::Request(format!("an utterance is at most {longest} long")));
        }
    }

    async fn transcribe(&mut self) -> Result<(), WyomingError> {
        let hearing = std::mem::take(&mut self.hearing);
        let heard = match hearing.refused {
            Some(error) => Err(error),
            None => self.engines.transcribe(hearing.pcm, hearing.language).await,
        };
        let answer = match heard {
            Ok(heard) => {
                let event = Event::new("transcript").with("text", heard.text);
                heard.language.map_or(event.clone(), |language| event.with("language", language))
            }
            Err(error) => failure(&error),
        };
        self.wire.send(answer).await
    }

    async fn speak(&mut self, event: &Event) -> Result<(), WyomingError> {
        let text = event.text("text").unwrap_or_default();
        let mut speech = match self.engines.say(text) {
            Ok(speech) => speech,
            Err(error) => return self.wire.send(failure(&error)).await,
        };
        let mut rate = None;
        while let Some(said) = speech.recv().await {
            let said = match said {
                Ok(said) => said,
                Err(error) => return self.wire.send(failure(&error)).await,
            };
            if rate.is_none() {
                self.wire.feed(Event::audio_start(said.rate)).await?;
                rate = Some(said.rate);
            }
            for chunk in said.samples.chunks(CHUNK) {
                self.wire.feed(Event::audio_chunk(said.rate, chunk)).await?;
            }
            self.wire.flush().await?;
        }
        if rate.is_none() {
            self.wire.feed(Event::audio_start(24_000)).await?;
        }
        self.wire.send(Event::new("audio-stop")).await
    }
}

fn failure(error: &EngineError) -> Event {
    Event::error(error.to_string(), error.code())
}

/// What `describe` is answered with.
fn info(engines: &Engines) -> Event {
    let settings = engines.settings();
    let health = engines.health();
    let installed = |name: &str| {
        let state = health.engines.get(name).and_then(|engine| engine.get("state")).and_then(Value::as_str);
        matches!(state, Some("ready" | "loading" | "asleep"))
    };
    let asr = artifact("voxgate", "Voxgate's local ear", "https://github.com/ggml-org/whisper.cpp");
    let tts = artifact(&settings.voice, "Voxgate's local voice", "https://pypi.org/project/hibari-tts/");
    let one = |mut program: Value, key: &str, name: &str, there: bool, languages: Value| {
        let mut model = program.clone();
        model["name"] = name.into();
        model["languages"] = languages;
        model["installed"] = there.into();
        program["installed"] = there.into();
        program[key] = json!([model]);
        json!([program])
    };
    let mut event = Event { kind: "info".into(), payload: Bytes::new(), ..Event::default() };
    for key in ["asr", "tts", "handle", "intent", "wake", "mic", "snd"] {
        let programs = match key {
            "asr" => one(asr.clone(), "models", &settings.stt, installed("stt"), json!(engines.hears())),
            "tts" => one(tts.clone(), "voices", &settings.voice, installed("tts"), json!(engines.speaks())),
            _ => json!([]),
        };
        event.data.insert(key.into(), programs);
    }
    event
}

fn artifact(name: &str, description: &str, url: &str) -> Value {
    json!({
        "name": name,
        "description": description,
        "attribution": { "name": description, "url": url },
        "installed": false,
        "version": env!("CARGO_PKG_VERSION"),
    })
}
