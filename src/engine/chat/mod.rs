//! Chat with a small local language model (GGUF, by candle): SmolLM2, Qwen 2.5, Llama 3 and what is built like them.
//!
//! Conversations in, words out as they come. It knows the model's template and where to stop; it must not
//! know HTTP. What a person says is never read as a control token.

mod decoder;
mod memory;
mod model;
mod template;
mod tokens;
mod words;

use std::sync::Arc;

use tokio::sync::mpsc;

pub use model::Gguf;
pub use template::{Manner, Role, Turn};

use self::memory::{Kind, Memory};
use self::model::{Logits, State};
use self::template::{Conversation, Prompt};
use self::words::Words;
use super::cores::Pass;
use super::station::{Desk, Model};
use super::{EngineError, Settings};

/// Prompt tokens that are read between two looks at who else waits.
const STRIDE: usize = 32;
/// The largest answer, whatever is asked for.
pub const MOST_TOKENS: usize = 512;
/// The longest conversation, answer included.
pub const CONTEXT: usize = 2_048;
/// Words of late that are made less likely.
const REPEAT_WINDOW: usize = 64;
const REPEAT_PENALTY: f32 = 1.1;

/// One question to the model.
#[derive(Debug, Clone)]
pub struct Request {
    /// The conversation, oldest first.
    pub turns: Vec<Turn>,
    /// At most so many tokens of answer.
    pub max_tokens: usize,
    /// 0.0 is the surest word each time.
    pub temperature: f64,
    /// Only the likeliest words that together have this probability.
    pub top_p: f64,
    /// The same seed gives the same answer.
    pub seed: u64,
    /// Texts that end the answer, and are not part of it.
    pub stop: Vec<String>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model or a stop text said so.
    Stop,
    /// `max_tokens`, or the end of the context.
    Length,
}

/// What comes of a question.
#[derive(Debug)]
pub enum Piece {
    /// Some words.
    Text(String),
    /// The end.
    End {
        /// Why.
        finish: Finish,
        /// Tokens of the prompt.
        prompt: usize,
        /// Those of them that were remembered and not read again.
        remembered: usize,
        /// Tokens of the answer.
        answer: usize,
    },
    /// It failed.
    Failed(EngineError),
}

/// The shared part: weights, words, what is remembered of past prompts.
pub struct Chat {
    gguf: Gguf,
    memory: Memory,
    manner: Manner,
    /// Tokens that are read before an answer at most, unless one question alone has more.
    read: usize,
    /// Threads that work side by side on one answer while cores are free.
    crew: rayon::ThreadPool,
}

/// Cores that the model can use for one answer.
const WIDEST: usize = 2;

impl Chat {
    /// Loads a GGUF file, and reads instructions and examples once so that the first question need not.
    pub fn load(file: &std::path::Path, manner: Manner, settings: &Settings) -> Result<Self, EngineError> {
        let gguf = Gguf::load(file)?;
        let crew =
            rayon::ThreadPoolBuilder::new().num_threads(settings.cores()).thread_name(|n| format!("chat-crew-{n}"));
        let crew = crew.build().map_err(|e| EngineError::Failed(format!("no threads for chat: {e}")))?;
        let chat = Self { gguf, memory: Memory::new(settings.chat_cache), manner, read: settings.chat_read, crew };
        let conversation = Conversation::new(&chat.gguf, &[], &chat.manner)?;
        let mut state = chat.gguf.fresh()?;
        state.read(conversation.head(), false)?;
        chat.memory.keep(conversation.head(), &state, Kind::Stable)?;
        Ok(chat)
    }
}

impl Model for Chat {
    type Worker = Arc<Chat>;

    fn worker(self: &Arc<Self>) -> Result<Arc<Chat>, EngineError> {
        Ok(Arc::clone(self))
    }
}

impl Chat {
    /// Answers into `out` until it is done or `out` is closed.
    pub fn answer(&self, request: &Request, out: &mpsc::Sender<Piece>, desk: &Desk) {
        match self.generate(request, out, desk) {
            Ok(Some(end)) => drop(out.blocking_send(end)),
            Ok(None) => tracing::debug!("the client went away, answer dropped"),
            Err(error) => drop(out.blocking_send(Piece::Failed(error))),
        }
    }

    /// As much of a conversation as is remembered, or is read soon enough: its oldest turns are left out, not waited for.
    fn prompt(&self, turns: &[Turn]) -> Result<Prompt, EngineError> {
        let conversation = Conversation::new(&self.gguf, turns, &self.manner)?;
        let mut shortest = None;
        for prompt in conversation.prompts() {
            // the instructions are read in any case
            let unread = prompt.tokens.len() - self.memory.known(&prompt.tokens).max(prompt.stable);
            if prompt.tokens.len() < CONTEXT && unread <= self.read {
                return Ok(prompt);
            }
            shortest = Some(prompt);
        }
        let prompt = shortest.ok_or_else(|| EngineError::Failed("nothing was asked".into()))?;
        if prompt.tokens.len() >= CONTEXT {
            let text = format!("the question has {} tokens, and {CONTEXT} are the most", prompt.tokens.len());
            return Err(EngineError::Request(text));
        }
        Ok(prompt)
    }

    /// Reads on with the cores that there are for it.
    fn step(&self, state: &mut State, tokens: &[u32], core: &mut Pass) -> Result<Logits, EngineError> {
        if core.widen(WIDEST) < WIDEST {
            return state.read(tokens, false);
        }
        self.crew.install(|| state.read(tokens, true))
    }

    /// None: nobody listens any more.
    fn generate(
        &self,
        request: &Request,
        out: &mpsc::Sender<Piece>,
        desk: &Desk,
    ) -> Result<Option<Piece>, EngineError> {
        let prompt = self.prompt(&request.turns)?;
        let mut core = desk.core();
        let mut state = match self.memory.longest(&prompt.tokens)? {
            Some(state) => state,
            None => self.gguf.fresh()?,
        };
        let remembered = state.length();
        tracing::debug!(prompt = prompt.tokens.len(), remembered, "a conversation");
        let mut logits = None;
        let mut at = remembered;
        while at < prompt.tokens.len() {
            // The stable beginning ends a stride, so that it can be remembered as such.
            let mut end = (at + STRIDE).min(prompt.tokens.len());
            if at < prompt.stable && prompt.stable < end {
                end = prompt.stable;
            }
            logits = Some(self.step(&mut state, &prompt.tokens[at..end], &mut core)?);
            at = end;
            if at == prompt.stable {
                self.memory.keep(&prompt.tokens[..at], &state, Kind::Stable)?;
            }
            if out.is_closed() {
                return Ok(None);
            }
            core = desk.breathe(core);
        }
        let logits = logits.ok_or_else(|| EngineError::Failed("nothing was asked".into()))?;
        let mut answer = Vec::new();
        let room = CONTEXT - prompt.tokens.len();
        let finish = self.speak(request, room, &mut answer, &mut state, logits, out, desk, core);
        self.memory.keep(&prompt.tokens, &state, Kind::Prompt)?;
        let Some((finish, heard)) = finish? else { return Ok(None) };
        let said = [&prompt.tokens, &answer[..]].concat();
        self.memory.keep(&said[..heard], &state, Kind::Answered)?;
        Ok(Some(Piece::End { finish, prompt: prompt.tokens.len(), remembered, answer: answer.len() }))
    }

    /// How it ended, and how many tokens were read by then; none where nobody listens any more.
    #[expect(clippy::too_many_arguments, reason = "the second half of `generate`, which holds all of them")]
    fn speak(
        &self,
        request: &Request,
        room: usize,
        answer: &mut Vec<u32>,
        state: &mut State,
        mut logits: Logits,
        out: &mpsc::Sender<Piece>,
        desk: &Desk,
        mut core: Pass,
    ) -> Result<Option<(Finish, usize)>, EngineError> {
        let most = request.max_tokens.min(MOST_TOKENS).min(room);
        let mut sampler = model::Sampler::new(request.seed, request.temperature, request.top_p);
        let mut words = Words::new(&self.gguf, &request.stop);
        let mut finish = Finish::Length;
        // after the last whole sentence: the half one behind it is not said when the answer is cut at its greatest length
        let mut whole = None;
        while answer.len() < most {
            let late = &answer[answer.len().saturating_sub(REPEAT_WINDOW)..];
            let token = sampler.next(&logits, late, REPEAT_PENALTY)?;
            if self.gguf.ends(token) {
                finish = Finish::Stop;
                break;
            }
            answer.push(token);
            let (text, stopped) = words.push(token)?;
            let sentence = text.trim_end().ends_with(['.', '!', '?', '\u{3002}', '\u{ff01}', '\u{ff1f}']);
            if !text.is_empty() && out.blocking_send(Piece::Text(text)).is_err() {
                return Ok(None);
            }
            if stopped {
                finish = Finish::Stop;
                break;
            }
            if out.is_closed() {
                return Ok(None);
            }
            core = desk.breathe(core);
            logits = self.step(state, &[token], &mut core)?;
            if sentence {
                whole = Some(state.length());
            }
        }
        drop(core);
        let rest = words.finish();
        if !rest.is_empty() && out.blocking_send(Piece::Text(rest)).is_err() {
            return Ok(None);
        }
        let heard = whole.filter(|_| finish == Finish::Length).unwrap_or(state.length());
        Ok(Some((finish, heard)))
    }
}
