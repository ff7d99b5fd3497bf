//! A whole gateway in this process, and the devices that connect to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tempfile::TempDir;
use voxgate::admin::{Admin, LifelogQuery};
use voxgate::app::{Gateway, Operators, Outside};
use voxgate::config::Config;
use voxgate::domain::{ByteSize, DeviceId, Downlink, ListenMode};
use voxgate::observe::Notifier;
use voxgate::pipeline::voice::Providers;
use voxgate::provider::{ChatModel, ChatRequest, ChatStream, ErrorKind, ProviderError};
use voxgate::sim::bench::voice;
use voxgate::sim::device::{Device, Login};
use voxgate::sim::providers::{FixedChat, FixedTranscriber, ToneSynthesizer};
use voxgate::sim::script::Script;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running gateway and its folder.
pub struct Running {
    gateway: Gateway,
    dir: Arc<TempDir>,
    providers: Providers,
}

/// Providers that answer at once.
pub fn chat(pieces: &[&str]) -> Providers {
    with_chat(Arc::new(FixedChat {
        pieces: pieces.iter().map(|piece| (*piece).to_owned()).collect(),
        delay: Duration::ZERO,
    }))
}

/// A chat model that fails with a text that nobody may hear.
pub fn broken_chat() -> Providers {
    struct Broken;
    impl ChatModel for Broken {
        fn chat(&self, _: ChatRequest) -> ChatStream {
            let error = ProviderError::new(ErrorKind::Internal, "chat", "secret of the vendor");
            futures::stream::iter([Err(error)]).boxed()
        }
    }
    with_chat(Arc::new(Broken))
}

fn with_chat(chat: Arc<dyn ChatModel>) -> Providers {
    Providers {
        transcriber: Arc::new(FixedTranscriber { words: "why is the sky blue".into(), delay: Duration::ZERO }),
        chat,
        synthesizer: Arc::new(ToneSynthesizer { delay: Duration::ZERO, word_ms: 60 }),
    }
}

/// A second and a half of something that every voice activity detector takes for speech.
pub fn speech() -> Script {
    Script::from_pcm(&voice(Duration::from_millis(1_500)), "a voice").unwrap()
}

/// The next downlink that `wanted` likes; what comes before it is passed over.
pub async fn until(device: &mut Device, wanted: impl Fn(&Downlink) -> bool) -> Downlink {
    loop {
        let arrived = device.next(PATIENCE, "downlink").await.unwrap();
        if wanted(&arrived.downlink) {
            return arrived.downlink;
        }
    }
}

fn config(dir: &Path) -> Config {
    let mut config = Config::default();
    config.gateway.data_dir = dir.join("data");
    config.mqtt.listen = "127.0.0.1:0".parse().unwrap();
    config.http.enabled = false;
    config.control.socket = dir.join("control.sock");
    config.store.reserve = ByteSize(0);
    config
}

impl Running {
    /// Starts a gateway in a fresh folder.
    pub async fn start(providers: Providers) -> Self {
        Self::start_in(Arc::new(TempDir::new().unwrap()), providers).await
    }

    async fn start_in(dir: Arc<TempDir>, providers: Providers) -> Self {
        let outside =
            Outside { providers: Some(providers.clone()), notifier: Notifier::default(), ..Outside::default() };
        let gateway = Gateway::start(config(dir.path()), outside).await.unwrap();
        Self { gateway, dir, providers }
    }

    /// Stops it and starts another on the same folder.
    pub async fn restart(self) -> Self {
        let Self { gateway, dir, providers } = self;
        gateway.stop(Duration::from_secs(10)).await;
        Self::start_in(dir, providers).await
    }

    /// Stops it.
    pub async fn stop(self) {
        self.gateway.stop(Duration::from_secs(10)).await;
    }

    /// The operators' operations.
    pub fn operators(&self) -> Arc<Operators> {
        self.gateway.operators()
    }

    /// Makes a device and connects it.
    pub async fn device(&self, id: &str) -> Device {
        let id = DeviceId::parse(id).unwrap();
        let login = self.gateway.login(&id, ListenMode::Auto).await.unwrap();
        std::fs::write(self.dir.path().join(format!("{id}.secret")), &login.secret).unwrap();
        Device::connect(&login, PATIENCE).await.unwrap()
    }

    /// Connects a device that was made before.
    pub async fn connect(&self, id: &str) -> Device {
        let secret = std::fs::read_to_string(self.dir.path().join(format!("{id}.secret"))).unwrap();
        self.connect_as(DeviceId::parse(id).unwrap(), secret).await
    }

    async fn connect_as(&self, id: DeviceId, secret: String) -> Device {
        let mqtt = self.gateway.addrs().mqtt;
        let login = Login { host: mqtt.ip().to_string(), port: mqtt.port(), id, secret };
        Device::connect(&login, PATIENCE).await.unwrap()
    }

    /// The record of the last turn of a device; waits for it.
    pub async fn last_turn(&self, id: &str) -> Value {
        let query = LifelogQuery {
            device: Some(DeviceId::parse(id).unwrap()),
            kind: Some("turn".into()),
            limit: 1,
            ..LifelogQuery::default()
        };
        let operators = self.operators();
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(row) = operators.lifelog_list(query.clone()).await.unwrap().pop() {
                    return row.detail;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap()
    }
}
