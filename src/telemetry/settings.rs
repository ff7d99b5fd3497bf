//! `[telemetry]`: what is kept of what devices measure, and what is published of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{ByteSize, Problem, Span};

/// Smallest store of samples: less would be swept with every sample.
const LEAST: ByteSize = ByteSize(64 << 10);

/// Telemetry: samples that can be asked for, and the latest value of each device on a retained topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Samples hold the one schema beside the device's own words; off: its own words only, and there is no latest
    /// value (default true).
    pub normalize: bool,
    /// Samples are kept in the store (default true).
    pub keep: bool,
    /// Samples of one device are so far apart at least; battery steps and the like are kept all the same. "0s" keeps
    /// every one (default "1m").
    pub sample_every: Span,
    /// Samples are kept for so long (default "7d").
    pub retention: Span,
    /// Samples of all devices take so much at most, with their keys; the oldest go first (default "256MB").
    pub retention_size: ByteSize,
    /// The latest value of each device is published on `device/{id}/telemetry/latest`, retained, at most once a second
    /// (default true).
    pub latest: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            normalize: true,
            keep: true,
            sample_every: Span::secs(60),
            retention: Span::days(7),
            retention_size: ByteSize::mb(256),
            latest: true,
        }
    }
}

impl Settings {
    /// The latest values are published.
    pub fn publishes(&self) -> bool {
        self.normalize && self.latest
    }

    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, what: String, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if self.sample_every > Span::days(1) {
            let what = format!("{} apart is more than a day", self.sample_every);
            wrong("sample_every", what, "write \"0s\" to \"24h\", as in \"1m\"");
        }
        if self.retention < Span::secs(60) || self.retention > Span::days(3_650) {
            let what = format!("{} is not between a minute and ten years", self.retention);
            wrong("retention", what, "write a time between, as in \"7d\"; keep = false keeps none");
        }
        if self.retention_size < LEAST || self.retention_size > ByteSize(1 << 40) {
            let what = format!("{} is not between {LEAST} and 1 TB", self.retention_size);
            wrong("retention_size", what, "write a size between, as in \"256MB\"; keep = false keeps none");
        }
        problems
    }
}
