//! Spoken sums: `+ - × ÷`, percent of, what percent, powers, roots, halves and doubles.

use super::super::sum::{self, Outcome, Token};
use super::{numbers, within};

/// The answer to a sum, spoken; none when the text is not wholly a sum.
pub(super) fn answer(text: &str) -> Option<String> {
    const ASKS: [&str; 9] = [
        "what is ",
        "what's ",
        "how much is ",
        "how much are ",
        "calculate ",
        "compute ",
        "what are ",
        "what do you get for ",
        "what does ",
    ];
    if let Some(share) = share(text) {
        return Some(share);
    }
    let asked = ASKS.iter().find_map(|ask| text.strip_prefix(ask)).unwrap_or(text);
    let asked = asked.trim_end_matches(" equal").trim_end_matches(" make").trim_end_matches('=').trim();
    let tokens = tokens(asked.strip_prefix("the ").unwrap_or(asked))?;
    match sum::outcome(&tokens)? {
        Outcome::Value(value) => Some(format!("{}.", spoken(value)?)),
        Outcome::ByZero => Some("Nothing can be divided by zero.".to_owned()),
    }
}

/// "what percent of 80 is 20"
fn share(text: &str) -> Option<String> {
    const ASKS: [&str; 2] = ["what percent of ", "what percentage of "];
    let asked = ASKS.iter().find_map(|ask| text.strip_prefix(ask))?;
    let (whole, part) = asked.split_once(" is ")?;
    let (whole, part) = (number(whole)?, number(part)?);
    if whole <= 0.0 || part < 0.0 {
        return None;
    }
    Some(format!("{} percent.", spoken(part / whole * 100.0)?))
}

/// A text that is a number and nothing else.
pub(super) fn number(text: &str) -> Option<f64> {
    let words: Vec<&str> = text.split(' ').collect();
    let (value, used) = numbers::read(&words)?;
    (used == words.len() && value.is_finite()).then_some(value)
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    if let Some(tokens) = halves(text) {
        return Some(tokens);
    }
    let spaced = text.replace('+', " + ").replace(['*', '×'], " * ").replace(['/', '÷'], " / ").replace('%', " % ");
    let words: Vec<&str> = spaced.split(' ').filter(|word| !word.is_empty()).collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let rest = &words[at..];
        let after_number = matches!(tokens.last(), Some(Token::Number(_) | Token::Power(_)));
        let (token, used) = match rest {
            ["plus" | "+" | "and", ..] if after_number => (Token::Plus, 1),
            ["minus" | "-" | "less", ..] if after_number => (Token::Minus, 1),
            ["multiplied", "by", ..] if after_number => (Token::Times, 2),
            ["times" | "*" | "x", ..] if after_number => (Token::Times, 1),
            ["divided", "by", ..] if after_number => (Token::Over, 2),
            ["over" | "/", ..] if after_number => (Token::Over, 1),
            ["percent" | "%", "of", ..] if after_number => (Token::PercentOf, 2),
            ["squared", ..] if after_number => (Token::Power(2), 1),
            ["cubed", ..] if after_number => (Token::Power(3), 1),
            ["to", "the", "power", "of", power] if after_number => (Token::Power(whole(power)?), 5),
            ["square", "root", "of", ..] if !after_number => (Token::Root(2), 3),
            ["cube" | "cubic", "root", "of", ..] if !after_number => (Token::Root(3), 3),
            ["minus", more @ ..] if !after_number => {
                let (value, used) = numbers::read(more)?;
                (Token::Number(-value), used + 1)
            }
            // "7-5" comes as one word
            [word, ..] if !after_number && word.get(1..).is_some_and(|rest| rest.contains('-')) => {
                let (left, right) = word.rsplit_once('-')?;
                tokens.push(Token::Number(left.parse().ok()?));
                tokens.push(Token::Minus);
                (Token::Number(right.parse().ok()?), 1)
            }
            rest if !after_number => {
                let (value, used) = numbers::read(rest)?;
                (Token::Number(value), used)
            }
            _ => return None,
        };
        tokens.push(token);
        at += used;
    }
    Some(tokens)
}

/// "half of 30", "twice 7"
fn halves(text: &str) -> Option<Vec<Token>> {
    const SHAPES: [(&str, Token, f64); 6] = [
        ("half of ", Token::Over, 2.0),
        ("a third of ", Token::Over, 3.0),
        ("a quarter of ", Token::Over, 4.0),
        ("double ", Token::Times, 2.0),
        ("twice ", Token::Times, 2.0),
        ("triple ", Token::Times, 3.0),
    ];
    SHAPES.iter().find_map(|(before, sign, by)| {
        let value = number(within(text, before, "")?)?;
        Some(vec![Token::Number(value), *sign, Token::Number(*by)])
    })
}

#[allow(clippy::cast_possible_truncation, reason = "a whole number up to 64")]
fn whole(word: &str) -> Option<i32> {
    number(word).filter(|power| power.fract() == 0.0 && (0.0..=64.0).contains(power)).map(|power| power as i32)
}

/// "minus" as a word, and "about" where it is not the whole number.
pub(super) fn spoken(value: f64) -> Option<String> {
    let (digits, about) = sum::digits(value)?;
    let digits = digits.strip_prefix('-').map_or_else(|| digits.clone(), |rest| format!("minus {rest}"));
    Some(if about { format!("about {digits}") } else { digits })
}
