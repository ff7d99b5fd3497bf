//! The page that shows the document, and asks what it describes. All of it is in the binary, and it loads nothing else.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Api;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The page and what it is made of.
pub(super) fn routes() -> Router<Arc<Api>> {
    let file = |kind: &'static str, text: &'static str| get(move || async move { file(kind, text) });
    Router::new()
        .route("/v1/docs", file("text/html; charset=utf-8", include_str!("page/index.html")))
        .route("/v1/docs/page.js", file("text/javascript; charset=utf-8", include_str!("page/page.js")))
        .route("/v1/docs/page.css", file("text/css; charset=utf-8", include_str!("page/page.css")))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, HeaderValue); 5] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, text).into_response()
}
