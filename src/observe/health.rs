//! Health: the parts of the gateway, how each of them is, and what mends it.
//!
//! The app implements [`Health`]; the HTTP door, the command line and systemd's status line read it.

use serde::{Deserialize, Serialize};

/// How a part of the gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It works.
    Ready,
    /// It works, but worse than it should.
    Degraded,
    /// It does not work.
    Missing,
}

impl State {
    /// The word in JSON, tables and labels.
    pub fn name(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Degraded => "degraded",
            State::Missing => "missing",
        }
    }
}

/// One part of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// `mqtt`, `store`, `transcribe`, `chat`, `speak`, …
    pub name: String,
    /// How it is.
    pub state: State,
    /// The gateway is not ready without it.
    pub required: bool,
    /// What is the matter (or what runs), lowercase, no full stop.
    pub detail: String,
    /// The command or the setting that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Component {
    /// A part that works.
    pub fn ready(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ready, required: true, detail: detail.into(), remedy: None }
    }

    /// A part that works, but worse than it should.
    pub fn degraded(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Degraded, remedy: Some(remedy.into()), ..Self::ready(name, detail) }
    }

    /// A part that does not work.
    pub fn missing(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Missing, remedy: Some(remedy.into()), ..Self::ready(name, detail) }
    }

    /// The gateway is ready also without it.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }
}

/// Says how the gateway is. Asked often: it must not wait for anything.
pub trait Health: Send + Sync {
    /// Every part, in a stable order.
    fn report(&self) -> Vec<Component>;

    /// `Err` says why the process should be restarted; a missing part is no reason.
    fn alive(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The sum of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The worst state that counts: a missing optional part only degrades.
    pub status: State,
    /// The parts.
    pub components: Vec<Component>,
}

impl Verdict {
    /// Sums a report up.
    pub fn of(components: Vec<Component>) -> Self {
        let missing = components.iter().any(|c| c.required && c.state == State::Missing);
        let ready = components.iter().all(|c| c.state == State::Ready);
        let status = match (missing, ready) {
            (true, _) => State::Missing,
            (false, true) => State::Ready,
            (false, false) => State::Degraded,
        };
        Self { status, components }
    }

    /// Devices can be served.
    pub fn is_ready(&self) -> bool {
        self.status != State::Missing
    }

    /// One line for `systemctl status`: what is wrong, or that all is well.
    pub fn line(&self) -> String {
        let wrong: Vec<String> = self
            .components
            .iter()
            .filter(|c| c.state != State::Ready)
            .map(|c| format!("{} {}: {}", c.name, c.state.name(), c.detail))
            .collect();
        if wrong.is_empty() { "ready".to_owned() } else { wrong.join("; ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_part_that_is_required_makes_the_gateway_unready() {
        let speak = Component::missing("speak", "no voice is installed", "voxgate models pull");
        let verdict = Verdict::of(vec![Component::ready("mqtt", "listens"), speak.clone()]);
        assert!(!verdict.is_ready());
        assert_eq!(verdict.line(), "speak missing: no voice is installed");

        let verdict = Verdict::of(vec![Component::ready("mqtt", "listens"), speak.optional()]);
        assert!(verdict.is_ready());
        assert_eq!(verdict.status, State::Degraded);
    }

    #[test]
    fn all_ready_is_ready() {
        let verdict = Verdict::of(vec![Component::ready("mqtt", "listens")]);
        assert_eq!((verdict.status, verdict.line().as_str()), (State::Ready, "ready"));
    }
}
