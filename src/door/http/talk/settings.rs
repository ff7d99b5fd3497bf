//! `[talk]`: the page that makes a browser a device.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tickets::LONGEST;
use crate::domain::{Problem, Span};

/// Longest visit.
const LONGEST_VISIT: Duration = Duration::from_hours(30 * 24);

/// The page that makes a browser a device, `/talk` at the address of `[devices]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Serves it. Nobody talks without a ticket of `voxgate device talk`. Default: `true`.
    pub enabled: bool,
    /// How long a ticket waits for its browser, unless `--for` says otherwise; at most a day. Default: "10m".
    pub ticket: Span,
    /// Tickets that wait at once. Default: 32.
    pub tickets: usize,
    /// How long a browser that came in with a ticket may come back without a new one: after its connection broke, or when
    /// the page is loaded again. Another password of the device, or its removal, ends that at once. At most 30 days.
    /// Default: "12h".
    pub visit: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self { enabled: true, ticket: Span::secs(600), tickets: 32, visit: Span::secs(12 * 3_600) }
    }
}

impl Settings {
    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, value, most, usual) in
            [("ticket", self.ticket, LONGEST, "10m"), ("visit", self.visit, LONGEST_VISIT, "12h")]
        {
            if value.0.is_zero() || value.0 > most {
                let what = format!("is no time, or more than {}", Span(most));
                problems.push(Problem::new(format!("{path}.{key}"), what, format!("leave it out: {usual}")));
            }
        }
        if self.tickets == 0 || self.tickets > 10_000 {
            let (what, remedy) = (format!("{} is not in 1 to 10000", self.tickets), "leave it out: 32");
            problems.push(Problem::new(format!("{path}.tickets"), what, remedy));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_with_its_key() {
        let settings = Settings { ticket: Span::secs(90_000), tickets: 0, visit: Span::secs(0), ..Settings::default() };
        let keys: Vec<String> = settings.check("talk").into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["talk.ticket", "talk.visit", "talk.tickets"]);
        assert_eq!(Settings::default().check("talk"), []);
    }
}
