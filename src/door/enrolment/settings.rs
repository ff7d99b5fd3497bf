//! `[devices.activation]`: the codes of boards that wait for an operator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Allowed;
use crate::domain::{Problem, Span};

/// Codes: a board that is not known shows one, and an operator claims it with `voxgate device claim CODE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How long a code counts (default "15m"); then the board gets another when it asks again.
    pub code_life: Span,
    /// Boards that may wait at once; more are turned away and ask again (default 64, at most 10000).
    pub pending: usize,
    /// The same of one address, an IPv6 network of 64 bits counting as one (default 16). Behind a proxy all boards
    /// have the proxy's address: give as much as `pending` then.
    pub pending_per_address: usize,
    /// Wrong codes in a minute before claims are refused for the rest of it (default 10).
    pub wrong_claims: u32,
    /// What the board shows; `{code}` stands for the code (default "Code {code}"). At most 200 bytes.
    pub message: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            code_life: Span::secs(15 * 60),
            pending: 64,
            pending_per_address: 16,
            wrong_claims: 10,
            message: "Code {code}".to_owned(),
        }
    }
}

impl Settings {
    /// What is wrong with them; `path` is the key that they stand under.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut no = |key: &str, what: &str, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if self.code_life < Span::secs(60) || self.code_life > Span::days(1) {
            no("code_life", "is not in a minute to a day", "leave it out: 15m");
        }
        if !(1..=10_000).contains(&self.pending) {
            no("pending", "is not in 1 to 10000", "leave it out: 64");
        }
        if self.pending_per_address == 0 {
            no("pending_per_address", "is 0", "leave it out: 16");
        }
        if self.wrong_claims == 0 {
            no("wrong_claims", "is 0, so that nobody could claim anything", "leave it out: 10");
        }
        if self.message.len() > 200 || !self.message.contains("{code}") {
            no("message", "has more than 200 bytes, or nowhere {code}", "leave it out: \"Code {code}\"");
        }
        problems
    }
}

/// Who enrols without an operator's word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Welcome {
    /// These boards, at their first contact.
    pub allowed: Vec<Allowed>,
    /// Everybody, at the first contact: bring-up mode.
    pub bring_up: BringUp,
}

/// Bring-up mode: where everybody is let in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BringUp {
    /// Nowhere.
    #[default]
    Off,
    /// On loopback.
    Loopback,
    /// Everywhere.
    Anywhere,
}
