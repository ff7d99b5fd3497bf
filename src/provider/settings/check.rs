//! What can be wrong with a service, and how to mend it.

use super::{Kind, Service, Upload};
use crate::domain::Problem;
use crate::provider::pool::Suits;
use crate::provider::wyoming::Address;
use crate::provider::{edge, elevenlabs};

/// What a service is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capability {
    Stt,
    Tts,
    Chat,
    Embed,
    Vision,
}

impl Capability {
    fn what(self) -> &'static str {
        match self {
            Capability::Stt => "turn speech to text",
            Capability::Tts => "speak",
            Capability::Chat => "chat",
            Capability::Embed => "make embeddings",
            Capability::Vision => "look at pictures",
        }
    }

    /// The types that can do it.
    fn kinds(self) -> &'static [Kind] {
        match self {
            Capability::Stt => &[Kind::Local, Kind::Wyoming, Kind::Openai, Kind::Deepgram, Kind::Off],
            Capability::Tts => &[Kind::Local, Kind::Wyoming, Kind::Openai, Kind::Elevenlabs, Kind::Edge, Kind::Off],
            Capability::Chat => &[Kind::Local, Kind::Openai, Kind::Anthropic, Kind::Gemini, Kind::Off],
            Capability::Embed => &[Kind::Local, Kind::Openai, Kind::Off],
            Capability::Vision => &[Kind::Openai, Kind::Anthropic, Kind::Gemini, Kind::Off],
        }
    }

    /// `write "a", "b" or "c"`.
    fn remedy(self) -> String {
        let names: Vec<String> = self.kinds().iter().map(|kind| format!("{:?}", kind.name())).collect();
        let (last, others) = names
            .split_last()
            .map_or((String::new(), String::new()), |(last, others)| (last.clone(), others.join(", ")));
        format!("write {others} or {last}")
    }
}

impl Service {
    /// What is wrong with one that answers questions about pictures: nothing that comes with Voxgate does.
    pub fn check_vision(&self, path: &str) -> Vec<Problem> {
        self.check(path, Capability::Vision)
    }

    pub(super) fn check(&self, path: &str, capability: Capability) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |key: &str, (what, remedy): (String, String)| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if capability.kinds().contains(&self.kind) {
            self.wrong_place().into_iter().for_each(|wrong| add("url", wrong));
            self.wrong_model().into_iter().for_each(|wrong| add("model", wrong));
            self.wrong_voice().into_iter().for_each(|(key, wrong)| add(key, wrong));
        } else {
            add("type", (format!("{:?} does not {}", self.kind.name(), capability.what()), capability.remedy()));
            if capability == Capability::Vision {
                return problems;
            }
        }
        if !(capability == Capability::Stt && self.kind == Kind::Openai) {
            let unused = |key: &'static str, used: bool| used.then_some(key);
            let remedy = "leave it out: it is for an OpenAI-compatible service of [providers.stt]";
            for key in
                [unused("upload", self.upload != Upload::Wav), unused("stream", self.stream)].into_iter().flatten()
            {
                add(key, said("is not looked at with this type", remedy));
            }
        }
        self.wrong_key().into_iter().for_each(|(key, wrong)| add(key, wrong));
        for (key, span) in [("first_byte", self.first_byte), ("between", self.between), ("timeout", self.timeout)] {
            if span.0.is_zero() {
                add(key, said("nothing is answered in no time", "write a time such as \"10s\""));
            }
        }
        if !(8_000..=48_000).contains(&self.rate) {
            add("rate", said(&format!("{} samples a second is no voice", self.rate), "write 8000 to 48000"));
        }
        self.wrong_terms(capability).into_iter().for_each(|(key, wrong)| add(key, wrong));
        problems
    }

    fn wrong_place(&self) -> Option<Wrong> {
        let schemes: &[&str] = match self.kind {
            Kind::Deepgram | Kind::Edge => &["https://", "http://", "wss://", "ws://"],
            _ => &["https://", "http://"],
        };
        let odd = |url: &str| !schemes.iter().any(|scheme| url.starts_with(scheme));
        match (self.kind, self.url.as_deref()) {
            (Kind::Wyoming, Some(url)) => {
                let error = Address::parse(url).err()?;
                Some(said(&error, "write \"tcp://host:port\" or \"unix:///path\""))
            }
            (Kind::Wyoming | Kind::Openai, None) => {
                Some(said("a service needs an address", "write url = \"…\", or type = \"local\""))
            }
            (Kind::Local | Kind::Off, Some(_)) => {
                Some(said("is not looked at with this type", "write type = \"wyoming\" or \"openai\" too"))
            }
            (_, Some(url)) if odd(url) => {
                Some(said(&format!("{url:?} is no web address"), "write \"https://host/v1\""))
            }
            _ => None,
        }
    }

    fn wrong_model(&self) -> Option<Wrong> {
        let example = match self.kind {
            Kind::Anthropic => "write model = \"claude-haiku-4-5\", or another of the service's",
            Kind::Gemini => "write model = \"gemini-2.5-flash\", or another of the service's",
            _ => return None,
        };
        let Some(model) = &self.model else { return Some(said("the service has no model of its own", example)) };
        // it stands in the address
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
        let odd = self.kind == Kind::Gemini && (model.contains("..") || !model.bytes().all(plain));
        odd.then(|| said(&format!("{model:?} is no name of a model"), example))
    }

    fn wrong_voice(&self) -> Vec<(&'static str, Wrong)> {
        let mut wrong = Vec::new();
        if self.kind == Kind::Edge && !self.voice.as_deref().is_some_and(edge::is_voice) {
            let what = self.voice.as_ref().map_or("the service has no voice of its own".to_owned(), |voice| {
                format!("{voice:?} is no name of a voice")
            });
            wrong.push(("voice", said(&what, "write voice = \"…\" with a name such as \"en-GB-SoniaNeural\"")));
        }
        if self.kind != Kind::Elevenlabs {
            return wrong;
        }
        let remedy = "write voice = \"…\" with the id of a voice of your account";
        match self.voice.as_deref() {
            None => wrong.push(("voice", said("the service has no voice of its own", remedy))),
            Some(voice) if !elevenlabs::is_voice(voice) => {
                wrong.push(("voice", said(&format!("{voice:?} is no id of a voice"), remedy)));
            }
            Some(_) => {}
        }
        if !elevenlabs::RATES.contains(&self.rate) && (8_000..=48_000).contains(&self.rate) {
            let rates = elevenlabs::RATES.map(|rate| rate.to_string()).join(", ");
            let what = format!("the service does not speak with {} samples a second", self.rate);
            wrong.push(("rate", said(&what, &format!("write one of {rates}"))));
        }
        wrong
    }

    /// What is wrong with its place among others.
    fn wrong_terms(&self, capability: Capability) -> Vec<(&'static str, Wrong)> {
        let mut wrong = Vec::new();
        if let Some(weight) = self.weight.filter(|weight| *weight > 1_000) {
            wrong.push(("weight", said(&format!("{weight} is no share"), "write 0 to 1000")));
        }
        if let Some(most) = self.at_once.filter(|most| !(1..=10_000).contains(most)) {
            let remedy = "write 1 to 10000, or leave it out";
            wrong.push(("at_once", said(&format!("{most} requests at once make no sense"), remedy)));
        }
        if !self.cost.is_finite() || self.cost < 0.0 {
            wrong.push(("cost", said(&format!("{} is no cost", self.cost), "write 0 or more")));
        }
        if self.suits != Suits::All && capability != Capability::Chat {
            let what = "only chat requests are simple or complex";
            wrong.push(("for", said(what, "leave it out, or write for = \"all\"")));
        }
        wrong
    }

    fn wrong_key(&self) -> Vec<(&'static str, Wrong)> {
        let mut wrong = Vec::new();
        if let Some(file) = self.api_key_file.as_ref().filter(|file| !file.is_file()) {
            let what = format!("there is no file {}", file.display());
            wrong.push(("api_key_file", said(&what, "name a file with the key")));
        }
        // whether it is there is seen by the gateway: an operator's shell has neither its credentials nor its environment
        if let Some(name) = self.api_key_credential.as_ref().filter(|name| !is_credential(name)) {
            let what = format!("{name:?} is no name of a credential");
            wrong.push(("api_key_credential", said(&what, "write the name that stands in LoadCredential=")));
        }
        // at an address of one's own, something in between may add the key
        let keyed = self.api_key_file.is_some() || self.api_key_credential.is_some() || self.api_key_env.is_some();
        let keyless = !keyed && self.url.is_none();
        if self.kind == Kind::Edge {
            if keyed {
                wrong.push(("api_key_file", said("the service takes no key", "leave it out")));
            }
        } else if keyless && self.kind.address().is_some() {
            let remedy = "name a file with the key, or write api_key_env = \"…\"";
            wrong.push(("api_key_file", said("the service wants a key", remedy)));
        }
        wrong
    }
}

/// A name of a file in the folder of credentials, and nothing else.
fn is_credential(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.bytes().all(plain)
}

/// What is wrong, and the remedy.
type Wrong = (String, String);

fn said(what: &str, remedy: &str) -> Wrong {
    (what.to_owned(), remedy.to_owned())
}
