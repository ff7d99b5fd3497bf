//! No conversation needs the bus: it stands still, or panics, under running turns.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::admin::{Admin, NewOperator, Role};
use crate::config::Config;
use crate::domain::{Bulletins, ByteSize, DeviceId, Downlink, ListenMode, Span};
use crate::sim::bench;
use crate::sim::device::Device;
use crate::sim::providers::Delays;
use crate::sim::turn;

const DEVICES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(20);

struct Fleet {
    gateway: Gateway,
    devices: Vec<Device>,
    watcher: TcpStream,
    _dir: TempDir,
}

/// CONNECT and SUBSCRIBE to everything, as an operator.
async fn watch(gateway: &Gateway) -> TcpStream {
    let new = NewOperator { name: "watcher".into(), role: Role::Operator, password: None };
    let secret = gateway.operators().operator_add(new).await.unwrap().secret.unwrap().0;
    let text = |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
    let connect = [text("MQTT"), vec![4, 0xC2, 0, 60], text("watcher"), text("watcher"), text(&secret)].concat();
    let subscribe = [vec![0, 1], text("#"), vec![0]].concat();
    let mut stream = TcpStream::connect(gateway.addrs().mqtt).await.unwrap();
    for (first, body) in [(0x10, connect), (0x82, subscribe)] {
        stream.write_all(&[&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat()).await.unwrap();
    }
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    stream
}

impl Fleet {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let mut config = Config::default();
        config.gateway.data_dir = dir.path().join("data");
        config.mqtt.listen = ([127, 0, 0, 1], 0).into();
        config.mqtt.bus.slots = 16;
        config.mqtt.bus.canary = Span::ms(50);
        config.mqtt.bus.canary_deadline = Span::ms(200);
        config.mqtt.bus.restarts = 1_000;
        config.http.enabled = false;
        config.devices.enabled = false;
        config.udp.enabled = false;
        config.control.socket = dir.path().join("control.sock");
        config.store.reserve = ByteSize(0);
        let (transcriber, chat, synthesizer) = bench::providers(Delays::default());
        let providers = Some(Providers { transcriber, chat, synthesizer });
        let outside = Outside { providers, notifier: Notifier::default(), ..Outside::default() };
        let gateway = Gateway::start(config, outside).await.unwrap();
        let mut devices = Vec::new();
        for n in 0..DEVICES {
            let id = DeviceId::parse(&format!("cane-{n}")).unwrap();
            let login = gateway.login(&id, ListenMode::Auto).await.unwrap();
            devices.push(Device::connect(&login, PATIENCE).await.unwrap());
        }
        let watcher = watch(&gateway).await;
        Self { gateway, devices, watcher, _dir: dir }
    }

    /// Every device has a turn, in real time; `spoken` is called once, when the first of them is spoken to.
    async fn talk(&mut self, spoken: impl Fn() + Send + Sync) {
        let script = bench::script(None).unwrap();
        let (once, spoken, script) = (AtomicBool::new(false), &spoken, &script);
        let once = &once;
        let talks = self.devices.iter_mut().map(|device| async move {
            let mut heard = |arrived: &crate::sim::device::Arrived| {
                if matches!(arrived.downlink, Downlink::Audio(_)) && !once.swap(true, Ordering::AcqRel) {
                    spoken();
                }
            };
            let answer = turn::run(device, script, ListenMode::Manual, 5, &mut heard).await.unwrap();
            assert!(answer.errors.is_empty() && answer.frames > 20, "{}: {answer:?}", device.id);
            assert_eq!((answer.lost, answer.stale), (0, 0), "{}", device.id);
            assert_eq!((answer.transcript.as_str(), answer.reply.as_str()), (bench::WORDS, bench::REPLY));
        });
        futures::future::join_all(talks).await;
        assert!(once.load(Ordering::Acquire));
    }

    /// The watcher, whose connection stayed, sees what happens.
    async fn is_watched(&mut self) {
        let said = DeviceId::parse("said").unwrap();
        self.gateway.bus.event(crate::domain::Event {
            device: Some(said),
            at: crate::domain::Wall(0),
            kind: crate::domain::EventKind::Turn,
            detail: serde_json::json!({}),
        });
        let seeing = async {
            let mut seen = Vec::new();
            while !String::from_utf8_lossy(&seen).contains("/event/said/turn") {
                let mut bytes = [0; 4_096];
                let count = self.watcher.read(&mut bytes).await.unwrap();
                assert!(count > 0, "the watcher was disconnected");
                seen.extend_from_slice(&bytes[..count]);
            }
        };
        tokio::time::timeout(PATIENCE, seeing).await.unwrap();
    }

    async fn heals(&self) {
        let healing = async {
            while self.gateway.bus.degraded() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, healing).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_never_read_costs_no_turn_a_frame() {
    let mut fleet = Fleet::start().await;
    fleet.gateway.bus.deafen(true);
    fleet.talk(|| {}).await;
    let (restarts, dropped) = fleet.gateway.bus.trouble();
    assert!(restarts > 0 && dropped > 0, "{restarts} restarts, {dropped} copies dropped: the bus was well");
    fleet.gateway.bus.deafen(false);
    fleet.heals().await;
    fleet.is_watched().await;
    fleet.gateway.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_panics_under_running_turns_costs_none_of_them_a_frame() {
    let mut fleet = Fleet::start().await;
    let bus = Arc::clone(&fleet.gateway.bus);
    fleet.talk(|| bus.sabotage()).await;
    fleet.heals().await;
    assert!(fleet.gateway.bus.trouble().0 >= 1);
    fleet.is_watched().await;
    fleet.gateway.stop(PATIENCE).await;
}
