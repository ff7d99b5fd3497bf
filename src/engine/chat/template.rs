//! From a conversation to the tokens that SmolLM2 was taught with.

use super::model::Llama;
use crate::engine::EngineError;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What.
    pub content: String,
}

/// How conversations begin.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// The instructions of a conversation that has none of its own; empty: a common sentence.
    pub instructions: String,
    /// Two worked examples come before each conversation.
    pub examples: bool,
}

const SYSTEM: &str = "You are a helpful voice assistant. Answer in one or two short sentences.";
/// Shown before each conversation: with them a model of this size answers to the point, without it rambles.
const EXAMPLES: [(&str, &str); 2] = [
    ("What is the largest planet?", "The largest planet in our solar system is Jupiter."),
    ("I had a long day.", "That sounds tiring. I hope you can rest a little now."),
];

/// A conversation in tokens.
pub struct Prompt {
    /// All of it, up to where the answer begins.
    pub tokens: Vec<u32>,
    /// So many of the first are the same for every conversation with these instructions.
    pub stable: usize,
}

/// The tokens of a conversation.
pub fn prompt(llama: &Llama, turns: &[Turn], manner: &Manner) -> Result<Prompt, EngineError> {
    let instructed = turns.first().filter(|turn| turn.role == Role::System);
    let rest = if instructed.is_some() { &turns[1..] } else { turns };
    let mut tokens = Vec::new();
    let own = if manner.instructions.is_empty() { SYSTEM } else { &manner.instructions };
    message(llama, &mut tokens, Role::System, instructed.map_or(own, |turn| &turn.content))?;
    if manner.examples {
        for (question, answer) in EXAMPLES {
            message(llama, &mut tokens, Role::User, question)?;
            message(llama, &mut tokens, Role::Assistant, answer)?;
        }
    }
    let stable = tokens.len();
    for turn in rest {
        message(llama, &mut tokens, turn.role, &turn.content)?;
    }
    tokens.push(llama.begin());
    tokens.extend(llama.encode("assistant\n")?);
    Ok(Prompt { tokens, stable })
}

fn message(llama: &Llama, tokens: &mut Vec<u32>, role: Role, content: &str) -> Result<(), EngineError> {
    tokens.push(llama.begin());
    tokens.extend(llama.encode(&format!("{}\n{}", role.name(), content.trim()))?);
    tokens.push(llama.end());
    tokens.extend(llama.encode("\n")?);
    Ok(())
}
