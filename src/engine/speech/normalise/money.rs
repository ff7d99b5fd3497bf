//! Amounts of money: "$9.99", "€5 million", "20 USD", "50¢".

use super::super::numbers::cardinal;
use super::cursor::{Cursor, Number, Reading};

/// A currency: one, many, one hundredth, hundredths.
type Names = [&'static str; 4];

const DOLLAR: Names = ["dollar", "dollars", "cent", "cents"];
const POUND: Names = ["pound", "pounds", "penny", "pence"];
const EURO: Names = ["euro", "euros", "cent", "cents"];
const YEN: Names = ["yen", "yen", "sen", "sen"];
const RUPEE: Names = ["rupee", "rupees", "paisa", "paise"];
const WON: Names = ["won", "won", "jeon", "jeon"];
const YUAN: Names = ["yuan", "yuan", "fen", "fen"];

fn by_sign(sign: char) -> Option<Names> {
    Some(match sign {
        '$' => DOLLAR,
        '£' => POUND,
        '€' => EURO,
        '¥' => YEN,
        '₹' => RUPEE,
        '₩' => WON,
        _ => return None,
    })
}

fn by_code(code: &str) -> Option<Names> {
    Some(match code {
        "USD" => DOLLAR,
        "GBP" => POUND,
        "EUR" => EURO,
        "JPY" => YEN,
        "INR" | "Rs" => RUPEE,
        "KRW" => WON,
        "CNY" | "RMB" => YUAN,
        _ => return None,
    })
}

pub(super) fn read(cursor: Cursor<'_>) -> Option<Reading> {
    with_country(cursor).or_else(|| before(cursor)).or_else(|| behind(cursor))
}

/// "US$5": the country's letters are said with the currency.
fn with_country(cursor: Cursor<'_>) -> Option<Reading> {
    let country = cursor.letters(0).filter(|name| matches!(*name, "US" | "CA" | "AU" | "NZ" | "HK"))?;
    if !cursor.tight_sign(1, '$') {
        return None;
    }
    let amount = before(Cursor { at: cursor.at + 1, ..cursor })?;
    let words = amount.words.replacen("dollar", &format!("{country} dollar"), 1);
    Reading::new(amount.pieces + 1, words)
}

/// "$5", "USD 5".
fn before(cursor: Cursor<'_>) -> Option<Reading> {
    let names = cursor.sign(0).and_then(by_sign).or_else(|| cursor.letters(0).and_then(by_code))?;
    let dot = usize::from(cursor.letters(0) == Some("Rs") && cursor.tight_sign(1, '.'));
    let number = cursor.number(1 + dot)?;
    let behind = 1 + dot + number.pieces;
    match scale(cursor, behind, true) {
        Some((scale, pieces)) => Reading::new(behind + pieces, format!("{} {scale} {}", number.words(), names[1])),
        None => Reading::new(behind, amount(&number, names)),
    }
}

/// "5 €", "5 USD", "50¢".
fn behind(cursor: Cursor<'_>) -> Option<Reading> {
    let number = cursor.number(0)?;
    let mut at = number.pieces;
    if cursor.is(at, '¢') {
        return Reading::new(at + 1, number.of(["cent", "cents"]));
    }
    let scale = scale(cursor, at, false);
    at += scale.map_or(0, |(_, pieces)| pieces);
    let names = cursor.sign(at).and_then(by_sign).or_else(|| cursor.letters(at).and_then(by_code))?;
    // "5 $10" is a number and an amount.
    if cursor.digits(at + 1).is_some() && (cursor.tight(at + 1) || !cursor.tight(at)) {
        return None;
    }
    match scale {
        Some((scale, _)) => Reading::new(at + 1, format!("{} {scale} {}", number.words(), names[1])),
        None => Reading::new(at + 1, amount(&number, names)),
    }
}

/// "million", or "M" if letters may stand for it.
fn scale(cursor: Cursor<'_>, offset: usize, letters: bool) -> Option<(&'static str, usize)> {
    let word = match cursor.letters(offset)? {
        "hundred" => "hundred",
        "thousand" => "thousand",
        "million" => "million",
        "billion" => "billion",
        "trillion" => "trillion",
        "k" | "K" if letters && cursor.tight(offset) => "thousand",
        "m" | "M" | "mn" if letters => "million",
        "b" | "B" | "bn" if letters => "billion",
        _ => return None,
    };
    Some((word, 1))
}

/// Two digits behind the point are hundredths, anything else is a number.
fn amount(number: &Number<'_>, [one, many, part, parts]: Names) -> String {
    let Some(fraction) = number.fraction.filter(|fraction| fraction.len() == 2) else {
        return number.of([one, many]);
    };
    let whole = Number { whole: number.whole.clone(), fraction: None, grouped: false, pieces: 0 };
    let small = cardinal(fraction.trim_start_matches('0'));
    let small = format!("{small} {}", if fraction == "01" { part } else { parts });
    match (number.whole.trim_start_matches('0'), fraction) {
        (_, "00") => whole.of([one, many]),
        ("", _) => small,
        _ => format!("{} and {small}", whole.of([one, many])),
    }
}
