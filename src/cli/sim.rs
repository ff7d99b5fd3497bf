//! `voxgate sim`: many simulated devices against a running gateway.

mod made;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use crate::admin;
use crate::config::Config;
use crate::domain::{ListenMode, Span};
use crate::sim::interrupt::How;
use crate::sim::load::{self, Load, Until};
use crate::sim::report::Report;
use crate::sim::script::Script;
use crate::sim::talker::Manner;
use crate::sim::turn::Turn;
use crate::sim::{plot, soak};
use made::Made;

/// Play a question on many simulated devices against a running gateway, and report
///
/// Devices `sim-1` … are made over the control socket and removed afterwards, unless --credentials names their passwords.
/// Boards with stock xiaozhi firmware boot as they do in life: each asks at /xiaozhi/ota/, shows its code, is claimed
/// over the control socket, and asks again; they complain of all that would trouble firmware.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate sim --devices 50 --turns 10 --wav question.wav
  voxgate sim --devices 200 --turns 5 --wav question.wav --json --plot load.svg
  voxgate sim --dialect xiaozhi --devices 10 --turns 5 --mode auto --loss 2 --wav question.wav
  voxgate sim --dialect xiaozhi --transport both --devices 20 --for 2h --leave 10 --wav question.wav")]
pub(super) struct Args {
    /// How many devices
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub devices: u32,
    /// How many turns each
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub turns: u32,
    /// Talk for this time, as in 2h, in the place of so many turns; devices that lose the gateway come back, and what
    /// its process takes is watched
    #[arg(long = "for", value_name = "SPAN", value_parser = Span::parse, conflicts_with_all = ["turns", "ladder"])]
    pub time: Option<Span>,
    /// Where --for reads what the gateway's process takes [default: [http] of the configuration]
    #[arg(long, value_name = "URL", requires = "time")]
    pub metrics: Option<String>,
    /// What sort of devices
    #[arg(long, value_enum, default_value_t = Dialect::Native)]
    pub dialect: Dialect,
    /// How xiaozhi boards talk [default: as the gateway tells them]
    #[arg(long, value_enum)]
    pub transport: Option<Transport>,
    /// Where xiaozhi boards ask first [default: [devices] of the configuration]
    #[arg(long, value_name = "URL")]
    pub bootstrap: Option<String>,
    /// Length of a frame of the devices, ms: 20, 40 or 60
    #[arg(long, value_name = "MS", default_value_t = 60, value_parser = frame_ms)]
    pub frame: u32,
    /// Percent of datagrams that are lost, in each direction; xiaozhi over MQTT
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=90))]
    pub loss: u8,
    /// Percent of the devices' datagrams that are overtaken by the next; likewise
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=90))]
    pub reorder: u8,
    /// Percent of turns after which a xiaozhi board leaves and comes back: with a goodbye, and the next time without
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=100))]
    pub leave: u8,
    /// The question: a WAV of any rate
    #[arg(long, value_name = "FILE")]
    pub wav: PathBuf,
    /// The gateway's MQTT address [default: that of the configuration]
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// Lines of user:password to connect with, one a device, in the place of devices made for it
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Who ends a turn
    #[arg(long, value_enum, default_value_t = Mode::Manual)]
    pub mode: Mode,
    /// Break into every answer, and report how soon it stops and whether any frame follows
    #[arg(long, value_enum, value_name = "HOW")]
    pub interrupt: Option<Interrupt>,
    /// Seconds for which all are connected and silent before the first word
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub hold: u64,
    /// Add devices step by step until the first frame is late, and report how many that took
    #[arg(long)]
    pub ladder: bool,
    /// Draw the latencies by stage
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Print one JSON object in the place of progress and tables
    #[arg(long)]
    pub json: bool,
}

/// Who ends a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Mode {
    /// The gateway hears when the person has finished
    Auto,
    /// The device says so
    Manual,
    /// The gateway hears it, and the microphone stays on while it speaks
    Realtime,
}

impl From<Mode> for ListenMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => ListenMode::Auto,
            Mode::Manual => ListenMode::Manual,
            Mode::Realtime => ListenMode::Realtime,
        }
    }
}

/// What sort of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Dialect {
    /// Voxgate's own, over MQTT
    Native,
    /// Boards with stock xiaozhi firmware, strict about what they are sent
    Xiaozhi,
}

/// How boards talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Transport {
    /// MQTT, audio as datagrams
    Mqtt,
    /// A WebSocket
    Websocket,
    /// One so, the next so
    Both,
}

impl Transport {
    /// That of device `n`.
    fn of(self, n: usize) -> Self {
        match self {
            Self::Both if n.is_multiple_of(2) => Self::Mqtt,
            Self::Both => Self::Websocket,
            one => one,
        }
    }
}

impl From<Transport> for admin::Transport {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Websocket => Self::Websocket,
            Transport::Mqtt | Transport::Both => Self::Mqtt,
        }
    }
}

pub(super) fn frame_ms(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|ms| [20, 40, 60].contains(ms)).ok_or_else(|| format!("{text:?} is not 20, 40 or 60"))
}

/// How an answer is broken into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Interrupt {
    /// The device sends abort
    Abort,
    /// The person speaks into it, in realtime mode
    Voice,
}

impl From<Interrupt> for How {
    fn from(how: Interrupt) -> Self {
        match how {
            Interrupt::Abort => How::Abort,
            Interrupt::Voice => How::Voice,
        }
    }
}

/// Needs a gateway that runs.
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let config = context.config()?;
    let script = Arc::new(Script::from_wav_in(&args.wav, args.frame)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let found = runtime.block_on(async {
        let made = match &args.credentials {
            Some(file) => Made::given(file, args, &config)?,
            None => Made::make(context.gateway()?, args, &config).await?,
        };
        let found = runs(args, &made, &script, &config).await;
        made.remove().await?;
        found
    })?;
    draw(args, &found)?;
    if args.json && args.ladder {
        context.json(&found.iter().map(|(report, _)| report).collect::<Vec<_>>())?;
    }
    for (report, _) in &found {
        match (args.json, args.ladder) {
            (true, true) => {}
            (true, false) => context.json(report)?,
            (false, _) => write!(context.out, "{report}")?,
        }
    }
    if args.ladder {
        return Ok(());
    }
    anyhow::ensure!(found.iter().all(|(report, _)| report.answered >= report.turns), "not every turn was answered");
    anyhow::ensure!(
        found.iter().all(|(report, _)| report.complaints.is_empty()),
        "stock firmware would be troubled by what it was sent"
    );
    Ok(())
}

type Found = Vec<(Report, Vec<Turn>)>;

/// One run, or with `--ladder` one a step until a frame is late; with `--for` the gateway is watched meanwhile.
async fn runs(args: &Args, made: &Made, script: &Arc<Script>, config: &Config) -> anyhow::Result<Found> {
    let Some(url) = metrics(args, config) else { return Ok(climb(args, made, script, config).await) };
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let watching = soak::watch(&url, stop);
    let talking = async {
        let found = climb(args, made, script, config).await;
        drop(guard);
        found
    };
    let (mut found, taken) = tokio::join!(talking, watching);
    let taken = taken.with_context(|| format!("{url} cannot be asked"))?;
    if let Some((report, _)) = found.first_mut() {
        report.gateway = Some(taken);
    }
    Ok(found)
}

fn metrics(args: &Args, config: &Config) -> Option<String> {
    args.time?;
    let own = config.http.enabled.then(|| format!("http://{}/metrics", reachable(config.http.listen)));
    args.metrics.clone().or(own)
}

async fn climb(args: &Args, made: &Made, script: &Arc<Script>, config: &Config) -> Found {
    let all = made.devices.len();
    let steps: Vec<usize> =
        if args.ladder { (1..=10).map(|step| (all * step).div_ceil(10)).collect() } else { vec![all] };
    let share = |percent: u8| f64::from(percent) / 100.0;
    let mut found = Vec::new();
    for devices in steps {
        let load = Load {
            devices: made.devices[..devices].to_vec(),
            manner: Manner {
                mode: args.mode.into(),
                interrupt: args.interrupt.map(How::from),
                ahead: config.voice.reply.ahead_frames,
                loss: share(args.loss),
                reorder: share(args.reorder),
                leave: share(args.leave),
            },
            until: args.time.map_or(Until::Turns(args.turns as usize), |time| Until::Time(time.0)),
            ramp: Duration::from_millis(10 * devices as u64),
            hold: Duration::from_secs(args.hold),
        };
        let quiet = args.json;
        let progress = |done: usize, all: Option<usize>| match all {
            _ if quiet => {}
            Some(all) if done == all || done.is_multiple_of((all / 10).max(1)) => {
                eprintln!("{devices} devices: {done} of {all} turns");
            }
            None if done.is_multiple_of(1_000) => eprintln!("{devices} devices: {done} turns"),
            _ => {}
        };
        let (mut report, turns) = load::run(&load, Arc::clone(script), progress).await;
        let told: BTreeMap<_, _> = made.complaints.iter().map(|complaint| (complaint.clone(), 1)).collect();
        report.complaints.extend(told);
        let late = !report.on_time();
        found.push((report, turns));
        if late && args.ladder {
            break;
        }
    }
    found
}

fn draw(args: &Args, found: &Found) -> anyhow::Result<()> {
    let (Some(path), Some((report, turns))) = (&args.plot, found.last()) else { return Ok(()) };
    let title = format!("{} turns of {} devices", turns.len(), report.devices);
    plot::distributions(path, &title, &distributions(turns)).map_err(anyhow::Error::msg)
}

fn distributions(turns: &[Turn]) -> Vec<(String, Vec<f64>)> {
    let of = |pick: fn(&Turn) -> Option<f64>| turns.iter().filter_map(pick).collect();
    vec![
        ("transcript".to_owned(), of(|turn| turn.transcript_ms)),
        ("first audio".to_owned(), of(|turn| turn.first_audio_ms)),
    ]
}

/// A listener as it can be reached from here: every address has loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen {
        SocketAddr::V4(at) if at.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(at) if at.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        at => at.ip(),
    };
    SocketAddr::new(ip, listen.port())
}
