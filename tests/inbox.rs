//! Messages that end the gateway, and what an operator does with them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gateway::PATIENCE;
use gateway::binary::{Binary, wait};
use gateway::service::chat_service;
use serde_json::{Value, json};
use voxgate::domain::{ControlKind, DeviceId, Downlink, Hello, Message};
use voxgate::sim::device::{Device, Login};

/// What the gateway must not survive.
const FATAL: &str = "the last word";

/// Connects and says hello, after another power-on each time.
async fn come_back(gateway: &Binary, secret: &str, boot_id: u32) -> (Device, String) {
    let mqtt = gateway.addr("mqtt");
    let id = DeviceId::parse("cane-1").unwrap();
    let login = Login { host: mqtt.ip().to_string(), port: mqtt.port(), id, secret: secret.to_owned() };
    let mut device = Device::connect(&login, PATIENCE).await.unwrap();
    device.control(None, ControlKind::Hello(Hello { boot_id: Some(boot_id), ..Hello::default() })).await.unwrap();
    loop {
        let arrived = device.next(PATIENCE, "hello_ack").await.unwrap();
        if let Downlink::Control { message: Message::HelloAck(ack), .. } = arrived.downlink {
            return (device, ack.session_id.to_string());
        }
    }
}

async fn reply(device: &mut Device) -> String {
    loop {
        let arrived = device.next(PATIENCE, "reply").await.unwrap();
        if let Downlink::Control { message: Message::Reply { text }, .. } = arrived.downlink {
            return text;
        }
    }
}

/// Where a message is that no start survives: the gateway is killed each time it is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_ends_the_gateway_twice_is_put_aside_and_the_third_start_serves_everybody() {
    let (fatal, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (deadly, count) = (Arc::clone(&fatal), Arc::clone(&asked));
    let chat = chat_service(move |body| {
        let ends = body.contains(FATAL) && deadly.load(Ordering::SeqCst);
        count.fetch_add(usize::from(ends), Ordering::SeqCst);
        (!ends).then(|| json!({"content": "Fine."}))
    });
    let (chat, off) = (chat.await, "type = \"off\"\n");
    let mut gateway = Binary::serve(&format!(
        "[providers.stt]\n{off}[providers.tts]\n{off}[providers.embed]\n{off}\
         [providers.chat]\ntype = \"openai\"\nurl = \"http://{chat}/v1\"\nfirst_byte = \"60s\"\n"
    ))
    .await;
    let added = gateway.json(&["device", "add", "cane-1", "--json"]);
    let secret = added["secret"].as_str().unwrap();

    let (mut device, mut session) = come_back(&gateway, secret, 0).await;
    device.control(Some(&session), ControlKind::Text(FATAL.to_owned())).await.unwrap();
    for times in 1..=2 {
        wait("request", || (asked.load(Ordering::SeqCst) == times as usize).then_some(())).await;
        let waiting = gateway.json(&["inbox", "list", "cane-1", "--json"]);
        assert_eq!((&waiting[0]["state"], &waiting[0]["attempts"]), (&json!("waiting"), &json!(times)), "{waiting}");
        gateway.kill();
        gateway.serve_again().await;
        (device, session) = come_back(&gateway, secret, times).await;
    }

    // the third start
    device.control(Some(&session), ControlKind::Text("how are you".to_owned())).await.unwrap();
    assert_eq!(reply(&mut device).await, "Fine.");
    assert_eq!(asked.load(Ordering::SeqCst), 2, "it was tried again");
    let aside = gateway.json(&["inbox", "list", "--put-aside", "--json"]);
    let [row] = aside.as_array().unwrap().as_slice() else { panic!("{aside}") };
    assert_eq!((&row["device"], &row["kind"], &row["state"]), (&json!("cane-1"), &json!("text"), &json!("put_aside")));
    assert_eq!(row["reason"], "the gateway ended 2 times while it was handled");
    assert!(gateway.log().contains("voxgate inbox list"), "{}", gateway.log());

    // what made it end is mended: the operator has it tried again, and the device, which is there, is answered
    fatal.store(false, Ordering::SeqCst);
    let n = row["n"].as_u64().unwrap().to_string();
    let retried = gateway.run(&["inbox", "retry", "cane-1", &n]);
    assert!(retried.status.success(), "{}", String::from_utf8_lossy(&retried.stderr));
    assert_eq!(reply(&mut device).await, "Fine.");
    wait("empty inbox", || (gateway.json(&["inbox", "list", "--json"]) == Value::Array(Vec::new())).then_some(()))
        .await;
    for command in ["retry", "drop"] {
        let again = gateway.run(&["inbox", command, "cane-1", &n]);
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert_eq!(again.status.code(), Some(1), "{said}");
        assert!(said.contains("of cane-1 was put aside: voxgate inbox list --put-aside"), "{said}");
    }
}
