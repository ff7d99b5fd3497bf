//! What the model has read before: the states of past prompts and of the answers to them, so that a next turn is read from
//! where the last one ended.
//!
//! A state shares the weights: only its keys and values cost memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::model::State;
use crate::engine::EngineError;

/// Past conversations, the least used first.
pub struct Memory {
    budget: usize,
    past: Mutex<VecDeque<Past>>,
}

struct Past {
    tokens: Vec<u32>,
    state: State,
    kind: Kind,
}

/// What a state has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The beginning of many prompts: forgotten last.
    Stable,
    /// A conversation up to where the answer begins.
    Prompt,
    /// The answer too. It may go on otherwise, when not all of it was heard: then the prompt is still there.
    Answered,
}

impl Past {
    /// How much of `prompt` it has read; none where it has read something else, or all of it.
    fn known(&self, prompt: &[u32]) -> Option<usize> {
        Some(self.tokens.len()).filter(|len| *len < prompt.len() && prompt.starts_with(&self.tokens))
    }
}

impl Memory {
    /// Remembers up to `budget` tokens besides the newest stable beginning.
    pub fn new(budget: usize) -> Self {
        Self { budget, past: Mutex::new(VecDeque::new()) }
    }

    /// The state that has read most of `prompt`, but not all: the last step gives the answer.
    pub fn longest(&self, prompt: &[u32]) -> Result<Option<State>, EngineError> {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |n: &usize| past[*n].known(prompt);
        let best = (0..past.len()).filter(|n| known(n).is_some()).max_by_key(known);
        let Some(found) = best.and_then(|best| past.remove(best)) else { return Ok(None) };
        let state = found.state.fork(found.tokens.len());
        past.push_back(found);
        state.map(Some)
    }

    /// How much of `prompt` is remembered.
    pub fn known(&self, prompt: &[u32]) -> usize {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.iter().filter_map(|p| p.known(prompt)).max().unwrap_or(0)
    }

    /// Remembers what `state` read when it had read just these `tokens`.
    pub fn keep(&self, tokens: &[u32], state: &State, kind: Kind) -> Result<(), EngineError> {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.iter().any(|p| p.tokens == tokens) {
            return Ok(());
        }
        let state = state.kept(tokens.len())?;
        if kind == Kind::Prompt {
            // A conversation that goes on replaces its own former turns.
            past.retain(|p| p.kind == Kind::Stable || !tokens.starts_with(&p.tokens));
        }
        past.push_back(Past { tokens: tokens.to_vec(), state, kind });
        while past.iter().map(|p| p.tokens.len()).sum::<usize>() > self.budget && past.len() > 1 {
            let oldest = past.iter().position(|p| p.kind != Kind::Stable).unwrap_or(0);
            past.remove(oldest);
        }
        Ok(())
    }
}
