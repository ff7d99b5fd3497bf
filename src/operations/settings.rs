//! `[operations]`: how long operations wait for devices, and how long they are remembered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Problem, Span};

/// Operations of devices: settings, calls of tools, firmware news that operators send, also to devices that are away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How long an operation waits for its device when whoever asks does not say (default "24h").
    pub time: Span,
    /// The longest that may be asked for (default "30d").
    pub time_max: Span,
    /// Operations of one device that may be under way (default 64).
    pub per_device: usize,
    /// Operations of all devices that may be under way (default 20000).
    pub under_way: usize,
    /// Operations that are over are remembered for so long (default "30d").
    pub keep: Span,
    /// Of those that are over, so many at most are remembered, the newest (default 100000).
    pub kept: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            time: Span::secs(86_400),
            time_max: Span::days(30),
            per_device: 64,
            under_way: 20_000,
            keep: Span::days(30),
            kept: 100_000,
        }
    }
}

impl Settings {
    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, what: &str, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if self.time.0.as_secs() < 1 || self.time > self.time_max {
            wrong("time", "is less than a second, or more than time_max", "write a time between, as in \"24h\"");
        }
        if self.time_max > Span::days(3_650) {
            wrong("time_max", "is more than ten years", "write a shorter time, as in \"30d\"");
        }
        // as many as a session reads of its outbox at once
        if !(1..=500).contains(&self.per_device) {
            wrong("per_device", "is not in 1 to 500", "leave it out: 64");
        }
        for (key, value) in [("under_way", self.under_way), ("kept", self.kept)] {
            if !(1..=1_000_000).contains(&value) {
                wrong(key, "is not in 1 to 1000000", "write a number between");
            }
        }
        problems
    }
}
