//! What a peer is told that gets nothing, and how often the log is.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;
use tokio::time::Instant;

/// Why a request gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The label in metrics.
    pub result: &'static str,
    pub status: StatusCode,
    /// For who reads the answer.
    pub text: &'static str,
}

impl Refusal {
    pub const fn new(result: &'static str, status: StatusCode, text: &'static str) -> Self {
        Self { result, status, text }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({"error": self.text}))).into_response();
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("30"));
        }
        response
    }
}

pub(super) const LIMITED: Refusal =
    Refusal::new("limited", StatusCode::TOO_MANY_REQUESTS, "too many requests of this address; wait a minute");
pub(super) const FAILED: Refusal =
    Refusal::new("failed", StatusCode::SERVICE_UNAVAILABLE, "the gateway cannot answer now; its log says why");

/// Of the lines about what peers do: one a second at most, whoever is to blame.
#[derive(Debug, Default)]
pub(super) struct Quiet(Mutex<(Option<Instant>, u64)>);

impl Quiet {
    /// May a line be logged now; says how many were not since the last one.
    pub fn may_log(&self) -> Option<u64> {
        let (until, unsaid) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if until.is_some_and(|until| now < until) {
            *unsaid += 1;
            return None;
        }
        *until = Some(now + Duration::from_secs(1));
        Some(std::mem::take(unsaid))
    }
}
