//! Web pages: a board sends no `Origin`, so what does comes from a browser, and is refused unless its page is listed.
//! That keeps a page that somebody looks at in the gateway's network from becoming a device.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Door;
use super::refusal::Refusal;

const STRANGE: Refusal = Refusal::new(
    "origin",
    StatusCode::FORBIDDEN,
    "pages of this origin may not ask; list it in devices.origins of the gateway's configuration",
);
/// What a browser may send along.
const HEADERS: HeaderValue = HeaderValue::from_static(
    "device-id, client-id, content-type, authorization, activation-version, accept-language, serial-number",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, OPTIONS");

/// Lets boards pass, and listed pages with what their browsers need.
pub(super) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = request.method() == Method::OPTIONS;
    let activation = request.uri().path().ends_with("/activate");
    match origin {
        Some(origin) if !is_listed(&door, &origin) => {
            if activation {
                door.parts.metrics.activation(STRANGE.result);
            } else {
                door.parts.metrics.request(STRANGE.result);
            }
            STRANGE.into_response()
        }
        None if preflight => (StatusCode::NO_CONTENT, [(header::ALLOW, METHODS)]).into_response(),
        None => next.run(request).await,
        Some(origin) => {
            let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
            allow(response.headers_mut(), origin, preflight);
            response
        }
    }
}

fn is_listed(door: &Door, origin: &HeaderValue) -> bool {
    door.settings.origins.iter().any(|listed| listed == "*" || listed.as_bytes() == origin.as_bytes())
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue, preflight: bool) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
}
