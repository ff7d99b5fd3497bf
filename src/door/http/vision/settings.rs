//! `[devices.vision]`: what photos of boards may use.

use serde::{Deserialize, Serialize};

use crate::domain::{ByteSize, Problem, Span};

/// Photos that boards send, `/xiaozhi/vision` at the address of `[devices]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Take photos (default true). Off: boards are told no address for them, and their cameras answer nothing.
    pub enabled: bool,
    /// Largest photo (default "5MB").
    pub size: ByteSize,
    /// All of a photo must be there within this time (default "10s").
    pub time: Span,
    /// From the request to its answer (default "25s"): firmware gives up after 30 s, py-xiaozhi after 10 s.
    pub answer: Span,
    /// Photos at once, of all devices; each takes up to `size` of memory (default 16). Of one device it is one.
    pub at_once: usize,
    /// Photos a minute of one device (default 20).
    pub per_minute: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            size: ByteSize::mb(5),
            time: Span::secs(10),
            answer: Span::secs(25),
            at_once: 16,
            per_minute: 20,
        }
    }
}

impl Settings {
    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut no = |key: &str, what: String, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if self.size < ByteSize::kb(16) || self.size > ByteSize::mb(32) {
            no("size", format!("{} is not in 16 KB to 32 MB", self.size), "leave it out: 5MB");
        }
        if self.time.0.is_zero() || self.time > self.answer {
            no("time", format!("{} is no time, or more than that of the answer", self.time), "leave it out: 10s");
        }
        if self.answer > Span::secs(120) {
            no("answer", format!("{} is more than any device waits", self.answer), "leave it out: 25s");
        }
        if self.at_once == 0 || self.per_minute == 0 {
            no("at_once", "is 0, or per_minute is".to_owned(), "leave both out: 16 and 20; or set enabled = false");
        }
        problems
    }
}
