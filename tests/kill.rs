//! The gateway is killed in mid-turn: what it acknowledged is there when it is back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use voxgate::domain::{ControlKind, DeviceId, Downlink, Hello, HelloAck, Message};
use voxgate::sim::device::{Device, Login};

const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is killed.
const KILLS: usize = 3;
/// Typed turns before each kill.
const TEXTS: usize = 8;

struct Killed {
    dir: TempDir,
    child: Child,
    port: u16,
    secret: String,
}

fn voxgate(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxgate"));
    command.arg("--config").arg(dir.join("voxgate.toml")).args(args).stdin(Stdio::null());
    command
}

/// A port that was free a moment ago: the gateway must come back on the same one.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a command prints, value by value.
fn json(dir: &Path, args: &[&str]) -> Vec<Value> {
    let output = voxgate(dir, args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::Deserializer::from_str(&text).into_iter::<Value>().map(Result::unwrap).collect()
}

impl Killed {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let port = free_port();
        let text = format!(
            "[gateway]\ndata_dir = \"{data}\"\n[mqtt]\nlisten = \"127.0.0.1:{port}\"\n[http]\nenabled = false\n[devices]\nenabled = false\n[udp]\nenabled = false\n\
             [control]\nsocket = \"{socket}\"\n[store]\nreserve = \"0\"\n[engine]\nstart = \"off\"\n\
             [providers.stt]\ntype = \"off\"\n[providers.tts]\ntype = \"off\"\n[providers.chat]\ntype = \"off\"\n\
             [providers.embed]\ntype = \"off\"\n",
            data = dir.path().join("data").display(),
            socket = dir.path().join("control.sock").display(),
        );
        std::fs::write(dir.path().join("voxgate.toml"), text).unwrap();
        // while no gateway runs, the command writes to the store itself
        let added = json(dir.path(), &["device", "add", "cane-1", "--json"]);
        let secret = added[0]["secret"].as_str().unwrap().to_owned();
        let child = Self::serve(dir.path());
        Self { dir, child, port, secret }
    }

    fn serve(dir: &Path) -> Child {
        voxgate(dir, &["serve"]).stderr(Stdio::null()).spawn().unwrap()
    }

    /// SIGKILL, and a new start on the same folder.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::serve(self.dir.path());
    }

    async fn connect(&self, id: &DeviceId, secret: &str) -> Device {
        let login = Login { host: "127.0.0.1".into(), port: self.port, id: id.clone(), secret: secret.into() };
        let begun = tokio::time::Instant::now();
        loop {
            match Device::connect(&login, PATIENCE).await {
                Ok(device) => return device,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn greet(device: &mut Device, session: Option<&str>) -> HelloAck {
    let hello = Hello { boot_id: Some(7), ..Hello::default() };
    device.control(session, ControlKind::Hello(hello)).await.unwrap();
    loop {
        let arrived = device.next(PATIENCE, "hello_ack").await.unwrap();
        if let Downlink::Control { message: Message::HelloAck(ack), .. } = arrived.downlink {
            return *ack;
        }
    }
}

/// Sends texts and kills the gateway as soon as the last is acknowledged, its turn being spoken; gives the number of
/// the last acknowledged message.
async fn talk_until_killed(gateway: &mut Killed, device: &mut Device, session: &str, texts: &[String]) -> u32 {
    let mut sent = 0;
    for text in texts {
        device.control(Some(session), ControlKind::Text(text.clone())).await.unwrap();
        sent += 1;
    }
    let mut acknowledged = Vec::new();
    loop {
        let arrived = device.next(PATIENCE, "acknowledgement").await.unwrap();
        if let Downlink::Control { message: Message::Ack { seq: Some(seq), .. }, .. } = arrived.downlink {
            acknowledged.push(seq);
            if acknowledged.len() >= sent {
                gateway.kill();
                return seq;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_and_no_number_goes_back() {
    let mut gateway = Killed::start();
    let id = DeviceId::parse("cane-1").unwrap();
    let secret = gateway.secret.clone();
    let mut expected = BTreeSet::new();
    let mut session: Option<String> = None;
    let mut mark = 0;
    for round in 0..KILLS {
        let mut device = gateway.connect(&id, &secret).await;
        for _ in 0..mark {
            device.skip_number();
        }
        let ack = greet(&mut device, session.as_deref()).await;
        assert_eq!(ack.resumed, round > 0, "round {round}");
        assert!(ack.ack.control >= mark, "the mark went back: {} after {mark}", ack.ack.control);
        session = Some(ack.session_id.to_string());
        let texts: Vec<String> = (0..TEXTS).map(|n| format!("note {round} {n}")).collect();
        mark = talk_until_killed(&mut gateway, &mut device, ack.session_id.as_str(), &texts).await;
        expected.extend(texts);
    }
    let mut device = gateway.connect(&id, &secret).await;
    for _ in 0..mark {
        device.skip_number();
    }
    let ack = greet(&mut device, session.as_deref()).await;
    assert!(ack.resumed && ack.ack.control >= mark);
    let begun = tokio::time::Instant::now();
    loop {
        let rows = json(gateway.dir.path(), &["lifelog", "list", "--kind", "turn", "--limit", "1000", "--json"]);
        let rows: Vec<Value> =
            rows.into_iter().flat_map(|v| if let Value::Array(a) = v { a } else { vec![v] }).collect();
        let found: BTreeSet<String> =
            rows.iter().filter_map(|row| row["detail"]["transcript"].as_str().map(str::to_owned)).collect();
        if expected.is_subset(&found) {
            return;
        }
        let missing: Vec<_> = expected.difference(&found).collect();
        assert!(begun.elapsed() < PATIENCE, "lost: {missing:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
