//! What the model has read before: the states of past prompts, so that a next turn is read from where the
//! last one ended.
//!
//! A state is a clone of candle's model whose tensors share the weights: only its keys and values cost memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::model::State;

/// Past prompts, the least used first.
pub struct Memory {
    budget: usize,
    past: Mutex<VecDeque<Past>>,
}

struct Past {
    tokens: Vec<u32>,
    state: State,
    /// The beginning of many prompts: forgotten last.
    stable: bool,
}

impl Memory {
    /// Remembers up to `budget` tokens besides the newest stable beginning.
    pub fn new(budget: usize) -> Self {
        Self { budget, past: Mutex::new(VecDeque::new()) }
    }

    /// The state that has read most of `prompt` (but not all: the last step gives the answer), and how much.
    pub fn longest(&self, prompt: &[u32]) -> Option<(State, usize)> {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |p: &Past| p.tokens.len() < prompt.len() && prompt.starts_with(&p.tokens);
        let best = (0..past.len()).filter(|n| fits(&past[*n])).max_by_key(|n| past[*n].tokens.len())?;
        let found = past.remove(best)?;
        let answer = (found.state.clone(), found.tokens.len());
        past.push_back(found);
        Some(answer)
    }

    /// Remembers that `state` has read `tokens`.
    pub fn keep(&self, tokens: &[u32], state: &State, stable: bool) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.iter().any(|p| p.tokens == tokens) {
            return;
        }
        // A conversation that goes on replaces its own former turns.
        past.retain(|p| p.stable || !tokens.starts_with(&p.tokens));
        past.push_back(Past { tokens: tokens.to_vec(), state: state.clone(), stable });
        while past.iter().map(|p| p.tokens.len()).sum::<usize>() > self.budget && past.len() > 1 {
            let oldest = past.iter().position(|p| !p.stable).unwrap_or(0);
            past.remove(oldest);
        }
    }
}
