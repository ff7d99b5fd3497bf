//! Connections: how many, of whom, over what, and for how long.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::Extension;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::super::Routes;
use super::Door;
use crate::door::enrolment::network;

/// How long running answers may take after the stop signal.
const GRACE: Duration = Duration::from_secs(2);
/// Most lines of a request's head.
const HEADERS: usize = 64;

/// Whose connection it is; an extension of each request.
#[derive(Debug, Clone)]
pub struct Peer {
    address: SocketAddr,
    local: Option<IpAddr>,
    stays: Arc<AtomicBool>,
}

impl Peer {
    /// Where it comes from.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of ours that it connected to.
    pub fn local(&self) -> Option<IpAddr> {
        self.local
    }

    /// The answer takes its time: the connection is not ended after three times `devices.limits.timeout`, but after
    /// `devices.firmware.time`. What is upgraded has no such end at all.
    pub fn stay(&self) {
        self.stays.store(true, Ordering::Relaxed);
    }
}

/// Accepts until `stop`.
pub(super) async fn run(door: &Arc<Door>, listeners: Vec<TcpListener>, routes: Routes, stop: CancellationToken) {
    let (limits, metrics) = (&door.settings.limits, &door.parts.metrics);
    let own = Own::default();
    let mut connections = JoinSet::new();
    let mut turn = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = accept(&listeners, &mut turn), if connections.len() < limits.connections => match accepted {
                Ok((stream, peer)) => match own.admit(peer.ip(), limits.connections_per_address) {
                    Some(place) => {
                        let serving = serve(Arc::clone(door), stream, peer, routes.clone(), stop.clone());
                        connections.spawn(async move {
                            serving.await;
                            drop(place);
                        });
                        if connections.len() == limits.connections {
                            // the next ones wait in the system's backlog
                            metrics.connect("limit");
                        }
                    }
                    None => metrics.connect("address_limit"),
                },
                Err(error) => rest(door, &error).await,
            },
        }
    }
    drop(listeners);
    let ended = async { while connections.join_next().await.is_some() {} };
    // those that are still at it are dropped with the set
    let _ = timeout(GRACE + GRACE, ended).await;
}

/// The next connection of any of them; `turn` is who is asked first, so that none is kept waiting by another.
async fn accept(listeners: &[TcpListener], turn: &mut usize) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|context| {
        let count = listeners.len();
        for at in 0..count {
            let at = (*turn + at) % count;
            if let Poll::Ready(accepted) = listeners[at].poll_accept(context) {
                *turn = (at + 1) % count;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// Descriptors may be exhausted: accepting again at once would spin.
async fn rest(door: &Door, error: &io::Error) {
    door.parts.metrics.connect("accept_error");
    if let Some(unsaid) = door.quiet.may_log() {
        tracing::warn!(%error, unsaid, "the devices' http cannot accept");
    }
    sleep(Duration::from_millis(100)).await;
}

/// One connection, whatever carries it.
async fn serve(door: Arc<Door>, stream: TcpStream, address: SocketAddr, routes: Routes, stop: CancellationToken) {
    let metrics = &door.parts.metrics;
    let local = stream.local_addr().ok().map(|local| local.ip().to_canonical());
    let peer = Peer { address, local, stays: Arc::default() };
    metrics.open.inc();
    match &door.parts.certificate {
        None => {
            metrics.connect("ok");
            talk(&door, stream, peer, routes, &stop).await;
        }
        Some(certificate) => {
            let deadline = Instant::now() + door.settings.limits.timeout.0;
            let shaken = tokio::select! {
                shaken = Box::pin(certificate.accept(stream, deadline)) => shaken,
                () = stop.cancelled() => Err("stop"),
            };
            match shaken {
                Ok(stream) => {
                    metrics.connect("ok");
                    talk(&door, stream, peer, routes, &stop).await;
                }
                Err(_) => metrics.connect("tls"),
            }
        }
    }
    metrics.open.dec();
}

/// HTTP: one request a connection, as firmware asks for it.
async fn talk<S>(door: &Door, stream: S, peer: Peer, routes: Routes, stop: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &door.settings.limits;
    let routes = routes.layer(map_response(once)).layer(Extension(peer.clone()));
    let service = TowerToHyperService::new(routes);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.timeout.0).max_headers(HEADERS);
    // fewer bytes than these the library does not take
    http.max_buf_size(limits.head.len().max(8 << 10));
    let mut talking = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    // a peer that breaks off, or does not read its answer, is not worth a log line
    for time in [limits.timeout.0 * 3, door.settings.firmware.time.0] {
        tokio::select! {
            _ = talking.as_mut() => return,
            () = stop.cancelled() => {
                talking.as_mut().graceful_shutdown();
                let _ = timeout(GRACE, talking).await;
                return;
            }
            () = sleep(time) => {}
        }
        if !peer.stays.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Each answer is the connection's last, but for one that makes it a WebSocket.
async fn once(mut response: Response) -> Response {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Connections of each address.
#[derive(Debug, Clone, Default)]
struct Own(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Own {
    /// One more, until the answer is dropped.
    fn admit(&self, address: IpAddr, most: usize) -> Option<Place> {
        let network = network(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.entry(network).or_default();
        if *own >= most {
            return None;
        }
        *own += 1;
        Some(Place { all: self.clone(), network })
    }
}

/// A connection that is counted.
struct Place {
    all: Own,
    network: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = counts.get_mut(&self.network) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.remove(&self.network);
            }
        }
    }
}
