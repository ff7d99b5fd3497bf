//! Written to spoken words (being built: letters and marks only).

use super::token::Token;

/// The words and marks of a text.
pub(super) fn normalise(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    let mut spaced = false;
    for c in text.chars().chain([' ']) {
        if c.is_alphabetic() || (c == '\'' && !word.is_empty()) {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            tokens.push(Token::word(std::mem::take(&mut word), spaced));
            spaced = false;
        }
        if ".,!?;:—…()“”".contains(c) {
            tokens.push(Token::mark(c, spaced));
            spaced = false;
        } else if c.is_whitespace() {
            spaced = true;
        }
    }
    tokens
}
