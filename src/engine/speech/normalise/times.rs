//! Times of day and dates.

use super::super::numbers::{cardinal, decade, ordinal, small, year};
use super::cursor::{Cursor, Reading};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// "7:30 pm", "18:05", "9:00".
pub(super) fn clock(cursor: Cursor<'_>) -> Option<Reading> {
    let hour: usize = cursor.digits(0).filter(|digits| digits.len() <= 2)?.parse().ok()?;
    if !cursor.tight_sign(1, ':') || cursor.tight_sign(3, '.') && cursor.tight_digits(4, 1..=9).is_some() {
        return None;
    }
    let minute: usize = cursor.tight_digits(2, 2..=2)?.parse().ok()?;
    let second = cursor.tight_digits(4, 2..=2).filter(|_| cursor.tight_sign(3, ':'));
    let pieces = if second.is_some() { 5 } else { 3 };
    if hour > 24 || minute > 59 {
        return None;
    }
    let half = half_of_day(cursor, pieces);
    let mut words = match (hour, minute) {
        (0 | 24, 0) if second.is_none() && half.is_none() => "midnight".to_owned(),
        (1..=12, 0) if second.is_none() && half.is_none() => format!("{} o'clock", small(hour)),
        (_, 0) if half.is_some() => small(hour),
        (_, 0) => format!("{} hundred", small(hour)),
        (_, 1..10) => format!("{} oh {}", small(hour), small(minute)),
        _ => format!("{} {}", small(hour), small(minute)),
    };
    if let Some(second) = second {
        let unit = if second == "01" { "second" } else { "seconds" };
        words = format!("{words} and {} {unit}", small(second.parse().ok()?));
    }
    with_half(words, pieces, half)
}

/// "7 pm", "7pm", "7 p.m.".
pub(super) fn hour(cursor: Cursor<'_>) -> Option<Reading> {
    let hour: usize = cursor.digits(0).filter(|digits| digits.len() <= 2)?.parse().ok()?;
    let half = half_of_day(cursor, 1).filter(|_| (1..=12).contains(&hour))?;
    with_half(small(hour), 1, Some(half))
}

fn with_half(words: String, pieces: usize, half: Option<(&str, usize)>) -> Option<Reading> {
    match half {
        Some((half, more)) => Reading::new(pieces + more, format!("{words} {half}")),
        None => Reading::new(pieces, words),
    }
}

/// "pm", "P.M.": what is said, and the pieces it takes. A full stop that also ends the sentence stays.
fn half_of_day(cursor: Cursor<'_>, offset: usize) -> Option<(&'static str, usize)> {
    let dotted = |letter: &str| cursor.letters(offset).is_some_and(|first| first.eq_ignore_ascii_case(letter));
    let pair = cursor.letters(offset)?;
    if pair.eq_ignore_ascii_case("am") || pair.eq_ignore_ascii_case("pm") {
        return Some((if dotted("am") { "A.M" } else { "P.M" }, 1));
    }
    let with_dots = (dotted("a") || dotted("p"))
        && cursor.tight_sign(offset + 1, '.')
        && cursor.tight_letters(offset + 2).is_some_and(|m| m.eq_ignore_ascii_case("m"));
    if !with_dots {
        return None;
    }
    let last_dot = cursor.tight_sign(offset + 3, '.') && !cursor.ends_sentence(offset + 4);
    Some((if dotted("a") { "A.M" } else { "P.M" }, 3 + usize::from(last_dot)))
}

/// "2024-03-05" and "3/5/2024" (month first, unless there is no such month).
pub(super) fn date(cursor: Cursor<'_>) -> Option<Reading> {
    let first = cursor.digits(0)?;
    let sign = cursor.sign(1).filter(|sign| matches!(sign, '-' | '/') && cursor.tight(1))?;
    let second = cursor.tight_digits(2, 1..=2)?;
    let third = cursor.tight_digits(4, 1..=4).filter(|_| cursor.tight_sign(3, sign))?;
    let (year, month, day) = match (first.len(), sign, third.len()) {
        (4, _, 1..=2) => (first.to_owned(), second, third),
        (1..=2, '/', 2 | 4) => {
            let year = if third.len() == 4 { third.to_owned() } else { full_year(third)? };
            if first.parse::<usize>().ok()? <= 12 { (year, first, second) } else { (year, second, first) }
        }
        _ => return None,
    };
    let month = month.parse::<usize>().ok()?.checked_sub(1)?;
    let words = format!("{} {}, {}", MONTHS.get(month)?, day_of_month(day)?, spoken_year(&year));
    Reading::new(5, words)
}

/// "24" as 2024, "87" as 1987.
fn full_year(two: &str) -> Option<String> {
    Some(if two.parse::<usize>().ok()? > 40 { format!("19{two}") } else { format!("20{two}") })
}

/// "March 5", "Mar. 5th, 2024".
pub(super) fn month_and_day(cursor: Cursor<'_>) -> Option<Reading> {
    let month = month(cursor.letters(0)?)?;
    let mut at = 1 + usize::from(cursor.tight_sign(1, '.'));
    let day = day_of_month(cursor.digits(at).filter(|digits| digits.len() <= 2)?)?;
    at += 1;
    let suffix = cursor.tight_letters(at).is_some_and(is_ordinal_suffix);
    at += usize::from(suffix);
    // "March 5:30", "May 5%", "March 5th": a number goes on; then it is no day.
    let goes_on = cursor.tight(at) && (cursor.is(at, ':') || cursor.is(at, '%') || cursor.letters(at).is_some());
    if goes_on {
        return None;
    }
    let comma = usize::from(cursor.tight_sign(at, ','));
    match cursor.digits(at + comma).filter(|digits| digits.len() == 4 && !cursor.tight(at + comma)) {
        Some(year) => Reading::new(at + comma + 1, format!("{month} {day}, {}", spoken_year(year))),
        None => Reading::new(at, format!("{month} {day}")),
    }
}

/// "5 March", "the 5th of March 2024".
pub(super) fn day_and_month(cursor: Cursor<'_>) -> Option<Reading> {
    let day = day_of_month(cursor.digits(0).filter(|digits| digits.len() <= 2)?)?;
    let mut at = 1 + usize::from(cursor.tight_letters(1).is_some_and(is_ordinal_suffix));
    at += usize::from(cursor.letters(at) == Some("of"));
    let month = month(cursor.letters(at)?)?;
    let the = cursor.before().is_some_and(|before| before.text.eq_ignore_ascii_case("the"));
    let dot = usize::from(cursor.tight_sign(at + 1, '.') && !cursor.ends_sentence(at + 2));
    Reading::new(at + 1 + dot, format!("{}{day} of {month}", if the { "" } else { "the " }))
}

/// "1990s", "'80s".
pub(super) fn decades(cursor: Cursor<'_>) -> Option<Reading> {
    let digits = cursor.digits(0).filter(|digits| matches!(digits.len(), 2 | 4) && digits.ends_with('0'))?;
    let s = cursor.tight_letters(1).is_some_and(|s| s == "s");
    s.then(|| Reading::new(2, decade(digits))).flatten()
}

pub(super) fn is_ordinal_suffix(letters: &str) -> bool {
    matches!(letters.to_ascii_lowercase().as_str(), "st" | "nd" | "rd" | "th")
}

/// The month of a name or its abbreviation, if it is written with a capital.
pub(super) fn month(name: &str) -> Option<&'static str> {
    if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    let short = if name == "Sept" { "Sep" } else { name };
    MONTHS.into_iter().find(|month| *month == name || (short.len() == 3 && month.starts_with(short)))
}

fn day_of_month(digits: &str) -> Option<String> {
    let day: usize = digits.parse().ok()?;
    (1..=31).contains(&day).then(|| ordinal(&day.to_string()))
}

fn spoken_year(digits: &str) -> String {
    year(digits).unwrap_or_else(|| cardinal(digits))
}
