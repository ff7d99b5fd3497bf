//! From tokens to text as it comes: no half characters, nothing of a stop text.

use super::model::Gguf;
use crate::engine::EngineError;

/// The text of an answer so far.
pub struct Words<'a> {
    gguf: &'a Gguf,
    tokens: Vec<u32>,
    tail: Tail<'a>,
}

impl<'a> Words<'a> {
    /// An empty answer.
    pub fn new(gguf: &'a Gguf, stop: &'a [String]) -> Self {
        Self { gguf, tokens: Vec::new(), tail: Tail { stop, said: 0, text: String::new() } }
    }

    /// One token more: what can be said now, and whether a stop text came.
    pub fn push(&mut self, token: u32) -> Result<(String, bool), EngineError> {
        self.tokens.push(token);
        Ok(self.tail.set(self.gguf.decode(&self.tokens)?))
    }

    /// What was held back.
    pub fn finish(self) -> String {
        self.tail.rest()
    }
}

/// A text that grows, and how much of it was said.
struct Tail<'a> {
    stop: &'a [String],
    said: usize,
    text: String,
}

impl Tail<'_> {
    fn set(&mut self, text: String) -> (String, bool) {
        self.text = text;
        if let Some(at) = self.stop.iter().filter(|s| !s.is_empty()).filter_map(|s| self.text.find(s.as_str())).min() {
            self.text.truncate(at);
            return (self.say(at), true);
        }
        // A character whose bytes are not all there decodes to the replacement character.
        let whole = self.text.trim_end_matches('\u{fffd}').len();
        let held = self.stop.iter().map(|stop| overlap(&self.text[..whole], stop)).max().unwrap_or(0);
        (self.say(whole - held), false)
    }

    fn say(&mut self, end: usize) -> String {
        let text = self.text.get(self.said..end).unwrap_or_default().to_owned();
        self.said = self.said.max(end);
        // The template's own line break is not part of the answer.
        if self.said == text.len() { text.trim_start().to_owned() } else { text }
    }

    fn rest(mut self) -> String {
        let end = self.text.len();
        self.say(end)
    }
}

/// So many bytes at the end of `text` may be the beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    (1..stop.len()).rev().filter(|n| stop.is_char_boundary(*n)).find(|n| text.ends_with(&stop[..*n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_text_is_never_said_not_even_its_beginning() {
        let stop = ["\nUser:".to_owned()];
        let mut tail = Tail { stop: &stop, said: 0, text: String::new() };
        assert_eq!(tail.set("Hello.".into()), ("Hello.".into(), false));
        assert_eq!(tail.set("Hello.\nUs".into()), (String::new(), false));
        assert_eq!(tail.set("Hello.\nUser: hi".into()), (String::new(), true));
        assert_eq!(tail.rest(), "");
    }

    #[test]
    fn half_a_character_waits_for_its_other_half() {
        let mut tail = Tail { stop: &[], said: 0, text: String::new() };
        assert_eq!(tail.set("caf\u{fffd}".into()), ("caf".into(), false));
        assert_eq!(tail.set("café".into()), ("é".into(), false));
    }

    #[test]
    fn what_looked_like_a_stop_text_and_was_none_is_said_in_the_end() {
        let stop = ["###".to_owned()];
        let mut tail = Tail { stop: &stop, said: 0, text: String::new() };
        assert_eq!(tail.set("a #".into()), ("a ".into(), false));
        assert_eq!(tail.rest(), "#");
    }
}
