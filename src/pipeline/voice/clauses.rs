//! A streamed reply → clauses to speak.
//!
//! The first clause is cut early (a comma, ten words, or sixteen characters of a script without spaces), so that speech
//! starts early; all later ones are whole sentences, which sound better. Chinese, Japanese and western marks count alike, also
//! mixed; what can be spoken of a clause is `speakable`'s.

use super::speakable::{is_dense, speakable};

/// A first clause is cut at this weight even without a comma: ten words, or sixteen characters without spaces.
const FIRST_WEIGHT: usize = 80;
/// What a word weighs.
const WORD: usize = 8;
/// What a character weighs that is written without spaces.
const DENSE: usize = 5;
/// So much more weight than that a first clause may have, if it can be cut nowhere well: eight characters.
const PATIENCE: usize = 8 * DENSE;
/// A first clause that is cut at a particle weighs at least this: six characters.
const SOFT_WEIGHT: usize = 6 * DENSE;
/// Bytes after which any clause is cut, at a comma or a space if it can be: a model that never ends a sentence is heard all the same.
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
        // what closes the clause before came too late for it
        let clause = speakable(clause.trim_start_matches(|c: char| c.is_whitespace() || closes(c)));
        if clause.chars().any(char::is_alphanumeric) {
            self.started = true;
            self.whole = whole(&clause);
            ready.push(clause);
        }
    }

    /// Where the next clause ends (exclusive byte index), if that is certain.
    fn cut(&self) -> Option<usize> {
        let text = self.pending.as_str();
        let mut places = Places::default();
        let mut before = None;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let end = at + c.len_utf8();
            let next = chars.peek().map(|&(_, c)| c);
            match mark(before, c, next, &text[..at]) {
                Some(Mark::End) => return Some(end + closing(&text[end..])),
                Some(Mark::Pause) if !self.started && places.has_words() => return Some(end),
                Some(Mark::Pause) => places.pause = Some(end),
                None => {}
            }
            places.pass(before, c, next, end);
            if !self.started && places.weight >= FIRST_WEIGHT {
                if c.is_whitespace() {
                    return Some(end);
                }
                let late = places.weight >= FIRST_WEIGHT + PATIENCE && is_dense(c);
                if let Some(soft) = places.soft.filter(|_| is_dense(c)).or_else(|| late.then_some(end)) {
                    return Some(soft);
                }
            }
            if end >= LONGEST {
                return Some(places.pause.or(places.soft).or(places.space).unwrap_or(end));
            }
            before = Some(c);
        }
        None
    }
}

/// Where a clause without an end might be cut, so far.
#[derive(Default)]
struct Places {
    weight: usize,
    in_word: bool,
    pause: Option<usize>,
    soft: Option<usize>,
    space: Option<usize>,
}

impl Places {
    fn has_words(&self) -> bool {
        self.in_word || self.weight > 0
    }

    fn pass(&mut self, before: Option<char>, c: char, next: Option<char>, end: usize) {
        if c.is_whitespace() {
            self.space = Some(end);
        }
        if is_dense(c) {
            self.weight += DENSE;
            let long_enough = self.weight >= SOFT_WEIGHT && before.is_some_and(is_dense) && next.is_some_and(is_dense);
            if long_enough && particle(c, next) {
                self.soft = Some(end);
            }
        }
        let in_word = !is_dense(c) && !c.is_whitespace() && (self.in_word || c.is_alphanumeric());
        if self.in_word && !in_word {
            self.weight += WORD;
        }
        self.in_word = in_word;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Mark {
    End,
    Pause,
}

/// What a character means for the cut; a western mark counts before white space and between characters without spaces
/// ("3.5" and "e.g" go on), a wide one everywhere but within a number.
fn mark(before: Option<char>, c: char, next: Option<char>, text: &str) -> Option<Mark> {
    let digit = |c: Option<char>| c.is_some_and(char::is_numeric);
    let dense = |c: Option<char>| c.is_some_and(is_dense);
    if c == '\n' || wide_end(c) {
        return Some(Mark::End);
    }
    if wide_pause(c) {
        // "12：30" and "1，000" are numbers, and what follows a digit may not be here yet
        let number = digit(before) && next.is_none_or(char::is_numeric);
        return (!number).then_some(Mark::Pause);
    }
    let spaced = next.is_some_and(char::is_whitespace);
    let behind = dense(before) && (dense(next) || (c != '.' && next.is_some()));
    let within = behind || (pauses(c) && dense(next));
    if ends(c) && ((spaced && !abbreviation(text)) || within) {
        return Some(Mark::End);
    }
    (pauses(c) && (spaced || within)).then_some(Mark::Pause)
}

/// Bytes of what closes a sentence behind its mark: more marks, quotes, brackets.
fn closing(rest: &str) -> usize {
    rest.chars().take_while(|&c| closes(c) || wide_end(c) || ends(c)).map(char::len_utf8).sum()
}

fn closes(c: char) -> bool {
    matches!(c, '”' | '’' | '」' | '』' | '）' | '》' | '】' | '！' | '？' | '。' | '…')
}

/// A character behind which a Chinese sentence breathes, if it is not the first of a longer word.
fn particle(c: char, next: Option<char>) -> bool {
    const LONGER: &str = "地士确话解不急去程来敏年得结无重力眼手装";
    matches!(c, '的' | '了' | '着' | '过' | '吗' | '呢' | '吧') && next.is_some_and(|next| !LONGER.contains(next))
}

/// The text ends a sentence; quotes and brackets may close after its mark.
fn whole(text: &str) -> bool {
    let text = text.trim_end_matches(|c: char| {
        c.is_whitespace() || matches!(c, '"' | '\'' | ')' | ']' | '”' | '’' | '」' | '』' | '）')
    });
    text.chars().next_back().is_some_and(|c| ends(c) || wide_end(c))
}

fn ends(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…')
}

fn pauses(c: char) -> bool {
    matches!(c, ',' | ';' | ':')
}

fn wide_end(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '；' | '｡')
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
        assert_eq!(all(&["真的吗？！太好了！我们走；马上走。"]), ["真的吗？！", "太好了！", "我们走；", "马上走。"]);
        assert_eq!(all(&["他说：“你好。”然后走了。"]), ["他说：", "“你好。”", "然后走了。"]);
        assert_eq!(
            all(&["“你好。", "”然后走了。"]),
            ["“你好。", "然后走了。"],
            "a quote that closes too late is left out"
        );
        assert_eq!(all(&["让我想想……好的，可以。"]), ["让我想想……", "好的，可以。"]);
    }

    #[test]
    fn western_marks_between_chinese_characters_cut_too() {
        assert_eq!(all(&["你好,我是网关.今天很热!走吧"]), ["你好,", "我是网关.", "今天很热!", "走吧"]);
        assert_eq!(all(&["用的是Node.js和v2.0版,还有README.md。"]), ["用的是Node.js和v2.0版,", "还有README.md。"]);
    }

    #[test]
    fn numbers_and_foreign_words_in_chinese_stay_whole_however_they_arrive() {
        let text = "今天是2026年11月22日，气温23.5℃，iPhone 15 Pro 很贵。现在12：30，共1，000元，时间10:45。";
        let whole =
            ["今天是2026年11月22日，", "气温23.5℃，iPhone 15 Pro 很贵。", "现在12：30，共1，000元，时间10:45。"];
        assert_eq!(all(&[text]), whole);
        let pieces: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(all(&pieces.iter().map(String::as_str).collect::<Vec<_>>()), whole);
        assert_eq!(all(&["一共", "1", "，", "0", "00元。"]), ["一共1，000元。"]);
    }

    #[test]
    fn a_first_clause_without_marks_is_cut_by_its_characters() {
        let soft = all(&["这个问题其实是很多刚开始学习的人都会遇到的一个非常普通的问题"]);
        assert_eq!(soft[0], "这个问题其实是很多刚开始学习的", "at a particle");
        let hard = all(&["北京上海广州深圳天津重庆杭州南京武汉成都西安苏州长沙郑州青岛沈阳宁波昆明"]);
        assert_eq!(hard[0].chars().count(), 24, "{hard:?}");
        let mixed = all(&["我们可以用Home Assistant把家里的所有设备连接到Voxgate gateway这样更方便"]);
        assert!(mixed.len() > 1 && mixed[0].contains("Home Assistant"), "{mixed:?}");
        let short = all(&["我想这样也可以"]);
        assert_eq!(short, ["我想这样也可以"]);
    }

    #[test]
    fn chinese_without_any_mark_is_heard_before_it_ends() {
        let endless = "天地玄黄宇宙洪荒".repeat(40);
        let said = all(&[&endless]);
        assert!(said.len() > 4 && said.iter().all(|clause| clause.len() <= LONGEST + 3), "{said:?}");
        assert_eq!(said.concat(), endless);
    }

    #[test]
    fn a_long_sentence_is_cut_at_its_last_comma() {
        let part = "我们先去公园再去图书馆然后一起吃饭，";
        let said = all(&["好。", &part.repeat(6), "回家。"]);
        assert!(said[1].ends_with('，'), "{said:?}");
    }

    #[test]
    fn markdown_and_pictures_are_not_spoken() {
        assert_eq!(all(&["**Hello** 😀 `world`\n\n# 🎉\n"]), ["Hello world"]);
        assert_eq!(all(&["**好的**👌，", "\n- 先**开门**。🎉\n- 再关窗。"]), ["好的，", "先开门。", "再关窗。"]);
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
        fn no_letter_is_lost_however_the_reply_is_cut(text in "[a-z0-9 ,.!?。，：…”的了天地\n]{0,300}", cut in 1usize..20) {
            let chars: Vec<char> = text.chars().collect();
            let pieces: Vec<String> = chars.chunks(cut).map(|piece| piece.iter().collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(letters(&all(&pieces).join(" ")), letters(&text));
        }
    }
}
