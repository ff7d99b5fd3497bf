//! `[providers.pool]`: how services share requests, how long one waits, when another is asked, when one is left alone; and
//! what is said of one service (`weight`, `at_once`, `cost`, `for`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::gate::Patience;
use crate::domain::{Problem, Span};
use crate::provider::Urgency;

/// How services of one capability are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Failures in a row after which a service is left alone while others can be asked (default 5).
    pub errors: u32,
    /// A service that failed so often is left alone for so long; then one request tries it (default "5m").
    pub left_alone: Span,
    /// Requests that may wait for one service, where it has a limit (`at_once`). Default 64.
    pub queue: u32,
    /// How long somebody who has spoken waits for a service that is at its limit: when longer is to be expected, or it took
    /// longer, the next service is asked, and where there is none the person is told so. Default "2s".
    pub max_wait: Span,
    /// How long what nobody has just asked for (greetings, phrases that are made ahead, tasks) waits for a service that is
    /// at its limit. Default "60s".
    pub background_wait: Span,
    /// After so long without the first of an answer the next service is asked too, and whoever is first answers; a service
    /// that loses like that has failed. Default "3s".
    pub slow_after: Span,
    /// How often a service is asked again when it failed at once and there is nobody else (0 to 5). Default 1.
    pub retries: u32,
    /// Ask the next service too when the first of an answer takes longer than it does in 95 of 100 cases, and take the one
    /// that is first. It costs a second request each time. Not for speech, which would change its voice. Default true;
    /// without a second service it does nothing.
    pub hedge: bool,
    /// At most so many of 100 requests are asked twice like that (1 to 50). Default 10.
    pub hedge_share: u32,
    /// How often a service that is left alone is looked after, so that it is used again when it is back. Default "30s".
    pub probe_every: Span,
    /// How often weights follow what was measured. Default "60s".
    pub weigh_every: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            errors: 5,
            left_alone: Span::secs(300),
            queue: 64,
            max_wait: Span::secs(2),
            background_wait: Span::secs(60),
            slow_after: Span::secs(3),
            retries: 1,
            hedge: true,
            hedge_share: 10,
            probe_every: Span::secs(30),
            weigh_every: Span::secs(60),
        }
    }
}

impl Settings {
    /// How long a request may wait for a service.
    pub(super) fn patience(&self, urgency: Urgency) -> Patience {
        match urgency {
            Urgency::Turn => Patience { predicted: Some(self.max_wait.0), wait: self.max_wait.0 },
            Urgency::Greeting | Urgency::Background => self.patient(),
        }
    }

    /// How long one waits who has nothing better.
    pub(super) fn patient(&self) -> Patience {
        Patience { predicted: None, wait: self.background_wait.0 }
    }

    /// After how long somebody else is asked too; never where nobody waits for the answer.
    pub(super) fn slow_after(&self, urgency: Urgency) -> Option<Duration> {
        (urgency != Urgency::Background).then_some(self.slow_after.0)
    }

    /// What is wrong with it.
    pub(in crate::provider) fn check(&self, path: &str, problems: &mut Vec<Problem>) {
        let mut add = |key: &str, what: String, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if !(1..=1_000).contains(&self.errors) {
            add("errors", format!("{} failures in a row make no sense", self.errors), "write 1 to 1000");
        }
        if self.left_alone.0.is_zero() {
            let what = "a service that is left alone for no time is never left alone";
            add("left_alone", what.to_owned(), "write a time such as \"5m\"");
        }
        if !(1..=10_000).contains(&self.queue) {
            add("queue", format!("{} places make no queue", self.queue), "write 1 to 10000");
        }
        if self.slow_after.0.is_zero() {
            let what = "every request would be asked of every service";
            add("slow_after", what.to_owned(), "write a time such as \"3s\"");
        }
        if self.retries > 5 {
            add("retries", format!("nobody waits for {} more attempts", self.retries), "write 0 to 5");
        }
        if !(1..=50).contains(&self.hedge_share) {
            let what = format!("{} of 100 is no small share", self.hedge_share);
            add("hedge_share", what, "write 1 to 50, or hedge = false");
        }
        for (key, span) in [("probe_every", self.probe_every), ("weigh_every", self.weigh_every)] {
            if span.0 < Duration::from_secs(1) {
                add(key, format!("{span} is too often"), "write a second or more");
            }
        }
    }
}

/// Which chat requests a service is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Suits {
    /// All.
    #[default]
    All,
    /// Short questions and orders.
    Simple,
    /// Long questions, and those that ask for reasons, comparisons, plans.
    Complex,
}

impl Suits {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Suits::All => "all",
            Suits::Simple => "simple",
            Suits::Complex => "complex",
        }
    }
}

/// What is said of one service in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Terms {
    /// Its share of the requests; none: the order of the file decides.
    pub weight: Option<u32>,
    /// Requests at once; none: as many as there are.
    pub at_once: Option<u32>,
    /// What a request costs, in the operator's own measure.
    pub cost: f64,
    /// Which requests it is for.
    pub suits: Suits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_told_with_its_key() {
        let wrong = Settings {
            errors: 0,
            left_alone: Span::ms(0),
            queue: 0,
            slow_after: Span::ms(0),
            retries: 6,
            hedge_share: 51,
            probe_every: Span::ms(10),
            weigh_every: Span::ms(0),
            ..Settings::default()
        };
        let mut problems = Vec::new();
        wrong.check("p", &mut problems);
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.trim_start_matches("p.")).collect();
        let all =
            ["errors", "left_alone", "queue", "slow_after", "retries", "hedge_share", "probe_every", "weigh_every"];
        assert_eq!(keys, all);
        problems.clear();
        Settings::default().check("p", &mut problems);
        assert!(problems.is_empty());
    }
}
