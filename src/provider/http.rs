//! HTTP towards the outside: one pooled client for providers and for downloads.
//!
//! The only place that names reqwest. It knows addresses, headers, bodies and time-outs; it must
//! not know what a vendor means by any of them. Header values may be secrets: they are marked as
//! such and are in no error and in no `Debug` output.

mod settings;
mod tls;
mod warmth;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
pub(super) use reqwest::Upgraded;
use reqwest::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE, RETRY_AFTER,
    SEC_WEBSOCKET_ACCEPT, UPGRADE,
};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::{ErrorKind, ProviderError};
use crate::domain::Span;
pub use settings::Settings;
pub(super) use tls::tls;
pub use warmth::Opened;
use warmth::Warmth;
pub(super) use warmth::Way;

/// So much of an error's body is kept for the log.
const ERROR_BODY: usize = 2_048;
/// The largest JSON answer that is read.
const JSON_BODY: usize = 32 << 20;

/// Most redirects that are followed with a key.
const REDIRECTS: usize = 5;

/// While an answer is awaited over HTTP/2, the other side is asked so often whether it is still there: one connection
/// carries all requests, and one that died must not take the next with it.
const PULSE: Duration = Duration::from_secs(4);

/// How long to wait for which part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the request to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of the body.
    pub between: Duration,
    /// For all of it.
    pub whole: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { first_byte: Duration::from_secs(15), between: Duration::from_secs(15), whole: Duration::from_mins(2) }
    }
}

impl Patience {
    /// For large files: no limit for the whole (a year), 30 s without a byte is too long.
    pub fn download() -> Self {
        Self {
            first_byte: Duration::from_secs(30),
            between: Duration::from_secs(30),
            whole: Duration::from_hours(365 * 24),
        }
    }
}

/// Headers of a request. `Debug` shows the names alone.
#[derive(Clone, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }

    /// `Authorization: Bearer …`.
    #[must_use]
    pub fn bearer(self, key: &str) -> Self {
        self.with("authorization", format!("Bearer {key}"))
    }

    fn to_map(&self) -> Result<HeaderMap, HttpError> {
        let mut map = HeaderMap::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            let bad = || HttpError::Request(format!("the header {name} has a name or value that HTTP forbids"));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
            value.set_sensitive(true);
            map.append(name, value);
        }
        Ok(map)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Why a request failed. No variant holds a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The client itself could not be made: certificates, TLS.
    #[error("the http client cannot start: {0}")]
    Setup(String),
    /// The request is none: address, header.
    #[error("{0}")]
    Request(String),
    /// Nobody answers, or the connection broke.
    #[error("{0}")]
    Unavailable(String),
    /// Waited too long; what for, and how long.
    #[error("no {what} within {}", Span(*.after))]
    Timeout {
        /// `connection`, `answer`, `next piece`, `end of the answer`.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// A status outside 2xx.
    #[error("status {status}: {body}")]
    Status {
        /// The status.
        status: u16,
        /// The `Retry-After` header, when it counts seconds.
        retry_after: Option<Duration>,
        /// The beginning of the body.
        body: String,
    },
    /// An answer that is not what was asked for.
    #[error("{0}")]
    BadAnswer(String),
}

impl HttpError {
    /// In the words of providers.
    pub fn kind(&self) -> ErrorKind {
        match self {
            HttpError::Setup(_) | HttpError::Request(_) => ErrorKind::BadRequest,
            HttpError::Unavailable(_) => ErrorKind::Unavailable,
            HttpError::Timeout { .. } => ErrorKind::Timeout,
            HttpError::BadAnswer(_) => ErrorKind::BadAnswer,
            HttpError::Status { status, .. } => ErrorKind::of_status(*status),
        }
    }

    /// As a failure of `provider`.
    pub fn of(self, provider: &str) -> ProviderError {
        let retry_after = match &self {
            HttpError::Status { retry_after, .. } => *retry_after,
            _ => None,
        };
        ProviderError { retry_after, ..ProviderError::new(self.kind(), provider, self.to_string()) }
    }
}

/// Pieces of a body as they come; an error is the last item.
pub type ByteStream = BoxStream<'static, Result<Bytes, HttpError>>;

/// A file on its way.
pub struct Download {
    /// Length of the whole file in bytes, when the server says.
    pub total: Option<u64>,
    /// The stream begins at this byte: what was asked for, or 0 when the server cannot resume.
    pub from: u64,
    /// The bytes.
    pub stream: ByteStream,
}

/// The client. Clones share one pool of connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: reqwest::Client,
    /// For WebSockets, which HTTP/1.1 alone opens here.
    sockets: reqwest::Client,
    warmth: Arc<Warmth>,
}

impl Client {
    /// A client that trusts the public certificate authorities and those of the settings. Reads files: not for
    /// a hot path.
    pub fn new(settings: &Settings) -> Result<Self, HttpError> {
        Self::build(settings, |builder| builder)
    }

    /// The same, which goes where it was told to go and nowhere else: headers may hold secrets.
    pub fn without_redirects(settings: &Settings) -> Result<Self, HttpError> {
        Self::build(settings, |builder| builder.redirect(reqwest::redirect::Policy::none()))
    }

    /// The same, which follows a redirect within one host only: keys in headers of vendors' own names would go along.
    pub fn with_keys(settings: &Settings) -> Result<Self, HttpError> {
        let within_host = |attempt: reqwest::redirect::Attempt<'_>| {
            let from = attempt.previous().last().map(reqwest::Url::origin);
            if attempt.previous().len() < REDIRECTS && from.is_some_and(|from| from == attempt.url().origin()) {
                attempt.follow()
            } else {
                attempt.stop()
            }
        };
        Self::build(settings, |builder| builder.redirect(reqwest::redirect::Policy::custom(within_host)))
    }

    fn build(
        settings: &Settings,
        change: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Self, HttpError> {
        let tls = tls(settings)?;
        let client = |versions: &[&[u8]]| {
            let builder = reqwest::Client::builder()
                .tls_backend_preconfigured(tls::offering(&tls, versions))
                .connect_timeout(settings.connect_timeout.0)
                .pool_idle_timeout(settings.idle_timeout.0)
                .http2_keep_alive_interval(PULSE)
                .http2_keep_alive_timeout(PULSE)
                .tcp_nodelay(true)
                .user_agent(concat!("voxgate/", env!("CARGO_PKG_VERSION")));
            change(builder).build().map_err(|e| HttpError::Setup(e.to_string()))
        };
        let inner = client(if settings.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] })?;
        Ok(Self { inner, sockets: client(&[b"http/1.1"])?, warmth: Arc::new(Warmth::new(settings)) })
    }

    /// Connections are to be opened ahead of need.
    pub(super) fn warms(&self) -> bool {
        self.warmth.wanted()
    }

    /// Opens a connection to the host of `url`, unless one was opened or used lately. No header goes along, so no key does;
    /// what the host says to it is nobody's business.
    pub(super) async fn warm(&self, url: &str, way: Way) -> Opened {
        let Ok(url) = parse(&over_http(url)) else { return Opened::Failed };
        if !self.warmth.is_due(&url, way, Instant::now()) {
            return Opened::Already;
        }
        let client = match way {
            Way::Requests => &self.inner,
            Way::Socket => &self.sockets,
        };
        let Ok(root) = url.join("/") else { return Opened::Failed };
        match timeout(warmth::PATIENCE, client.head(root).send()).await {
            Ok(Ok(_)) => Opened::Now,
            Ok(Err(_)) | Err(_) => Opened::Failed,
        }
    }

    /// An address that is about to be asked.
    fn place(&self, url: &str) -> Result<reqwest::Url, HttpError> {
        let url = parse(url)?;
        self.warmth.used(&url, Instant::now());
        Ok(url)
    }

    /// The pool of connections and headers, marked as secrets, for a library that speaks a protocol of its own over HTTP.
    pub fn lend(
        &self,
        headers: &Headers,
    ) -> Result<(reqwest::Client, std::collections::HashMap<HeaderName, HeaderValue>), HttpError> {
        let headers = headers.to_map()?;
        let named = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok((self.inner.clone(), named))
    }

    /// The JSON at `url`.
    pub async fn get_json(&self, url: &str, headers: &Headers, patience: Patience) -> Result<Value, HttpError> {
        let deadline = Instant::now() + patience.whole;
        let response = send(self.inner.get(self.place(url)?).headers(headers.to_map()?), patience, deadline).await?;
        json(body(response, patience, deadline)).await
    }

    /// Posts JSON and reads JSON.
    pub async fn post_json(
        &self,
        url: &str,
        headers: &Headers,
        request: &Value,
        patience: Patience,
    ) -> Result<Value, HttpError> {
        json(self.post_stream(url, headers, request, patience).await?).await
    }

    /// Posts JSON; the answer's body as it comes.
    pub async fn post_stream(
        &self,
        url: &str,
        headers: &Headers,
        request: &Value,
        patience: Patience,
    ) -> Result<ByteStream, HttpError> {
        let deadline = Instant::now() + patience.whole;
        let request = self.inner.post(self.place(url)?).headers(headers.to_map()?).json(request);
        Ok(body(send(request, patience, deadline).await?, patience, deadline))
    }

    /// Posts bytes of some other kind; the answer's body as it comes.
    pub async fn post_bytes(
        &self,
        url: &str,
        headers: &Headers,
        content_type: &str,
        request: Bytes,
        patience: Patience,
    ) -> Result<ByteStream, HttpError> {
        let deadline = Instant::now() + patience.whole;
        let request = self
            .inner
            .post(self.place(url)?)
            .headers(headers.to_map()?)
            .header(CONTENT_TYPE, content_type)
            .body(request);
        Ok(body(send(request, patience, deadline).await?, patience, deadline))
    }

    /// Asks `url` (`ws://` and `wss://` too) with a query to go on as a WebSocket: the connection, and what the server says
    /// to the key of the request.
    pub(super) async fn upgrade(
        &self,
        (url, query): (&str, &[(&str, String)]),
        headers: &Headers,
        patience: Patience,
    ) -> Result<(Upgraded, Option<String>), HttpError> {
        let deadline = Instant::now() + patience.whole;
        let mut url = parse(&over_http(url))?;
        url.query_pairs_mut().extend_pairs(query);
        self.warmth.spent(&url);
        let request = self.sockets.get(url).headers(headers.to_map()?);
        let request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
        let response = send(request, patience, deadline).await?;
        if response.status().as_u16() != 101 {
            return Err(HttpError::BadAnswer("the service answers, but not as a WebSocket".into()));
        }
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Ok((response.upgrade().await?, accept))
    }

    /// The file at `url` from byte `from` on. A server that cannot resume sends it from the start: look at
    /// [`Download::from`]. Asking beyond the end is [`HttpError::Status`] 416.
    pub async fn download(&self, url: &str, from: u64, patience: Patience) -> Result<Download, HttpError> {
        let deadline = Instant::now() + patience.whole;
        let mut request = self.inner.get(self.place(url)?).header(ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let response = send(request, patience, deadline).await?;
        let (start, total) = if response.status().as_u16() == 206 {
            let range = response.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok());
            let (start, total) = range.and_then(content_range).ok_or_else(|| {
                HttpError::BadAnswer("a part was sent without a Content-Range that can be read".into())
            })?;
            if start != from {
                return Err(HttpError::BadAnswer(format!("byte {from} was asked for and byte {start} was sent")));
            }
            (start, total)
        } else {
            (0, response.content_length())
        };
        Ok(Download { total, from: start, stream: body(response, patience, deadline) })
    }
}

/// The address at which a WebSocket is asked for.
fn over_http(url: &str) -> String {
    let secure = url.strip_prefix("wss://").map(|rest| format!("https://{rest}"));
    let plain = || url.strip_prefix("ws://").map(|rest| format!("http://{rest}"));
    secure.or_else(plain).unwrap_or_else(|| url.to_owned())
}

fn parse(url: &str) -> Result<reqwest::Url, HttpError> {
    let parsed = reqwest::Url::parse(url).map_err(|e| HttpError::Request(format!("the address is none: {e}")))?;
    if matches!(parsed.scheme(), "http" | "https") {
        Ok(parsed)
    } else {
        Err(HttpError::Request(format!("{} is not http or https", parsed.scheme())))
    }
}

async fn send(
    request: reqwest::RequestBuilder,
    patience: Patience,
    deadline: Instant,
) -> Result<reqwest::Response, HttpError> {
    let response = within(request.send(), "answer", patience.first_byte, patience.whole, deadline).await??;
    if response.status().is_success() || response.status().as_u16() == 101 {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let seconds = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.trim().parse().ok());
    let text = collect(body(response, patience, deadline), ERROR_BODY).await.unwrap_or_default();
    let body = String::from_utf8_lossy(&text).trim().chars().take(ERROR_BODY).collect();
    Err(HttpError::Status { status, retry_after: seconds.map(Duration::from_secs), body })
}

fn body(response: reqwest::Response, patience: Patience, deadline: Instant) -> ByteStream {
    let pieces = response.bytes_stream().boxed();
    futures::stream::unfold(Some(pieces), move |pieces| async move {
        let mut pieces = pieces?;
        match within(pieces.next(), "next piece", patience.between, patience.whole, deadline).await {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
            Ok(Some(Err(error))) => Some((Err(error.into()), None)),
            Err(late) => Some((Err(late), None)),
        }
    })
    .boxed()
}

/// Waits for `future`, at most `limit` and not beyond the deadline of the whole.
async fn within<F: Future>(
    future: F,
    what: &'static str,
    limit: Duration,
    whole: Duration,
    deadline: Instant,
) -> Result<F::Output, HttpError> {
    match timeout_at(deadline, timeout(limit, future)).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(_)) => Err(HttpError::Timeout { what, after: limit }),
        Err(_) => Err(HttpError::Timeout { what: "end of the answer", after: whole }),
    }
}

/// Up to `limit` bytes of a body; what came before an error counts.
async fn collect(mut pieces: ByteStream, limit: usize) -> Result<Vec<u8>, HttpError> {
    let mut all = Vec::new();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => all.extend_from_slice(&piece),
            Err(error) if all.is_empty() => return Err(error),
            Err(_) => break,
        }
        if all.len() >= limit {
            break;
        }
    }
    Ok(all)
}

/// A body that is JSON, read to its end.
pub async fn json(mut pieces: ByteStream) -> Result<Value, HttpError> {
    let mut all = Vec::new();
    while let Some(piece) = pieces.next().await {
        all.extend_from_slice(&piece?);
        if all.len() > JSON_BODY {
            return Err(HttpError::BadAnswer(format!("the answer is longer than {JSON_BODY} bytes")));
        }
    }
    serde_json::from_slice(&all).map_err(|e| HttpError::BadAnswer(format!("the answer is not json: {e}")))
}

/// `bytes 10-19/20` is (10, Some(20)).
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        // The address may hold a key in its query: it is not for the log.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        // A body that was cut off is a "decode" error to reqwest: to us the other side went away.
        if error.is_builder() { HttpError::Request(text) } else { HttpError::Unavailable(text) }
    }
}
