//! Tells others of calls for help: one POST each, tried until it is taken, over restarts and whether or not the device is
//! still there.
//!
//! What is to be told is in the inbox before the device's call is acknowledged; it leaves when the service has taken it. A
//! call may be told twice (each has an id that tells): rather that than not at all.

mod metrics;
mod settings;

use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use metrics::Metrics;
pub use settings::Settings;

use crate::domain::{Clock, SessionId};
use crate::lifelog::{Kind, Lifelog};
use crate::provider::http::{Client, Headers, HttpError, Patience};
use crate::session::Alarm;
use crate::store::records::{Inbox, InboxKind, inboxes};
use crate::store::{Batch, Store, StoreError};

/// Most messages that are looked through.
const MANY: usize = 100_000;
/// Calls that are told at once.
const AT_ONCE: usize = 8;

/// What it is made of.
pub struct Parts {
    /// `[sos]`.
    pub settings: Settings,
    /// The gateway's name.
    pub gateway: String,
    /// Calls to services.
    pub client: Client,
    /// Where the calls are.
    pub store: Arc<dyn Store>,
    /// Where it is written down that somebody was told.
    pub lifelog: Arc<Lifelog>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Metrics,
}

/// Tells others.
pub struct Calls {
    parts: Parts,
    headers: Headers,
    raised: Notify,
}

impl Calls {
    /// One of these parts; reads the token.
    pub fn new(parts: Parts) -> std::io::Result<Self> {
        let token = parts.settings.token_file.as_ref().map(std::fs::read_to_string).transpose()?;
        let headers = token.iter().fold(Headers::new(), |headers, token| headers.bearer(token.trim()));
        Ok(Self { parts, headers, raised: Notify::new() })
    }

    /// Somebody is to be told.
    pub fn has_target(&self) -> bool {
        self.parts.settings.url.is_some()
    }

    /// Tells of what is in the inbox, and of what comes, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let Settings { retry_first, retry_most, .. } = self.parts.settings;
        let mut pause = retry_first.0;
        loop {
            let left = tokio::select! {
                left = self.round() => left,
                () = stop.cancelled() => return,
            };
            let nap = left.then_some(pause);
            let wait = async move {
                match nap {
                    Some(nap) => tokio::time::sleep(nap).await,
                    None => std::future::pending().await,
                }
            };
            pause = if left { (pause * 2).min(retry_most.0) } else { retry_first.0 };
            tokio::select! {
                () = wait => {}
                () = self.raised.notified() => pause = retry_first.0,
                () = stop.cancelled() => return,
            }
        }
    }

    /// Tries each call once; whether any is left.
    async fn round(&self) -> bool {
        let waiting = match inboxes::list_kind(&*self.parts.store, InboxKind::Sos, MANY).await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::error!(%error, "calls for help cannot be read");
                return true;
            }
        };
        // side by side: a call does not wait for the time-outs of those before it
        let tries: Vec<_> = waiting.iter().map(|call| self.try_to_tell(call).boxed()).collect();
        let told = futures::stream::iter(tries).buffer_unordered(AT_ONCE);
        let left = told.filter(|told| std::future::ready(!told)).count().await;
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        self.parts.metrics.waiting.set(left);
        left > 0
    }

    /// Whether it is done with.
    async fn try_to_tell(&self, call: &Inbox) -> bool {
        let Err(error) = self.tell(call).await else { return true };
        tracing::error!(device = %call.device, %error, "nobody could be told of a call for help yet");
        self.parts.metrics.tried("failed");
        false
    }

    async fn tell(&self, call: &Inbox) -> Result<(), Untold> {
        let now = self.parts.clock.wall();
        let late = now.0 > 0 && call.not_after.is_some_and(|at| at < now);
        let url = self.parts.settings.url.as_ref().filter(|_| !late);
        let Some(url) = url else {
            // an address that was taken out of the configuration, or a day that has passed
            tracing::error!(device = %call.device, late, "a call for help is given up: nobody was told");
            self.parts.metrics.tried("given_up");
            return Ok(self.done(call, json!({"sos_untold": call.payload["sos"], "late": late})).await?);
        };
        let id = format!("{}-{:016x}", self.parts.gateway, call.n);
        let headers = self.headers.clone().with("idempotency-key", id.clone());
        let limit = self.parts.settings.timeout.0;
        let patience = Patience { first_byte: limit, between: limit, whole: limit * 2 };
        let mut answer = self.parts.client.post_stream(url, &headers, &self.message(call, &id), patience).await?;
        // what it says is of no interest; a connection that is read to its end can be used again
        while let Some(Ok(_)) = answer.next().await {}
        tracing::warn!(device = %call.device, id, "a call for help was told");
        self.parts.metrics.tried("told");
        Ok(self.done(call, json!({"sos_told": call.payload["sos"], "id": id})).await?)
    }

    fn message(&self, call: &Inbox, id: &str) -> Value {
        let told = &call.payload;
        json!({
            "event": "sos", "id": id, "gateway": self.parts.gateway, "device": call.device, "level": "P0",
            "session_id": told["session_id"], "kind": told["sos"], "text": told["text"], "received_ms": call.received.0,
            "location": told["location"], "location_ms": told["location_at"],
        })
    }

    /// The call leaves the inbox together with what is written down of it.
    async fn done(&self, call: &Inbox, body: Value) -> Result<(), StoreError> {
        let session = call.payload["session_id"].as_str().and_then(|id| SessionId::parse(id).ok());
        let mut batch = Batch::new();
        inboxes::done(&mut batch, &call.device, call.n);
        self.parts.lifelog.append(&mut batch, &call.device, session.as_ref(), Kind::Alert, body)?;
        self.parts.store.commit(batch).await.map(drop)
    }
}

impl Alarm for Calls {
    fn raised(&self) {
        self.raised.notify_one();
    }
}

/// Why nobody was told.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error("{0}")]
    Http(#[from] HttpError),
    #[error("{0}")]
    Store(#[from] StoreError),
}
