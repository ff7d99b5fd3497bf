//! `[http.api]`: the control API, and who may use how much of it.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{ByteSize, Problem, Span};

/// Whether requests that change something are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// A token is enough.
    #[default]
    Off,
    /// Every request is signed, and no token is taken: no secret travels.
    Required,
}

/// The control API under `/v1/`: devices, their operations, the state of the gateway. It has the paths and shapes of
/// OpenCane's. Who asks is an operator; the token is `NAME.SECRET`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Serves it (default true).
    pub enabled: bool,
    /// Asks for a token (default true). Without, everybody who reaches the port is an administrator: on loopback only.
    pub auth: bool,
    /// A request's body must be there, and its answer be made, within this time (default "20s").
    pub timeout: Span,
    /// Largest body of a request (default "12MB").
    pub body: ByteSize,
    /// Bodies that are being read, all together (default "64MB"); a request that finds no room is told to come again.
    pub bodies: ByteSize,
    /// Requests a minute of one operator, and as many at once (default 720).
    pub requests_per_minute: u32,
    /// Requests a minute of one address that does not prove who it is, an IPv6 network of 64 bits counting as one, and
    /// as many at once (default 60). An operator whose password a person chose counts here too, until it is checked.
    pub strangers_per_minute: u32,
    /// Addresses, and operators, that are counted at once (default 4096).
    pub counted: usize,
    /// Requests that change something carry a nonce and a timestamp, and count once (default false).
    pub nonces: bool,
    /// How far a timestamp may be from the gateway's clock, either way; 10 s at least (default "5m").
    pub nonce_window: Span,
    /// Nonces that are remembered (default 20000). When there is no room for another, requests are told to come again.
    pub nonces_remembered: usize,
    /// "off", or "required": each request carries a signature over its method, path, body and nonce, made with the key
    /// that `voxgate operator signing-key` tells (default "off").
    pub signature: Signature,
    /// How often the state of the gateway is noted for its history (default "30s").
    pub sample_every: Span,
    /// Notes that are kept (default 4000).
    pub samples: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            auth: true,
            timeout: Span::secs(20),
            body: ByteSize::mb(12),
            bodies: ByteSize::mb(64),
            requests_per_minute: 720,
            strangers_per_minute: 60,
            counted: 4_096,
            nonces: false,
            nonce_window: Span::secs(300),
            nonces_remembered: 20_000,
            signature: Signature::Off,
            sample_every: Span::secs(30),
            samples: 4_000,
        }
    }
}

impl Settings {
    /// A nonce is asked for.
    pub(super) fn wants_nonces(&self) -> bool {
        self.nonces || self.signature == Signature::Required
    }

    /// What is wrong with them, where they listen on `listen`.
    pub fn check(&self, path: &str, listen: SocketAddr) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, what: &str, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if self.enabled && !self.auth && !listen.ip().is_loopback() {
            wrong(
                "auth",
                "is off while the listener is not on loopback: everybody could do everything",
                "switch it on, or listen on 127.0.0.1",
            );
        }
        if self.timeout.0.is_zero() {
            wrong("timeout", "is no time at all", "write a time, as in \"20s\"");
        }
        if self.body.0 < 1 << 10 || self.body.0 > 64 << 20 {
            wrong("body", "is less than 1KB or more than 64MB", "write a size between, as in \"12MB\"");
        }
        if self.bodies < self.body {
            wrong("bodies", "is less than one body may have", "write as much as `body`, or more");
        }
        if self.nonce_window.0.as_secs() < 10 || self.nonce_window.0.as_secs() > 3_600 {
            wrong("nonce_window", "is less than 10 s or more than an hour", "write a time between, as in \"5m\"");
        }
        if self.sample_every.0.as_secs() < 1 {
            wrong("sample_every", "is less than a second", "write a time, as in \"30s\"");
        }
        for (key, value) in [
            ("requests_per_minute", self.requests_per_minute as usize),
            ("strangers_per_minute", self.strangers_per_minute as usize),
            ("counted", self.counted),
            ("nonces_remembered", self.nonces_remembered),
            ("samples", self.samples),
        ] {
            if !(1..=1_000_000).contains(&value) {
                wrong(key, "is none, or more than a million", "write a number from 1 to 1000000");
            }
        }
        problems
    }
}
