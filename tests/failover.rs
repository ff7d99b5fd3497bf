//! Services that fail, and those that stand in for them, in a whole gateway with real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;
mod scripted;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::PATIENCE;
use gateway::binary::Binary;
use gateway::service::chat_service;
use scripted::{Act, SSE, plain, send};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use voxgate::domain::{ControlKind, Downlink, Message};
use voxgate::sim::device::Device;

async fn reply_to(device: &mut Device, text: &str) -> String {
    device.control(None, ControlKind::Text(text.to_owned())).await.unwrap();
    loop {
        let arrived = device.next(PATIENCE, "reply").await.unwrap();
        if let Downlink::Control { message: Message::Reply { text }, .. } = arrived.downlink {
            return text;
        }
    }
}

/// What the gateway counts, as text.
async fn metrics(gateway: &Binary) -> String {
    let mut stream = TcpStream::connect(gateway.addr("http")).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Nothing but chat; `rest` says of whom.
fn chat_only(rest: &str) -> String {
    let off = ["stt", "tts", "embed"].map(|name| format!("[providers.{name}]\ntype = \"off\"\n")).concat();
    format!("{off}{rest}")
}

fn openai(address: SocketAddr) -> String {
    format!("type = \"openai\"\nurl = \"http://{address}/v1\"\n")
}

/// A service that does with each connection what is written down for it at that time.
async fn changing_service(script: Arc<Mutex<Vec<Act>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let script = script.lock().unwrap().clone();
            tokio::spawn(async move {
                scripted::request(&mut socket).await;
                for act in script {
                    match act {
                        // the gateway may have gone to somebody else
                        Act::Send(bytes) => drop(socket.write_all(&bytes).await),
                        Act::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                        Act::Hang => std::future::pending().await,
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn however_a_service_fails_the_next_is_heard_within_a_second_of_it() {
    let script = Arc::new(Mutex::new(Vec::new()));
    let fails = changing_service(Arc::clone(&script)).await;
    let answers = chat_service(|_| Some(json!({"content": "It stands in."}))).await;
    let gateway = Binary::serve(&chat_only(&format!(
        "[providers.pool]\nerrors = 1000\nslow_after = \"500ms\"\nhedge = false\n\
         [providers.chat]\n{}[[providers.backup.chat]]\n{}",
        openai(fails),
        openai(answers)
    )))
    .await;
    let mut device = gateway.device("cane-1", &[]).await;
    let half = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 900\r\n\r\ndata: {\"choi";
    let failures = [
        ("hangs up", vec![]),
        ("refuses", vec![plain("500 Internal Server Error", "", "{}")]),
        ("wants another key", vec![plain("401 Unauthorized", "", "{}")]),
        ("does not want another question", vec![plain("429 Too Many Requests", "retry-after: 20\r\n", "{}")]),
        ("talks nonsense", vec![plain("200 OK", "", "I am a teapot")]),
        ("is cut before its first word", vec![send(half)]),
        ("says a nonsense piece", vec![send(SSE), send("data: {nonsense\n\n")]),
        ("hangs", vec![Act::Hang]),
        ("begins and hangs", vec![send(SSE), Act::Hang]),
        ("is slow", vec![Act::Wait(5_000), send(SSE)]),
    ];
    for (what, acts) in failures {
        let hangs = acts.iter().any(|act| matches!(act, Act::Hang | Act::Wait(_)));
        *script.lock().unwrap() = acts;
        let begun = Instant::now();
        assert_eq!(reply_to(&mut device, "tell me about rain").await, "It stands in.", "when the first {what}");
        // one that only hangs has failed when slow_after has passed
        let failed = Duration::from_millis(if hangs { 500 } else { 0 });
        let after = begun.elapsed().saturating_sub(failed);
        eprintln!("the first {what}: the second is heard {after:?} later");
        assert!(after < Duration::from_secs(1), "{after:?} when the first {what}");
    }
}

/// What is said to a device that speaks by itself, until it ends.
async fn spoken_to(device: &mut Device, text: &str) -> Vec<String> {
    device.control(None, ControlKind::Text(text.to_owned())).await.unwrap();
    let mut said = Vec::new();
    loop {
        match device.next(PATIENCE, "speech").await.unwrap().downlink {
            Downlink::Control { message: Message::TtsSentence { text, .. }, .. } => said.push(text),
            Downlink::Control { message: Message::TtsStop { .. }, .. } => return said,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_fail_the_apology_is_said_and_when_nobody_is_free_that_is_said() {
    let script = Arc::new(Mutex::new(vec![plain("503 Service Unavailable", "", "{}")]));
    let service = changing_service(Arc::clone(&script)).await;
    let gateway = Binary::serve(&chat_only(&format!(
        "[providers.pool]\nmax_wait = \"100ms\"\n[providers.chat]\nat_once = 1\n{}[[providers.backup.chat]]\nat_once = 1\n{}",
        openai(service),
        openai(service)
    )))
    .await;
    let mut first = gateway.device("cane-1", &["--tts-mode", "device_text"]).await;
    let begun = Instant::now();
    let sorry = ["Sorry, something went wrong. Please try again."];
    assert_eq!(spoken_to(&mut first, "tell me about rain").await, sorry);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // both services are kept busy, by two devices whose questions are never answered
    *script.lock().unwrap() = vec![Act::Hang];
    let mut others = Vec::new();
    for id in ["cane-2", "cane-3"] {
        let mut other = gateway.device(id, &[]).await;
        other.control(None, ControlKind::Text("tell me about snow".to_owned())).await.unwrap();
        others.push(other);
    }
    let at_work = || async {
        let told = metrics(&gateway).await;
        [0, 1].iter().all(|route| {
            told.contains(&format!("voxgate_provider_in_flight{{capability=\"chat\",route=\"{route}\"}} 1\n"))
        })
    };
    while !at_work().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let begun = Instant::now();
    let busy = ["A lot of people are talking to me right now. Please ask me again in a moment."];
    assert_eq!(spoken_to(&mut first, "tell me about rain").await, busy);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let told = metrics(&gateway).await;
    assert!(told.contains("voxgate_turn_failures_total{stage=\"chat\",kind=\"busy\"} 1\n"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stands_in_answers_in_the_same_turn_and_one_that_is_down_is_soon_not_waited_for() {
    // refuses each connection; and one that is reached and closes it
    let refuses = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (hangs_up, asked) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(AtomicUsize::new(0)));
    let (closes, count) = (hangs_up.local_addr().unwrap(), Arc::clone(&asked));
    tokio::spawn(async move {
        while let Ok((socket, _)) = hangs_up.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            drop(socket);
        }
    });
    let answers = chat_service(|_| Some(json!({"content": "It stands in."}))).await;
    let gateway = Binary::serve(&chat_only(&format!(
        "[providers.pool]\nerrors = 2\n[providers.chat]\n{}[[providers.backup.chat]]\n{}[[providers.backup.chat]]\n{}",
        openai(refuses),
        openai(closes),
        openai(answers)
    )))
    .await;
    let mut device = gateway.device("cane-1", &[]).await;
    for _ in 0..3 {
        assert_eq!(reply_to(&mut device, "tell me about rain").await, "It stands in.");
    }
    let told = metrics(&gateway).await;
    for (route, outcome, times) in
        [(0, "unavailable", 2), (0, "left_alone", 1), (1, "left_alone", 1), (2, "answered", 3)]
    {
        let line = format!(
            "voxgate_provider_requests_total{{capability=\"chat\",route=\"{route}\",outcome=\"{outcome}\"}} {times}\n"
        );
        assert!(told.contains(&line), "no {line} in {told}");
    }
    assert!(told.contains("voxgate_provider_left_alone{capability=\"chat\",route=\"1\"} 1\n"), "{told}");
    assert!(gateway.log().contains("a service failed"), "{}", gateway.log());
    let rows = gateway.json(&["providers", "--json"]);
    let state = |n: usize| (rows[n]["capability"].clone(), rows[n]["state"].clone(), rows[n]["failed"].clone());
    assert_eq!(state(0), (json!("chat"), json!("left_alone"), json!(2)));
    assert_eq!(state(2), (json!("chat"), json!("asked"), json!(0)));
    let shown = String::from_utf8(gateway.run(&["providers"]).stdout).unwrap();
    assert!(shown.starts_with("CAPABILITY  ROUTE  TYPE    STATE"), "{shown}");
}
