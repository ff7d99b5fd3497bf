//! The socket from end to end: a client, a server, and an `Admin` that keeps devices in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Mutex;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::admin::testing::InMemory;
use crate::admin::{Client, LifelogQuery, LifelogRow, MAX_REQUEST, NewDevice, Secret};
use crate::domain::{DeviceId, ListenMode, Wall};

use super::*;

/// A running server in a folder of its own.
struct Bench {
    settings: Settings,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    folder: tempfile::TempDir,
}

impl Bench {
    fn start(admin: InMemory) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings { socket: folder.path().join("control.sock"), ..Settings::default() };
        let server = ControlServer::bind(&settings).expect("binds");
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(Arc::new(admin), stop.clone()));
        Self { settings, stop, running, folder }
    }

    fn client(&self) -> Client {
        Client::new(&self.settings.socket)
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.expect("no panic");
        assert!(!self.settings.socket.exists(), "the file is left behind in {:?}", self.folder);
    }
}

fn cane() -> NewDevice {
    NewDevice {
        id: DeviceId::parse("cane").expect("an id"),
        password: None,
        mode: ListenMode::Auto,
        device_text: false,
        language: None,
        replace: false,
    }
}

fn row(text: &str) -> LifelogRow {
    LifelogRow { at: Wall(5), device: None, session: None, kind: "turn".into(), detail: text.into() }
}

#[tokio::test]
async fn without_a_gateway_the_operator_is_told_how_to_start_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = Client::new(folder.path().join("none.sock"));
    assert!(!client.answers().await.expect("is told"));
    let error = client.device_list().await.expect_err("nobody is there");
    assert_eq!(error.kind, AdminErrorKind::NotRunning);
    assert!(error.message.contains("is not running (no answer on"), "{error}");
    assert!(error.message.contains("voxgate serve"), "{error}");
}

#[tokio::test]
async fn garbage_and_an_endless_line_are_refused_and_the_next_operator_is_served() {
    let bench = Bench::start(InMemory::default());
    let mut garbage = UnixStream::connect(&bench.settings.socket).await.expect("connects");
    garbage.write_all(b"{\"op\":\"open_sesame\",\"password\":\"hush\"}\n").await.expect("writes");
    let mut answer = String::new();
    BufReader::new(&mut garbage).read_line(&mut answer).await.expect("an answer");
    assert!(answer.contains("\"error\"") && !answer.contains("hush"), "{answer}");

    let mut endless = UnixStream::connect(&bench.settings.socket).await.expect("connects");
    endless.write_all(&vec![b'x'; MAX_REQUEST + 1]).await.expect("writes");
    let mut answer = String::new();
    BufReader::new(&mut endless).read_line(&mut answer).await.expect("an answer");
    assert!(answer.contains("at most"), "{answer}");

    assert_eq!(bench.client().device_list().await, Ok(Vec::new()));
    bench.end().await;
}

#[tokio::test]
async fn a_device_is_made_once_and_its_secret_told_once() {
    let bench = Bench::start(InMemory::default());
    let credential = bench.client().device_add(cane()).await.expect("is made");
    assert_eq!(credential.secret, Some(Secret("hush".into())));
    let again = bench.client().device_add(cane()).await.expect_err("exists");
    assert_eq!(again.kind, AdminErrorKind::Exists);
    assert_eq!(bench.client().device_list().await.expect("a list").len(), 1);
    bench.client().device_remove(cane().id).await.expect("goes");
    assert_eq!(bench.client().device_list().await, Ok(Vec::new()));
    bench.end().await;
}

#[tokio::test]
async fn a_tail_gives_entries_as_they_come_and_ends_with_an_error_when_there_is_one() {
    let (rows, receiver) = mpsc::channel(4);
    let bench = Bench::start(InMemory { tail: Mutex::new(Some(receiver)), ..InMemory::default() });
    let mut tail = bench.client().lifelog_tail(LifelogQuery::default()).await.expect("a tail");
    rows.send(Ok(row("one"))).await.expect("somebody follows");
    assert_eq!(tail.next().await, Some(Ok(row("one"))));
    rows.send(Err(AdminError::new(AdminErrorKind::Store, "gone"))).await.expect("somebody follows");
    assert_eq!(tail.next().await, Some(Err(AdminError::new(AdminErrorKind::Store, "gone"))));
    assert_eq!(tail.next().await, None);
    bench.end().await;
}

#[tokio::test]
async fn an_operator_who_stops_following_is_forgotten() {
    let (rows, receiver) = mpsc::channel(1);
    let bench = Bench::start(InMemory { tail: Mutex::new(Some(receiver)), ..InMemory::default() });
    let mut tail = bench.client().lifelog_tail(LifelogQuery::default()).await.expect("a tail");
    rows.send(Ok(row("one"))).await.expect("somebody follows");
    tail.next().await.expect("comes").expect("is an entry");
    drop(tail);
    // resolves only when the gateway has dropped its end
    rows.closed().await;
    bench.end().await;
}

#[tokio::test]
async fn a_second_gateway_is_refused_and_a_dead_ones_file_replaced() {
    let bench = Bench::start(InMemory::default());
    assert!(matches!(ControlServer::bind(&bench.settings), Err(ControlError::InUse(_))));
    let settings = Settings { socket: bench.folder.path().join("stale.sock"), ..Settings::default() };
    drop(StdUnixListener::bind(&settings.socket).expect("binds"));
    assert!(settings.socket.exists());
    let server = ControlServer::bind(&settings).expect("replaces it");
    let mode = fs::metadata(server.path()).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    bench.end().await;
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { socket: folder.path().join("precious"), ..Settings::default() };
    fs::write(&settings.socket, "data").expect("writes");
    assert!(matches!(ControlServer::bind(&settings), Err(ControlError::NoSocket(_))));
    assert_eq!(fs::read_to_string(&settings.socket).expect("is there"), "data");
}
