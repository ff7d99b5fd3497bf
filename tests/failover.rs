//! Services that fail, and those that stand in for them, in a whole gateway with real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gateway::PATIENCE;
use gateway::binary::Binary;
use gateway::service::chat_service;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
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
    let off = "type = \"off\"\n";
    let service = |address| format!("type = \"openai\"\nurl = \"http://{address}/v1\"\n");
    let gateway = Binary::serve(&format!(
        "[providers.stt]\n{off}[providers.tts]\n{off}[providers.embed]\n{off}[providers.pool]\nerrors = 2\n\
         [providers.chat]\n{}[[providers.backup.chat]]\n{}[[providers.backup.chat]]\n{}",
        service(refuses),
        service(closes),
        service(answers)
    ))
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
}
