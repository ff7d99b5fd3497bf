//! Audio: Opus, order, voice activity, the end of a turn, resampling, pacing.
//!
//! Pure work on samples and packets. It knows no session, no provider, no transport, and (but for the
//! [`Workers`], which are threads) no runtime. Everything that comes from a device may be garbage.

mod earshot;
pub mod endpoint;
pub mod hearing;
pub mod jitter;
pub mod level;
mod metrics;
pub mod opus;
pub mod pace;
pub mod packet;
pub mod resample;
mod silero;
pub mod speak;
#[cfg(test)]
mod testing;
pub mod utterance;
pub mod vad;
pub mod wav;
pub mod workers;

use serde::{Deserialize, Serialize};

pub use hearing::{Heard, Hearing};
pub use metrics::{Metrics, names};
pub use pace::Pacer;
pub use speak::SpeechEncoder;
pub use utterance::Utterance;
pub use vad::VadModel;
pub use workers::{Workers, WorkersError};

use crate::domain::{Problem, Span};

/// `[voice]`, the part of it that is about audio.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// When speech counts as begun and a turn as ended.
    pub endpoint: endpoint::Settings,
    /// Telling speech from noise.
    pub vad: vad::Settings,
    /// Putting packets back in order.
    pub jitter: jitter::Settings,
    /// The codec.
    pub opus: OpusSettings,
}

impl Settings {
    /// What is wrong with the settings at `path`.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = self.endpoint.check(&format!("{path}.endpoint"));
        problems.extend(self.vad.check(&format!("{path}.vad")));
        problems.extend(self.jitter.check(&format!("{path}.jitter")));
        problems.extend(self.opus.check(&format!("{path}.opus")));
        problems
    }
}

/// `[voice.opus]`: the codec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OpusSettings {
    /// Rate of the speech sent to devices, bits a second. 6000 to 128000; default 24000.
    pub bitrate: u32,
    /// Effort of the encoder. 0 to 10; default 5.
    pub complexity: u8,
    /// Effort of the encoder while the machine is busy. 0 to `complexity`; default 1.
    pub complexity_busy: u8,
    /// Audio is busy when so many jobs wait for the codec threads. 1 to 10000; default 16.
    pub busy_queue: u32,
    /// Of a longer hole in what a device sends, only so much is made up. Default 500ms.
    pub max_conceal: Span,
}

impl Default for OpusSettings {
    fn default() -> Self {
        Self { bitrate: 24_000, complexity: 5, complexity_busy: 1, busy_queue: 16, max_conceal: Span::ms(500) }
    }
}

impl OpusSettings {
    /// What is wrong with the settings at `path`.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut expect = |good: bool, key: &str, what: &str, remedy: &str| {
            if !good {
                problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
            }
        };
        expect((6_000..=128_000).contains(&self.bitrate), "bitrate", "outside 6000 to 128000", "use 24000");
        expect(self.complexity <= 10, "complexity", "more than 10", "use 5");
        expect(self.complexity_busy <= self.complexity, "complexity_busy", "more than complexity", "use 1");
        expect((1..=10_000).contains(&self.busy_queue), "busy_queue", "outside 1 to 10000", "use 16");
        expect(self.max_conceal.0.as_millis() <= 5_000, "max_conceal", "more than 5s", "use 500ms");
        problems
    }
}
