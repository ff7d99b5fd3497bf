//! A load tool for MQTT brokers: lean clients on raw sockets, so that the broker is what is measured.
//!
//! It speaks as much of 3.1.1 as a load needs, with a packet writer of its own (`rumqttc` costs more than many a
//! broker), counts every message by its number, and knows no broker: `voxgate bench mqtt` points it at two.

mod client;
mod crowd;
mod packets;
mod publish;
mod scenes;
mod subscribe;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

pub use client::Client;
pub use crowd::{Crowd, Returned, connect_rate, crowd, herd};
pub use scenes::{Outcome, Publishing, Subscribing, flood, paced};
pub use tls::Trust;

/// Who connects.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Client id, and user name where there is a password.
    pub id: String,
    /// None: anonymous.
    pub password: Option<String>,
}

impl Login {
    /// A client without an account.
    pub fn anonymous(id: impl Into<String>) -> Self {
        Self { id: id.into(), password: None }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id)
    }
}

/// What is published: 120 bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A native audio packet; what follows its head is the time of its sending.
    Audio,
    /// A native heartbeat, numbered.
    Heartbeat,
}

/// Why a load could not be put on a broker.
#[derive(Debug, thiserror::Error)]
pub enum FloodError {
    /// A socket.
    #[error("{0} at {1}")]
    Io(std::io::Error, SocketAddr),
    /// CONNACK with an error, or something else in its place.
    #[error("the broker at {1} refused a connection with code {0}")]
    Refused(u8, SocketAddr),
    /// SUBACK with an error, or something else in its place.
    #[error("the broker refused the subscription to {0}")]
    Subscription(String),
    /// What cannot be MQTT.
    #[error("the broker sent something that is no packet")]
    Garbage,
    /// The broker closed a connection that had to stay.
    #[error("the broker closed a connection")]
    Closed,
    /// Nothing came in time.
    #[error("the broker did not {0} within {1:?}")]
    Silence(&'static str, Duration),
    /// The certificate that a broker shall show.
    #[error("the certificate authority cannot be used: {0}")]
    Trust(String),
    /// A task of the tool died.
    #[error("the load tool failed: {0}")]
    Tool(String),
}
