//! From a conversation to the tokens that a model was taught with.

use candle_core::quantized::gguf_file::Content;
use tokenizers::Tokenizer;

use super::model::Gguf;
use super::tokens;
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
pub struct Conversation {
    /// The same for every conversation with these instructions.
    head: Vec<u32>,
    /// What was said, oldest first.
    turns: Vec<(Role, Vec<u32>)>,
    /// Where the answer begins.
    open: Vec<u32>,
}

/// What the model reads.
pub struct Prompt {
    /// All of it, up to where the answer begins.
    pub tokens: Vec<u32>,
    /// So many of the first are the same for every conversation with these instructions.
    pub stable: usize,
}

impl Conversation {
    /// The tokens of a conversation.
    pub fn new(gguf: &Gguf, turns: &[Turn], manner: &Manner) -> Result<Self, EngineError> {
        let instructed = turns.first().filter(|turn| turn.role == Role::System);
        let rest = if instructed.is_some() { &turns[1..] } else { turns };
        let (form, mut open) = (gguf.form(), Vec::new());
        let mut head = form.first();
        let own = if manner.instructions.is_empty() { SYSTEM } else { &manner.instructions };
        form.message(gguf, &mut head, Role::System, instructed.map_or(own, |turn| &turn.content))?;
        if manner.examples {
            for (question, answer) in EXAMPLES {
                form.message(gguf, &mut head, Role::User, question)?;
                form.message(gguf, &mut head, Role::Assistant, answer)?;
            }
        }
        let message = |turn: &Turn| {
            let mut tokens = Vec::new();
            form.message(gguf, &mut tokens, turn.role, &turn.content)?;
            Ok((turn.role, tokens))
        };
        let turns = rest.iter().map(message).collect::<Result<_, EngineError>>()?;
        form.open(gguf, &mut open)?;
        Ok(Self { head, turns, open })
    }

    /// What every conversation with these instructions begins with.
    pub fn head(&self) -> &[u32] {
        &self.head
    }

    /// The conversation from each place on at which it can begin: all of it first, then without its oldest questions one
    /// by one; the newest question is in all of them.
    pub fn prompts(&self) -> impl Iterator<Item = Prompt> {
        let asked = |(at, (role, _)): (usize, &(Role, _))| (at > 0 && *role == Role::User).then_some(at);
        let begins = std::iter::once(0).chain(self.turns.iter().enumerate().filter_map(asked));
        begins.map(|from| {
            let said = self.turns[from..].iter().flat_map(|(_, tokens)| tokens);
            let tokens = self.head.iter().chain(said).chain(&self.open).copied().collect();
            Prompt { tokens, stable: self.head.len() }
        })
    }
}

/// How messages are told apart: one of the forms that chat models use, by the tokens of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// `<|im_start|>role`, a line break, the text, `<|im_end|>`: Qwen, SmolLM2, Yi.
    ChatMl { begin: u32, end: u32 },
    /// `<|start_header_id|>role<|end_header_id|>`, an empty line, the text, `<|eot_id|>`: Llama 3.
    Headers { first: u32, start: u32, end: u32, close: u32 },
}

impl Form {
    /// The form of a file, by the template that it brings (or the tokens, if it brings none), and the tokens that end an answer.
    pub fn of(content: &Content, tokenizer: &Tokenizer) -> Result<(Self, Vec<u32>), EngineError> {
        let template = tokens::text(content, "tokenizer.chat_template").ok();
        let uses = |mark: &str| template.as_ref().is_none_or(|template| template.contains(mark));
        let id = |name: &str| tokenizer.token_to_id(name);
        if let (true, Some(begin), Some(end)) = (uses("<|im_start|>"), id("<|im_start|>"), id("<|im_end|>")) {
            let ends = [Some(end), Some(begin), id("<|endoftext|>")];
            return Ok((Self::ChatMl { begin, end }, ends.into_iter().flatten().collect()));
        }
        let header = [id("<|begin_of_text|>"), id("<|start_header_id|>"), id("<|end_header_id|>"), id("<|eot_id|>")];
        if let (true, [Some(first), Some(start), Some(end), Some(close)]) = (uses("<|start_header_id|>"), header) {
            let ends = [Some(close), id("<|end_of_text|>"), id("<|eom_id|>")];
            return Ok((Self::Headers { first, start, end, close }, ends.into_iter().flatten().collect()));
        }
        Err(EngineError::Load(
            "its chat template is neither that of Qwen and SmolLM2 (<|im_start|>) nor that of Llama 3 (<|start_header_id|>)"
                .into(),
        ))
    }

    /// What a conversation begins with.
    fn first(&self) -> Vec<u32> {
        match self {
            Self::ChatMl { .. } => Vec::new(),
            Self::Headers { first, .. } => vec![*first],
        }
    }

    fn message(&self, gguf: &Gguf, tokens: &mut Vec<u32>, role: Role, content: &str) -> Result<(), EngineError> {
        match self {
            Self::ChatMl { begin, end } => {
                tokens.push(*begin);
                tokens.extend(gguf.encode(&format!("{}\n{}", role.name(), content.trim()))?);
                tokens.push(*end);
                tokens.extend(gguf.encode("\n")?);
            }
            Self::Headers { start, end, close, .. } => {
                tokens.push(*start);
                tokens.extend(gguf.encode(role.name())?);
                tokens.push(*end);
                tokens.extend(gguf.encode(&format!("\n\n{}", content.trim()))?);
                tokens.push(*close);
            }
        }
        Ok(())
    }

    /// Where the answer begins.
    fn open(&self, gguf: &Gguf, tokens: &mut Vec<u32>) -> Result<(), EngineError> {
        match self {
            Self::ChatMl { begin, .. } => {
                tokens.push(*begin);
                tokens.extend(gguf.encode("assistant\n")?);
            }
            Self::Headers { start, end, .. } => {
                tokens.push(*start);
                tokens.extend(gguf.encode(Role::Assistant.name())?);
                tokens.push(*end);
                tokens.extend(gguf.encode("\n\n")?);
            }
        }
        Ok(())
    }
}
