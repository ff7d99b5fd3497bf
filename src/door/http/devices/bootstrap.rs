//! `/xiaozhi/ota/`: a board asks who it is to be, where to go, and whether there is new firmware.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Map, Value};

use super::answer::{self, Seen};
use super::refusal::{FAILED, Refusal};
use super::request::{self, Asked};
use super::{Door, Peer, downloads};
use crate::door::enrolment::{Told, Way};

const BAD_HOST: Refusal = Refusal::new(
    "bad_host",
    StatusCode::BAD_REQUEST,
    "reach the gateway by a DNS name or an IPv4 address: firmware could not use another; or set devices.host there",
);
const BARRED: Refusal = Refusal::new("barred", StatusCode::FORBIDDEN, "this board may not come in");
const FULL: Refusal =
    Refusal::new("full", StatusCode::SERVICE_UNAVAILABLE, "too many boards wait to be claimed; ask again later");
const NO_LISTENER: Refusal = Refusal::new(
    "no_listener",
    StatusCode::SERVICE_UNAVAILABLE,
    "no listener is on that this board could use; see devices.transport, mqtt.plain and devices.mqtt_tls",
);

/// Answers a board.
pub(super) async fn bootstrap(
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let answered = async {
        let asked = request::read(&door, &peer, &head.headers, body).await?;
        let seen = Seen::by(&door, &peer, &head.headers).ok_or(BAD_HOST)?;
        answer(&door, &asked, &seen).await
    };
    match answered.await {
        Ok((result, answer)) => {
            door.parts.metrics.request(result);
            Json(answer).into_response()
        }
        Err(refusal) => {
            door.parts.metrics.request(refusal.result);
            let loud = matches!(refusal.result, "bad_host" | "no_listener" | "full" | "limited" | "barred");
            if loud && let Some(unsaid) = door.quiet.may_log() {
                let (peer, why) = (peer.address(), refusal.result);
                tracing::warn!(%peer, why, unsaid, "a board gets no credentials");
            }
            refusal.into_response()
        }
    }
}

/// The result's label, and the answer.
async fn answer(door: &Door, asked: &Asked, seen: &Seen) -> Result<(&'static str, Map<String, Value>), Refusal> {
    if asked.facts.unreadable {
        // it says nothing that the answer depends on, and a board without one does not start
        door.parts.metrics.unreadable.inc();
    }
    let told = door.parts.enrolment.ask(&asked.board).await.map_err(|error| {
        if let Some(unsaid) = door.quiet.may_log() {
            tracing::error!(%error, unsaid, "a board cannot be answered");
        }
        FAILED
    })?;
    let mut answer = answer::base(door, &asked.facts);
    let result = match told {
        Told::Enrolled(enrolled, way) => {
            let device = &asked.board.device;
            let credentials = answer::credentials(door, seen, device, &enrolled).ok_or(NO_LISTENER)?;
            answer.extend(credentials);
            door.whereabouts.told(device, seen);
            if let Some(news) = downloads::offer(door, seen, device, &asked.facts) {
                answer.insert("firmware".into(), news);
            }
            match way {
                Way::Known => "known",
                Way::Expected => "expected",
                Way::Allowed => "allowed",
                Way::BringUp => "bring_up",
            }
        }
        Told::Wait(waiting) => {
            let message = door.parts.enrolment.message(&waiting);
            answer.insert("activation".into(), answer::activation(&waiting, &message));
            "pending"
        }
        Told::Barred => return Err(BARRED),
        Told::Full => return Err(FULL),
    };
    Ok((result, answer))
}
