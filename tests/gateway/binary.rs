//! The real binary as a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use voxgate::domain::DeviceId;
use voxgate::sim::device::{Device, Login};

use super::PATIENCE;

/// How often something outside this process is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A folder with a configuration, and the gateway that runs on it.
pub struct Binary {
    dir: TempDir,
    child: Option<Child>,
}

/// A command with this configuration.
pub fn voxgate(config: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxgate"));
    command.arg("--config").arg(config).args(args).stdin(Stdio::null());
    command
}

/// A configuration on free ports with its data in `data`; `rest` is added to it.
pub fn config(dir: &Path, data: &Path, rest: &str) -> PathBuf {
    let path = dir.join("voxgate.toml");
    let (data, socket) = (data.display(), dir.join("control.sock"));
    let socket = socket.display();
    let text = format!(
        "[gateway]\ndata_dir = \"{data}\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n[devices]\nenabled = false\n[udp]\nenabled = false\n\
         [control]\nsocket = \"{socket}\"\n[store]\nreserve = \"0\"\n{rest}"
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Waits for something outside this process.
pub async fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < 3 * PATIENCE, "no {what}");
        sleep(LOOK).await;
    }
}

impl Binary {
    /// Starts `voxgate serve`; its log goes to a file.
    pub async fn serve(rest: &str) -> Self {
        Self::serve_with(rest, &[]).await
    }

    /// The same with these in its environment.
    pub async fn serve_with(rest: &str, env: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let config = config(dir.path(), &dir.path().join("data"), rest);
        assert!(config.is_file());
        let mut binary = Self { dir, child: None };
        binary.serve_in(env).await;
        binary
    }

    /// Starts it on the folder that is there.
    pub async fn serve_again(&mut self) {
        self.serve_in(&[]).await;
    }

    async fn serve_in(&mut self, env: &[(&str, &str)]) {
        let config = self.dir.path().join("voxgate.toml");
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        self.child = Some(voxgate(&config, &["serve"]).envs(env.iter().copied()).stderr(log).spawn().unwrap());
        wait("gateway", || self.run(&["status", "--json"]).status.success().then_some(())).await;
    }

    /// Writes another configuration in the place of the one that it runs with.
    pub fn reconfigure(&self, rest: &str) {
        config(self.dir.path(), &self.dir.path().join("data"), rest);
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        let pid = self.child.as_ref().unwrap().id();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Runs another command on the same configuration.
    pub fn run(&self, args: &[&str]) -> Output {
        voxgate(&self.dir.path().join("voxgate.toml"), args).output().unwrap()
    }

    /// What a command prints.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {said}"))
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Where a listener is.
    pub fn addr(&self, name: &str) -> SocketAddr {
        let status = self.json(&["status", "--json"]);
        let listeners = status["listeners"].as_array().unwrap();
        let found = listeners.iter().find(|listener| listener[0] == name).unwrap();
        found[1].as_str().unwrap().parse().unwrap()
    }

    /// Makes a device and connects it.
    pub async fn device(&self, id: &str, extra: &[&str]) -> Device {
        let added = self.json(&[&["device", "add", id, "--json"], extra].concat());
        let (mqtt, secret) = (self.addr("mqtt"), added["secret"].as_str().unwrap().to_owned());
        let login = Login { host: mqtt.ip().to_string(), port: mqtt.port(), id: DeviceId::parse(id).unwrap(), secret };
        Device::connect(&login, PATIENCE).await.unwrap()
    }

    /// Its child processes.
    pub fn children(&self) -> Vec<i32> {
        let own = self.child.as_ref().unwrap().id();
        let parent = |entry: &std::fs::DirEntry| -> Option<(i32, u32)> {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (_, after) = stat.rsplit_once(") ")?;
            let mut fields = after.split(' ');
            let state = fields.next()?;
            let parent = fields.next()?.parse().ok()?;
            (state != "Z").then_some((pid, parent))
        };
        let entries = std::fs::read_dir("/proc").unwrap().map(Result::unwrap);
        entries.filter_map(|entry| parent(&entry)).filter(|(_, parent)| *parent == own).map(|(pid, _)| pid).collect()
    }

    /// The process runs.
    pub fn alive(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // it may have ended by itself
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
