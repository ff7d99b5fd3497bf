//! Number words of American English ("one hundred twenty three", no "and", no hyphens), from strings of digits of any
//! length: a text may hold more digits than a machine word, and none of them may stop the voice.

use crate::domain::english::{ONES, TENS};

const SCALES: [&str; 7] = ["", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion"];

/// "1234" as "one thousand two hundred thirty four". Longer than 21 digits, or starting with a zero that
/// says something ("007"): digit by digit.
pub(super) fn cardinal(digits: &str) -> String {
    if digits.len() > 3 * SCALES.len() || (digits.len() > 1 && digits.starts_with('0')) {
        return one_by_one(digits);
    }
    let digits: Vec<usize> = values(digits).collect();
    let mut words = Vec::new();
    for (scale, group) in digits.rchunks(3).enumerate().collect::<Vec<_>>().into_iter().rev() {
        let value = group.iter().fold(0, |value, digit| value * 10 + digit);
        if value > 0 {
            below_thousand(value, &mut words);
            words.push(SCALES[scale]);
        }
    }
    words.retain(|word| !word.is_empty());
    if words.is_empty() { ONES[0].to_owned() } else { words.join(" ") }
}

/// A number that fits.
pub(super) fn small(value: usize) -> String {
    cardinal(&value.to_string())
}

/// "23" as "twenty third".
pub(super) fn ordinal(digits: &str) -> String {
    let words = cardinal(digits.trim_start_matches('0'));
    let (head, last) = words.rsplit_once(' ').map_or(("", words.as_str()), |(head, last)| (head, last));
    let last = match last {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        tens if tens.ends_with('y') => format!("{}ieth", &tens[..tens.len() - 1]),
        other => format!("{other}th"),
    };
    if head.is_empty() { last } else { format!("{head} {last}") }
}

/// A year of four digits as it is said, if it is one that is said in pairs: "nineteen oh five", "twenty ten".
pub(super) fn year(digits: &str) -> Option<String> {
    let number: usize = digits.parse().ok().filter(|_| digits.len() == 4)?;
    let (century, rest) = (number / 100, number % 100);
    if !(11..=20).contains(&century) || (century == 20 && rest < 10) {
        return None;
    }
    Some(match rest {
        0 => format!("{} hundred", small(century)),
        1..10 => format!("{} oh {}", small(century), ONES[rest]),
        _ => format!("{} {}", small(century), small(rest)),
    })
}

/// "90" as "nineties", "1800" as "eighteen hundreds".
pub(super) fn decade(digits: &str) -> String {
    let words = year(digits).unwrap_or_else(|| cardinal(digits));
    match words.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if words.ends_with('x') => words + "es",
        None => words + "s",
    }
}

/// "112" as "one one two".
pub(super) fn one_by_one(digits: &str) -> String {
    values(digits).map(|digit| ONES[digit]).collect::<Vec<_>>().join(" ")
}

/// The value of a Roman numeral below 90, written as the Romans did.
pub(super) fn roman(numeral: &str) -> Option<usize> {
    (1..90).find(|&value| {
        let tens = ["", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX"][value / 10];
        let ones = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"][value % 10];
        numeral.strip_prefix(tens) == Some(ones)
    })
}

/// One of the words that [`cardinal`] uses, in small letters.
pub(super) fn is_number_word(word: &str) -> bool {
    word == "hundred" || [&ONES[..], &TENS[2..], &SCALES[1..]].iter().any(|words| words.contains(&word))
}

fn below_thousand(value: usize, words: &mut Vec<&'static str>) {
    if value >= 100 {
        words.extend([ONES[value / 100], "hundred"]);
    }
    match value % 100 {
        0 => {}
        rest @ 1..20 => words.push(ONES[rest]),
        rest => {
            words.push(TENS[rest / 10]);
            if rest % 10 > 0 {
                words.push(ONES[rest % 10]);
            }
        }
    }
}

fn values(digits: &str) -> impl Iterator<Item = usize> + '_ {
    digits.bytes().filter(u8::is_ascii_digit).map(|byte| usize::from(byte - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length_have_words() {
        assert_eq!(cardinal("0"), "zero");
        assert_eq!(cardinal("19"), "nineteen");
        assert_eq!(cardinal("1234"), "one thousand two hundred thirty four");
        assert_eq!(cardinal("1000000"), "one million");
        assert_eq!(cardinal("1000001"), "one million one");
        assert_eq!(cardinal("007"), "zero zero seven");
        assert_eq!(cardinal(&"9".repeat(22)).split(' ').count(), 22);
        assert!(cardinal("18446744073709551616").starts_with("eighteen quintillion"));
    }

    #[test]
    fn ordinals_bend_only_the_last_word() {
        assert_eq!(ordinal("1"), "first");
        assert_eq!(ordinal("12"), "twelfth");
        assert_eq!(ordinal("23"), "twenty third");
        assert_eq!(ordinal("40"), "fortieth");
        assert_eq!(ordinal("100"), "one hundredth");
        assert_eq!(ordinal("03"), "third");
        assert_eq!(ordinal("0"), "zeroth");
    }

    #[test]
    fn only_years_that_people_say_in_pairs_are_read_in_pairs() {
        assert_eq!(year("1905").as_deref(), Some("nineteen oh five"));
        assert_eq!(year("1900").as_deref(), Some("nineteen hundred"));
        assert_eq!(year("2024").as_deref(), Some("twenty twenty four"));
        assert_eq!(year("2005"), None);
        assert_eq!(year("1066"), None);
        assert_eq!(year("8848"), None);
        assert_eq!(year("190"), None);
        assert_eq!(decade("1990"), "nineteen nineties");
        assert_eq!(decade("1800"), "eighteen hundreds");
        assert_eq!(decade("2000"), "two thousands");
    }

    #[test]
    fn a_roman_numeral_must_be_well_formed() {
        assert_eq!(roman("VIII"), Some(8));
        assert_eq!(roman("XIV"), Some(14));
        assert_eq!(roman("LXXXIX"), Some(89));
        assert_eq!(roman("IIII"), None);
        assert_eq!(roman("IC"), None);
        assert_eq!(roman(""), None);
    }
}
