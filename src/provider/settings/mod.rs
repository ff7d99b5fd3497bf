//! `[providers]`: which service does what, and the providers made of it.

mod build;
mod check;
mod identity;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::build::{Local, Providers, SetupError};
use self::check::Capability;
pub use self::identity::Ability;
use super::http::Headers;
use super::{anthropic, deepgram, edge, elevenlabs, gemini, pool};
use crate::domain::{Problem, Span};

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
    /// Anthropic's Messages API. Chat and vision only.
    Anthropic,
    /// Google's Gemini API. Chat and vision only.
    Gemini,
    /// ElevenLabs. Text to speech only.
    Elevenlabs,
    /// Deepgram. Speech to text only.
    Deepgram,
    /// Microsoft Edge's read-aloud. Text to speech only, without a key and without anybody's promise.
    Edge,
    /// None.
    Off,
}

impl Kind {
    /// As it is written.
    fn name(self) -> &'static str {
        match self {
            Kind::Local => "local",
            Kind::Wyoming => "wyoming",
            Kind::Openai => "openai",
            Kind::Anthropic => "anthropic",
            Kind::Gemini => "gemini",
            Kind::Elevenlabs => "elevenlabs",
            Kind::Deepgram => "deepgram",
            Kind::Edge => "edge",
            Kind::Off => "off",
        }
    }

    /// The address of a service that has one for all.
    fn address(self) -> Option<&'static str> {
        match self {
            Kind::Anthropic => Some(anthropic::URL),
            Kind::Gemini => Some(gemini::URL),
            Kind::Elevenlabs => Some(elevenlabs::URL),
            Kind::Deepgram => Some(deepgram::URL),
            Kind::Edge => Some(edge::URL),
            Kind::Local | Kind::Wyoming | Kind::Openai | Kind::Off => None,
        }
    }

    fn headers(self, key: Option<&str>) -> Headers {
        match self {
            Kind::Anthropic => anthropic::headers(key),
            Kind::Gemini => gemini::headers(key),
            Kind::Elevenlabs => elevenlabs::headers(key),
            Kind::Deepgram => deepgram::headers(key),
            Kind::Edge => edge::headers(),
            Kind::Local | Kind::Wyoming | Kind::Openai | Kind::Off => {
                key.map_or_else(Headers::new, |key| Headers::new().bearer(key))
            }
        }
    }
}

/// In which form an utterance is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Upload {
    /// Samples.
    #[default]
    Wav,
    /// Opus, a tenth of their size.
    Ogg,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// "local", "wyoming", "openai", "off"; for chat "anthropic" and "gemini" too, for stt "deepgram", for tts
    /// "elevenlabs" and "edge". Default "local".
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Where: "tcp://127.0.0.1:10300" or "unix:///run/piper.sock" for Wyoming, "https://api.openai.com/v1" for
    /// OpenAI-compatible services. Not for "local". Default: where "anthropic", "gemini", "elevenlabs", "deepgram" and "edge" are.
    pub url: Option<String>,
    /// The model, in the service's words. Default: the service's own; "anthropic" and "gemini" have none.
    pub model: Option<String>,
    /// The voice, in the service's words (speech only): for "elevenlabs" a voice's id, for "edge" a name such as
    /// "en-GB-SoniaNeural". Default: the service's own; "elevenlabs" and "edge" have none.
    pub voice: Option<String>,
    /// A file with the key, without a line break at its end or with one.
    pub api_key_file: Option<PathBuf>,
    /// The credential of the systemd service with the key (`LoadCredential=` in the unit), when there is no file.
    pub api_key_credential: Option<String>,
    /// The environment variable with the key, when there is neither.
    pub api_key_env: Option<String>,
    /// Samples a second of an OpenAI-compatible or ElevenLabs voice. Default 24000.
    pub rate: u32,
    /// How an utterance is sent to an OpenAI-compatible service (stt only): "wav", or "ogg", a tenth of its size. Default "wav".
    pub upload: Upload,
    /// The transcript of an OpenAI-compatible service is asked for in pieces (stt only); one that does not know that is asked
    /// again without. Default false.
    pub stream: bool,
    /// How long the first byte of an answer may take. Default "10s".
    pub first_byte: Span,
    /// How long the pause between two pieces of an answer may be. Default "10s".
    pub between: Span,
    /// How long all of an answer may take. Default "60s".
    pub timeout: Span,
    /// Its share of the requests beside the others of its pool, 0 to 1000: with 80 here and 20 there, 80 of 100 are asked here
    /// first. 0 only stands in. By default no weight is given, and the order of the file decides; where others have one, 1.
    pub weight: Option<u32>,
    /// Requests that it works on at once; more wait. Default: as many as the machine has cores for "local", no limit else.
    pub at_once: Option<u32>,
    /// What a request costs, in a measure of your own that is the same for all: without weights the cheapest is asked first,
    /// with weights a dear one gets less. Default 0.
    pub cost: f64,
    /// Which chat requests are asked here first: "all", "simple" (short questions and orders) or "complex" (long ones, and those
    /// that ask for reasons, comparisons, plans). Chat only. Default "all".
    #[serde(rename = "for")]
    pub suits: pool::Suits,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            kind: Kind::Local,
            url: None,
            model: None,
            voice: None,
            api_key_file: None,
            api_key_credential: None,
            api_key_env: None,
            rate: 24_000,
            upload: Upload::Wav,
            stream: false,
            first_byte: Span::secs(10),
            between: Span::secs(10),
            timeout: Span::secs(60),
            weight: None,
            at_once: None,
            cost: 0.0,
            suits: pool::Suits::All,
        }
    }
}

/// All services (`[providers]`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
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
    /// Who stands in for a service that fails, in the same turn.
    pub backup: Backup,
    /// How services share requests, how long one waits, when another is asked, when one is left alone.
    pub pool: pool::Settings,
}

/// Who stands in (`[providers.backup]`). Embeddings of one model say nothing to another: nobody stands in for those.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// For speech to text, in the order in which they are asked. None by default; each is a table
    /// `[[providers.backup.stt]]` with the keys of `[providers.stt]`.
    pub stt: Vec<Service>,
    /// For text to speech, likewise `[[providers.backup.tts]]`; they speak with their own voice.
    pub tts: Vec<Service>,
    /// For chat, likewise `[[providers.backup.chat]]`.
    pub chat: Vec<Service>,
}

impl Backup {
    fn check(&self, path: &str, first: &Settings) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, first, services, capability) in [
            ("stt", &first.stt, &self.stt, Capability::Stt),
            ("tts", &first.tts, &self.tts, Capability::Tts),
            ("chat", &first.chat, &self.chat, Capability::Chat),
        ] {
            let weights = || std::iter::once(first).chain(services).map(|service| service.weight);
            if weights().any(|weight| weight.is_some()) && weights().all(|weight| weight == Some(0)) {
                let what = "every service here has the weight 0: there is nothing to share by";
                let key = format!("{}.{name}.weight", path.trim_end_matches(".backup"));
                problems.push(Problem::new(key, what, "leave the weights out, or give one of them 1 or more"));
            }
            for (n, service) in services.iter().enumerate() {
                let path = format!("{path}.{name}[{n}]");
                if service.kind == Kind::Off || first.kind == Kind::Off {
                    let what = "nobody can stand in here: it or the service itself is off".to_owned();
                    let remedy = format!("leave it out, or give providers.{name} and it another type");
                    problems.push(Problem::new(format!("{path}.type"), what, remedy));
                } else {
                    problems.extend(service.check(&path, capability));
                }
            }
        }
        problems
    }
}

impl Settings {
    /// All that is wrong with it.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = self.backup.check(&format!("{path}.backup"), self);
        self.pool.check(&format!("{path}.pool"), &mut problems);
        for (name, service, capability) in [
            ("stt", &self.stt, Capability::Stt),
            ("tts", &self.tts, Capability::Tts),
            ("chat", &self.chat, Capability::Chat),
            ("embed", &self.embed, Capability::Embed),
        ] {
            problems.extend(service.check(&format!("{path}.{name}"), capability));
        }
        problems
    }

    /// Whatever is asked of a chat model is asked of the one that comes with Voxgate.
    pub fn chats_locally(&self) -> bool {
        std::iter::once(&self.chat).chain(&self.backup.chat).all(|service| service.kind == Kind::Local)
    }

    /// Some capability comes from the engine that comes with Voxgate.
    pub fn wants_engine(&self) -> bool {
        let first = [&self.stt, &self.tts, &self.chat, &self.embed];
        let backup = [&self.backup.stt, &self.backup.tts, &self.backup.chat].into_iter().flatten();
        first.into_iter().chain(backup).any(|service| service.kind == Kind::Local)
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
            ..Settings::default()
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

    #[test]
    fn who_stands_in_is_looked_at_as_closely_and_nobody_stands_in_for_what_is_off() {
        let off = Service { kind: Kind::Off, ..Service::default() };
        let settings = Settings {
            tts: off.clone(),
            backup: Backup {
                stt: vec![
                    Service::default(),
                    Service { kind: Kind::Elevenlabs, url: Some("https://h".into()), ..Service::default() },
                ],
                tts: vec![Service::default()],
                chat: vec![off],
            },
            pool: pool::Settings { errors: 0, left_alone: Span::ms(0), ..pool::Settings::default() },
            ..Settings::default()
        };
        let keys: Vec<_> = settings.check("p").into_iter().map(|problem| problem.key).collect();
        let expected = [
            "p.backup.stt[1].type",
            "p.backup.tts[0].type",
            "p.backup.chat[0].type",
            "p.pool.errors",
            "p.pool.left_alone",
        ];
        assert_eq!(keys, expected);
    }

    /// Keys of the problems of one service, and what is said to mend them.
    fn problems(name: &str, service: Service) -> Vec<(String, String)> {
        let mut settings = Settings::default();
        let place = match name {
            "stt" => &mut settings.stt,
            "tts" => &mut settings.tts,
            "chat" => &mut settings.chat,
            _ => &mut settings.embed,
        };
        *place = service;
        settings.check("p").into_iter().map(|problem| (problem.key, problem.remedy)).collect()
    }

    #[test]
    fn what_makes_no_sense_among_services_is_told() {
        let odd = Service {
            weight: Some(1_001),
            at_once: Some(0),
            cost: -1.0,
            suits: pool::Suits::Simple,
            ..Service::default()
        };
        let keys = |name| problems(name, odd.clone()).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys("chat"), ["p.chat.weight", "p.chat.at_once", "p.chat.cost"]);
        assert_eq!(keys("stt"), ["p.stt.weight", "p.stt.at_once", "p.stt.cost", "p.stt.for"]);
        let endless = Service { cost: f64::NAN, ..Service::default() };
        assert_eq!(problems("tts", endless)[0].0, "p.tts.cost");
    }

    #[test]
    fn a_chat_model_elsewhere_even_as_a_stand_in_is_not_local() {
        let elsewhere = Service { kind: Kind::Openai, ..Service::default() };
        let with = |chat: &Service, backup: &[Service]| {
            let backup = Backup { chat: backup.to_vec(), ..Backup::default() };
            Settings { chat: chat.clone(), backup, ..Settings::default() }.chats_locally()
        };
        let here = Service::default();
        assert!(with(&here, &[]));
        assert!(!with(&here, std::slice::from_ref(&elsewhere)));
        assert!(!with(&elsewhere, &[here]));
    }

    #[test]
    fn all_weights_zero_share_nothing() {
        let nothing = Service { weight: Some(0), ..Service::default() };
        let backup = Backup { chat: vec![nothing.clone()], ..Backup::default() };
        let settings = Settings { chat: nothing, backup, ..Settings::default() };
        let keys: Vec<_> = settings.check("p").into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["p.chat.weight"]);
    }

    #[test]
    fn a_type_that_does_not_fit_is_told_with_those_that_do() {
        for (name, kind) in [
            ("stt", Kind::Elevenlabs),
            ("stt", Kind::Anthropic),
            ("tts", Kind::Deepgram),
            ("tts", Kind::Gemini),
            ("chat", Kind::Elevenlabs),
            ("chat", Kind::Deepgram),
            ("embed", Kind::Gemini),
        ] {
            let url = Some("https://h/v1".to_owned());
            let keys = problems(name, Service { kind, url, ..Service::default() });
            assert_eq!(keys.len(), 1, "{name} {kind:?} {keys:?}");
            assert_eq!(keys[0].0, format!("p.{name}.type"));
        }
        let wrong = Service { kind: Kind::Deepgram, url: Some("https://h".into()), ..Service::default() };
        let remedy = &problems("chat", wrong)[0].1;
        assert_eq!(remedy, "write \"local\", \"openai\", \"anthropic\", \"gemini\" or \"off\"");
    }

    #[test]
    fn a_service_with_one_address_needs_none_but_a_key_and_what_it_has_no_default_for() {
        let keys = |name: &str, service: Service| -> Vec<String> {
            problems(name, service).into_iter().map(|(key, _)| key).collect()
        };
        // a variable that is always there
        let of = |kind| Service { kind, api_key_env: Some("PATH".into()), ..Service::default() };
        assert_eq!(keys("chat", of(Kind::Anthropic)), ["p.chat.model"]);
        assert_eq!(keys("chat", of(Kind::Gemini)), ["p.chat.model"]);
        assert_eq!(keys("tts", of(Kind::Elevenlabs)), ["p.tts.voice"]);
        let edge = |voice: &str| Service { kind: Kind::Edge, voice: Some(voice.into()), ..Service::default() };
        assert!(keys("tts", edge("en-GB-SoniaNeural")).is_empty(), "no key");
        assert_eq!(keys("tts", edge("Sonia")), ["p.tts.voice"]);
        assert_eq!(keys("tts", of(Kind::Edge)), ["p.tts.voice", "p.tts.api_key_file"]);
        let ogg = Service { upload: Upload::Ogg, stream: true, ..of(Kind::Deepgram) };
        assert_eq!(keys("stt", ogg.clone()), ["p.stt.upload", "p.stt.stream"]);
        let url = Some("http://h".to_owned());
        assert!(keys("stt", Service { kind: Kind::Openai, url: url.clone(), ..ogg.clone() }).is_empty());
        assert_eq!(keys("chat", Service { kind: Kind::Openai, url, ..ogg }), ["p.chat.upload", "p.chat.stream"]);
        assert!(keys("stt", of(Kind::Deepgram)).is_empty());
        let model = Some("gemini-2.5-flash".to_owned());
        assert!(keys("chat", Service { model: model.clone(), ..of(Kind::Gemini) }).is_empty());
        let keyless = Service { kind: Kind::Gemini, model, ..Service::default() };
        assert_eq!(keys("chat", keyless.clone()), ["p.chat.api_key_file"]);
        let proxied = Service { url: Some("http://127.0.0.1:1".into()), ..keyless };
        assert!(keys("chat", proxied.clone()).is_empty(), "something in between adds the key");
        let odd = Service { model: Some("a?key=1".into()), ..proxied };
        assert_eq!(keys("chat", odd), ["p.chat.model"]);
        let voice = Service { voice: Some("../v".into()), rate: 32_000, ..of(Kind::Elevenlabs) };
        assert_eq!(keys("tts", voice), ["p.tts.voice", "p.tts.rate"]);
        let place = Service { url: Some("ftp://h".into()), ..of(Kind::Deepgram) };
        assert_eq!(keys("stt", place.clone()), ["p.stt.url"]);
        assert!(keys("stt", Service { url: Some("wss://h/v1".into()), ..place }).is_empty());
    }
}
