//! The gateway under test: its configuration, its devices, its counters; and one with test providers.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

use super::brokers::Child;
use crate::admin::{Admin, Client, NewDevice};
use crate::app::authority::{Authority, CA};
use crate::app::{Gateway, Outside, Providers};
use crate::cli::context::Context;
use crate::domain::{Clock, DeviceId, ListenMode, SystemClock};
use crate::observe::{Notifier, cost_of};
use crate::sim::bench;
use crate::sim::flood::{Login, Trust};
use crate::sim::providers::Delays;

/// Devices that are made at once.
const AT_ONCE: usize = 32;
/// What an answer of the gateway's own operations may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Which gateway.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kind {
    /// It listens for TLS, too.
    pub tls: bool,
    /// It answers turns, with test providers.
    pub talks: bool,
    /// Connects that it takes a second; 0 is no limit.
    pub connects: u32,
}

/// A gateway that runs.
pub(super) struct Served {
    child: Child,
    kind: Kind,
    pub config: PathBuf,
    pub addr: SocketAddr,
    tls: Option<(SocketAddr, Trust)>,
    http: SocketAddr,
    admin: Client,
}

impl Served {
    /// Starts one in a folder of its own.
    pub async fn start(dir: &Path, name: &str, kind: Kind) -> anyhow::Result<Self> {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let authority = if kind.tls { Some(papers(&dir)?) } else { None };
        let config = dir.join("voxgate.toml");
        let addr = super::free_port()?;
        std::fs::write(&config, text(&dir, addr, kind))?;
        let admin = Client::new(dir.join("control.sock"));
        let child = spawn(&config, kind)?;
        let (tls, http) = (None, addr);
        let mut served = Self { child, kind, config, addr, tls, http, admin };
        served.wait().await?;
        if let Some(ca) = authority {
            served.tls = Some((served.listener("mqtts").await?, Trust::file(&ca)?));
        }
        Ok(served)
    }

    /// Waits until it answers.
    async fn wait(&mut self) -> anyhow::Result<()> {
        let admin = self.admin.clone();
        self.child.ready(async || admin.status().await.is_ok()).await?;
        self.http = self.listener("http").await?;
        Ok(())
    }

    async fn listener(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let status = self.admin.status().await?;
        let found = status.listeners.iter().find(|(listener, _)| listener == name);
        Ok(found.with_context(|| format!("the gateway has no listener {name}"))?.1.parse()?)
    }

    /// Where it listens for TLS, and whom to trust.
    pub fn tls(&self) -> Option<&(SocketAddr, Trust)> {
        self.tls.as_ref()
    }

    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Processor time that it has taken, s.
    pub fn cpu(&self) -> anyhow::Result<f64> {
        Ok(cost_of(self.pid()).context("the gateway is gone")?.cpu_s)
    }

    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.child.stop().await
    }

    /// Starts it again, on the same address and data, after [`Self::stop`].
    pub async fn again(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.config, self.kind)?;
        self.wait().await
    }

    /// Makes devices with secrets of the gateway's.
    pub async fn devices(&self, names: impl Iterator<Item = String>) -> anyhow::Result<Vec<Login>> {
        let make = |name: String| {
            let admin = self.admin.clone();
            async move {
                let new = NewDevice::anew(DeviceId::parse(&name)?, ListenMode::Manual);
                let secret = admin.device_add(new).await?.secret.context("a device without a secret")?;
                anyhow::Ok(Login { id: name, password: Some(secret.0) })
            }
        };
        stream::iter(names).map(make).buffered(AT_ONCE).try_collect().await
    }

    /// The sum of a counter's samples that have this label.
    pub async fn counter(&self, name: &str, label: &str) -> anyhow::Result<u64> {
        let asking = async {
            let mut stream = TcpStream::connect(self.http).await?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n").await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            anyhow::Ok(text)
        };
        let text = tokio::time::timeout(PATIENCE, asking).await.context("the gateway's metrics do not come")??;
        sum(&text, name, label).with_context(|| format!("the gateway has no metric {name}"))
    }
}

fn sum(text: &str, name: &str, label: &str) -> Option<u64> {
    let sample = |line: &str| -> Option<u64> {
        let (series, value) = line.rsplit_once(' ')?;
        let found = series.split('{').next()? == name && series.contains(label);
        if found { value.parse().ok() } else { None }
    };
    let mut found = text.lines().filter_map(sample).peekable();
    // a labelled sample is there only when it was counted once
    if found.peek().is_none() && !label.is_empty() {
        return Some(0);
    }
    found.peek()?;
    Some(found.sum())
}

fn spawn(config: &Path, kind: Kind) -> anyhow::Result<Child> {
    let words: &[&str] = if kind.talks { &["bench", "gateway"] } else { &["serve"] };
    let log = config.with_extension("log");
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.args(words).arg("--config").arg(config);
    Child::spawn(command, &log, "the gateway")
}

/// A certificate for loopback; gives the authority's.
fn papers(dir: &Path) -> anyhow::Result<PathBuf> {
    let (authority, _) = Authority::in_folder(dir, SystemClock.wall())?;
    authority.server(&["127.0.0.1".to_owned()], 30)?.write(dir, "server", true)?;
    Ok(dir.join(CA))
}

/// Its configuration: limits that no load of the bench meets, but for the pace of connects where that is given.
fn text(dir: &Path, addr: SocketAddr, kind: Kind) -> String {
    let path = |name: &str| toml::Value::String(dir.join(name).display().to_string());
    let connects = if kind.connects == 0 { 1_000_000 } else { kind.connects };
    let mut text = format!(
        "[gateway]\ndata_dir = {data}\n[control]\nsocket = {socket}\n[log]\nlevel = \"warn\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n[devices]\nenabled = false\n[udp]\nenabled = false\n[store]\nreserve = \"0\"\n\
         [session]\nmode = \"manual\"\naudio_lane = 4096\n\
         [mqtt]\nlisten = \"{addr}\"\nanonymous = true\n\
         [[mqtt.rules]]\nsubject = \"anonymous\"\naccess = \"readwrite\"\nfilter = \"bench/#\"\n\
         [mqtt.limits]\nconnections = 60000\nunauthenticated = 60000\nconnects_per_second = {connects}\n\
         takeovers = 1000000\nmemory = \"2GB\"\nmessages_per_second = 100000000\nbytes_per_second = \"10GB\"\n\
         watcher_packets = 30000\nwatcher_bytes = \"256MB\"\n",
        data = path("data"),
        socket = path("control.sock"),
    );
    if !kind.talks {
        for service in ["stt", "tts", "chat", "embed"] {
            // writing to a text cannot fail
            let _ = write!(text, "[providers.{service}]\ntype = \"off\"\n");
        }
    }
    if kind.tls {
        let (certificate, key) = (path("server.pem"), path("server.key"));
        let _ = write!(
            text,
            "[mqtt.tls]\nenabled = true\nlisten = \"127.0.0.1:0\"\ncertificate = {certificate}\nkey = {key}\n"
        );
    }
    text
}

/// `voxgate bench gateway`: as `voxgate serve`, with providers that answer at once.
pub(in super::super) fn serve(context: &mut Context<'_>) -> anyhow::Result<()> {
    let config = context.config()?;
    crate::observe::logging::init(&config.log, None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let (transcriber, chat, synthesizer) = bench::providers(Delays::default());
        let providers = Some(Providers { transcriber, chat, synthesizer });
        let outside = Outside { providers, notifier: Notifier::default(), ..Outside::default() };
        let gateway = Gateway::start(config, outside).await?;
        term.recv().await;
        gateway.stop(Duration::from_secs(8)).await;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn its_configuration_is_one() {
        let dir = Path::new("/tmp/bench");
        for kind in [Kind::default(), Kind { tls: true, talks: true, connects: 1_500 }] {
            let text = text(dir, "127.0.0.1:1883".parse().unwrap(), kind);
            let config = crate::config::parse("bench.toml", &text);
            assert!(config.is_ok(), "{config:?}");
        }
    }

    #[test]
    fn a_counter_is_the_sum_of_its_samples() {
        let text = "# HELP a_total x\na_total{k=\"x\"} 2\na_total{k=\"y\"} 3\nab_total 9\n";
        assert_eq!(sum(text, "a_total", ""), Some(5));
        assert_eq!(sum(text, "a_total", "k=\"y\""), Some(3));
        assert_eq!(sum(text, "a_total", "k=\"z\""), Some(0), "not counted yet");
        assert_eq!(sum(text, "a", ""), None);
    }
}
