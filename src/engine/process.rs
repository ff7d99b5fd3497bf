//! The engine process: its listeners, from bind to stop, and how it starts on the machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::engines::Engines;
use super::{Addrs, EngineError, Settings};
use super::{launch, listen};
use crate::domain::Clock;

/// Wyoming connections at a time.
const CONNECTIONS: usize = 256;
/// So long requests that run at a stop may take to end.
const GRACE: Duration = Duration::from_secs(3);

/// The engines with their listeners, not yet serving.
pub struct Engine {
    wyoming: TcpListener,
    unix: Option<UnixListener>,
    http: TcpListener,
    addrs: Addrs,
    engines: Arc<Engines>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

fn refused(addr: impl std::fmt::Display, reason: &std::io::Error) -> EngineError {
    EngineError::Listen { addr: addr.to_string(), reason: reason.to_string() }
}

impl Engine {
    /// Opens the listeners and starts to load the models.
    pub async fn bind(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Result<Self, EngineError> {
        let listen = async |addr: SocketAddr| TcpListener::bind(addr).await.map_err(|e| refused(addr, &e));
        let wyoming = listen(settings.listen_wyoming).await?;
        let http = listen(settings.listen_http).await?;
        let unix = settings.wyoming_socket.as_ref().map(|path| {
            // What a former process left behind; a live one holds the TCP port, so this is not its socket.
            if let Err(error) = std::fs::remove_file(path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(refused(path.display(), &error));
            }
            UnixListener::bind(path).map_err(|e| refused(path.display(), &e))
        });
        let unix = unix.transpose()?;
        let local = |listener: &TcpListener, addr| listener.local_addr().map_err(|e| refused(addr, &e));
        let addrs = Addrs {
            wyoming: local(&wyoming, settings.listen_wyoming)?,
            http: local(&http, settings.listen_http)?,
            socket: settings.wyoming_socket.clone(),
        };
        let engines = Arc::new(Engines::start(settings)?);
        Ok(Self { wyoming, unix, http, addrs, engines, clock, stop })
    }

    /// Where it listens.
    pub fn addrs(&self) -> &Addrs {
        &self.addrs
    }

    /// Serves until the token is cancelled.
    pub async fn run(self) -> Result<(), EngineError> {
        let Self { wyoming, unix, http, addrs, engines, clock, stop } = self;
        tracing::info!(wyoming = %addrs.wyoming, http = %addrs.http, "engine listening");
        let router = listen::http::router(Arc::clone(&engines), clock);
        let stopped = stop.clone().cancelled_owned();
        let mut web = JoinSet::new();
        web.spawn(async move { axum::serve(http, router).with_graceful_shutdown(stopped).await });

        let mut talks = JoinSet::new();
        let mut failure = None;
        loop {
            tokio::select! {
                // The stop first: it ends the http listener too, which is no failure then.
                biased;
                () = stop.cancelled() => break,
                ended = web.join_next() => {
                    failure = Some(EngineError::Failed(format!("the http listener ended: {ended:?}")));
                    break;
                }
                accepted = wyoming.accept(), if talks.len() < CONNECTIONS => match accepted {
                    Ok((socket, _)) => {
                        let _slower = socket.set_nodelay(true);
                        talks.spawn(listen::wyoming::serve(socket, Arc::clone(&engines), stop.clone()));
                    }
                    Err(error) => accept_failed(&error).await,
                },
                accepted = accept(unix.as_ref()), if talks.len() < CONNECTIONS => match accepted {
                    Ok(socket) => {
                        talks.spawn(listen::wyoming::serve(socket, Arc::clone(&engines), stop.clone()));
                    }
                    Err(error) => accept_failed(&error).await,
                },
                Some(_) = talks.join_next() => {}
            }
        }
        stop.cancel();
        let rest = async {
            while talks.join_next().await.is_some() {}
            while web.join_next().await.is_some() {}
        };
        if tokio::time::timeout(GRACE, rest).await.is_err() {
            tracing::warn!("requests were cut off at the stop");
        }
        if let Some(path) = addrs.socket {
            let _gone = std::fs::remove_file(path);
        }
        drop((talks, web));
        if let Some(engines) = Arc::into_inner(engines) {
            let closed = tokio::task::spawn_blocking(move || engines.close());
            if tokio::time::timeout(GRACE, closed).await.is_err() {
                tracing::warn!("an engine did not end in time");
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

async fn accept(listener: Option<&UnixListener>) -> std::io::Result<tokio::net::UnixStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(socket, _)| socket),
        None => std::future::pending().await,
    }
}

/// Out of descriptors, mostly: a moment's rest instead of a busy loop.
async fn accept_failed(error: &std::io::Error) {
    tracing::warn!(%error, "a connection was not accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// The engine process from its settings to its end. A child of the gateway (`child`) announces its addresses in one
/// line on its standard output, and ends when its standard input does.
pub async fn serve(
    settings: &Settings,
    child: bool,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> Result<(), EngineError> {
    let engine = Engine::bind(settings, clock, stop.clone()).await?;
    if !child {
        return engine.run().await;
    }
    let mut line = serde_json::to_string(engine.addrs()).unwrap_or_default();
    line.push('\n');
    let mut out = tokio::io::stdout();
    let told = async {
        out.write_all(line.as_bytes()).await?;
        out.flush().await
    };
    told.await.map_err(|e| EngineError::Failed(format!("the parent cannot be told the addresses: {e}")))?;
    let mut run = std::pin::pin!(engine.run());
    tokio::select! {
        ended = &mut run => return ended,
        () = launch::parent_gone() => tracing::info!("the parent is gone, ending"),
    }
    stop.cancel();
    run.await
}
