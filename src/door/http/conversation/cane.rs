//! OpenCane's devices ask for a WebSocket: they say who they are in the query, and are told that they are nobody by the
//! code with which it closes.

use std::sync::Arc;

use axum::Extension;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::super::devices::Peer;
use super::talk::Tongue;
use super::upgrade::{prove, serve};
use super::{Door, Place};
use crate::domain::{DeviceId, dialect};

/// The code by which these devices know that their token is wrong.
const UNAUTHORIZED: u16 = 4_401;

/// What they say of themselves. No Debug: it holds a token.
#[derive(Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    device_id: String,
    session_id: Option<String>,
    token: Option<String>,
    authorization: Option<String>,
}

/// Answers a request for a WebSocket.
pub(super) async fn upgrade(
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    // whoever wants something else at this address finds nothing
    let Ok(upgrade) = upgrade else { return StatusCode::NOT_FOUND.into_response() };
    match Box::pin(admit(&door, &peer, &asked, &headers)).await {
        Ok(place) => {
            let session = asked.session_id.filter(|session| !session.is_empty() && session.len() <= 64);
            serve(place, Tongue::Cane { session }, upgrade, peer.address())
        }
        Err(result) => {
            door.parts.metrics.connect(result);
            refuse(&door, upgrade)
        }
    }
}

/// Closes at once: that is what they look at.
fn refuse(door: &Door, upgrade: WebSocketUpgrade) -> Response {
    let (tasks, patience) = (door.parts.tasks.clone(), door.settings.stuck.0);
    upgrade.max_message_size(1 << 10).on_upgrade(move |mut stream| {
        tasks.track_future(async move {
            let close = CloseFrame { code: UNAUTHORIZED, reason: "unauthorized".into() };
            // one that does not take it is gone
            let _ = tokio::time::timeout(patience, stream.send(Message::Close(Some(close)))).await;
        })
    })
}

async fn admit(door: &Arc<Door>, peer: &Peer, asked: &Asked, headers: &HeaderMap) -> Result<Place, &'static str> {
    let device = DeviceId::parse(asked.device_id.trim()).map_err(|_| "no_device")?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let said = [asked.token.as_deref(), asked.authorization.as_deref(), header("x-auth-token")];
    let shown = said.into_iter().flatten().find(|token| !token.is_empty());
    let shown = shown.or_else(|| header(header::AUTHORIZATION.as_str())).unwrap_or_default();
    let generation = door.parts.credentials.generation();
    prove(door, &device, peer.address().ip(), shown).await.map_err(|(result, ..)| result)?;
    let socket = door.enter(&device, peer, generation, dialect::OPENCANE).map_err(|_| "full")?;
    Ok(Place { door: Arc::clone(door), device, socket })
}
