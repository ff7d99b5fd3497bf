//! A question that may be answered from memory, and when two of them ask the same.
//!
//! Only a whole question counts, of a form that is known (English, Chinese), whose answer depends on nothing but its words:
//! what speaks of "I", "here", "now", the device, or wants something done or made up, is always answered anew. That
//! two questions are near each other by their vectors does not make them the same: "turn on" is near "turn off", Austria is
//! near Australia. So what decides the answer has to be the same as well: the kind of question, its numbers, its
//! negations, and all words of weight in their order.

use super::{chinese, english};
use crate::domain::language::base;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    What,
    Who,
    When,
    Where,
    Why,
    How,
    Whether,
}

/// What decides the answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Traits {
    pub(super) kind: Kind,
    pub(super) negations: usize,
    pub(super) numbers: Vec<String>,
    /// Words of weight, plain, in order.
    pub(super) content: Vec<String>,
}

impl Traits {
    /// Both have the same answer, as far as words tell.
    pub(super) fn agree(&self, other: &Self) -> bool {
        self == other
    }
}

/// A question that may be answered from memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// Case, white space and the marks at its end do not matter.
    pub(super) plain: String,
    pub(super) traits: Traits,
}

impl Question {
    /// The question in these words; none where it is none, or none of those.
    pub(super) fn read(words: &str, language: Option<&str>) -> Option<Self> {
        let language = base(language?);
        let traits = match language.as_str() {
            "en" | "zh" if chinese::has_han(words) => chinese::read(words)?,
            "en" | "zh" if words.is_ascii() || !words.contains(|c: char| c.is_alphabetic() && !c.is_ascii()) => {
                english::read(words)?
            }
            _ => return None,
        };
        Some(Self { plain: plain(words), traits })
    }
}

fn plain(words: &str) -> String {
    let text = words.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    text.trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        let read = |text| Question::read(text, Some("en"));
        matches!((read(a), read(b)), (Some(a), Some(b)) if a.traits.agree(&b.traits))
    }

    #[test]
    fn only_questions_whose_answer_depends_on_their_words_alone_are_read() {
        for asked in [
            "Why is the sky blue?",
            "what's the capital of Austria",
            "Tell me what photosynthesis is.",
            "Is it safe to eat raw chicken?",
            "how many legs does a spider have",
            "为什么天是蓝色的？",
            "法国的首都是什么",
        ] {
            assert!(Question::read(asked, Some("en-US")).is_some(), "{asked}");
        }
        for asked in [
            "",
            "hello",
            "thank you",
            "what time is it",
            "what's the weather like",
            "what is my name",
            "where am I",
            "who are you",
            "how are you",
            "is the door open",
            "turn on the light",
            "can you turn off the music",
            "tell me a joke",
            "what about that one",
            "how tall is it there",
            "is it still raining",
            "what is the battery level",
            "what happened today in Berlin",
            "和我说说话",
            "现在几点",
            "我叫什么名字",
            "把灯打开好吗",
            "今天天气怎么样",
            "讲个笑话好吗",
        ] {
            assert_eq!(Question::read(asked, Some("en")), None, "{asked}");
        }
    }

    #[test]
    fn in_a_language_whose_words_nobody_wrote_down_nothing_is_read() {
        for language in [None, Some(""), Some("de"), Some("fr-FR")] {
            assert_eq!(Question::read("what is the capital of Austria", language), None);
        }
        assert_eq!(Question::read("wie groß ist der Mond", Some("en")), None);
    }

    #[test]
    fn the_same_words_are_the_same_however_they_are_written() {
        let plain = |text| Question::read(text, Some("en")).map(|question| question.plain);
        assert_eq!(plain("  What IS the\tcapital of Austria?! "), plain("what is the capital of austria"));
        assert_ne!(plain("what is 2.5 plus 1"), plain("what is 25 plus 1"));
    }

    #[test]
    fn what_decides_the_answer_tells_near_questions_apart() {
        for (a, b) in [
            ("What's the capital of Austria?", "what is the capital of austria"),
            ("how tall is Mount Everest", "what is the height of Mount Everest"),
            ("which is the largest city in Texas", "what's the biggest city of Texas"),
            ("please tell me why the sky is blue", "why is the sky blue"),
        ] {
            assert!(same(a, b), "{a} / {b}");
        }
        for (a, b) in [
            ("what is the capital of Austria", "what is the capital of Australia"),
            ("is it safe to eat raw chicken", "is it safe to eat cooked chicken"),
            ("is it safe to eat chicken", "is it not safe to eat chicken"),
            ("can dogs eat grapes", "can't dogs eat grapes"),
            ("what is 5 times 6", "what is 6 times 6"),
            ("does a cat chase a dog", "does a dog chase a cat"),
            ("who is the king of Spain", "who was the king of Spain"),
            ("when was Rome founded", "where was Rome founded"),
            ("should dogs eat grapes", "can dogs eat grapes"),
            ("what is the boiling point of water in celsius", "what is the boiling point of water in fahrenheit"),
        ] {
            assert!(!same(a, b), "{a} / {b}");
        }
    }
}
