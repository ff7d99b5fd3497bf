//! `voxgate demo`: one spoken question, one spoken answer, on this machine alone.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use super::context::Context;
use crate::admin::{Admin, LifelogQuery};
use crate::app::{Gateway, Operators, Outside};
use crate::config::Config;
use crate::domain::{DeviceId, ListenMode};
use crate::observe::State;
use crate::observe::logging::LogLevel;
use crate::sim;
use crate::sim::script::Script;

/// How long the engines may take to load.
const ENGINE_PATIENCE: Duration = Duration::from_mins(2);

/// Ask one spoken question and hear the answer, everything on loopback in a scratch folder
///
/// Starts the broker, the gateway and the local engines, connects a simulated device through the real broker,
/// plays a WAV as Opus in real time, and prints transcript, reply and the time of each stage as they happen.
/// Exits with 1 when there is no answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate demo
  voxgate demo --wav question.wav --out answer.wav
  voxgate demo --json | jq .stages_ms")]
pub(super) struct Args {
    /// The question [default: a short one that comes with Voxgate]
    #[arg(long, value_name = "FILE")]
    pub wav: Option<PathBuf>,
    /// Where to write the answer
    #[arg(long, value_name = "FILE", default_value = "answer.wav")]
    pub out: PathBuf,
    /// The models' folder [default: models in the gateway's data_dir, else the user's cache]
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Keep the scratch folder here, and do not remove it
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Print one JSON object: {transcript, reply, stages_ms{endpoint, transcribe, first_token, first_audio, total},
    /// audio{frames, seconds}, wav}
    #[arg(long)]
    pub json: bool,
}

/// Starts an app of its own; no gateway needs to run.
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let scratch = match &args.keep {
        Some(dir) => Scratch::kept(dir)?,
        None => Scratch::temporary((Outside::default().random)())?,
    };
    let config = config(args, &scratch.0, context)?;
    crate::observe::logging::init(&config.log, None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let found = runtime.block_on(demo(args, config));
    if args.keep.is_none() {
        std::fs::remove_dir_all(&scratch.0).with_context(|| format!("cannot remove {}", scratch.0.display()))?;
    }
    let found = found?;
    if args.json { context.json(&found) } else { Ok(show(&found, context)?) }
}

/// The folder that the gateway of the demo lives in.
struct Scratch(PathBuf);

impl Scratch {
    fn kept(dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self(dir.canonicalize()?))
    }

    fn temporary(random: u128) -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("voxgate-demo-{:08x}", random & u128::from(u32::MAX)));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self(dir))
    }
}

fn config(args: &Args, scratch: &Path, context: &Context<'_>) -> anyhow::Result<Config> {
    let mut config = context.config()?;
    let models = args.models.clone().unwrap_or_else(|| models_dir(&config));
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    scratch.clone_into(&mut config.gateway.data_dir);
    config.models.dir = Some(models);
    config.log.level = LogLevel::Warn;
    config.mqtt.listen = anywhere;
    config.http.enabled = false;
    config.devices.enabled = false;
    config.udp.enabled = false;
    config.control.socket = scratch.join("control.sock");
    config.engine.listen_wyoming = anywhere;
    config.engine.listen_http = anywhere;
    config.store.reserve = crate::domain::ByteSize(0);
    Ok(config)
}

/// The gateway's folder when it has models, else the one of the user who pulled them.
pub(super) fn models_dir(config: &Config) -> PathBuf {
    let own = config.models_dir();
    if own.is_dir() { own } else { config.engine.models_dir() }
}

#[derive(Serialize)]
struct Found {
    transcript: String,
    reply: String,
    stages_ms: Value,
    audio: Audio,
    wav: PathBuf,
}

#[derive(Serialize)]
struct Audio {
    frames: u32,
    seconds: f64,
}

async fn demo(args: &Args, config: Config) -> anyhow::Result<Found> {
    let say = |line: &str| {
        if !args.json {
            eprintln!("{line}");
        }
    };
    let ahead = config.voice.reply.ahead_frames;
    let gateway = Gateway::start(config, Outside::default()).await?;
    let result = ask(args, &gateway, ahead, say).await;
    gateway.stop(Duration::from_secs(5)).await;
    result
}

async fn ask(args: &Args, gateway: &Gateway, ahead: u32, say: impl Fn(&str) + Send + Sync) -> anyhow::Result<Found> {
    let operators = gateway.operators();
    wait_for_the_engines(gateway, &say).await?;
    let id = DeviceId::parse("demo")?;
    let login = gateway.login(&id, ListenMode::Auto).await?;
    let script = match &args.wav {
        Some(wav) => Script::from_wav(wav)?,
        None => sim::demo::question(&*gateway.providers().synthesizer).await?,
    };
    say(&format!("asks:  {:.1} s of speech over mqtt://{}", script.frames.len() as f64 * 0.06, gateway.addrs().mqtt));
    let turn = sim::demo::ask(&login, &script, ahead, |line| say(line)).await?;
    if !turn.errors.is_empty() {
        anyhow::bail!("there is no answer: {}", turn.errors.join("; "));
    }
    if turn.frames == 0 {
        anyhow::bail!(
            "there is no answer: {}",
            if turn.transcript.is_empty() { "no words were understood" } else { "nothing was spoken" }
        );
    }
    let seconds = sim::demo::write_answer(&args.out, &turn.speech)?;
    let stages_ms = recorded(&operators, &id).await?;
    let audio = Audio { frames: turn.frames, seconds };
    Ok(Found { transcript: turn.transcript, reply: turn.reply, stages_ms, audio, wav: args.out.clone() })
}

pub(super) async fn wait_for_the_engines(gateway: &Gateway, say: &impl Fn(&str)) -> anyhow::Result<()> {
    let begun = tokio::time::Instant::now();
    loop {
        let status = gateway.operators().glance();
        let engine = status.health.components.iter().find(|part| part.name == "engine");
        match engine {
            Some(part) if part.state == State::Ready => return Ok(()),
            Some(part) if part.state == State::Degraded => {
                anyhow::bail!("the local engines are not complete: {}; run voxgate models pull", part.detail);
            }
            Some(part) if begun.elapsed() > ENGINE_PATIENCE => {
                anyhow::bail!("the local engines do not start: {}", part.detail);
            }
            _ => {}
        }
        if begun.elapsed() < Duration::from_millis(150) {
            say("the engines load their models");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The stages as the gateway wrote them down; the record follows the last frame by a moment.
async fn recorded(operators: &Operators, id: &DeviceId) -> anyhow::Result<Value> {
    for _ in 0..50 {
        let query =
            LifelogQuery { device: Some(id.clone()), kind: Some("turn".into()), limit: 1, ..LifelogQuery::default() };
        if let Some(mut row) = operators.lifelog_list(query).await?.pop() {
            return Ok(row.detail["stages_ms"].take());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the turn left no record")
}

fn show(found: &Found, context: &mut Context<'_>) -> std::io::Result<()> {
    writeln!(context.out, "\ntranscript  {}", found.transcript)?;
    writeln!(context.out, "reply       {}", found.reply)?;
    let stages = found.stages_ms.as_object().into_iter().flatten();
    for (stage, ms) in stages {
        writeln!(context.out, "{stage:<12}{:>8.1} ms", ms.as_f64().unwrap_or_default())?;
    }
    let Audio { frames, seconds } = found.audio;
    writeln!(context.out, "answer      {frames} frames, {seconds:.1} s, in {}", found.wav.display())
}
