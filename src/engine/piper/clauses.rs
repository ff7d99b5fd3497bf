//! Text in clauses, each with the mark that ends it: a voice has learnt what its marks sound like, and espeak-ng does not
//! tell them.

/// What is said in one breath.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// One line, without the mark.
    pub text: String,
    /// One of `,` `.` `;` `:` `!` `?`.
    pub mark: Option<char>,
}

/// Characters of a clause: espeak-ng reads lines of less than 1,000 bytes.
const LONGEST: usize = 200;

/// The clauses of a text that have something to say.
pub fn clauses(text: &str) -> Vec<Clause> {
    let mut all = Vec::new();
    let mut clause = String::new();
    let mut length = 0;
    let mut chars = text.chars().filter(|c| !is_picture(*c)).peekable();
    while let Some(c) = chars.next() {
        let ends = |next: Option<&char>| next.is_none_or(|next| next.is_whitespace() || is_closing(*next));
        if let Some(mark) = mark(c).filter(|_| !c.is_ascii() || ends(chars.peek())) {
            close(&mut all, &mut clause, Some(mark));
            length = 0;
            continue;
        }
        // brackets in pairs are phonemes to espeak-ng
        clause.push(if c.is_control() || matches!(c, '[' | ']') { ' ' } else { c });
        length += 1;
        if length >= LONGEST && (c == ' ' || length >= LONGEST + 40) {
            close(&mut all, &mut clause, None);
            length = 0;
        }
    }
    close(&mut all, &mut clause, None);
    all
}

/// A clause of nothing but marks gives its mark to the one before, where that has none.
fn close(all: &mut Vec<Clause>, clause: &mut String, mark: Option<char>) {
    let text = clause.split_whitespace().collect::<Vec<_>>().join(" ");
    clause.clear();
    if text.chars().any(char::is_alphanumeric) {
        all.push(Clause { text, mark });
    } else if let Some(last) = all.last_mut() {
        last.mark = last.mark.or(mark);
    }
}

fn mark(c: char) -> Option<char> {
    Some(match c {
        ',' | '，' | '、' | '—' => ',',
        '.' | '。' | '…' => '.',
        ';' | '；' => ';',
        ':' | '：' => ':',
        '!' | '！' => '!',
        '?' | '？' => '?',
        _ => return None,
    })
}

fn is_closing(c: char) -> bool {
    matches!(c, '"' | '\'' | ')' | ']' | '”' | '’' | '»' | '」' | '』') || mark(c).is_some()
}

/// Emoji and what joins them: espeak-ng would read out their names.
fn is_picture(c: char) -> bool {
    matches!(c as u32, 0x1F000..=0x1FAFF | 0x2600..=0x27BF | 0xFE00..=0xFE0F | 0x200D | 0x20E3 | 0x2B00..=0x2BFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<(String, Option<char>)> {
        clauses(text).into_iter().map(|clause| (clause.text, clause.mark)).collect()
    }

    fn pair(text: &str, mark: char) -> (String, Option<char>) {
        (text.to_owned(), Some(mark))
    }

    #[test]
    fn marks_end_clauses_and_numbers_keep_theirs() {
        assert_eq!(
            told("Yes: at 10:30, it costs $3.50!"),
            [pair("Yes", ':'), pair("at 10:30", ','), pair("it costs $3.50", '!')]
        );
        assert_eq!(
            told("Well... \"really?\" she said"),
            [pair("Well", '.'), pair("\"really", '?'), ("\" she said".to_owned(), None)]
        );
        assert_eq!(told("你好，世界。再见"), [pair("你好", ','), pair("世界", '.'), ("再见".to_owned(), None)]);
    }

    #[test]
    fn nothing_to_say_is_no_clause() {
        for nothing in ["", " \n\t", "...", "😀🎉", "—, ?!", "👨‍👩‍👧", "☀️"] {
            assert!(clauses(nothing).is_empty(), "{nothing}");
        }
        assert_eq!(told("hello 😀 there\u{0}\n"), [("hello there".to_owned(), None)]);
    }

    #[test]
    fn a_line_is_short_enough_for_the_program_and_nothing_is_lost() {
        for text in ["word ".repeat(300), "字".repeat(3_000), "𝔘".repeat(900)] {
            let all = clauses(&text);
            assert!(all.len() > 3 && all.iter().all(|clause| clause.text.len() < 980), "{}", all.len());
            let count = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
            assert_eq!(all.iter().map(|clause| count(&clause.text)).sum::<usize>(), count(&text));
        }
    }

    #[test]
    fn nobody_gets_phonemes_of_his_own_through() {
        assert_eq!(told("a [[ttkkpp]] b"), [("a ttkkpp b".to_owned(), None)]);
    }
}
