//! Times and dates, asked in English: here, elsewhere, some days off.

use jiff::civil::Date;
use jiff::{Span, Zoned};

use super::super::days::{self, Day};
use super::super::places;
use super::within;
use crate::domain::english::ONES;

/// The answer to a question about time.
pub(super) fn answer(text: &str, now: &Zoned) -> Option<String> {
    plain(text, now)
        .or_else(|| elsewhere(text, now))
        .or_else(|| later(text, now))
        .or_else(|| days_until(text, now.date()))
        .or_else(|| weekday_of(text, now.date()))
        .or_else(|| length(text, now.date()))
}

fn plain(text: &str, now: &Zoned) -> Option<String> {
    let day = |days| days::off(now.date(), days);
    match text {
        "what time is it"
        | "what's the time"
        | "what is the time"
        | "what time it is"
        | "the time"
        | "time"
        | "what is the current time"
        | "what's the current time"
        | "do you have the time" => Some(format!("It's {}.", spoken_time(now))),
        "what day is it"
        | "what day is it today"
        | "what day is today"
        | "which day is it"
        | "what's today"
        | "what day of the week is it" => Some(format!("It's {}.", now.strftime("%A"))),
        "what's the date"
        | "what is the date"
        | "what's the date today"
        | "what is the date today"
        | "what is today's date"
        | "what's today's date"
        | "what date is it"
        | "what date is it today"
        | "today's date"
        | "the date" => Some(format!("It's {}.", now.strftime("%A, %B %-d, %Y"))),
        "what day is tomorrow" | "what day is it tomorrow" => Some(format!("Tomorrow is {}.", day(1)?.strftime("%A"))),
        "what day was yesterday" | "what day was it yesterday" => {
            Some(format!("Yesterday was {}.", day(-1)?.strftime("%A")))
        }
        "what's the date tomorrow"
        | "what is the date tomorrow"
        | "what is tomorrow's date"
        | "what's tomorrow's date" => Some(format!("Tomorrow is {}.", day(1)?.strftime("%A, %B %-d, %Y"))),
        "what year is it" | "what is the year" | "what's the year" => Some(format!("It's {}.", now.year())),
        "what month is it" => Some(format!("It's {}.", now.strftime("%B"))),
        "what week is it" | "what week of the year is it" | "what is the week number" => {
            Some(format!("It's week {}.", now.date().iso_week_date().week()))
        }
        "is it a leap year" | "is this a leap year" | "is this year a leap year" => {
            Some(if now.in_leap_year() { "Yes, this is a leap year." } else { "No, this is no leap year." }.to_owned())
        }
        _ => None,
    }
}

fn spoken_time(at: &Zoned) -> String {
    let half = if at.hour() < 12 { "AM" } else { "PM" };
    let hour = match at.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    match at.minute() {
        0 => format!("{hour} o'clock {half}"),
        minute => format!("{hour}:{minute:02} {half}"),
    }
}

/// "what time is it in tokyo"
fn elsewhere(text: &str, now: &Zoned) -> Option<String> {
    const ASKS: [&str; 6] = [
        "what time is it in ",
        "what's the time in ",
        "what is the time in ",
        "what is the current time in ",
        "what time it is in ",
        "time in ",
    ];
    let place = ASKS.iter().find_map(|ask| within(text, ask, "")).and_then(places::english)?;
    let there = now.with_time_zone(place.zone);
    let day = if there.date() == now.date() { String::new() } else { format!(" on {}", there.strftime("%A")) };
    Some(format!("It's {}{day} in {}.", spoken_time(&there), place.name))
}

/// "what time will it be in 20 minutes", "what day is it in ten days"
fn later(text: &str, now: &Zoned) -> Option<String> {
    const ASKS: [&str; 4] =
        ["what day is it in ", "what day will it be in ", "what is the date in ", "what date will it be in "];
    if let Some(asked) = within(text, "what time will it be in ", "") {
        let (count, unit) = counted(asked)?;
        let span = match unit {
            "minute" | "minutes" if count <= 1_440 => Span::new().minutes(count),
            "hour" | "hours" if count <= 48 => Span::new().hours(count),
            _ => return None,
        };
        let then = now.checked_add(span).ok()?;
        let day = if then.date() == now.date() { String::new() } else { format!(" on {}", then.strftime("%A")) };
        return Some(format!("It will be {}{day}.", spoken_time(&then)));
    }
    let (count, unit) = counted(ASKS.iter().find_map(|ask| within(text, ask, ""))?)?;
    let days = match unit {
        "day" | "days" => count,
        "week" | "weeks" => count.checked_mul(7)?,
        _ => return None,
    };
    let then = days::off(now.date(), i32::try_from(days).ok().filter(|days| *days <= 36_600)?)?;
    Some(format!("It will be {}.", then.strftime("%A, %B %-d, %Y")))
}

/// "20 minutes", "a week"
fn counted(text: &str) -> Option<(i64, &str)> {
    let (count, unit) = text.rsplit_once(' ')?;
    if matches!(count, "a" | "an") {
        return Some((1, unit));
    }
    let value = super::sums::number(count).filter(|value| value.fract() == 0.0 && (0.0..=1e6).contains(value))?;
    #[allow(clippy::cast_possible_truncation, reason = "a whole number up to a million")]
    Some((value as i64, unit))
}

/// "how many days until christmas", "how many days are left until the 3rd of march"
fn days_until(text: &str, today: Date) -> Option<String> {
    const ASKS: [&str; 9] = [
        "how many days until ",
        "how many days till ",
        "how many days are there until ",
        "how many days are left until ",
        "how many days is it until ",
        "how many days to ",
        "how long until ",
        "how long is it until ",
        "days until ",
    ];
    let name = ASKS.iter().find_map(|ask| within(text, ask, ""))?;
    let then = match dated(name)? {
        (day, Some(year)) => day.of(year)?,
        (day, None) => day.next(today)?,
    };
    Some(match days::between(today, then)? {
        0 => "That's today.".to_owned(),
        1 => "One day: that's tomorrow.".to_owned(),
        days => format!("{days} days, until {}.", then.strftime("%A, %B %-d, %Y")),
    })
}

/// "what day is the 24th of december", "what day of the week is christmas"
fn weekday_of(text: &str, today: Date) -> Option<String> {
    const ASKS: [&str; 6] = [
        "what day is ",
        "what day of the week is ",
        "what weekday is ",
        "when is ",
        "what day was ",
        "what day of the week was ",
    ];
    let ask = ASKS.iter().find(|ask| text.starts_with(**ask))?;
    let (day, year) = dated(&text[ask.len()..])?;
    let then = match year {
        Some(year) => day.of(year)?,
        // the last one, or the next?
        None if ask.contains("was") => return None,
        None => day.next(today)?,
    };
    let verb = if then < today { "was" } else { "is" };
    Some(format!("{} {verb} a {}.", then.strftime("%B %-d, %Y"), then.strftime("%A")))
}

/// "how many days are in february"
fn length(text: &str, today: Date) -> Option<String> {
    const ASKS: [&str; 3] = ["how many days are in ", "how many days does ", "how many days are there in "];
    if matches!(
        text,
        "how many days are left this year"
            | "how many days are left in the year"
            | "how many days are left in this year"
    ) {
        let left = days::between(today, Date::new(today.year(), 12, 31).ok()?)?;
        return Some(format!("{left} days."));
    }
    let name = ASKS.iter().find_map(|ask| within(text, ask, ""))?;
    let (name, year) = match name.strip_suffix(" have").unwrap_or(name).split_once(' ') {
        Some((name, year)) => (name, year_of(year)?),
        None => (name.strip_suffix(" have").unwrap_or(name), today.year()),
    };
    let month = month_of(name)?;
    let days = Date::new(year, month, 1).ok()?.days_in_month();
    Some(match (month, today.year() == year) {
        (2, _) => format!("February {year} has {days} days."),
        _ => format!("{days} days."),
    })
}

/// A feast, or a date: "december 24", "december the 24th", "the 24th of december", "24 december 2027".
fn dated(text: &str) -> Option<(Day, Option<i16>)> {
    if let Some(day) = days::feast(text) {
        return Some((day, None));
    }
    let words: Vec<&str> = text.split(' ').filter(|word| !matches!(*word, "the" | "of" | "on")).collect();
    let at = words.iter().position(|word| month_of(word).is_some())?;
    let month = month_of(words[at])?;
    let (day, rest) = if at > 0 {
        (ordinal(&words[..at])?, &words[at + 1..])
    } else {
        // "march 3 2027": the year has four digits
        let end = words.iter().position(|word| year_of(word).is_some()).unwrap_or(words.len());
        (ordinal(words.get(1..end)?)?, &words[end..])
    };
    let year = match rest {
        [] => None,
        [year] => Some(year_of(year)?),
        _ => return None,
    };
    Some((Day::new(month, day)?, year))
}

fn month_of(word: &str) -> Option<i8> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    MONTHS.iter().position(|month| *month == word).and_then(|at| i8::try_from(at + 1).ok())
}

fn year_of(word: &str) -> Option<i16> {
    word.parse().ok().filter(|year| word.len() == 4 && (1_800..=2_999).contains(year))
}

/// "3", "3rd", "third", "twenty third"
fn ordinal(words: &[&str]) -> Option<i8> {
    let day = match words {
        [word] if word.starts_with(|c: char| c.is_ascii_digit()) => {
            let digits = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
            digits.parse().ok()?
        }
        [word] => match word.strip_suffix("ieth") {
            Some("twent") => 20,
            Some("thirt") => 30,
            _ => small(word)?,
        },
        ["twenty", word] => 20 + small(word).filter(|day| *day < 10)?,
        ["thirty", "first" | "one"] => 31,
        _ => return None,
    };
    (1..=31).contains(&day).then_some(day)
}

/// "first" to "nineteenth", "one" to "nineteen"
fn small(word: &str) -> Option<i8> {
    const ODD: [(&str, i8); 6] =
        [("first", 1), ("second", 2), ("third", 3), ("fifth", 5), ("ninth", 9), ("twelfth", 12)];
    if let Some((_, day)) = ODD.iter().find(|(odd, _)| *odd == word) {
        return Some(*day);
    }
    let known = |word: &str| ONES.iter().position(|known| *known == word);
    let value = word
        .strip_suffix("th")
        .and_then(|stem| if stem == "eigh" { Some(8) } else { known(stem) })
        .or_else(|| known(word));
    value.and_then(|value| i8::try_from(value).ok())
}
