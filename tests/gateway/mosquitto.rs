//! A real mosquitto as the other broker: it can be killed, and its log says what it received.

use std::fs::{self, OpenOptions};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child as AsyncChild, ChildStdout, Command as AsyncCommand};
use tokio::time::{sleep, timeout};

use super::PATIENCE;

/// How often something outside this process is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Whether it can be started; says when it cannot.
pub fn installed() -> bool {
    let there =
        |program: &str| Command::new(program).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let installed = there("mosquitto") && there("mosquitto_sub");
    if !installed {
        println!("skipped: mosquitto is not installed (Debian packages mosquitto and mosquitto-clients)");
    }
    installed
}

/// A broker on a port that stays the same.
pub struct Mosquitto {
    pub port: u16,
    dir: TempDir,
    child: Option<Child>,
}

/// A port that was free a moment ago, and that the system gives to nobody who asks for any.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Mosquitto {
    /// A broker that is not started yet. `rest` is added to its configuration; `{dir}` in it is its folder.
    pub fn prepare(rest: &str) -> Self {
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let rest = rest.replace("{dir}", &dir.path().display().to_string());
        let anonymous = if rest.contains("allow_anonymous") { "" } else { "allow_anonymous true\n" };
        let text = format!(
            "listener {port} 127.0.0.1\n{anonymous}user root\nlog_type all\nlog_dest stderr\npersistence true\n\
             persistence_location {}/\n{rest}\n",
            dir.path().display()
        );
        fs::write(dir.path().join("mosquitto.conf"), text).unwrap();
        Self { port, dir, child: None }
    }

    /// A broker that runs.
    pub async fn start(rest: &str) -> Self {
        let mut broker = Self::prepare(rest);
        broker.serve().await;
        broker
    }

    /// Its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts it, also again.
    pub async fn serve(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let config = self.path("mosquitto.conf");
        self.child = Some(Command::new("mosquitto").arg("-c").arg(config).stderr(log).spawn().unwrap());
        let begun = tokio::time::Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "mosquitto does not start: {}", self.log());
            sleep(LOOK).await;
        }
        let ended = self.child.as_mut().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "mosquitto does not stay: {}", self.log());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What all its lives have said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The topics of what this client published, in order of arrival, repeats and all.
    pub fn received(&self, client: &str) -> Vec<String> {
        let log = self.log();
        let from = format!("Received PUBLISH from {client} (");
        let topic = |line: &str| line.split_once('\'')?.1.split_once('\'').map(|(topic, _)| topic.to_owned());
        log.lines().filter(|line| line.contains(&from)).filter_map(topic).collect()
    }

    /// Waits until it has received these topics of this client, in this order; repeats are passed over.
    pub async fn receives(&self, client: &str, topics: &[String]) {
        let waiting = async {
            while first_times(&self.received(client)) != topics {
                sleep(LOOK).await;
            }
        };
        let what = || format!("{:?} instead of {topics:?}", first_times(&self.received(client)));
        assert!(timeout(PATIENCE, waiting).await.is_ok(), "{}", what());
    }

    /// Waits until its log has this.
    pub async fn says(&self, text: &str) {
        let waiting = async {
            while !self.log().contains(text) {
                sleep(LOOK).await;
            }
        };
        assert!(timeout(PATIENCE, waiting).await.is_ok(), "no {text:?} in {}", self.log());
    }

    /// Publishes, and waits until it is acknowledged.
    pub async fn publish(&self, topic: &str, payload: &str, more: &[&str]) {
        let port = self.port.to_string();
        let args = ["-p", &port, "-q", "1", "-t", topic, "-m", payload];
        let sent = AsyncCommand::new("mosquitto_pub").args(args).args(more).status().await.unwrap();
        assert!(sent.success());
    }

    /// Subscribes, and waits until that is so.
    pub async fn watch(&self, client: &str, filter: &str, more: &[&str]) -> Watcher {
        let port = self.port.to_string();
        let args = ["-p", &port, "-i", client, "-q", "1", "-t", filter, "-F", "%t %p %r"];
        let mut child = AsyncCommand::new("mosquitto_sub")
            .args(args)
            .args(more)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        self.says(&format!("Sending SUBACK to {client}")).await;
        Watcher { lines, _child: child }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // it may have ended by itself
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Mosquitto's programs as a client of some other broker.
pub struct Client {
    pub port: u16,
    pub user: String,
    pub password: String,
}

impl Client {
    fn args(&self) -> [&str; 4] {
        ["-u", &self.user, "-P", &self.password]
    }

    /// Subscribes; retained messages tell that it has.
    pub fn watch(&self, filters: &[&str]) -> Watcher {
        let port = self.port.to_string();
        let mut command = AsyncCommand::new("mosquitto_sub");
        command.args(["-p", &port, "-q", "1", "-F", "%t %p %r"]).args(self.args());
        for filter in filters {
            command.args(["-t", filter]);
        }
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watcher { lines, _child: child }
    }

    /// Publishes, and waits until it is acknowledged.
    pub async fn publish(&self, topic: &str, payload: &str) {
        let port = self.port.to_string();
        let mut command = AsyncCommand::new("mosquitto_pub");
        let sent = command.args(["-p", &port, "-q", "1", "-t", topic, "-m", payload]).args(self.args());
        assert!(sent.status().await.unwrap().success());
    }
}

/// A `mosquitto_sub`.
pub struct Watcher {
    lines: Lines<BufReader<ChildStdout>>,
    _child: AsyncChild,
}

impl Watcher {
    /// The next message: topic, payload, and 1 when it is retained.
    pub async fn next(&mut self) -> String {
        timeout(PATIENCE, self.lines.next_line()).await.expect("no message").unwrap().unwrap()
    }
}

impl Watcher {
    /// The next message on this topic that is as it is wanted: payload, and whether it was retained.
    pub async fn until(&mut self, topic: &str, wanted: impl Fn(&str) -> bool) -> (String, bool) {
        loop {
            let line = self.next().await;
            let (payload, retained) = line.rsplit_once(' ').unwrap();
            if let Some(payload) = payload.strip_prefix(topic).and_then(|rest| rest.strip_prefix(' '))
                && wanted(payload)
            {
                return (payload.to_owned(), retained == "1");
            }
        }
    }
}

/// Each topic where it came first.
fn first_times(topics: &[String]) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    topics.iter().filter(|topic| seen.insert(topic.as_str())).cloned().collect()
}
