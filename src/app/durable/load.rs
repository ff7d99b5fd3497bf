//! Many devices, one outstanding message each: how many become durable a second, and how long each waits.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::DurableError;
use super::fleet::{Device, Fleet, effect, open};
use crate::domain::{Clock, Settled, SystemClock};
use crate::store::{self, Batch, Key, Space, Store};

/// Bytes of a mark and of a record where the store is measured alone.
const MARK: usize = 64;
const RECORD: usize = 300;
/// Syncs for [`sync_time`].
const SYNCS: usize = 2_000;

/// What one load was.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// What was measured.
    pub what: String,
    /// How many waited at once.
    pub devices: u32,
    /// Durable messages.
    pub commits: u64,
    /// Of them a second.
    pub per_second: f64,
    /// Half of them waited so long, milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 waited less.
    pub p99_ms: f64,
    /// Groups that they were written in; 0 where that is not known.
    pub groups: u64,
    /// Bytes that the journal got.
    pub journal_bytes: u64,
}

impl Figures {
    /// From the waits of all, microseconds.
    pub(super) fn of(what: &str, devices: u32, took: Duration, mut waits: Vec<u32>) -> Self {
        waits.sort_unstable();
        let at = |of_100: usize| waits.get(waits.len() * of_100 / 100).or(waits.last()).copied().unwrap_or_default();
        let commits = waits.len() as u64;
        Self {
            what: what.to_owned(),
            devices,
            commits,
            per_second: commits as f64 / took.as_secs_f64(),
            p50_ms: f64::from(at(50)) / 1e3,
            p99_ms: f64::from(at(99)) / 1e3,
            ..Self::default()
        }
    }
}

/// How long the disk takes to append and sync 364 bytes, microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct SyncTime {
    /// Half of them.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
}

/// Microseconds since then.
pub(super) fn since(start: Duration) -> u32 {
    u32::try_from(SystemClock.mono().saturating_sub(start).as_micros()).unwrap_or(u32::MAX)
}

/// The disk's own `fdatasync`, into a file that was written before.
pub fn sync_time(dir: &Path) -> Result<SyncTime, DurableError> {
    let path = dir.join("sync-time");
    let mut file = std::fs::File::create(&path)?;
    file.write_all(&vec![0; SYNCS * (MARK + RECORD)])?;
    file.sync_all()?;
    let bytes = [3; MARK + RECORD];
    let mut waits = Vec::with_capacity(SYNCS);
    for n in 0..SYNCS {
        let start = SystemClock.mono();
        file.write_all_at(&bytes, (n * bytes.len()) as u64)?;
        file.sync_data()?;
        waits.push(since(start));
    }
    std::fs::remove_file(&path)?;
    waits.sort_unstable();
    Ok(SyncTime { p50_us: f64::from(waits[SYNCS / 2]), p99_us: f64::from(waits[SYNCS * 99 / 100]) })
}

/// What devices do to their sessions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    /// How many.
    pub devices: u32,
    /// For so long.
    pub time: Duration,
    /// Each sync takes so much longer.
    pub slower: Duration,
    /// A device says something so often; at once after the answer to what it said before, if this is zero.
    pub every: Duration,
    /// Packets of audio before each message.
    pub frames: u32,
}

/// Devices through their sessions: lane, window, batch, store, receipt.
pub async fn sessions(settings: &store::Settings, dir: &Path, load: Load) -> Result<Figures, DurableError> {
    let Load { devices, time, slower, every, frames } = load;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let opened = open(settings, dir, Arc::clone(&clock), slower)?;
    let fleet = Fleet::start(&opened, dir, devices, &clock, None).await?;
    let mut ready = Vec::new();
    for mut device in fleet.devices() {
        device.hello().await?;
        ready.push(device);
    }
    let (groups, bytes) = (opened.metrics.groups.get(), opened.metrics.bytes.get());
    let start = SystemClock.mono();
    let mut tasks = JoinSet::new();
    for (n, device) in ready.into_iter().enumerate() {
        // not all at once
        let first = every.mul_f64(n as f64 / f64::from(devices));
        tasks.spawn(talk(device, (start + first, start + time), every, frames));
    }
    let mut waits = Vec::new();
    while let Some(done) = tasks.join_next().await {
        waits.append(&mut done.map_err(|_| DurableError::Session("a device's task panicked"))??);
    }
    let took = SystemClock.mono().saturating_sub(start);
    let what = match (every.is_zero(), frames) {
        (true, _) => "session",
        (false, 0) => "session, paced",
        (false, _) => "session, paced, audio",
    };
    let mut found = Figures::of(what, devices, took, waits);
    found.groups = opened.metrics.groups.get() - groups;
    found.journal_bytes = opened.metrics.bytes.get() - bytes;
    fleet.stop().await;
    opened.store.close().await;
    Ok(found)
}

async fn talk(
    mut device: Device,
    (mut next, until): (Duration, Duration),
    every: Duration,
    frames: u32,
) -> Result<Vec<u32>, DurableError> {
    let (mut waits, mut frame) = (Vec::new(), 0);
    loop {
        if !every.is_zero() {
            tokio::time::sleep(next.saturating_sub(SystemClock.mono())).await;
            next += every;
        }
        if SystemClock.mono() >= until {
            return Ok(waits);
        }
        for _ in 0..frames {
            frame += 1;
            device.frame(frame)?;
        }
        device.seq = device.seq.wrapping_add(1);
        let name = format!("{}-{}", device.id, device.seq);
        let start = SystemClock.mono();
        match device.say(device.seq, effect(&name)).await? {
            Settled::Durable => waits.push(since(start)),
            _ => return Err(DurableError::Session("a message was not taken")),
        }
    }
}

/// The store without sessions: a mark of 64 bytes and a record of 300 in one batch, each task waiting for its own.
pub async fn store_alone(
    settings: &store::Settings,
    dir: &Path,
    devices: u32,
    time: Duration,
    slower: Duration,
) -> Result<Figures, DurableError> {
    let opened = open(settings, dir, Arc::new(SystemClock), slower)?;
    let start = SystemClock.mono();
    let mut tasks = JoinSet::new();
    for device in 0..u64::from(devices) {
        let store = Arc::clone(&opened.store);
        tasks.spawn(async move {
            let mut waits = Vec::new();
            for n in 0_u64.. {
                let begun = SystemClock.mono();
                if begun > start + time {
                    break;
                }
                let mut batch = Batch::new();
                batch.put(Key::new(Space::Window).u64(device), vec![1; MARK]);
                batch.put(Key::new(Space::Lifelog).u32(1).u64(device).u64(n), vec![2; RECORD]);
                store.commit(batch).await?;
                waits.push(since(begun));
            }
            Ok::<_, DurableError>(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(done) = tasks.join_next().await {
        waits.append(&mut done.map_err(|_| DurableError::Session("a task panicked"))??);
    }
    let mut found = Figures::of("store alone", devices, SystemClock.mono().saturating_sub(start), waits);
    found.groups = opened.metrics.groups.get();
    found.journal_bytes = opened.metrics.bytes.get();
    opened.store.close().await;
    Ok(found)
}
