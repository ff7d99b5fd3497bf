//! Sums in Chinese: 加减乘除, 百分之, 平方, 根号, 分之, 倍, 折.

use super::super::sum::{self, Outcome, Token};
use super::numbers;

/// The answer to a sum; none when the text is not wholly a sum.
pub(super) fn answer(text: &str) -> Option<String> {
    const BEFORE: [&str; 6] = ["计算一下", "计算", "算一下", "算算", "算", "那"];
    const AFTER: [&str; 12] =
        ["等于多少", "等于几", "是多少", "得多少", "是几", "得几", "结果是多少", "等于", "=多少", "=几", "=", "多少"];
    let asked = BEFORE.iter().find_map(|before| text.strip_prefix(before)).unwrap_or(text);
    let asked = AFTER.iter().find_map(|after| asked.strip_suffix(after)).unwrap_or(asked);
    match sum::outcome(&tokens(asked)?)? {
        Outcome::Value(value) => spoken(value),
        Outcome::ByZero => Some("零不能做除数。".to_owned()),
    }
}

/// 等于 or 约等于, and the number.
fn spoken(value: f64) -> Option<String> {
    let (digits, about) = sum::digits(value)?;
    Some(format!("{}等于{}。", if about { "约" } else { "" }, digits.replace('-', "负")))
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let after_number = matches!(tokens.last(), Some(Token::Number(_) | Token::Power(_)));
        rest = if after_number { behind(rest, &mut tokens)? } else { before(rest, &mut tokens)? };
    }
    Some(tokens)
}

/// A number, and what stands before it.
fn before<'a>(rest: &'a str, tokens: &mut Vec<Token>) -> Option<&'a str> {
    let rest = match rest.strip_prefix("根号") {
        Some(rest) => {
            tokens.push(Token::Root(2));
            rest
        }
        None => rest,
    };
    let (value, used) = numbers::read(rest)?;
    tokens.push(Token::Number(value));
    Some(&rest[used..])
}

/// What stands behind a number.
fn behind<'a>(rest: &'a str, tokens: &mut Vec<Token>) -> Option<&'a str> {
    const SIGNS: [(&str, Token); 14] = [
        ("加上", Token::Plus),
        ("加", Token::Plus),
        ("+", Token::Plus),
        ("减去", Token::Minus),
        ("减", Token::Minus),
        ("-", Token::Minus),
        ("乘以", Token::Times),
        ("乘上", Token::Times),
        ("乘", Token::Times),
        ("×", Token::Times),
        ("*", Token::Times),
        ("除以", Token::Over),
        ("÷", Token::Over),
        ("/", Token::Over),
    ];
    const ENDS: [(&str, Token, f64); 1] = [("的一半", Token::Over, 2.0)];
    if let Some((sign, token)) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
        tokens.push(*token);
        return Some(&rest[sign.len()..]);
    }
    for (root, power) in [("的平方根", 2), ("的立方根", 3)] {
        // of the number, which is there already
        if let Some(after) = rest.strip_prefix(root) {
            let at = tokens.len() - 1;
            tokens.insert(at, Token::Root(power));
            return Some(after);
        }
    }
    for (name, power) in [("的平方", 2), ("的立方", 3)] {
        if let Some(after) = rest.strip_prefix(name) {
            tokens.push(Token::Power(power));
            return Some(after);
        }
    }
    for (name, sign, by) in ENDS {
        if let Some(after) = rest.strip_prefix(name) {
            tokens.extend([sign, Token::Number(by)]);
            return Some(after);
        }
    }
    if let Some(folded) = rest.strip_prefix("打").and_then(|rest| rest.strip_suffix("折")) {
        return discount(folded, tokens);
    }
    part_of(rest.strip_prefix('的')?, tokens)
}

/// 打八折 leaves eight tenths, 打八五折 85 hundredths.
fn discount<'a>(folded: &str, tokens: &mut Vec<Token>) -> Option<&'a str> {
    let digits: Vec<f64> = folded
        .chars()
        .map_while(|c| numbers::whole(&c.to_string()).filter(|digit| (0.0..10.0).contains(digit)))
        .collect();
    let (value, of) = match digits.as_slice() {
        [tenths] => (*tenths, 10.0),
        [tenths, hundredths] => (tenths * 10.0 + hundredths, 100.0),
        _ => return None,
    };
    (digits.len() == folded.chars().count()).then(|| {
        tokens.extend([Token::Times, Token::Number(value), Token::Over, Token::Number(of)]);
        ""
    })
}

/// 的百分之十五, 的15%, 的三分之一, 的三倍, 的三次方
fn part_of<'a>(rest: &'a str, tokens: &mut Vec<Token>) -> Option<&'a str> {
    if let Some(percent) = rest.strip_prefix("百分之") {
        let (value, used) = numbers::read(percent)?;
        tokens.extend([Token::PercentOf, Token::Number(value)]);
        return Some(&percent[used..]);
    }
    let (value, used) = numbers::read(rest)?;
    let after = &rest[used..];
    if let Some(after) = after.strip_prefix('%') {
        tokens.extend([Token::PercentOf, Token::Number(value)]);
        return Some(after);
    }
    if let Some(after) = after.strip_prefix('倍') {
        tokens.extend([Token::Times, Token::Number(value)]);
        return Some(after);
    }
    if let Some(after) = after.strip_prefix("次方") {
        #[allow(clippy::cast_possible_truncation, reason = "a whole number up to 64")]
        let power = Some(value).filter(|power| power.fract() == 0.0 && (0.0..=64.0).contains(power))? as i32;
        tokens.push(Token::Power(power));
        return Some(after);
    }
    let (upper, used) = numbers::read(after.strip_prefix("分之")?)?;
    tokens.extend([Token::Times, Token::Number(upper), Token::Over, Token::Number(value)]);
    Some(&after["分之".len() + used..])
}
