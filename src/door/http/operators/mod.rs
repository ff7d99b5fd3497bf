//! The operators' HTTP door: metrics, health, and the control API.
//!
//! It knows a registry, a [`Health`] and the routes of an [`Api`]; it knows nothing of sessions, devices or stores.
//! Connections, the time for a request's head and the time for an answer are bounded.

mod routes;
mod settings;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Routes;
use super::control::{Api, Peer};
use crate::door::mqtt::Certificate;
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
    /// The control API; none when it is switched off.
    pub api: Option<Arc<Api>>,
    /// What it shows when it speaks HTTPS; none: it does not.
    pub certificate: Option<Certificate>,
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
        self.say_who_hears(&parts);
        let most = usize::try_from(self.settings.connections).unwrap_or(usize::MAX);
        let patience = parts.api.as_ref().map_or(Duration::ZERO, |api| api.patience());
        let certificate = parts.certificate.clone();
        let routes = routes::router(parts, self.settings.timeout.0);
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept(), if connections.len() < most => match accepted {
                    Ok((stream, peer)) => {
                        let routes = routes.clone().layer(Extension(Peer(peer)));
                        let serving = serve(self.settings.timeout.0, certificate.clone(), stream, routes, graceful.watcher());
                        let limit = (self.settings.timeout.0 * 2).max(patience);
                        connections.spawn(async move { timeout(limit, serving).await.is_ok() });
                    }
                    Err(error) => rest(&error).await,
                },
            }
        }
        // those that are still at it are dropped with the set
        let _ = timeout(GRACE, graceful.shutdown()).await;
    }

    /// What travels in clear where others may listen is said, once, where the operator looks.
    fn say_who_hears(&self, parts: &Parts) {
        let Some(api) = &parts.api else { return };
        if api.is_open() {
            tracing::warn!(listen = %self.address, "the control api asks for no token (http.api.auth = false): everybody on this machine is an administrator");
        }
        if parts.certificate.is_none() && !self.address.ip().is_loopback() {
            tracing::warn!(listen = %self.address, "the control api is not on loopback and speaks no tls: tokens of operators travel in clear; set http.tls, listen on 127.0.0.1, or set http.api.signature to required");
        }
    }
}

/// One connection, in clear or not. A peer that breaks off, or does not read its answer, is not worth a log line.
async fn serve(limit: Duration, certificate: Option<Certificate>, stream: TcpStream, routes: Routes, watcher: Watcher) {
    match certificate {
        None => talk(limit, stream, routes, watcher).await,
        Some(certificate) => {
            if let Ok(stream) = Box::pin(certificate.accept(stream, Instant::now() + limit)).await {
                talk(limit, stream, routes, watcher).await;
            }
        }
    }
}

async fn talk<S>(limit: Duration, stream: S, routes: Routes, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    // keep-alive off: a scrape each 15 s is cheaper than a slot that idles
    http.timer(TokioTimer::new()).header_read_timeout(limit).keep_alive(false).max_headers(64);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let _ = watcher.watch(connection).await;
}

/// Descriptors may be exhausted: accepting again at once would spin.
async fn rest(error: &io::Error) {
    tracing::warn!(%error, "http cannot accept");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
