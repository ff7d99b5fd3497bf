//! `[providers]`: which service does what, and the providers made of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::{Problem, Span};

use super::http::{self, Headers, HttpError, Patience};
use super::openai::{OpenAiChat, OpenAiEmbedder, OpenAiSynthesizer, OpenAiTranscriber, Target};
use super::wyoming::{Address, WyomingSynthesizer, WyomingTranscriber};
use super::{ChatModel, Embedder, Synthesizer, Transcriber};

/// The protocol of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The engine that comes with Voxgate (`[engine]`).
    #[default]
    Local,
    /// Wyoming: Home Assistant's voice services. Speech to text and text to speech only.
    Wyoming,
    /// OpenAI-compatible HTTP.
    Openai,
    /// None.
    Off,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// "local", "wyoming", "openai" or "off". Default "local".
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Where: "tcp://127.0.0.1:10300" or "unix:///run/piper.sock" for Wyoming, "https://api.openai.com/v1" for
    /// OpenAI-compatible services. Not for "local".
    pub url: Option<String>,
    /// The model, in the service's words. Default: the service's own.
    pub model: Option<String>,
    /// The voice, in the service's words (speech only). Default: the service's own.
    pub voice: Option<String>,
    /// A file with the key, without a line break at its end or with one.
    pub api_key_file: Option<PathBuf>,
    /// The environment variable with the key, when there is no file.
    pub api_key_env: Option<String>,
    /// Samples a second of an OpenAI-compatible voice. Default 24000.
    pub rate: u32,
    /// How long the first byte of an answer may take. Default "10s".
    pub first_byte: Span,
    /// How long the pause between two pieces of an answer may be. Default "10s".
    pub between: Span,
    /// How long all of an answer may take. Default "60s".
    pub timeout: Span,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            kind: Kind::Local,
            url: None,
            model: None,
            voice: None,
            api_key_file: None,
            api_key_env: None,
            rate: 24_000,
            first_byte: Span::secs(10),
            between: Span::secs(10),
            timeout: Span::secs(60),
        }
    }
}

/// All services (`[providers]`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Speech to text.
    pub stt: Service,
    /// Text to speech.
    pub tts: Service,
    /// Chat.
    pub chat: Service,
    /// Embeddings.
    pub embed: Service,
}

impl Settings {
    /// All that is wrong with it.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, service, speech) in [
            ("stt", &self.stt, true),
            ("tts", &self.tts, true),
            ("chat", &self.chat, false),
            ("embed", &self.embed, false),
        ] {
            service.check(&format!("{path}.{name}"), speech, &mut problems);
        }
        problems
    }

    /// Some capability comes from the engine that comes with Voxgate.
    pub fn wants_engine(&self) -> bool {
        [&self.stt, &self.tts, &self.chat, &self.embed].iter().any(|service| service.kind == Kind::Local)
    }
}

impl Service {
    /// What is wrong with one that answers questions about pictures: nothing that comes with Voxgate does.
    pub fn check_vision(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        match self.kind {
            Kind::Off | Kind::Openai => self.check(path, false, &mut problems),
            Kind::Local | Kind::Wyoming => {
                let what = "nothing of this type looks at pictures";
                problems.push(Problem::new(format!("{path}.type"), what, "write \"openai\", or leave it out"));
            }
        }
        problems
    }

    /// The model that it names, for questions about pictures; none when it is off. Opens no connection yet.
    pub fn vision(&self, client: &http::Client) -> Result<Option<Arc<dyn ChatModel>>, SetupError> {
        let Some(url) = self.url.as_deref().filter(|_| self.kind == Kind::Openai) else { return Ok(None) };
        Ok(Some(Arc::new(OpenAiChat::new(self.target("vision", url, client)?))))
    }

    fn check(&self, path: &str, speech: bool, problems: &mut Vec<Problem>) {
        let mut add = |key: &str, what: String, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        match (self.kind, &self.url) {
            (Kind::Wyoming, _) if !speech => {
                add("type", "Wyoming carries speech, not this".into(), "write \"openai\" or \"local\"");
            }
            (Kind::Wyoming, Some(url)) => {
                if let Err(error) = Address::parse(url) {
                    add("url", error, "write \"tcp://host:port\" or \"unix:///path\"");
                }
            }
            (Kind::Openai, Some(url)) if !(url.starts_with("http://") || url.starts_with("https://")) => {
                add("url", format!("{url:?} is no web address"), "write \"https://host/v1\"");
            }
            (Kind::Wyoming | Kind::Openai, None) => {
                add("url", "a service needs an address".into(), "write url = \"…\", or type = \"local\"");
            }
            (Kind::Local | Kind::Off, Some(_)) => {
                add("url", "is not looked at with this type".into(), "write type = \"wyoming\" or \"openai\" too");
            }
            _ => {}
        }
        if let Some(file) = self.api_key_file.as_ref().filter(|file| !file.is_file()) {
            add("api_key_file", format!("there is no file {}", file.display()), "name a file with the key");
        }
        if let Some(name) = self.api_key_env.as_ref().filter(|name| std::env::var_os(name).is_none()) {
            add("api_key_env", format!("{name} is not in the environment"), "set it, or use api_key_file");
        }
        for (key, span) in [("first_byte", self.first_byte), ("between", self.between), ("timeout", self.timeout)] {
            if span.0.is_zero() {
                add(key, "nothing is answered in no time".into(), "write a time such as \"10s\"");
            }
        }
        if !(8_000..=48_000).contains(&self.rate) {
            add("rate", format!("{} samples a second is no voice", self.rate), "write 8000 to 48000");
        }
    }

    fn patience(&self) -> Patience {
        Patience { first_byte: self.first_byte.0, between: self.between.0, whole: self.timeout.0 }
    }

    /// The headers with the key, which is read now.
    fn headers(&self) -> Result<(Headers, Option<String>), SetupError> {
        let key = match (&self.api_key_file, &self.api_key_env) {
            (Some(file), _) => {
                Some(std::fs::read_to_string(file).map_err(|e| SetupError::Key(format!("{}: {e}", file.display())))?)
            }
            (None, Some(name)) => {
                Some(std::env::var(name).map_err(|_| SetupError::Key(format!("{name} is not in the environment")))?)
            }
            (None, None) => None,
        };
        let key = key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
        Ok((key.as_ref().map_or_else(Headers::new, |key| Headers::new().bearer(key)), key))
    }

    fn target(&self, name: &str, url: &str, client: &http::Client) -> Result<Target, SetupError> {
        let (headers, key) = self.headers()?;
        Ok(Target {
            name: name.to_owned(),
            url: url.trim_end_matches('/').to_owned(),
            model: self.model.clone(),
            headers,
            secret: key,
            patience: self.patience(),
            client: client.clone(),
        })
    }
}

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
}

impl Providers {
    /// The configured providers. Opens no connection yet.
    pub fn new(settings: &Settings, local: Local, client: &http::Client) -> Result<Self, SetupError> {
        let mut all = Self::default();
        let wyoming = |service: &Service| match service.kind {
            Kind::Local => Ok(Address::Tcp(local.wyoming.to_string())),
            _ => Address::parse(service.url.as_deref().unwrap_or_default()).map_err(SetupError::Address),
        };
        let web = |service: &Service| match service.kind {
            Kind::Local => format!("http://{}/v1", local.http),
            _ => service.url.clone().unwrap_or_default(),
        };
        let (stt, tts) = (&settings.stt, &settings.tts);
        all.stt = match stt.kind {
            Kind::Off => None,
            Kind::Openai => Some(Arc::new(OpenAiTranscriber::new(stt.target("stt", &web(stt), client)?))),
            Kind::Local | Kind::Wyoming => {
                let transcriber = WyomingTranscriber::new("stt", wyoming(stt)?, stt.model.clone(), stt.patience());
                Some(Arc::new(transcriber))
            }
        };
        all.tts = match tts.kind {
            Kind::Off => None,
            Kind::Openai => {
                let target = tts.target("tts", &web(tts), client)?;
                Some(Arc::new(OpenAiSynthesizer::new(target, tts.voice.clone(), tts.rate)))
            }
            Kind::Local | Kind::Wyoming => {
                let synthesizer = WyomingSynthesizer::new("tts", wyoming(tts)?, tts.voice.clone(), tts.patience());
                Some(Arc::new(synthesizer))
            }
        };
        if settings.chat.kind != Kind::Off {
            let target = settings.chat.target("chat", &web(&settings.chat), client)?;
            all.chat = Some(Arc::new(OpenAiChat::new(target)));
        }
        if settings.embed.kind != Kind::Off {
            let target = settings.embed.target("embed", &web(&settings.embed), client)?;
            all.embed = Some(Arc::new(OpenAiEmbedder::new(target)));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_lacks_is_told_with_its_key() {
        let settings = Settings {
            stt: Service { kind: Kind::Wyoming, url: Some("nonsense".into()), ..Service::default() },
            chat: Service { kind: Kind::Wyoming, ..Service::default() },
            embed: Service { kind: Kind::Openai, first_byte: Span::ms(0), ..Service::default() },
            tts: Service { url: Some("tcp://a:1".into()), rate: 1, ..Service::default() },
        };
        let keys: Vec<_> = settings.check("providers").into_iter().map(|problem| problem.key).collect();
        let expected = [
            "providers.stt.url",
            "providers.tts.url",
            "providers.tts.rate",
            "providers.chat.type",
            "providers.embed.url",
            "providers.embed.first_byte",
        ];
        assert_eq!(keys, expected);
        assert!(Settings::default().check("providers").is_empty());
    }
}
