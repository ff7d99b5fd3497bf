//! `voxgate sim`: many simulated devices against a running gateway.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::context::Context;
use crate::admin::{Admin, NewDevice};
use crate::domain::{DeviceId, ListenMode};
use crate::sim::device::Login;
use crate::sim::interrupt::How;
use crate::sim::load::{self, Load};
use crate::sim::plot;
use crate::sim::report::Report;
use crate::sim::script::Script;
use crate::sim::turn::Turn;

/// Play a question on many simulated devices against a running gateway, and report
///
/// Devices `sim-1` … are made over the control socket and removed afterwards, unless --credentials names their passwords.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate sim --devices 50 --turns 10 --wav question.wav
  voxgate sim --devices 200 --turns 5 --wav question.wav --json --plot load.svg")]
pub(super) struct Args {
    /// How many devices
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub devices: u32,
    /// How many turns each
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub turns: u32,
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
}

impl From<Mode> for ListenMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => ListenMode::Auto,
            Mode::Manual => ListenMode::Manual,
        }
    }
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
    let script = Arc::new(Script::from_wav(&args.wav)?);
    let (host, port) = address(args, config.mqtt.listen)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let found = runtime.block_on(async {
        let made = match &args.credentials {
            Some(file) => Made::given(file, args.devices)?,
            None => Made::make(context.gateway()?, args.devices).await?,
        };
        let logins = made.logins(&host, port);
        let found = climb(args, &logins, &script, config.voice.reply.ahead_frames).await;
        made.remove().await?;
        anyhow::Ok(found)
    })?;
    if let (Some(path), Some((_, turns))) = (&args.plot, found.last()) {
        plot::distributions(
            path,
            &format!("{} turns of {} devices", turns.len(), turns.len() / (args.turns as usize).max(1)),
            &distributions(turns),
        )
        .map_err(anyhow::Error::msg)?;
    }
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
    let failed = found.iter().any(|(report, _)| report.answered < report.turns);
    if failed && !args.ladder {
        anyhow::bail!("not every turn was answered")
    }
    Ok(())
}

/// One run, or with `--ladder` one a step until a frame is late.
async fn climb(args: &Args, logins: &[Login], script: &Arc<Script>, ahead: u32) -> Vec<(Report, Vec<Turn>)> {
    let steps: Vec<usize> = if args.ladder {
        (1..=10).map(|step| (logins.len() * step).div_ceil(10)).collect()
    } else {
        vec![logins.len()]
    };
    let mut found = Vec::new();
    for devices in steps {
        let load = Load {
            logins: logins[..devices].to_vec(),
            turns: args.turns as usize,
            mode: args.mode.into(),
            interrupt: args.interrupt.map(How::from),
            ahead,
            ramp: Duration::from_millis(10 * devices as u64),
            hold: Duration::from_secs(args.hold),
        };
        let quiet = args.json;
        let progress = |done: usize, all: usize| {
            if !quiet && (done == all || done.is_multiple_of((all / 10).max(1))) {
                eprintln!("{devices} devices: {done} of {all} turns");
            }
        };
        let (report, turns) = load::run(&load, Arc::clone(script), progress).await;
        let late = !report.on_time();
        found.push((report, turns));
        if late && args.ladder {
            break;
        }
    }
    found
}

fn distributions(turns: &[Turn]) -> Vec<(String, Vec<f64>)> {
    let of = |pick: fn(&Turn) -> Option<f64>| turns.iter().filter_map(pick).collect();
    vec![
        ("transcript".to_owned(), of(|turn| turn.transcript_ms)),
        ("first audio".to_owned(), of(|turn| turn.first_audio_ms)),
    ]
}

fn address(args: &Args, listen: SocketAddr) -> anyhow::Result<(String, u16)> {
    let Some(asked) = &args.address else {
        let host = if listen.ip().is_unspecified() { "127.0.0.1".to_owned() } else { listen.ip().to_string() };
        return Ok((host, listen.port()));
    };
    let parts = asked.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parts.with_context(|| format!("--address {asked:?} is not HOST:PORT"))
}

/// The devices of a run: made for it, or given.
struct Made {
    devices: Vec<(DeviceId, String)>,
    admin: Option<Arc<dyn Admin>>,
}

impl Made {
    fn given(file: &Path, devices: u32) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let pair = |line: &str| {
            let (user, password) = line.split_once(':').context("a line is not user:password")?;
            Ok((DeviceId::parse(user)?, password.to_owned()))
        };
        let all = lines.take(devices as usize).map(pair).collect::<anyhow::Result<Vec<_>>>();
        let all = all.with_context(|| file.display().to_string())?;
        if all.len() < devices as usize {
            anyhow::bail!("{} names {} devices, {devices} are wanted", file.display(), all.len());
        }
        Ok(Self { devices: all, admin: None })
    }

    async fn make(admin: Arc<dyn Admin>, devices: u32) -> anyhow::Result<Self> {
        let mut made = Vec::new();
        for n in 1..=devices {
            let id = DeviceId::parse(&format!("sim-{n}"))?;
            let secret = admin
                .device_add(NewDevice::anew(id.clone(), ListenMode::Manual))
                .await?
                .secret
                .map(|secret| secret.0)
                .unwrap_or_default();
            made.push((id, secret));
        }
        Ok(Self { devices: made, admin: Some(admin) })
    }

    fn logins(&self, host: &str, port: u16) -> Vec<Login> {
        let login = |(id, secret): &(DeviceId, String)| Login {
            host: host.to_owned(),
            port,
            id: id.clone(),
            secret: secret.clone(),
        };
        self.devices.iter().map(login).collect()
    }

    async fn remove(self) -> anyhow::Result<()> {
        let Some(admin) = self.admin else { return Ok(()) };
        for (id, _) in self.devices {
            admin.device_remove(id).await?;
        }
        Ok(())
    }
}
