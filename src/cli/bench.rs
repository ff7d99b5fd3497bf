//! `voxgate bench`: what the gateway itself adds to a turn, and what it costs, on this machine.

mod admission;
mod faults;
mod figures;
mod generator;
mod mqtt;
mod store;
mod toil;
mod turn;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::context::Context;
use super::demo;
use super::sim::{Dialect, Interrupt, Mode, Transport, frame_ms};
use crate::admin::{Admin, LifelogQuery};
use crate::app::{Gateway, Outside, Providers};
use crate::config::Config;
use crate::domain::{ByteSize, DeviceId};
use crate::observe::logging::LogLevel;
use crate::observe::{Notifier, cost};
use crate::provider::Known;
use crate::sim::device::Login;
use crate::sim::providers::Delays;
use crate::sim::{self, bench, plot};
use figures::{Found, Gateway as GatewayFigures, Memory};
use generator::{Generator, Run};
use toil::Toil;

/// A free port of loopback.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// A step of `--ladder` is this share of the devices that the last run had.
const STEP: u32 = 4;
/// The ladder ends here.
const TOP: u32 = 4_000;

/// Measure whole turns through a gateway with test providers that answer at once
///
/// The gateway is in this process; its devices are in another, `voxgate sim`, so that processor time and memory are
/// told apart. Frames on sockets, broker, session, codec and store are the real ones. The store, the codec and the
/// way of a frame into a session have benches of their own: `cargo bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  voxgate bench
  voxgate bench mqtt --check
  voxgate bench store
  voxgate bench turn --check
  voxgate bench faults --plot faults.svg
  voxgate bench admission --plot admission.svg
  voxgate bench --devices 50 --mode auto --interrupt
  voxgate bench --devices 200 --ladder --plot ladder.svg
  voxgate bench --dialect xiaozhi --transport both --devices 10,20,30,40,50,200 --plot boards.svg
  voxgate bench --devices 1,50,200 --turns 3 --json")]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Numbers of devices that talk at once, one run each
    #[arg(long, value_delimiter = ',', default_values_t = [1_u32, 50, 200])]
    pub devices: Vec<u32>,
    /// Turns of each device
    #[arg(long, value_name = "M", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub turns: u32,
    /// Who ends a turn; with auto the hang-over is in the table as endpoint
    #[arg(long, value_enum, default_value_t = Mode::Manual)]
    pub mode: Mode,
    /// What sort of devices
    #[arg(long, value_enum, default_value_t = Dialect::Native)]
    pub dialect: Dialect,
    /// How xiaozhi boards talk [default: mqtt]
    #[arg(long, value_enum)]
    pub transport: Option<Transport>,
    /// Length of a frame of xiaozhi boards, ms: 20, 40 or 60
    #[arg(long, value_name = "MS", default_value_t = 60, value_parser = frame_ms)]
    pub frame: u32,
    /// Then break into answers, with abort and by voice, and report how soon they stop
    #[arg(long)]
    pub interrupt: bool,
    /// Then go on with a quarter more devices each time, until a frame is late (99 of 100 within 20 ms)
    #[arg(long)]
    pub ladder: bool,
    /// Draw latencies and processor time against the number of devices
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
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

/// What else is measured.
#[derive(Debug, clap::Subcommand)]
enum What {
    Mqtt(mqtt::Args),
    Store(store::Args),
    Turn(turn::Args),
    Faults(faults::Args),
    Admission(admission::Args),
    /// Run a gateway with test providers that answer at once, until SIGTERM
    ///
    /// As `voxgate serve`, but every question is heard as the same words and answered at once with the same tone: for
    /// `voxgate sim` where the gateway is to be measured and not the models.
    Gateway,
}

/// Starts gateways of its own; none needs to run.
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    match &args.what {
        Some(What::Mqtt(args)) => mqtt::run(args, context),
        Some(What::Store(args)) => store::run(args, context),
        Some(What::Turn(args)) => turn::run(args, context),
        Some(What::Faults(args)) => faults::run(args, context),
        Some(What::Admission(args)) => admission::run(args, context),
        Some(What::Gateway) => mqtt::serve(context),
        None => turns(args, context),
    }
}

fn turns(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    if let ([devices], false) = (&args.devices[..], args.ladder) {
        let found = one(args, context, *devices)?;
        if args.json {
            context.json(&found)?;
        } else {
            write!(context.out, "{found}")?;
        }
        return draw(args, &[found]);
    }
    let config_file = config_file(context);
    let mut found: Vec<Found> = Vec::new();
    let mut steps: Vec<u32> = args.devices.iter().rev().copied().collect();
    while let Some(devices) = steps.pop() {
        // memory that one gateway gave back would be the next one's: each has a process of its own
        let one = generator::bench(args, devices, config_file.as_deref())?;
        if args.json {
            context.json(&one)?;
        } else {
            writeln!(context.out, "{one}")?;
        }
        let more = devices.saturating_add((devices / STEP).max(1));
        if args.ladder && steps.is_empty() && one.on_time() && more <= TOP {
            steps.push(more);
        }
        found.push(one);
    }
    if args.ladder && !args.json {
        let most = found.iter().filter(|one| one.on_time()).map(|one| one.devices).max();
        let late = found.iter().find(|one| !one.on_time()).map(|one| one.devices);
        let say = |devices: Option<usize>| devices.map_or("none".to_owned(), |devices| devices.to_string());
        writeln!(context.out, "on time with {} devices, late with {}", say(most), say(late))?;
    }
    draw(args, &found)
}

fn draw(args: &Args, found: &[Found]) -> anyhow::Result<()> {
    match &args.plot {
        Some(path) => plot::ladder(path, &figures::curves(found)).map_err(anyhow::Error::msg),
        None => Ok(()),
    }
}

/// The configuration file that other processes of this bench need too.
fn config_file(context: &Context<'_>) -> Option<PathBuf> {
    Some(context.config_path()).filter(|path| path.exists())
}

/// One run, the gateway in this process.
fn one(args: &Args, context: &Context<'_>, devices: u32) -> anyhow::Result<Found> {
    measure(args, context, devices, Answers::Providers(Delays::default())).map(|(found, _)| found)
}

/// One run, the gateway in this process, and what came of the questions to its providers alone.
fn measure(
    args: &Args,
    context: &Context<'_>,
    devices: u32,
    answers: Answers,
) -> anyhow::Result<(Found, Option<turn::Bare>)> {
    let (config, config_file) = (context.config()?, config_file(context));
    let dir = scratch(args.dir.as_deref(), &devices.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let bench = Bench { args, dir: &dir, config_file: config_file.as_deref(), devices, answers };
    let found = runtime.block_on(bench.measure(config));
    let removed = std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()));
    let found = found?;
    removed?;
    Ok(found)
}

/// Who answers in a bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// Test providers that take so long.
    Providers(Delays),
    /// The caches: test providers that take so long are asked once, before.
    Cached(Delays),
    /// Test providers that answer at once, while the engines are busy in a process of their own.
    Beside,
    /// The engines that come with Voxgate.
    Engines,
}

fn scratch(below: Option<&Path>, name: &str) -> anyhow::Result<PathBuf> {
    let random = (Outside::default().random)() & 0xFFFF_FFFF;
    let below = below.map_or_else(std::env::temp_dir, Path::to_owned);
    let dir = below.join(format!("voxgate-bench-{name}-{random:08x}"));
    std::fs::DirBuilder::new().mode(0o700).create(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// The engines that come with Voxgate, where nothing else listens, and asked for whatever is asked.
fn with_engines(config: &mut Config) {
    (config.engine.listen_wyoming, config.engine.listen_http) = (ANYWHERE, ANYWHERE);
    config.log.level = LogLevel::Warn;
    forgetful(config);
}

/// Whatever is asked is asked of the providers, however often it was answered before.
fn forgetful(config: &mut Config) {
    (config.cache.chat.exact, config.cache.speech.enabled, config.cache.transcripts.enabled) = (false, false, false);
}

/// Test providers.
fn made(delays: Delays) -> Providers {
    let (transcriber, chat, synthesizer) = bench::providers(delays);
    Providers { transcriber, chat, synthesizer }
}

/// Test providers with names, without which caches keep nothing.
fn known((stt, chat, tts): bench::Made) -> Providers {
    let name = || "bench".to_owned();
    Providers {
        transcriber: Arc::new(Known::new(stt, name())),
        chat: Arc::new(Known::new(chat, name())),
        synthesizer: Arc::new(Known::new(tts, name())),
    }
}

/// One run: a gateway of its own, and its devices.
struct Bench<'a> {
    args: &'a Args,
    dir: &'a Path,
    config_file: Option<&'a Path>,
    devices: u32,
    answers: Answers,
}

impl Bench<'_> {
    async fn measure(&self, mut config: Config) -> anyhow::Result<(Found, Option<turn::Bare>)> {
        config.models.dir = Some(demo::models_dir(&config));
        self.dir.join("data").clone_into(&mut config.gateway.data_dir);
        config.mqtt.listen = ANYWHERE;
        config.http.enabled = false;
        self.open_to_boards(&mut config);
        config.control.socket = self.dir.join("control.sock");
        config.store.reserve = ByteSize(0);
        let engines = match self.answers {
            Answers::Beside => Some(Box::pin(Toil::begin(config.clone(), self.dir)).await?),
            _ => None,
        };
        let providers = match self.answers {
            Answers::Beside => Some(made(Delays::default())),
            Answers::Providers(delays) => Some(made(delays)),
            Answers::Cached(delays) => Some(known(bench::providers(delays))),
            Answers::Engines => {
                with_engines(&mut config);
                None
            }
        };
        let prompt = config.voice.reply.system_prompt.clone();
        let outside = Outside { providers, notifier: Notifier::default(), ..Outside::default() };
        let gateway = Gateway::start(config, outside).await?;
        let found = self.both(&gateway, &prompt).await;
        gateway.stop(Duration::from_secs(10)).await;
        let (found, bare) = found?;
        Ok((
            found,
            match engines {
                Some(engines) => Some(engines.end().await?),
                None => bare,
            },
        ))
    }

    /// The doors of boards, and all of them from one address.
    fn open_to_boards(&self, config: &mut Config) {
        let boards = self.args.dialect == Dialect::Xiaozhi;
        (config.devices.enabled, config.udp.enabled) = (boards, boards);
        (config.devices.listen, config.udp.listen) = (ANYWHERE, ANYWHERE);
        let limits = &mut config.devices.limits;
        limits.connections = limits.connections.max(self.devices as usize + 16);
        limits.connections_per_address = limits.connections;
    }

    /// The turns, and where real engines answer what these take alone.
    async fn both(&self, gateway: &Gateway, prompt: &str) -> anyhow::Result<(Found, Option<turn::Bare>)> {
        if self.answers != Answers::Engines {
            let wav = self.wav()?;
            return Ok((self.drive(gateway, &wav).await?, None));
        }
        demo::wait_for_the_engines(gateway, &|_: &str| ()).await?;
        let wav = self.question(gateway).await?;
        let bare = turn::Bare::measure(&gateway.providers(), prompt, &wav).await?;
        Ok((self.drive(gateway, &wav).await?, Some(bare)))
    }

    /// The question in real speech.
    async fn question(&self, gateway: &Gateway) -> anyhow::Result<PathBuf> {
        if let Some(wav) = &self.args.wav {
            return Ok(wav.clone());
        }
        let path = self.dir.join("question.wav");
        let pcm = sim::demo::spoken(&*gateway.providers().synthesizer, sim::demo::QUESTION).await?;
        bench::write(&path, &pcm)?;
        Ok(path)
    }

    async fn drive(&self, gateway: &Gateway, wav: &Path) -> anyhow::Result<Found> {
        let mut logins = Vec::new();
        for n in 0..self.devices {
            logins.push(gateway.login(&DeviceId::parse(&format!("bench-{n}"))?, self.args.mode.into()).await?);
        }
        let boards = generator::boards(self.args, gateway.addrs().devices);
        if let Answers::Cached(_) = self.answers {
            self.ask_once(&logins, wav, &boards).await?;
        }
        let generator = Generator::new(self.dir, self.config_file, wav, &logins, &boards)?;
        // what the start left to do is done: memory before there is any session
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = cost().resident;
        let turns = self.args.turns;
        let talk = Run { turns, mode: self.args.mode, interrupt: None, hold: HOLD };
        let watched = generator.run(&talk, idle(gateway, u64::from(self.devices))).await?;
        let rows = self.turns(gateway).await?;
        let memory = Memory::of(before, watched.idle, watched.peak, self.devices);
        let mut found = Found::new(watched.report, GatewayFigures::of(&rows, &watched.samples), memory);
        if self.args.interrupt {
            for (how, name) in [(Interrupt::Abort, "abort"), (Interrupt::Voice, "voice")] {
                let run = Run { turns, mode: self.args.mode, interrupt: Some(how), hold: 0 };
                let watched = generator.run(&run, std::future::pending()).await?;
                found.interrupted(name, watched.report)?;
            }
        }
        Ok(found)
    }

    /// One question, so that its answer is known.
    async fn ask_once(&self, logins: &[Login], wav: &Path, boards: &[OsString]) -> anyhow::Result<()> {
        let first = &logins[..logins.len().min(1)];
        let generator = Generator::new(self.dir, self.config_file, wav, first, boards)?;
        let once = Run { turns: 1, mode: self.args.mode, interrupt: None, hold: 0 };
        let watched = generator.run(&once, std::future::pending()).await?;
        anyhow::ensure!(watched.report.clean(), "the question that fills the caches was not answered");
        Ok(())
    }

    async fn turns(&self, gateway: &Gateway) -> anyhow::Result<Vec<serde_json::Value>> {
        let limit = self.devices as usize * self.args.turns as usize;
        let query = LifelogQuery { kind: Some("turn".into()), limit, ..LifelogQuery::default() };
        Ok(gateway.operators().lifelog_list(query).await?.into_iter().map(|row| row.detail).collect())
    }

    /// The question as a file, which is how the other process gets it.
    fn wav(&self) -> anyhow::Result<PathBuf> {
        if let Some(wav) = &self.args.wav {
            return Ok(wav.clone());
        }
        let path = self.dir.join("question.wav");
        bench::write_voice(&path, Duration::from_secs(2))?;
        Ok(path)
    }
}

/// Seconds for which the devices are connected and silent, so that memory can be read.
const HOLD: u64 = 4;

/// Resident memory when all devices are connected and nobody has spoken.
async fn idle(gateway: &Gateway, devices: u64) -> u64 {
    let operators = gateway.operators();
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if operators.glance().online >= devices {
            tokio::time::sleep(Duration::from_secs(2)).await;
            return cost().resident;
        }
    }
}
