//! Chinese numerals → numbers, and small numbers → numerals.

/// Reads a number at the start of a text without spaces; gives it and how many bytes it took.
pub(super) fn read(text: &str) -> Option<(f64, usize)> {
    if let Some(rest) = text.strip_prefix('负').or_else(|| text.strip_prefix('-')) {
        let (value, used) = read_positive(rest)?;
        return Some((-value, used + text.len() - rest.len()));
    }
    read_positive(text)
}

/// A text that is a number and nothing else.
pub(in super::super) fn whole(text: &str) -> Option<f64> {
    read(text).filter(|(_, used)| *used == text.len()).map(|(value, _)| value)
}

fn read_positive(text: &str) -> Option<(f64, usize)> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    if digits > 0 {
        let value: f64 = text[..digits].parse().ok()?;
        // "3万", and "3.5亿"
        let scale = text[digits..].chars().next().and_then(|c| scale(c).filter(|scale| *scale >= 1e4));
        return Some(scale.map_or((value, digits), |scale| (value * scale, digits + '万'.len_utf8())));
    }
    let (value, used) = numeral(text)?;
    let (fraction, more) = fraction(&text[used..]);
    Some((value + fraction, used + more))
}

/// What is read of a numeral so far: 一千二百三十四 is one section, 万 and 亿 close one.
#[derive(Default)]
struct Reading {
    total: f64,
    section: f64,
    digit: Option<f64>,
    /// The unit before, down to which the next one must go.
    unit: Option<f64>,
    /// A zero stands before the digit: 一百零五 is 105, 一百五 is 150.
    zero: bool,
}

impl Reading {
    /// Takes a unit; false where it cannot stand here.
    fn unit(&mut self, unit: f64) -> bool {
        if unit >= 1e4 {
            let section = self.section + self.digit.take().unwrap_or(0.0);
            let fits = section > 0.0 && (self.total == 0.0 || unit < 1e8);
            self.total += section * unit;
            self.section = 0.0;
            self.unit = Some(unit);
            self.zero = false;
            return fits;
        }
        let fits = self.unit.is_none_or(|before| unit < before) && (self.digit.is_some() || unit < 11.0);
        self.section += self.digit.take().unwrap_or(1.0) * unit;
        self.unit = Some(unit);
        self.zero = false;
        fits
    }

    fn value(&self) -> f64 {
        let last = match (self.digit, self.unit) {
            // 一百二 is 120, 一万五 is 15000
            (Some(digit), Some(unit)) if unit > 10.0 && !self.zero => digit * unit / 10.0,
            (Some(digit), _) => digit,
            (None, _) => 0.0,
        };
        self.total + self.section + last
    }
}

fn numeral(text: &str) -> Option<(f64, usize)> {
    let run: Vec<char> = text.chars().take_while(|c| digit(*c).is_some() || scale(*c).is_some()).collect();
    let used: usize = run.iter().map(|c| c.len_utf8()).sum();
    if run.is_empty() {
        return None;
    }
    if run.iter().all(|c| digit(*c).is_some()) {
        return digits(&run).map(|value| (value, used));
    }
    let mut reading = Reading::default();
    for &c in &run {
        match (digit(c), scale(c)) {
            (Some(0.0), _) if reading.digit.is_none() && reading.unit.is_some() => reading.zero = true,
            (Some(value), _) if reading.digit.is_none() && value > 0.0 => reading.digit = Some(value),
            (_, Some(unit)) if reading.unit(unit) => {}
            _ => return None,
        }
    }
    Some((reading.value(), used))
}

/// 二零二六: digit by digit. 三四 may be "three or four", and is no number.
fn digits(run: &[char]) -> Option<f64> {
    let sure = run.len() == 1
        || (run.len() >= 4 && run.len() <= 12)
        || (run.len() > 1 && run[0] != '零' && run.contains(&'零'));
    if !sure || (run.len() > 1 && run.contains(&'两')) {
        return None;
    }
    Some(run.iter().filter_map(|c| digit(*c)).fold(0.0, |value, digit| value * 10.0 + digit))
}

/// 点一四
fn fraction(text: &str) -> (f64, usize) {
    let Some(rest) = text.strip_prefix('点') else { return (0.0, 0) };
    let run: Vec<f64> = rest.chars().map_while(|c| digit(c).filter(|_| c != '两')).take(12).collect();
    if run.is_empty() {
        return (0.0, 0);
    }
    let digits: Vec<String> = run.iter().map(|digit| format!("{digit:.0}")).collect();
    (format!("0.{}", digits.concat()).parse().unwrap_or(0.0), '点'.len_utf8() * (1 + run.len()))
}

fn digit(c: char) -> Option<f64> {
    if c == '两' {
        return Some(2.0);
    }
    DIGITS.iter().position(|known| *known == c).map(|value| value as f64)
}

fn scale(c: char) -> Option<f64> {
    match c {
        '十' => Some(10.0),
        '百' => Some(100.0),
        '千' => Some(1e3),
        '万' => Some(1e4),
        '亿' => Some(1e8),
        _ => None,
    }
}

const DIGITS: [char; 10] = ['零', '一', '二', '三', '四', '五', '六', '七', '八', '九'];

/// 0 to 99 in words, as times are read.
pub(super) fn words(number: i8) -> String {
    let digit = |value: i8| DIGITS.get(usize::try_from(value).unwrap_or(0)).copied().unwrap_or('零');
    let (tens, ones) = (number.clamp(0, 99) / 10, number.clamp(0, 99) % 10);
    let mut out = String::new();
    match tens {
        0 => return digit(ones).to_string(),
        1 => out.push('十'),
        tens => out.extend([digit(tens), '十']),
    }
    if ones > 0 {
        out.push(digit(ones));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numerals_become_numbers() {
        for (text, value) in [
            ("三", 3.0),
            ("十", 10.0),
            ("十二", 12.0),
            ("二十", 20.0),
            ("一百二十", 120.0),
            ("一百二", 120.0),
            ("两百零五", 205.0),
            ("一千零一", 1_001.0),
            ("一千零二十", 1_020.0),
            ("三万五千", 35_000.0),
            ("一万五", 15_000.0),
            ("十二亿三千万", 1.23e9),
            ("二零二六", 2_026.0),
            ("三点一五", 3.15),
            ("零点五", 0.5),
            ("负七", -7.0),
            ("3.5", 3.5),
            ("3万", 30_000.0),
            ("100", 100.0),
        ] {
            let read = read(text);
            assert!(
                read.is_some_and(|(got, used)| (got - value).abs() < 1e-9 && used == text.len()),
                "{text}: {read:?}"
            );
        }
        for nothing in ["", "百", "三四", "万", "一百百", "十亿亿", "点五", "你好", "二十十", "1.2.3", "."]
        {
            assert_eq!(whole(nothing), None, "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number in 0_i8..100) {
            prop_assert_eq!(whole(&words(number)), Some(f64::from(number)));
        }
    }
}
