//! Characters: which can be spoken, and what stands for the same.

/// The letter without its accent, for the dictionary, which knows "cafe" only.
pub(super) fn without_accents(word: &str) -> String {
    let mut plain = String::with_capacity(word.len());
    for letter in word.chars() {
        match letter {
            'À'..='Å' | 'Ā' | 'Ă' | 'Ą' => plain.push('A'),
            'à'..='å' | 'ā' | 'ă' | 'ą' => plain.push('a'),
            'Ç' | 'Ć' | 'Č' => plain.push('C'),
            'ç' | 'ć' | 'č' => plain.push('c'),
            'È'..='Ë' | 'Ē' | 'Ę' | 'Ě' => plain.push('E'),
            'è'..='ë' | 'ē' | 'ę' | 'ě' => plain.push('e'),
            'Ì'..='Ï' | 'Ī' | 'İ' => plain.push('I'),
            'ì'..='ï' | 'ī' | 'ı' => plain.push('i'),
            'Ñ' | 'Ń' => plain.push('N'),
            'ñ' | 'ń' => plain.push('n'),
            'Ò'..='Ö' | 'Ø' | 'Ō' | 'Ő' => plain.push('O'),
            'ò'..='ö' | 'ø' | 'ō' | 'ő' => plain.push('o'),
            'Ù'..='Ü' | 'Ū' | 'Ů' | 'Ű' => plain.push('U'),
            'ù'..='ü' | 'ū' | 'ů' | 'ű' => plain.push('u'),
            'Ý' | 'Ÿ' => plain.push('Y'),
            'ý' | 'ÿ' => plain.push('y'),
            'Ś' | 'Ş' | 'Š' => plain.push('S'),
            'ś' | 'ş' | 'š' => plain.push('s'),
            'Ź' | 'Ż' | 'Ž' => plain.push('Z'),
            'ź' | 'ż' | 'ž' => plain.push('z'),
            'Ł' => plain.push('L'),
            'ł' => plain.push('l'),
            'Æ' => plain.push_str("Ae"),
            'æ' => plain.push_str("ae"),
            'Œ' => plain.push_str("Oe"),
            'œ' => plain.push_str("oe"),
            'ß' => plain.push_str("ss"),
            other => plain.push(other),
        }
    }
    plain
}

/// Signs beyond ASCII that are read out or heard as a pause.
pub(super) const SIGNS: &str = "—…“”£€¥₹₩¢°℃℉±×÷§→½¼¾⅓⅔²³•µαβγδλπσω√≈≤≥≠−";

/// The sign that is read in the place of another: wide and curly forms become the plain ones.
pub(super) fn same_as_ascii(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        '‘' | '’' | 'ʼ' | '`' | '´' => '\'',
        '„' | '«' | '「' | '『' | '《' => '“',
        '»' | '」' | '』' | '》' => '”',
        '。' => '.',
        '、' => ',',
        '‐' | '‑' | '‒' => '-',
        '―' => '—',
        '￥' => '¥',
        'μ' => 'µ',
        'Ω' => 'ω',
        '←' | '↔' | '⇒' => '→',
        '·' | '●' | '▪' | '◦' => '•',
        '【' | '〔' => '(',
        '】' | '〕' => ')',
        '\r' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
        other => other,
    }
}

/// Letters that this voice can make something of.
pub(super) fn is_latin(c: char) -> bool {
    matches!(c, 'a'..='z' | 'A'..='Z' | 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ɏ')
}

/// Of no width: joins what stands on both sides (soft hyphens, combining accents, marks of direction).
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}' | '\u{300}'..='\u{36F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}'
            | '\u{FE00}'..='\u{FE0F}'
    )
}

/// The name of a sign that is not part of a larger reading.
pub(super) fn name_of_sign(sign: char) -> Option<&'static str> {
    Some(match sign {
        '&' => "and",
        '@' => "at",
        '%' => "percent",
        '$' => "dollars",
        '£' => "pounds",
        '€' => "euros",
        '¥' => "yen",
        '₹' => "rupees",
        '₩' => "won",
        '¢' => "cents",
        '°' => "degrees",
        '℃' => "degrees Celsius",
        '℉' => "degrees Fahrenheit",
        '±' => "plus or minus",
        '×' => "times",
        '÷' => "divided by",
        '§' => "section",
        '→' => "to",
        '½' => "one half",
        '¼' => "one quarter",
        '¾' => "three quarters",
        '⅓' => "one third",
        '⅔' => "two thirds",
        '²' => "squared",
        '³' => "cubed",
        'α' => "alpha",
        'β' => "beta",
        'γ' => "gamma",
        'δ' => "delta",
        'λ' => "lambda",
        'µ' => "mu",
        'π' => "pi",
        'σ' => "sigma",
        'ω' => "omega",
        '√' => "square root of",
        '≈' => "about",
        '≤' => "at most",
        '≥' => "at least",
        '≠' => "is not",
        '−' => "minus",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_fall_and_other_letters_stay() {
        assert_eq!(without_accents("Zoë's naïve Łódź"), "Zoe's naive Lodz");
        assert_eq!(without_accents("straße"), "strasse");
        assert_eq!(without_accents("plain"), "plain");
    }

    #[test]
    fn wide_and_curly_forms_are_the_plain_ones() {
        let plain: String = "Ａ！’«。".chars().map(same_as_ascii).collect();
        assert_eq!(plain, "A!'“.");
    }
}
