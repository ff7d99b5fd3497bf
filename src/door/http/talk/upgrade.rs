//! Who may talk: a browser shows its ticket, or the pass that it got for one, in `Sec-WebSocket-Protocol`, the only
//! header of a handshake that a page may write. Neither is ever in an address, a cookie or the log.
//!
//! A page learns nothing of a refused handshake, not even its status. So who is refused for what it showed gets its
//! WebSocket, and it is closed at once with a code that the page can explain.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::{Duration, timeout};

use super::super::conversation::Place;
use super::super::devices::Peer;
use super::Talk;
use super::tickets::Held;
use crate::domain::{DeviceId, Wall};
use crate::door::credentials::CredentialsError;

/// The one protocol that is spoken; the secret is no protocol and is never echoed.
const PROTOCOL: &str = "voxgate.talk";
/// How long a browser may take to hear that it is refused.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a browser showed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown<'a> {
    Ticket(&'a str),
    Pass(&'a str),
}

/// Why nobody comes in who asked in the right form.
enum No {
    /// Wrong, used, or its time is over.
    Refused,
    Full,
    Failed(CredentialsError),
}

/// Answers a browser's request for a WebSocket.
pub(super) async fn upgrade(
    State(talk): State<Arc<Talk>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let metrics = &talk.parts.metrics;
    if !is_own_page(&talk, &headers) {
        metrics.connect("origin");
        log(&talk, &peer, "origin");
        return (StatusCode::FORBIDDEN, "only this gateway's own page may ask\n").into_response();
    }
    let Some(shown) = shown(&headers) else {
        metrics.connect("protocol");
        return (StatusCode::BAD_REQUEST, "ask for the protocol voxgate.talk, and show a ticket\n").into_response();
    };
    let upgrade = upgrade.protocols([PROTOCOL]);
    match Box::pin(admit(&talk, &peer, shown)).await {
        Ok(place) => {
            metrics.connect(if matches!(shown, Shown::Ticket(_)) { "ticket" } else { "pass" });
            place.serve(upgrade, peer.address())
        }
        Err(no) => refuse(&talk, &peer, &no, upgrade),
    }
}

async fn admit(talk: &Talk, peer: &Peer, shown: Shown<'_>) -> Result<Place, No> {
    let credentials = &talk.parts.credentials;
    let generation = credentials.generation();
    let (device, until, pass, held) = prove(talk, shown).await?;
    let Some(place) = talk.parts.conversations.enter(&device, peer, generation) else {
        if let Some(held) = held {
            talk.tickets.restore(held);
        }
        return Err(No::Full);
    };
    place.say(json!({"type": "talk", "device": device.as_str(), "pass": pass, "until": until.0}).to_string());
    Ok(place)
}

/// Who it is; with what it may come again, and until when.
async fn prove(talk: &Talk, shown: Shown<'_>) -> Result<(DeviceId, Wall, String, Option<Held>), No> {
    let credentials = &talk.parts.credentials;
    match shown {
        Shown::Pass(pass) => {
            let read = credentials.read_pass(pass).await.map_err(No::Failed)?;
            let (device, until) = read.ok_or(No::Refused)?;
            Ok((device, until, pass.to_owned(), None))
        }
        Shown::Ticket(ticket) => {
            let held = talk.tickets.redeem(ticket).ok_or(No::Refused)?;
            let visit = u64::try_from(talk.settings.visit.0.as_millis()).unwrap_or(u64::MAX);
            let until = Wall(talk.parts.clock.wall().0.saturating_add(visit));
            let pass = credentials.pass(&held.device, until).await.map_err(No::Failed)?;
            Ok((held.device.clone(), until, pass.ok_or(No::Refused)?, Some(held)))
        }
    }
}

/// A browser says in `Origin` whose page asks. It must be the one that this door served, under whatever name it was
/// reached, or one that is listed.
fn is_own_page(talk: &Talk, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    let own = origin.parse::<Uri>().is_ok_and(|origin| {
        origin.scheme().is_some() && origin.authority().is_some_and(|at| at.as_str().eq_ignore_ascii_case(host))
    });
    own || talk.parts.origins.iter().any(|listed| listed == origin)
}

fn shown(headers: &HeaderMap) -> Option<Shown<'_>> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offers = || lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim);
    if !offers().any(|offer| offer == PROTOCOL) {
        return None;
    }
    let ticket = offers().find_map(|offer| offer.strip_prefix("ticket.")).map(Shown::Ticket);
    ticket.or_else(|| offers().find_map(|offer| offer.strip_prefix("pass.")).map(Shown::Pass))
}

/// Opens the connection only to say why it is closed.
fn refuse(talk: &Talk, peer: &Peer, no: &No, upgrade: WebSocketUpgrade) -> Response {
    let (result, code) = match no {
        No::Refused => ("refused", 4_401),
        No::Full => ("full", 4_503),
        No::Failed(_) => ("failed", 4_500),
    };
    talk.parts.metrics.connect(result);
    match no {
        No::Failed(error) => {
            if let Some(unsaid) = talk.quiet.may_log() {
                tracing::error!(%error, unsaid, "a browser cannot be let in");
            }
        }
        No::Refused | No::Full => log(talk, peer, result),
    }
    let tasks = talk.parts.tasks.clone();
    upgrade.max_message_size(1 << 10).on_upgrade(move |mut stream| {
        tasks.track_future(async move {
            let frame = CloseFrame { code, reason: result.into() };
            let told = async {
                // who is gone already needs no reason
                let _ = stream.send(Message::Close(Some(frame))).await;
                while let Some(Ok(_)) = stream.recv().await {}
            };
            let _ = timeout(FAREWELL, told).await;
        })
    })
}

fn log(talk: &Talk, peer: &Peer, why: &'static str) {
    if let Some(unsaid) = talk.quiet.may_log() {
        tracing::warn!(peer = %peer.address(), why, unsaid, "a browser may not talk");
    }
}
