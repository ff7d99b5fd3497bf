//! What a sum comes to, in whatever language it was asked; multiplication before addition.
//!
//! Numbers are f64, and nothing is answered that f64 might have rounded: above nine thousand million millions, or in the middle of a
//! sum on the way to the answer.

/// A number above this may not be exact.
const MOST: f64 = 9.0e15;
/// Digits after the point, or behind the zeros after it.
const DIGITS: i32 = 4;

/// A part of a sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token {
    Number(f64),
    Plus,
    Minus,
    Times,
    Over,
    PercentOf,
    /// Before its number.
    Root(i32),
    /// Behind its number.
    Power(i32),
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    Value(f64),
    ByZero,
}

/// The outcome of a whole sum; none where the tokens are none, or it is beyond what can be told exactly.
pub(super) fn outcome(tokens: &[Token]) -> Option<Outcome> {
    if tokens.len() < 2 {
        return None;
    }
    let (mut total, mut rest) = product(tokens)?;
    while let Some((sign, after)) = rest.split_first() {
        let (value, left) = product(after)?;
        total = match sign {
            Token::Plus => exact(total + value)?,
            Token::Minus => exact(total - value)?,
            _ => return None,
        };
        rest = left;
    }
    if total.is_nan() { Some(Outcome::ByZero) } else { Some(Outcome::Value(total)) }
}

/// A division by zero stays none of the numbers to the end.
fn exact(value: f64) -> Option<f64> {
    (value.is_nan() || value.abs() < MOST).then_some(value)
}

/// Factors joined by times, over and percent of.
fn product(tokens: &[Token]) -> Option<(f64, &[Token])> {
    let (mut value, mut rest) = factor(tokens)?;
    while let Some((sign, after)) = rest.split_first() {
        let apply: fn(f64, f64) -> f64 = match sign {
            Token::Times => |a, b| a * b,
            Token::Over => |a, b| if b == 0.0 { f64::NAN } else { a / b },
            Token::PercentOf => |a, b| a * b / 100.0,
            _ => break,
        };
        let (next, left) = factor(after)?;
        value = exact(apply(value, next))?;
        rest = left;
    }
    Some((value, rest))
}

fn factor(tokens: &[Token]) -> Option<(f64, &[Token])> {
    let (value, rest) = match tokens {
        [Token::Root(2), Token::Number(value), rest @ ..] if *value >= 0.0 => (value.sqrt(), rest),
        [Token::Root(3), Token::Number(value), rest @ ..] => (value.cbrt(), rest),
        [Token::Number(value), Token::Power(power), rest @ ..] if (0..=64).contains(power) => {
            (value.powi(*power), rest)
        }
        [Token::Number(value), rest @ ..] => (*value, rest),
        _ => return None,
    };
    Some((exact(value)?, rest))
}

/// A number in digits, and whether it is not the whole of it; none for one too small to be told.
pub(super) fn digits(value: f64) -> Option<(String, bool)> {
    let size = value.abs();
    if size != 0.0 && size < 1e-8 {
        return None;
    }
    let zeros = if size > 0.0 && size < 1.0 { -size.log10().floor() - 1.0 } else { 0.0 };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
    let places = (DIGITS + zeros as i32) as usize;
    let rounded = format!("{value:.places$}");
    let short = if rounded.contains('.') { rounded.trim_end_matches('0').trim_end_matches('.') } else { &rounded };
    let short = if short == "-0" { "0" } else { short };
    let told: f64 = short.parse().ok()?;
    Some((short.to_owned(), (told - value).abs() > size * 1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_might_be_rounded_is_not_told() {
        let times = |a, b| outcome(&[Token::Number(a), Token::Times, Token::Number(b)]);
        assert_eq!(times(12.0, 7.0), Some(Outcome::Value(84.0)));
        assert_eq!(times(123_456_789.0, 987_654_321.0), None);
        assert_eq!(outcome(&[Token::Number(10.0), Token::Power(40)]), None);
        assert_eq!(outcome(&[Token::Number(5.0), Token::Over, Token::Number(0.0)]), Some(Outcome::ByZero));
        assert_eq!(outcome(&[Token::Number(5.0)]), None, "a number alone is no sum");
    }

    #[test]
    fn a_number_is_told_whole_or_as_about() {
        for (value, text, about) in [
            (84.0, "84", false),
            (2.5, "2.5", false),
            (1.0 / 3.0, "0.3333", true),
            (0.1 + 0.2, "0.3", false),
            (0.000_012_5, "0.0000125", false),
            (-7.0, "-7", false),
            (1_000.0, "1000", false),
        ] {
            assert_eq!(digits(value), Some((text.to_owned(), about)));
        }
        assert_eq!(digits(1e-12), None);
    }
}
