//! The table of endpoints: one line each says path, role, what goes in and what comes out, and is both the route and its
//! place in the document. The types of the handler are the types of the document: the two cannot drift apart.

use std::future::Future;
use std::sync::Arc;

use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use futures::future::BoxFuture;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Api;
use super::caller::Caller;
use super::fault::Fault;
use crate::admin::Role;
use crate::domain::DeviceId;

/// One request, checked and read.
pub(super) struct Ask<I> {
    pub api: Arc<Api>,
    /// The operator's name.
    pub caller: Caller,
    /// What stands in the path for `{id}`.
    pub id: String,
    pub input: I,
}

impl<I> Ask<I> {
    /// The device of the path.
    pub fn device(&self) -> Result<DeviceId, Fault> {
        device(&self.id)
    }
}

/// Reads a device's id.
pub(super) fn device(text: &str) -> Result<DeviceId, Fault> {
    DeviceId::parse(text.trim()).map_err(|error| Fault::bad(format!("device_id: {error}")))
}

/// An endpoint without parameters or body.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Nothing {}

/// Done: the fields of the answer, and `success`.
#[derive(Debug, Serialize, JsonSchema)]
struct Done<A> {
    /// Always true.
    success: bool,
    #[serde(flatten)]
    answer: A,
}

/// What has come of a request before its handler sees it.
pub(super) struct Raw {
    pub caller: Caller,
    pub id: String,
    pub query: String,
    pub body: Vec<u8>,
}

type Run = Box<dyn Fn(Arc<Api>, Raw) -> BoxFuture<'static, Result<Response, Fault>> + Send + Sync>;
type Describe = Box<dyn Fn(&mut SchemaGenerator) -> Schema + Send + Sync>;

/// One line of the table.
pub(super) struct Endpoint {
    pub method: Method,
    pub path: &'static str,
    /// Whom it takes at least.
    pub role: Role,
    pub summary: &'static str,
    pub input: Describe,
    pub answer: Describe,
    run: Run,
}

impl Endpoint {
    /// An endpoint that looks: its input is the query.
    pub fn get<I, A, F>(
        path: &'static str,
        role: Role,
        summary: &'static str,
        handler: impl Fn(Ask<I>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
        A: Serialize + JsonSchema + 'static,
        F: Future<Output = Result<A, Fault>> + Send + 'static,
    {
        let read = |raw: &Raw| {
            axum::extract::Query::try_from_uri(&query_uri(&raw.query)?)
                .map(|axum::extract::Query(input)| input)
                .map_err(|error| Fault::bad(error.body_text()))
        };
        Self::new(Method::GET, path, role, summary, read, handler)
    }

    /// An endpoint that changes something: its input is the body, a JSON object.
    pub fn post<I, A, F>(
        path: &'static str,
        role: Role,
        summary: &'static str,
        handler: impl Fn(Ask<I>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
        A: Serialize + JsonSchema + 'static,
        F: Future<Output = Result<A, Fault>> + Send + 'static,
    {
        Self::new(Method::POST, path, role, summary, |raw: &Raw| object(&raw.body), handler)
    }

    fn new<I, A, F>(
        method: Method,
        path: &'static str,
        role: Role,
        summary: &'static str,
        read: impl Fn(&Raw) -> Result<I, Fault> + Send + Sync + 'static,
        handler: impl Fn(Ask<I>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
        A: Serialize + JsonSchema + 'static,
        F: Future<Output = Result<A, Fault>> + Send + 'static,
    {
        let run = move |api: Arc<Api>, raw: Raw| match read(&raw) {
            Err(fault) => std::future::ready(Err(fault)).boxed(),
            Ok(input) => {
                let Raw { caller, id, .. } = raw;
                let answer = handler(Ask { api, caller, id, input });
                async move { done(answer.await?) }.boxed()
            }
        };
        Self {
            method,
            path,
            role,
            summary,
            input: Box::new(SchemaGenerator::subschema_for::<I>),
            answer: Box::new(SchemaGenerator::subschema_for::<Done<A>>),
            run: Box::new(run),
        }
    }

    /// It changes something: it is told to the audit log.
    pub fn changes(&self) -> bool {
        self.method != Method::GET
    }

    /// Runs the handler; the caller may.
    pub async fn run(&self, api: Arc<Api>, raw: Raw) -> Result<Response, Fault> {
        (self.run)(api, raw).await
    }
}

fn done<A: Serialize>(answer: A) -> Result<Response, Fault> {
    let internal = |_| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer cannot be written");
    let body = serde_json::to_vec(&Done { success: true, answer }).map_err(internal)?;
    let json = header::HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json), (header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"))], body)
        .into_response())
}

fn query_uri(query: &str) -> Result<axum::http::Uri, Fault> {
    format!("/?{query}").parse().map_err(|_| Fault::bad("the query cannot be read"))
}

/// Reads a JSON object; nothing is an empty one.
fn object<I: DeserializeOwned>(body: &[u8]) -> Result<I, Fault> {
    let invalid = || Fault::new(StatusCode::BAD_REQUEST, "invalid_json", "invalid json");
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
    std::str::from_utf8(body).map_err(|_| invalid())?;
    // a list would be taken for the fields of a struct, in their order
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(|_| invalid())?;
        return Err(Fault::new(StatusCode::BAD_REQUEST, "invalid_json", "the body is no JSON object"));
    }
    serde_json::from_slice(body)
        .map_err(|error| if error.is_data() { Fault::bad(error.to_string()) } else { invalid() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Named {
        #[serde(default, alias = "deviceId")]
        device_id: Option<String>,
    }

    #[test]
    fn a_body_is_an_object_or_nothing() {
        assert_eq!(object::<Named>(b" \n").unwrap().device_id, None);
        assert_eq!(object::<Named>(br#"{"deviceId":"cane"}"#).unwrap().device_id.as_deref(), Some("cane"));
        for bad in [&b"[\"cane\"]"[..], b"1", b"null", b"{", b"{\"a\":1}}", b"\xff\xfe", b"\"x\"", b"]"] {
            assert_eq!(object::<Named>(bad).expect_err("is refused").code, "invalid_json", "{bad:?}");
        }
        assert_eq!(object::<Named>(br#"{"device_id":7}"#).expect_err("is refused").code, "bad_request");
        let deep = [vec![b'{'; 1], b"\"a\":".to_vec(), vec![b'['; 200_000]].concat();
        assert_eq!(object::<Named>(&deep).expect_err("is refused").code, "invalid_json");
    }
}
