//! A whole gateway in this process, and the devices that connect to it.
#![allow(dead_code, reason = "each test file uses its part of this")]

pub mod answer;
pub mod binary;
pub mod browser;
pub mod http;
pub mod metrics;
pub mod mosquitto;
pub mod peer;
pub mod service;
pub mod tmpfs;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tempfile::TempDir;
use voxgate::admin::{Admin, LifelogQuery, NewDevice, NewOperator, Role};
use voxgate::app::{Addrs, Gateway, Operators, Outside};
use voxgate::config::Config;
use voxgate::domain::{ByteSize, DeviceId, Downlink, ListenMode};
use voxgate::observe::Notifier;
use voxgate::pipeline::voice::Providers;
use voxgate::provider::{ChatModel, ChatRequest, ChatStream, ErrorKind, ProviderError};
use voxgate::sim::bench::voice;
use voxgate::sim::device::{Device, Login};
use voxgate::sim::providers::{FixedChat, FixedTranscriber, ToneSynthesizer};
use voxgate::sim::script::Script;

use peer::{Peer, Version};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running gateway and its folder.
pub struct Running {
    gateway: Gateway,
    dir: Arc<TempDir>,
    config: Box<Config>,
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

/// Providers that answer at once, but for this chat model.
pub fn with_chat(chat: Arc<dyn ChatModel>) -> Providers {
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

/// A configuration for a gateway in `dir`, on ports that are free.
pub fn config(dir: &Path) -> Config {
    let mut config = Config::default();
    config.gateway.data_dir = dir.join("data");
    config.mqtt.listen = "127.0.0.1:0".parse().unwrap();
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.udp.listen = "127.0.0.1:0".parse().unwrap();
    config.devices.listen = "127.0.0.1:0".parse().unwrap();
    config.control.socket = dir.join("control.sock");
    config.store.reserve = ByteSize(0);
    config
}

/// What comes from outside, with these providers.
pub fn outside(providers: &Providers) -> Outside {
    Outside { providers: Some(providers.clone()), notifier: Notifier::default(), ..Outside::default() }
}

impl Running {
    /// Starts a gateway in a fresh folder.
    pub async fn start(providers: Providers) -> Self {
        Self::start_with(providers, |_| {}).await
    }

    /// The same with another configuration.
    pub async fn start_with(providers: Providers, change: impl FnOnce(&mut Config)) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        let mut config = Box::new(config(dir.path()));
        change(&mut config);
        assert_eq!(config.check(""), [], "a test's own configuration");
        Self::start_in(dir, config, providers).await
    }

    /// Starts one in this folder.
    pub async fn start_in(dir: Arc<TempDir>, config: Box<Config>, providers: Providers) -> Self {
        let gateway = Box::pin(Gateway::start(Config::clone(&config), outside(&providers))).await.unwrap();
        Self { gateway, dir, config, providers }
    }

    /// Stops it and starts another on the same folder.
    pub async fn restart(self) -> Self {
        let Self { gateway, dir, config, providers } = self;
        gateway.stop(Duration::from_secs(10)).await;
        Self::start_in(dir, config, providers).await
    }

    /// The same with another configuration.
    pub async fn restart_with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        Box::pin(self.restart()).await
    }

    /// Stops it; gives its folder, which is there as long as this is held, and its configuration.
    pub async fn put_away(self) -> (Arc<TempDir>, Config) {
        let Self { gateway, dir, config, .. } = self;
        gateway.stop(Duration::from_secs(10)).await;
        (dir, *config)
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where it listens.
    pub fn addrs(&self) -> &Addrs {
        self.gateway.addrs()
    }

    /// Stops it.
    pub async fn stop(self) {
        self.gateway.stop(Duration::from_secs(10)).await;
    }

    /// What the watchdog looks at.
    pub async fn alive(&self) -> Result<(), String> {
        self.gateway.alive().await
    }

    /// The operators' operations.
    pub fn operators(&self) -> Arc<Operators> {
        self.gateway.operators()
    }

    /// Makes a device and connects it.
    pub async fn device(&self, id: &str) -> Device {
        let secret = self.add(id, false).await;
        self.connect_as(DeviceId::parse(id).unwrap(), secret).await
    }

    /// Makes a device; gives its secret.
    pub async fn add(&self, id: &str, device_text: bool) -> String {
        let id = DeviceId::parse(id).unwrap();
        let new = NewDevice { device_text, ..NewDevice::anew(id.clone(), ListenMode::Auto) };
        let secret = self.operators().device_add(new).await.unwrap().secret.unwrap().0;
        std::fs::write(self.dir.path().join(format!("{id}.secret")), &secret).unwrap();
        secret
    }

    /// Makes a device that speaks raw MQTT and connects it.
    pub async fn peer(&self, version: Version, id: &str) -> Peer {
        let secret = self.add(id, false).await;
        Peer::connect(self.addrs().mqtt, version, id, &secret).await
    }

    /// Makes an operator who may watch, and connects him with a window that is soon full.
    pub async fn watcher(&self, name: &str) -> Peer {
        let new = NewOperator { name: name.to_owned(), role: Role::Operator, password: None };
        let secret = self.operators().operator_add(new).await.unwrap().secret.unwrap().0;
        Peer::narrow(self.addrs().mqtt, name, &secret).await
    }

    /// Connects a device that was made before.
    pub async fn connect(&self, id: &str) -> Device {
        self.connect_as(DeviceId::parse(id).unwrap(), self.secret(id)).await
    }

    /// The secret of a device that was made before.
    pub fn secret(&self, id: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("{id}.secret"))).unwrap()
    }

    async fn connect_as(&self, id: DeviceId, secret: String) -> Device {
        let mqtt = self.gateway.addrs().mqtt;
        let login = Login { host: mqtt.ip().to_string(), port: mqtt.port(), id, secret };
        Device::connect(&login, PATIENCE).await.unwrap()
    }

    /// The record of the last turn of a device; waits for it.
    pub async fn last_turn(&self, id: &str) -> Value {
        self.turns(id, 1).await.pop().unwrap()
    }

    /// All that is written down of a device, oldest first.
    pub async fn entries(&self, id: &str) -> Vec<Value> {
        let device = Some(DeviceId::parse(id).unwrap());
        let query = LifelogQuery { device, limit: 1_000, ..LifelogQuery::default() };
        let rows = self.operators().lifelog_list(query).await.unwrap();
        rows.into_iter().map(|row| row.detail).collect()
    }

    /// The records of a device's turns, oldest first; waits until there are `least`.
    pub async fn turns(&self, id: &str, least: usize) -> Vec<Value> {
        let query = LifelogQuery {
            device: Some(DeviceId::parse(id).unwrap()),
            kind: Some("turn".into()),
            limit: 1_000,
            ..LifelogQuery::default()
        };
        let operators = self.operators();
        tokio::time::timeout(PATIENCE, async {
            loop {
                let rows = operators.lifelog_list(query.clone()).await.unwrap();
                if rows.len() >= least {
                    return rows.into_iter().map(|row| row.detail).collect();
                }
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap()
    }
}
