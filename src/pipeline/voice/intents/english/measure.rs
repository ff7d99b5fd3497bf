//! One unit in another, asked in English.

use super::super::{sum, units};
use super::{numbers, within};

/// "how many kilometers are 10 miles", "what is 10 miles in kilometers", "convert 10 miles to kilometers"
pub(super) fn answer(text: &str) -> Option<String> {
    let (amount, to) = asked(text)?;
    let words: Vec<&str> = amount.split(' ').collect();
    let (value, used) = match words.as_slice() {
        ["a" | "an", ..] => (1.0, 1),
        ["minus", rest @ ..] => numbers::read(rest).map(|(value, used)| (-value, used + 1))?,
        words => numbers::read(words)?,
    };
    let name = words.get(used..)?.join(" ");
    let (from, to) = (units::english(&name)?, units::english(to)?);
    if std::ptr::eq(from, to) {
        return None;
    }
    let (told, about) = sum::digits(round(from.into(value, to)?))?;
    let exact = sum::digits(from.into(value, to)?)?.0 == told && !about;
    let about = if exact { "" } else { "about " };
    let (one, more) = (to.english.first()?, to.english.get(1)?);
    Some(format!("That's {about}{told} {}.", if told == "1" { one } else { more }).replace('-', "minus "))
}

fn asked(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix("how many ") {
        let joints = [" are in ", " is in ", " are there in ", " is ", " are ", " in "];
        let (to, amount) = joints.iter().find_map(|joint| rest.split_once(joint))?;
        return Some((amount, to));
    }
    if let Some(rest) = text.strip_prefix("convert ") {
        return rest.rsplit_once(" to ").or_else(|| rest.rsplit_once(" into "));
    }
    let rest = ["what is ", "what's ", "how much is "].iter().find_map(|ask| within(text, ask, "")).unwrap_or(text);
    rest.rsplit_once(" in ")
}

/// To hundredths where that is fine enough.
fn round(value: f64) -> f64 {
    if value.abs() >= 1.0 { (value * 100.0).round() / 100.0 } else { value }
}
