//! The conversation of a session, within a budget of tokens.
//!
//! Tokens are estimated, as no tokenizer is at hand here: four letters of an alphabetic script, or one
//! character of a Chinese, Japanese or Korean one.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Who said a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// The person at the device.
    Person,
    /// The gateway.
    Gateway,
}

/// One line of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Who.
    pub speaker: Speaker,
    /// What.
    pub text: String,
}

/// A conversation that forgets its oldest lines when it grows over its budget: a quarter of it at once, so that what the model
/// is told begins in the same way for several turns, and its prompt cache holds.
#[derive(Debug, Clone)]
pub struct History {
    lines: VecDeque<Line>,
    tokens: usize,
    budget: usize,
}

impl History {
    /// An empty conversation of at most `budget` tokens.
    pub fn new(budget: usize) -> Self {
        Self { lines: VecDeque::new(), tokens: 0, budget }
    }

    /// Adds a line; forgets old ones to make room. One line alone may exceed the budget: it is cut.
    pub fn push(&mut self, speaker: Speaker, text: &str) {
        let text = cut(text.trim(), self.budget);
        if text.is_empty() {
            return;
        }
        self.tokens += tokens(text);
        self.lines.push_back(Line { speaker, text: text.to_owned() });
        if self.tokens <= self.budget {
            return;
        }
        let keep = self.budget - self.budget / 4;
        while self.tokens > keep && self.lines.len() > 1 {
            if let Some(old) = self.lines.pop_front() {
                self.tokens -= tokens(&old.text);
            }
        }
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.iter().cloned().collect()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.tokens = 0;
    }
}

/// The estimated number of tokens of a text.
pub fn tokens(text: &str) -> usize {
    quarters(text).sum::<usize>().div_ceil(4)
}

/// Each character's cost in quarters of a token.
fn quarters(text: &str) -> impl Iterator<Item = usize> {
    text.chars().map(|c| if c as u32 >= 0x2E80 { 4 } else { 1 })
}

fn cut(text: &str, budget: usize) -> &str {
    let mut left = budget.saturating_mul(4);
    for (at, c) in text.char_indices() {
        let cost = quarters(c.encode_utf8(&mut [0; 4])).sum::<usize>();
        if cost > left {
            return &text[..at];
        }
        left -= cost;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_go_first() {
        let mut history = History::new(4);
        history.push(Speaker::Person, "eight ch");
        history.push(Speaker::Gateway, "eight ch");
        history.push(Speaker::Person, "more");
        assert_eq!(history.lines().len(), 2);
        assert_eq!(history.lines()[0].speaker, Speaker::Gateway);
    }

    #[test]
    fn what_is_forgotten_is_forgotten_in_large_steps() {
        let mut history = History::new(400);
        let (mut cuts, mut before) = (0, Vec::new());
        for turn in 0..100 {
            history.push(Speaker::Person, &format!("{turn:08}"));
            history.push(Speaker::Gateway, &format!("{turn:032}"));
            let lines = history.lines();
            cuts += usize::from(!lines.starts_with(&before));
            assert!(history.tokens <= 400 && (turn < 40 || history.tokens > 280), "{}", history.tokens);
            before = lines;
        }
        assert!((4..=7).contains(&cuts), "{cuts} new beginnings in 60 turns over the budget");
    }

    #[test]
    fn a_chinese_character_is_a_token() {
        assert_eq!(tokens("你好"), 2);
        assert_eq!(tokens("hello wo"), 2);
    }

    #[test]
    fn a_line_longer_than_the_budget_is_cut_at_a_character() {
        let mut history = History::new(3);
        history.push(Speaker::Person, "你好吗你好吗");
        assert_eq!(history.lines()[0].text, "你好吗");
    }
}
