//! The HTTP client to the outside over TLS: which version of HTTP is spoken where, through a proxy, with an authority of
//! one's own, and on connections that were opened ahead of need.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{SinkExt, StreamExt};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Method, Request, Response, Version};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::codec::Framed;
use voxgate::audio::Workers;
use voxgate::domain::SystemClock;
use voxgate::provider::http::{Client, Headers, Patience, Settings};
use voxgate::provider::{Kind, Local, Providers, Service, Utterance, pool, warm};
use voxgate::wire::wyoming::{Decoder, Event};

use scripted::KEY;

/// An answer with a body of one piece.
struct Whole(Option<Bytes>);

impl hyper::body::Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
const OLD: &[&[u8]] = &[b"http/1.1"];

/// A request that the server had.
#[derive(Debug, PartialEq)]
struct Had {
    method: Method,
    version: Version,
    key: bool,
    path: String,
}

/// A server behind TLS, with an authority in a file, and what it had.
struct Server {
    addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    had: Receiver<Had>,
    folder: tempfile::TempDir,
}

impl Server {
    /// Offers these versions of HTTP.
    async fn start(versions: &'static [&'static [u8]]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(certified(folder.path(), versions)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let (note, had) = tokio::sync::mpsc::channel(32);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, note) = (acceptor.clone(), note.clone());
                tokio::spawn(async move {
                    let Ok(socket) = acceptor.accept(socket).await else { return };
                    let h2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
                    let io = hyper_util::rt::TokioIo::new(socket);
                    let service = hyper::service::service_fn(move |request| answer(request, note.clone()));
                    if h2 {
                        let executor = hyper_util::rt::TokioExecutor::new();
                        let _ = hyper::server::conn::http2::Builder::new(executor).serve_connection(io, service).await;
                    } else {
                        let http = hyper::server::conn::http1::Builder::new();
                        let _ = http.serve_connection(io, service).with_upgrades().await;
                    }
                });
            }
        });
        Self { addr, accepted, had, folder }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/v1", self.addr.port())
    }

    fn settings(&self) -> Settings {
        Settings { ca_files: vec![self.folder.path().join("ca.pem")], ..Settings::default() }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

fn certified(folder: &Path, versions: &[&[u8]]) -> rustls::ServerConfig {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "service.test".to_owned()]).unwrap();
    std::fs::write(folder.join("ca.pem"), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    config.alpn_protocols = versions.iter().map(|version| version.to_vec()).collect();
    config
}

/// Chats, and goes on as a WebSocket that hears an utterance.
async fn answer(request: Request<Incoming>, note: Sender<Had>) -> Result<Response<Whole>, Infallible> {
    let had = Had {
        method: request.method().clone(),
        version: request.version(),
        key: request.headers().contains_key("authorization"),
        path: request.uri().path().to_owned(),
    };
    let _ = note.send(had).await;
    if let Some(key) = request.headers().get("sec-websocket-key") {
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        tokio::spawn(async move {
            let io = hyper_util::rt::TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            let role = tokio_tungstenite::tungstenite::protocol::Role::Server;
            let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(io, role, None).await;
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() {
                    let said = json!({ "type": "Results", "is_final": true,
                        "channel": { "alternatives": [{ "transcript": "Hello." }] } });
                    for message in [said, json!({ "type": "Metadata" })] {
                        let text = tokio_tungstenite::tungstenite::Message::text(message.to_string());
                        let _ = socket.send(text).await;
                    }
                }
            }
        });
        let response = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "websocket");
        return Ok(response.header("sec-websocket-accept", accept).body(Whole(None)).unwrap());
    }
    let found = request.uri().path() == "/v1/chat/completions";
    let body = "{\"choices\":[{\"message\":{\"content\":\"Hello.\"},\"finish_reason\":\"stop\"}]}";
    let response = Response::builder().status(if found { 200 } else { 404 });
    Ok(response.body(Whole(found.then(|| body.into()))).unwrap())
}

async fn chat(client: &Client, url: &str) -> serde_json::Value {
    let headers = Headers::new().bearer(KEY);
    let url = format!("{url}/chat/completions");
    client.post_json(&url, &headers, &json!({}), Patience::default()).await.unwrap()
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_offered_and_one_connection_carries_all() {
    let mut server = Server::start(BOTH).await;
    let client = Client::with_keys(&server.settings()).unwrap();
    chat(&client, &server.url()).await;
    let url = server.url();
    futures::future::join_all((0..5).map(|_| chat(&client, &url))).await;
    for _ in 0..6 {
        assert_eq!(server.had.recv().await.unwrap().version, Version::HTTP_2);
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn http1_is_spoken_where_nothing_else_is_offered_or_wanted() {
    for (versions, http2) in [(OLD, true), (&[], true), (BOTH, false)] {
        let mut server = Server::start(versions).await;
        let client = Client::with_keys(&Settings { http2, ..server.settings() }).unwrap();
        for _ in 0..2 {
            chat(&client, &server.url()).await;
            assert_eq!(server.had.recv().await.unwrap().version, Version::HTTP_11);
        }
        assert_eq!(server.accepted(), 1, "the connection is used again");
    }
}

/// A proxy: tells of each host that it is asked for.
async fn proxy(to: SocketAddr) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (note, asked) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let note = note.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                let _ = note.send(String::from_utf8(head).unwrap().lines().next().unwrap().to_owned()).await;
                let mut target = TcpStream::connect(to).await.unwrap();
                socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut socket, &mut target).await;
            });
        }
    });
    (url, asked)
}

#[tokio::test]
async fn a_proxy_of_the_environment_carries_http2_too() {
    let mut server = Server::start(BOTH).await;
    let (proxy, mut asked) = proxy(server.addr).await;
    // the environment is the process': the same test once more, in one of its own
    let test = "a_proxy_of_the_environment_carries_http2_too_in_a_process_of_its_own";
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--ignored", "--nocapture"]);
    for name in ["HTTP_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"] {
        child.env_remove(name);
    }
    child.env("HTTPS_PROXY", proxy).env("VOXGATE_TEST_CA", server.folder.path().join("ca.pem"));
    let done = child.output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    assert_eq!(asked.recv().await.unwrap(), "CONNECT service.test:443 HTTP/1.1");
    assert_eq!(server.had.recv().await.unwrap().version, Version::HTTP_2);
}

#[tokio::test]
#[ignore = "a part of the test above, which gives it its environment"]
async fn a_proxy_of_the_environment_carries_http2_too_in_a_process_of_its_own() {
    let Some(file) = std::env::var_os("VOXGATE_TEST_CA") else { return };
    let settings = Settings { ca_files: vec![file.into()], ..Settings::default() };
    let client = Client::with_keys(&settings).unwrap();
    chat(&client, "https://service.test/v1").await;
}

fn providers(stt: Service, chat: Service, tts: Service, settings: &Settings) -> Providers {
    let settings_of = voxgate::provider::Settings { stt, chat, tts, ..Default::default() };
    let local = Local { wyoming: ([127, 0, 0, 1], 1).into(), http: ([127, 0, 0, 1], 1).into() };
    let client = Client::with_keys(settings).unwrap();
    let parts = pool::Parts {
        settings: pool::Settings::default(),
        clock: Arc::new(SystemClock),
        random: Arc::new(|| 0),
        metrics: pool::Metrics::default(),
    };
    let workers = Workers::new(1, voxgate::audio::workers::Metrics::default()).unwrap();
    Providers::new(&settings_of, local, &client, &parts, &workers).unwrap()
}

fn off() -> Service {
    Service { kind: Kind::Off, ..Service::default() }
}

fn at(kind: Kind, url: String) -> Service {
    Service { kind, url: Some(url), ..Service::default() }
}

fn ask() -> voxgate::provider::ChatRequest {
    voxgate::provider::ChatRequest::default()
}

/// What was counted of this outcome.
fn counted(registry: &prometheus_client::registry::Registry, capability: &str, outcome: &str) -> bool {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    text.contains(&format!("voxgate_provider_warmed_total{{capability=\"{capability}\",outcome=\"{outcome}\"}} 1"))
}

#[tokio::test]
async fn the_first_request_of_a_turn_uses_the_connection_that_was_opened_ahead() {
    for versions in [OLD, BOTH] {
        let mut server = Server::start(versions).await;
        let made = providers(off(), at(Kind::Openai, server.url()), off(), &server.settings());
        let mut registry = prometheus_client::registry::Registry::default();
        let metrics = warm::Metrics::register(&mut registry);
        made.warm.open(&metrics).await;
        let had = server.had.recv().await.unwrap();
        assert_eq!((had.method, had.path.as_str(), had.key), (Method::HEAD, "/", false), "no key goes along");
        made.warm.open(&metrics).await;
        assert!(counted(&registry, "chat", "opened") && counted(&registry, "chat", "already"));
        let mut reply = made.chat.unwrap().chat(ask());
        assert_eq!(reply.next().await.unwrap().unwrap(), "Hello.".into());
        let had = server.had.recv().await.unwrap();
        assert_eq!((had.method, had.path.as_str()), (Method::POST, "/v1/chat/completions"));
        assert_eq!(server.accepted(), 1);
    }
}

#[tokio::test]
async fn a_websocket_is_asked_for_on_the_connection_that_was_opened_ahead_and_takes_it_along() {
    let mut server = Server::start(BOTH).await;
    let made = providers(at(Kind::Deepgram, server.url()), off(), off(), &server.settings());
    let stt = made.stt.unwrap();
    for turn in 1..=2 {
        made.warm.open(&warm::Metrics::default()).await;
        assert_eq!(server.had.recv().await.unwrap().method, Method::HEAD);
        let heard = stt.transcribe(Utterance { pcm: vec![1; 4_000].into(), ..Utterance::default() }).await.unwrap();
        assert_eq!(heard.text, "Hello.");
        let had = server.had.recv().await.unwrap();
        assert_eq!((had.version, had.path.as_str()), (Version::HTTP_11, "/v1/listen"));
        assert_eq!(server.accepted(), turn);
    }
}

#[tokio::test]
async fn a_wyoming_service_has_one_connection_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut wire = Framed::new(socket, Decoder::default());
                while let Some(Ok(event)) = wire.next().await {
                    if event.kind == "audio-stop" {
                        wire.send(Event::new("transcript").with("text", "Hello.")).await.unwrap();
                    }
                }
            });
        }
    });
    let made = providers(at(Kind::Wyoming, url), off(), off(), &Settings::default());
    let mut registry = prometheus_client::registry::Registry::default();
    let metrics = warm::Metrics::register(&mut registry);
    for _ in 0..2 {
        made.warm.open(&metrics).await;
    }
    assert!(counted(&registry, "stt", "opened") && counted(&registry, "stt", "already"));
    let heard =
        made.stt.unwrap().transcribe(Utterance { pcm: vec![1; 4_000].into(), ..Utterance::default() }).await.unwrap();
    assert_eq!(heard.text, "Hello.");
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nothing_is_opened_ahead_where_that_is_not_wanted_and_a_service_that_is_not_there_is_counted() {
    let server = Server::start(BOTH).await;
    let settings = Settings { warm: false, ..server.settings() };
    let made = providers(off(), at(Kind::Openai, server.url()), off(), &settings);
    made.warm.open(&warm::Metrics::default()).await;
    assert_eq!(server.accepted(), 0);

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let made = providers(off(), at(Kind::Openai, format!("http://{nobody}/v1")), off(), &Settings::default());
    let mut registry = prometheus_client::registry::Registry::default();
    made.warm.open(&warm::Metrics::register(&mut registry)).await;
    assert!(counted(&registry, "chat", "failed"));
}

#[tokio::test]
async fn a_bell_that_is_rung_is_answered_and_waits_for_nobody() {
    let mut server = Server::start(BOTH).await;
    let made = providers(off(), at(Kind::Openai, server.url()), off(), &server.settings());
    let (bell, stop) = (made.warm.bell(), tokio_util::sync::CancellationToken::new());
    for _ in 0..100 {
        bell.ring();
    }
    let task = tokio::spawn(made.warm.clone().run(warm::Metrics::default(), stop.clone()));
    assert_eq!(server.had.recv().await.unwrap().method, Method::HEAD);
    stop.cancel();
    task.await.unwrap();
    assert_eq!(server.accepted(), 1);
}
