//! A streamed reply → clauses to speak.
//!
//! The first clause is cut early (a comma, or ten words), so that speech starts early; all later ones
//! are whole sentences, which sound better. Markdown and pictures are left out of what is spoken.

/// Words after which the first clause is cut even without a comma.
const FIRST_WORDS: usize = 10;
/// Characters after which any clause is cut at a space: a model that never ends a sentence is heard all the same.
const LONGEST: usize = 220;

/// Cuts a stream of text into clauses.
#[derive(Debug, Default)]
pub struct Clauses {
    pending: String,
    started: bool,
    /// The last clause given ends a sentence.
    whole: bool,
}

impl Clauses {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a piece of the reply; gives the clauses that are complete.
    pub fn push(&mut self, piece: &str) -> Vec<String> {
        self.pending.push_str(piece);
        let mut ready = Vec::new();
        while let Some(end) = self.cut() {
            let rest = self.pending.split_off(end);
            let clause = std::mem::replace(&mut self.pending, rest);
            self.give(&clause, &mut ready);
        }
        ready
    }

    /// The reply is over: gives what is left.
    pub fn finish(&mut self) -> Option<String> {
        let mut ready = Vec::new();
        let rest = std::mem::take(&mut self.pending);
        self.give(&rest, &mut ready);
        ready.pop()
    }

    /// The reply was cut off by its limit: the half sentence at its end is left out, if what was said before it is
    /// whole. Returns the bytes left out.
    pub fn drop_half_sentence(&mut self) -> usize {
        if self.whole && !whole(&self.pending) { std::mem::take(&mut self.pending).len() } else { 0 }
    }

    fn give(&mut self, clause: &str, ready: &mut Vec<String>) {
        let clause = speakable(clause);
        if clause.chars().any(char::is_alphanumeric) {
            self.started = true;
            self.whole = whole(&clause);
            ready.push(clause);
        }
    }

    /// Where the next clause ends (exclusive byte index), if that is certain.
    fn cut(&self) -> Option<usize> {
        let text = self.pending.as_str();
        let mut words = 0;
        let mut in_word = false;
        let mut last_space = None;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let end = at + c.len_utf8();
            let next = chars.peek().map(|&(_, c)| c);
            if wide_end(c) || c == '\n' || (!self.started && wide_pause(c)) {
                return Some(end);
            }
            // a western mark ends a clause only before white space: "3.5" and "e.g" go on
            if next.is_some_and(char::is_whitespace)
                && ((ends(c) && !abbreviation(&text[..at])) || (!self.started && pauses(c)))
            {
                return Some(end);
            }
            if c.is_whitespace() {
                last_space = Some(end);
                words += usize::from(std::mem::take(&mut in_word));
                if !self.started && words >= FIRST_WORDS {
                    return Some(end);
                }
            } else {
                in_word = true;
            }
            if end >= LONGEST {
                return Some(last_space.unwrap_or(end));
            }
        }
        None
    }
}

/// The text ends a sentence; quotes and brackets may close after its mark.
fn whole(text: &str) -> bool {
    let text = text
        .trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ')' | ']' | '”' | '’' | '」' | '）'));
    text.chars().next_back().is_some_and(|c| ends(c) || wide_end(c))
}

fn ends(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…')
}

fn pauses(c: char) -> bool {
    matches!(c, ',' | ';' | ':')
}

fn wide_end(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '；')
}

fn wide_pause(c: char) -> bool {
    matches!(c, '，' | '、' | '：')
}

/// The text before a full stop ends in a title, an abbreviation, an initial or a list number.
fn abbreviation(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or("");
    let known = ["mr", "mrs", "ms", "dr", "prof", "st", "vs", "etc", "approx", "no", "e.g", "i.e", "a.m", "p.m"];
    let lower = word.to_ascii_lowercase();
    let initial = word.chars().count() == 1 && word.chars().all(|c| c.is_ascii_uppercase() && c != 'I');
    let list_number = !word.is_empty() && word.len() <= 2 && word.chars().all(|c| c.is_ascii_digit());
    let starts_line = before.len() == word.len() || before[..before.len() - word.len()].ends_with('\n');
    // "etc." and "p.m." can end a sentence too; cutting there a little late does no harm
    known.contains(&lower.as_str()) || initial || (list_number && starts_line)
}

/// What of a clause can be spoken: no markdown, no pictures, single spaces.
pub fn speakable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let keep = match c {
            '*' | '#' | '`' | '_' | '~' | '>' | '|' | '\u{200D}' | '\u{FE0F}' => None,
            c if c.is_whitespace() || c.is_control() => Some(' '),
            c if picture(c) => None,
            c => Some(c),
        };
        match keep {
            Some(' ') if out.is_empty() || out.ends_with(' ') => {}
            Some(c) => out.push(c),
            None => {}
        }
    }
    while out.ends_with(' ') {
        out.pop();
    }
    out
}

fn picture(c: char) -> bool {
    matches!(c as u32, 0x1F000..=0x1FAFF | 0x2600..=0x27BF | 0x2B00..=0x2BFF | 0xE000..=0xF8FF | 0xE0000..=0xE007F)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&str]) -> Vec<String> {
        let mut clauses = Clauses::new();
        let mut out: Vec<String> = pieces.iter().flat_map(|piece| clauses.push(piece)).collect();
        out.extend(clauses.finish());
        out
    }

    #[test]
    fn the_first_clause_is_cut_at_a_comma_and_later_ones_at_sentences() {
        let spoken = all(&["Well, the sky is blue, mostly. It", " is night, though."]);
        assert_eq!(spoken, ["Well,", "the sky is blue, mostly.", "It is night, though."]);
    }

    #[test]
    fn the_first_clause_is_cut_after_ten_words() {
        let spoken = all(&["one two three four five six seven eight nine ten eleven twelve"]);
        assert_eq!(spoken[0], "one two three four five six seven eight nine ten");
    }

    #[test]
    fn numbers_and_titles_are_not_torn() {
        assert_eq!(all(&["It is 3.5 metres, Dr. Smith said. Yes."])[1..], ["Dr. Smith said.", "Yes."]);
        assert_eq!(all(&["1. Open the door. 2. Go"])[0], "1. Open the door.");
    }

    #[test]
    fn chinese_is_cut_at_its_own_marks() {
        assert_eq!(all(&["你好，我是语音网关。", "今天天气很好。"]), ["你好，", "我是语音网关。", "今天天气很好。"]);
    }

    #[test]
    fn markdown_and_pictures_are_not_spoken() {
        assert_eq!(all(&["**Hello** 😀 `world`\n\n# 🎉\n"]), ["Hello world"]);
    }

    #[test]
    fn a_reply_cut_by_its_limit_loses_its_half_sentence_but_only_after_a_whole_one() {
        let cut = |text: &str| {
            let mut clauses = Clauses::new();
            let mut said = clauses.push(text);
            let dropped = clauses.drop_half_sentence();
            said.extend(clauses.finish());
            (said.join(" "), dropped)
        };
        assert_eq!(cut("It is blue. That is bec"), ("It is blue.".into(), 12));
        assert_eq!(cut("It is blue. It is big."), ("It is blue. It is big.".into(), 0));
        assert_eq!(cut("Well, it is bl"), ("Well, it is bl".into(), 0), "half a sentence is better than one word");
    }

    proptest! {
        #[test]
        fn no_letter_is_lost_however_the_reply_is_cut(text in "[a-z ,.!?。，\n]{0,400}", cut in 1usize..20) {
            let chars: Vec<char> = text.chars().collect();
            let pieces: Vec<String> = chars.chunks(cut).map(|piece| piece.iter().collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(letters(&all(&pieces).join(" ")), letters(&text));
        }
    }
}
