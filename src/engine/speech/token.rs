//! What a spoken text is made of: words, marks that are heard as pauses or melody, and ends of paragraphs.

/// One piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    /// The word as written (letters and inner apostrophes), or the mark.
    pub text: String,
    /// A space goes before it. Two words without one between them are parts of one compound ("well-known").
    pub spaced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    /// One of the marks that the acoustic network knows: `.,!?;:—…()“”`.
    Mark,
    /// Here a sentence ends whatever the marks say.
    Break,
}

impl Token {
    pub(super) fn word(text: impl Into<String>, spaced: bool) -> Self {
        Self { kind: Kind::Word, text: text.into(), spaced }
    }

    pub(super) fn mark(mark: char, spaced: bool) -> Self {
        Self { kind: Kind::Mark, text: mark.into(), spaced }
    }

    pub(super) fn end_of_paragraph() -> Self {
        Self { kind: Kind::Break, text: String::new(), spaced: false }
    }

    pub(super) fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }

    /// A mark at which a sentence may end.
    fn ends_sentence(&self) -> bool {
        self.kind == Kind::Mark && matches!(self.text.as_str(), "." | "!" | "?" | "…")
    }
}

/// Cuts a text into sentences, each with at least one word. A sentence ends with its mark and what closes
/// behind it (quote, bracket), if a space follows.
pub(super) fn sentences(tokens: &[Token]) -> Vec<&[Token]> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut ended = false;
    for (at, token) in tokens.iter().enumerate() {
        // "Lo! now it is evening" goes on.
        let begins = token.spaced && !token.text.starts_with(char::is_lowercase);
        if token.kind == Kind::Break || (ended && begins) {
            found.push(&tokens[start..at]);
            start = if token.kind == Kind::Break { at + 1 } else { at };
            ended = false;
        }
        let closes = matches!(token.text.as_str(), "”" | ")");
        ended = token.ends_sentence() || (ended && closes);
    }
    found.push(&tokens[start..]);
    found.retain(|sentence| sentence.iter().any(Token::is_word));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tokens: &[Token]) -> Vec<String> {
        sentences(tokens).iter().map(|sentence| sentence.iter().map(|token| token.text.as_str()).collect()).collect()
    }

    #[test]
    fn a_sentence_ends_with_its_mark_and_what_closes_behind_it() {
        let tokens = [
            Token::mark('“', false),
            Token::word("Go", false),
            Token::mark('!', false),
            Token::mark('”', false),
            Token::word("He", true),
            Token::mark('…', false),
            Token::word("left", true),
            Token::end_of_paragraph(),
            Token::mark('.', false),
            Token::end_of_paragraph(),
            Token::word("End", false),
        ];
        assert_eq!(texts(&tokens), ["“Go!”", "He…left", "End"]);
    }

    #[test]
    fn without_words_there_is_no_sentence() {
        assert!(texts(&[]).is_empty());
        assert!(texts(&[Token::mark('…', false), Token::end_of_paragraph()]).is_empty());
    }
}
