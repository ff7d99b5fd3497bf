//! What is answered when something is not done: always JSON, always with a code.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::{AdminError, AdminErrorKind};

/// Not done. `error` is for a person (or the code itself, where OpenCane answers with the code), `error_code` for
/// programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Failure {
    /// Always false.
    pub success: bool,
    /// What happened.
    pub error: String,
    /// A stable word for it.
    pub error_code: String,
}

/// A request that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub status: StatusCode,
    pub code: &'static str,
    pub error: Cow<'static, str>,
    /// Seconds after which the same may be tried again.
    pub again: Option<u32>,
    /// Methods that the path has.
    pub allow: Option<String>,
}

impl Fault {
    pub fn new(status: StatusCode, code: &'static str, error: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, error: error.into(), again: None, allow: None }
    }

    /// 400, whose text is the code.
    pub fn coded(status: StatusCode, code: &'static str) -> Self {
        Self::new(status, code, code)
    }

    pub fn bad(error: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", error)
    }

    pub fn not_found(error: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", error)
    }

    pub fn unauthorized() -> Self {
        Self::coded(StatusCode::UNAUTHORIZED, "unauthorized")
    }

    pub fn rate_limited(again: u32) -> Self {
        Self { again: Some(again), ..Self::coded(StatusCode::TOO_MANY_REQUESTS, "rate_limited") }
    }

    pub fn busy(error: &'static str) -> Self {
        Self { again: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error) }
    }

    pub fn timeout() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "runtime timeout")
    }
}

impl From<AdminError> for Fault {
    fn from(error: AdminError) -> Self {
        let (status, code) = match error.kind {
            AdminErrorKind::Exists | AdminErrorKind::Conflict => (StatusCode::CONFLICT, "conflict"),
            AdminErrorKind::Invalid => (StatusCode::BAD_REQUEST, "bad_request"),
            AdminErrorKind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            AdminErrorKind::NotRunning => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            AdminErrorKind::Store => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
            AdminErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Self::new(status, code, error.message)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let Self { status, code, error, again, allow } = self;
        let failure = Failure { success: false, error: error.into_owned(), error_code: code.to_owned() };
        let mut response = (status, Json(failure)).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(again) = again {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(again));
        }
        if let Some(allow) = allow {
            headers.extend(HeaderValue::from_str(&allow).ok().map(|allow| (header::ALLOW, allow)));
        }
        response
    }
}
