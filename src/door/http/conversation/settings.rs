//! `[websocket]`: the devices' WebSocket.

use serde::{Deserialize, Serialize};

use crate::domain::{ByteSize, Problem, Span};

/// The devices' WebSocket, `/xiaozhi/v1/` at the addresses of `[devices]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Switches it on. Default: `true`.
    pub enabled: bool,
    /// Lets OpenCane's devices in too, at `/`, `/ws` and `/opencane`; `devices.also` gives them the port that they know, 18791.
    /// Default: `false`.
    pub opencane: bool,
    /// Most conversations at once; one more is refused with 503. Default: 2000.
    pub connections: usize,
    /// A connection that has not said hello by then is closed. Default: "10s".
    pub hello: Span,
    /// How often a connection that says nothing is asked whether it is there; the third time it is closed. Default: "20s".
    pub ping: Span,
    /// A device that takes nothing of what is sent for so long is closed. Default: "5s".
    pub stuck: Span,
    /// Texts and frames a second that a device may send, on average over two seconds; one that sends more is closed.
    /// Default: 200.
    pub messages_per_second: u32,
    /// Messages that wait for a device that reads slowly: then speech is refused, and a text closes the connection.
    /// Default: 256.
    pub queue_packets: usize,
    /// The same in bytes. Default: "256KB".
    pub queue_bytes: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            opencane: false,
            connections: 2_000,
            hello: Span::secs(10),
            ping: Span::secs(20),
            stuck: Span::secs(5),
            messages_per_second: 200,
            queue_packets: 256,
            queue_bytes: ByteSize::kb(256),
        }
    }
}

impl Settings {
    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, value) in [("hello", self.hello), ("ping", self.ping), ("stuck", self.stuck)] {
            if value.0.is_zero() {
                let remedy = "write a time, as in \"10s\"";
                problems.push(Problem::new(format!("{path}.{key}"), "is no time at all", remedy));
            }
        }
        let least = [
            ("connections", self.connections, 1),
            ("messages_per_second", self.messages_per_second as usize, 60),
            ("queue_packets", self.queue_packets, 64),
            ("queue_bytes", self.queue_bytes.len(), 64 << 10),
        ];
        for (key, value, least) in least {
            if value < least {
                let what = format!("{value} is too little for one conversation");
                problems.push(Problem::new(format!("{path}.{key}"), what, format!("use {least} or more")));
            }
        }
        problems
    }
}
