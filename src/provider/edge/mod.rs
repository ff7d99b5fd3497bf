//! The voices of Microsoft Edge's read-aloud: text to speech over a WebSocket, without a key.
//!
//! Nobody promises this service: it is made for a browser, and may change or refuse at any time. It sends MP3, which a codec
//! thread decodes; `request` writes what it is asked.

mod request;

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;

use super::http::Headers;
use super::socket::{self, Heard, Hearer, Sayer};
use super::target::Target;
use super::warm::{Opens, Web};
use super::{ErrorKind, PcmChunk, ProviderError, SpeechRequest, SpeechStream, Synthesizer};
use crate::audio::Workers;
use crate::audio::mp3::{Mp3, Sound};
use crate::domain::Clock;
pub use request::is_voice;

/// Where the service is.
pub const URL: &str = "https://speech.platform.bing.com/consumer/speech/synthesize/readaloud/edge/v1";

/// The headers of a request, which are a browser's.
pub fn headers() -> Headers {
    request::headers()
}

/// Text to speech by Edge's voices.
#[derive(Debug, Clone)]
pub struct EdgeSynthesizer {
    target: Target,
    voice: String,
    clock: Arc<dyn Clock>,
    workers: Workers,
}

impl EdgeSynthesizer {
    /// A voice of `target`. The clock makes the token: the service refuses one that is minutes off.
    pub fn new(target: Target, voice: impl Into<String>, clock: Arc<dyn Clock>, workers: Workers) -> Self {
        Self { target, voice: voice.into(), clock, workers }
    }
}

impl Synthesizer for EdgeSynthesizer {
    fn speak(&self, request: SpeechRequest) -> SpeechStream {
        let speech = Speech {
            target: self.target.clone(),
            clock: Arc::clone(&self.clock),
            workers: self.workers.clone(),
            stage: Stage::Ask { voice: request.voice.unwrap_or_else(|| self.voice.clone()), text: request.text },
            mp3: Some(Box::default()),
            spoke: false,
        };
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
        Web::socket(&self.target)
    }
}

struct Speech {
    target: Target,
    clock: Arc<dyn Clock>,
    workers: Workers,
    stage: Stage,
    /// At a codec thread when it is not here.
    mp3: Option<Box<Mp3>>,
    /// Something was heard.
    spoke: bool,
}

enum Stage {
    Ask {
        voice: String,
        text: String,
    },
    /// The sayer is kept: pings are answered through it.
    Hear(Box<(Sayer, Hearer)>),
    Over,
}

impl Speech {
    async fn next(&mut self) -> Option<Result<PcmChunk, ProviderError>> {
        loop {
            let step = match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Over => return None,
                Stage::Ask { voice, text } => self.ask(&voice, &text).await,
                Stage::Hear(mut line) => match line.1.next().await.map_err(|error| self.target.failure(error)) {
                    Ok(heard) => self.take(heard, line).await,
                    Err(error) => Err(error),
                },
            };
            match step {
                Ok(Sound { samples, .. }) if samples.is_empty() => {}
                Ok(Sound { rate, samples }) => return Some(Ok(PcmChunk { rate, samples, ..PcmChunk::default() })),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    async fn ask(&mut self, voice: &str, text: &str) -> Result<Sound, ProviderError> {
        let target = &self.target;
        let now = self.clock.wall();
        let bad = |what: String| target.error(ErrorKind::BadRequest, what);
        let speech = request::speech(voice, text, now).map_err(bad)?;
        let query = request::query(now);
        let opened = socket::open(&target.client, (&target.url, &query), &target.headers, target.patience);
        let (mut sayer, hearer) = opened.await.map_err(|error| target.failure(error))?;
        for message in [request::form(now), speech] {
            sayer.text(message).await.map_err(|error| target.failure(error))?;
        }
        self.stage = Stage::Hear(Box::new((sayer, hearer)));
        Ok(Sound::default())
    }

    async fn take(&mut self, heard: Heard, line: Box<(Sayer, Hearer)>) -> Result<Sound, ProviderError> {
        match heard {
            Heard::Text(text) if request::path(&text) == Some("turn.end") => {
                let rest = self.decode(Bytes::new(), true).await?;
                let nothing = || self.target.garbled("the service said nothing: does it have this voice?");
                if self.spoke { Ok(rest) } else { Err(nothing()) }
            }
            // the turn's beginning, and where words are in the sound
            Heard::Text(_) => {
                self.stage = Stage::Hear(line);
                Ok(Sound::default())
            }
            Heard::Bytes(bytes) => {
                let sound = request::sound(&bytes).map_err(|what| self.target.garbled(what))?;
                let sound = self.decode(sound, false).await?;
                self.stage = Stage::Hear(line);
                Ok(sound)
            }
            Heard::Closed(code, reason) => {
                let kind = match code {
                    1_002 | 1_003 | 1_007..=1_010 => ErrorKind::BadRequest,
                    1_011 => ErrorKind::Internal,
                    _ => ErrorKind::Unavailable,
                };
                Err(self.target.error(kind, format!("the service closed the stream: {code} {reason}").trim_end()))
            }
        }
    }

    /// Decodes at a codec thread.
    async fn decode(&mut self, bytes: Bytes, last: bool) -> Result<Sound, ProviderError> {
        let Some(mut mp3) = self.mp3.take() else { return Ok(Sound::default()) };
        let job = move || {
            let sound = if last { mp3.finish() } else { mp3.push(&bytes) };
            (mp3, sound)
        };
        let done = self.workers.run(job).await;
        let (mp3, sound) = done.map_err(|error| self.target.error(ErrorKind::Internal, error.to_string()))?;
        self.mp3 = Some(mp3);
        let sound = sound.map_err(|error| self.target.garbled(error))?;
        self.spoke |= !sound.samples.is_empty();
        Ok(sound)
    }
}
