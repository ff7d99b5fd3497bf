//! A text made comparable: small letters, one kind of space and of apostrophe, full-width letters as narrow ones.
//!
//! Phrases and what is looked through go through the same door, so that both are written as people write.

/// The text as it is compared.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match narrow(c) {
            ' ' if out.is_empty() || out.ends_with(' ') => {}
            c => out.extend(c.to_lowercase()),
        }
    }
    if out.ends_with(' ') {
        out.pop();
    }
    out
}

fn narrow(c: char) -> char {
    match c {
        '\u{FF10}'..='\u{FF19}' | '\u{FF21}'..='\u{FF3A}' | '\u{FF41}'..='\u{FF5A}' => {
            char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c)
        }
        '\u{2018}' | '\u{2019}' | '\u{02BC}' => '\'',
        '-' | '\u{2010}' | '\u{2011}' => ' ',
        c if c.is_whitespace() || c.is_control() => ' ',
        c => c,
    }
}

/// Written without spaces between words.
pub fn is_wide(c: char) -> bool {
    matches!(u32::from(c), 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

/// Part of a word that is set off by spaces.
pub fn in_word(c: char) -> bool {
    c.is_alphanumeric() && !is_wide(c)
}

/// Something ends or pauses here: what stands before does not reach beyond it.
pub fn is_stop(c: char) -> bool {
    matches!(
        c,
        '.' | ','
            | ';'
            | ':'
            | '!'
            | '?'
            | '…'
            | '('
            | ')'
            | '"'
            | '。'
            | '，'
            | '、'
            | '；'
            | '：'
            | '！'
            | '？'
            | '（'
            | '）'
            | '“'
            | '”'
    )
}

/// A sentence ends with this.
pub fn ends_sentence(text: &str) -> bool {
    let text = text.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ')' | '”' | '’' | '）'));
    text.chars().next_back().is_some_and(|c| matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？' | '；'))
}

/// The match at `from..to` is not a part of longer words.
pub fn stands_alone(text: &str, from: usize, to: usize) -> bool {
    let (Some(found), Some(before), Some(after)) = (text.get(from..to), text.get(..from), text.get(to..)) else {
        return false;
    };
    let joined = |left: Option<char>, right: Option<char>| left.is_some_and(in_word) && right.is_some_and(in_word);
    !joined(before.chars().next_back(), found.chars().next())
        && !joined(found.chars().next_back(), after.chars().next())
}

/// How far apart two places are: words where words have spaces, characters where they have none; none when something
/// ends between them.
pub fn distance(between: &str) -> Option<usize> {
    let (mut far, mut inside) = (0, false);
    for c in between.chars() {
        if is_stop(c) {
            return None;
        }
        let word = in_word(c) || c == '\'';
        far += usize::from(is_wide(c) || (word && !inside));
        inside = word;
    }
    Some(far)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_alike_is_alike() {
        assert_eq!(plain("  Don’t   TURN‑left\n"), "don't turn left");
        assert_eq!(plain("ＳＴＯＰ，有车"), "stop，有车");
        assert_eq!(plain(""), "");
    }

    #[test]
    fn a_word_is_not_a_part_of_another_and_chinese_has_no_such_borders() {
        let text = "in the border of order";
        assert!(!stands_alone(text, 8, 13) && stands_alone(text, 17, 22));
        let text = "前面有车辆";
        assert!(stands_alone(text, 6, 12));
        assert!(stands_alone("有car吗", 3, 6), "a wide neighbour is no part of a word");
    }

    #[test]
    fn distance_counts_words_or_characters_and_ends_at_a_stop() {
        assert_eq!(distance(" "), Some(0));
        assert_eq!(distance(" moving red "), Some(2));
        assert_eq!(distance("看到"), Some(2));
        assert_eq!(distance(", a"), None);
        assert_eq!(distance("，有"), None);
    }
}
