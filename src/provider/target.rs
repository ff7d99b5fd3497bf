//! A service over HTTP: where it is, with which key, and its failures in the words of providers.
//!
//! It knows the error objects of all vendors whose adapters are here. Whatever becomes an error text goes through
//! [`Target::error`], which takes the key out.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::http::{Client, Headers, HttpError, Patience};
use super::pool::Probe;
use super::{ErrorKind, ProviderError};

/// So much of what a service says about a failure is kept, in characters.
const TOLD: usize = 500;

/// A service and how to talk to it.
#[derive(Clone)]
pub struct Target {
    /// The route's name in the configuration.
    pub name: String,
    /// Up to and with the version (`/v1`), no slash at its end.
    pub url: String,
    /// The model, in the service's words.
    pub model: Option<String>,
    /// The headers, key included.
    pub headers: Headers,
    /// The key, to be kept out of error texts that quote it.
    pub secret: Option<String>,
    /// How long to wait.
    pub patience: Patience,
    /// The client.
    pub client: Client,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Target {
    /// A service without a key.
    pub fn new(name: impl Into<String>, url: impl Into<String>, client: Client) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            model: None,
            headers: Headers::new(),
            secret: None,
            patience: Patience::default(),
            client,
        }
    }

    pub(super) fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    pub(super) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> ProviderError {
        let mut message: String = message.into();
        if let Some(secret) = self.secret.as_ref().filter(|secret| secret.len() > 4) {
            message = message.replace(secret.as_str(), "***");
        }
        ProviderError::new(kind, self.name.as_str(), message)
    }

    /// In the words of providers; an error body in a form that is known is said in its own words.
    #[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
    pub(super) fn failure(&self, error: HttpError) -> ProviderError {
        let HttpError::Status { status, retry_after, body } = &error else {
            return self.error(error.kind(), error.to_string());
        };
        let told = serde_json::from_str::<Value>(body).ok().and_then(|value| Complaint::read(&value));
        let told = told.unwrap_or_else(|| Complaint::new(body.chars().take(200).collect()));
        let kind = kind_of(&told.code).unwrap_or_else(|| error.kind());
        let retry_after = retry_after.or(told.retry_after);
        ProviderError { retry_after, ..self.error(kind, format!("status {status}: {}", told.message)) }
    }

    /// What an answer that had begun says of its own failure.
    pub(super) fn complaint(&self, complaint: Complaint) -> ProviderError {
        let status = complaint.status.map(ErrorKind::of_status);
        let kind = kind_of(&complaint.code).or(status).unwrap_or(ErrorKind::Internal);
        ProviderError { retry_after: complaint.retry_after, ..self.error(kind, complaint.message) }
    }

    pub(super) fn garbled(&self, what: impl fmt::Display) -> ProviderError {
        self.error(ErrorKind::BadAnswer, what.to_string())
    }
}

/// Looks whether a service over HTTP is there: every one of them lists its models, to whoever has a key.
pub(super) struct Listed {
    target: Target,
}

impl Listed {
    pub(super) fn new(target: Target) -> Self {
        // what is listened to over a WebSocket is listed beside it
        let url = match target.url.strip_prefix("ws") {
            Some(rest) => format!("http{rest}"),
            None => target.url.clone(),
        };
        Self { target: Target { url, ..target } }
    }
}

#[async_trait]
impl Probe for Listed {
    async fn probe(&self) -> Result<(), ProviderError> {
        let target = &self.target;
        let models = target.client.get_json(&target.address("models"), &target.headers, target.patience).await;
        match models {
            // one that has no list answers all the same
            Ok(_) | Err(HttpError::Status { status: 404 | 405, .. }) => Ok(()),
            Err(error) => Err(target.failure(error)),
        }
    }
}

/// What a service says about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) message: String,
    /// A word for it; empty when there is none.
    pub(super) code: String,
    /// The number of HTTP, where it stands in the body.
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<Duration>,
}

impl Complaint {
    fn new(message: String) -> Self {
        Self { message, code: String::new(), status: None, retry_after: None }
    }

    /// An error object: OpenAI's and Anthropic's, Google's, Ollama's (`{"error": "text"}`), FastAPI's and ElevenLabs'
    /// (`detail`), Deepgram's (`err_msg`), vLLM's of old (`"object": "error"`).
    pub(super) fn read(value: &Value) -> Option<Self> {
        let is_error = |value: &Value| value.get("object").and_then(Value::as_str) == Some("error");
        let flat = || Some(value).filter(|value| value.get("err_msg").is_some() || is_error(value));
        let error =
            value.get("error").or_else(|| value.get("detail")).filter(|error| !error.is_null()).or_else(flat)?;
        let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
        let message = error.as_str().map(str::to_owned).or_else(|| text("message")).or_else(|| text("err_msg"));
        let message = message.unwrap_or_else(|| error.to_string());
        let details = error.get("details").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let detail = |key: &str| details.iter().find_map(|detail| detail.get(key)).and_then(Value::as_str);
        let code = ["code", "type", "err_code"].into_iter().find_map(text);
        let code = code.or_else(|| detail("reason").map(str::to_owned)).or_else(|| text("status"));
        Some(Self {
            message: message.chars().take(TOLD).collect(),
            code: code.unwrap_or_default(),
            status: error.get("code").and_then(Value::as_u64).and_then(|status| status.try_into().ok()),
            retry_after: detail("retryDelay").and_then(seconds),
        })
    }
}

/// Google's durations: `17s`, `0.5s`.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

/// Codes that say more than the status. Words that different vendors mean differently are not here.
fn kind_of(code: &str) -> Option<ErrorKind> {
    match code {
        "model_missing" | "off" => Some(ErrorKind::NotConfigured),
        "busy" | "rate_limit_exceeded" | "quota_exceeded" => Some(ErrorKind::RateLimited),
        "invalid_api_key" | "API_KEY_INVALID" => Some(ErrorKind::Unauthorized),
        "invalid_request" => Some(ErrorKind::BadRequest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_complaint_is_read_in_each_vendors_form() {
        let read = |value: Value| Complaint::read(&value).map(|told| (told.message, told.code));
        let told = |message: &str, code: &str| Some((message.to_owned(), code.to_owned()));
        let openai = json!({ "error": { "message": "no", "type": "x", "code": "invalid_api_key" } });
        assert_eq!(read(openai), told("no", "invalid_api_key"));
        assert_eq!(read(json!({ "error": "no such model" })), told("no such model", ""));
        let anthropic = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } });
        assert_eq!(read(anthropic), told("Overloaded", "overloaded_error"));
        let elevenlabs = json!({ "detail": { "status": "quota_exceeded", "message": "used up" } });
        assert_eq!(read(elevenlabs), told("used up", "quota_exceeded"));
        let deepgram = json!({ "err_code": "INVALID_AUTH", "err_msg": "Invalid credentials.", "request_id": "x" });
        assert_eq!(read(deepgram), told("Invalid credentials.", "INVALID_AUTH"));
        let vllm =
            json!({ "object": "error", "message": "too long", "type": "BadRequestError", "param": null, "code": 400 });
        assert_eq!(read(vllm), told("too long", "BadRequestError"));
        for none in [json!({}), json!([]), json!({ "error": null }), json!("error")] {
            assert_eq!(read(none.clone()), None, "{none}");
        }
    }

    #[test]
    fn google_says_in_its_details_what_the_status_does_not() {
        let key = json!({ "error": { "code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT",
            "details": [{ "@type": "x/ErrorInfo", "reason": "API_KEY_INVALID" }] } });
        assert_eq!(Complaint::read(&key).map(|told| told.code).as_deref(), Some("API_KEY_INVALID"));
        let quota = json!({ "error": { "code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED",
            "details": [{ "@type": "x/RetryInfo", "retryDelay": "17.5s" }] } });
        let quota = Complaint::read(&quota);
        assert_eq!(quota.as_ref().and_then(|told| told.retry_after), Some(Duration::from_millis(17_500)));
        assert_eq!(quota.and_then(|told| told.status), Some(429));
        for odd in ["", "s", "-1s", "NaNs", "1e300s", "17"] {
            assert_eq!(seconds(odd), None, "{odd}");
        }
    }
}
