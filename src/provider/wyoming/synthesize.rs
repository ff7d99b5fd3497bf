//! Text to speech by Wyoming, as it is made.

use std::sync::Arc;

use futures::StreamExt;
use serde_json::{Map, Value};

use super::connection::{Address, Exchange, Peer};
use crate::provider::http::Patience;
use crate::provider::warm::Opens;
use crate::provider::{ErrorKind, PcmChunk, ProviderError, SpeechRequest, SpeechStream, Synthesizer};
use crate::wire::wyoming::Event;

/// A Wyoming text-to-speech service.
#[derive(Debug)]
pub struct WyomingSynthesizer {
    peer: Arc<Peer>,
    voice: Option<String>,
}

impl WyomingSynthesizer {
    /// A service; `voice` in its words.
    pub fn new(name: impl Into<String>, address: Address, voice: Option<String>, patience: Patience) -> Self {
        Self { peer: Arc::new(Peer::new(name, address, patience)), voice }
    }
}

impl Synthesizer for WyomingSynthesizer {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        let speech = Speech { peer: Arc::clone(&self.peer), stage: Stage::Ask(ask(request, self.voice.as_deref())) };
        futures::stream::unfold(speech, |mut speech| async move {
            let item = speech.next().await?;
            if item.is_err() {
                speech.stage = Stage::Over;
            }
            Some((item, speech))
        })
        .boxed()
    }

    fn ahead(&self) -> Option<Arc<dyn Opens>> {
        Some(Arc::clone(&self.peer) as _)
    }
}

fn ask(request: SpeechRequest, usual: Option<&str>) -> Event {
    let mut voice = Map::new();
    if let Some(name) = request.voice.as_deref().or(usual) {
        voice.insert("name".into(), name.into());
    } else if let Some(language) = request.language {
        voice.insert("language".into(), language.into());
    }
    let event = Event::new("synthesize").with("text", request.text);
    if voice.is_empty() { event } else { event.with("voice", Value::Object(voice)) }
}

struct Speech {
    peer: Arc<Peer>,
    stage: Stage,
}

enum Stage {
    Ask(Event),
    Hear(Box<Exchange>),
    Over,
}

impl Speech {
    async fn next(&mut self) -> Option<Result<PcmChunk, ProviderError>> {
        loop {
            let event = match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Over => return None,
                Stage::Ask(request) => match self.peer.ask(&[request]).await {
                    Ok((exchange, event)) => {
                        self.stage = Stage::Hear(Box::new(exchange));
                        event
                    }
                    Err(error) => return Some(Err(error)),
                },
                Stage::Hear(mut exchange) => match self.peer.hear(&mut exchange).await {
                    Ok(event) => {
                        self.stage = Stage::Hear(exchange);
                        event
                    }
                    Err(error) => return Some(Err(error)),
                },
            };
            match event.kind.as_str() {
                "audio-chunk" => match chunk(&event) {
                    Some(chunk) if chunk.samples.is_empty() => {}
                    Some(chunk) => return Some(Ok(chunk)),
                    None => return Some(Err(self.strange(&event))),
                },
                "audio-stop" => {
                    if let Stage::Hear(exchange) = std::mem::replace(&mut self.stage, Stage::Over) {
                        self.peer.keep(*exchange);
                    }
                    return None;
                }
                _ => {}
            }
        }
    }

    fn strange(&self, event: &Event) -> ProviderError {
        let form = Value::Object(event.data.clone());
        self.peer.error(ErrorKind::BadAnswer, format!("the service sent sound of a form that is not known: {form}"))
    }
}

/// Signed 16 bit of one or two channels, as mono.
fn chunk(event: &Event) -> Option<PcmChunk> {
    let rate = u32::try_from(event.number("rate")?).ok().filter(|rate| (8_000..=48_000).contains(rate))?;
    if event.number("width")? != 2 {
        return None;
    }
    let samples: Vec<i16> = event.samples().collect();
    let samples = match event.number("channels")? {
        1 => samples,
        2 => samples.chunks_exact(2).map(|pair| i16::midpoint(pair[0], pair[1])).collect(),
        _ => return None,
    };
    Some(PcmChunk { rate, samples, ..PcmChunk::default() })
}
