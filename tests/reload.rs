//! New settings of services while the gateway runs: a real process, its file, and services over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use gateway::PATIENCE;
use gateway::binary::{Binary, wait};
use gateway::service::chat_service;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use voxgate::domain::{ControlKind, Downlink, Message};
use voxgate::sim::device::Device;

const OFF: &str =
    "[providers.stt]\ntype = \"off\"\n[providers.tts]\ntype = \"off\"\n[providers.embed]\ntype = \"off\"\n";

/// Chat by one service, speech by nobody: what is answered is told as text.
fn by(service: SocketAddr, more: &str) -> String {
    format!("{OFF}[providers.chat]\ntype = \"openai\"\nurl = \"http://{service}/v1\"\n{more}")
}

async fn ask(device: &mut Device, text: &str) {
    device.control(None, ControlKind::Text(text.to_owned())).await.unwrap();
}

async fn reply(device: &mut Device) -> String {
    loop {
        let arrived = device.next(PATIENCE, "reply").await.unwrap();
        if let Downlink::Control { message: Message::Reply { text }, .. } = arrived.downlink {
            return text;
        }
    }
}

async fn reply_to(device: &mut Device, text: &str) -> String {
    ask(device, text).await;
    reply(device).await
}

/// A service that says half a sentence, and the rest when it is told to.
async fn halting() -> (SocketAddr, Arc<Notify>, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tells, waits) = (Arc::clone(&begun), Arc::clone(&go_on));
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 16_384];
        assert!(socket.read(&mut request).await.unwrap() > 0);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let piece = |text: &str| format!("data: {}\n\n", json!({"choices": [{"delta": {"content": text}}]}));
        socket.write_all(format!("{head}{}", piece("The old one ")).as_bytes()).await.unwrap();
        tells.notify_one();
        waits.notified().await;
        let rest = format!("{}data: [DONE]\n\n", piece("ends what it began."));
        socket.write_all(rest.as_bytes()).await.unwrap();
    });
    (address, begun, go_on)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_runs_ends_with_the_old_service_and_the_next_one_asks_the_new_one() {
    let (old, begun, go_on) = halting().await;
    let new = chat_service(|_| Some(json!({"content": "The new one answers."}))).await;
    let gateway = Binary::serve(&by(old, "")).await;
    let mut running = gateway.device("cane-1", &[]).await;
    let mut next = gateway.device("cane-2", &[]).await;
    ask(&mut running, "tell me about rain").await;
    begun.notified().await;
    gateway.reconfigure(&by(new, "model = \"other\"\n[voice.reply]\nsystem_prompt = \"be brief\"\n"));
    let reloaded = gateway.json(&["config", "reload", "--json"]);
    assert_eq!(
        reloaded,
        json!({"renewed": ["providers.chat.model", "providers.chat.url", "voice.reply.system_prompt"], "restart": []})
    );
    assert_eq!(reply_to(&mut next, "tell me about rain").await, "The new one answers.");
    go_on.notify_one();
    assert_eq!(reply(&mut running).await, "The old one ends what it began.");
    assert_eq!(reply_to(&mut running, "tell me about snow").await, "The new one answers.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_mistake_changes_nothing_and_says_what_and_where() {
    let answers = chat_service(|_| Some(json!({"content": "As before."}))).await;
    let gateway = Binary::serve(&by(answers, "")).await;
    let mut device = gateway.device("cane-1", &[]).await;
    gateway.reconfigure(&by(answers, "modle = \"m\"\n[voice.reply]\nmax_tokens = 0\n"));
    let refused = gateway.run(&["config", "reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{said}");
    // the command reads the file too, to find the gateway's socket
    assert!(said.contains("providers.chat.modle") && said.contains("voice.reply.max_tokens"), "{said}");
    // as systemd asks: what is wrong is in the journal
    gateway.hang_up();
    wait("word in the log", || gateway.log().contains("nothing was changed").then_some(())).await;
    assert!(gateway.log().contains("providers.chat.modle"), "{}", gateway.log());
    assert_eq!(reply_to(&mut device, "tell me about rain").await, "As before.");
    // a service that only a new start brings
    gateway.reconfigure(&by(answers, "[[providers.backup.chat]]\ntype = \"local\"\n"));
    let refused = gateway.run(&["config", "reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("restart it"), "{said}");
    assert_eq!(reply_to(&mut device, "tell me about snow").await, "As before.");
}

/// A service that refuses each key, and the keys that it was shown.
async fn refusing() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&asked);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 16_384];
            let read = socket.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..read]).to_lowercase();
            let key = text.split("authorization: bearer ").nth(1).and_then(|rest| rest.lines().next());
            notes.lock().unwrap().push(key.unwrap_or("none").to_owned());
            let refused = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = socket.write_all(refused.as_bytes()).await;
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_read_anew_and_what_needs_a_new_start_is_told() {
    let (address, asked) = refusing().await;
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "sk-first\n").unwrap();
    let with_key = format!("api_key_file = {:?}\n", key.display().to_string());
    let gateway = Binary::serve(&by(address, &with_key)).await;
    let mut device = gateway.device("cane-1", &[]).await;
    ask(&mut device, "tell me about rain").await;
    wait("request", || (!asked.lock().unwrap().is_empty()).then_some(())).await;
    std::fs::write(&key, "sk-second\n").unwrap();
    gateway.reconfigure(&by(address, &format!("{with_key}[session]\nresend_after = \"7s\"\n")));
    let reloaded = gateway.json(&["config", "reload", "--json"]);
    assert_eq!(reloaded, json!({"renewed": [], "restart": ["session.resend_after"]}));
    ask(&mut device, "tell me about snow").await;
    wait("key", || asked.lock().unwrap().iter().any(|key| key == "sk-second").then_some(())).await;
    assert_eq!(asked.lock().unwrap()[0], "sk-first");
    let log = gateway.log();
    assert!(!log.contains("sk-"), "{log}");
    // a key that is gone is told by its file, and the one before is used on
    std::fs::remove_file(&key).unwrap();
    let refused = gateway.run(&["config", "reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains(&key.display().to_string()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_be_a_credential_of_the_service_and_an_operators_shell_need_not_have_it() {
    let (answers, asked) = refusing().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("llm"), "sk-credential\n").unwrap();
    let with_key = by(answers, "api_key_credential = \"llm\"\n");
    let folder = dir.path().display().to_string();
    let gateway = Binary::serve_with(&with_key, &[("CREDENTIALS_DIRECTORY", &folder)]).await;
    let mut device = gateway.device("cane-1", &[]).await;
    ask(&mut device, "tell me about rain").await;
    wait("request", || (!asked.lock().unwrap().is_empty()).then_some(())).await;
    assert_eq!(asked.lock().unwrap()[0], "sk-credential");
    // the command runs without that folder, the gateway with it
    assert_eq!(gateway.json(&["config", "reload", "--json"]), json!({"renewed": [], "restart": []}));
    gateway.reconfigure(&by(answers, "api_key_credential = \"../llm\"\n"));
    let refused = gateway.run(&["config", "reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("no name of a credential"), "{said}");
}
