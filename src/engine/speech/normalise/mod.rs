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
    out.done
}

/// What only lays out a line: bullets, heading signs, numbers of a list.
fn line_start(cursor: Cursor<'_>) -> Option<Reading> {
    let first = cursor.before().is_none_or(|before| before.kind == Kind::Line);
    if !first {
        return None;
    }
    let signs = (0..7).take_while(|&offset| cursor.is(offset, '#')).count();
    if signs > 0 && !cursor.tight(signs) {
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
    done: Vec<Token>,
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
            '.' if cursor.tight_sign(1, '.') || self.done.last().is_some_and(|last| last.text == "…") => {
                self.mark('…', piece.spaced);
            }
            '-' if hyphen || cursor.tight_sign(1, '-') => self.mark('—', true),
            '-' if !piece.spaced && cursor.before().is_some_and(|before| before.text == "-") => {}
            '-' if inside => self.hyphen = !self.after_number,
            '-' | '–' if piece.spaced && !cursor.tight(1) => self.mark('—', true),
            '–' => self.mark('—', true),
            '[' if addresses::opens_link(cursor) => {}
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
        if !goes_on && self.done.last().is_some_and(|last| last.kind != TokenKind::Break) {
            self.done.push(Token::end_of_paragraph());
        }
    }

    fn word(&mut self, word: &str, spaced: bool) {
        self.done.push(Token::word(word, spaced));
    }

    /// A mark; of several that mean a pause only the strongest is kept.
    fn mark(&mut self, mark: char, spaced: bool) {
        let strength = |mark: char| "(,:;—.…!?".chars().position(|known| known == mark);
        if let (Some(last), Some(new)) = (self.done.last_mut(), strength(mark))
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
        if mark == ')' && self.done.last().is_some_and(|last| last.text == "(") {
            self.done.pop();
            return;
        }
        let opens = matches!(mark, '(' | '“' | '—');
        // A text does not begin with a pause.
        if self.done.is_empty() && (!opens || mark == '—') {
            return;
        }
        self.done.push(Token::mark(mark, spaced && opens));
    }

    fn last_is_word(&self) -> bool {
        self.done.last().is_some_and(Token::is_word)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens as text; parts of a compound are joined with a hyphen, paragraphs end with "/".
    fn said(text: &str) -> String {
        let mut said = String::new();
        let mut word = false;
        for token in normalise(text) {
            if token.spaced && !said.is_empty() {
                said.push(' ');
            } else if word && token.is_word() {
                said.push('-');
            }
            word = token.is_word();
            said += if token.kind == TokenKind::Break { " /" } else { &token.text };
        }
        said
    }

    fn check(cases: &[(&str, &str)]) {
        let wrong: Vec<String> = cases
            .iter()
            .filter(|(text, expected)| said(text) != *expected)
            .map(|(text, expected)| format!("{text:?}: {:?}, not {expected:?}", said(text)))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn what_cannot_be_said_leaves_nothing() {
        check(&[("", ""), ("   \t ", ""), ("😀🎉", ""), ("你好，世界。", ""), ("...", ""), ("***", ""), ("----", "")]);
    }

    #[test]
    fn words_survive_what_stands_around_them() {
        check(&[
            ("你好 hello 世界, 😀 this works!", "hello, this works!"),
            ("**Bold** and `code` and _this_", "Bold and code and this"),
            ("so\u{AD}ft cafe\u{301} zero\u{200B}width", "soft cafe zerowidth"),
            ("don’t 'quote' the dogs' o'clock", "don't quote the dogs o'clock"),
            ("Ｈｅｌｌｏ！", "Hello!"),
            ("He said \"yes\", really?!", "He said “yes”, really?"),
            ("well-known state-of-the-art", "well-known state-of-the-art"),
            ("one -- two - three—four", "one — two — three—four"),
            ("wait... what?! No!!!", "wait… what? No!"),
            ("and/or (never [ever])", "and or (never (ever))"),
        ]);
    }

    #[test]
    fn lists_and_lines_become_sentences() {
        check(&[
            ("# Title\n- one\n- two", "Title / one / two"),
            ("1. Mix\n2) Bake", "one, Mix / two, Bake"),
            ("a line\nthat goes on", "a line that goes on"),
            ("First.\n\n\nSecond.", "First. / Second."),
        ]);
    }

    #[test]
    fn numbers_are_read_as_what_they_count() {
        check(&[
            (
                "1,250 and 3.14 and -5 and .5",
                "one thousand two hundred fifty and three point one four and minus five and point five",
            ),
            ("in 1905, 2005 and 2024", "in nineteen oh five, two thousand five and twenty twenty four"),
            ("the 1990s, the 21st", "the nineteen nineties, the twenty first"),
            (
                "5 km, 60 km/h, 20 m², 1 kg",
                "five kilometers, sixty kilometers per hour, twenty square meters, one kilogram",
            ),
            (
                "50% at -3 °C or 98.6°F",
                "fifty percent at minus three degrees Celsius or ninety eight point six degrees Fahrenheit",
            ),
            ("1/2 and 2 3/4 and 24/7", "one half and two and three quarters and twenty four seven"),
            ("pages 10-15, score 2:1, 3x4", "pages ten to fifteen, score two to one, three by four"),
            ("v1.2.3 at 192.168.1.1", "v one point two point three at one nine two dot one six eight dot one dot one"),
            ("10k steps in 4M files", "ten thousand steps in four million files"),
            ("BA2490, room 007, #3", "B.A. two four nine zero, room zero zero seven, number three"),
        ]);
    }

    #[test]
    fn money_is_read_with_its_currency_behind() {
        check(&[
            ("$9.99 or $1", "nine dollars and ninety nine cents or one dollar"),
            ("$0.05, £1.01", "five cents, one pound and one penny"),
            ("€3.5 million, $5bn", "three point five million euros, five billion dollars"),
            ("20 USD, 5 €, 50¢, US$7", "twenty dollars, five euros, fifty cents, seven US dollars"),
            ("-$20", "minus twenty dollars"),
        ]);
    }

    #[test]
    fn times_and_dates_are_read_as_people_say_them() {
        check(&[
            ("at 7:30 pm, 18:05, 9:00", "at seven thirty P.M, eighteen oh five, nine o'clock"),
            ("7pm or 7 p.m. today", "seven P.M or seven P.M today"),
            ("Leave at 9 a.m. Take tea.", "Leave at nine A.M. Take tea."),
            ("0:00 and 25:99", "midnight and twenty five to ninety nine"),
            ("2024-03-05", "March fifth, twenty twenty four"),
            (
                "3/5/2024 and 25/12/99",
                "March fifth, twenty twenty four and December twenty fifth, nineteen ninety nine",
            ),
            ("March 3rd, 2024", "March third, twenty twenty four"),
            ("the 3rd of March; 4 Jul", "the third of March; the fourth of July"),
            ("13/13/2024", "thirteen thirteen twenty twenty four"),
        ]);
    }

    #[test]
    fn addresses_and_telephone_numbers_are_dictated() {
        check(&[
            ("call 555-1234.", "call five five five, one two three four."),
            ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
            ("mail info@example.org!", "mail info at example dot org!"),
            ("see https://example.com/a-b/.", "see example dot com slash a dash b."),
            ("[this page](https://example.com/x?y=z) helps", "this page helps"),
            ("It ended.And", "It ended.And"),
        ]);
    }

    #[test]
    fn short_forms_are_read_in_full() {
        check(&[
            ("Dr. Smith of 12 Main St. in St. Louis", "Dr Smith of twelve Main Street in Saint Louis"),
            ("Mount St. Helens", "Mount Saint Helens"),
            ("e.g. the U.S. Army, i.e. us", "for example the U.S Army, that is us"),
            ("Acme Inc. It grew, etc.", "Acme Incorporated. It grew, etcetera."),
            ("J. K. Rowling and plan B. Then", "J K Rowling and plan B. Then"),
            ("Chapter IV, World War II, Henry VIII", "Chapter four, World War two, Henry the eighth"),
            ("No. 5, say no. Fig. 3, p. 4", "number five, say no. figure three, page four"),
        ]);
    }

    #[test]
    fn signs_that_mean_something_have_names() {
        check(&[
            ("R&D, 2+2=4", "R and D, two plus two equals four"),
            ("a @ b, 5 × 3, ±2", "a at b, five by three, plus or minus two"),
            ("10^6 < 20*3", "ten to the power of six less than twenty times three"),
            ("#fun ~5 π", "hashtag fun about five pi"),
        ]);
    }

    proptest::proptest! {
        /// No text stops the voice, and every token can be pronounced.
        #[test]
        fn any_text_becomes_words_and_marks(text in "\\PC{0,60}|[ -~\\n]{0,80}|[-0-9:/.,$€%°kmpa ]{0,40}") {
            for token in normalise(&text) {
                let word = token.text.chars().all(|c| letters::is_latin(c) || matches!(c, '\'' | '.'));
                let mark = token.text.chars().all(|c| ".,!?;:—…()“”".contains(c));
                proptest::prop_assert!(if token.is_word() { word && !token.text.is_empty() } else { mark }, "{token:?}");
            }
        }
    }
}
