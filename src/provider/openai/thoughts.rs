//! Thoughts at the head of a reply, `<think>…</think>`: models that think write them there where their server does not
//! take them out. They are not said.

const BEGIN: &str = "<think>";
const END: &str = "</think>";

/// Hears a reply in pieces that are cut anywhere, and passes on what is none of the thoughts.
#[derive(Debug, Default)]
pub(super) struct Thoughts {
    stage: Stage,
    /// What may be the beginning of a mark, and is not said yet.
    held: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing but space was heard.
    #[default]
    Head,
    Thinking,
    /// After the thoughts, before the first word.
    Thought,
    Speaking,
}

impl Thoughts {
    /// Takes a piece.
    pub(super) fn hear(&mut self, piece: &str, mut say: impl FnMut(&str)) {
        if self.stage == Stage::Speaking {
            return say(piece);
        }
        self.held.push_str(piece);
        if self.stage == Stage::Head {
            self.open(&mut say);
        }
        if self.stage == Stage::Thinking {
            self.think();
        }
        if self.stage == Stage::Thought && !self.held.trim_start().is_empty() {
            self.stage = Stage::Speaking;
            say(std::mem::take(&mut self.held).trim_start());
        }
    }

    /// The reply is whole: what began like a mark was none.
    pub(super) fn end(&mut self, mut say: impl FnMut(&str)) {
        if std::mem::replace(&mut self.stage, Stage::Speaking) == Stage::Head {
            say(&self.held);
        }
        self.held.clear();
    }

    fn open(&mut self, say: &mut impl FnMut(&str)) {
        let begun = self.held.trim_start();
        if let Some(thoughts) = begun.strip_prefix(BEGIN) {
            self.held = thoughts.to_owned();
            self.stage = Stage::Thinking;
        } else if !BEGIN.starts_with(begun) {
            self.stage = Stage::Speaking;
            say(&std::mem::take(&mut self.held));
        }
    }

    /// Keeps of the thoughts what may be the beginning of their end.
    fn think(&mut self) {
        if let Some((_, words)) = self.held.split_once(END) {
            self.held = words.to_owned();
            self.stage = Stage::Thought;
            return;
        }
        let longest = END.len().min(self.held.len() + 1);
        let kept = (0..longest).rev().find(|length| self.held.ends_with(&END[..*length])).unwrap_or(0);
        self.held.drain(..self.held.len() - kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a reply that comes in pieces of so many characters.
    fn said(reply: &str, size: usize) -> String {
        let (mut thoughts, mut all) = (Thoughts::default(), String::new());
        let letters: Vec<char> = reply.chars().collect();
        for piece in letters.chunks(size) {
            thoughts.hear(&piece.iter().collect::<String>(), |words| all.push_str(words));
        }
        thoughts.end(|words| all.push_str(words));
        all
    }

    #[test]
    fn thoughts_at_the_head_are_not_said_wherever_the_reply_is_cut() {
        for size in 1..40 {
            assert_eq!(
                said("<think>\nhm, a < b </thin 好\n</think>\n\nIt is six.", size),
                "It is six.",
                "pieces of {size}"
            );
            assert_eq!(said(" \n<think></think>Six. </think>", size), "Six. </think>", "pieces of {size}");
            assert_eq!(said("Six <think>is</think> it.", size), "Six <think>is</think> it.", "pieces of {size}");
            assert_eq!(said("<think>and nothing comes of it", size), "", "pieces of {size}");
        }
    }

    #[test]
    fn what_only_looks_like_a_mark_is_said() {
        for reply in ["<thin", "<thought> no", " <", "<b>bold</b>", "", "  "] {
            for size in 1..9 {
                assert_eq!(said(reply, size), reply, "pieces of {size}");
            }
        }
    }

    #[test]
    fn a_word_is_not_held_back_once_it_is_known_to_be_one() {
        let mut heard = Vec::new();
        let mut thoughts = Thoughts::default();
        for piece in ["It", " is", " six."] {
            thoughts.hear(piece, |words| heard.push(words.to_owned()));
        }
        assert_eq!(heard, ["It", " is", " six."]);
    }

    #[test]
    fn long_thoughts_take_no_memory() {
        let mut thoughts = Thoughts::default();
        thoughts.hear("<think>", |_| {});
        for _ in 0..1_000 {
            thoughts.hear("hm, let me see </thi", |_| {});
        }
        assert!(thoughts.held.len() < END.len(), "{}", thoughts.held);
    }
}
