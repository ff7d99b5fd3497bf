//! `voxgate bench mqtt`: the MQTT door and mosquitto under the same load, in one run, one after the other.
//!
//! Each broker is a process of its own; this process is the load.

mod brokers;
mod gateway;
mod herd;
mod idle;
mod load;
mod results;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::scratch;
use crate::cli::context::Context;
use brokers::Mosquitto;
use results::Results;

pub(super) use gateway::serve;

/// Measure the MQTT door, beside mosquitto where that is installed
///
/// Starts gateways and mosquittos of its own on free ports of loopback, puts the same load on both in turn, and prints
/// medians. Every message is counted: what was acknowledged and did not come is a loss.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Cases:
  a  50 devices publish uplinks as fast as they can: what reaches the router; mosquitto: one wildcard subscriber
  b  50 publishers, one wildcard subscriber
  c  1 publisher, 500 subscribers
  d  latency from publisher to subscriber at 5,000 messages a second
  e  connects a second: CONNECT, CONNACK, DISCONNECT, closed
  f  memory of an idle connection at 10,000
  g  10,000 devices come back after a restart of the gateway while others talk

Examples:
  voxgate bench mqtt
  voxgate bench mqtt --only b,d --rounds 3
  voxgate bench mqtt --check --json > figures.json")]
pub(super) struct Args {
    /// These cases only
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CASE")]
    only: Vec<Case>,
    /// Measurements of each figure, whose median counts [default: 5; 1 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// How long each load lasts, seconds [default: 2; 0.3 with --quick]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Connections of the cases f and g [default: 10000; 200 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    connections: Option<u32>,
    /// Short and small: shows that it works, its figures mean little
    #[arg(long)]
    quick: bool,
    /// End with 1 when a bar is missed
    #[arg(long)]
    check: bool,
    /// The mosquitto to compare with [default: the one on the PATH or in /usr/sbin]
    #[arg(long, value_name = "FILE")]
    mosquitto: Option<PathBuf>,
    /// Measure the gateway alone
    #[arg(long, conflicts_with = "mosquitto")]
    alone: bool,
    /// Where brokers keep their data [default: a folder below the system's temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Case {
    /// Publishers to the router
    A,
    /// To one wildcard subscriber
    B,
    /// One to many
    C,
    /// Latency
    D,
    /// Connects
    E,
    /// Memory of idle connections
    F,
    /// A herd after a restart
    G,
}

impl Case {
    fn letter(self) -> &'static str {
        ["a", "b", "c", "d", "e", "f", "g"][self as usize]
    }
}

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Size {
    rounds: u32,
    length: Duration,
    publishers: usize,
    subscribers: usize,
    /// Messages a second of the case d.
    rate: u32,
    connections: usize,
    /// Connects under way in the case e.
    connecting: usize,
    /// Devices that talk in the case g, and turns of each.
    talkers: u32,
    turns: u32,
}

impl Size {
    fn of(args: &Args) -> Self {
        let quick = args.quick;
        let pick = |whole, small| if quick { small } else { whole };
        let seconds = args.seconds.unwrap_or(if quick { 0.3 } else { 2.0 }).clamp(0.05, 600.0);
        Self {
            rounds: args.rounds.unwrap_or(if quick { 1 } else { 5 }),
            length: Duration::from_secs_f64(seconds),
            publishers: pick(50, 10),
            subscribers: pick(500, 20),
            rate: if quick { 500 } else { 5_000 },
            connections: args.connections.map_or(pick(10_000, 200), |n| n as usize),
            connecting: pick(50, 5),
            talkers: if quick { 2 } else { 20 },
            turns: if quick { 1 } else { 3 },
        }
    }
}

/// What every case needs.
struct Bench<'a> {
    size: Size,
    dir: &'a Path,
    /// None: the gateway alone.
    mosquitto: Option<&'a Mosquitto>,
}

/// Starts brokers of its own; none needs to run.
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let size = Size::of(args);
    let mosquitto = if args.alone { None } else { Mosquitto::find(args.mosquitto.as_deref())? };
    if mosquitto.is_none() && !args.alone {
        eprintln!("mosquitto is not installed: the gateway's figures stand alone");
    }
    let wanted = |case: &Case| args.only.is_empty() || args.only.contains(case);
    let cases: Vec<Case> = <Case as clap::ValueEnum>::value_variants().iter().copied().filter(wanted).collect();
    let needs = if cases.iter().any(|case| *case >= Case::F) { size.connections } else { 0 };
    raise_descriptors(needs + 1_000)?;
    let dir = scratch(args.dir.as_deref(), "mqtt")?;
    // one thread for the load: the other cores are the brokers'
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bench = Bench { size, dir: &dir, mosquitto: mosquitto.as_ref() };
    let (found, failed) = runtime.block_on(bench.measure(&cases));
    let removed = std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()));
    // what was measured before something failed took minutes: it is shown
    if args.json {
        context.json(&found)?;
    } else {
        found.print(context.out)?;
    }
    if let Some((case, error)) = failed {
        return Err(error.context(format!("case {}", case.letter())));
    }
    removed?;
    anyhow::ensure!(!args.check || found.met(), "a bar is missed");
    Ok(())
}

impl Bench<'_> {
    /// Case by case, until one fails.
    async fn measure(&self, cases: &[Case]) -> (Results, Option<(Case, anyhow::Error)>) {
        let mut results = Results::new(self.size.rounds, self.mosquitto.map(|mosquitto| mosquitto.version.clone()));
        for case in cases {
            let mut found = results::Found::new(*case);
            let done = match case {
                Case::A => self.router(&mut found).await,
                Case::B => self.one_subscriber(&mut found).await,
                Case::C => self.many_subscribers(&mut found).await,
                Case::D => self.latency(&mut found).await,
                Case::E => self.connects(&mut found).await,
                Case::F => self.idle(&mut found).await,
                Case::G => self.restart(&mut found).await,
            };
            if let Err(error) = done {
                return (results, Some((*case, error)));
            }
            results.take(found);
        }
        (results, None)
    }
}

/// Raises this process's limit of descriptors, which its children inherit, to what is needed and allowed.
fn raise_descriptors(wanted: usize) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = wanted as u64;
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard)?;
    }
    anyhow::ensure!(
        hard >= wanted,
        "{wanted} descriptors are needed and {hard} allowed: `ulimit -Hn` as root, or fewer with --connections"
    );
    Ok(())
}

/// A port of loopback that is free now, and that the kernel gives to none of the load's connections: a broker that is
/// started anew must find it free again.
fn free_port() -> anyhow::Result<SocketAddr> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first: u16 = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    let own = (0..100).map(|_| rand::random_range(10_000..first.max(10_001)));
    let bound = own.chain([0]).find_map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).ok());
    Ok(bound.context("no port of loopback is free")?.local_addr()?)
}
