//! A conversation as services want it that know two sides only: the instructions apart, and the sides by turns.

use super::{ChatMessage, Role};

/// What is said first when a conversation begins with the model's own words, which no such service takes.
const OPENING: &str = "(The conversation so far.)";

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The person, and the tools that answer.
    User,
    /// The model.
    Model,
}

/// A conversation by turns; neighbours of one side are one turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turns<P> {
    /// The instructions, in their order.
    pub(super) system: Vec<String>,
    /// What was said, as parts of the service's form.
    pub(super) turns: Vec<(Side, Vec<P>)>,
}

impl<P> Turns<P> {
    /// Sorts `messages`; `parts` makes the parts of one, and `words` of the words that open a conversation.
    pub(super) fn of(
        messages: &[ChatMessage],
        parts: impl Fn(&ChatMessage) -> Vec<P>,
        words: impl Fn(&str) -> P,
    ) -> Self {
        let mut all = Self { system: Vec::new(), turns: Vec::new() };
        for message in messages {
            match message.role {
                Role::System if message.content.trim().is_empty() => {}
                Role::System => all.system.push(message.content.clone()),
                Role::User | Role::Tool => all.say(Side::User, parts(message)),
                Role::Assistant => all.say(Side::Model, parts(message)),
            }
        }
        if all.turns.first().is_some_and(|(side, _)| *side == Side::Model) {
            all.turns.insert(0, (Side::User, vec![words(OPENING)]));
        }
        all
    }

    fn say(&mut self, side: Side, parts: Vec<P>) {
        if parts.is_empty() {
            return;
        }
        match self.turns.last_mut() {
            Some((last, said)) if *last == side => said.extend(parts),
            _ => self.turns.push((side, parts)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(messages: &[(Role, &str)]) -> Turns<String> {
        let messages: Vec<_> = messages.iter().map(|(role, text)| ChatMessage::new(*role, *text)).collect();
        let parts = |message: &ChatMessage| Some(message.content.clone()).filter(|text| !text.is_empty());
        Turns::of(&messages, |message| parts(message).into_iter().collect(), str::to_owned)
    }

    #[test]
    fn neighbours_of_one_side_are_one_turn_and_nothing_is_no_turn() {
        let said = turns(&[
            (Role::System, "rules"),
            (Role::User, "a"),
            (Role::User, "b"),
            (Role::Assistant, ""),
            (Role::Tool, "c"),
            (Role::Assistant, "d"),
            (Role::System, " "),
        ]);
        assert_eq!(said.system, ["rules"]);
        let expected = [(Side::User, vec!["a".into(), "b".into(), "c".into()]), (Side::Model, vec!["d".into()])];
        assert_eq!(said.turns, expected);
    }

    #[test]
    fn a_conversation_that_the_model_began_is_opened_for_it() {
        let said = turns(&[(Role::Assistant, "good morning"), (Role::User, "hi")]);
        let sides: Vec<_> = said.turns.iter().map(|(side, _)| *side).collect();
        assert_eq!(sides, [Side::User, Side::Model, Side::User]);
    }
}
