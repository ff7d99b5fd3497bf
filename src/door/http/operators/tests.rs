//! The door from a socket's side.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::domain::Span;
use crate::observe::{self, Component};

use super::*;

/// Health that the test sets.
struct Told(Mutex<Vec<Component>>, Result<(), String>);

impl Health for Told {
    fn report(&self) -> Vec<Component> {
        self.0.lock().unwrap().clone()
    }

    fn alive(&self) -> Result<(), String> {
        self.1.clone()
    }
}

struct Bench {
    address: SocketAddr,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Bench {
    async fn start(settings: Settings, health: Told) -> Self {
        let settings = Settings { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..settings };
        let server = Server::bind(&settings).await.expect("binds");
        let (address, stop) = (server.address(), CancellationToken::new());
        let (registry, health) = (Arc::new(observe::registry()), Arc::new(health));
        let parts = Parts { registry, health, api: None, certificate: None };
        let running = tokio::spawn(server.run(parts, stop.clone()));
        Self { address, stop, running }
    }

    async fn get(&self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await
    }

    /// Sends bytes and reads until the door closes.
    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("connects");
        stream.write_all(bytes).await.expect("writes");
        let mut answer = Vec::new();
        // a reset after the answer is an end too
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.expect("no panic");
    }
}

fn told(components: Vec<Component>) -> Told {
    Told(Mutex::new(components), Ok(()))
}

#[tokio::test]
async fn a_gateway_without_a_voice_is_alive_but_not_ready_and_says_what_mends_it() {
    let speak = Component::missing("speak", "no voice is installed", "voxgate models pull");
    let bench = Bench::start(Settings::default(), told(vec![Component::ready("mqtt", "listens"), speak])).await;
    let ready = bench.get("/-/ready").await;
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains(r#""status":"missing""#) && ready.contains(r#""remedy":"voxgate models pull""#), "{ready}");
    assert!(bench.get("/-/healthy").await.starts_with("HTTP/1.1 200"));
    bench.end().await;
}

#[tokio::test]
async fn a_degraded_gateway_is_ready() {
    let mqtt = Component::degraded("mqtt", "the bus restarts", "wait");
    let bench = Bench::start(Settings::default(), told(vec![mqtt])).await;
    let ready = bench.get("/-/ready").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains(r#""state":"degraded""#), "{ready}");
    bench.end().await;
}

#[tokio::test]
async fn a_gateway_that_should_be_restarted_says_so() {
    let health = Told(Mutex::default(), Err("the writer has ended".to_owned()));
    let bench = Bench::start(Settings::default(), health).await;
    let healthy = bench.get("/-/healthy").await;
    assert!(healthy.starts_with("HTTP/1.1 503") && healthy.contains("the writer has ended"), "{healthy}");
    bench.end().await;
}

#[tokio::test]
async fn metrics_are_openmetrics_text() {
    let bench = Bench::start(Settings::default(), told(Vec::new())).await;
    let answer = bench.get("/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("application/openmetrics-text") && answer.contains("voxgate_build_info{"), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    bench.end().await;
}

#[tokio::test]
async fn garbage_an_endless_head_and_an_unknown_path_are_refused() {
    let bench = Bench::start(Settings::default(), told(Vec::new())).await;
    assert!(bench.send(b"\x10\x20\x00\x04MQTT\x04\x02\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let head = (0..100).map(|n| format!("x-{n}: y\r\n")).collect::<Vec<_>>().concat();
    assert!(bench.send(format!("GET / HTTP/1.1\r\n{head}\r\n").as_bytes()).await.starts_with("HTTP/1.1 431"));
    assert!(bench.get("/admin").await.starts_with("HTTP/1.1 404"));
    assert!(bench.send(b"POST /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.starts_with("HTTP/1.1 405"));
    bench.end().await;
}

#[tokio::test]
async fn peers_that_say_nothing_are_put_out_and_others_served_then() {
    let settings = Settings { connections: 2, timeout: Span::ms(50), ..Settings::default() };
    let bench = Bench::start(settings, told(Vec::new())).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(bench.address).await.expect("connects"));
    }
    // both slots are taken: this one waits until the silent ones are put out
    assert!(bench.get("/-/healthy").await.starts_with("HTTP/1.1 200"));
    bench.end().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_the_key() {
    let settings = Settings { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Settings::default() };
    let first = Server::bind(&settings).await.expect("binds");
    let settings = Settings { listen: first.address(), ..settings };
    let error = Server::bind(&settings).await.expect_err("is taken").to_string();
    assert!(error.contains("http.listen") && error.contains(&first.address().to_string()), "{error}");
}
