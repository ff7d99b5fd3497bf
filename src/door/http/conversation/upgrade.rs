//! Who asks for a WebSocket: a device proves itself in the handshake, or gets a 401.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Extension;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::super::devices::Peer;
use super::talk::{self, Tongue};
use super::{Door, Place, Shut};
use crate::domain::{DeviceId, dialect};
use crate::door::credentials::{Attempt, Denied};
use crate::topics::Who;
use crate::wire::xiaozhi::frames::Version;

/// What a browser cannot say in headers.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(rename = "device-id")]
    device: Option<String>,
    #[serde(rename = "protocol-version")]
    version: Option<String>,
}

/// Why nobody comes in: the label, the status, the text.
pub(super) type No = (&'static str, StatusCode, &'static str);

/// Answers a request for a WebSocket.
pub(super) async fn upgrade(
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    match Box::pin(admit(&door, &peer, &asked, &headers)).await {
        Err((result, status, text)) => {
            door.parts.metrics.connect(result);
            (status, text).into_response()
        }
        Ok((place, version)) => serve(place, Tongue::Board(version), upgrade, peer.address()),
    }
}

/// Makes the connection a WebSocket, and serves it to its end.
pub(super) fn serve(place: Place, tongue: Tongue, upgrade: WebSocketUpgrade, peer: SocketAddr) -> Response {
    place.door.parts.metrics.connect("ok");
    let tasks = place.door.parts.tasks.clone();
    // firmware looks for no extension, and gets none
    let most = tongue.largest();
    let upgrade = upgrade.max_message_size(most).max_frame_size(most).write_buffer_size(0);
    upgrade.on_upgrade(move |stream| tasks.track_future(async move { talk::talk(&place, tongue, stream, peer).await }))
}

async fn admit(door: &Arc<Door>, peer: &Peer, asked: &Asked, headers: &HeaderMap) -> Result<(Place, Version), No> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bad = |result, text| (result, StatusCode::BAD_REQUEST, text);
    let name = header("device-id").or(asked.device.as_deref()).unwrap_or_default().trim().to_ascii_lowercase();
    let device = DeviceId::parse(&name).map_err(|_| bad("no_device", "Device-Id is missing, or none\n"))?;
    let version = header("protocol-version").or(asked.version.as_deref()).unwrap_or("1");
    let version = Version::parse(version).ok_or(bad("version", "Protocol-Version is none of 1, 2, 3\n"))?;
    let generation = door.parts.credentials.generation();
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    prove(door, &device, peer.address().ip(), shown).await?;
    let socket = door.enter(&device, peer, generation, dialect::XIAOZHI).map_err(|why| match why {
        Shut::Full => ("full", StatusCode::SERVICE_UNAVAILABLE, "too many conversations, try again\n"),
        Shut::Changed => ("busy", StatusCode::SERVICE_UNAVAILABLE, "credentials are being changed, try again\n"),
    })?;
    Ok((Place { door: Arc::clone(door), device, socket }, version))
}

/// The token is the device's secret, with `Bearer` before it or without.
pub(super) async fn prove(door: &Door, device: &DeviceId, address: IpAddr, shown: &str) -> Result<(), No> {
    let token = shown.strip_prefix("Bearer ").unwrap_or(shown).trim();
    let attempt = Attempt { user: Some(device.as_str()), password: Some(token.as_bytes()), address, certificate: None };
    let refused = ("refused", StatusCode::UNAUTHORIZED, "the token is not this device's\n");
    match door.parts.credentials.login(attempt).await {
        Ok(identity) if identity.who == Who::Device(device.clone()) => Ok(()),
        Err(Denied::Busy) => Err(("busy", StatusCode::SERVICE_UNAVAILABLE, "too many logins, try again\n")),
        Ok(_) | Err(_) => Err(refused),
    }
}
