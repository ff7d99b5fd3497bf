//! The door for datagrams: audio of devices that speak MQTT and send their voice beside it, as stock xiaozhi firmware does.
//!
//! One socket for all devices. [`Channels`] opens a channel when delivery answers a hello, and sends what is spoken;
//! [`Door::run`] reads what arrives and hands it to the [`Ingress`] with the identity that the hello's connection proved.
//! Nothing authenticates a datagram, so `channel` and `window` hold the rules for what counts; `docs/security.md` says what
//! remains possible. It must not know sessions, nor what is said.
//!
//! In the order in which a datagram travels: `socket`, `channels` (whose), `channel` and `window` (does it count), and back:
//! `channels`, `channel` (number and key), `outbox` (what the socket does not take at once).

mod channel;
mod channels;
mod metrics;
mod outbox;
mod quiet;
mod settings;
mod socket;
mod window;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub use channels::Channels;
pub use metrics::Metrics;
pub use settings::{Network, Public, Settings};

use crate::domain::{Arrivals, Clock, Ingress};
use quiet::Quiet;
use socket::{Inbox, Socket};

/// Waits so long after an error of the socket that is no peer's.
const RECOVER: Duration = Duration::from_millis(50);

/// What the door is made of besides its settings.
#[derive(Clone)]
pub struct Parts {
    /// Time: of arrival, and of silence.
    pub clock: Arc<dyn Clock>,
    /// Numbers of messages, one count for all doors.
    pub arrivals: Arrivals,
    /// Where keys and names of channels come from: not to be guessed.
    pub random: Arc<dyn Fn() -> u128 + Send + Sync>,
    /// Counters.
    pub metrics: Metrics,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}

/// Why the door does not open.
#[derive(Debug, thiserror::Error)]
#[error("udp cannot listen on {address}: {source}; change udp.listen, or stop what listens there")]
pub struct UdpError {
    /// Which.
    pub address: SocketAddr,
    /// Why.
    pub source: std::io::Error,
}

/// A bound socket that nobody reads yet.
#[derive(Debug)]
pub struct Door {
    socket: Arc<Socket>,
    channels: Arc<Channels>,
    sweep: Duration,
}

impl Door {
    /// Binds the socket, inside a runtime. Channels can be opened and written to from now on; what devices send waits in
    /// the socket until [`Door::run`].
    pub fn bind(settings: Settings, parts: Parts) -> Result<Self, UdpError> {
        let address = settings.listen;
        let socket = Socket::bind(address, settings.receive_buffer.len());
        let socket = Arc::new(socket.map_err(|source| UdpError { address, source })?);
        let sweep = channels::sweep_every(settings.idle.0);
        let channels = Arc::new(Channels::new(settings, parts, Arc::clone(&socket)));
        Ok(Self { socket, channels, sweep })
    }

    /// Where it listens, with the port that was taken for 0.
    pub fn address(&self) -> SocketAddr {
        self.socket.address()
    }

    /// What delivery opens channels with. They outlive the door, but nothing more arrives and what waits stays.
    pub fn channels(&self) -> Arc<Channels> {
        Arc::clone(&self.channels)
    }

    /// Hands what arrives to `ingress`, sends what waits and ends what is idle, until `stop`; then all channels end. No
    /// error of the socket ends it.
    pub async fn run(self, ingress: Arc<dyn Ingress>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.read(&*ingress) => {}
            () = self.channels.outbox().run() => {}
        }
        self.channels.end_all();
    }

    async fn read(&self, ingress: &dyn Ingress) {
        let (mut inbox, mut packets, quiet) = (Inbox::new(), Vec::new(), Quiet::default());
        let mut sweep = tokio::time::interval(self.sweep);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let read = tokio::select! {
                _ = sweep.tick() => {
                    self.channels.sweep();
                    continue;
                }
                read = self.socket.read(&mut inbox) => read,
            };
            match read {
                Ok(()) => {
                    for (route, datagram) in inbox.datagrams() {
                        self.channels.receive(datagram, route, ingress, &mut packets);
                    }
                }
                Err(error) => {
                    if let Some(unsaid) = quiet.may_say(self.channels.now()) {
                        tracing::warn!(%error, unsaid, "datagrams cannot be read");
                    }
                    tokio::time::sleep(RECOVER).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
