//! What travels, and how it is called on each side.

use super::*;
use crate::gateway::mosquitto::installed;
use voxgate::bridge::TlsSettings;
use voxgate::domain::{ByteSize, Clock, SystemClock};
use voxgate::door::authority::Authority;

#[tokio::test(flavor = "multi_thread")]
async fn messages_travel_in_both_directions_under_the_names_of_each_side() {
    if !installed() {
        return;
    }
    let remote = Mosquitto::start("").await;
    let mut settings = bridge(remote.port);
    settings.out = vec![route("+/state", "home/", "site1/home/")];
    settings.incoming = vec![route("#", "cloud/", "to/site1/")];
    let gateway = start(settings).await;
    connected(&gateway).await;
    remote.says(&format!("Sending SUBACK to {CLIENT}")).await;
    let mut there = remote.watch("there", "#", &[]).await;
    let mut here = operator(&gateway, "anna", Version::V5).await;
    here.subscribe("#").await;
    here.publish_on("home/lamp/power", 1, b"not for export").await;
    here.publish_on("home/lamp/state", 1, b"on").await;
    assert_eq!(there.next().await, "site1/home/lamp/state on 0");
    here.publish_on("home/fan/state", 0, b"off").await;
    assert_eq!(there.next().await, "site1/home/fan/state off 0");
    remote.publish("elsewhere", "no", &[]).await;
    remote.publish("to/site1/greeting", "hello", &[]).await;
    let seen = loop {
        let (topic, payload) = message(&mut here).await;
        assert_ne!(payload, "no");
        if payload == "hello" {
            break topic;
        }
    };
    assert_eq!(seen, "cloud/greeting");
    gateway.counted("voxgate_bridge_messages_total", &[("bridge", "b"), ("direction", "out")], 2).await;
    gateway.counted("voxgate_bridge_messages_total", &[("bridge", "b"), ("direction", "in")], 1).await;
    let (_, part) = gateway.ready("bridge b").await;
    assert_eq!((&part["state"], &part["required"]), (&"ready".into(), &false.into()), "{part}");
    gateway.stop().await;
    remote.says(&format!("Received DISCONNECT from {CLIENT}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_retained_is_retained_on_the_other_side() {
    if !installed() {
        return;
    }
    let remote = Mosquitto::start("").await;
    remote.publish("down/old", "1", &["-r"]).await;
    let mut settings = bridge(remote.port);
    settings.out = vec![route("up/#", "", "")];
    settings.incoming = vec![route("down/#", "", "")];
    let gateway = start(settings).await;
    connected(&gateway).await;
    remote.says(&format!("Sending SUBACK to {CLIENT}")).await;
    // a change while the bridge is there keeps its mark, too: mosquitto knows that we are a bridge
    remote.publish("down/new", "2", &["-r"]).await;
    gateway.counted("voxgate_bridge_messages_total", &[("direction", "in")], 2).await;
    let mut here = operator(&gateway, "anna", Version::V4).await;
    here.subscribe("down/#").await;
    let mut kept = [message(&mut here).await.0, message(&mut here).await.0];
    kept.sort();
    assert_eq!(kept, ["down/new", "down/old"]);
    let status = format!("gateway/{}/status", gateway.config().gateway.name);
    gateway.stop().await;
    // and the gateway's own: its status
    let mut settings = bridge(remote.port);
    settings.out = vec![route("gateway/#", "", "")];
    let gateway = start(settings).await;
    let mut there = remote.watch("there", "gateway/#", &[]).await;
    let line = there.next().await;
    assert!(line.starts_with(&format!("{status} {{\"status\":\"online\"")), "{line}");
    gateway.stop().await;
    let line = there.next().await;
    assert!(line.starts_with(&format!("{status} {{\"status\":\"offline\"")), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_to_be_kept_is_dropped_once_and_what_follows_it_comes() {
    if !installed() {
        return;
    }
    let remote = Mosquitto::start("").await;
    let mut settings = bridge(remote.port);
    settings.incoming = vec![route("down/#", "", "")];
    let gateway = Running::start_with(chat(&["Yes."]), |config| {
        config.store.group = ByteSize::kb(16);
        config.bridges.0 = vec![settings];
    })
    .await;
    connected(&gateway).await;
    remote.publish("down/large", &"x".repeat(20_000), &["-r", "-q", "1"]).await;
    remote.publish("down/small", "x", &["-r", "-q", "1"]).await;
    gateway.counted("voxgate_bridge_messages_total", &[("direction", "in")], 1).await;
    assert_eq!(gateway.metric("voxgate_bridge_drops_total", &[("cause", "quota")]).await, 1);
    assert_eq!(gateway.metric("voxgate_bridge_connects_total", &[("result", "ok")]).await, 1, "it stays connected");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_voxgates_are_bridged_over_tls_with_a_login() {
    let papers = tempfile::tempdir().unwrap();
    let (authority, _) = Authority::in_folder(papers.path(), SystemClock.wall()).unwrap();
    authority.server(&["localhost".into()], 30).unwrap().write(papers.path(), "server", true).unwrap();
    let there = Running::start_with(chat(&["Yes."]), |config| {
        config.mqtt.tls.enabled = true;
        config.mqtt.tls.listen = "127.0.0.1:0".parse().unwrap();
        config.mqtt.tls.certificate = Some(papers.path().join("server.pem"));
        config.mqtt.tls.key = Some(papers.path().join("server.key"));
    })
    .await;
    let new = NewOperator { name: "site1".into(), role: Role::Operator, password: None };
    let secret = there.operators().operator_add(new).await.unwrap().secret.unwrap().0;
    let password = papers.path().join("password");
    std::fs::write(&password, format!("{secret}\n")).unwrap();
    let port = there.addrs().mqtt_listeners.iter().find(|(name, _)| *name == "mqtts").unwrap().1.port();
    let mut settings = bridge(port);
    settings.host = "localhost".into();
    settings.tls = Some(TlsSettings { ca: Some(papers.path().join("ca.pem")), ..TlsSettings::default() });
    settings.username = Some("site1".into());
    settings.password_file = Some(password);
    settings.out = vec![route("#", "", "site1/")];
    settings.out[0].filter = "plants/#".into();
    settings.incoming = vec![route("orders/#", "", "site1/")];
    let here = start(settings.clone()).await;
    connected(&here).await;
    let mut far = operator(&there, "bert", Version::V5).await;
    far.subscribe("site1/plants/#").await;
    let mut near = operator(&here, "anna", Version::V5).await;
    near.subscribe("orders/#").await;
    near.publish_on("plants/fern", 1, b"dry").await;
    assert_eq!(message(&mut far).await, ("site1/plants/fern".into(), "dry".into()));
    far.publish_on("site1/orders/fern", 1, b"water").await;
    assert_eq!(message(&mut near).await, ("orders/fern".into(), "water".into()));
    here.stop().await;
    // a certificate of somebody else's is not trusted
    let other = tempfile::tempdir().unwrap();
    Authority::in_folder(other.path(), SystemClock.wall()).unwrap();
    settings.tls = Some(TlsSettings { ca: Some(other.path().join("ca.pem")), ..TlsSettings::default() });
    let here = start(settings).await;
    here.counted("voxgate_bridge_connects_total", &[("result", "tls")], 2).await;
    assert_eq!(here.metric("voxgate_bridge_connects_total", &[("result", "ok")]).await, 0);
    let (_, part) = here.ready("bridge b").await;
    assert!(part["detail"].as_str().unwrap().contains("tls: "), "{part}");
    here.stop().await;
    there.stop().await;
}
