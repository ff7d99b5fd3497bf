//! How conversations with stock xiaozhi firmware go: what it needs in time and order that others do not.
//!
//! Its audio counts only between `tts start` and `tts stop`, which it obeys at once; it never ends an idle conversation
//! itself; it forgets a session only when it is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::turn::Margins;
use crate::domain::{Problem, Span, dialect};

/// Conversations with stock xiaozhi firmware.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Least time between `tts start` and the first frame of speech: the device throws away what comes before it has
    /// switched over. Default "150ms".
    pub lead: Span,
    /// Time between the end of the last frame, as played, and `tts stop`, which cuts off what the device still holds.
    /// Default "120ms".
    pub tail: Span,
    /// A typed turn waits so long for the first datagram, which tells where to send the answer. Default "1s".
    pub address_wait: Span,
    /// After `listen stop` over MQTT the last datagrams of the utterance may still be on their way: it is over when none
    /// came for this time, or after two and a half times as long. Default "60ms".
    pub late_audio: Span,
    /// A device that listens and sends nothing for so long is silent, as encoders with DTX are: from then on the time
    /// that passes is heard as silence, except in the middle of a word. "0s" waits for packets. Default "150ms".
    pub silent_after: Span,
    /// A conversation in which nobody says anything for so long is ended, with the farewell; "0s" never ends it.
    /// Default "120s".
    pub idle: Span,
    /// A device that lost its connection in mid-conversation goes on in the same session when it is back within this
    /// time. Default "30s".
    pub away: Span,
    /// Of the devices of one room (`voxgate device set ID --room NAME`) that wake within this time, the one that heard
    /// its wake word loudest answers, and the others are sent back to rest; the greeting waits for it. Default "400ms".
    pub room_window: Span,
    /// A device has so long to answer a call of one of its tools, and each question for its list of them. Default "30s".
    pub tool_timeout: Span,
    /// What is said when the device's wake word was heard; empty says nothing. Default "Yes?".
    pub greeting: String,
    /// What is said before an idle conversation is ended; empty ends it in silence. Default "Goodbye.".
    pub farewell: String,
    /// Texts that are a wake word and no question, besides what comes before any `listen start`. Letters and digits
    /// count, capitals do not. Default: those of stock firmware.
    pub wake_words: Vec<String>,
    /// What a person says, alone, to end the conversation. Default: "goodbye", "bye", "exit", "stop talking", "退出", "再见".
    pub exit_words: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            lead: Span::ms(150),
            tail: Span::ms(120),
            address_wait: Span::secs(1),
            late_audio: Span::ms(60),
            silent_after: Span::ms(150),
            idle: Span::secs(120),
            away: Span::secs(30),
            room_window: Span::ms(400),
            tool_timeout: Span::secs(30),
            greeting: "Yes?".into(),
            farewell: "Goodbye.".into(),
            wake_words: words(&[
                "你好小智",
                "小智",
                "hi esp",
                "hi lexin",
                "hey wanda",
                "sophia",
                "jarvis",
                "computer",
                "alexa",
            ]),
            exit_words: words(&["goodbye", "bye", "exit", "stop talking", "退出", "再见"]),
        }
    }
}

impl Settings {
    /// What is wrong with these settings.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let bounded = [
            ("lead", self.lead, Duration::from_secs(2)),
            ("tail", self.tail, Duration::from_secs(2)),
            ("address_wait", self.address_wait, Duration::from_secs(10)),
            ("late_audio", self.late_audio, Duration::from_secs(1)),
            ("silent_after", self.silent_after, Duration::from_secs(5)),
            ("room_window", self.room_window, Duration::from_secs(2)),
            ("tool_timeout", self.tool_timeout, Duration::from_mins(10)),
        ];
        let mut problems = Vec::new();
        for (key, value, most) in bounded {
            if value.0 > most {
                let what = format!("{value} is out of range");
                problems.push(Problem::new(format!("{path}.{key}"), what, format!("use \"{}\" at most", Span(most))));
            }
        }
        problems
    }

    /// The text is a wake word.
    pub fn wakes(&self, text: &str) -> bool {
        among(&self.wake_words, text)
    }

    /// The text ends the conversation.
    pub fn exits(&self, text: &str) -> bool {
        among(&self.exit_words, text)
    }
}

fn among(words: &[String], text: &str) -> bool {
    let text = bare(text);
    !text.is_empty() && words.iter().any(|word| bare(word) == text)
}

/// Letters and digits, in lower case.
fn bare(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What a session minds for the dialect that its device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manners {
    /// A conversation begins with a hello and ends with a word; outside of one only tools and alerts are heard.
    pub(super) ceremonious: bool,
    /// Each message is acknowledged by its own number, and the device names its sessions.
    pub(super) by_number: bool,
    pub(super) margins: Margins,
    /// The dialect itself.
    pub(super) dialect: &'static str,
}

impl Manners {
    pub(super) fn of(name: &str, settings: &super::Settings) -> Self {
        let margins = Margins::default();
        let plain = Self { ceremonious: false, by_number: false, margins, dialect: dialect::NATIVE };
        match name {
            dialect::XIAOZHI => {
                let margins = Margins { lead: settings.xiaozhi.lead.0, tail: settings.xiaozhi.tail.0 };
                Self { ceremonious: true, margins, dialect: dialect::XIAOZHI, ..plain }
            }
            dialect::OPENCANE => Self { by_number: true, dialect: dialect::OPENCANE, ..plain },
            _ => plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_word_is_one_whatever_its_capitals_and_marks() {
        let settings = Settings::default();
        assert!(settings.wakes("Hi, ESP!") && settings.wakes("你好，小智"));
        assert!(!settings.wakes("hi esp what time is it") && !settings.wakes("") && !settings.wakes("?!"));
        assert!(settings.exits("Goodbye.") && !settings.exits("say goodbye to her"));
    }

    #[test]
    fn margins_that_nobody_would_wait_for_are_told() {
        let settings = Settings { lead: Span::secs(5), ..Settings::default() };
        let problems = settings.check("session.xiaozhi");
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "session.xiaozhi.lead");
    }
}
