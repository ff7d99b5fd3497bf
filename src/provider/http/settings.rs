//! `[http_client]`: how the client connects.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::{Problem, Span};

/// How Voxgate's own HTTP client connects (`[http_client]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How long a connection, TLS included, may take to open. Default "5s".
    pub connect_timeout: Span,
    /// How long an unused connection is kept open. Default "90s".
    pub idle_timeout: Span,
    /// PEM files with certificate authorities to trust beside the public ones; the file that the
    /// environment variable SSL_CERT_FILE names is read too. Default none.
    pub ca_files: Vec<PathBuf>,
    /// HTTP/2 is spoken where a service offers it: one connection carries all requests to it. Default true.
    pub http2: bool,
    /// The services of a turn get a connection when somebody begins to speak, where none was used lately: the first request
    /// of the turn does not wait for it. Default true.
    pub warm: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let (connect_timeout, idle_timeout) = (Span::secs(5), Span::secs(90));
        Self { connect_timeout, idle_timeout, ca_files: Vec::new(), http2: true, warm: true }
    }
}

impl Settings {
    /// All that is wrong with it.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.connect_timeout.0.is_zero() {
            problems.push(Problem::new(
                format!("{path}.connect_timeout"),
                "no connection opens in no time",
                "write \"5s\" or leave it out",
            ));
        }
        for file in &self.ca_files {
            if !file.is_file() {
                problems.push(Problem::new(
                    format!("{path}.ca_files"),
                    format!("there is no file {}", file.display()),
                    "name a PEM file with certificates",
                ));
            }
        }
        problems
    }
}
