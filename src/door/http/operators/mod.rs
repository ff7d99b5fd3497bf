//! The operators' HTTP door: metrics and health.
//!
//! It knows a registry and a [`Health`]; it knows nothing of sessions, devices or stores. Connections, the time
//! for a request's head and the time for an answer are bounded; bodies are not read at all.

mod routes;
mod settings;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::observe::Health;

pub use settings::Settings;

/// How long running answers may take after the stop signal.
const GRACE: Duration = Duration::from_secs(2);

/// Why the door could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("http cannot listen on {address}: {source}; change http.listen, or stop what listens there")]
pub struct HttpError {
    address: SocketAddr,
    source: io::Error,
}

/// What the door shows.
#[derive(Clone)]
pub struct Parts {
    /// Every metric of the process.
    pub registry: Arc<Registry>,
    /// How the gateway is.
    pub health: Arc<dyn Health>,
}

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    settings: Settings,
}

impl Server {
    /// Binds the listener; nothing is answered before [`Server::run`].
    pub async fn bind(settings: &Settings) -> Result<Self, HttpError> {
        let failed = |source| HttpError { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, settings: settings.clone() })
    }

    /// Where it listens, the port that was taken for 0 included.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`, then lets running answers end within two seconds.
    pub async fn run(self, parts: Parts, stop: CancellationToken) {
        let service = TowerToHyperService::new(routes::router(parts, self.settings.timeout.0));
        let most = usize::try_from(self.settings.connections).unwrap_or(usize::MAX);
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut http = http1::Builder::new();
        // keep-alive off: a scrape each 15 s is cheaper than a slot that idles
        http.timer(TokioTimer::new()).header_read_timeout(self.settings.timeout.0).keep_alive(false).max_headers(64);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept(), if connections.len() < most => match accepted {
                    Ok((stream, _)) => {
                        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
                        let connection = graceful.watch(connection);
                        let limit = self.settings.timeout.0 * 2;
                        // a peer that breaks off, or does not read its answer, is not worth a log line
                        connections.spawn(async move { tokio::time::timeout(limit, connection).await.is_ok() });
                    }
                    Err(error) => rest(&error).await,
                },
            }
        }
        // those that are still at it are dropped with the set
        let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    }
}

/// Descriptors may be exhausted: accepting again at once would spin.
async fn rest(error: &io::Error) {
    tracing::warn!(%error, "http cannot accept");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
