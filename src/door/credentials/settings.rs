//! `[mqtt.credentials]` and `[mqtt.certificates]`: what wrong passwords cost, and whose certificate is whose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Problem, Span};

/// What wrong passwords cost, and what checking chosen ones may cost the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Threads that check passwords that people chose; each check takes 19 MiB and tens of milliseconds of a core.
    /// Passwords that the gateway made need none (default 1, at most 4).
    pub hash_threads: usize,
    /// Checks that may wait for these threads; beyond it an attempt is refused as "server busy". One address has at
    /// most a quarter of it, addresses that gave wrong passwords together at most half (default 32).
    pub hash_queue: usize,
    /// How long the answer to the first wrong password of an address or for a name is held back; it doubles with
    /// each further one (default "100ms").
    pub delay: Span,
    /// Longest time that an answer is held back (default "5s").
    pub delay_max: Span,
    /// An address or name without a wrong password for so long is as if it never gave one (default "5m").
    pub remember: Span,
    /// Addresses, and names, that are remembered (default 4096 each). IPv6 addresses count by their /64 network.
    pub remembered: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hash_threads: 1,
            hash_queue: 32,
            delay: Span::ms(100),
            delay_max: Span::secs(5),
            remember: Span::secs(300),
            remembered: 4_096,
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
        if !(1..=4).contains(&self.hash_threads) {
            no("hash_threads", "is not in 1 to 4", "leave it out: 1");
        }
        if !(4..=1_024).contains(&self.hash_queue) {
            no("hash_queue", "is not in 4 to 1024", "leave it out: 32");
        }
        if self.delay.0.is_zero() || self.delay > self.delay_max {
            no("delay", "is 0, or longer than delay_max", "leave both out: 100ms and 5s");
        }
        if self.delay_max > Span::secs(60) {
            no("delay_max", "is longer than a minute, in which connections pile up", "leave it out: 5s");
        }
        if self.remembered < 16 {
            no("remembered", "is less than 16", "leave it out: 4096");
        }
        problems
    }
}

/// Which name of a client certificate says who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CertificateName {
    /// The subject's common name.
    #[default]
    Cn,
    /// A subject alternative name: dns, uri or email.
    San,
}

/// Whose client certificate is whose. The certificate's chain is verified by the TLS listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CertificateSettings {
    /// Which name of the certificate is the device's or operator's name: "cn" or "san" (default "cn"). It must be
    /// exactly the name of a device or operator that is known here; a certificate alone makes nobody.
    pub identity: CertificateName,
    /// A client with a certificate must give its password too (default false).
    pub require_password: bool,
}
