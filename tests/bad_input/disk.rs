//! A disk that is full: nothing is acknowledged that is not stored, voice goes on, and it heals by itself.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use voxgate::admin::{Admin, LifelogQuery};
use voxgate::domain::{ByteSize, ControlKind, DeviceId, ListenMode, Span};

use crate::gateway::answer::{answer, ask, speak};
use crate::gateway::peer::{Peer, Version};
use crate::gateway::tmpfs::Tmpfs;
use crate::gateway::{PATIENCE, Running, chat, speech};

/// Something that must be kept: 8 KB that pack badly.
fn keep(n: u32) -> ControlKind {
    let mut noise = n + 1;
    let mut next = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise
    };
    let result: Vec<u32> = (0..800).map(|_| next()).collect();
    ControlKind::ToolResult { operation_id: format!("op-{n}"), success: true, result: json!(result), error: None }
}

/// Sends number `seq` and says whether it was acknowledged as kept.
async fn is_kept(peer: &mut Peer, seq: u32) -> bool {
    let id = peer.control(seq, keep(seq)).await;
    let (acked, code) = peer.ack().await;
    assert_eq!(acked, id);
    assert!([0, 0x97].contains(&code), "{code:#x}");
    code == 0
}

/// What of a device's tool results is in the lifelog.
async fn kept(gateway: &Running, device: &str) -> BTreeSet<String> {
    let query = LifelogQuery {
        device: Some(DeviceId::parse(device).unwrap()),
        kind: Some("session".into()),
        limit: 10_000,
        ..LifelogQuery::default()
    };
    let rows = gateway.operators().lifelog_list(query).await.unwrap();
    let id = |detail: &Value| detail["tool_result"]["operation_id"].as_str().map(str::to_owned);
    rows.iter().filter_map(|row| id(&row.detail)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_what_it_cannot_keep_and_heals_without_a_restart() {
    let Some(disk) = Tmpfs::mount("48m") else { return };
    let gateway = Running::start_with(chat(&["Fine."]), |config| {
        config.gateway.data_dir = disk.path().join("data");
        config.store.segment = ByteSize::mb(1);
        config.store.group = ByteSize::kb(128);
        config.store.sync_every = Span::ms(100);
        config.mqtt.limits.bytes_per_second = ByteSize::mb(100);
    })
    .await;
    let (mut five, mut four) = (gateway.peer(Version::V5, "five").await, gateway.peer(Version::V4, "four").await);
    let mut talker = gateway.device("talker").await;
    let mut acknowledged = BTreeSet::new();
    assert!(is_kept(&mut five, 1).await);
    acknowledged.insert("op-1".to_owned());
    let ballast = disk.fill();
    let mut seq = 2;
    while is_kept(&mut five, seq).await {
        acknowledged.insert(format!("op-{seq}"));
        seq += 1;
        assert!(seq < 5_000, "the disk is never full");
    }
    // 3.1.1 can only say yes: it says nothing, and goes on to serve this connection
    let refused = four.control(1, keep(1)).await;
    let next = four.control(2, ControlKind::Heartbeat).await;
    assert_ne!(refused, next);
    assert_eq!(four.ack().await, (next, 0));
    gateway.counted("voxgate_mqtt_drops_total", &[("cause", "withheld")], 1).await;
    // voice goes on
    speak(&mut talker, &speech(), ListenMode::Manual).await;
    answer(&mut talker).await.must_be("Fine.");
    ask(&mut talker, "how are you").await.must_be("Fine.");
    assert!(gateway.metric("voxgate_session_failed_commits_total", &[]).await >= 2);
    let (status, store) = gateway.ready("store").await;
    assert_eq!((status, &store["state"]), (503, &"missing".into()), "{store}");
    assert!(store["remedy"].as_str().unwrap().contains(&disk.path().display().to_string()), "{store}");

    std::fs::remove_file(ballast).unwrap();
    let healed = async {
        // the same number again: a refused one was never seen
        while !is_kept(&mut five, seq).await {}
    };
    tokio::time::timeout(PATIENCE, healed).await.expect("it does not heal");
    acknowledged.insert(format!("op-{seq}"));
    let again = four.control(1, keep(1)).await;
    assert_eq!(four.ack().await, (again, 0));
    ask(&mut talker, "how are you now").await.must_be("Fine.");
    assert_eq!(gateway.ready("store").await.1["state"], "ready");

    drop((five, four));
    let gateway = gateway.restart().await;
    assert!(acknowledged.is_subset(&kept(&gateway, "five").await), "what was acknowledged is lost");
    assert!(kept(&gateway, "four").await.contains("op-1"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_reserve_records_are_refused_and_voice_goes_on() {
    let gateway = Running::start(chat(&["Fine."])).await;
    drop((gateway.peer(Version::V5, "five").await, gateway.device("talker").await));
    let gateway = Box::pin(gateway.restart_with(|config| config.store.reserve = ByteSize::mb(1 << 30))).await;
    let mut five = Peer::connect(gateway.addrs().mqtt, Version::V5, "five", &gateway.secret("five")).await;
    let mut talker = gateway.connect("talker").await;
    assert!(!is_kept(&mut five, 1).await);
    speak(&mut talker, &speech(), ListenMode::Manual).await;
    answer(&mut talker).await.must_be("Fine.");
    let (status, store) = gateway.ready("store").await;
    assert_eq!(status, 503);
    assert!(store["detail"].as_str().unwrap().contains("refused"), "{store}");
    let gateway = Box::pin(gateway.restart_with(|config| config.store.reserve = ByteSize(0))).await;
    let mut five = Peer::connect(gateway.addrs().mqtt, Version::V5, "five", &gateway.secret("five")).await;
    assert!(is_kept(&mut five, 1).await);
    gateway.stop().await;
}
