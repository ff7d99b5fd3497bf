//! Brokers as processes of their own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::gateway::{Kind, Served};
use crate::observe::cost_of;

/// How long a broker may take to start, and to stop.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// A process that ends with its handle.
pub(super) struct Child {
    process: tokio::process::Child,
    pid: u32,
    what: &'static str,
    log: PathBuf,
}

impl Child {
    pub fn spawn(mut command: Command, log: &Path, what: &'static str) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).kill_on_drop(true);
        let process = command.spawn().with_context(|| format!("{what} cannot start"))?;
        let pid = process.id().with_context(|| format!("{what} ended at once"))?;
        Ok(Self { process, pid, what, log: log.to_owned() })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it answers; an error with its last words when it ends before.
    pub async fn ready(&mut self, mut answers: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !answers().await {
            if let Some(status) = self.process.try_wait()? {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                anyhow::bail!("{} ended with {status}: {}", self.what, log.lines().last().unwrap_or_default());
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "{} does not answer", self.what);
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Asks it to end, and waits.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if self.process.try_wait()?.is_none() {
            kill(Pid::from_raw(i32::try_from(self.pid)?), Signal::SIGTERM)?;
        }
        let ended = timeout(PATIENCE, self.process.wait()).await;
        ended.with_context(|| format!("{} does not end", self.what))??;
        Ok(())
    }
}

/// The other broker.
pub(super) struct Mosquitto {
    program: PathBuf,
    /// As it says it.
    pub version: String,
}

impl Mosquitto {
    /// The one that was named, else one that is installed; none when there is none.
    pub fn find(named: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let usual = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
        let folders = std::env::split_paths(&path).chain(usual);
        let program = match named {
            Some(named) => named.to_owned(),
            None => match folders.map(|folder| folder.join("mosquitto")).find(|file| file.is_file()) {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let help = std::process::Command::new(&program).arg("-h").stdin(Stdio::null()).output();
        let help = help.with_context(|| format!("{} cannot run", program.display()))?;
        let said = String::from_utf8_lossy(&help.stdout);
        let version = said.lines().next().unwrap_or("mosquitto of no known version").to_owned();
        Ok(Some(Self { program, version }))
    }

    async fn start(&self, dir: &Path, name: &str) -> anyhow::Result<(Child, SocketAddr)> {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let (config, addr) = (dir.join("mosquitto.conf"), super::free_port()?);
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n\
             max_inflight_messages 0\nset_tcp_nodelay true\nlog_type error\nlog_dest stderr\n",
            addr.port()
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&config);
        let mut child = Child::spawn(command, &dir.join("log"), "mosquitto")?;
        child.ready(async || TcpStream::connect(addr).await.is_ok()).await?;
        Ok((child, addr))
    }
}

/// Either broker.
pub(super) enum Broker {
    Gateway(Box<Served>),
    Mosquitto(Box<Child>, SocketAddr),
}

impl Broker {
    pub fn addr(&self) -> SocketAddr {
        match self {
            Self::Gateway(served) => served.addr,
            Self::Mosquitto(_, addr) => *addr,
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Gateway(served) => served.pid(),
            Self::Mosquitto(child, _) => child.pid(),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Gateway(_) => super::results::OURS,
            Self::Mosquitto(..) => super::results::THEIRS,
        }
    }

    /// Processor time that it has taken, s.
    pub fn cpu(&self) -> anyhow::Result<f64> {
        Ok(cost_of(self.pid()).with_context(|| format!("{} is gone", self.name()))?.cpu_s)
    }

    /// Its resident memory, bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        Ok(cost_of(self.pid()).with_context(|| format!("{} is gone", self.name()))?.resident)
    }

    pub async fn stop(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Gateway(served) => served.stop().await,
            Self::Mosquitto(child, _) => child.stop().await,
        }
    }
}

impl super::Bench<'_> {
    /// A gateway, and mosquitto where there is one, both fresh.
    pub async fn pair(&self, name: &str) -> anyhow::Result<Vec<Broker>> {
        let mut brokers = vec![Broker::Gateway(Box::new(self.gateway(name, Kind::default()).await?))];
        brokers.extend(self.other(name).await?);
        Ok(brokers)
    }

    pub async fn gateway(&self, name: &str, kind: Kind) -> anyhow::Result<Served> {
        Served::start(self.dir, &format!("{name}-gateway"), kind).await
    }

    /// Mosquitto, where there is one.
    pub async fn other(&self, name: &str) -> anyhow::Result<Option<Broker>> {
        let Some(mosquitto) = self.mosquitto else { return Ok(None) };
        let (child, addr) = mosquitto.start(self.dir, &format!("{name}-mosquitto")).await?;
        Ok(Some(Broker::Mosquitto(Box::new(child), addr)))
    }
}
