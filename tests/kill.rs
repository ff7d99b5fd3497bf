//! The gateway is killed in mid-turn: what it acknowledged is there when it is back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use gateway::binary::voxgate;
use gateway::mosquitto::free_port;
use serde_json::Value;
use tempfile::TempDir;
use voxgate::domain::{ControlKind, DeviceId, Downlink, Hello, HelloAck, Message, Stream};
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

/// What a command prints, value by value.
fn json(dir: &Path, args: &[&str]) -> Vec<Value> {
    let output = voxgate(&dir.join("voxgate.toml"), args).output().unwrap();
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
        voxgate(&dir.join("voxgate.toml"), &["serve"]).stderr(Stdio::null()).spawn().unwrap()
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
    greet_holding(device, session, None).await
}

/// Says hello, and what the oldest message is that the device still holds.
async fn greet_holding(device: &mut Device, session: Option<&str>, oldest: Option<u32>) -> HelloAck {
    let oldest_seq = oldest.map(|seq| (Stream::Control, seq)).into_iter().collect();
    let hello = Hello { boot_id: Some(7), oldest_seq, ..Hello::default() };
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

/// How often it is killed under load, and how many messages are on their way at once.
const KILLS_UNDER_LOAD: u32 = 20;
const UNDER_WAY: usize = 8;

/// A device that keeps the rules: what is not acknowledged is held, and sent again under its own number.
#[derive(Default)]
struct Rules {
    session: Option<String>,
    /// The highest acknowledgement that it was told.
    told: u32,
    /// The number of the hello that opened the session.
    opened: u32,
    next: u32,
    held: BTreeMap<u32, String>,
    /// All that was acknowledged.
    done: BTreeSet<String>,
}

impl Rules {
    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Says hello and sends again what it holds.
    async fn come_back(&mut self, device: &mut Device) {
        let own = self.number();
        device.number_from(own);
        let oldest = self.held.keys().next().copied().unwrap_or(own);
        let ack = greet_holding(device, self.session.as_deref(), Some(oldest)).await;
        if self.told > self.opened {
            assert!(ack.resumed, "a session in which {} was acknowledged is gone", self.told);
        }
        if ack.resumed {
            self.acknowledged(ack.ack.control);
        } else {
            // nothing of the former one was acknowledged: all of it is said anew
            let again: Vec<String> = std::mem::take(&mut self.held).into_values().collect();
            (self.session, self.next) = (Some(ack.session_id.to_string()), own);
            (self.told, self.opened) = (ack.ack.control, own);
            for what in again {
                let seq = self.number();
                self.held.insert(seq, what);
            }
        }
        for (seq, what) in self.held.clone() {
            device.number_from(seq);
            self.send(device, &what).await;
        }
    }

    async fn send(&self, device: &mut Device, what: &str) {
        let kind =
            ControlKind::ToolResult { operation_id: what.to_owned(), success: true, result: Value::Null, error: None };
        device.control(self.session.as_deref(), kind).await.unwrap();
    }

    fn acknowledged(&mut self, mark: u32) {
        assert!(mark >= self.told, "the mark went back from {} to {mark}", self.told);
        self.told = mark;
        let still = self.held.split_off(&(mark + 1));
        self.done.extend(std::mem::replace(&mut self.held, still).into_values());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_twenty_times_in_mid_load_it_loses_nothing_does_nothing_twice_and_no_mark_goes_back() {
    let mut gateway = Killed::start();
    let id = DeviceId::parse("cane-1").unwrap();
    let (secret, mut rules, mut said) = (gateway.secret.clone(), Rules::default(), 0);
    for round in 0..=KILLS_UNDER_LOAD {
        let mut device = gateway.connect(&id, &secret).await;
        rules.come_back(&mut device).await;
        // killed after another number of acknowledgements each time, with others on their way
        let (before, wanted) = (rules.done.len(), 1 + round as usize * 5 % 23);
        while rules.done.len() < before + wanted || round == KILLS_UNDER_LOAD && !rules.held.is_empty() {
            while rules.held.len() < UNDER_WAY && round < KILLS_UNDER_LOAD {
                said += 1;
                let (seq, what) = (rules.number(), format!("said-{said:05}"));
                device.number_from(seq);
                rules.send(&mut device, &what).await;
                rules.held.insert(seq, what);
            }
            if rules.held.is_empty() {
                break;
            }
            let arrived = device.next(PATIENCE, "acknowledgement").await.unwrap();
            if let Downlink::Control { message: Message::Ack { seq: Some(seq), .. }, .. } = arrived.downlink {
                rules.acknowledged(seq);
            }
        }
        if round < KILLS_UNDER_LOAD {
            gateway.kill();
        }
    }
    assert!(rules.held.is_empty() && rules.done.len() == said, "{} of {said} acknowledged", rules.done.len());
    let mut effects: BTreeMap<String, usize> = BTreeMap::new();
    for row in json(gateway.dir.path(), &["lifelog", "list", "--kind", "session", "--limit", "10000", "--json"]) {
        let rows = if let Value::Array(rows) = row { rows } else { vec![row] };
        for name in rows.iter().filter_map(|row| row["detail"]["tool_result"]["operation_id"].as_str()) {
            *effects.entry(name.to_owned()).or_default() += 1;
        }
    }
    let twice: Vec<_> = effects.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "done twice: {twice:?}");
    let missing: Vec<_> = rules.done.iter().filter(|name| !effects.contains_key(*name)).collect();
    assert!(missing.is_empty(), "acknowledged and missing: {missing:?}");
}
