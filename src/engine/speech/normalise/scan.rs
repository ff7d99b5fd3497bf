//! A text cut into what belongs together by its characters alone: letters, digits, single signs, line ends.

use super::super::letters;

/// One run of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub kind: Kind,
    pub text: String,
    /// White space goes before it.
    pub spaced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Latin letters, with apostrophes between them.
    Letters,
    /// `0` to `9`.
    Digits,
    /// One character of any other sort that means something.
    Sign,
    /// The end of a line.
    Line,
}

impl Kind {
    /// Several characters make one piece.
    fn runs(self) -> bool {
        matches!(self, Kind::Letters | Kind::Digits)
    }
}

/// Longer words are cut: they are no words.
const LONGEST_WORD: usize = 60;

/// The pieces of a text. What has no sound and parts nothing is left out.
pub(super) fn scan(text: &str) -> Vec<Piece> {
    let chars: Vec<char> = text.chars().map(letters::same_as_ascii).filter(|c| !letters::is_invisible(*c)).collect();
    let letter = |at: usize| chars.get(at).is_some_and(|c| letters::is_latin(*c));
    let mut pieces: Vec<Piece> = Vec::new();
    let mut spaced = true;
    for (at, &c) in chars.iter().enumerate() {
        if c == '\'' {
            // Part of the word between two letters, else a quotation mark that nobody hears.
            let inner = !spaced && letter(at.wrapping_sub(1)) && letter(at + 1);
            if let Some(word) = pieces.last_mut().filter(|_| inner) {
                word.text.push(c);
            }
            continue;
        }
        let Some(kind) = kind(c) else {
            spaced = true;
            continue;
        };
        match pieces.last_mut() {
            Some(last) if !spaced && last.kind == kind && kind.runs() && last.text.len() < LONGEST_WORD => {
                last.text.push(c);
            }
            _ => pieces.push(Piece { kind, text: c.into(), spaced }),
        }
        spaced = kind == Kind::Line;
    }
    pieces
}

/// What a character is; None for white space and for what cannot be said.
fn kind(c: char) -> Option<Kind> {
    match c {
        '\n' => Some(Kind::Line),
        '0'..='9' => Some(Kind::Digits),
        _ if letters::is_latin(c) => Some(Kind::Letters),
        _ if c.is_ascii_punctuation() || letters::SIGNS.contains(c) => Some(Kind::Sign),
        _ => None,
    }
}
