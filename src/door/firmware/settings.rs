//! `[devices.firmware]`: what downloads of firmware may cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{ByteSize, Problem, Span};

/// Firmware images, which `voxgate firmware add` takes in and boards fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Largest image (default "16MB").
    pub largest: ByteSize,
    /// Downloads at once; a board that is turned away asks again when it next starts (default 8).
    pub downloads: usize,
    /// Bytes a second of one download (default "512KB").
    pub bytes_per_second: ByteSize,
    /// How long a download's address counts (default "1h").
    pub address_life: Span,
    /// Longest time that one download may take (default "20m").
    pub time: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            largest: ByteSize::mb(16),
            downloads: 8,
            bytes_per_second: ByteSize::kb(512),
            address_life: Span::secs(3_600),
            time: Span::secs(1_200),
        }
    }
}

impl Settings {
    /// What is wrong with them; `path` is the key that they stand under.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut no = |key: &str, what: &str, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if self.largest < ByteSize::kb(64) || self.largest > ByteSize::mb(64) {
            no("largest", "is not in 64 KB to 64 MB", "leave it out: 16MB");
        }
        if !(1..=1_000).contains(&self.downloads) {
            no("downloads", "is not in 1 to 1000", "leave it out: 8");
        }
        if self.bytes_per_second < ByteSize::kb(16) {
            no("bytes_per_second", "is less than 16 KB", "leave it out: 512KB");
        }
        if self.address_life < Span::secs(60) || self.time < Span::secs(10) {
            no("address_life", "is less than a minute, or time less than 10 s", "leave both out: 1h and 20m");
        }
        problems
    }
}
