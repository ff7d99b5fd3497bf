//! Audio: Opus, order, voice activity, the end of a turn, resampling, pacing.
//!
//! Pure work on samples and packets. It knows no session, no provider, no transport, and (but for the
//! [`Workers`], which are threads) no runtime. Everything that comes from a device may be garbage.

mod dense;
mod earshot;
pub mod ending;
pub mod endpoint;
pub mod hearing;
pub mod jitter;
pub mod level;
mod loudness;
pub mod mel;
mod metrics;
pub mod mp3;
pub mod opus;
pub mod pace;
pub mod packed;
pub mod packet;
mod pauses;
pub mod resample;
mod silero;
pub mod smart_turn;
pub mod speak;
#[cfg(test)]
mod testing;
pub mod utterance;
pub mod vad;
pub mod wav;
pub mod workers;

use serde::{Deserialize, Serialize};

pub use ending::{TurnModel, Verdict};
pub use hearing::{Heard, Hearing};
pub use loudness::loudness;
pub use metrics::{Metrics, names};
pub use pace::Pacer;
pub use pauses::Pauses;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]

    use super::*;

    #[test]
    fn the_defaults_are_sound_and_read_back() {
        let settings = Settings::default();
        assert!(settings.check("voice").is_empty());
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings);
        assert_eq!(toml::from_str::<Settings>("").unwrap(), settings);
        assert!(toml::from_str::<Settings>("[endpoint]\nsilense = \"1s\"").is_err());
    }

    #[test]
    fn every_wrong_setting_is_named_with_its_path() {
        let text = "[endpoint]\nstart_threshold = 2.0\n[vad]\ngate_margin_db = 40.0\n[jitter]\ndepth = 99\n\
                    [opus]\nbitrate = 1\ncomplexity_busy = 9";
        let problems = toml::from_str::<Settings>(text).unwrap().check("voice");
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
        let wrong =
            ["endpoint.start_threshold", "vad.gate_margin_db", "jitter.depth", "opus.bitrate", "opus.complexity_busy"];
        assert_eq!(keys, wrong.map(|key| format!("voice.{key}")));
    }

    #[test]
    fn what_happens_is_counted() {
        let mut registry = prometheus_client::registry::Registry::default();
        let metrics = Metrics::register(&mut registry);
        let settings = Settings::default();
        let model = VadModel::load(None, &settings.vad);
        let ear = Hearing::new(&settings, &model, crate::domain::ListenMode::Manual).unwrap();
        let mut ear = ear.counted_by(metrics);
        let mut sent = testing::packets(1, &testing::noise(9_600, 1_000.0));
        sent.remove(3);
        sent.insert(5, sent[4].clone());
        sent.push(testing::packet(11, vec![0xff; 3]));
        ear.push(sent);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for (name, value) in [(names::DECODED, 9), (names::LOST, 1), (names::DUPLICATE, 1), (names::UNDECODABLE, 1)] {
            assert!(text.contains(&format!("{name}_total {value}")), "{name}: {text}");
        }
    }
}
