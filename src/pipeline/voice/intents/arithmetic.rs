//! Spoken sums: `+ - × ÷`, percent of, squared, square root; multiplication before addition.

use super::numbers;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Number(f64),
    Plus,
    Minus,
    Times,
    Over,
    PercentOf,
    Squared,
    Root,
}

/// The answer to a sum, spoken; none when the text is not wholly a sum.
pub fn answer(text: &str) -> Option<String> {
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
    let asked = ASKS.iter().find_map(|ask| text.strip_prefix(ask)).unwrap_or(text);
    let asked = asked.trim_end_matches(" equal").trim_end_matches(" make").trim_end_matches('=').trim();
    let tokens = tokens(asked.strip_prefix("the ").unwrap_or(asked))?;
    if tokens.len() < 2 {
        return None;
    }
    match sum(&tokens)? {
        value if value.is_finite() => Some(format!("{}.", spoken(value))),
        _ => Some("Nothing can be divided by zero.".to_owned()),
    }
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let spaced = text.replace(['+'], " + ").replace(['*', '×'], " * ").replace(['/', '÷'], " / ").replace('%', " % ");
    let words: Vec<&str> = spaced.split(' ').filter(|word| !word.is_empty()).collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let rest = &words[at..];
        let after_number = matches!(tokens.last(), Some(Token::Number(_) | Token::Squared));
        let (token, used) = match rest {
            ["plus" | "+" | "and", ..] if after_number => (Token::Plus, 1),
            ["minus" | "-" | "less", ..] if after_number => (Token::Minus, 1),
            ["multiplied", "by", ..] if after_number => (Token::Times, 2),
            ["times" | "*" | "x", ..] if after_number => (Token::Times, 1),
            ["divided", "by", ..] if after_number => (Token::Over, 2),
            ["over" | "/", ..] if after_number => (Token::Over, 1),
            ["percent" | "%", "of", ..] if after_number => (Token::PercentOf, 2),
            ["squared", ..] if after_number => (Token::Squared, 1),
            ["square", "root", "of", ..] if !after_number => (Token::Root, 3),
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

/// Terms joined by plus and minus.
fn sum(tokens: &[Token]) -> Option<f64> {
    let (mut total, mut rest) = product(tokens)?;
    while let Some((sign, after)) = rest.split_first() {
        let (value, left) = product(after)?;
        match sign {
            Token::Plus => total += value,
            Token::Minus => total -= value,
            _ => return None,
        }
        rest = left;
    }
    Some(total)
}

/// Factors joined by times, over and percent of.
fn product(tokens: &[Token]) -> Option<(f64, &[Token])> {
    let (mut value, mut rest) = factor(tokens)?;
    while let Some((sign, after)) = rest.split_first() {
        let apply: fn(f64, f64) -> f64 = match sign {
            Token::Times => |a, b| a * b,
            Token::Over => |a, b| if b == 0.0 { f64::NAN } else { a / b },
            Token::PercentOf => |a, b| a / 100.0 * b,
            _ => break,
        };
        let (next, left) = factor(after)?;
        value = apply(value, next);
        rest = left;
    }
    Some((value, rest))
}

fn factor(tokens: &[Token]) -> Option<(f64, &[Token])> {
    match tokens {
        [Token::Root, Token::Number(value), rest @ ..] if *value >= 0.0 => Some((value.sqrt(), rest)),
        [Token::Number(value), Token::Squared, rest @ ..] => Some((value * value, rest)),
        [Token::Number(value), rest @ ..] => Some((*value, rest)),
        _ => None,
    }
}

/// At most four decimals, "minus" as a word.
fn spoken(value: f64) -> String {
    let rounded = format!("{:.4}", value.abs());
    let short = rounded.trim_end_matches('0').trim_end_matches('.');
    if value < 0.0 && short != "0" { format!("minus {short}") } else { short.to_owned() }
}
