//! What a run of `voxgate bench` found, as a table, as JSON, as curves.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::stage;
use crate::sim::interrupt::Interrupted;
use crate::sim::plot::Curves;
use crate::sim::report::{LATE_MS, Report, Spread};

/// One run.
#[derive(Serialize, Deserialize)]
pub(super) struct Found {
    pub devices: usize,
    /// What the devices saw.
    report: Report,
    gateway: Gateway,
    memory: Memory,
    /// Share of all cores that gateway and generator took together while the devices talked.
    cores_taken: f64,
    /// By what the answers were broken into with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    interrupted: BTreeMap<String, Interrupted>,
}

/// What the gateway wrote down of its turns, and what they cost it.
#[derive(Serialize, Deserialize)]
pub(super) struct Gateway {
    /// By stage, from the endpoint decision or `listen_stop`; `endpoint` is the hang-over before it.
    stages_ms: BTreeMap<String, Spread>,
    /// `first_audio` less the providers' own time: what the gateway itself added.
    own_ms: Spread,
    /// The worst lateness of a frame at the link, as the gateway saw it, one value a turn.
    link_late_ms: Spread,
    /// CPU seconds while the devices talked.
    cpu_s: f64,
    /// The busiest second of these, in cores.
    busiest: f64,
}

/// Resident memory of the gateway's process.
#[derive(Serialize, Deserialize)]
pub(super) struct Memory {
    /// Started, no session yet, bytes.
    before: u64,
    /// All devices connected and silent, bytes.
    idle: Option<u64>,
    /// The most while they talked, bytes.
    peak: u64,
    /// What one idle session adds, KB.
    idle_kb: Option<f64>,
    /// What one talking session adds, its utterance included, KB.
    talking_kb: f64,
}

impl Gateway {
    /// From the records of the turns, and time and CPU seconds since the first word.
    pub fn of(turns: &[Value], samples: &[(f64, f64)]) -> Self {
        let number = |turn: &Value, name: &str| turn["stages_ms"][name].as_f64();
        let own =
            |turn: &Value| Some(number(turn, stage::FIRST_AUDIO)? - number(turn, stage::PROVIDERS).unwrap_or_default());
        let spread = |name| Spread::of(turns.iter().filter_map(|turn| number(turn, name)).collect());
        let stages = stage::ALL.map(|name| (name.to_owned(), spread(name)));
        Self {
            stages_ms: stages.into_iter().filter(|(_, spread)| spread.count > 0).collect(),
            own_ms: Spread::of(turns.iter().filter_map(own).collect()),
            link_late_ms: Spread::of(turns.iter().filter_map(|turn| turn["worst_late_ms"].as_f64()).collect()),
            cpu_s: samples.last().map_or(0.0, |(_, cpu)| *cpu),
            busiest: busiest(samples),
        }
    }
}

/// The most CPU seconds in a second.
fn busiest(samples: &[(f64, f64)]) -> f64 {
    let second = |(at, (begin, cpu)): (usize, &(f64, f64))| {
        let (end, later) = samples[at..].iter().find(|(time, _)| time - begin >= 1.0)?;
        Some((later - cpu) / (end - begin))
    };
    samples.iter().enumerate().filter_map(second).fold(0.0, f64::max)
}

impl Memory {
    pub fn of(before: u64, idle: Option<u64>, peak: u64, devices: u32) -> Self {
        let each = |now: u64| now.saturating_sub(before) as f64 / 1e3 / f64::from(devices.max(1));
        Self { before, idle, peak, idle_kb: idle.map(each), talking_kb: each(peak) }
    }
}

impl Found {
    pub fn new(report: Report, gateway: Gateway, memory: Memory) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
        let cores_taken = (gateway.cpu_s + report.generator_cpu_s) / report.seconds.max(0.001) / cores;
        Self { devices: report.devices, report, gateway, memory, cores_taken, interrupted: BTreeMap::new() }
    }

    /// Adds a run in which answers were broken into.
    pub fn interrupted(&mut self, how: &str, report: Report) -> anyhow::Result<()> {
        let Some(interrupted) = report.interrupted else {
            anyhow::bail!("no answer could be broken into by {how}: {:?}", report.errors);
        };
        for (error, count) in report.errors {
            *self.report.errors.entry(format!("{how}: {error}")).or_default() += count;
        }
        self.interrupted.insert(how.to_owned(), interrupted);
        Ok(())
    }

    /// What the gateway itself added to the time to the first sound.
    pub fn own_ms(&self) -> Spread {
        self.gateway.own_ms
    }

    /// A stage of the gateway's; nothing where no turn came so far.
    pub fn stage_ms(&self, name: &str) -> Spread {
        self.gateway.stages_ms.get(name).copied().unwrap_or_default()
    }

    /// All turns were answered, and nothing was lost.
    pub fn clean(&self) -> bool {
        self.report.clean()
    }

    pub fn on_time(&self) -> bool {
        self.report.on_time()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, gateway, memory, .. } = self;
        writeln!(
            f,
            "{} devices: {} of {} turns answered in {:.1} s; {} frames, {} lost, {} stale",
            self.devices, report.answered, report.turns, report.seconds, report.frames, report.lost, report.stale
        )?;
        let mut row = |side: &str, name: &str, spread: &Spread| writeln!(f, "  {side:<8} {name:<13} ms {spread}");
        row("gateway", "own", &gateway.own_ms)?;
        for name in stage::ALL {
            if let Some(spread) = gateway.stages_ms.get(name) {
                row("gateway", name, spread)?;
            }
        }
        row("gateway", "worst late", &gateway.link_late_ms)?;
        for (name, spread) in &report.stages_ms {
            row("device", name, spread)?;
        }
        row("device", "late frames", &report.late_ms)?;
        for (how, found) in self.interrupted.iter().filter(|(_, found)| found.count > 0) {
            row("device", &format!("{how}: stop"), &found.stop_ms)?;
            row("device", &format!("{how}: frame"), &found.last_frame_ms)?;
        }
        for (how, found) in &self.interrupted {
            writeln!(
                f,
                "  {how}: {} interrupted, {} had ended before; frames of a dead turn: {} before tts_stop, {} after it",
                found.count, found.missed, found.frames_before_stop, found.after_stop
            )?;
            if found.count == 0 {
                writeln!(
                    f,
                    "  {how}: nothing stopped an answer; by voice it needs a question that the model takes for speech: --wav"
                )?;
            }
        }
        let seconds = report.seconds.max(0.001);
        writeln!(
            f,
            "  CPU: gateway {:.2} s ({:.2} cores, busiest second {:.2}), generator {:.2} s ({:.2} cores); {:.0} % of all cores",
            gateway.cpu_s,
            gateway.cpu_s / seconds,
            gateway.busiest,
            report.generator_cpu_s,
            report.generator_cpu_s / seconds,
            self.cores_taken * 100.0
        )?;
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let idle = memory.idle.zip(memory.idle_kb);
        let idle = idle.map_or("-".to_owned(), |(idle, kb)| format!("{:.1} MB ({kb:.0} KB a session)", mb(idle)));
        writeln!(
            f,
            "  memory: gateway {:.1} MB before, idle {idle}, at most {:.1} MB ({:.0} KB a session); generator {:.1} MB",
            mb(memory.before),
            mb(memory.peak),
            memory.talking_kb,
            mb(report.generator_rss)
        )?;
        for (error, count) in &report.errors {
            writeln!(f, "  {count} x {error}")?;
        }
        Ok(())
    }
}

/// The runs against their number of devices.
pub(super) fn curves(found: &[Found]) -> Curves {
    let of = |name: &str, value: fn(&Found) -> f64| {
        (name.to_owned(), found.iter().map(|one| (one.devices as f64, value(one))).collect())
    };
    Curves {
        title: "voxgate bench: turns with providers that answer at once".to_owned(),
        across: "devices that talk".to_owned(),
        bar: (LATE_MS, "late: more than 20 ms".to_owned()),
        below_name: "cores".to_owned(),
        ms: vec![
            of("gateway's own, p50", |one| one.gateway.own_ms.p50),
            of("gateway's own, p99", |one| one.gateway.own_ms.p99),
            of("frames late at the device, p99", |one| one.report.late_ms.p99),
            of("frames late at the device, max", |one| one.report.late_ms.max),
        ],
        below: vec![
            of("gateway", |one| one.gateway.cpu_s / one.report.seconds.max(0.001)),
            of("load generator", |one| one.report.generator_cpu_s / one.report.seconds.max(0.001)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_second_is_found_between_quiet_ones() {
        let samples = [(0.0, 0.0), (0.5, 0.1), (1.0, 0.2), (1.5, 0.9), (2.0, 1.6), (3.0, 1.7)];
        assert!((busiest(&samples) - 1.4).abs() < 1e-9, "{}", busiest(&samples));
        assert!(busiest(&samples[..2]).abs() < 1e-9, "less than a second says nothing");
    }

    #[test]
    fn memory_is_told_by_session() {
        let memory = Memory::of(20_000_000, Some(22_000_000), 30_000_000, 100);
        assert_eq!((memory.idle_kb, memory.talking_kb), (Some(20.0), 100.0));
    }
}
