//! `voxgate bench faults`: turns while services are slowed, cut, refused and killed, one after the other and all at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, interval, sleep};

use super::{ANYWHERE, forgetful, scratch};
use crate::admin::{Admin, LifelogQuery, ProviderRow, ProviderState};
use crate::app::{Gateway, Outside, stage};
use crate::cli::context::Context;
use crate::config::Config;
use crate::domain::{ByteSize, DeviceId, ListenMode, Span};
use crate::observe::{Notifier, cost};
use crate::provider::{Kind, Service as Settings};
use crate::sim::bench;
use crate::sim::load::{self, Load, Until};
use crate::sim::plot::{self, Line, Timeline};
use crate::sim::report::Spread;
use crate::sim::script::Script;
use crate::sim::service::{CURSE, Mood, Service};
use crate::sim::talker::{self, Manner};
use crate::sim::turn::Turn;

/// Abilities whose first service fails; each has a second one that is well.
const ABILITIES: [&str; 3] = ["stt", "chat", "tts"];
/// What happens, in turn: the ability (by its place above; none: all of them) and how its first service is.
const HAPPENS: [(Option<usize>, Mood); 13] = [
    (Some(0), Mood::Slow),
    (Some(1), Mood::Cut),
    (Some(2), Mood::Refuses),
    (Some(1), Mood::Silent),
    (Some(0), Mood::Gone),
    (Some(2), Mood::Cut),
    (Some(1), Mood::Refuses),
    (Some(2), Mood::Gone),
    (Some(0), Mood::Refuses),
    (Some(1), Mood::Gone),
    (Some(2), Mood::Silent),
    (Some(0), Mood::Cut),
    (None, Mood::Gone),
];
/// Moods in which a service is known to have failed at once; one that is slow or silent is given up after `slow_after`.
const AT_ONCE: [&str; 3] = ["cut", "gone", "refuses"];
/// After such a failure somebody else's answer, or an apology, is heard within so much more, ms.
const FAILOVER: f64 = 1_000.0;
/// After the load sessions and connections have so long to come to rest.
const REST: Duration = Duration::from_secs(8);

/// Have turns while services are slowed, cut, refused and killed
///
/// A gateway in this process with two services for each of speech to text, chat and speech (test services over HTTP on
/// loopback), of which the first fails in one way after the other, at last all three at once. Counts turns without a
/// sound, turns that tell a service's own words, and what is left behind. Breakers and weights are set to act sooner
/// than by default, so that all of it is seen: left alone for 20 s, looked after and weighed every 5 s.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate bench faults --plot faults.svg
  voxgate bench faults --devices 4 --turns 5 --every 2 --check")]
pub(in crate::cli) struct Args {
    /// Devices that talk at once
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    devices: u32,
    /// Turns of each device
    #[arg(long, value_name = "M", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    turns: u32,
    /// How long each fault lasts, seconds; then all is well for as long
    #[arg(long, value_name = "SECONDS", default_value_t = 8.0)]
    every: f64,
    /// Draw how services stood, their weights, and each turn's first sound against time
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Where the gateway of the bench keeps its data [default: a folder below the system's temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// End with 1 when a bar is missed
    #[arg(long)]
    check: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Found {
    turns: usize,
    /// With an answer.
    answered: usize,
    /// With an apology.
    apologised: usize,
    /// Without a sound.
    silent: usize,
    /// Turns of devices that lost their connection or waited in vain.
    lost: usize,
    /// That told words of a service that failed.
    cursed: usize,
    /// First sound of all turns, apologies included, as the devices heard it, ms.
    heard_ms: Spread,
    /// First sound of answers while all was well, ms.
    well_ms: Spread,
    /// First sound of answers during faults and shortly after them, ms.
    faulty_ms: Spread,
    /// The same by how the service failed.
    by_fault_ms: BTreeMap<String, Spread>,
    /// Before the faults, and when all had come to rest.
    tasks: [usize; 2],
    descriptors: [usize; 2],
    resident: [u64; 2],
    seconds: f64,
}

/// A service as it stood at a time.
struct Stood {
    at: f64,
    rows: Vec<ProviderRow>,
}

/// All that happened.
struct Run {
    turns: Vec<Turn>,
    lost: usize,
    stood: Vec<Stood>,
    faults: Vec<(f64, f64, String)>,
    seconds: f64,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    anyhow::ensure!(args.every >= 0.5, "--every: a fault of less than half a second is none");
    let config = context.config()?;
    let dir = scratch(args.dir.as_deref(), "faults")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(measure(args, config, &dir));
    std::fs::remove_dir_all(&dir)?;
    let found = done?;
    if args.json {
        context.json(&found)?;
    } else {
        write!(context.out, "{found}")?;
    }
    anyhow::ensure!(found.met() || !args.check, "a bar is missed");
    Ok(())
}

/// First services, and those that stand in.
struct Services {
    first: Vec<Service>,
    second: Vec<Service>,
}

impl Services {
    async fn start() -> anyhow::Result<Self> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in ABILITIES {
            first.push(Service::start().await?);
            second.push(Service::start().await?);
        }
        Ok(Self { first, second })
    }

    fn configure(&self, config: &mut Config) {
        let of = |service: &Service| Settings { kind: Kind::Openai, url: Some(service.url()), ..Settings::default() };
        let (first, second) = (&self.first, &self.second);
        let providers = &mut config.providers;
        (providers.stt, providers.chat, providers.tts) = (of(&first[0]), of(&first[1]), of(&first[2]));
        providers.embed = Settings { kind: Kind::Off, ..Settings::default() };
        providers.backup.stt = vec![of(&second[0])];
        providers.backup.chat = vec![Settings { weight: Some(50), ..of(&second[1]) }];
        providers.chat.weight = Some(50);
        providers.backup.tts = vec![of(&second[2])];
        let pool = &mut providers.pool;
        (pool.left_alone, pool.probe_every, pool.weigh_every) = (Span::secs(20), Span::secs(5), Span::secs(5));
    }

    /// One fault after the other, each followed by peace; tells when each was.
    async fn happen(&self, every: Duration, begun: Instant, faults: &mut Vec<(f64, f64, String)>) {
        for (which, mood) in HAPPENS.iter().cycle() {
            sleep(every).await;
            let hit: Vec<_> = (0..ABILITIES.len()).filter(|n| which.is_none_or(|which| which == *n)).collect();
            let name = which.map_or("all", |which| ABILITIES[which]);
            let from = begun.elapsed().as_secs_f64();
            for n in &hit {
                self.first[*n].be(*mood);
            }
            faults.push((from, f64::INFINITY, format!("{name} {}", mood.name())));
            sleep(every).await;
            for n in &hit {
                self.first[*n].be(Mood::Well);
            }
            if let Some(fault) = faults.last_mut() {
                fault.1 = begun.elapsed().as_secs_f64();
            }
        }
    }
}

async fn measure(args: &Args, mut config: Config, dir: &Path) -> anyhow::Result<Found> {
    let services = Services::start().await?;
    services.configure(&mut config);
    dir.join("data").clone_into(&mut config.gateway.data_dir);
    config.mqtt.listen = ANYWHERE;
    config.control.socket = dir.join("control.sock");
    (config.http.enabled, config.devices.enabled, config.udp.enabled) = (false, false, false);
    config.store.reserve = ByteSize(0);
    // connections that are kept are let go before what is left behind is counted
    config.http_client.idle_timeout = Span::secs(3);
    // what is known would be asked of nobody
    forgetful(&mut config);
    let ahead = config.voice.reply.ahead_frames;
    let gateway = Gateway::start(config, Outside { notifier: Notifier::default(), ..Outside::default() }).await?;
    let found = drive(args, &gateway, &services, ahead).await;
    gateway.stop(Duration::from_secs(10)).await;
    found
}

async fn drive(args: &Args, gateway: &Gateway, services: &Services, ahead: u32) -> anyhow::Result<Found> {
    let mut devices = Vec::new();
    for n in 0..args.devices {
        let id = DeviceId::parse(&format!("faults-{n}"))?;
        devices.push((gateway.login(&id, ListenMode::Manual).await?, talker::Kind::Native));
    }
    let script = Arc::new(bench::script(None)?);
    let manner = Manner { mode: ListenMode::Manual, interrupt: None, ahead, loss: 0.0, reorder: 0.0, leave: 0.0 };
    let load = |turns: u32| Load {
        devices: devices.clone(),
        manner: manner.clone(),
        until: Until::Turns(turns as usize),
        ramp: Duration::from_secs(1),
        hold: Duration::from_secs(1),
    };
    // one turn each while all is well: what is made once is made
    load::run(&load(1), Arc::clone(&script), |_, _| {}).await;
    sleep(REST).await;
    let before = rest();
    let run = with_faults(args, gateway, services, &load(args.turns), script).await;
    sleep(REST).await;
    let after = rest();
    let heard = first_sounds(gateway, args.devices as usize * args.turns as usize).await?;
    if let Some(path) = &args.plot {
        plot::timeline(path, &run.timeline(&heard)).map_err(anyhow::Error::msg)?;
    }
    Ok(run.sum_up(&heard, [before, after]))
}

async fn with_faults(args: &Args, gateway: &Gateway, services: &Services, load: &Load, script: Arc<Script>) -> Run {
    let begun = Instant::now();
    let (mut faults, mut stood) = (Vec::new(), Vec::new());
    let all = load.devices.len() * args.turns as usize;
    let quiet = args.json;
    let say = |done: usize, all: Option<usize>| {
        if !quiet && all.is_some_and(|all| done.is_multiple_of((all / 10).max(1))) {
            eprintln!("{done} turns");
        }
    };
    let (report, turns) = tokio::select! {
        done = load::run(load, script, say) => done,
        () = services.happen(Duration::from_secs_f64(args.every), begun, &mut faults) => unreachable_forever().await,
        () = watch(gateway, begun, &mut stood) => unreachable_forever().await,
    };
    for service in &services.first {
        service.be(Mood::Well);
    }
    let seconds = begun.elapsed().as_secs_f64();
    for fault in &mut faults {
        fault.1 = fault.1.min(seconds);
    }
    drop(report);
    Run { lost: all - turns.len().min(all), turns, stood, faults, seconds }
}

/// Faults and looks have no end of their own.
async fn unreachable_forever<T>() -> T {
    std::future::pending().await
}

/// How the services stand, each half a second.
async fn watch(gateway: &Gateway, begun: Instant, stood: &mut Vec<Stood>) {
    let mut every = interval(Duration::from_millis(500));
    loop {
        every.tick().await;
        if let Ok(rows) = gateway.operators().providers().await {
            stood.push(Stood { at: begun.elapsed().as_secs_f64(), rows });
        }
    }
}

/// Tasks, descriptors, resident bytes.
fn rest() -> (usize, usize, u64) {
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, |dir| dir.count().saturating_sub(1));
    (tokio::runtime::Handle::current().metrics().num_alive_tasks(), descriptors, cost().resident)
}

/// When each turn ended, in seconds before the last one, and its first sound in ms, as the gateway wrote them down.
async fn first_sounds(gateway: &Gateway, turns: usize) -> anyhow::Result<Vec<(f64, f64)>> {
    let query = LifelogQuery { kind: Some("turn".into()), limit: turns, ..LifelogQuery::default() };
    let rows = gateway.operators().lifelog_list(query).await?;
    let last = rows.iter().map(|row| row.at.0).max().unwrap_or_default();
    let one = |row: &crate::admin::LifelogRow| {
        let ms = row.detail["stages_ms"][stage::FIRST_AUDIO].as_f64()?;
        Some((last.saturating_sub(row.at.0) as f64 / 1e3, ms))
    };
    Ok(rows.iter().filter_map(one).collect())
}

impl Run {
    fn sum_up(&self, heard: &[(f64, f64)], [before, after]: [(usize, usize, u64); 2]) -> Found {
        let cursed = |turn: &&Turn| {
            [&turn.transcript, &turn.reply].into_iter().chain(&turn.errors).any(|text| text.contains(CURSE))
        };
        let mut well = Vec::new();
        let mut by_fault: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (at, ms) in self.times(heard) {
            let Some((.., name)) = self.faults.iter().find(|(from, to, _)| at >= *from && at <= to + 3.0) else {
                well.push(ms);
                continue;
            };
            let how = name.split(' ').next_back().unwrap_or_default();
            by_fault.entry(how.to_owned()).or_default().push(ms);
        }
        let apologised = self.turns.iter().filter(|turn| turn.frames > 0 && !turn.errors.is_empty()).count();
        Found {
            turns: self.turns.len() + self.lost,
            answered: self.turns.iter().filter(|turn| turn.frames > 0 && turn.errors.is_empty()).count(),
            apologised,
            silent: self.turns.iter().filter(|turn| turn.frames == 0).count(),
            lost: self.lost,
            cursed: self.turns.iter().filter(cursed).count(),
            heard_ms: Spread::of(self.turns.iter().filter_map(|turn| turn.first_audio_ms).collect()),
            well_ms: Spread::of(well),
            faulty_ms: Spread::of(by_fault.values().flatten().copied().collect()),
            by_fault_ms: by_fault.into_iter().map(|(how, ms)| (how, Spread::of(ms))).collect(),
            tasks: [before.0, after.0],
            descriptors: [before.1, after.1],
            resident: [before.2, after.2],
            seconds: self.seconds,
        }
    }

    /// Seconds since the begin, and ms.
    fn times(&self, heard: &[(f64, f64)]) -> Vec<(f64, f64)> {
        heard.iter().map(|(ago, ms)| (self.seconds - ago, *ms)).collect()
    }

    fn timeline(&self, heard: &[(f64, f64)]) -> Timeline {
        let row = |stood: &Stood, name: &str, route: u32| {
            stood.rows.iter().find(|row| row.capability == name && row.route == route).cloned()
        };
        let state = |(n, name): (usize, &&str)| -> Line {
            let level = |row: &ProviderRow| match row.state {
                ProviderState::Asked => 0.8,
                ProviderState::Tried => 0.5,
                ProviderState::LeftAlone => 0.2,
            };
            let points =
                self.stood.iter().filter_map(|stood| Some((stood.at, n as f64 + level(&row(stood, name, 0)?))));
            (format!("first service of {name}: asked, tried, left alone"), points.collect())
        };
        let weight = |route: u32| -> Line {
            let share = |stood: &Stood| {
                let (own, other) = (row(stood, "chat", route)?, row(stood, "chat", 1 - route)?);
                let (own, other) = (own.present_weight, other.present_weight);
                Some((stood.at, 3.0 + own / (own + other).max(f64::MIN_POSITIVE)))
            };
            let name = if route == 0 { "share of the first chat service" } else { "share of the second" };
            (name.to_owned(), self.stood.iter().filter_map(share).collect())
        };
        let mut upper: Vec<Line> = ABILITIES.iter().enumerate().map(state).collect();
        upper.extend([weight(0), weight(1)]);
        Timeline {
            title: "voxgate bench faults: how services stood, and the first sound of each turn".to_owned(),
            upper,
            points: self.times(heard),
            marked: self.faults.clone(),
        }
    }
}

impl Found {
    /// Whether all that must be so is.
    fn met(&self) -> bool {
        let soon = |how: &str| self.by_fault_ms.get(how).is_none_or(|ms| ms.max <= self.well_ms.p50 + FAILOVER);
        AT_ONCE.into_iter().all(soon)
            && self.silent == 0
            && self.lost == 0
            && self.cursed == 0
            && self.tasks[1] <= self.tasks[0] + 2
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { turns, answered, apologised, silent, lost, cursed, .. } = self;
        writeln!(f, "{turns} turns in {:.0} s: {answered} answered, {apologised} with an apology", self.seconds)?;
        writeln!(f, "{silent} without a sound, {lost} lost, {cursed} that told the words of a failed service")?;
        writeln!(f, "  first sound, all turns           ms {}", self.heard_ms)?;
        writeln!(f, "  answers while all was well       ms {}", self.well_ms)?;
        writeln!(f, "  answers around faults            ms {}", self.faulty_ms)?;
        for (how, ms) in &self.by_fault_ms {
            writeln!(f, "    where the service was {how:<8}   ms {ms}")?;
        }
        let mb = |bytes: u64| bytes as f64 / 1e6;
        writeln!(
            f,
            "  before and after: tasks {} and {}, descriptors {} and {}, memory {:.1} and {:.1} MB (the devices' own included)",
            self.tasks[0],
            self.tasks[1],
            self.descriptors[0],
            self.descriptors[1],
            mb(self.resident[0]),
            mb(self.resident[1])
        )
    }
}
