//! `[cache]`: what is kept of answers, speech and transcripts, how much and how long.

use serde::{Deserialize, Serialize};

use crate::domain::{ByteSize, Problem, Span};

/// All caches (`[cache]`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Answers of chat models.
    pub chat: ChatSettings,
    /// Speech that was made.
    pub speech: SpeechSettings,
    /// What was understood.
    pub transcripts: TranscriptSettings,
}

/// Answers of chat models (`[cache.chat]`): only to first questions of a conversation, about nothing that depends on who asks, when or
/// where, and only answers that no tool and no policy had a part in. In memory only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChatSettings {
    /// The same question, word by word, is answered from memory. Default true.
    pub exact: bool,
    /// So is one that means the same, by `[providers.embed]`. Default false: see docs/caches.md for how often that errs.
    pub semantic: bool,
    /// How near two questions are that mean the same: the cosine of their vectors, 0.5 to 1.0. Default 0.85.
    pub cosine: f64,
    /// How long a question's vector may take; then the model is asked. Default "25ms".
    pub embed_within: Span,
    /// An answer is forgotten after this. Default "2h".
    pub ttl: Span,
    /// At most so many answers. 1 to 1000000; default 50000.
    pub entries: u32,
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self {
            exact: true,
            semantic: false,
            cosine: 0.85,
            embed_within: Span::ms(25),
            ttl: Span::secs(7_200),
            entries: 50_000,
        }
    }
}

/// Speech that was made (`[cache.speech]`): whole clauses as Opus, below the data directory, under names that tell no word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpeechSettings {
    /// Keep speech, and say it again without a synthesizer. Default true.
    pub enabled: bool,
    /// At most so much on the disk; "0KB" is in memory only. Default "1GB".
    pub size: ByteSize,
    /// What nobody asked for in this time is forgotten. Default "4h".
    pub idle: Span,
    /// At most so much of it in memory too. Default "16MB".
    pub memory: ByteSize,
    /// What is made ahead at start, and by `voxgate cache warm`: in the voice and language of `[voice.reply]`, and in those of every device.
    pub phrases: Vec<String>,
}

impl Default for SpeechSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            size: ByteSize::mb(1 << 10),
            idle: Span::secs(4 * 3_600),
            memory: ByteSize::mb(16),
            phrases: Vec::new(),
        }
    }
}

/// What was understood (`[cache.transcripts]`): the words of an utterance that comes again, sample by sample. In memory only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TranscriptSettings {
    /// Keep transcripts. Default true.
    pub enabled: bool,
    /// A transcript is forgotten after this. Default "30m".
    pub ttl: Span,
    /// At most so many. 1 to 1000000; default 2000.
    pub entries: u32,
}

impl Default for TranscriptSettings {
    fn default() -> Self {
        Self { enabled: true, ttl: Span::secs(1_800), entries: 2_000 }
    }
}

/// Phrases that are made ahead, and the length of one: more than that is no phrase.
const PHRASES: usize = 200;
const LONGEST: usize = 1_000;

impl Settings {
    /// What is wrong with these settings.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut expect = |good: bool, key: &str, what: String, remedy: &str| {
            if !good {
                problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
            }
        };
        let Self { chat, speech, transcripts } = self;
        let range = |n: f64| format!("{n} is out of range");
        expect((0.5..=1.0).contains(&chat.cosine), "chat.cosine", range(chat.cosine), "use 0.5 to 1.0, as in 0.85");
        for (key, span) in [
            ("chat.embed_within", chat.embed_within),
            ("chat.ttl", chat.ttl),
            ("speech.idle", speech.idle),
            ("transcripts.ttl", transcripts.ttl),
        ] {
            expect(!span.0.is_zero(), key, "is no time at all".into(), "write a time such as \"30m\"");
        }
        for (key, entries) in [("chat.entries", chat.entries), ("transcripts.entries", transcripts.entries)] {
            let what = format!("{entries} is out of range");
            expect((1..=1_000_000).contains(&entries), key, what, "use 1 to 1000000");
        }
        let what =
            format!("{} phrases are too many: each is made again whenever it was forgotten", speech.phrases.len());
        expect(speech.phrases.len() <= PHRASES, "speech.phrases", what, "write at most 200");
        for phrase in &speech.phrases {
            let says = phrase.chars().any(char::is_alphanumeric) && phrase.len() <= LONGEST;
            let what = format!("{:?} is no phrase", phrase.chars().take(40).collect::<String>());
            expect(says, "speech.phrases", what, "write words, at most 1000 bytes of them");
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound_and_read_back() {
        let settings = Settings::default();
        assert_eq!(settings.check("cache"), []);
        let text = toml::to_string(&settings).unwrap_or_default();
        assert_eq!(toml::from_str::<Settings>(&text).ok(), Some(settings));
    }

    #[test]
    fn every_wrong_setting_is_named_with_its_path() {
        let text = "[chat]\ncosine = 0.2\nembed_within = \"0s\"\nentries = 0\n[speech]\nidle = \"0s\"\nphrases = [\"...\"]\n\
                    [transcripts]\nttl = \"0s\"\nentries = 2000000";
        let settings: Settings = toml::from_str(text).unwrap_or_default();
        let keys: Vec<String> = settings.check("cache").into_iter().map(|problem| problem.key).collect();
        let wrong = [
            "chat.cosine",
            "chat.embed_within",
            "speech.idle",
            "transcripts.ttl",
            "chat.entries",
            "transcripts.entries",
            "speech.phrases",
        ];
        assert_eq!(keys, wrong.map(|key| format!("cache.{key}")));
    }
}
