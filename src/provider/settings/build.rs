//! The providers that settings ask for.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::{Kind, Service, Settings, Upload};
use crate::audio::Workers;
use crate::domain::Clock;
use crate::provider::anthropic::AnthropicChat;
use crate::provider::deepgram::DeepgramTranscriber;
use crate::provider::edge::EdgeSynthesizer;
use crate::provider::elevenlabs::ElevenLabsSynthesizer;
use crate::provider::gemini::GeminiChat;
use crate::provider::http::{self, HttpError, Patience};
use crate::provider::openai::{OpenAiChat, OpenAiEmbedder, OpenAiSynthesizer, OpenAiTranscriber};
use crate::provider::pool::{self, Member, Pool, Probe, Terms};
use crate::provider::target::{Listed, Target};
use crate::provider::warm::Warm;
use crate::provider::wyoming::{Address, Described, WyomingSynthesizer, WyomingTranscriber};
use crate::provider::{ChatModel, Embedder, Synthesizer, Transcriber};

/// Where the engine that comes with Voxgate listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// Wyoming.
    pub wyoming: SocketAddr,
    /// OpenAI-compatible HTTP.
    pub http: SocketAddr,
}

/// Why there are no providers.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A key cannot be read; the text names the file or variable, never the key.
    #[error("the key of a provider cannot be read: {0}")]
    Key(String),
    /// An address is none.
    #[error("the address of a provider is none: {0}")]
    Address(String),
    /// A type does not do what it is configured for; [`Settings::check`] says so before.
    #[error("the type of providers.{0} does not do that")]
    Unfit(&'static str),
    /// The client cannot start.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// One provider a capability; none where it is off.
#[derive(Clone, Default)]
pub struct Providers {
    /// Speech to text.
    pub stt: Option<Arc<dyn Transcriber>>,
    /// Text to speech.
    pub tts: Option<Arc<dyn Synthesizer>>,
    /// Chat.
    pub chat: Option<Arc<dyn ChatModel>>,
    /// Embeddings.
    pub embed: Option<Arc<dyn Embedder>>,
    /// The pools behind them, for [`pool::Pools`].
    pub pools: Vec<Arc<dyn pool::Kept>>,
    /// Those of a turn, to be connected to ahead of need: who is asked first, not who stands in.
    pub warm: Warm,
}

impl Providers {
    /// The configured providers. Opens no connection yet.
    pub fn new(
        settings: &Settings,
        local: Local,
        client: &http::Client,
        pool: &pool::Parts,
        workers: &Workers,
    ) -> Result<Self, SetupError> {
        let Settings { stt, tts, chat, embed, backup, pool: _ } = settings;
        let engine = format!("http://{}/v1", local.http);
        let web = |service: &Service| match service.kind {
            Kind::Local => Some(engine.clone()),
            _ => service.url.clone(),
        };
        let place = Place { local, client };
        let stt =
            place.all(stt, &backup.stt, "stt", |stt| stt.transcriber(web(stt).as_deref(), local, (client, workers)))?;
        let tts = place.all(tts, &backup.tts, "tts", |tts| {
            tts.synthesizer(web(tts).as_deref(), local, (client, workers, &pool.clock))
        })?;
        let chat = place.all(chat, &backup.chat, "chat", |chat| chat.chat("chat", web(chat).as_deref(), client))?;
        let embed = place.all(embed, &[], "embed", |embed| embed.embedder(web(embed).as_deref(), client))?;
        let mut warm = Warm::default();
        if client.warms() {
            warm.add("stt", stt.first().and_then(|stt| stt.provider.ahead()));
            warm.add("chat", chat.first().and_then(|chat| chat.provider.ahead()));
            warm.add("tts", tts.first().and_then(|tts| tts.provider.ahead()));
        }
        let (stt, tts) = (Pool::new("stt", stt, pool), Pool::new("tts", tts, pool));
        let (chat, embed) = (Pool::new("chat", chat, pool), Pool::new("embed", embed, pool));
        let pools = [
            stt.as_ref().map(Pool::kept),
            tts.as_ref().map(Pool::kept),
            chat.as_ref().map(Pool::kept),
            embed.as_ref().map(Pool::kept),
        ];
        Ok(Self {
            warm,
            stt: stt.map(|pool| Arc::new(pool) as _),
            tts: tts.map(|pool| Arc::new(pool) as _),
            chat: chat.map(|pool| Arc::new(pool) as _),
            embed: embed.map(|pool| Arc::new(pool) as _),
            pools: pools.into_iter().flatten().collect(),
        })
    }
}

/// Where services are reached.
#[derive(Clone, Copy)]
struct Place<'a> {
    local: Local,
    client: &'a http::Client,
}

impl Place<'_> {
    /// The service that is asked first, and those that stand in for it; nobody where it is off.
    fn all<P: ?Sized>(
        self,
        first: &Service,
        backup: &[Service],
        name: &'static str,
        make: impl Fn(&Service) -> Result<Option<Arc<P>>, SetupError>,
    ) -> Result<Vec<Member<P>>, SetupError> {
        if first.kind == Kind::Off {
            return Ok(Vec::new());
        }
        let mut members = Vec::new();
        for service in std::iter::once(first).chain(backup) {
            let Some(provider) = make(service)? else { continue };
            let probe = Some(service.probe(name, self.local, self.client)?);
            members.push(Member { provider, kind: service.kind.name(), terms: service.terms(), probe });
        }
        Ok(members)
    }
}

/// So many requests at once are enough for the engine that comes with Voxgate: it is this machine that works.
fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}

impl Service {
    fn terms(&self) -> Terms {
        let own = || (self.kind == Kind::Local).then(cores);
        let at_once = self.at_once.or_else(own);
        Terms { weight: self.weight, at_once, cost: self.cost, suits: self.suits }
    }

    /// How to see that it is back.
    fn probe(&self, name: &'static str, local: Local, client: &http::Client) -> Result<Arc<dyn Probe>, SetupError> {
        let speaks_wyoming = self.kind == Kind::Wyoming || self.kind == Kind::Local && matches!(name, "stt" | "tts");
        if speaks_wyoming {
            return Ok(Arc::new(Described::new(name, self.wyoming(local)?)));
        }
        let engine = format!("http://{}/v1", local.http);
        let url = if self.kind == Kind::Local { Some(engine.as_str()) } else { self.url.as_deref() };
        Ok(Arc::new(Listed::new(self.target(name, url, client)?)))
    }

    fn wyoming(&self, local: Local) -> Result<Address, SetupError> {
        match self.kind {
            Kind::Local => Ok(Address::Tcp(local.wyoming.to_string())),
            _ => Address::parse(self.url.as_deref().unwrap_or_default()).map_err(SetupError::Address),
        }
    }

    fn transcriber(
        &self,
        url: Option<&str>,
        local: Local,
        (client, workers): (&http::Client, &Workers),
    ) -> Result<Option<Arc<dyn Transcriber>>, SetupError> {
        Ok(Some(match self.kind {
            Kind::Off => return Ok(None),
            Kind::Openai => {
                let transcriber = OpenAiTranscriber::new(self.target("stt", url, client)?);
                let transcriber = if self.stream { transcriber.streaming() } else { transcriber };
                Arc::new(match self.upload {
                    Upload::Wav => transcriber,
                    Upload::Ogg => transcriber.with_ogg(workers.clone()),
                })
            }
            Kind::Deepgram => Arc::new(DeepgramTranscriber::new(self.target("stt", url, client)?)),
            Kind::Local | Kind::Wyoming => {
                let address = self.wyoming(local)?;
                Arc::new(WyomingTranscriber::new("stt", address, self.model.clone(), self.patience()))
            }
            Kind::Anthropic | Kind::Gemini | Kind::Elevenlabs | Kind::Edge => return Err(SetupError::Unfit("stt")),
        }))
    }

    fn synthesizer(
        &self,
        url: Option<&str>,
        local: Local,
        (client, workers, clock): (&http::Client, &Workers, &Arc<dyn Clock>),
    ) -> Result<Option<Arc<dyn Synthesizer>>, SetupError> {
        let (target, voice) = (|| self.target("tts", url, client), self.voice.clone());
        Ok(Some(match self.kind {
            Kind::Off => return Ok(None),
            Kind::Openai => Arc::new(OpenAiSynthesizer::new(target()?, voice, self.rate)),
            Kind::Elevenlabs => Arc::new(ElevenLabsSynthesizer::new(target()?, voice.unwrap_or_default(), self.rate)),
            Kind::Edge => {
                let (clock, workers) = (Arc::clone(clock), workers.clone());
                Arc::new(EdgeSynthesizer::new(target()?, voice.unwrap_or_default(), clock, workers))
            }
            Kind::Local | Kind::Wyoming => {
                Arc::new(WyomingSynthesizer::new("tts", self.wyoming(local)?, voice, self.patience()))
            }
            Kind::Anthropic | Kind::Gemini | Kind::Deepgram => return Err(SetupError::Unfit("tts")),
        }))
    }

    fn embedder(&self, url: Option<&str>, client: &http::Client) -> Result<Option<Arc<dyn Embedder>>, SetupError> {
        match self.kind {
            Kind::Off => Ok(None),
            Kind::Local | Kind::Openai => Ok(Some(Arc::new(OpenAiEmbedder::new(self.target("embed", url, client)?)))),
            _ => Err(SetupError::Unfit("embed")),
        }
    }

    /// The model that it names, for questions about pictures. Opens no connection yet.
    pub fn eye(&self, client: &http::Client) -> Result<Member<dyn ChatModel>, SetupError> {
        let model = match self.kind {
            Kind::Local => None,
            _ => self.chat("vision", self.url.as_deref(), client)?,
        };
        let provider = model.ok_or(SetupError::Unfit("vision"))?;
        let probe: Arc<dyn Probe> = Arc::new(Listed::new(self.target("vision", self.url.as_deref(), client)?));
        Ok(Member { provider, kind: self.kind.name(), terms: self.terms(), probe: Some(probe) })
    }

    fn patience(&self) -> Patience {
        Patience { first_byte: self.first_byte.0, between: self.between.0, whole: self.timeout.0 }
    }

    /// The key, which is read now.
    fn key(&self) -> Result<Option<String>, SetupError> {
        let read = |file: &Path| {
            std::fs::read_to_string(file).map(Some).map_err(|e| SetupError::Key(format!("{}: {e}", file.display())))
        };
        let key = match (&self.api_key_file, &self.api_key_credential, &self.api_key_env) {
            (Some(file), ..) => read(file)?,
            (None, Some(name), _) => {
                let none =
                    || SetupError::Key(format!("there are no credentials of a systemd service, {name:?} is to be one"));
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(none)?;
                read(&Path::new(&folder).join(name))?
            }
            (None, None, Some(name)) => {
                Some(std::env::var(name).map_err(|_| SetupError::Key(format!("{name} is not in the environment")))?)
            }
            (None, None, None) => None,
        };
        Ok(key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()))
    }

    /// The service at `url`, or where it always is.
    fn target(&self, name: &str, url: Option<&str>, client: &http::Client) -> Result<Target, SetupError> {
        let key = self.key()?;
        let url = url.or(self.kind.address()).unwrap_or_default();
        Ok(Target {
            name: name.to_owned(),
            url: url.trim_end_matches('/').to_owned(),
            model: self.model.clone(),
            headers: self.kind.headers(key.as_deref()),
            secret: key,
            patience: self.patience(),
            client: client.clone(),
        })
    }

    /// A chat model at `url`, or where the service always is.
    fn chat(
        &self,
        name: &'static str,
        url: Option<&str>,
        client: &http::Client,
    ) -> Result<Option<Arc<dyn ChatModel>>, SetupError> {
        let target = || self.target(name, url, client);
        Ok(Some(match self.kind {
            Kind::Off => return Ok(None),
            Kind::Local | Kind::Openai => Arc::new(OpenAiChat::new(target()?)),
            Kind::Anthropic => Arc::new(AnthropicChat::new(target()?)),
            Kind::Gemini => Arc::new(GeminiChat::new(target()?)),
            Kind::Wyoming | Kind::Elevenlabs | Kind::Deepgram | Kind::Edge => return Err(SetupError::Unfit(name)),
        }))
    }
}
