//! Words of tasks, a pack a language (`tasks/*.toml`): what devices are told, and which sentences ask for a task.
//!
//! A sentence asks for a task when it begins so: words that say nothing, perhaps a way to ask, and then an act, each of
//! them whole words. What stands in the midst of a sentence, or inside of a word, never does.

use serde::Deserialize;

use super::update::Event;
use crate::store::records::{Task, TaskState};

/// The packs that come with the gateway; the first is taken where nothing speaks for another.
const PACKS: [(&str, &str); 2] =
    [("tasks/en.toml", include_str!("../../tasks/en.toml")), ("tasks/zh.toml", include_str!("../../tasks/zh.toml"))];
/// Longest sentence that is looked at, characters: what is longer is told as a story, and no order.
const LONGEST: usize = 400;

/// Why there are no words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// A pack is wrong.
    #[error("{file}: {what}")]
    Pack {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// A pack's own example comes out otherwise.
    #[error("{file}: the example {text:?} comes out otherwise")]
    Example {
        /// The file.
        file: String,
        /// The example.
        text: String,
    },
}

/// What is said when somebody asks for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// It is taken.
    pub taken: String,
    /// There are too many.
    pub full: String,
    /// It could not be taken.
    pub failed: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pack {
    language: String,
    say: Say,
    route: Route,
    #[serde(default)]
    example: Vec<Example>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Say {
    taken: String,
    full: String,
    failed_to_take: String,
    accepted: String,
    running: String,
    step: String,
    recovered: String,
    success: String,
    failed: String,
    timeout: String,
    canceled: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    fillers: Vec<String>,
    openers: Vec<String>,
    acts: Vec<String>,
    unless: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    text: String,
    task: bool,
}

/// The words of tasks.
#[derive(Debug, Clone)]
pub struct Words {
    packs: Vec<Pack>,
}

impl Words {
    /// The packs that come with the gateway; their examples are played.
    pub fn builtin() -> Result<Self, WordsError> {
        let mut packs = Vec::new();
        for (file, text) in PACKS {
            let wrong = |what: String| WordsError::Pack { file: file.to_owned(), what };
            let mut pack: Pack = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
            for list in [&mut pack.route.fillers, &mut pack.route.openers, &mut pack.route.acts, &mut pack.route.unless]
            {
                // the longest first: "help me to" before "help me"
                *list = list.iter().map(|phrase| plain(phrase)).collect();
                list.sort_by_key(|phrase| std::cmp::Reverse(phrase.len()));
                if list.iter().any(String::is_empty) {
                    return Err(wrong("a phrase has no letter".to_owned()));
                }
            }
            packs.push((file, pack));
        }
        let words = Self { packs: packs.iter().map(|(_, pack)| pack.clone()).collect() };
        for (file, pack) in &packs {
            if let Some(example) =
                pack.example.iter().find(|example| words.route(&example.text).is_some() != example.task)
            {
                return Err(WordsError::Example { file: (*file).to_owned(), text: example.text.clone() });
            }
        }
        Ok(words)
    }

    /// The pack of a text: that of its script.
    fn pack(&self, text: &str) -> &Pack {
        let language = if text.chars().any(is_han) { "zh" } else { "en" };
        self.packs.iter().find(|pack| pack.language == language).unwrap_or(&self.packs[0])
    }

    /// Whether a sentence asks for a task: what is said then.
    pub fn route(&self, sentence: &str) -> Option<Said> {
        if sentence.chars().count() > LONGEST {
            return None;
        }
        self.pack(sentence).route.asks(&plain(sentence)).then(|| self.answers(sentence))
    }

    /// What is said to a sentence that asks for a task.
    pub(super) fn answers(&self, sentence: &str) -> Said {
        let say = &self.pack(sentence).say;
        Said { taken: say.taken.clone(), full: say.full.clone(), failed: say.failed_to_take.clone() }
    }

    /// What a device is told.
    pub(super) fn message(&self, task: &Task, event: Event, note: Option<&str>) -> String {
        let say = &self.pack(&task.goal).say;
        let outcome = || task.result["text"].as_str().unwrap_or_default();
        let (template, what) = match (event, task.state) {
            (Event::Accepted, _) => (&say.accepted, ""),
            (Event::Running, _) => (&say.running, ""),
            (Event::Step, _) => (&say.step, note.unwrap_or_default()),
            (Event::Recovered, _) => (&say.recovered, ""),
            (Event::End, TaskState::Success) => (&say.success, outcome()),
            (Event::End, TaskState::Timeout) => (&say.timeout, ""),
            (Event::End, TaskState::Canceled) => (&say.canceled, ""),
            (Event::End, _) => (&say.failed, outcome()),
        };
        template.replacen("{goal}", &task.goal, 1).replacen("{}", what, 1).trim().to_owned()
    }
}

impl Route {
    fn asks(&self, text: &str) -> bool {
        if self.unless.iter().any(|phrase| contains(text, phrase)) {
            return false;
        }
        let mut rest = text;
        // fillers may come before the way of asking and after it: "hey, can you please book a table"
        loop {
            if self.act(rest) {
                return true;
            }
            if let Some(after) = self.openers.iter().find_map(|opener| after(rest, opener)) {
                let bare = self.without_fillers(after);
                if self.act(after) || self.act(bare) {
                    return true;
                }
            }
            match self.fillers.iter().find_map(|filler| after(rest, filler)) {
                Some(after) => rest = after,
                None => return false,
            }
        }
    }

    fn without_fillers<'a>(&self, mut text: &'a str) -> &'a str {
        while let Some(after) = self.fillers.iter().find_map(|filler| after(text, filler)) {
            text = after;
        }
        text
    }

    /// It begins with an act, and something follows; an act may be all there is of it in Chinese: "帮我挂号".
    fn act(&self, text: &str) -> bool {
        self.acts.iter().filter_map(|act| after(text, act).map(|rest| (act, rest))).any(|(act, rest)| {
            !rest.is_empty() || act.chars().any(is_han) || act.contains("taxi") || act.starts_with("make ")
        })
    }
}

/// What follows a phrase at the start, where the phrase ends with a word.
fn after<'a>(text: &'a str, phrase: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(phrase)?;
    let ends = rest.is_empty() || rest.starts_with(' ') || phrase.chars().next_back().is_some_and(is_han);
    ends.then(|| rest.trim_start())
}

/// The phrase is somewhere in the text, as whole words; characters of Chinese have no borders.
fn contains(text: &str, phrase: &str) -> bool {
    if phrase.chars().any(is_han) {
        return text.contains(phrase);
    }
    let padded = format!(" {text} ");
    padded.contains(&format!(" {phrase} "))
}

/// Small letters and digits, single spaces between words; apostrophes stay, other marks are spaces. Chinese has none.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '’' | '‘' => plain.push('\''),
            '-' => plain.push('-'),
            c if c.is_alphanumeric() => plain.extend(c.to_lowercase()),
            _ if !plain.ends_with(' ') => plain.push(' '),
            _ => {}
        }
    }
    let trimmed = plain.trim();
    if trimmed.chars().any(is_han) {
        return trimmed.split(' ').collect::<Vec<_>>().join("");
    }
    trimmed.to_owned()
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    /// Fault 25 of OpenCane: "notebook" and "in order to" began tasks.
    #[test]
    fn no_sentence_is_a_task_that_does_not_ask_for_one() {
        let words = Words::builtin().unwrap();
        for sentence in [
            "",
            "?!",
            "notebook",
            "where is my notebook",
            "I left my notebook at the office",
            "in order to get there, do I turn left",
            "in order to book a table I need a phone",
            "I ordered a pizza yesterday",
            "we booked a table for two",
            "what does order mean",
            "how do I book a table here",
            "can you tell me how to book a table",
            "did you book the table",
            "is the table booked",
            "when does the registration desk open",
            "register",
            "book",
            "order",
            "order in the court",
            "the order of the planets",
            "book club starts at seven",
            "schedule for tomorrow",
            "what is on my schedule",
            "read me the book about a dog",
            "help me",
            "help me up",
            "help me cross the street",
            "help me read this sign",
            "help me understand how to reserve a seat",
            "can you see the bookshop",
            "could you tell me a story about a boy who could order a dragon",
            "she asked me to book a table",
            "should I book a table",
            "don't book a table",
            "please do not order a pizza",
            "how do you say book a table in French",
            "book a table means what in Chinese",
            "bookmark a page",
            "reordering a list",
            "border a garden with stones",
            "preorder a game is what he said",
            "帮我",
            "帮我看看前面有什么",
            "帮我看一下红绿灯",
            "帮我读一下这个牌子",
            "怎么预订酒店",
            "如何帮我订一张票",
            "我昨天预订了酒店",
            "你帮我订了吗",
            "订单到哪里了",
            "预订是什么意思",
            "前面的酒店可以预订吗",
            "这里有没有预约窗口",
            "给我讲一个订票的故事",
            "帮我翻译订一张票",
            "不要帮我订票",
            "现在几点",
        ] {
            assert_eq!(words.route(sentence), None, "{sentence:?}");
        }
    }

    #[test]
    fn what_asks_for_a_task_is_heard_with_all_courtesies_around_it() {
        let words = Words::builtin().unwrap();
        for sentence in [
            "help me book a table",
            "Help me book a table for two at seven, please.",
            "book a table for two",
            "please book me a taxi to the station",
            "Hey, can you please book a table?",
            "could you help me to reserve a seat on the 9 o'clock train",
            "would you order some groceries",
            "I'd like you to schedule a meeting with Anna",
            "I’d like you to register me for the course",
            "okay, so, make an appointment with the dentist",
            "sign me up for the newsletter",
            "call me a taxi",
            "cancel my reservation for tonight",
            "send an email to my daughter",
            "please, hey, order a pizza",
            "帮我订一张明天去上海的火车票",
            "请帮我预约明天上午的医生",
            "麻烦你帮我叫一辆车",
            "麻烦你，帮我挂号。",
            "你能不能帮我预订一家餐厅？",
            "可以帮我点一份外卖吗",
            "预订两个人的座位",
            "给我订一个闹钟旁边的酒店",
            "嗯，那帮我买两张电影票",
            "取消预约",
        ] {
            assert!(words.route(sentence).is_some(), "{sentence:?}");
        }
        assert!(words.route("帮我订票").unwrap().taken.contains("好的"));
        let long = format!("book a table {}", "and then ".repeat(60));
        assert_eq!(words.route(&long), None, "nobody orders something in so many words");
    }
}
