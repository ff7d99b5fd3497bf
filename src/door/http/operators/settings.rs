//! The settings of the operators' HTTP door.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::super::control;
use crate::domain::{Problem, Span};

/// Operators' HTTP: `/metrics`, `/-/healthy`, `/-/ready`, which ask for no credentials, and the control API, which does:
/// keep it on loopback, or behind a proxy that asks too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Switches the listener on. Default: `true`.
    pub enabled: bool,
    /// Where it listens; port 0 takes any free one. Default: `127.0.0.1:18792`.
    pub listen: SocketAddr,
    /// Most connections at once; more wait to be accepted. Default: 64.
    #[schemars(range(min = 1, max = 10_000))]
    pub connections: u32,
    /// A request's head must be there, and its answer be made, within this time. Default: `10s`.
    pub timeout: Span,
    /// Speak HTTPS, with the certificate of `[mqtt.tls]`, whose listener (or that of `[mqtt.websocket_tls]`) must be on.
    /// Default: `false`.
    pub tls: bool,
    /// The control API.
    pub api: control::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 18_792)),
            connections: 64,
            timeout: Span::secs(10),
            tls: false,
            api: control::Settings::default(),
        }
    }
}

impl Settings {
    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = self.api.check(&format!("{path}.api"), self.listen);
        if self.timeout.0.is_zero() {
            problems.push(Problem::new(format!("{path}.timeout"), "is no time at all", "write a time, as in \"10s\""));
        }
        problems
    }
}
