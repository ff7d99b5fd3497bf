//! The pieces of words that a model tells, and how they become a text.

use std::collections::HashMap;

/// The largest list.
const MOST: usize = 1 << 18;

/// A model's pieces by number.
pub struct Tokens {
    pieces: Vec<String>,
}

impl Tokens {
    /// Reads `tokens.txt`: a piece and its number a line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut found = HashMap::new();
        for (n, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let wrong = || format!("line {} is not a piece and its number", n + 1);
            let (piece, number) = line.trim_end().rsplit_once([' ', '\t']).ok_or_else(wrong)?;
            let number: usize = number.parse().map_err(|_| wrong())?;
            if number >= MOST {
                return Err(format!("line {}: number {number} is too high", n + 1));
            }
            found.insert(number, piece.to_owned());
        }
        let count = found.keys().max().map_or(0, |highest| highest + 1);
        if count == 0 {
            return Err("it is empty".into());
        }
        Ok(Self { pieces: (0..count).map(|n| found.remove(&n).unwrap_or_default()).collect() })
    }

    /// The number of a piece.
    pub fn number(&self, piece: &str) -> Option<usize> {
        self.pieces.iter().position(|known| known == piece)
    }

    /// The text of SentencePiece's pieces (`▁` is a space, `<0xE4>` a byte), and the tags among them (`<|zh|>` is `zh`).
    pub fn sentence(&self, numbers: &[usize]) -> (String, Vec<&str>) {
        let (mut bytes, mut tags) = (Vec::new(), Vec::new());
        for piece in self.known(numbers) {
            if let Some(tag) = piece.strip_prefix("<|").and_then(|rest| rest.strip_suffix("|>")) {
                tags.push(tag);
            } else if let Some(byte) = byte(piece) {
                bytes.push(byte);
            } else if !is_control(piece) {
                bytes.extend_from_slice(piece.replace('▁', " ").as_bytes());
            }
        }
        (tidy(&String::from_utf8_lossy(&bytes)), tags)
    }

    /// The text of pieces that are joined where one ends in `@@`, and are words or Chinese characters elsewhere.
    pub fn words(&self, numbers: &[usize]) -> String {
        let mut text = String::new();
        let mut joins = false;
        for piece in self.known(numbers).filter(|piece| !is_control(piece)) {
            let stem = piece.strip_suffix("@@");
            if !joins {
                text.push(' ');
            }
            text.push_str(stem.unwrap_or(piece));
            joins = stem.is_some();
        }
        tidy(&text)
    }

    fn known(&self, numbers: &[usize]) -> impl Iterator<Item = &str> {
        numbers.iter().filter_map(|n| self.pieces.get(*n)).map(String::as_str)
    }
}

/// `<unk>`, `<s>`, `</s>`, `<blank>`.
fn is_control(piece: &str) -> bool {
    piece.len() > 2 && piece.starts_with('<') && piece.ends_with('>')
}

fn byte(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok()
}

/// One space between words, none between characters that are written without.
fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        let between = tidy.chars().next_back().zip(word.chars().next());
        let together = |(before, next)| dense(before) && dense(next) || wide_mark(before) || closes(next);
        if between.is_some_and(|ends| !together(ends)) {
            tidy.push(' ');
        }
        tidy.push_str(word);
    }
    tidy
}

/// Chinese and Japanese characters and their marks.
fn dense(c: char) -> bool {
    matches!(c as u32, 0x3000..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0xFF00..=0xFF65)
}

/// A Chinese mark, which brings its own space.
fn wide_mark(c: char) -> bool {
    matches!(c as u32, 0x3000..=0x303F | 0xFF00..=0xFF65)
}

fn closes(c: char) -> bool {
    matches!(c, ',' | '.' | '!' | '?' | ';' | ':' | '，' | '。' | '！' | '？' | '；' | '：' | '、')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    fn tokens(pieces: &[&str]) -> Tokens {
        let lines: Vec<_> = pieces.iter().enumerate().map(|(n, piece)| format!("{piece} {n}")).collect();
        Tokens::parse(&lines.join("\n")).unwrap()
    }

    fn all(tokens: &Tokens) -> Vec<usize> {
        (0..tokens.pieces.len()).collect()
    }

    #[test]
    fn sentence_pieces_become_a_text_and_their_tags_are_kept_apart() {
        let english = tokens(&["<|en|>", "<|NEUTRAL|>", "<|Speech|>", "<|withitn|>", "▁Turn", "▁it", "▁o", "ff", "."]);
        let (text, tags) = english.sentence(&all(&english));
        assert_eq!((text.as_str(), tags), ("Turn it off.", vec!["en", "NEUTRAL", "Speech", "withitn"]));
        let chinese = tokens(&["<s>", "▁", "打", "开", "▁灯", "，", "▁5", "▁o", "clock", "。", "<unk>"]);
        assert_eq!(chinese.sentence(&all(&chinese)).0, "打开灯，5 oclock。");
        let bytes = tokens(&["<0xE4>", "<0xBD>", "<0xA0>", "好", "<0xE4>"]);
        assert_eq!(bytes.sentence(&all(&bytes)).0, "你好\u{FFFD}");
    }

    #[test]
    fn broken_words_are_joined_and_characters_are_not_spaced() {
        let mixed = tokens(&["<blank>", "打", "开", "blue@@", "too@@", "th", "music", "。", "</s>"]);
        assert_eq!(mixed.words(&all(&mixed)), "打开 bluetooth music。");
        assert_eq!(mixed.words(&[3]), "blue");
        assert_eq!(mixed.words(&[99]), "");
    }

    #[test]
    fn a_list_that_is_none_is_refused_by_its_line() {
        for (text, what) in
            [("", "empty"), ("a 0\nb", "line 2"), ("a x", "line 1"), ("a 999999999", "too high"), ("a -1", "line 1")]
        {
            assert!(Tokens::parse(text).err().unwrap().contains(what), "{text}");
        }
        let gaps = Tokens::parse("b 2\n\n a 0\n").unwrap();
        assert_eq!((gaps.pieces.len(), gaps.number("b"), gaps.number(" a")), (3, Some(2), Some(0)));
    }
}
