//! English number words → numbers.

use std::fmt::Write as _;

use crate::domain::english::{ONES, TENS};

/// Reads a number at the start of `words`; gives it and how many words it took.
pub fn read(words: &[&str]) -> Option<(f64, usize)> {
    let first = words.first()?;
    if first.starts_with(|c: char| c.is_ascii_digit()) || (first.len() > 1 && first.starts_with('-')) {
        let number: f64 = first.parse().ok()?;
        return match words.get(1).and_then(|word| scale(word)) {
            Some(scale) => Some((number * scale, 2)),
            None => Some((number, 1)),
        };
    }
    spelled(words)
}

fn spelled(words: &[&str]) -> Option<(f64, usize)> {
    let (mut total, mut group, mut used) = (0.0, 0.0, 0);
    let mut whole = false;
    for (at, word) in words.iter().enumerate() {
        if let Some(value) = unit(word).or_else(|| ten(word)) {
            // "twenty three" is one number, "three four" are two
            let room = group % 100.0;
            let fits = if value < 10.0 { room == 0.0 || room >= 20.0 && room % 10.0 == 0.0 } else { room == 0.0 };
            if !fits {
                break;
            }
            group += value;
        } else if *word == "hundred" && whole && group > 0.0 && group < 100.0 {
            group *= 100.0;
        } else if let (Some(scale), true) = (scale(word), whole && group > 0.0) {
            total += group * scale;
            group = 0.0;
        } else if *word == "and" && whole && words.get(at + 1).is_some_and(|next| unit(next).or(ten(next)).is_some()) {
            if group % 100.0 != 0.0 || group + total == 0.0 {
                break;
            }
            continue;
        } else {
            break;
        }
        whole = true;
        used = at + 1;
    }
    if !whole {
        return None;
    }
    let (fraction, more) = fraction(&words[used..]);
    Some((total + group + fraction, used + more))
}

/// "point one four"
fn fraction(words: &[&str]) -> (f64, usize) {
    if words.first() != Some(&"point") {
        return (0.0, 0);
    }
    let mut digits = String::new();
    for digit in words[1..].iter().map_while(|word| unit(word).filter(|value| *value < 10.0)) {
        // writing to a String cannot fail
        let _ = write!(digits, "{digit:.0}");
    }
    if digits.is_empty() {
        return (0.0, 0);
    }
    let used = digits.len() + 1;
    (format!("0.{digits}").parse().unwrap_or(0.0), used)
}

fn scale(word: &str) -> Option<f64> {
    match word {
        "thousand" => Some(1e3),
        "million" => Some(1e6),
        "billion" => Some(1e9),
        _ => None,
    }
}

fn unit(word: &str) -> Option<f64> {
    ONES.iter().position(|known| *known == word).map(|value| value as f64)
}

fn ten(word: &str) -> Option<f64> {
    TENS.iter().position(|known| !known.is_empty() && *known == word).map(|value| value as f64 * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_words_become_numbers() {
        for (text, number, used) in [
            ("forty two", 42.0, 2),
            ("one hundred and five", 105.0, 4),
            ("two thousand three hundred", 2_300.0, 4),
            ("three point two five", 3.25, 4),
            ("5 million", 5e6, 2),
            ("3.5", 3.5, 1),
            ("three four", 3.0, 1),
            ("twelve and", 12.0, 1),
        ] {
            let words: Vec<&str> = text.split(' ').collect();
            let (value, taken) = read(&words).unwrap_or_default();
            assert!((value - number).abs() < 1e-9 && taken == used, "{text}: {value} {taken}");
        }
        assert_eq!(read(&["hundred"]), None);
        assert_eq!(read(&["and", "five"]), None);
    }
}
