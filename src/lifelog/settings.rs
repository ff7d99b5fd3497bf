//! What an operator may set of the lifelog.

use serde::{Deserialize, Serialize};

use crate::domain::{Problem, Span};

/// The lifelog: how long entries stay in the store, and how long at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Entries of so many days stay in the store; older days move into one compressed file a day. More costs
    /// memory and start time (`docs/decisions/02-store-layout.md`). Default: 7.
    pub hot_days: u32,
    /// Entries and images older than so many days are removed; 0 keeps them for ever. Default: 0.
    pub keep: u32,
    /// How often days are moved and removed. Default: "1h".
    pub sweep_every: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self { hot_days: 7, keep: 0, sweep_every: Span::secs(3_600) }
    }
}

impl Settings {
    /// What is wrong with it; `path` is the key of this section, `lifelog`.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.hot_days == 0 || self.hot_days > 3_650 {
            let what = format!("{} days in the store", self.hot_days);
            problems.push(Problem::new(format!("{path}.hot_days"), what, "write 1 to 3650"));
        }
        if self.sweep_every < Span::secs(1) {
            let what = format!("{} is too often", self.sweep_every);
            problems.push(Problem::new(format!("{path}.sweep_every"), what, "write at least \"1s\""));
        }
        problems
    }
}
