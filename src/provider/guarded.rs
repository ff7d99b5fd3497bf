//! Pages of the web that somebody else names: fetched from addresses that the caller allows, and no other.
//!
//! The addresses of a name are looked up by this client alone, judged, and connected to: no second look-up comes between
//! (DNS rebinding). A name is refused when one of its addresses is. Redirects are followed here, each judged like the first.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use tokio::time::{Instant, timeout_at};

use super::http::{HttpError, Settings, tls};

/// Says whether an address may be connected to.
pub type Allows = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// What may be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For all of it, redirects included.
    pub whole: Duration,
    /// Bytes of the body; what is more is left out.
    pub size: usize,
    /// Redirects.
    pub redirects: u32,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Where it was in the end.
    pub url: String,
    /// Its type, without parameters, in small letters.
    pub mime: String,
    /// Its body, or the beginning of it.
    pub body: Vec<u8>,
    /// There is more of it.
    pub cut: bool,
}

/// The client.
#[derive(Clone)]
pub struct Guarded {
    client: reqwest::Client,
    allows: Allows,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

/// Looks names up, and gives no address that is not allowed.
struct Judge(Allows);

impl Resolve for Judge {
    fn resolve(&self, name: Name) -> Resolving {
        let allows = Arc::clone(&self.0);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.is_empty() || !found.iter().all(|addr| allows(addr.ip())) {
                return Err(REFUSED.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// What is said of an address that is not allowed.
const REFUSED: &str = "the address is not public";

impl Guarded {
    /// A client that connects to what `allows` says. Reads files: not for a hot path.
    pub fn new(settings: &Settings, allows: Allows) -> Result<Self, HttpError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(settings)?)
            .connect_timeout(settings.connect_timeout.0)
            .redirect(reqwest::redirect::Policy::none())
            // a proxy would look names up by itself
            .no_proxy()
            .dns_resolver(Arc::new(Judge(Arc::clone(&allows))))
            .user_agent(concat!("voxgate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| HttpError::Setup(error.to_string()))?;
        Ok(Self { client, allows })
    }

    /// Fetches a page.
    pub async fn get(&self, url: &str, limits: Limits) -> Result<Page, HttpError> {
        let deadline = Instant::now() + limits.whole;
        let late = |_| HttpError::Timeout { what: "page", after: limits.whole };
        timeout_at(deadline, self.follow(url, limits)).await.map_err(late)?
    }

    async fn follow(&self, url: &str, limits: Limits) -> Result<Page, HttpError> {
        let mut url = reqwest::Url::parse(url).map_err(|error| HttpError::Request(error.to_string()))?;
        for _ in 0..=limits.redirects {
            self.judge(&url)?;
            let asked = self.client.get(url.clone()).header(ACCEPT, "text/html, text/*;q=0.9, application/json;q=0.8");
            let response = asked.send().await.map_err(|error| unavailable(&error))?;
            let status = response.status();
            if status.is_redirection() {
                let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                let to = to.ok_or_else(|| HttpError::BadAnswer("a redirect to nowhere".to_owned()))?;
                url = url.join(to).map_err(|error| HttpError::BadAnswer(error.to_string()))?;
                continue;
            }
            if !status.is_success() {
                let status = status.as_u16();
                return Err(HttpError::Status { status, retry_after: None, body: String::new() });
            }
            return read(response, url.to_string(), limits.size).await;
        }
        Err(HttpError::BadAnswer(format!("more than {} redirects", limits.redirects)))
    }

    /// What can be seen of an address before it is looked up.
    fn judge(&self, url: &reqwest::Url) -> Result<(), HttpError> {
        let refused = |what: &str| Err(HttpError::Request(what.to_owned()));
        if !matches!(url.scheme(), "http" | "https") {
            return refused("only http and https are fetched");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("an address with a password is not fetched");
        }
        if !url.port_or_known_default().is_some_and(|port| matches!(port, 80 | 443 | 1024..)) {
            return refused("the port is that of another service");
        }
        let Some(host) = url.host_str() else { return refused("there is no host in the address") };
        // numbers are written in many ways: the parser has made one of them
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(ip) if !(self.allows)(ip) => refused(REFUSED),
            _ => Ok(()),
        }
    }
}

async fn read(response: reqwest::Response, url: String, size: usize) -> Result<Page, HttpError> {
    let mime = response.headers().get(CONTENT_TYPE).and_then(|mime| mime.to_str().ok()).unwrap_or("text/plain");
    let mime = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut page = Page { url, mime, body: Vec::new(), cut: false };
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| unavailable(&error))?;
        let room = size.saturating_sub(page.body.len());
        page.body.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            page.cut = true;
            break;
        }
    }
    Ok(page)
}

/// The innermost cause, without the address: it is the caller's.
fn unavailable(error: &reqwest::Error) -> HttpError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    HttpError::Unavailable(cause.to_string())
}
