//! A place in the pieces of a text, with the questions that readers ask: what is here, is it tight, is it a number.

use super::scan::{Kind, Piece};

/// What a reader has read: so many pieces, spoken so. Marks may stand behind words ("March third, …").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub pieces: usize,
    pub words: String,
}

impl Reading {
    #[allow(clippy::unnecessary_wraps, reason = "every reader answers with an Option")]
    pub(super) fn new(pieces: usize, words: impl Into<String>) -> Option<Self> {
        Some(Self { pieces, words: words.into() })
    }
}

/// Looks from one place on; offsets count pieces from there. Past the end there is nothing, never a panic.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub pieces: &'a [Piece],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn piece(self, offset: usize) -> Option<&'a Piece> {
        self.pieces.get(self.at + offset)
    }

    /// The piece before this place.
    pub(super) fn before(self) -> Option<&'a Piece> {
        self.pieces.get(self.at.checked_sub(1)?)
    }

    fn of_kind(self, offset: usize, kind: Kind) -> Option<&'a str> {
        self.piece(offset).filter(|piece| piece.kind == kind).map(|piece| piece.text.as_str())
    }

    pub(super) fn letters(self, offset: usize) -> Option<&'a str> {
        self.of_kind(offset, Kind::Letters)
    }

    pub(super) fn digits(self, offset: usize) -> Option<&'a str> {
        self.of_kind(offset, Kind::Digits)
    }

    pub(super) fn sign(self, offset: usize) -> Option<char> {
        self.of_kind(offset, Kind::Sign)?.chars().next()
    }

    pub(super) fn is(self, offset: usize, sign: char) -> bool {
        self.sign(offset) == Some(sign)
    }

    /// No space between the piece and the one before it.
    pub(super) fn tight(self, offset: usize) -> bool {
        self.piece(offset).is_some_and(|piece| !piece.spaced)
    }

    /// The piece is this sign, and tight.
    pub(super) fn tight_sign(self, offset: usize, sign: char) -> bool {
        self.is(offset, sign) && self.tight(offset)
    }

    /// Digits, so many of them, tight, as a value.
    pub(super) fn tight_digits(self, offset: usize, lengths: std::ops::RangeInclusive<usize>) -> Option<&'a str> {
        self.digits(offset).filter(|digits| self.tight(offset) && lengths.contains(&digits.len()))
    }

    pub(super) fn tight_letters(self, offset: usize) -> Option<&'a str> {
        self.letters(offset).filter(|_| self.tight(offset))
    }

    /// The text, the line or the sentence ends here: nothing follows, or a capital does after a space.
    pub(super) fn ends_sentence(self, offset: usize) -> bool {
        match self.piece(offset) {
            None => true,
            Some(next) => next.kind == Kind::Line || (next.spaced && next.text.starts_with(char::is_uppercase)),
        }
    }

    /// This place and what is tight to it are not inside of a longer word or number.
    pub(super) fn starts_chunk(self) -> bool {
        let open =
            |before: &Piece| before.kind == Kind::Line || matches!(before.text.as_str(), "(" | "[" | "<" | "“" | "\"");
        self.piece(0).is_none_or(|piece| piece.spaced) || self.before().is_none_or(open)
    }

    /// A number with groups of thousands and a fraction: "1,250.75", "3.5", ".5".
    pub(super) fn number(self, offset: usize) -> Option<Number<'a>> {
        if self.is(offset, '.') {
            let fraction = self.tight_digits(offset + 1, 1..=MAX_DIGITS)?;
            return Some(Number { whole: String::new(), fraction: Some(fraction), grouped: false, pieces: 2 });
        }
        let mut whole = self.digits(offset)?.to_owned();
        let mut pieces = 1;
        let first = whole.len();
        while first <= 3
            && self.tight_sign(offset + pieces, ',')
            && let Some(group) = self.tight_digits(offset + pieces + 1, 3..=3)
        {
            whole += group;
            pieces += 2;
        }
        let grouped = pieces > 1;
        let fraction = self.tight_digits(offset + pieces + 1, 1..=MAX_DIGITS);
        let fraction = fraction.filter(|_| self.tight_sign(offset + pieces, '.'));
        pieces += if fraction.is_some() { 2 } else { 0 };
        Some(Number { whole, fraction, grouped, pieces })
    }
}

/// Digits of a fraction; more are a serial number.
const MAX_DIGITS: usize = 40;

/// A number as written.
#[derive(Debug)]
pub(super) struct Number<'a> {
    /// The digits before the point, without commas.
    pub whole: String,
    pub fraction: Option<&'a str>,
    /// Commas were there: surely no year.
    pub grouped: bool,
    /// Pieces it takes.
    pub pieces: usize,
}

impl Number<'_> {
    /// As a quantity: "three point one four".
    pub(super) fn words(&self) -> String {
        let whole = if self.whole.is_empty() { String::new() } else { super::super::numbers::cardinal(&self.whole) };
        match self.fraction {
            Some(fraction) => format!("{whole} point {}", super::super::numbers::one_by_one(fraction)),
            None => whole,
        }
    }

    /// Exactly one: what is counted stands in the singular.
    pub(super) fn is_one(&self) -> bool {
        self.whole == "1" && self.fraction.is_none()
    }

    /// "one kilometer", "2.5 kilometers".
    pub(super) fn of(&self, [one, many]: [&str; 2]) -> String {
        format!("{} {}", self.words(), if self.is_one() { one } else { many })
    }
}
