//! A year of a household fleet, to measure what it costs to open: `voxgate bench store` and
//! `docs/decisions/02-store-layout.md`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Kind, Lifelog, Metrics, Query, Settings};
use crate::domain::{Clock, DeviceId, ManualClock, SystemClock, Wall};
use crate::store::records::Numbers;
use crate::store::{self, Batch, Store, StoreError};

/// 2026-01-01.
const NEW_YEAR: u64 = 1_767_225_600_000;
const DAY_MS: u64 = 86_400_000;
/// Entries in one batch while filling.
const BATCH: usize = 64;
/// Batches on their way at once while filling.
const IN_FLIGHT: usize = 64;

/// Why nothing was measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// The store or the lifelog failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine's clock cannot be read, or went back.
    #[error("the machine's clock cannot be read, or went back while measuring")]
    Clock,
}

/// What to fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Year {
    /// How many devices.
    pub devices: u32,
    /// Turns of all devices on a day.
    pub turns_a_day: u32,
    /// How many days.
    pub days: u32,
    /// Days that stay in the store.
    pub hot_days: u32,
}

impl Default for Year {
    /// 40 devices, 7 million turns.
    fn default() -> Self {
        Self { devices: 40, turns_a_day: 19_200, days: 365, hot_days: 7 }
    }
}

/// What filling cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Filled {
    /// Turns written.
    pub turns: u64,
    /// Their JSON, bytes.
    pub json_bytes: u64,
    /// Seconds that appending took.
    pub append_s: f64,
    /// Days moved into files.
    pub days_moved: u32,
    /// Seconds that moving took.
    pub move_s: f64,
    /// Bytes of the day files.
    pub cold_bytes: u64,
    /// Bytes of sled on disk.
    pub sled_bytes: u64,
}

/// What opening cost. To be measured in a process that did nothing else.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reopened {
    /// Seconds until the store was open.
    pub open_s: f64,
    /// Resident memory before, KB.
    pub rss_before_kb: u64,
    /// Resident memory once open, KB.
    pub rss_open_kb: u64,
    /// Highest resident memory, KB.
    pub rss_peak_kb: u64,
    /// Seconds for the newest 50 entries of all devices.
    pub newest_50_s: f64,
    /// Seconds for 50 entries of one device of half the filled time ago.
    pub half_50_s: f64,
    /// Resident memory after both questions, KB.
    pub rss_after_kb: u64,
}

/// Lives through the days of `year` in `dir`, moving days as they pass.
pub async fn year(dir: &Path, year: &Year) -> Result<Filled, MeasureError> {
    let clock = Arc::new(ManualClock::new(Wall(NEW_YEAR)));
    let (store, lifelog) = open(dir, year.hot_days, clock.clone())?;
    let devices: Vec<_> = (0..year.devices).map(device).collect::<Result<_, _>>()?;
    let mut filled = Filled::default();
    let mut word = Words(1);
    for day in 0..year.days {
        clock.set_wall(Wall(NEW_YEAR + u64::from(day) * DAY_MS));
        let start = SystemClock.mono();
        append_day(&*store, &lifelog, &clock, &devices, year.turns_a_day, &mut word, &mut filled).await?;
        let appended = SystemClock.mono();
        let swept = lifelog.sweep().await?;
        filled.append_s += seconds(start, appended)?;
        filled.move_s += seconds(appended, SystemClock.mono())?;
        filled.days_moved += swept.moved;
        filled.cold_bytes += swept.bytes;
        if day % 30 == 29 {
            tracing::info!(day, ?filled, "filling");
        }
    }
    store.close().await;
    filled.sled_bytes = size_of(&dir.join("store/sled"));
    Ok(filled)
}

/// Opens what [`year`] filled and asks it two questions.
pub async fn reopen(dir: &Path, year: &Year) -> Result<Reopened, MeasureError> {
    let mut figures = Reopened { rss_before_kb: memory("VmRSS:"), ..Reopened::default() };
    let end = NEW_YEAR + u64::from(year.days) * DAY_MS;
    let clock = Arc::new(ManualClock::new(Wall(end)));
    let start = SystemClock.mono();
    let (store, lifelog) = open(dir, year.hot_days, clock)?;
    let opened = SystemClock.mono();
    figures.open_s = seconds(start, opened)?;
    figures.rss_open_kb = memory("VmRSS:");
    lifelog.query(&Query::newest(50)).await?;
    let first = SystemClock.mono();
    let to = Wall(NEW_YEAR + u64::from(year.days / 2) * DAY_MS);
    lifelog.query(&Query { device: Some(device(7)?), to, ..Query::newest(50) }).await?;
    figures.newest_50_s = seconds(opened, first)?;
    figures.half_50_s = seconds(first, SystemClock.mono())?;
    figures.rss_after_kb = memory("VmRSS:");
    figures.rss_peak_kb = memory("VmHWM:");
    store.close().await;
    Ok(figures)
}

/// Seconds between two readings of the machine's clock.
fn seconds(from: Duration, to: Duration) -> Result<f64, MeasureError> {
    to.checked_sub(from).map(|span| span.as_secs_f64()).ok_or(MeasureError::Clock)
}

fn open(dir: &Path, hot_days: u32, clock: Arc<ManualClock>) -> Result<(Arc<store::SledStore>, Lifelog), StoreError> {
    let mut registry = Registry::default();
    let metrics = store::Metrics::register(&mut registry);
    let opened = store::open(store::Settings::default(), &dir.join("store"), Arc::new(SystemClock), &metrics)?;
    let settings = Settings { hot_days, ..Settings::default() };
    let numbers = Arc::new(Numbers::new(opened.report.boot));
    let metrics = Metrics::register(&mut registry);
    let lifelog = Lifelog::open(settings, dir, opened.store.clone(), clock, numbers, &metrics)?;
    Ok((opened.store, lifelog))
}

async fn append_day(
    store: &dyn Store,
    lifelog: &Lifelog,
    clock: &ManualClock,
    devices: &[DeviceId],
    turns: u32,
    words: &mut Words,
    filled: &mut Filled,
) -> Result<(), StoreError> {
    let pause = Duration::from_millis(DAY_MS / u64::from(turns.max(1)));
    let mut batch = Batch::new();
    let mut in_flight = std::collections::VecDeque::new();
    for turn in 0..turns {
        clock.advance(pause);
        let device = &devices[turn as usize % devices.len()];
        let entry = lifelog.append(&mut batch, device, None, Kind::Turn, words.turn())?;
        filled.turns += 1;
        drop(entry);
        if batch.changes.len() == BATCH {
            filled.json_bytes += bytes_of(&batch);
            in_flight.push_back(store.commit(std::mem::take(&mut batch)));
        }
        if in_flight.len() == IN_FLIGHT
            && let Some(oldest) = in_flight.pop_front()
        {
            oldest.await?;
        }
    }
    filled.json_bytes += bytes_of(&batch);
    in_flight.push_back(store.commit(batch));
    for commit in in_flight {
        commit.await?;
    }
    Ok(())
}

fn bytes_of(batch: &Batch) -> u64 {
    batch.changes.iter().filter_map(|(_, value)| value.as_ref()).map(|v| v.len() as u64).sum()
}

fn device(number: u32) -> Result<DeviceId, StoreError> {
    DeviceId::parse(&format!("device-{number:02}")).map_err(|e| StoreError::Write(e.to_string()))
}

/// Text of made-up words: 4,096 of them, so that it packs about as well as speech does.
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        // xorshift: the same year each time
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn text(&mut self, words: u64) -> String {
        let mut text = String::new();
        for _ in 0..words {
            let word = self.next() % 4_096;
            for syllable in [word % 16, word / 16 % 16, word / 256] {
                let (c, v) = (b"bdfgklmnprstvwzh"[(syllable % 16) as usize], b"aeiou"[(syllable % 5) as usize]);
                text.extend([char::from(c), char::from(v)]);
            }
            text.push(' ');
        }
        text
    }

    fn turn(&mut self) -> Value {
        let (asked, said) = (4 + self.next() % 6, 6 + self.next() % 8);
        json!({
            "transcript": self.text(asked), "reply": self.text(said), "outcome": "done",
            "ms": [self.next() % 400, self.next() % 300, self.next() % 200, self.next() % 900],
        })
    }
}

/// A line of `/proc/self/status`, KB.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn size_of(dir: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(dir) else { return 0 };
    files
        .flatten()
        .map(|f| if f.path().is_dir() { size_of(&f.path()) } else { f.metadata().map_or(0, |m| m.len()) })
        .sum()
}
