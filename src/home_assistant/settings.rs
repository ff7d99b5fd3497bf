//! `[home_assistant]`: whether devices show up in Home Assistant, and with what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::Problem;

/// Home Assistant, over MQTT: it connects to this gateway as an operator, and finds the devices by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Devices are described for Home Assistant, retained (default false).
    pub discovery: bool,
    /// Home Assistant's discovery prefix: its first level of topics (default "homeassistant").
    pub prefix: String,
    /// What was understood last of each device is told too, retained: private words on a topic that every viewer reads
    /// (default false).
    pub transcripts: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { discovery: false, prefix: "homeassistant".to_owned(), transcripts: false }
    }
}

impl Settings {
    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, what: String, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !(1..=64).contains(&self.prefix.len()) || !self.prefix.chars().all(letter) {
            let what = format!("{:?} is no level of a topic: letters, digits, _ and - only, 1 to 64", self.prefix);
            wrong("prefix", what, "leave it out: \"homeassistant\"");
        } else if matches!(self.prefix.as_str(), "device" | "gateway") {
            wrong("prefix", format!("{}/ is the gateway's own", self.prefix), "leave it out: \"homeassistant\"");
        }
        if self.transcripts && !self.discovery {
            let what = "transcripts are told to nobody while discovery is off".to_owned();
            wrong("transcripts", what, "set discovery = true too, or leave transcripts out");
        }
        problems
    }
}
