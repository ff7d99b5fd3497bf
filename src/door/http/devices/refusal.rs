//! What a peer is told that gets nothing.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

/// Why a request gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Refusal {
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

pub(in super::super) const LIMITED: Refusal =
    Refusal::new("limited", StatusCode::TOO_MANY_REQUESTS, "too many requests of this address; wait a minute");
pub(in super::super) const FAILED: Refusal =
    Refusal::new("failed", StatusCode::SERVICE_UNAVAILABLE, "the gateway cannot answer now; its log says why");
