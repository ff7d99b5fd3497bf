//! `voxgate bench`: what the gateway itself adds to a turn, on this machine.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use super::context::Context;
use crate::admin::{Admin, LifelogQuery, NewDevice};
use crate::app::{Gateway, Outside, Providers, stage};
use crate::config::Config;
use crate::domain::{ByteSize, DeviceId, ListenMode};
use crate::observe::Notifier;
use crate::sim::bench;
use crate::sim::device::Login;
use crate::sim::load::{self, Load};
use crate::sim::providers::Delays;
use crate::sim::report::{Report, Spread};

/// Measure whole turns through a gateway in this process, with test providers that answer at once
///
/// Frames on sockets, broker, session, codec and store are the real ones. `own_ms` is from `listen_stop` to the first
/// frame at the link, less the providers' own time. The store and the codec have benches of their own: `cargo bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate bench
  voxgate bench --devices 1,50,200 --turns 3 --json")]
pub(super) struct Args {
    /// Numbers of devices that talk at once, one run each
    #[arg(long, value_delimiter = ',', default_values_t = [1_u32, 50, 200])]
    pub devices: Vec<u32>,
    /// Turns of each device
    #[arg(long, value_name = "M", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub turns: u32,
    /// The question: a WAV of any rate [default: two seconds of a made-up voice]
    #[arg(long, value_name = "FILE")]
    pub wav: Option<PathBuf>,
    /// Where the gateway of the bench keeps its data [default: a folder below the system's temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print one JSON object a run
    #[arg(long)]
    pub json: bool,
}

/// One run.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    report: Report,
    /// What the gateway itself added, ms.
    own_ms: Spread,
    /// The worst lateness of a frame at the link, as the gateway saw it, one value a turn, ms.
    link_late_ms: Spread,
    /// CPU seconds of this process, gateway and load generator together.
    cpu_s: f64,
}

/// Starts gateways of its own; none needs to run.
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let config = context.config()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for devices in &args.devices {
        let dir = scratch(args.dir.as_deref(), *devices)?;
        let found = runtime.block_on(measure(args, config.clone(), &dir, *devices as usize));
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        let found = found?;
        if args.json {
            context.json(&found)?;
        } else {
            write!(context.out, "{}", found.report)?;
            writeln!(context.out, "  {:<12} ms  {}", "own", found.own_ms)?;
            writeln!(context.out, "  {:<12} ms  {}\n", "link late", found.link_late_ms)?;
        }
    }
    Ok(())
}

fn scratch(below: Option<&Path>, devices: u32) -> anyhow::Result<PathBuf> {
    let random = (Outside::default().random)() & 0xFFFF_FFFF;
    let below = below.map_or_else(std::env::temp_dir, Path::to_owned);
    let dir = below.join(format!("voxgate-bench-{devices}-{random:08x}"));
    std::fs::DirBuilder::new().mode(0o700).create(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

async fn measure(args: &Args, mut config: Config, dir: &Path, devices: usize) -> anyhow::Result<Found> {
    config.models.dir = Some(config.models_dir());
    dir.join("data").clone_into(&mut config.gateway.data_dir);
    config.mqtt.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.http.enabled = false;
    config.control.socket = dir.join("control.sock");
    config.store.reserve = ByteSize(0);
    let ahead = config.voice.reply.ahead_frames;
    let (transcriber, chat, synthesizer) = bench::providers(Delays::default());
    let providers = Some(Providers { transcriber, chat, synthesizer });
    let outside = Outside { providers, notifier: Notifier::default(), ..Outside::default() };
    let gateway = Gateway::start(config, outside).await?;
    let operators = gateway.operators();
    let mqtt = gateway.addrs().mqtt;
    let mut logins = Vec::with_capacity(devices);
    for n in 0..devices {
        let id = DeviceId::parse(&format!("bench-{n}"))?;
        let mode = ListenMode::Manual;
        let new = NewDevice { id: id.clone(), password: None, mode, device_text: false, language: None, replace: true };
        let secret = operators.device_add(new).await?.secret.map(|secret| secret.0).unwrap_or_default();
        logins.push(Login { host: mqtt.ip().to_string(), port: mqtt.port(), id, secret });
    }
    let ramp = Duration::from_millis(10 * devices as u64);
    let load = Load { logins, turns: args.turns as usize, mode: ListenMode::Manual, ahead, ramp };
    let script = Arc::new(bench::script(args.wav.as_deref())?);
    let (report, _) = load::run(&load, script, |_, _| {}).await;
    let query = LifelogQuery { kind: Some("turn".into()), limit: 10_000, ..LifelogQuery::default() };
    let turns = operators.lifelog_list(query).await?;
    gateway.stop(Duration::from_secs(10)).await;
    let number = |row: &crate::admin::LifelogRow, name: &str| row.detail["stages_ms"][name].as_f64();
    let own = |row: &crate::admin::LifelogRow| {
        Some(number(row, stage::FIRST_AUDIO)? - number(row, stage::PROVIDERS).unwrap_or_default())
    };
    let late = turns.iter().filter_map(|row| row.detail["worst_late_ms"].as_f64()).collect();
    Ok(Found {
        own_ms: Spread::of(turns.iter().filter_map(own).collect()),
        link_late_ms: Spread::of(late),
        cpu_s: report.generator_cpu_s,
        report,
    })
}
