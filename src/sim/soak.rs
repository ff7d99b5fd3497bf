//! What the gateway's process takes while simulated devices talk for a long time: read from its `/metrics`, so that
//! what grows is seen from outside.

use std::fmt;
use std::time::Duration;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::provider::http::{self, Client, HttpError, Patience};

/// How often it is read.
const EVERY: Duration = Duration::from_secs(10);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A process is warm after this.
pub const WARM: Duration = Duration::from_mins(10);
/// Samples of which the median is taken: two minutes.
const MEDIAN_OF: usize = 12;
/// Largest answer that is read, bytes.
const MOST: usize = 4 << 20;

/// What a process took at one time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Taken {
    /// Seconds since the watch began.
    pub at_s: f64,
    /// Resident memory, bytes.
    pub resident: f64,
    /// Open file descriptors.
    pub fds: f64,
    /// Asynchronous tasks.
    pub tasks: f64,
    /// Processor time so far, s.
    pub cpu_s: f64,
}

/// One process of the gateway, from its first reading to its last. Medians of two minutes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// First and last reading, seconds since the watch began.
    pub from_s: f64,
    /// See `from_s`.
    pub to_s: f64,
    /// Ten minutes after its first reading; none when it did not live so long.
    pub warm: Option<Taken>,
    /// At its end.
    pub end: Taken,
}

impl Process {
    fn of(samples: &[Taken]) -> Option<Self> {
        let (first, last) = (samples.first()?, samples.last()?);
        let warm = samples.iter().position(|taken| taken.at_s >= first.at_s + WARM.as_secs_f64());
        let warm = warm.map(|at| median(&samples[at..samples.len().min(at + MEDIAN_OF)]));
        let end = median(&samples[samples.len().saturating_sub(MEDIAN_OF)..]);
        Some(Self { from_s: first.at_s, to_s: last.at_s, warm, end })
    }

    /// What resident memory, descriptors and tasks grew by since the process was warm, percent.
    pub fn growth(&self) -> Option<[f64; 3]> {
        let warm = self.warm?;
        let percent = |from: f64, to: f64| (to - from) / from.max(1.0) * 100.0;
        let end = self.end;
        Some([percent(warm.resident, end.resident), percent(warm.fds, end.fds), percent(warm.tasks, end.tasks)])
    }
}

fn median(samples: &[Taken]) -> Taken {
    let of = |pick: fn(&Taken) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Taken {
        at_s: of(|taken| taken.at_s),
        resident: of(|taken| taken.resident),
        fds: of(|taken| taken.fds),
        tasks: of(|taken| taken.tasks),
        cpu_s: of(|taken| taken.cpu_s),
    }
}

/// All processes of a gateway during a run: more than one when it was restarted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Soak {
    /// In order.
    pub processes: Vec<Process>,
}

impl Soak {
    /// From readings in order; processor time that falls is another process.
    pub fn of(samples: &[Taken]) -> Self {
        let processes = samples.chunk_by(|before, after| before.cpu_s <= after.cpu_s);
        Self { processes: processes.filter_map(Process::of).collect() }
    }
}

impl fmt::Display for Soak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for process in &self.processes {
            let say = |taken: Taken| {
                format!("{:.1} MB, {:.0} descriptors, {:.0} tasks", taken.resident / 1e6, taken.fds, taken.tasks)
            };
            write!(f, "  gateway from {:.0} to {:.0} s: ", process.from_s, process.to_s)?;
            match process.warm.zip(process.growth()) {
                Some((warm, [memory, fds, tasks])) => writeln!(
                    f,
                    "after ten minutes {}, at the end {} ({memory:+.1} %, {fds:+.1} %, {tasks:+.1} %)",
                    say(warm),
                    say(process.end)
                )?,
                None => writeln!(f, "at the end {}", say(process.end))?,
            }
        }
        Ok(())
    }
}

/// Reads `url` until `stop`; what cannot be read is passed over, as while the gateway starts again.
pub async fn watch(url: &str, stop: CancellationToken) -> Result<Soak, HttpError> {
    let client = Client::new(&http::Settings::default())?;
    let (start, mut ticks) = (Instant::now(), interval(EVERY));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut samples = Vec::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(Soak::of(&samples)),
            _ = ticks.tick() => {}
        }
        if let Ok(text) = read(&client, url).await {
            samples.extend(taken(&text, start.elapsed().as_secs_f64()));
        }
    }
}

async fn read(client: &Client, url: &str) -> Result<String, HttpError> {
    let patience = Patience { first_byte: PATIENCE, between: PATIENCE, whole: PATIENCE };
    let mut pieces = client.download(url, 0, patience).await?.stream;
    let mut text = Vec::new();
    while let Some(piece) = pieces.next().await {
        text.extend_from_slice(&piece?);
        if text.len() > MOST {
            return Err(HttpError::BadAnswer("this is more than metrics".into()));
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The four figures of a process in OpenMetrics text.
fn taken(text: &str, at_s: f64) -> Option<Taken> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse::<f64>().ok()
    };
    Some(Taken {
        at_s,
        resident: value("process_resident_memory_bytes")?,
        fds: value("process_open_fds")?,
        tasks: value("voxgate_tasks")?,
        cpu_s: value("process_cpu_seconds_total")?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    fn at(at_s: f64, resident: f64, cpu_s: f64) -> Taken {
        Taken { at_s, resident, fds: 50.0, tasks: 100.0, cpu_s }
    }

    #[test]
    fn a_restart_is_told_apart_and_growth_counts_from_ten_minutes_on() {
        let first = (0..180).map(|n| at(f64::from(n) * 10.0, if n < 60 { 10e6 } else { 20e6 }, f64::from(n)));
        let second = (180..190).map(|n| at(f64::from(n) * 10.0, 5e6, f64::from(n) - 180.0));
        let soak = Soak::of(&first.chain(second).collect::<Vec<_>>());
        assert_eq!(soak.processes.len(), 2);
        assert_eq!(soak.processes[0].growth(), Some([0.0; 3]), "what it took while it warmed up does not count");
        assert_eq!((soak.processes[1].warm, soak.processes[1].end.resident), (None, 5e6));
    }

    #[test]
    fn the_metrics_text_is_read_and_nothing_else() {
        let text = "# TYPE process_open_fds gauge\nprocess_open_fds 12\nprocess_resident_memory_bytes 1048576\n\
                    process_cpu_seconds_total 1.5\nvoxgate_tasks 7\nvoxgate_tasks_of_others 9\n";
        let taken = taken(text, 3.0).unwrap();
        assert_eq!((taken.fds, taken.resident, taken.cpu_s, taken.tasks), (12.0, 1_048_576.0, 1.5, 7.0));
        assert_eq!(super::taken("<html>", 0.0), None);
    }
}
