//! Connections to a Wyoming service: opened with patience, used again where the service leaves them open.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::Framed;

use crate::domain::Span;
use crate::provider::http::Patience;
use crate::provider::warm::{Opened, Opens};
use crate::provider::{ErrorKind, ProviderError};
use crate::wire::wyoming::{Decoder, Event, WyomingError};

/// Idle connections that are kept.
const KEPT: usize = 4;
/// An idle connection older than this is not tried again.
const FRESH: Duration = Duration::from_secs(30);
/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(3);

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `host:port`.
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `tcp://host:port`, `unix:///path` and `host:port`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(format!("{text:?} has no absolute path"))
            };
        }
        let place = text.strip_prefix("tcp://").unwrap_or(text).trim_end_matches('/');
        let port = place.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(port)) if port > 0 && !place.contains("//") => Ok(Self::Tcp(place.to_owned())),
            _ => Err(format!("{text:?} is no host with a port")),
        }
    }
}

/// What a connection runs over.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A service's name, place, and idle connections.
pub struct Peer {
    name: String,
    address: Address,
    patience: Patience,
    idle: Mutex<Vec<(Wire, Instant)>>,
}

type Wire = Framed<Box<dyn Socket>, Decoder>;

/// One request and its answer.
pub struct Exchange {
    wire: Wire,
    /// It was opened for this request; else it may have been closed by the other side meanwhile.
    new: bool,
    first: bool,
    deadline: Instant,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("name", &self.name).field("address", &self.address).finish_non_exhaustive()
    }
}

impl Peer {
    /// A service; nothing is opened yet.
    pub fn new(name: impl Into<String>, address: Address, patience: Patience) -> Self {
        Self { name: name.into(), address, patience, idle: Mutex::new(Vec::new()) }
    }

    /// A failure of this service.
    pub fn error(&self, kind: ErrorKind, message: impl Into<String>) -> ProviderError {
        ProviderError::new(kind, self.name.as_str(), message)
    }

    /// Sends a request and waits for its first answer; a connection that the service has closed meanwhile is
    /// replaced, once.
    pub async fn ask(&self, request: &[Event]) -> Result<(Exchange, Event), ProviderError> {
        let deadline = Instant::now() + self.patience.whole;
        if let Some((wire, _)) = self.reuse() {
            let exchange = Exchange { wire, new: false, first: true, deadline };
            match self.attempt(exchange, request).await {
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    tracing::debug!(provider = self.name, "a kept connection was closed, opening another");
                }
                done => return done,
            }
        }
        let wire = self.connect(deadline).await?;
        self.attempt(Exchange { wire, new: true, first: true, deadline }, request).await
    }

    async fn attempt(&self, mut exchange: Exchange, request: &[Event]) -> Result<(Exchange, Event), ProviderError> {
        let send = async {
            for event in request {
                exchange.wire.feed(event.clone()).await?;
            }
            exchange.wire.flush().await
        };
        match timeout_at(exchange.deadline, send).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.broken(&error)),
            Err(_) => return Err(self.late("taken request", self.patience.whole)),
        }
        let event = self.hear(&mut exchange).await?;
        Ok((exchange, event))
    }

    /// The next event of an answer. An `error` event is an error.
    pub async fn hear(&self, exchange: &mut Exchange) -> Result<Event, ProviderError> {
        let (what, limit) =
            if exchange.first { ("answer", self.patience.first_byte) } else { ("next piece", self.patience.between) };
        let until = exchange.deadline.min(Instant::now() + limit);
        let event = match timeout_at(until, exchange.wire.next()).await {
            Err(_) => return Err(self.late(what, limit)),
            Ok(None) if exchange.new || !exchange.first => {
                return Err(self.error(ErrorKind::Unavailable, "the service closed the connection"));
            }
            Ok(None) => return Err(self.error(ErrorKind::Unavailable, "a kept connection was closed")),
            Ok(Some(Err(error))) => return Err(self.broken(&error)),
            Ok(Some(Ok(event))) => event,
        };
        exchange.first = false;
        if event.kind == "error" {
            let text = event.text("text").unwrap_or("the service failed");
            return Err(self.error(kind_of(event.text("code")), text));
        }
        Ok(event)
    }

    /// The answer is whole: the connection may serve again.
    pub fn keep(&self, exchange: Exchange) {
        self.put_back(exchange.wire, Instant::now());
    }

    /// `since` is when it was used last.
    fn put_back(&self, wire: Wire, since: Instant) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push((wire, since));
        }
    }

    fn reuse(&self) -> Option<(Wire, Instant)> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < FRESH);
        idle.pop()
    }

    async fn connect(&self, deadline: Instant) -> Result<Wire, ProviderError> {
        let open = async {
            Ok::<Box<dyn Socket>, std::io::Error>(match &self.address {
                Address::Tcp(place) => {
                    let socket = TcpStream::connect(place).await?;
                    socket.set_nodelay(true)?;
                    Box::new(socket)
                }
                Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
            })
        };
        match timeout_at(deadline.min(Instant::now() + CONNECT), open).await {
            Err(_) => Err(self.late("connection", CONNECT)),
            Ok(Err(error)) => Err(self.error(ErrorKind::Unavailable, format!("nobody answers: {error}"))),
            Ok(Ok(socket)) => Ok(Framed::new(socket, Decoder::default())),
        }
    }

    fn late(&self, what: &str, limit: Duration) -> ProviderError {
        self.error(ErrorKind::Timeout, format!("no {what} within {}", Span(limit)))
    }

    fn broken(&self, error: &WyomingError) -> ProviderError {
        let kind = match error {
            WyomingError::Io(_) | WyomingError::Cut => ErrorKind::Unavailable,
            WyomingError::Malformed(_) | WyomingError::TooLong { .. } => ErrorKind::BadAnswer,
        };
        self.error(kind, error.to_string())
    }
}

#[async_trait]
impl Opens for Peer {
    async fn open(&self) -> Opened {
        if let Some((wire, since)) = self.reuse() {
            self.put_back(wire, since);
            return Opened::Already;
        }
        match self.connect(Instant::now() + CONNECT).await {
            Ok(wire) => {
                self.put_back(wire, Instant::now());
                Opened::Now
            }
            Err(_) => Opened::Failed,
        }
    }
}

/// Codes of Voxgate's engine; other services have none.
fn kind_of(code: Option<&str>) -> ErrorKind {
    match code {
        Some("model_missing" | "off") => ErrorKind::NotConfigured,
        Some("busy") => ErrorKind::RateLimited,
        Some("invalid_request") => ErrorKind::BadRequest,
        Some("stopping") => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_a_port_or_a_path() {
        assert_eq!(Address::parse("tcp://piper.local:10200"), Ok(Address::Tcp("piper.local:10200".into())));
        assert_eq!(Address::parse("[::1]:10300"), Ok(Address::Tcp("[::1]:10300".into())));
        assert_eq!(Address::parse("unix:///run/a.sock"), Ok(Address::Unix("/run/a.sock".into())));
        for bad in ["", "piper", "tcp://piper", "http://piper:1", "unix://a", ":10300", "a:0", "a:99999"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
