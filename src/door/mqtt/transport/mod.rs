//! What carries MQTT's bytes: plain TCP, TLS, WebSocket, WebSocket over TLS.
//!
//! Each is opened within the time that CONNECT has too, in the connection's own task, and is a [`Transport`] from then
//! on. It must not know MQTT.

mod certificate;
mod settings;
pub(super) mod tls;
mod websocket;
mod whole;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::Instant;

pub use settings::{ClientCertificates, TlsSettings, TlsVersion, WebSocketSettings, WebSocketTlsSettings};
pub use tls::{TlsError, check_files};

use super::gate::Gate;
use super::socket::Transport;
use crate::door::credentials::PeerCertificate;

/// A kind of listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listener {
    /// Plain MQTT.
    Tcp,
    /// MQTT over TLS.
    Tls,
    /// MQTT over WebSocket.
    WebSocket,
    /// MQTT over WebSocket over TLS.
    WebSocketTls,
}

impl Listener {
    /// All of them.
    pub const ALL: [Listener; 4] = [Listener::Tcp, Listener::Tls, Listener::WebSocket, Listener::WebSocketTls];

    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Listener::Tcp => "tcp",
            Listener::Tls => "tls",
            Listener::WebSocket => "ws",
            Listener::WebSocketTls => "wss",
        }
    }

    /// The name that operators see.
    pub fn name(self) -> &'static str {
        match self {
            Listener::Tcp => "mqtt",
            Listener::Tls => "mqtts",
            Listener::WebSocket => "mqtt-ws",
            Listener::WebSocketTls => "mqtt-wss",
        }
    }

    /// Is it encrypted.
    pub fn secure(self) -> bool {
        matches!(self, Listener::Tls | Listener::WebSocketTls)
    }
}

/// A connection that has arrived, and what is known of it before CONNECT.
#[derive(Debug)]
pub(super) struct Arrival {
    pub listener: Listener,
    pub peer: SocketAddr,
    /// The address of ours that it reached.
    pub local: Option<IpAddr>,
    /// By when it must have said who it is.
    pub deadline: Instant,
    /// Proven by TLS.
    pub certificate: Option<PeerCertificate>,
}

/// Everything but plain TCP: one virtual call a read is nothing beside a cipher, and the connection's code is there once.
pub(super) type Wrapped = Box<dyn Transport>;

impl Transport for Wrapped {
    fn keep_little_unsent(&self) {
        (**self).keep_little_unsent();
    }
}

/// Does the handshakes that stand before MQTT. The error is a label of [`super::metrics::RESULTS`].
pub(super) async fn open(gate: &Arc<Gate>, stream: TcpStream, arrival: &mut Arrival) -> Result<Wrapped, &'static str> {
    let deadline = arrival.deadline;
    if !arrival.listener.secure() {
        return Ok(Box::new(websocket::accept(gate, stream, arrival, deadline).await?));
    }
    let tls = gate.tls.as_ref().ok_or("tls_failed")?;
    let (stream, certificate) = tls.accept(stream, deadline).await?;
    arrival.certificate = certificate;
    match arrival.listener {
        Listener::WebSocketTls => Ok(Box::new(websocket::accept(gate, stream, arrival, deadline).await?)),
        _ => Ok(Box::new(stream)),
    }
}
