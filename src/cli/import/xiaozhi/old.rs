//! What another server knew, whatever it was read from.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::Trouble;

/// Most devices, agents and models that are taken from a file.
pub(super) const MOST: usize = 100_000;

/// Settings beside devices, agents and services, by the names of that server's configuration.
pub(super) const PARAMETERS: [&str; 20] = [
    "close_connection_no_voice_time",
    "context_providers",
    "device_max_output_size",
    "enable_greeting",
    "end_prompt.enable",
    "end_prompt.prompt",
    "exit_commands",
    "manager-api.url",
    "mcp_endpoint",
    "plugins",
    "prompt",
    "server.mcp_endpoint",
    "server.mqtt_gateway",
    "server.timezone_offset",
    "server.voice_print",
    "system_error_response",
    "tool_call_timeout",
    "voiceprint.url",
    "wakeup_words",
    "server.auth.allowed_devices",
];

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Old {
    pub boards: Vec<OldBoard>,
    /// By id.
    pub agents: BTreeMap<String, Agent>,
    /// By id.
    pub models: BTreeMap<String, Model>,
    /// The models that count where no agent says otherwise.
    pub chosen: BTreeMap<Part, String>,
    /// Some of [`PARAMETERS`].
    pub parameters: BTreeMap<&'static str, Value>,
    /// Tables that were looked for and are not there.
    pub missing: Vec<&'static str>,
    pub troubles: Vec<Trouble>,
}

#[derive(Debug, Clone)]
pub(super) struct OldBoard {
    pub line: usize,
    pub mac: String,
    pub name: Option<String>,
    pub agent: Option<String>,
}

/// Who answers on a device. No Debug of its texts: they are people's.
#[derive(Clone, Default)]
pub(super) struct Agent {
    pub line: usize,
    pub name: String,
    pub prompt: Option<String>,
    pub memory: Option<String>,
    pub language: Option<String>,
    pub models: BTreeMap<Part, String>,
    /// In the words of the service of speech.
    pub voice: Option<String>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("line", &self.line).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    Hear,
    Think,
    Speak,
    See,
    Pause,
    Remember,
}

impl Part {
    /// In that server's words.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_uppercase().as_str() {
            "ASR" => Self::Hear,
            "LLM" => Self::Think,
            "TTS" => Self::Speak,
            "VLLM" => Self::See,
            "VAD" => Self::Pause,
            "MEMORY" => Self::Remember,
            _ => return None,
        })
    }

    /// In that server's words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hear => "ASR",
            Self::Think => "LLM",
            Self::Speak => "TTS",
            Self::See => "VLLM",
            Self::Pause => "VAD",
            Self::Remember => "Memory",
        }
    }
}

/// A service and how it is reached. No Debug: keys are in it.
#[derive(Clone)]
pub(super) struct Model {
    pub part: Part,
    pub name: String,
    pub config: Map<String, Value>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("part", &self.part).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Model {
    /// The first of these keys that says something.
    pub fn text(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| text(self.config.get(*key)?))
    }

    /// Its protocol, in that server's words.
    pub fn kind(&self) -> String {
        self.text(&["type"]).unwrap_or_default()
    }
}

impl Old {
    /// A parameter as text.
    pub fn text(&self, key: &str) -> Option<String> {
        text(self.parameters.get(key)?)
    }

    /// A parameter as a switch.
    pub fn switch(&self, key: &str) -> Option<bool> {
        match self.parameters.get(key)? {
            Value::Bool(on) => Some(*on),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A parameter as whole seconds or hours.
    pub fn number(&self, key: &str) -> Option<i64> {
        match self.parameters.get(key)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().trim_start_matches('+').parse().ok(),
            _ => None,
        }
    }

    /// A parameter as a list; in the database they are joined with semicolons.
    pub fn list(&self, key: &str) -> Vec<String> {
        let texts: Vec<String> = match self.parameters.get(key) {
            Some(Value::Array(values)) => values.iter().filter_map(text).collect(),
            Some(Value::String(text)) => text.split([';', '；']).map(|word| word.trim().to_owned()).collect(),
            _ => Vec::new(),
        };
        texts.into_iter().filter(|word| !word.is_empty()).collect()
    }
}

/// A value as text; none when it says nothing ("null" is what the database has for nothing).
pub(super) fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty() && text != "null").then_some(text)
}
