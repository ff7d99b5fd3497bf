//! `voxgate bench store`: what it costs to make numbers durable, beside SQLite where this binary has it, and whether
//! anything is lost when the process is killed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::scratch;
use crate::app::durable::{self, Day, Figures, Filled, Killed, Load, Reopened, StoreSettings, SyncTime, Year};
use crate::cli::context::Context;
use crate::domain::ByteSize;

/// How often a device says something that waits for nobody.
const PACE: Duration = Duration::from_millis(200);

/// Measure how many sequence numbers a second become durable, and how long each waits
///
/// Devices with one outstanding message each, through real sessions onto the disk: window, batch, journal, sync, receipt;
/// and paced, where each says five messages a second and waits for nobody else. Then the store alone with a mark and a record of 300 bytes, and, in a binary built with `--features bench-sqlite`, the
/// same in SQLite (WAL, synchronous=FULL, one connection, an upsert of the whole row). The disk's own fdatasync is printed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate bench store
  voxgate bench store --slow-sync 5 --devices 1000
  voxgate bench store --kills 200
  voxgate bench store --day
  voxgate bench store --year --days 365 --turns 19200")]
pub(super) struct Args {
    /// Numbers of devices, one run each
    #[arg(long, value_delimiter = ',', default_values_t = [1_u32, 50, 1_000])]
    devices: Vec<u32>,
    /// How long each run lasts, seconds
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,
    /// Measurements of each figure; the one whose rate is in the middle is printed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Where the stores of the bench are made [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Each sync takes so much longer, as on a slower disk
    #[arg(long, value_name = "MS", default_value_t = 0)]
    slow_sync: u64,
    /// sled's page cache, `store.cache`, MB
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    cache: Option<u64>,
    /// Kill a process that commits, so many times, and look for what it acknowledged
    #[arg(long, value_name = "N", conflicts_with_all = ["day", "year"])]
    kills: Option<u32>,
    /// Live through a day of one device: 500 turns, 100 images, a heartbeat each 20 s
    #[arg(long, conflicts_with = "year")]
    day: bool,
    /// Live through a year of a fleet, then open it in another process: time and memory
    #[arg(long)]
    year: bool,
    /// Days of the year
    #[arg(long, value_name = "N", default_value_t = 365, requires = "year")]
    days: u32,
    /// Turns a day of all 40 devices
    #[arg(long, value_name = "N", default_value_t = 19_200, requires = "year")]
    turns: u32,
    /// Days that stay in the store, `lifelog.hot_days`
    #[arg(long, value_name = "N", default_value_t = 7, requires = "year")]
    hot_days: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Commit in this folder until killed
    #[arg(long, hide = true, value_name = "DIR")]
    child: Option<PathBuf>,
    /// Open this folder and say what it cost
    #[arg(long, hide = true, value_name = "DIR", requires = "year")]
    reopen: Option<PathBuf>,
}

/// All that was measured.
#[derive(Debug, Default, Serialize)]
struct Found {
    sync: SyncTime,
    slow_sync_ms: f64,
    load: Option<f64>,
    runs: Vec<Figures>,
    /// What audio beside messages adds to the writes of a message, per cent: groups and bytes.
    audio_adds_percent: Option<[f64; 2]>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(dir) = &args.child {
        let devices = args.devices.first().copied().unwrap_or(1);
        return Ok(runtime.block_on(durable::child(&settings(args), dir, devices))?);
    }
    if let Some(dir) = &args.reopen {
        let found = runtime.block_on(durable::reopen(dir, &year(args)))?;
        return context.json(&found);
    }
    let dir = scratch(args.dir.as_deref(), "store")?;
    let done = if args.kills.is_some() {
        kills(args, context, &runtime, &dir)
    } else if args.day {
        day(args, context, &runtime, &dir)
    } else if args.year {
        a_year(args, context, &runtime, &dir)
    } else {
        rates(args, context, &runtime, &dir)
    };
    std::fs::remove_dir_all(&dir)?;
    done
}

fn settings(args: &Args) -> StoreSettings {
    let mut settings = StoreSettings { reserve: ByteSize(0), ..StoreSettings::default() };
    settings.cache = args.cache.map_or(settings.cache, ByteSize::mb);
    settings
}

fn year(args: &Args) -> Year {
    Year { turns_a_day: args.turns, days: args.days, hot_days: args.hot_days, ..Year::default() }
}

/// A folder for one run.
fn fresh(dir: &Path) -> anyhow::Result<PathBuf> {
    let fresh = dir.join("run");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh)?;
    }
    std::fs::create_dir(&fresh)?;
    Ok(fresh)
}

/// The one in the middle of some measurements.
fn median(args: &Args, mut one: impl FnMut() -> anyhow::Result<Figures>) -> anyhow::Result<Figures> {
    let mut all = (0..args.rounds).map(|_| one()).collect::<anyhow::Result<Vec<_>>>()?;
    all.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let middle = all.len() / 2;
    Ok(all.swap_remove(middle))
}

fn rates(args: &Args, context: &mut Context<'_>, runtime: &tokio::runtime::Runtime, dir: &Path) -> anyhow::Result<()> {
    let (settings, time, slower) =
        (settings(args), Duration::from_secs_f64(args.seconds), Duration::from_millis(args.slow_sync));
    let mut found = Found {
        sync: durable::sync_time(dir)?,
        slow_sync_ms: slower.as_secs_f64() * 1e3,
        load: crate::observe::load(),
        ..Found::default()
    };
    if !args.json {
        let SyncTime { p50_us, p99_us } = found.sync;
        writeln!(
            context.out,
            "fdatasync of 364 bytes: p50 {p50_us} us, p99 {p99_us} us; load {:.1}",
            found.load.unwrap_or(0.0)
        )?;
    }
    for devices in &args.devices {
        let load = Load { devices: *devices, time, slower, ..Load::default() };
        let session = || Ok(runtime.block_on(durable::sessions(&settings, &fresh(dir)?, load))?);
        say(args, context, &mut found, median(args, session)?)?;
        let paced =
            || Ok(runtime.block_on(durable::sessions(&settings, &fresh(dir)?, Load { every: PACE, ..load }))?);
        say(args, context, &mut found, median(args, paced)?)?;
        let alone = || Ok(runtime.block_on(durable::store_alone(&settings, &fresh(dir)?, *devices, time, slower))?);
        say(args, context, &mut found, median(args, alone)?)?;
        #[cfg(feature = "bench-sqlite")]
        for commit in [durable::Commit::Each, durable::Commit::Group] {
            let sqlite = || Ok(runtime.block_on(durable::sqlite(&fresh(dir)?, *devices, time, commit))?);
            say(args, context, &mut found, median(args, sqlite)?)?;
        }
    }
    if let Some(devices) = args.devices.iter().copied().filter(|n| *n > 1).min() {
        // at the same pace: those that wait for each other more often are written in smaller groups
        let with = |frames| {
            let load = Load { devices, time, slower, every: PACE, frames };
            anyhow::Ok(runtime.block_on(durable::sessions(&settings, &fresh(dir)?, load))?)
        };
        let (without, with) = (with(0)?, with(4)?);
        let a_message = |f: &Figures, of: u64| of as f64 / (f.commits as f64).max(1.0);
        let adds =
            |of: fn(&Figures) -> u64| (a_message(&with, of(&with)) / a_message(&without, of(&without)) - 1.0) * 100.0;
        found.audio_adds_percent = Some([adds(|f| f.groups), adds(|f| f.journal_bytes)]);
        say(args, context, &mut found, with)?;
    }
    if args.json {
        return context.json(&found);
    }
    if let Some([groups, bytes]) = found.audio_adds_percent {
        writeln!(
            context.out,
            "four audio packets before each message, 5 messages a second: {groups:+.2} % groups, {bytes:+.2} % bytes a message"
        )?;
    }
    if cfg!(not(feature = "bench-sqlite")) {
        writeln!(
            context.out,
            "without SQLite: build with --features bench-sqlite to have it measured beside the store"
        )?;
    }
    Ok(())
}

fn say(args: &Args, context: &mut Context<'_>, found: &mut Found, run: Figures) -> anyhow::Result<()> {
    if !args.json {
        writeln!(
            context.out,
            "{:>5} devices  {:<24} {:>9.0}/s  p50 {:>8.3} ms  p99 {:>8.3} ms",
            run.devices, run.what, run.per_second, run.p50_ms, run.p99_ms
        )?;
    }
    found.runs.push(run);
    Ok(())
}

/// This binary again.
fn again(args: &Args, own: &[&str], dir: &Path) -> anyhow::Result<std::process::Command> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["bench", "store"]).args(own).arg(dir);
    if let Some(cache) = args.cache {
        command.arg("--cache").arg(cache.to_string());
    }
    Ok(command)
}

fn kills(args: &Args, context: &mut Context<'_>, runtime: &tokio::runtime::Runtime, dir: &Path) -> anyhow::Result<()> {
    let dir = fresh(dir)?;
    let devices = args.devices.iter().copied().find(|n| *n > 1).unwrap_or(50).to_string();
    let exe = std::env::current_exe()?;
    let command = || {
        let mut command = std::process::Command::new(&exe);
        command.args(["bench", "store", "--devices", &devices, "--child"]).arg(&dir);
        command
    };
    let found: Killed = runtime.block_on(durable::kills(&settings(args), &dir, args.kills.unwrap_or(1), command))?;
    if args.json {
        return context.json(&found);
    }
    let Killed { kills, acknowledged, effects, replayed } = found;
    writeln!(
        context.out,
        "killed {kills} times with {devices} devices in mid-load; {acknowledged} acknowledged, none missing,"
    )?;
    writeln!(context.out, "no mark back, {effects} effects, none twice; {replayed} groups came back from the journal")?;
    Ok(())
}

fn day(args: &Args, context: &mut Context<'_>, runtime: &tokio::runtime::Runtime, dir: &Path) -> anyhow::Result<()> {
    let silent: Day = runtime.block_on(durable::day(&settings(args), &fresh(dir)?, false))?;
    let spoken: Day = runtime.block_on(durable::day(&settings(args), &fresh(dir)?, true))?;
    if args.json {
        return context.json(&[silent, spoken]);
    }
    for (what, day) in [("typed", silent), ("spoken", spoken)] {
        writeln!(
            context.out,
            "{what}: {} turns, {} images, {} heartbeats, {} audio packets: {} syncs and {:.2} MB through the journal; left on \
             the disk: store {:.2} MB, day file {:.2} MB, images {:.2} MB",
            day.turns,
            day.images,
            day.heartbeats,
            day.frames,
            day.groups,
            mb(day.journal_bytes),
            mb(day.store_bytes),
            mb(day.day_file_bytes),
            mb(day.image_bytes)
        )?;
    }
    Ok(())
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn a_year(args: &Args, context: &mut Context<'_>, runtime: &tokio::runtime::Runtime, dir: &Path) -> anyhow::Result<()> {
    let dir = fresh(dir)?;
    let filled: Filled = runtime.block_on(durable::year(&dir, &year(args)))?;
    // a process that did nothing else
    let numbers = [args.days.to_string(), args.turns.to_string(), args.hot_days.to_string()];
    let own = ["--year", "--days", &numbers[0], "--turns", &numbers[1], "--hot-days", &numbers[2], "--reopen"];
    let output = again(args, &own, &dir)?.output()?;
    anyhow::ensure!(output.status.success(), "the other process: {}", String::from_utf8_lossy(&output.stderr));
    let opened: Reopened = serde_json::from_slice(&output.stdout)?;
    if args.json {
        return context.json(&(year(args), filled, opened));
    }
    writeln!(
        context.out,
        "{} days of 40 devices, {} turns in all: filled in {:.0} s; store {:.0} MB, day files {:.0} MB",
        args.days,
        filled.turns,
        filled.append_s + filled.move_s,
        mb(filled.sled_bytes),
        mb(filled.cold_bytes)
    )?;
    writeln!(
        context.out,
        "opened in {:.2} s; resident {:.0} MB, at most {:.0} MB; newest 50 in {:.1} ms, 50 of one device of half the time ago \
         in {:.1} ms",
        opened.open_s,
        opened.rss_open_kb as f64 / 1e3,
        opened.rss_peak_kb as f64 / 1e3,
        opened.newest_50_s * 1e3,
        opened.half_50_s * 1e3
    )?;
    Ok(())
}
