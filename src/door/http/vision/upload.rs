//! `POST /xiaozhi/vision`: a board sends a photo and waits for what is said about it.
//!
//! What is wrong with the request is told by its status, which firmware makes an error of the tool; what became of a good
//! photo is told with 200 and in words, which firmware hands on as they are.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::super::devices::Peer;
use super::super::devices::refusal::{LIMITED, Refusal};
use super::Door;
use super::form::{self, Form, TOO_LARGE};
use super::passes::Grant;
use crate::domain::{Photo, Unseen};

const NO_TOKEN: Refusal =
    Refusal::new("no_token", StatusCode::UNAUTHORIZED, "photos need the token that the session's device was told");
const BAD_TOKEN: Refusal =
    Refusal::new("bad_token", StatusCode::UNAUTHORIZED, "the token is wrong, or its session is over");
const OTHER_DEVICE: Refusal =
    Refusal::new("other_device", StatusCode::UNAUTHORIZED, "the token is wrong, or its session is over");
const BUSY: Refusal =
    Refusal::new("busy", StatusCode::TOO_MANY_REQUESTS, "another photo of this device is being looked at");
const FULL: Refusal =
    Refusal::new("full", StatusCode::SERVICE_UNAVAILABLE, "too many photos just now; try again later");
const NOT_MULTIPART: Refusal =
    Refusal::new("not_multipart", StatusCode::BAD_REQUEST, "a photo comes as multipart/form-data with a boundary");
const SLOW: Refusal = Refusal::new("slow", StatusCode::REQUEST_TIMEOUT, "the photo did not come in time");
const GONE: Refusal = Refusal::new("gone", StatusCode::SERVICE_UNAVAILABLE, "the gateway stops");

/// Answers a photo.
pub(super) async fn upload(
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    match look(&door, &peer, request).await {
        Ok(Ok(answer)) => {
            door.parts.metrics.upload("answered");
            Json(json!({"success": true, "response": answer})).into_response()
        }
        Ok(Err(Unseen(words))) => {
            door.parts.metrics.upload("unanswered");
            Json(json!({"success": false, "message": words})).into_response()
        }
        Err(refusal) => {
            door.parts.metrics.upload(refusal.result);
            if let Some(unsaid) = door.quiet.may_log() {
                tracing::warn!(peer = %peer.address(), why = refusal.result, unsaid, "a photo is refused");
            }
            let mut response = refusal.into_response();
            let body = json!({"success": false, "message": refusal.text});
            *response.body_mut() = Body::from(body.to_string());
            response.headers_mut().remove(header::CONTENT_LENGTH);
            response
        }
    }
}

async fn look(door: &Door, peer: &Peer, request: Request) -> Result<Result<String, Unseen>, Refusal> {
    let begun = Instant::now();
    if !door.addresses.admit(peer.address().ip(), door.parts.clock.mono()) {
        return Err(LIMITED);
    }
    // nothing of the body is read before all this is known
    let grant = admit(door, request.headers())?;
    let places = reserve(door, &grant)?;
    let most = door.settings.size.len() + form::REST;
    if request.body().size_hint().lower() > most as u64 {
        return Err(TOO_LARGE);
    }
    peer.stay();
    let form = timeout_at(begun + door.settings.time.0, read(door, request)).await.map_err(|_| SLOW)??;
    door.parts.metrics.bytes.inc_by(form.image.len() as u64);
    let Form { question, picture, image } = form;
    let photo = Photo {
        device: grant.device.clone(),
        session: grant.session.clone(),
        turn: grant.turn(),
        question,
        mime: picture.mime,
        image,
    };
    // a peer that breaks off ends this future, and with the guard the look; which is written down all the same
    let cancelled = grant.over.child_token();
    let _guard = cancelled.clone().drop_guard();
    let looking = door.parts.sight.look(photo, begun + door.settings.answer.0, cancelled);
    let looking = door.parts.tasks.spawn(async move {
        let answer = looking.await;
        drop(places);
        answer
    });
    looking.await.map_err(|_| GONE)
}

/// Whose photo it is.
fn admit(door: &Door, headers: &HeaderMap) -> Result<Arc<Grant>, Refusal> {
    let shown = headers.get(header::AUTHORIZATION).ok_or(NO_TOKEN)?.to_str().map_err(|_| BAD_TOKEN)?;
    let token = shown.strip_prefix("Bearer ").ok_or(NO_TOKEN)?.trim();
    let grant = door.parts.passes.find(token).ok_or(BAD_TOKEN)?;
    match headers.get("device-id") {
        Some(said) if !said.as_bytes().eq_ignore_ascii_case(grant.device.as_str().as_bytes()) => Err(OTHER_DEVICE),
        _ => Ok(grant),
    }
}

/// Places for one photo: of the device, and of all.
fn reserve(door: &Door, grant: &Grant) -> Result<[OwnedSemaphorePermit; 2], Refusal> {
    let own = Arc::clone(&grant.place).try_acquire_owned().map_err(|_| BUSY)?;
    if !door.devices.take(grant.device.clone(), door.parts.clock.mono()) {
        return Err(LIMITED);
    }
    let place = Arc::clone(&door.places).try_acquire_owned().map_err(|_| FULL)?;
    Ok([own, place])
}

async fn read(door: &Door, request: Request) -> Result<Form, Refusal> {
    let parts = Multipart::from_request(request, &()).await.map_err(|_| NOT_MULTIPART)?;
    form::read(parts, &door.settings).await
}
