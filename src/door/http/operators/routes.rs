//! What is answered under which path.

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;

use crate::observe::{Verdict, metrics};

use super::Parts;

/// The routes; an answer that takes longer than `limit` is a 503.
pub(super) fn router(parts: Parts, limit: Duration) -> Router {
    let in_time = move |request: Request, next: Next| async move {
        match tokio::time::timeout(limit, next.run(request)).await {
            Ok(response) => response,
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "no answer in time\n").into_response(),
        }
    };
    let api = parts.api.as_ref().map(super::super::control::Api::routes);
    let routes = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .layer(middleware::from_fn(in_time))
        .with_state(parts);
    // it has limits of its own
    match api {
        Some(api) => routes.fallback_service(api),
        None => routes,
    }
}

/// OpenMetrics text.
async fn metrics_text(State(parts): State<Parts>) -> Response {
    match metrics::encode(&parts.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be encoded\n").into_response(),
    }
}

/// 200: the process does its work. 503: restart it. A missing engine is neither.
async fn healthy(State(parts): State<Parts>) -> Response {
    match parts.health.alive() {
        Ok(()) => "alive\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// 200: devices can be served. 503: not yet, or not any more. The body says what and why.
async fn ready(State(parts): State<Parts>) -> Response {
    let verdict = Verdict::of(parts.health.report());
    let status = if verdict.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(verdict)).into_response()
}
