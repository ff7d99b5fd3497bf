//! What a request passes before its handler: no web page of elsewhere, who asks, how often, once, its body, in time.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, RawPathParams, Request, State};
use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, get, on};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::caller::{Caller, Shown};
use super::endpoint::{Endpoint, Raw};
use super::fault::Fault;
use super::{Api, document, page};

/// Bodies up to this are looked at for whom they are about, bytes.
const NAMED: usize = 64 << 10;

/// Whose connection it is; an extension of each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// All routes of the API, and what is answered where there is none.
pub(super) fn router(api: &Arc<Api>) -> Router {
    let mut router = Router::new();
    for at in 0..api.endpoints.len() {
        let endpoint = &api.endpoints[at];
        let filter = MethodFilter::try_from(endpoint.method.clone()).unwrap_or(MethodFilter::GET);
        let handler = move |State(api): State<Arc<Api>>, peer, params, request| serve(api, at, peer, params, request);
        router = router.route(endpoint.path, on(filter, handler));
    }
    router
        .route(document::PATH, get(document::serve))
        .merge(page::routes())
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown)
        .with_state(Arc::clone(api))
}

/// One request to one endpoint, audited when it changes something.
async fn serve(
    api: Arc<Api>,
    at: usize,
    Extension(Peer(peer)): Extension<Peer>,
    params: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
    request: Request,
) -> Response {
    let endpoint = &api.endpoints[at];
    // none: it cannot be read
    let id = params.ok().map(|params| params.iter().next().map(|(_, value)| value.to_owned()).unwrap_or_default());
    let (head, body) = request.into_parts();
    let mut who: Option<Arc<str>> = None;
    let mut subject = id.clone().unwrap_or_default();
    let work = async {
        let caller = admitted(&api, peer.ip(), &head).await?;
        who = Some(Arc::clone(&caller.name));
        let id = id.clone().ok_or_else(|| Fault::bad("the path is no UTF-8"))?;
        let raw = take(&api, endpoint, (caller, id), &head, body).await?;
        if subject.is_empty() {
            subject = about(&raw.body);
        }
        endpoint.run(Arc::clone(&api), raw).await
    };
    let answered = match timeout(api.settings.timeout.0, work).await {
        Ok(answered) => answered,
        Err(_) => Err(Fault::timeout()),
    };
    let outcome = answered.as_ref().map_or_else(|fault| fault.code, |_| "ok");
    api.metrics.request(endpoint.path, outcome);
    if let Some(operator) = who.filter(|_| endpoint.changes()) {
        tracing::info!(target: "voxgate::audit", %operator, peer = %peer, operation = endpoint.path, subject, outcome, "control api");
    } else if let Err(fault) = &answered
        && let Some(unsaid) = api.quiet.may_log()
    {
        tracing::info!(peer = %peer, path = endpoint.path, why = fault.code, unsaid, "a request to the control api was refused");
    }
    answered.unwrap_or_else(IntoResponse::into_response)
}

/// Who asks, before anything of the body is read.
async fn admitted(api: &Api, address: IpAddr, head: &Head) -> Result<Caller, Fault> {
    not_from_a_page(api, &head.headers)?;
    let shown = Shown { method: &head.method, uri: &head.uri, headers: &head.headers, address };
    api.admit(&shown).await
}

/// Whom the body is about, for the audit log; nothing when it does not say so in the usual way.
fn about(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(alias = "deviceId")]
        device_id: Option<crate::domain::DeviceId>,
    }
    let named = Some(body).filter(|body| body.len() <= NAMED).and_then(|body| serde_json::from_slice(body).ok());
    named.and_then(|Named { device_id }| device_id).map(|id| id.to_string()).unwrap_or_default()
}

/// What the handler gets.
async fn take(
    api: &Arc<Api>,
    endpoint: &Endpoint,
    (caller, id): (Caller, String),
    head: &Head,
    body: Body,
) -> Result<Raw, Fault> {
    let query = head.uri.query().unwrap_or_default().to_owned();
    if caller.role < endpoint.role {
        return Err(super::caller::forbidden());
    }
    let body = if head.method == Method::POST {
        read(api, &caller, &head.headers, body).await?
    } else if caller.digest.is_some_and(|signed| signed != <[u8; 32]>::from(Sha256::digest([]))) {
        return Err(Fault::unauthorized());
    } else {
        Vec::new()
    };
    Ok(Raw { caller, id, query, body })
}

/// The whole body, of which all requests together have so much; its digest fits what was signed.
async fn read(api: &Api, caller: &Caller, headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Fault> {
    let most = api.settings.body.0;
    let told = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let too_large = || {
        let text = format!("request body too large (max {most} bytes)");
        Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", text)
    };
    let bytes: u64 = told.unwrap_or(most);
    if bytes > most {
        return Err(too_large());
    }
    let kb = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
    let room = api.bodies.try_acquire_many(kb).map_err(|_| Fault::busy("too much is being read: come again"))?;
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    let body = axum::body::to_bytes(body, limit).await.map_err(|error| {
        let cut = std::error::Error::source(&error).is_none_or(|source| !source.is::<hyper::Error>());
        if cut { too_large() } else { Fault::bad("the body broke off") }
    })?;
    drop(room);
    if caller.digest.is_some_and(|signed| signed != <[u8; 32]>::from(Sha256::digest(&body))) {
        return Err(Fault::unauthorized());
    }
    Ok(body.into())
}

/// A web page of elsewhere makes browsers ask in its name; and where no token is asked for, a name that somebody else
/// can point at this machine must not be ours.
fn not_from_a_page(api: &Api, headers: &HeaderMap) -> Result<(), Fault> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = text(header::HOST);
    let foreign = || Fault::new(StatusCode::FORBIDDEN, "foreign_origin", "web pages of elsewhere may not ask");
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        if origin != Some(host) {
            return Err(foreign());
        }
    }
    let bare = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let bare = bare.map_or(host, |(bare, _)| bare).trim_matches(['[', ']']);
    if !api.settings.auth && bare != "localhost" && !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(foreign());
    }
    Ok(())
}

/// Also who asks for what there is not proves who it is first.
async fn refuse(api: Arc<Api>, peer: SocketAddr, request: Request, fault: Fault) -> Response {
    if !request.uri().path().starts_with("/v1/") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let (head, _) = request.into_parts();
    let fault = match timeout(api.settings.timeout.0, admitted(&api, peer.ip(), &head)).await {
        Ok(Ok(_)) => fault,
        Ok(Err(fault)) => fault,
        Err(_) => Fault::timeout(),
    };
    api.metrics.request("-", fault.code);
    fault.into_response()
}

async fn unknown(State(api): State<Arc<Api>>, Extension(Peer(peer)): Extension<Peer>, request: Request) -> Response {
    refuse(api, peer, request, Fault::not_found("unknown endpoint")).await
}

async fn wrong_method(
    State(api): State<Arc<Api>>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Response {
    let fault = Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the endpoint has other methods");
    let allow = Some(methods(&api, request.uri().path()));
    refuse(api, peer, request, Fault { allow, ..fault }).await
}

/// The methods that a path has.
fn methods(api: &Api, path: &str) -> String {
    let fits = |pattern: &str| {
        let (mut asked, mut pattern) = (path.split('/'), pattern.split('/'));
        loop {
            match (asked.next(), pattern.next()) {
                (None, None) => return true,
                (Some(asked), Some(wanted)) if wanted == asked || wanted == "{id}" => {}
                _ => return false,
            }
        }
    };
    let found = |method: Method| api.endpoints.iter().any(|known| known.method == method && fits(known.path));
    let words = [(Method::GET, "GET, HEAD"), (Method::POST, "POST")];
    let words: Vec<&str> =
        words.into_iter().filter(|(method, _)| found(method.clone())).map(|(_, word)| word).collect();
    // what is no endpoint of the table is a page
    if words.is_empty() { "GET, HEAD".to_owned() } else { words.join(", ") }
}

/// How long a connection may take: its request and its answer.
pub(super) fn patience(limit: Duration) -> Duration {
    limit * 2
}
