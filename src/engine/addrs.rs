//! Where an engine process listens: what it announces to whoever started it.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The addresses, one line of JSON on the standard output of a spawned engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addrs {
    /// Wyoming.
    pub wyoming: SocketAddr,
    /// OpenAI-compatible HTTP, and `/health`.
    pub http: SocketAddr,
    /// Wyoming on a Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
}
