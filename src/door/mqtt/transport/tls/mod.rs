//! TLS: the handshake of a connection, and the configuration that all handshakes share until the files change.

mod files;
pub(in crate::door::mqtt) mod reload;

use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::{CertificateError, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use files::TlsError;
use files::{Files, Loaded};

use super::certificate;
use super::settings::TlsSettings;
use super::whole::Whole;
use crate::domain::{Clock, Problem};
use crate::door::credentials::PeerCertificate;
use crate::door::mqtt::metrics::Metrics;
use crate::door::mqtt::socket::Transport;

/// What a connection may hold of each direction while its peer is slower than we are.
const BUFFER: usize = 16 << 10;

/// A stream over TLS.
pub(super) type Stream = Whole<TlsStream<TcpStream>>;

/// TLS as it is configured now.
pub(in crate::door::mqtt) struct Tls {
    settings: TlsSettings,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    current: RwLock<Arc<ServerConfig>>,
    /// Digest of the files that were tried last, good or bad.
    tried: Mutex<[u8; 32]>,
    asked: Notify,
}

/// What is wrong with the files that `settings` name, and what works but should not stay so.
/// Reads them; `now` in seconds since 1970.
pub fn check_files(settings: &TlsSettings, now: i64) -> Result<Vec<String>, Problem> {
    let loaded = Files::read(settings).and_then(|files| files.load(settings, now));
    loaded.map(|loaded| loaded.warnings).map_err(|error| error.problem())
}

impl Tls {
    /// Reads the files.
    pub fn open(settings: TlsSettings, clock: Arc<dyn Clock>, metrics: Metrics) -> Result<Self, TlsError> {
        let files = Files::read(&settings)?;
        let loaded = files.load(&settings, seconds(&*clock))?;
        tell(&loaded, &metrics);
        let (current, tried) = (RwLock::new(loaded.config), Mutex::new(files.digest()));
        Ok(Self { settings, clock, metrics, current, tried, asked: Notify::new() })
    }

    /// Asks for a look at the files now.
    pub fn reload(&self) {
        self.asked.notify_one();
    }

    fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over changed files; says whether there were any.
    fn refresh(&self) -> Result<bool, TlsError> {
        let files = Files::read(&self.settings)?;
        let digest = files.digest();
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if *tried == digest {
            return Ok(false);
        }
        *tried = digest;
        drop(tried);
        let loaded = files.load(&self.settings, seconds(&*self.clock))?;
        tell(&loaded, &self.metrics);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded.config;
        Ok(true)
    }

    /// The handshake. The error is a label of [`crate::door::mqtt::metrics::RESULTS`].
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        deadline: Instant,
    ) -> Result<(Stream, Option<PeerCertificate>), &'static str> {
        let acceptor = TlsAcceptor::from(self.current());
        // boxed: a handshake's state must not stay part of an idle connection's task
        let shaking = Box::pin(acceptor.accept_with(stream, |connection| connection.set_buffer_limit(Some(BUFFER))));
        let stream = match timeout_at(deadline, shaking).await {
            Err(_) => return Err("tls_timeout"),
            Ok(Err(error)) => {
                tracing::debug!(%error, "tls handshake failed");
                return Err(cause(&error));
            }
            Ok(Ok(stream)) => stream,
        };
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = match shown {
            None => None,
            Some(der) => {
                // a resumed session brings the certificate of its first handshake along: it may have ended since
                let until = certificate::validity(der).ok_or("tls_bad_certificate")?.until;
                if until <= seconds(&*self.clock) {
                    return Err("tls_expired");
                }
                Some(certificate::peer(der).ok_or("tls_bad_certificate")?)
            }
        };
        Ok((Whole::new(stream), certificate))
    }
}

/// The certificate of the MQTT door, for who else in this process ends TLS: always the one in force. A client's own
/// certificate is asked for as the MQTT door asks, and says nothing here.
#[derive(Clone)]
pub struct Certificate(Arc<Tls>);

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

impl Certificate {
    pub(in crate::door::mqtt) fn new(tls: Arc<Tls>) -> Self {
        Self(tls)
    }

    /// The handshake; the error is its cause in one word.
    pub async fn accept(
        &self,
        stream: TcpStream,
        deadline: Instant,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, &'static str> {
        self.0.accept(stream, deadline).await.map(|(stream, _)| stream)
    }
}

impl Transport for Stream {
    fn keep_little_unsent(&self) {
        self.get_ref().get_ref().0.keep_little_unsent();
    }
}

fn seconds(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.wall().0 / 1_000).unwrap_or(i64::MAX)
}

fn tell(loaded: &Loaded, metrics: &Metrics) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(validity) = loaded.validity {
        metrics.certificate_expiry.set(validity.until);
    }
}

/// Why a handshake failed, as a label.
fn cause(error: &io::Error) -> &'static str {
    use rustls::Error as Tls;
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) else { return "tls_gone" };
    match error {
        Tls::InvalidMessage(_) | Tls::InappropriateMessage { .. } => "tls_garbage",
        Tls::NoCertificatesPresented => "tls_no_certificate",
        Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => "tls_expired",
        Tls::InvalidCertificate(CertificateError::Revoked) => "tls_revoked",
        Tls::InvalidCertificate(_) => "tls_bad_certificate",
        Tls::AlertReceived(_) => "tls_refused",
        Tls::PeerIncompatible(_) => "tls_incompatible",
        _ => "tls_failed",
    }
}
