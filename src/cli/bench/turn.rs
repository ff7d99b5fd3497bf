//! `voxgate bench turn`: how long somebody waits for the first sound, by who answers: test providers at once, test providers
//! that take as long as services in a cloud do, the local engines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::figures::Found;
use super::generator::mode;
use super::{Answers, Dialect, Mode, config_file, measure};
use crate::app::{Clauses, Providers, stage};
use crate::cli::context::Context;
use crate::cli::table;
use crate::provider::{ChatMessage, ChatPiece, ChatRequest, Role, SpeechRequest, Utterance};
use crate::sim::bench;
use crate::sim::providers::Delays;
use crate::sim::report::Spread;

/// What a service in a cloud typically takes.
const CLOUD: Delays = Delays {
    transcribe: Duration::from_millis(250),
    first_token: Duration::from_millis(350),
    first_audio: Duration::from_millis(200),
};
/// Up to so many devices the bars hold.
const MANY: u32 = 50;
/// The gateway adds at most so much, ms: median, and 99 of 100.
const ADDS: (f64, f64) = (5.0, 25.0);
/// The first sound of cloud services comes within the sum of their delays and this share of it.
const SHARE: f64 = 1.05;
/// A cached answer is heard within this, ms.
const CACHED: f64 = 20.0;
/// Devices that ask what is known.
const ASKERS: u32 = 10;
/// Each question to the engines alone is asked so often; the median counts.
const ROUNDS: usize = 5;

/// Measure how long somebody waits for the first sound, from the decision that a turn is over
///
/// Whole turns through a whole gateway, its devices in another process, by who answers: test providers that answer at
/// once, so that what is left is what Voxgate itself adds; test providers that take as long as services in a cloud do
/// (transcript 250 ms, first token 350 ms, first audio 200 ms); the caches in front of these; test providers that answer at
/// once while the local engines are kept busy on all cores; and the local engines, one device, beside what they take without
/// a gateway.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate bench turn
  voxgate bench turn --check --json > figures.json
  voxgate bench turn --only local --wav question.wav --turns 20")]
pub(in crate::cli) struct Args {
    /// These answers only
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ANSWERS", default_values_t = [Who::Instant, Who::Cloud, Who::Cached, Who::Beside, Who::Local])]
    only: Vec<Who>,
    /// Numbers of devices that talk at once, one run each; the caches have ten, the local engines one, and beside them talk 50
    #[arg(long, value_delimiter = ',', default_values_t = [1_u32, 50, 200])]
    devices: Vec<u32>,
    /// Turns of each device
    #[arg(long, value_name = "M", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    turns: u32,
    /// Who ends a turn; with auto the hang-over comes before what is measured
    #[arg(long, value_enum, default_value_t = Mode::Manual)]
    mode: Mode,
    /// The question: a WAV of any rate [default: two seconds of a made-up voice; for the engines a sentence by their own]
    #[arg(long, value_name = "FILE")]
    wav: Option<PathBuf>,
    /// Where the gateways of the bench keep their data [default: a folder below the system's temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// End with 1 when a bar is missed
    #[arg(long)]
    check: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Who {
    /// Test providers, at once
    Instant,
    /// Test providers, as slow as services in a cloud
    Cloud,
    /// The caches: ten devices ask what another one asked before
    Cached,
    /// Test providers, at once, while the local engines are kept busy beside them on all cores
    Beside,
    /// The local engines
    Local,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Who::Instant => "instant",
            Who::Cloud => "cloud",
            Who::Cached => "cached",
            Who::Beside => "beside",
            Who::Local => "local",
        }
    }

    fn answers(self) -> Answers {
        match self {
            Who::Instant => Answers::Providers(Delays::default()),
            Who::Cloud => Answers::Providers(CLOUD),
            Who::Cached => Answers::Cached(CLOUD),
            Who::Beside => Answers::Beside,
            Who::Local => Answers::Engines,
        }
    }
}

/// All that was measured.
#[derive(Serialize, Deserialize)]
struct Figures {
    /// This program's version, and how it was built.
    version: String,
    build: String,
    cores: usize,
    /// Of this machine when the run began, 1 minute.
    load: Option<f64>,
    runs: Vec<One>,
    bars: Vec<Bar>,
}

/// One run.
#[derive(Serialize, Deserialize)]
struct One {
    answers: Who,
    found: Found,
    /// What the engines take without a gateway, or while others talk beside them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bare: Option<Bare>,
}

/// Something that must be so.
#[derive(Serialize, Deserialize)]
struct Bar {
    what: String,
    found_ms: f64,
    at_most_ms: f64,
    met: bool,
}

impl Bar {
    fn new(what: String, found_ms: f64, at_most_ms: f64) -> Self {
        Self { what, found_ms, at_most_ms, met: found_ms <= at_most_ms }
    }
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut figures = Figures::new();
    let runs: Vec<(Who, u32)> = args
        .only
        .iter()
        .flat_map(|who| who.devices(&args.devices).into_iter().map(|devices| (*who, devices)))
        .collect();
    for (who, devices) in &runs {
        let one = match &runs[..] {
            [_] => args.measure(context, *who, *devices)?,
            // memory that one gateway gave back would be the next one's: each has a process of its own
            _ => args.elsewhere(context, *who, *devices)?,
        };
        if !args.json {
            one.show(context)?;
        }
        figures.bars.extend(one.bars());
        figures.runs.push(one);
    }
    let met = figures.bars.iter().all(|bar| bar.met);
    if args.json {
        context.json(&figures)?;
    } else {
        show(&figures.bars, context)?;
    }
    anyhow::ensure!(figures.runs.iter().all(|one| one.found.clean()), "not every turn was answered whole");
    anyhow::ensure!(met || !args.check, "a bar is missed");
    Ok(())
}

impl Who {
    /// Two cores answer two or three questions a second with the engines: more would measure the queue.
    fn devices(self, wanted: &[u32]) -> Vec<u32> {
        match self {
            Who::Local => vec![1],
            Who::Cached => vec![ASKERS],
            Who::Beside => vec![MANY],
            Who::Instant | Who::Cloud => wanted.to_vec(),
        }
    }
}

impl Figures {
    fn new() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: if cfg!(debug_assertions) { "debug: its figures mean little" } else { "release" }.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            load: crate::observe::load(),
            runs: Vec::new(),
            bars: Vec::new(),
        }
    }
}

impl Args {
    fn measure(&self, context: &Context<'_>, who: Who, devices: u32) -> anyhow::Result<One> {
        let (found, bare) = measure(&self.run(who, devices), context, devices, who.answers())?;
        Ok(One { answers: who, found, bare })
    }

    /// One run in a process of its own.
    fn elsewhere(&self, context: &Context<'_>, who: Who, devices: u32) -> anyhow::Result<One> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "turn", "--json", "--only", who.name(), "--devices", &devices.to_string()]);
        command.args(["--turns", &self.turns.to_string(), "--mode", mode(self.mode)]);
        let config = config_file(context);
        let files = [("--config", config.as_deref()), ("--wav", self.wav.as_deref()), ("--dir", self.dir.as_deref())];
        for (name, file) in files.into_iter().filter_map(|(name, file)| Some((name, file?))) {
            command.arg(name).arg(file);
        }
        let output =
            command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("the bench cannot start")?;
        let figures: Figures = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("the bench ended with {}", output.status))?;
        figures.runs.into_iter().next().context("the bench measured nothing")
    }

    /// One run as `voxgate bench` knows it.
    fn run(&self, who: Who, devices: u32) -> super::Args {
        super::Args {
            what: None,
            devices: vec![devices],
            turns: match who {
                Who::Local => self.turns.max(10),
                // the first question of a conversation is what caches know
                Who::Cached => 1,
                Who::Instant | Who::Cloud | Who::Beside => self.turns,
            },
            mode: self.mode,
            dialect: Dialect::Native,
            transport: None,
            frame: 60,
            interrupt: false,
            ladder: false,
            plot: None,
            wav: self.wav.clone(),
            dir: self.dir.clone(),
            json: self.json,
        }
    }
}

impl One {
    fn bars(&self) -> Vec<Bar> {
        let devices = u32::try_from(self.found.devices).unwrap_or(u32::MAX);
        let (own, first) = (self.found.own_ms(), self.found.stage_ms(stage::FIRST_AUDIO));
        if devices > MANY {
            return Vec::new();
        }
        match self.answers {
            Who::Instant => vec![
                Bar::new(format!("adds at {devices}, p50"), own.p50, ADDS.0),
                Bar::new(format!("adds at {devices}, p99"), own.p99, ADDS.1),
            ],
            Who::Cloud => {
                let sum = (CLOUD.transcribe + CLOUD.first_token + CLOUD.first_audio).as_secs_f64() * 1e3;
                vec![Bar::new(format!("cloud services at {devices}, first audio p50"), first.p50, sum * SHARE)]
            }
            Who::Cached => vec![Bar::new("a cached answer, first audio p50".to_owned(), first.p50, CACHED)],
            Who::Local | Who::Beside => Vec::new(),
        }
    }

    fn show(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        write!(context.out, "{}: {}", self.answers.name(), self.found)?;
        if let Some(bare) = &self.bare {
            write!(context.out, "{bare}")?;
        }
        Ok(writeln!(context.out)?)
    }
}

fn show(bars: &[Bar], context: &mut Context<'_>) -> anyhow::Result<()> {
    let rows = bars.iter().map(|bar| {
        let said = if bar.met { "met" } else { "MISSED" };
        vec![bar.what.clone(), format!("{:.1}", bar.found_ms), format!("{:.1}", bar.at_most_ms), said.to_owned()]
    });
    let rows: Vec<_> = rows.collect();
    Ok(table::write(context.out, &["bar", "found ms", "at most ms", ""], &rows, "no bar holds here")?)
}

/// What the engines take without a gateway, one after the other, each asked for what the one before said.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Bare {
    /// By step, see [`STEPS`], and `sum`.
    stages_ms: BTreeMap<String, Spread>,
}

/// The question to its words; these to the first piece of the reply; that to the end of the first clause; that to the first
/// piece of its speech.
const STEPS: [&str; 4] = ["transcribe", "first_token", "first_clause", "first_audio"];

impl Bare {
    /// Asks the engines alone what is asked in `wav`.
    pub async fn measure(providers: &Providers, prompt: &str, wav: &Path) -> anyhow::Result<Self> {
        let pcm: Arc<[i16]> = bench::read(wav)?.into();
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(round(providers, prompt, Arc::clone(&pcm)).await?);
        }
        Ok(Self::of(&rounds))
    }

    /// What these took.
    pub fn of(rounds: &[[f64; 4]]) -> Self {
        let step = |n: usize| Spread::of(rounds.iter().map(|round| round[n]).collect());
        let mut stages_ms: BTreeMap<_, _> =
            STEPS.iter().enumerate().map(|(n, name)| ((*name).to_owned(), step(n))).collect();
        stages_ms.insert("sum".to_owned(), Spread::of(rounds.iter().map(|round| round.iter().sum()).collect()));
        Self { stages_ms }
    }
}

/// One question to the engines alone: what each of its four steps took.
pub(super) async fn round(providers: &Providers, prompt: &str, pcm: Arc<[i16]>) -> anyhow::Result<[f64; 4]> {
    let mut took = [0.0; 4];
    let mut at = Instant::now();
    let mut lap = |n: usize| {
        took[n] = at.elapsed().as_secs_f64() * 1e3;
        at = Instant::now();
    };
    let question = Utterance { pcm, language: Some("en".to_owned()), ..Utterance::default() };
    let words = providers.transcriber.transcribe(question).await?;
    lap(0);
    let messages = vec![ChatMessage::new(Role::System, prompt), ChatMessage::new(Role::User, words.text)];
    let request = ChatRequest { messages, max_tokens: Some(64), temperature: Some(0.2), ..ChatRequest::default() };
    let (mut pieces, mut clauses, mut first) = (providers.chat.chat(request), Clauses::new(), true);
    let clause = loop {
        let Some(piece) = pieces.next().await.transpose()? else { break clauses.finish() };
        let ChatPiece::Text(piece) = piece else { continue };
        if std::mem::take(&mut first) {
            lap(1);
        }
        if let Some(clause) = clauses.push(&piece).into_iter().next() {
            break Some(clause);
        }
    };
    lap(2);
    let text = clause.context("the engine for chat gave no answer")?;
    let request = SpeechRequest { text, language: Some("en".to_owned()), ..SpeechRequest::default() };
    let chunk = providers.synthesizer.speak(request).next().await.transpose()?;
    anyhow::ensure!(chunk.is_some(), "the engine for speech made no sound");
    lap(3);
    Ok(took)
}

impl std::fmt::Display for Bare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, spread) in &self.stages_ms {
            writeln!(f, "  {:<8} {name:<13} ms {spread}", "bare")?;
        }
        Ok(())
    }
}
