//! Connections that are opened ahead of need: when somebody begins to speak, the services of the turn that may follow get one.
//!
//! Who hears that rings a [`Bell`], which costs nothing and waits for nothing. One task answers it: rings while it is at work
//! are one ring, and a turn never waits for it. What is opened carries no key.

use std::sync::Arc;

use async_trait::async_trait;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use super::http::Opened;
use super::http::{Client, Way};
use super::target::Target;

/// Opens a connection to a service, where none is there.
#[async_trait]
pub trait Opens: Send + Sync {
    /// Does so; a failure is the next request's to tell.
    async fn open(&self) -> Opened;
}

/// A service over HTTP.
pub(super) struct Web {
    client: Client,
    url: String,
    way: Way,
}

impl Web {
    /// That of requests to `target`, if connections are to be opened ahead.
    pub(super) fn requests(target: &Target) -> Option<Arc<dyn Opens>> {
        Self::of(target, Way::Requests)
    }

    /// That of a WebSocket to `target`.
    pub(super) fn socket(target: &Target) -> Option<Arc<dyn Opens>> {
        Self::of(target, Way::Socket)
    }

    fn of(target: &Target, way: Way) -> Option<Arc<dyn Opens>> {
        let client = target.client.clone();
        client.warms().then(|| Arc::new(Self { client, url: target.url.clone(), way }) as _)
    }
}

#[async_trait]
impl Opens for Web {
    async fn open(&self) -> Opened {
        self.client.warm(&self.url, self.way).await
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    capability: &'static str,
    outcome: &'static str,
}

/// What is counted.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Family<Label, Counter>);

impl Metrics {
    /// Registers it.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "voxgate_provider_warmed",
            "Connections to the services of a turn when somebody began to speak: opened, there already, or failed",
            metrics.0.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for capability in ["stt", "tts", "chat"] {
            for outcome in [Opened::Now, Opened::Already, Opened::Failed] {
                drop(self.0.get_or_create(&Label { capability, outcome: name(outcome) }));
            }
        }
    }
}

fn name(outcome: Opened) -> &'static str {
    match outcome {
        Opened::Now => "opened",
        Opened::Already => "already",
        Opened::Failed => "failed",
    }
}

/// Says that a turn may come soon. Clones ring for the same task.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Rings.
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

/// The services of a turn whose connections are opened ahead.
#[derive(Clone, Default)]
pub struct Warm {
    services: Vec<(&'static str, Arc<dyn Opens>)>,
    bell: Bell,
}

impl Warm {
    /// One more, where it has something to open.
    pub(super) fn add(&mut self, capability: &'static str, opens: Option<Arc<dyn Opens>>) {
        self.services.extend(opens.map(|opens| (capability, opens)));
    }

    /// The bell that is answered.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Answers the bell until `stop`.
    pub async fn run(self, metrics: Metrics, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.bell.0.notified() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.open(&metrics) => {}
            }
        }
    }

    /// Opens what is not open.
    pub async fn open(&self, metrics: &Metrics) {
        let all = self.services.iter().map(|(capability, service)| async move {
            let label = Label { capability, outcome: name(service.open().await) };
            metrics.0.get_or_create(&label).inc();
        });
        futures::future::join_all(all).await;
    }
}
