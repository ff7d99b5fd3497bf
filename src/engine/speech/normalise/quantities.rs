//! Numbers that count something, and numbers alone.

use super::super::numbers::{cardinal, one_by_one, ordinal, year};
use super::cursor::{Cursor, Number, Reading};
use super::scan::Piece;
use super::times::is_ordinal_suffix;

/// Units: sign, one, many. Signs of one letter count only right behind their number or in small letters.
const UNITS: &[(&str, &str, &str)] = &[
    ("km", "kilometer", "kilometers"),
    ("m", "meter", "meters"),
    ("dm", "decimeter", "decimeters"),
    ("cm", "centimeter", "centimeters"),
    ("mm", "millimeter", "millimeters"),
    ("µm", "micrometer", "micrometers"),
    ("nm", "nanometer", "nanometers"),
    ("mi", "mile", "miles"),
    ("yd", "yard", "yards"),
    ("ft", "foot", "feet"),
    ("kg", "kilogram", "kilograms"),
    ("g", "gram", "grams"),
    ("mg", "milligram", "milligrams"),
    ("µg", "microgram", "micrograms"),
    ("lb", "pound", "pounds"),
    ("lbs", "pound", "pounds"),
    ("oz", "ounce", "ounces"),
    ("l", "liter", "liters"),
    ("L", "liter", "liters"),
    ("ml", "milliliter", "milliliters"),
    ("mL", "milliliter", "milliliters"),
    ("h", "hour", "hours"),
    ("hr", "hour", "hours"),
    ("hrs", "hour", "hours"),
    ("min", "minute", "minutes"),
    ("mins", "minute", "minutes"),
    ("s", "second", "seconds"),
    ("sec", "second", "seconds"),
    ("secs", "second", "seconds"),
    ("ms", "millisecond", "milliseconds"),
    ("Hz", "hertz", "hertz"),
    ("kHz", "kilohertz", "kilohertz"),
    ("MHz", "megahertz", "megahertz"),
    ("GHz", "gigahertz", "gigahertz"),
    ("B", "byte", "bytes"),
    ("kB", "kilobyte", "kilobytes"),
    ("KB", "kilobyte", "kilobytes"),
    ("MB", "megabyte", "megabytes"),
    ("GB", "gigabyte", "gigabytes"),
    ("TB", "terabyte", "terabytes"),
    ("kbps", "kilobit per second", "kilobits per second"),
    ("Mbps", "megabit per second", "megabits per second"),
    ("Gbps", "gigabit per second", "gigabits per second"),
    ("W", "watt", "watts"),
    ("kW", "kilowatt", "kilowatts"),
    ("MW", "megawatt", "megawatts"),
    ("GW", "gigawatt", "gigawatts"),
    ("Wh", "watt hour", "watt hours"),
    ("kWh", "kilowatt hour", "kilowatt hours"),
    ("V", "volt", "volts"),
    ("mA", "milliamp", "milliamps"),
    ("mAh", "milliamp hour", "milliamp hours"),
    ("Pa", "pascal", "pascals"),
    ("hPa", "hectopascal", "hectopascals"),
    ("dB", "decibel", "decibels"),
    ("cal", "calorie", "calories"),
    ("kcal", "kilocalorie", "kilocalories"),
    ("ha", "hectare", "hectares"),
    ("mph", "mile per hour", "miles per hour"),
    ("kph", "kilometer per hour", "kilometers per hour"),
    ("kmh", "kilometer per hour", "kilometers per hour"),
    ("fps", "frame per second", "frames per second"),
    ("rpm", "revolution per minute", "revolutions per minute"),
    ("bpm", "beat per minute", "beats per minute"),
    ("pct", "percent", "percent"),
];

/// "5 km", "60 km/h", "20 m²", "5%", "-3 °C".
pub(super) fn measure(cursor: Cursor<'_>) -> Option<Reading> {
    let number = cursor.number(0)?;
    let at = number.pieces;
    percent(cursor, &number, at).or_else(|| degrees(cursor, &number, at)).or_else(|| unit_of(cursor, &number, at))
}

fn percent(cursor: Cursor<'_>, number: &Number<'_>, at: usize) -> Option<Reading> {
    cursor.is(at, '%').then(|| Reading::new(at + 1, format!("{} percent", number.words()))).flatten()
}

fn degrees(cursor: Cursor<'_>, number: &Number<'_>, at: usize) -> Option<Reading> {
    let (scale, pieces) = match (cursor.sign(at)?, cursor.tight_letters(at + 1).or_else(|| cursor.letters(at + 1))) {
        ('℃', _) => (" Celsius", 1),
        ('℉', _) => (" Fahrenheit", 1),
        ('°', Some("C")) => (" Celsius", 2),
        ('°', Some("F")) => (" Fahrenheit", 2),
        ('°', _) => ("", 1),
        _ => return None,
    };
    Reading::new(at + pieces, number.of(["degree", "degrees"]) + scale)
}

fn unit_of(cursor: Cursor<'_>, number: &Number<'_>, at: usize) -> Option<Reading> {
    let (mut sign, mut pieces) = (cursor.letters(at)?.to_owned(), 1);
    if cursor.is(at, 'µ') {
        sign = format!("µ{}", cursor.tight_letters(at + 1)?);
        pieces = 2;
    }
    let (_, one, many) = unit(&sign)?;
    // "5 s", but not "the 5 B teams": a lone capital must be tight.
    if sign.len() == 1 && !cursor.tight(at) && sign.chars().all(char::is_uppercase) {
        return None;
    }
    let power = cursor.sign(at + pieces).filter(|_| cursor.tight(at + pieces));
    let power = power.and_then(|power| [('²', "square "), ('³', "cubic ")].into_iter().find(|known| known.0 == power));
    pieces += usize::from(power.is_some());
    let mut words = number.of([one, many]);
    if let Some((_, name)) = power {
        let start = words.len() - if number.is_one() { one.len() } else { many.len() };
        words.insert_str(start, name);
    }
    if cursor.tight_sign(at + pieces, '/')
        && let Some((_, per, _)) = cursor.tight_letters(at + pieces + 1).and_then(unit)
    {
        return Reading::new(at + pieces + 2, format!("{words} per {per}"));
    }
    Reading::new(at + pieces, words)
}

fn unit(sign: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    UNITS.iter().find(|unit| unit.0 == sign)
}

/// "23rd".
pub(super) fn ordinals(cursor: Cursor<'_>) -> Option<Reading> {
    let number = cursor.number(0).filter(|number| number.fraction.is_none())?;
    let suffix = cursor.tight_letters(number.pieces).is_some_and(is_ordinal_suffix);
    suffix.then(|| Reading::new(number.pieces + 1, ordinal(&number.whole))).flatten()
}

/// "1/2", "2 3/4", "9/16"; any other "a/b" is "a slash b", and "24/7" is a way of speaking.
pub(super) fn fraction(cursor: Cursor<'_>) -> Option<Reading> {
    let top = cursor.digits(0)?;
    let bottom = cursor.tight_digits(2, 1..=3).filter(|_| cursor.tight_sign(1, '/') && top.len() <= 3)?;
    if cursor.tight_sign(3, '/') {
        return None;
    }
    if (top, bottom) == ("24", "7") {
        return Reading::new(3, "twenty four seven");
    }
    let (count, parts): (usize, usize) = (top.parse().ok()?, bottom.parse().ok()?);
    if count == 0 || count >= parts || !(parts <= 10 || matches!(parts, 12 | 16 | 20 | 32 | 64 | 100)) {
        return Reading::new(3, format!("{} slash {}", cardinal(top), cardinal(bottom)));
    }
    let part = match (parts, count) {
        (2, _) => "half".to_owned(),
        (4, 1) => "quarter".to_owned(),
        (4, _) => "quarters".to_owned(),
        (_, 1) => ordinal(bottom),
        _ => ordinal(bottom) + "s",
    };
    let mixed =
        !cursor.tight(0) && cursor.before().is_some_and(|before| before.text.bytes().all(|b| b.is_ascii_digit()));
    Reading::new(3, format!("{}{} {part}", if mixed { "and " } else { "" }, cardinal(top)))
}

/// "5-10" as "five to ten": reads the first number and the dash, the second has its own reader.
pub(super) fn range(cursor: Cursor<'_>) -> Option<Reading> {
    let number = cursor.number(0)?;
    let at = number.pieces;
    let dash =
        cursor.sign(at).is_some_and(|sign| matches!(sign, '-' | '–' | '—' | '−')) && cursor.digits(at + 1).is_some();
    let alike = cursor.tight(at) == cursor.tight(at + 1);
    let chain = cursor.tight(at) && cursor.tight_sign(at + 2, '-');
    let inside = !cursor.starts_chunk() && cursor.before().is_some_and(|before| before.text == "-");
    if !dash || !alike || chain || inside {
        return None;
    }
    Reading::new(at + 1, format!("{} to", alone(&number)))
}

/// "1920x1080", "3 x 4", "3 × 4" as "three by four": again without the second number.
pub(super) fn dimensions(cursor: Cursor<'_>) -> Option<Reading> {
    let number = cursor.number(0)?;
    let at = number.pieces;
    let by = matches!(cursor.letters(at), Some("x" | "X")) || cursor.is(at, '×');
    let sign = if number.fraction.is_some() { "times" } else { "by" };
    (by && cursor.digits(at + 1).is_some())
        .then(|| Reading::new(at + 1, format!("{} {sign}", number.words())))
        .flatten()
}

/// "1.2.3", "192.168.1.1".
pub(super) fn version(cursor: Cursor<'_>) -> Option<Reading> {
    let mut groups = vec![cursor.digits(0)?];
    while let Some(group) = cursor.tight_digits(2 * groups.len(), 1..=9) {
        if !cursor.tight_sign(2 * groups.len() - 1, '.') {
            break;
        }
        groups.push(group);
    }
    if groups.len() < 3 {
        return None;
    }
    let dot = if groups.len() == 4 { " dot " } else { " point " };
    let group = |digits: &&str| if digits.len() < 3 { cardinal(digits) } else { one_by_one(digits) };
    Reading::new(2 * groups.len() - 1, groups.iter().map(group).collect::<Vec<_>>().join(dot))
}

/// "2:1": a ratio or a score (a time has two digits behind the colon).
pub(super) fn ratio(cursor: Cursor<'_>) -> Option<Reading> {
    let (left, right) = (cursor.digits(0)?, cursor.tight_digits(2, 1..=3).filter(|_| cursor.tight_sign(1, ':'))?);
    Reading::new(3, format!("{} to {}", cardinal(left), cardinal(right)))
}

/// "BA2490", "A350": three digits and more right behind letters are said one by one.
pub(super) fn serial(cursor: Cursor<'_>) -> Option<Reading> {
    let digits = cursor.tight_digits(0, 3..=99)?;
    let alphabetic = |piece: &Piece| piece.text.chars().all(char::is_alphabetic);
    // "HP-51820" too, but not "mid-1990".
    let behind_letters =
        cursor.before().is_some_and(|before| alphabetic(before) || (before.text == "-" && digits.len() > 4));
    behind_letters.then(|| Reading::new(1, year(digits).unwrap_or_else(|| one_by_one(digits)))).flatten()
}

/// "10k", "4M", "2B" behind a number.
pub(super) fn thousands(cursor: Cursor<'_>) -> Option<Reading> {
    let number = cursor.number(0)?;
    let scale = match cursor.tight_letters(number.pieces)? {
        "k" => "thousand",
        "M" | "mn" => "million",
        "bn" => "billion",
        _ => return None,
    };
    Reading::new(number.pieces + 1, format!("{} {scale}", number.words()))
}

/// Any number at all.
pub(super) fn plain(cursor: Cursor<'_>) -> Option<Reading> {
    let point = cursor.is(0, '.');
    if point && !cursor.starts_chunk() {
        return None;
    }
    let number = cursor.number(0)?;
    Reading::new(number.pieces, alone(&number))
}

/// "-5", "−5" behind a space: not the dash of a range or of a word.
pub(super) fn minus(cursor: Cursor<'_>) -> Option<Reading> {
    let sign = cursor.is(0, '-') || cursor.is(0, '−');
    let open = cursor.starts_chunk() || cursor.before().is_some_and(|before| "($£€=".contains(&before.text));
    let amount = cursor.tight_digits(1, 1..=99).is_some()
        || cursor.sign(1).is_some_and(|c| "$£€.".contains(c) && cursor.tight(1));
    (sign && open && amount).then(|| Reading::new(1, "minus")).flatten()
}

/// "#5", "No. 5".
pub(super) fn numbered(cursor: Cursor<'_>) -> Option<Reading> {
    if cursor.is(0, '#') && cursor.tight_digits(1, 1..=99).is_some() {
        return Reading::new(1, "number");
    }
    let word = match cursor.letters(0)? {
        "No" | "no" | "Nr" => "number",
        "Nos" | "nos" => "numbers",
        _ => return None,
    };
    (cursor.tight_sign(1, '.') && cursor.digits(2).is_some()).then(|| Reading::new(2, word)).flatten()
}

/// A number without anything that says what it is: four digits may be a year.
fn alone(number: &Number<'_>) -> String {
    if number.whole == "911" && number.fraction.is_none() {
        return one_by_one(&number.whole);
    }
    let may_be_year = number.fraction.is_none() && !number.grouped;
    may_be_year.then(|| year(&number.whole)).flatten().unwrap_or_else(|| number.words())
}
