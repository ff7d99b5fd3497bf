//! What of a text can be spoken: no markup, no pictures, and nothing that would make another number of two.

/// A character of a script that is written without spaces between words: Chinese, Japanese.
pub fn is_dense(c: char) -> bool {
    matches!(c as u32, 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x2_0000..=0x3_FFFF)
}

/// The text without markup and pictures, with single spaces.
pub fn speakable(text: &str) -> String {
    let chars: Vec<char> = text.chars().filter(|&c| !picture(c)).collect();
    let mut out = String::with_capacity(text.len());
    for (at, &c) in chars.iter().enumerate() {
        let before = out.chars().next_back();
        let keep = match c {
            '*' | '#' | '`' | '_' | '~' | '～' | '>' | '|' => markup(before, c, chars.get(at + 1).copied()),
            c if c.is_whitespace() || c.is_control() => Some(' '),
            c => Some(c),
        };
        match keep {
            Some(' ') if out.is_empty() || before == Some(' ') => {}
            Some(c) => out.push(c),
            None => {}
        }
    }
    // the dash of a list
    out.strip_prefix("- ").unwrap_or(&out).trim_end_matches(' ').to_owned()
}

/// What stands for a mark of markup that is none: "10~20", "3*4", "snake_case" and "C#" are not.
fn markup(before: Option<char>, c: char, next: Option<char>) -> Option<char> {
    let digit = |c: Option<char>| c.is_some_and(char::is_numeric);
    let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() && !is_dense(c));
    match c {
        '*' if digit(before) && digit(next) => Some('×'),
        '~' | '～' if digit(before) && digit(next) => Some('-'),
        '>' if digit(before) && digit(next) => Some('>'),
        '_' if letter(before) && letter(next) => Some(' '),
        '#' if letter(before) && !letter(next) => Some('#'),
        '|' => Some(' '),
        _ => None,
    }
}

/// Emoji with what joins and colours them, dingbats, bullets, private characters.
fn picture(c: char) -> bool {
    matches!(c as u32,
        0x1F000..=0x1FAFF | 0x2600..=0x27BF | 0x2B00..=0x2BFF | 0x25A0..=0x25FF | 0xE000..=0xF8FF
        | 0xE0000..=0xE007F | 0xFE00..=0xFE0F | 0x200B..=0x200D | 0x20E3 | 0x2022 | 0x3030 | 0x303D | 0x3297 | 0x3299 | 0xFEFF)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markdown_and_pictures_are_not_spoken_in_any_language() {
        for (text, spoken) in [
            ("**Hello** 😀 `world`\n\n# 🎉\n", "Hello world"),
            ("## 今天**很热**👍🏻，记得*多喝水*🥤！", "今天很热，记得多喝水！"),
            ("- 第一步：`打开` 门", "第一步：打开 门"),
            ("1️⃣ 先充电 ✅ ⭐", "1 先充电"),
            ("👨‍👩‍👧 一家人~", "一家人"),
            ("卡尔·马克思", "卡尔·马克思"),
            ("• 苹果", "苹果"),
        ] {
            assert_eq!(speakable(text), spoken, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_markup_stays_what_it_means() {
        for (text, spoken) in [
            ("气温10~20度", "气温10-20度"),
            ("10～20元", "10-20元"),
            ("3*4=12", "3×4=12"),
            ("C# 和 snake_case", "C# 和 snake case"),
            ("a|b", "a b"),
            ("23.5℃", "23.5℃"),
        ] {
            assert_eq!(speakable(text), spoken, "{text}");
        }
    }

    proptest! {
        #[test]
        fn letters_and_digits_stay_and_spaces_are_single(text in "\\PC{0,60}") {
            let spoken = speakable(&text);
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric() && !picture(*c)).collect::<String>();
            prop_assert_eq!(letters(&spoken), letters(&text));
            prop_assert!(!spoken.contains("  ") && spoken.trim() == spoken);
        }
    }
}
