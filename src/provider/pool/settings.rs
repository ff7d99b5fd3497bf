//! `[providers.pool]`: when a service is left alone, and for how long.

use serde::{Deserialize, Serialize};

use crate::domain::{Problem, Span};

/// When a service is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Failures in a row after which a service is left alone while others can be asked (default 5).
    pub errors: u32,
    /// It is left alone for so long; then one request tries it (default "5m").
    pub left_alone: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self { errors: 5, left_alone: Span::secs(300) }
    }
}

impl Settings {
    /// What is wrong with it.
    pub(in crate::provider) fn check(&self, path: &str, problems: &mut Vec<Problem>) {
        if !(1..=1_000).contains(&self.errors) {
            let what = format!("{} failures in a row make no sense", self.errors);
            problems.push(Problem::new(format!("{path}.errors"), what, "write 1 to 1000"));
        }
        if self.left_alone.0.is_zero() {
            let what = "a service that is left alone for no time is never left alone";
            problems.push(Problem::new(format!("{path}.left_alone"), what, "write a time such as \"5m\""));
        }
    }
}
