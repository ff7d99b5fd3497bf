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
