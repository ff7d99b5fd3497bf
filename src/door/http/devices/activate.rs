//! `/xiaozhi/ota/activate`: a board that waits asks whether it was claimed. The answer opens nothing: credentials are
//! at `/xiaozhi/ota/` only.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

use super::refusal::{FAILED, Refusal};
use super::{Door, Peer, request};
use crate::door::enrolment::Activation;

const STALE: Refusal =
    Refusal::new("stale", StatusCode::FORBIDDEN, "this is not the challenge that the board was given");
const UNKNOWN: Refusal =
    Refusal::new("unknown", StatusCode::NOT_FOUND, "this board does not wait, or no longer; ask /xiaozhi/ota/ again");

/// Answers a board: 200 claimed, 202 not yet.
pub(super) async fn activate(
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let answered = async {
        let asked = request::read(&door, &peer, &head.headers, body).await?;
        // what a board signs it with is its own secret: it proves nothing to us, and is not looked at
        let challenge = asked.facts.challenge.as_deref();
        let activation = door.parts.enrolment.activation(&asked.board, challenge).await;
        match activation.map_err(|_| FAILED)? {
            Activation::Done => Ok(("done", StatusCode::OK, "claimed")),
            Activation::Waiting => Ok(("waiting", StatusCode::ACCEPTED, "waiting")),
            Activation::Stale => Err(STALE),
            Activation::Unknown => Err(UNKNOWN),
        }
    };
    match answered.await {
        Ok((result, status, message)) => {
            door.parts.metrics.activation(result);
            (status, Json(json!({"message": message}))).into_response()
        }
        Err(refusal) => {
            door.parts.metrics.activation(refusal.result);
            refusal.into_response()
        }
    }
}
