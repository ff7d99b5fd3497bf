//! `[voice]`: how a turn is thought and spoken.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::phrases::Words;
use crate::domain::{Problem, Span};

/// What is done at a pause in which the turn may be over (`voice.endpoint.likely_end`), before that is decided. It is dropped
/// when speech goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Speculate {
    /// Nothing.
    Off,
    /// What was said so far is transcribed.
    Transcribe,
    /// And the chat model is asked if it is the one that comes with Voxgate, which costs nothing.
    Auto,
    /// And the chat model is asked, where nothing else answers.
    Chat,
}

impl Speculate {
    /// What it comes to where the chat model is the one that comes with Voxgate, or is not.
    #[must_use]
    pub fn settled(self, chat_is_local: bool) -> Self {
        match self {
            Speculate::Auto if chat_is_local => Speculate::Chat,
            Speculate::Auto => Speculate::Transcribe,
            other => other,
        }
    }
}

/// `[voice.reply]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The instructions that every conversation starts with.
    pub system_prompt: String,
    /// At most so many tokens of reply.
    pub max_tokens: u32,
    /// 0.0 to 2.0: how freely the chat model chooses its words; 0.0 is the likeliest word each time.
    pub temperature: f32,
    /// Answer what can be answered without a model (time, date, arithmetic, what was just said) at once.
    pub local_intents: bool,
    /// IANA time zone for spoken times, as in "Europe/Berlin"; empty is the machine's.
    pub timezone: String,
    /// Language of speech and apologies, BCP 47.
    pub language: String,
    /// What is said when a stage fails; synthesised ahead, so that it can be spoken without any provider. As long as it
    /// is the default one, devices hear it in their own language (`[voice.reply.in_language]`).
    pub apology: String,
    /// What is said instead when every service is at its limit (`providers.pool.max_wait`); made ahead too. Empty: the apology.
    pub busy: String,
    /// What is said of the gateway's own accord on devices that speak another language.
    pub in_language: BTreeMap<String, Words>,
    /// Frames of 60 ms sent ahead of real time at the start of speech: the device's cushion against jitter.
    pub ahead_frames: u32,
    /// A transcription that takes longer has failed.
    pub transcribe_timeout: Span,
    /// A first piece of reply that takes longer has failed.
    pub first_token_timeout: Span,
    /// A first piece of speech of a clause that takes longer has failed.
    pub speech_timeout: Span,
    /// A question about a photo that is not answered within this has failed.
    pub look_timeout: Span,
    /// What is begun at a pause in which the turn may be over: "off", "transcribe" (costs one more transcription for each pause in
    /// mid-speech), "chat" (and one more request to the chat model) or "auto" ("chat" where `[providers.chat]` is "local" and so
    /// costs nothing, else "transcribe"). What is not used is counted in `voxgate_turn_ahead_total`. Default "auto".
    pub speculate: Speculate,
    /// So many turns at once have something done ahead, all devices together; the others wait for their end. 1 to 1000; default 4.
    pub speculate_at_once: u32,
    /// In "realtime" mode: who says no more than one of these (several times, if he likes) while an answer is spoken does not interrupt
    /// it, if it takes less than `voice.endpoint.barge_in`; case and marks do not count. Needs `speculate`. Empty: everything interrupts.
    pub backchannels: Vec<String>,
    /// Utterances with less speech than this are not transcribed.
    pub min_speech: Span,
}

/// What people say to show that they listen, in English and Chinese.
const BACKCHANNELS: [&str; 22] = [
    "mm", "mmm", "mhm", "mm-hmm", "mmhmm", "hm", "hmm", "uh-huh", "uhhuh", "uh", "um", "ah", "oh", "aha", "yeah",
    "yep", "嗯", "嗯哼", "哦", "噢", "啊", "唔",
];

/// Letters and digits only, in lower case.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            system_prompt: "You are the voice of a small device. Answer in one or two short, plain sentences, \
                            without lists or markup, since your answer is spoken."
                .into(),
            max_tokens: 64,
            temperature: 0.2,
            local_intents: true,
            timezone: String::new(),
            language: "en".into(),
            apology: "Sorry, something went wrong. Please try again.".into(),
            busy: "A lot of people are talking to me right now. Please ask me again in a moment.".into(),
            in_language: BTreeMap::new(),
            ahead_frames: 5,
            transcribe_timeout: Span::secs(10),
            first_token_timeout: Span::secs(10),
            speech_timeout: Span::secs(10),
            look_timeout: Span::secs(20),
            speculate: Speculate::Auto,
            speculate_at_once: 4,
            backchannels: BACKCHANNELS.map(str::to_owned).into(),
            min_speech: Span::ms(120),
        }
    }
}

impl Settings {
    /// What is wrong with these settings.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(0.0..=2.0).contains(&self.temperature) {
            problems.push(Problem::new(
                format!("{path}.temperature"),
                format!("{} is out of range", self.temperature),
                "use 0.0 to 2.0",
            ));
        }
        if !(1..=4_096).contains(&self.max_tokens) {
            problems.push(Problem::new(
                format!("{path}.max_tokens"),
                format!("{} is out of range", self.max_tokens),
                "use 1 to 4096",
            ));
        }
        if !(1..=50).contains(&self.ahead_frames) {
            problems.push(Problem::new(
                format!("{path}.ahead_frames"),
                format!("{} is out of range", self.ahead_frames),
                "use 1 to 50 (frames of 60 ms)",
            ));
        }
        if !(1..=1_000).contains(&self.speculate_at_once) {
            problems.push(Problem::new(
                format!("{path}.speculate_at_once"),
                format!("{} is out of range", self.speculate_at_once),
                "use 1 to 1000, or speculate = \"off\"",
            ));
        }
        if !self.timezone.is_empty() && jiff::tz::TimeZone::get(&self.timezone).is_err() {
            problems.push(Problem::new(
                format!("{path}.timezone"),
                format!("{:?} is not in the time zone database", self.timezone),
                "use an IANA name as in \"Europe/Berlin\", or \"\" for the machine's",
            ));
        }
        if self.apology.trim().is_empty() {
            problems.push(Problem::new(
                format!("{path}.apology"),
                "is empty: a failure would be silence",
                "write one short sentence",
            ));
        }
        let words = |(name, words): (&String, &Words)| words.check(&format!("{path}.in_language.{name}"));
        problems.extend(self.in_language.iter().flat_map(words));
        problems
    }

    /// These words say no more than that somebody listens.
    pub fn is_backchannel(&self, words: &str) -> bool {
        let known: Vec<String> = self.backchannels.iter().map(|word| plain(word)).collect();
        let mut rest = plain(words);
        // the longest first, so that no word hides another that begins like it
        let longest =
            |rest: &str| known.iter().filter(|word| !word.is_empty() && rest.starts_with(*word)).map(String::len).max();
        if rest.is_empty() {
            return false;
        }
        while let Some(length) = longest(&rest) {
            rest.drain(..length);
        }
        rest.is_empty()
    }

    /// The zone for spoken times.
    pub fn zone(&self) -> jiff::tz::TimeZone {
        if self.timezone.is_empty() {
            return jiff::tz::TimeZone::system();
        }
        jiff::tz::TimeZone::get(&self.timezone).unwrap_or(jiff::tz::TimeZone::UTC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chat_model_is_asked_ahead_of_its_own_accord_only_where_it_costs_nothing() {
        let of = |speculate: Speculate| [true, false].map(|local| speculate.settled(local));
        assert_eq!(of(Speculate::Auto), [Speculate::Chat, Speculate::Transcribe]);
        for set in [Speculate::Off, Speculate::Transcribe, Speculate::Chat] {
            assert_eq!(of(set), [set, set]);
        }
    }

    #[test]
    fn who_only_shows_that_he_listens_is_told_from_who_says_something() {
        let settings = Settings::default();
        for words in ["Mm.", "Mhm, mhm.", "uh-huh", "Uh huh!", "嗯。", "嗯，嗯嗯", "Oh yeah."] {
            assert!(settings.is_backchannel(words), "{words}");
        }
        for words in ["", "...", "stop", "no", "mm, stop", "嗯，停", "human", "umbrella"] {
            assert!(!settings.is_backchannel(words), "{words}");
        }
    }
}
