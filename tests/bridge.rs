//! Bridges to a real mosquitto, to another Voxgate, and to a broker that behaves badly.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

#[path = "bridge/away.rs"]
mod away;
#[path = "bridge/guards.rs"]
mod guards;
#[path = "bridge/travel.rs"]
mod travel;

use gateway::mosquitto::Mosquitto;
use gateway::peer::{Got, Peer, Version};
use gateway::{Running, chat};
use voxgate::admin::{Admin, NewOperator, Role};
use voxgate::bridge::{BridgeSettings, RouteSettings};
use voxgate::domain::Span;

/// How the bridge is called at the other broker.
const CLIENT: &str = "voxgate-b";

/// A bridge to a port here, eager to come back.
fn bridge(port: u16) -> BridgeSettings {
    BridgeSettings {
        name: "b".into(),
        host: "127.0.0.1".into(),
        port: Some(port),
        keep_alive: Span::secs(5),
        reconnect_min: Span::ms(50),
        reconnect_max: Span::ms(200),
        ..BridgeSettings::default()
    }
}

/// A filter with its prefixes here and there.
fn route(filter: &str, prefix_local: &str, prefix_remote: &str) -> RouteSettings {
    let (filter, prefix_local, prefix_remote) = (filter.into(), prefix_local.into(), prefix_remote.into());
    RouteSettings { filter, prefix_local, prefix_remote, qos: 1 }
}

/// A gateway with one bridge.
async fn start(bridge: BridgeSettings) -> Running {
    Running::start_with(chat(&["Yes."]), |config| config.bridges.0 = vec![bridge]).await
}

/// Waits until the bridge is connected.
async fn connected(gateway: &Running) {
    gateway.counted("voxgate_bridge_connected", &[("bridge", "b")], 1).await;
}

/// An operator's client.
async fn operator(gateway: &Running, name: &str, version: Version) -> Peer {
    let new = NewOperator { name: name.into(), role: Role::Operator, password: None };
    let secret = gateway.operators().operator_add(new).await.unwrap().secret.unwrap().0;
    Peer::connect(gateway.addrs().mqtt, version, name, &secret).await
}

/// Publishes on each topic and waits for the acknowledgement.
async fn publish_all(peer: &mut Peer, topics: &[String]) {
    for topic in topics {
        peer.publish_on(topic, 1, b"x").await;
        assert_eq!(peer.ack().await.1, 0, "{topic}");
    }
}

/// The next message.
async fn message(peer: &mut Peer) -> (String, String) {
    loop {
        match peer.next().await {
            Got::Message(topic, payload) => return (topic, String::from_utf8(payload.to_vec()).unwrap()),
            Got::Closed => panic!("closed"),
            _ => {}
        }
    }
}

fn numbered(prefix: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| format!("{prefix}{n}")).collect()
}
