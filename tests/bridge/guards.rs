//! Loops, strangers, and what the other broker may not do here.

use std::collections::BTreeSet;

use super::*;
use crate::gateway::binary::{Binary, wait};
use crate::gateway::mosquitto::installed;
use tokio::time::Instant;
use voxgate::bridge::Role as BridgeRole;
use voxgate::domain::Downlink;

/// Both directions on one filter: each message is seen once on each side.
async fn is_seen_once(gateway: &Running, publish_there: impl AsyncFn(&str, &str)) {
    let mut here = operator(gateway, "anna", Version::V4).await;
    here.subscribe("both/#").await;
    for n in 0..20 {
        here.publish_on("both/here", 1, format!("h{n}").as_bytes()).await;
        publish_there("both/there", &format!("t{n}")).await;
    }
    // the two sides have no order between them: all of both is waited for
    let expected: BTreeSet<String> = (0..20).flat_map(|n| [format!("h{n}"), format!("t{n}")]).collect();
    let mut seen = BTreeSet::new();
    while seen.len() < expected.len() {
        let (_, payload) = message(&mut here).await;
        assert!(expected.contains(&payload), "{payload:?} is nobody's");
        assert!(seen.insert(payload.clone()), "{payload} came twice");
    }
}

fn both(port: u16) -> BridgeSettings {
    let routes = vec![route("both/#", "", "")];
    BridgeSettings { out: routes.clone(), incoming: routes, ..bridge(port) }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_round_with_a_broker_that_knows_bridges() {
    if !installed() {
        return;
    }
    let remote = Mosquitto::start("").await;
    let gateway = start(both(remote.port)).await;
    connected(&gateway).await;
    remote.says(&format!("Sending SUBACK to {CLIENT}")).await;
    is_seen_once(&gateway, async |topic, payload| remote.publish(topic, payload, &[]).await).await;
    assert_eq!(
        gateway.metric("voxgate_bridge_drops_total", &[("cause", "own")]).await,
        0,
        "it sends none of ours back"
    );
    let here: Vec<_> = remote.received(CLIENT).into_iter().filter(|topic| topic != "both/here").collect();
    assert!(here.is_empty(), "what came from there did not go back: {here:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_round_with_a_broker_that_is_not_told() {
    if !installed() {
        return;
    }
    let remote = Mosquitto::start("").await;
    let gateway = start(BridgeSettings { announce: false, ..both(remote.port) }).await;
    remote.says(&format!("Sending SUBACK to {CLIENT}")).await;
    is_seen_once(&gateway, async |topic, payload| remote.publish(topic, payload, &[]).await).await;
    gateway.counted("voxgate_bridge_drops_total", &[("cause", "own")], 20).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_round_with_a_broker_that_does_not() {
    let there = Running::start(chat(&["Yes."])).await;
    let secret = |name: &'static str| {
        let operators = there.operators();
        async move {
            let new = NewOperator { name: name.into(), role: Role::Operator, password: None };
            operators.operator_add(new).await.unwrap().secret.unwrap().0
        }
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("p"), secret("site").await).unwrap();
    let port = there.addrs().mqtt.port();
    let login =
        BridgeSettings { username: Some("site".into()), password_file: Some(dir.path().join("p")), ..both(port) };
    let gateway = start(login).await;
    connected(&gateway).await;
    there.counted("voxgate_mqtt_subscriptions", &[], 1).await;
    let far = operator(&there, "far", Version::V4).await;
    let far = tokio::sync::Mutex::new(far);
    let publish = async |topic: &str, payload: &str| {
        let mut far = far.lock().await;
        far.publish_on(topic, 1, payload.as_bytes()).await;
        far.ack().await;
    };
    is_seen_once(&gateway, publish).await;
    gateway.counted("voxgate_bridge_drops_total", &[("cause", "own")], 20).await;
    gateway.counted("voxgate_bridge_messages_total", &[("direction", "out")], 20).await;
    assert_eq!(gateway.metric("voxgate_bridge_messages_total", &[("direction", "out")]).await, 20);
    gateway.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_from_there_speaks_for_no_device_and_commands_none_unless_it_may() {
    if !installed() {
        return;
    }
    let remote = Mosquitto::start("").await;
    let mut settings = bridge(remote.port);
    settings.incoming = vec![route("#", "", "in/")];
    let gateway = start(settings.clone()).await;
    let mut cane = gateway.device("cane").await;
    remote.says(&format!("Sending SUBACK to {CLIENT}")).await;
    let say = format!("in/gateway/{}/command/cane/say", gateway.config().gateway.name);
    remote.publish("in/device/cane/control", "{\"type\":\"text\",\"text\":\"open the door\"}", &[]).await;
    remote.publish("in/device/cane/down/control", "x", &[]).await;
    remote.publish("in/gateway/voxgate/status", "offline", &[]).await;
    remote.publish(&say, "hello", &[]).await;
    remote.publish("in/$SYS/broker/uptime", "0", &[]).await;
    gateway.counted("voxgate_bridge_drops_total", &[("cause", "not_allowed")], 4).await;
    gateway.counted("voxgate_bridge_drops_total", &[("cause", "no_route")], 1).await;
    assert_eq!(gateway.metric("voxgate_bridge_messages_total", &[("direction", "in")]).await, 0);
    assert!(cane.try_next().is_none(), "the device heard of nothing");
    drop(cane);
    // with the role of an operator it may command, but still not speak for a device
    let gateway = gateway.restart_with(|config| config.bridges.0[0].role = BridgeRole::Operator).await;
    let mut cane = gateway.connect("cane").await;
    connected(&gateway).await;
    remote.publish("in/device/cane/control", "x", &[]).await;
    remote.publish(&say, "hello", &["-r"]).await;
    gateway.counted("voxgate_bridge_drops_total", &[("cause", "not_allowed")], 1).await;
    gateway.counted("voxgate_bridge_drops_total", &[("cause", "retained_command")], 1).await;
    remote.publish(&say, "hello", &[]).await;
    gateway.counted("voxgate_bridge_messages_total", &[("direction", "in")], 1).await;
    crate::gateway::until(&mut cane, |down| matches!(down, Downlink::Audio(_))).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_once_and_tried_ever_more_slowly() {
    if !installed() {
        return;
    }
    let remote = Mosquitto::prepare("allow_anonymous false\npassword_file {dir}/passwords");
    let made = std::process::Command::new("mosquitto_passwd")
        .args(["-b", "-c", remote.path("passwords").to_str().unwrap(), "site", "right"])
        .status();
    assert!(made.unwrap().success());
    let mut remote = remote;
    remote.serve().await;
    std::fs::write(remote.path("password"), "not-the-right-one\n").unwrap();
    let rest = format!(
        "[engine]\nstart = \"off\"\n[[bridges]]\nname = \"b\"\nhost = \"127.0.0.1\"\nport = {}\nusername = \"site\"\n\
         password_file = \"{}\"\nreconnect_min = \"40ms\"\nreconnect_max = \"60s\"\nout = [{{ filter = \"t/#\" }}]\n",
        remote.port,
        remote.path("password").display()
    );
    let binary = Binary::serve(&rest).await;
    let begun = Instant::now();
    let refused = || remote.log().matches("(0, 5)").count();
    wait("five attempts", || (refused() >= 5).then_some(())).await;
    // 40, 80, 160 and 320 ms, each at least half
    assert!(begun.elapsed().as_millis() + 500 >= 300, "{:?}", begun.elapsed());
    let log = binary.log();
    assert_eq!(log.matches("bridge not connected").count(), 1, "{log}");
    assert!(log.contains("refuses: not authorized") && log.contains("password"), "{log}");
    assert!(!log.contains("not-the-right-one"), "the password is in the log");
    let status = binary.json(&["status", "--json"]).to_string();
    assert!(status.contains("bridge b") && status.contains("refuses: not authorized"), "{status}");
    // the right one mends it, at the next start
    std::fs::write(remote.path("password"), "right\n").unwrap();
    let mut binary = binary;
    binary.kill();
    binary.serve_again().await;
    remote.says("Sending CONNACK to voxgate-b (0, 0)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_take_the_name_of_a_bridge() {
    let gateway = Running::start(chat(&["Yes."])).await;
    for name in ["$bridge/b", "$bridge", "bridge/b"] {
        let new = NewOperator { name: name.into(), role: Role::Admin, password: None };
        assert!(gateway.operators().operator_add(new).await.is_err(), "{name}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_is_switched_off_keeps_what_waits_and_one_that_is_removed_does_not() {
    if !installed() {
        return;
    }
    let mut remote = Mosquitto::prepare("");
    let mut settings = bridge(remote.port);
    settings.out = vec![route("t/#", "", "")];
    let gateway = start(settings.clone()).await;
    let mut here = operator(&gateway, "anna", Version::V4).await;
    publish_all(&mut here, &numbered("t/", 0..5)).await;
    let gateway = gateway.restart_with(|config| config.bridges.0[0].enabled = false).await;
    let mut here = operator(&gateway, "bert", Version::V4).await;
    publish_all(&mut here, &numbered("t/", 5..10)).await;
    let (_, part) = gateway.ready("bridge b").await;
    assert!(part["detail"].as_str().unwrap().contains("switched off, 5 messages wait"), "{part}");
    let gateway = gateway.restart_with(|config| config.bridges.0[0].enabled = true).await;
    let mut here = operator(&gateway, "carl", Version::V4).await;
    publish_all(&mut here, &numbered("t/", 10..12)).await;
    remote.serve().await;
    let expected: Vec<String> = [numbered("t/", 0..5), numbered("t/", 10..12)].concat();
    remote.receives(CLIENT, &expected).await;
    remote.kill();
    publish_all(&mut here, &numbered("t/", 12..14)).await;
    let gateway = gateway.restart_with(|config| config.bridges.0.clear()).await;
    assert_eq!(gateway.metric("voxgate_mqtt_queued_messages", &[]).await, 0);
    remote.serve().await;
    let gateway = gateway.restart_with(|config| config.bridges.0 = vec![settings]).await;
    connected(&gateway).await;
    let mut here = operator(&gateway, "dora", Version::V4).await;
    publish_all(&mut here, &["t/new".to_owned()]).await;
    remote.receives(CLIENT, &[expected, vec!["t/new".to_owned()]].concat()).await;
    gateway.stop().await;
}
