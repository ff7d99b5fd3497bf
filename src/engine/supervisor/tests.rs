//! How the supervisor treats children that crash, hang, fall silent or talk nonsense.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// Stands for a `/health`: the children of these tests are shells that announce its address.
struct Fake {
    addrs: String,
    answer: Arc<Mutex<Option<String>>>,
    _serving: JoinHandle<()>,
}

const READY: &str = r#"{"status":"ready","engines":{}}"#;

impl Fake {
    async fn new(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(Some(answer.to_owned())));
        let said = Arc::clone(&answer);
        let serving = tokio::spawn(async move {
            let mut silent = Vec::new();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = [0; 512];
                let _ = socket.read(&mut request).await;
                let body = said.lock().unwrap().clone();
                match body {
                    None => silent.push(socket),
                    Some(body) => {
                        let _ = socket.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{body}").as_bytes()).await;
                    }
                }
            }
        });
        let addrs = format!(r#"{{"wyoming":"127.0.0.1:1","http":"{http}"}}"#);
        Self { addrs, answer, _serving: serving }
    }

    fn answers(&self, answer: Option<&str>) {
        *self.answer.lock().unwrap() = answer.map(str::to_owned);
    }

    /// Runs `script` as the engine: `$A` are the addresses to announce.
    fn supervise(&self, script: &str) -> (View, Metrics, CancellationToken, JoinHandle<()>) {
        let script = format!("A='{}'; {script}", self.addrs);
        let launch = Launch { program: "/bin/sh".into(), args: vec!["-c".into(), script.into(), "engine".into()] };
        let pace = Pace {
            look: Duration::from_millis(10),
            look_starting: Duration::from_millis(5),
            answer: Duration::from_millis(500),
            pause: Duration::from_millis(5),
            hang_window: Duration::from_mins(1),
            ..Pace::default()
        };
        let metrics = Metrics::default();
        let (supervisor, view) = Supervisor::new(Settings::default(), launch, pace, metrics.clone());
        let stop = CancellationToken::new();
        let task = tokio::spawn(supervisor.run(stop.clone()));
        (view, metrics, stop, task)
    }
}

async fn until(view: &mut View, wanted: impl Fn(&State) -> bool) -> State {
    let seen = timeout(Duration::from_secs(20), view.state.wait_for(|state| wanted(state))).await;
    seen.unwrap().unwrap().clone()
}

fn restarts(metrics: &Metrics, reason: &'static str) -> u64 {
    metrics.restarts.get_or_create(&Reason { reason }).get()
}

#[tokio::test]
async fn a_process_that_crashes_is_started_again_and_ends_with_us() {
    let fake = Fake::new(READY).await;
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("gone");
    let script = format!("echo \"$A\"; cat >/dev/null; echo bye >{}", mark.display());
    let (mut view, metrics, stop, task) =
        fake.supervise(&format!("test -e {0}.1 || {{ touch {0}.1; exit 3; }}; {script}", mark.display()));
    until(&mut view, |s| *s == State::Ready).await;
    assert_eq!(restarts(&metrics, "exit"), 1);
    assert_eq!(serde_json::to_string(&view.addrs().await.unwrap()).unwrap(), fake.addrs);
    stop.cancel();
    task.await.unwrap();
    assert_eq!(std::fs::read_to_string(mark).unwrap(), "bye\n", "asked to end, not killed");
}

#[tokio::test]
async fn a_process_that_hangs_is_killed_and_after_three_times_left_alone() {
    let fake = Fake::new(r#"{"status":"degraded","engines":{"chat":{"state":"ready","hung":true}}}"#).await;
    let (mut view, metrics, stop, task) = fake.supervise("echo \"$A\"; exec sleep 1000");
    let down = until(&mut view, |s| matches!(s, State::Down(text) if text.contains("60000 ms"))).await;
    assert!(matches!(down, State::Down(text) if text.contains("chat hangs")));
    assert_eq!(restarts(&metrics, "hung"), 3);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_process_that_falls_silent_hangs_too() {
    let fake = Fake::new(READY).await;
    let (mut view, metrics, stop, task) = fake.supervise("echo \"$A\"; cat >/dev/null");
    until(&mut view, |s| *s == State::Ready).await;
    fake.answers(None);
    until(&mut view, |s| matches!(s, State::Down(_))).await;
    assert_eq!(restarts(&metrics, "hung"), 1);
    fake.answers(Some(READY));
    until(&mut view, |s| *s == State::Ready).await;
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn what_is_missing_is_told_on() {
    let missing = r#"{"status":"degraded","engines":{"stt":{"state":"missing","reason":"run x","hung":false}}}"#;
    let fake = Fake::new(missing).await;
    let (mut view, _, stop, task) = fake.supervise("echo \"$A\"; cat >/dev/null");
    let state = until(&mut view, |s| matches!(s, State::Degraded(_))).await;
    assert_eq!(state, State::Degraded("stt: run x".into()));
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_not_there_or_talks_nonsense_is_said() {
    let fake = Fake::new(READY).await;
    let (mut view, _, stop, task) = fake.supervise("echo hello; exec sleep 1000");
    let down = until(&mut view, |s| matches!(s, State::Down(_))).await;
    assert!(matches!(down, State::Down(text) if text.contains("something else")));
    stop.cancel();
    task.await.unwrap();

    let launch = Launch { program: "/nowhere/voxgate".into(), args: vec![] };
    let (supervisor, mut view) = Supervisor::new(Settings::default(), launch, Pace::default(), Metrics::default());
    let stop = CancellationToken::new();
    let task = tokio::spawn(supervisor.run(stop.clone()));
    let down = until(&mut view, |s| matches!(s, State::Down(_))).await;
    assert!(matches!(down, State::Down(text) if text.contains("cannot start /nowhere/voxgate")));
    stop.cancel();
    task.await.unwrap();
}
