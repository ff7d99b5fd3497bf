//! Written to spoken words: "$9.99 at 7:30 pm" to "nine dollars and ninety nine cents at seven thirty P M".
//!
//! The text is cut into pieces ([`scan`]); at each place the readers are asked in turn, the most special first,
//! until one reads something; what none reads is a word, a mark or a sign with a name. All of it is linear,
//! knows no failure, and makes only [`Token`]s that can be pronounced.

mod addresses;
mod cursor;
mod money;
mod quantities;
mod scan;
mod shortened;
mod times;

use super::letters;
use super::token::{Kind as TokenKind, Token};
use cursor::{Cursor, Reading};
use scan::{Kind, Piece};

/// Each reads what begins at a place, if it is of its sort.
const READERS: &[fn(Cursor<'_>) -> Option<Reading>] = &[
    line_start,
    addresses::link_target,
    addresses::address,
    addresses::phone,
    money::read,
    times::clock,
    times::hour,
    times::date,
    times::month_and_day,
    times::day_and_month,
    times::decades,
    quantities::version,
    quantities::fraction,
    quantities::dimensions,
    quantities::range,
    quantities::ordinals,
    quantities::measure,
    quantities::thousands,
    quantities::ratio,
    quantities::minus,
    quantities::numbered,
    quantities::serial,
    quantities::plain,
    shortened::dotted,
    shortened::abbreviation,
    shortened::numeral,
];

/// The words and marks of a text.
pub(super) fn normalise(text: &str) -> Vec<Token> {
    let pieces = scan::scan(text);
    let mut out = Tokens::default();
    let mut at = 0;
    while at < pieces.len() {
        let cursor = Cursor { pieces: &pieces, at };
        let spaced = pieces[at].spaced;
        if let Some(reading) = READERS.iter().find_map(|read| read(cursor)) {
            out.words(&reading.words, spaced);
            at += reading.pieces.max(1);
            out.after_number = pieces[at - 1].kind == Kind::Digits || pieces[at - 1].kind == Kind::Sign;
        } else {
            out.piece(cursor, &pieces[at]);
            at += 1;
        }
    }
    out.list
}

/// What only lays out a line: bullets, heading signs, numbers of a list.
fn line_start(cursor: Cursor<'_>) -> Option<Reading> {
    let first = cursor.before().is_none_or(|before| before.kind == Kind::Line);
    if !first {
        return None;
    }
    if cursor.is(0, '#') && cursor.tight_digits(1, 1..=99).is_none() {
        let signs = (0..7).take_while(|&offset| cursor.is(offset, '#')).count();
        return Reading::new(signs, "");
    }
    if cursor.sign(0).is_some_and(|sign| "-*+>•".contains(sign)) && !cursor.tight(1) {
        return Reading::new(1, "");
    }
    let number = cursor.digits(0).filter(|digits| digits.len() <= 2)?;
    let listed =
        (cursor.tight_sign(1, '.') || cursor.tight_sign(1, ')')) && cursor.piece(2).is_some_and(|next| next.spaced);
    listed.then(|| Reading::new(2, super::numbers::cardinal(number) + ",")).flatten()
}

/// The tokens so far.
#[derive(Default)]
struct Tokens {
    list: Vec<Token>,
    /// Inside of straight quotes.
    quoted: bool,
    /// The last piece was a number: a word tight to it is none of its compound.
    after_number: bool,
    /// A hyphen was read: what is tight behind it belongs to the same compound.
    hyphen: bool,
}

impl Tokens {
    /// What a reader said: words, each with marks behind it.
    fn words(&mut self, words: &str, spaced: bool) {
        for (at, item) in words.split_whitespace().enumerate() {
            let word = item.trim_end_matches([',', '.', '!', '?', ';', ':']);
            if !word.is_empty() {
                self.word(word, spaced || at > 0 || self.last_is_word());
            }
            for mark in item[word.len()..].chars() {
                self.mark(mark, false);
            }
        }
        self.hyphen = false;
    }

    /// A piece that no reader wanted.
    fn piece(&mut self, cursor: Cursor<'_>, piece: &Piece) {
        match piece.kind {
            Kind::Line => self.line(cursor),
            Kind::Letters => {
                let part_of_compound = self.hyphen && !piece.spaced && self.last_is_word();
                let single = piece.text.len() == 1 && self.after_number && !piece.spaced;
                let word = if single || is_designation(cursor) { spelled(&piece.text) } else { piece.text.clone() };
                let glued = self.last_is_word() && !part_of_compound;
                self.word(&word, piece.spaced || glued);
                self.hyphen = false;
            }
            Kind::Digits => {}
            Kind::Sign => self.sign(cursor, piece),
        }
        self.after_number = false;
    }

    fn sign(&mut self, cursor: Cursor<'_>, piece: &Piece) {
        let Some(sign) = piece.text.chars().next() else { return };
        let inside = !piece.spaced && cursor.tight(1);
        let hyphen = std::mem::take(&mut self.hyphen);
        match sign {
            '"' => {
                self.quoted = if piece.spaced { true } else { !self.quoted };
                self.mark(if self.quoted { '“' } else { '”' }, piece.spaced);
            }
            '.' if cursor.tight_sign(1, '.') || self.list.last().is_some_and(|last| last.text == "…") => {
                self.mark('…', piece.spaced);
            }
            '-' if hyphen || cursor.tight_sign(1, '-') => self.mark('—', true),
            '-' if !piece.spaced && cursor.before().is_some_and(|before| before.text == "-") => {}
            '-' if inside => self.hyphen = !self.after_number,
            '-' | '–' if piece.spaced && !cursor.tight(1) => self.mark('—', true),
            '–' => self.mark('—', true),
            '[' | '{' => self.mark('(', piece.spaced),
            ']' | '}' => self.mark(')', piece.spaced),
            '|' => self.mark(',', false),
            '/' if piece.spaced && cursor.tight_letters(1).is_some() => self.name("slash", true),
            '.' if inside && self.last_is_word() && is_small(cursor.letters(1)) => self.name("dot", true),
            '.' | ',' | '!' | '?' | ';' | ':' if inside && cursor.letters(1).is_some() && !self.last_is_word() => {}
            '.' | ',' | '!' | '?' | ';' | ':' | '…' | '—' | '(' | ')' | '“' | '”' => {
                self.mark(sign, piece.spaced);
            }
            '+' => self.name(if cursor.piece(1).is_some() { "plus" } else { "" }, piece.spaced),
            '=' => self.name("equals", piece.spaced),
            '<' if cursor.digits(1).is_some() => self.name("less than", piece.spaced),
            '>' if cursor.digits(1).is_some() => self.name("greater than", piece.spaced),
            '~' if cursor.digits(1).is_some() => self.name("about", piece.spaced),
            '*' if self.after_number && cursor.digits(1).is_some() => self.name("times", piece.spaced),
            '^' if self.after_number && cursor.digits(1).is_some() => self.name("to the power of", piece.spaced),
            '#' if cursor.tight_letters(1).is_some() => self.name("hashtag", piece.spaced),
            _ => self.name(letters::name_of_sign(sign).unwrap_or_default(), piece.spaced),
        }
    }

    fn name(&mut self, words: &str, spaced: bool) {
        self.words(words, spaced);
    }

    /// The end of a line ends a sentence, unless the next line goes on with a small letter.
    fn line(&mut self, cursor: Cursor<'_>) {
        let goes_on = cursor.letters(1).is_some_and(|next| next.starts_with(char::is_lowercase));
        if !goes_on && self.list.last().is_some_and(|last| last.kind != TokenKind::Break) {
            self.list.push(Token::end_of_paragraph());
        }
    }

    fn word(&mut self, word: &str, spaced: bool) {
        self.list.push(Token::word(word, spaced));
    }

    /// A mark; of several that mean a pause only the strongest is kept.
    fn mark(&mut self, mark: char, spaced: bool) {
        let strength = |mark: char| "(,:;—.…!?".chars().position(|known| known == mark);
        if let (Some(last), Some(new)) = (self.list.last_mut(), strength(mark))
            && last.kind == TokenKind::Mark
            && mark != '('
            && let Some(old) = last.text.chars().next().and_then(strength)
            && old > 0
        {
            if new > old {
                last.text = mark.into();
            }
            return;
        }
        // Nothing is left between brackets.
        if mark == ')' && self.list.last().is_some_and(|last| last.text == "(") {
            self.list.pop();
            return;
        }
        let opens = matches!(mark, '(' | '“' | '—');
        // A text does not begin with a pause.
        if self.list.is_empty() && !opens {
            return;
        }
        self.list.push(Token::mark(mark, spaced && opens));
    }

    fn last_is_word(&self) -> bool {
        self.list.last().is_some_and(Token::is_word)
    }
}

fn is_small(word: Option<&str>) -> bool {
    word.is_some_and(|word| word.chars().all(char::is_lowercase))
}

/// Two or three capitals right before digits ("BA2490", "MP3").
fn is_designation(cursor: Cursor<'_>) -> bool {
    let capitals = |word: &str| (2..4).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase());
    cursor.letters(0).is_some_and(capitals) && cursor.tight_digits(1, 1..=99).is_some()
}

/// A word as it is written to be spelled: in capitals, with full stops.
fn spelled(word: &str) -> String {
    word.to_uppercase().chars().flat_map(|letter| [letter, '.']).collect()
}
