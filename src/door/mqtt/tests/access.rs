//! Who comes in, how long he stays.

use super::*;

fn connack_code(packet: &(u8, Vec<u8>)) -> u8 {
    assert_eq!(packet.0, 0x20);
    packet.1[1]
}

async fn try_connect(fixture: &Fixture, bytes: &[u8]) -> Option<u8> {
    let mut peer = fixture.raw().await;
    peer.send(bytes).await;
    peer.next().await.as_ref().map(connack_code)
}

#[tokio::test]
async fn nobody_comes_in_without_his_secret() {
    let fixture = Fixture::new().await;
    for (version, login, code) in [
        (Version::V4, None, 5),
        (Version::V5, None, 0x87),
        (Version::V4, Some(("dev1", "wrong")), 4),
        (Version::V5, Some(("dev1", "wrong")), 0x86),
        (Version::V5, Some(("nobody", "")), 0x86),
        (Version::V4, Some(("dev1", fixture.secrets["dev2"].reveal())), 4),
    ] {
        let answer = try_connect(&fixture, &connect(version, "c", 60, login, None)).await;
        assert_eq!(answer, Some(code), "{version:?} {login:?}");
    }
    fixture.peer(Version::V4, "dev1").await.ping().await;
    fixture.peer(Version::V5, "viewer").await.ping().await;
    assert_eq!(fixture.metrics.connects("bad_credentials"), 4);
    fixture.stop().await;
}

#[tokio::test]
async fn bring_up_admits_strangers_but_no_impostors() {
    let fixture = Fixture::with(Settings { bring_up: true, ..local() }).await;
    assert_eq!(try_connect(&fixture, &connect(Version::V4, "c", 60, None, None)).await, Some(0));
    assert_eq!(try_connect(&fixture, &connect(Version::V4, "operator", 60, None, None)).await, Some(5));
    assert_eq!(try_connect(&fixture, &connect(Version::V4, "c", 60, Some(("new-one", "")), None)).await, Some(0));
    assert_eq!(try_connect(&fixture, &connect(Version::V4, "c", 60, Some(("dev1", "")), None)).await, Some(4));
    assert_eq!(try_connect(&fixture, &connect(Version::V4, "c", 60, Some(("no/id", "")), None)).await, Some(4));
    fixture.stop().await;
}

#[tokio::test]
async fn a_will_needs_the_right_to_publish_it() {
    let mut fixture = Fixture::new().await;
    let secret = fixture.secrets["dev1"].reveal().to_owned();
    let login = Some(("dev1", secret.as_str()));
    for topic in ["device/dev2/control", "é/x", "a/#", "$SYS/x", "gateway/gw/command/dev1/reboot"] {
        let answer = try_connect(&fixture, &connect(Version::V5, "c", 60, login, Some((topic, "x")))).await;
        assert_eq!(answer, Some(0x87), "{topic}");
    }
    let answer =
        try_connect(&fixture, &connect(Version::V4, "c", 60, login, Some(("device/dev1/status", "offline")))).await;
    assert_eq!(answer, Some(0), "its own status, as stock firmware has it");
    let words = String::from_utf8(typed("help")).unwrap();
    let mut peer = fixture.raw().await;
    peer.send(&connect(Version::V4, "w", 60, login, Some(("device/dev1/control", &words)))).await;
    peer.packet().await;
    drop(peer);
    assert_eq!(fixture.uplink().await.origin.device, device("dev1"), "a will is published when the peer vanishes");
    fixture.stop().await;
}

#[tokio::test]
async fn a_silent_client_goes_and_one_without_keep_alive_stays() {
    let fixture = Fixture::new().await;
    let mut forever = fixture.peer_as(Version::V4, "dev1", "a", 0).await;
    let mut brief = fixture.peer_as(Version::V5, "dev2", "b", 1).await;
    assert_eq!(brief.next().await, Some((0xE0, vec![0x8D])), "1.5 s of silence");
    brief.closed().await;
    forever.ping().await;
    until("counted", || fixture.metrics.endings("keep_alive") == 1).await;
    fixture.stop().await;
}

#[tokio::test]
async fn the_same_client_id_takes_over_and_keeps_the_device_online() {
    let mut fixture = Fixture::new().await;
    let mut watcher = fixture.peer(Version::V4, "viewer").await;
    watcher.subscribe(&["device/+/status"], 1).await;
    let mut old = fixture.peer_as(Version::V5, "dev1", "x", 60).await;
    assert_eq!(watcher.message().await, ("device/dev1/status".into(), b"online".to_vec()));
    let mut new = fixture.peer_as(Version::V5, "dev1", "x", 60).await;
    assert_eq!(old.next().await, Some((0xE0, vec![0x8E])));
    old.closed().await;
    let (first, second) = (fixture.link().await.id(), fixture.link().await.id());
    assert_ne!(first, second);
    new.ping().await;
    // another user's client of the same id is somebody else
    let mut stranger = fixture.peer_as(Version::V4, "dev2", "x", 60).await;
    stranger.ping().await;
    new.ping().await;
    new.send(&[0xE0, 0]).await;
    new.closed().await;
    let mut rest = vec![watcher.message().await, watcher.message().await];
    rest.sort();
    let expected = [("device/dev1/status", "offline"), ("device/dev2/status", "online")];
    assert_eq!(rest, expected.map(|(t, p)| (t.to_owned(), p.as_bytes().to_vec())));
    fixture.stop().await;
}

#[tokio::test]
async fn a_device_has_four_connections_and_not_five() {
    let fixture = Fixture::new().await;
    let mut peers = Vec::new();
    for id in ["a", "b", "c", "d"] {
        peers.push(fixture.peer_as(Version::V4, "dev1", id, 60).await);
    }
    assert_eq!(try_connect(&fixture, &fixture.connect_packet(Version::V4, "dev1", "e", 60)).await, Some(3));
    assert_eq!(try_connect(&fixture, &fixture.connect_packet(Version::V5, "dev1", "e", 60)).await, Some(0x97));
    for peer in &mut peers {
        peer.ping().await;
    }
    fixture.stop().await;
}

#[tokio::test]
async fn two_boxes_with_one_identity_are_told_apart_after_five_takeovers() {
    let fixture = Fixture::new().await;
    let mut watcher = fixture.peer(Version::V4, "viewer").await;
    watcher.subscribe(&["gateway/gw/event/+/alert"], 0).await;
    let mut last = None;
    for _ in 0..6 {
        last = Some(fixture.peer_as(Version::V4, "dev1", "x", 60).await);
    }
    for _ in 0..3 {
        assert_eq!(try_connect(&fixture, &fixture.connect_packet(Version::V5, "dev1", "x", 60)).await, Some(0x97));
    }
    last.unwrap().ping().await;
    let (topic, payload) = watcher.message().await;
    assert_eq!(topic, "gateway/gw/event/dev1/alert");
    let alert: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(alert["alert"], "duplicate_device");
    assert_eq!(alert["addresses"], serde_json::json!(["127.0.0.1", "127.0.0.1"]));
    fixture.stop().await;
}

#[tokio::test]
async fn limits_of_connections_hold_and_let_go() {
    let mut settings = local();
    settings.limits.connections = 3;
    settings.limits.connect_time = crate::domain::Span::ms(200);
    let fixture = Fixture::with(settings).await;
    let silent = [fixture.raw().await, fixture.raw().await, fixture.raw().await];
    until("three silent ones are in", || fixture.metrics.connects("limit") == 0).await;
    let mut refused = fixture.raw().await;
    refused.closed().await;
    for mut peer in silent {
        peer.closed().await; // after 200 ms without CONNECT
    }
    until("room again", || fixture.metrics.connects("no_connect") == 3).await;
    fixture.peer(Version::V4, "dev1").await.ping().await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_stop_says_so() {
    let fixture = Fixture::new().await;
    let mut five = fixture.peer(Version::V5, "dev1").await;
    let mut four = fixture.peer(Version::V4, "dev2").await;
    fixture.stop().await;
    assert_eq!(five.next().await, Some((0xE0, vec![0x8B])));
    assert_eq!(five.next().await, None);
    assert_eq!(four.next().await, None);
}

fn rule(subject: &str, access: crate::topics::Access, filter: &str) -> crate::topics::Rule {
    crate::topics::Rule { subject: crate::topics::Subject::parse(subject).unwrap(), access, filter: filter.to_owned() }
}

#[tokio::test]
async fn anonymous_clients_may_what_rules_say_and_a_wrong_password_makes_nobody_anonymous() {
    use crate::topics::Access::{Deny, Readwrite};
    let rules = vec![rule("anonymous", Readwrite, "#"), rule("everyone", Deny, "test/nosubscribe")];
    let fixture = Fixture::with(Settings { anonymous: true, rules, ..local() }).await;
    assert_eq!(try_connect(&fixture, &connect(Version::V5, "c", 60, Some(("dev1", "wrong")), None)).await, Some(0x86));
    let will = Some(("device/dev1/control", "x"));
    assert_eq!(try_connect(&fixture, &connect(Version::V5, "c", 60, None, will)).await, Some(0x87));
    let mut peer = fixture.raw().await;
    peer.send(&connect(Version::V5, "c", 60, None, None)).await;
    assert_eq!(peer.next().await.as_ref().map(connack_code), Some(0));
    peer.version = Version::V5;
    assert_eq!(peer.subscribe(&["test/nosubscribe", "test/#", "$SYS/#"], 0).await, [0x87, 0, 0x87]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_gateway_that_is_not_told_otherwise_admits_nobody_anonymous() {
    let fixture =
        Fixture::with(Settings { rules: vec![rule("anonymous", crate::topics::Access::Read, "#")], ..local() });
    let fixture = fixture.await;
    assert_eq!(try_connect(&fixture, &connect(Version::V5, "c", 60, None, None)).await, Some(0x87));
    fixture.stop().await;
}
