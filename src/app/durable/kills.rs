//! A process that commits through real sessions and is killed again and again: what it acknowledged must be there.
//!
//! The child says by lines on its standard output what it was told; the parent kills it, opens what is left, and looks.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::DurableError;
use super::fleet::{Device, Fleet, Opened, effect, open};
use crate::domain::{Clock, DeviceId, SessionId, Settled, Stream, SystemClock};
use crate::lifelog::{self, Kind, Lifelog, Query};
use crate::session::window::Windows;
use crate::store::records::{Numbers, marks};
use crate::store::{self, Store};

/// Where the parent tells the next child what the devices know.
const KNOWN: &str = "devices.json";
/// Entries that a look reads at once.
const PAGE: usize = 20_000;
/// The last entries of a device that are looked at after each kill; all of them are at the end.
const RECENT: u32 = 200;

/// What devices were told: by device, its session and the highest number acknowledged in it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Known(BTreeMap<String, (String, u32)>);

/// What the kills showed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Killed {
    /// How often it was killed.
    pub kills: u32,
    /// Messages that had been acknowledged; all of them were there.
    pub acknowledged: u64,
    /// Effects that were looked at, none of them twice.
    pub effects: u64,
    /// Groups that were in the journal and not in sled, of all starts.
    pub replayed: u64,
}

/// Starts `command` (which must call [`child`] on `dir`), kills it, looks; `kills` times.
pub async fn kills(
    settings: &store::Settings,
    dir: &Path,
    kills: u32,
    mut command: impl FnMut() -> Command,
) -> Result<Killed, DurableError> {
    let (mut known, mut found) = (Known::default(), Killed { kills, ..Killed::default() });
    for round in 0..kills {
        std::fs::write(dir.join(KNOWN), serde_json::to_vec(&known).map_err(std::io::Error::other)?)?;
        let child = command().stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        // another moment each time: of a group, of a segment, of a start
        let wait = Duration::from_millis(u64::from(round) * 37 % 190);
        found.acknowledged += until_killed(child, wait, &mut known)?;
        let (effects, replayed) = look(settings, dir, &known, round + 1 == kills).await?;
        (found.effects, found.replayed) = (effects, found.replayed + replayed);
    }
    Ok(found)
}

/// Reads what the child says, kills it a while after its first acknowledgement, and reads what it still said.
fn until_killed(mut child: Child, wait: Duration, known: &mut Known) -> Result<u64, DurableError> {
    let mut acknowledged = 0;
    let out = child.stdout.take().ok_or(DurableError::Session("a child without output"))?;
    let mut kill_at = None;
    for line in BufReader::new(out).lines() {
        // the last line of a killed process may be half of one
        let Ok(line) = line else { break };
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["hello", device, session, mark] => greeted(known, device, session, mark)?,
            ["ack", device, seq, "."] => {
                let Some(entry) = known.0.get_mut(device) else { continue };
                entry.1 = seq.parse().unwrap_or(entry.1);
                acknowledged += 1;
                kill_at.get_or_insert(SystemClock.mono() + wait);
            }
            _ => {}
        }
        if kill_at.is_some_and(|at| SystemClock.mono() >= at) {
            // once it is dead its output ends
            child.kill()?;
        }
    }
    let status = child.wait()?;
    if status.code().is_some() {
        return Err(DurableError::Broken(format!("the child ended by itself: {status}")));
    }
    Ok(acknowledged)
}

fn greeted(known: &mut Known, device: &str, session: &str, mark: &str) -> Result<(), DurableError> {
    let mark: u32 = mark.parse().map_err(|_| DurableError::Session("a mark that is no number"))?;
    match known.0.get(device) {
        Some((before, told)) if before != session && *told > 0 => {
            return Err(DurableError::Broken(format!(
                "{device}: the session {before}, acknowledged up to {told}, is gone"
            )));
        }
        Some((before, told)) if before == session && mark < *told => {
            return Err(DurableError::Broken(format!("{device}: the mark went back from {told} to {mark}")));
        }
        _ => {}
    }
    known.0.insert(device.to_owned(), (session.to_owned(), mark));
    Ok(())
}

/// Opens the store and looks for everything that was acknowledged; how many effects there are, and how many groups
/// were taken from the journal.
async fn look(settings: &store::Settings, dir: &Path, known: &Known, all: bool) -> Result<(u64, u64), DurableError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = store::Metrics::register(&mut prometheus_client::registry::Registry::default());
    let opened = store::open(settings.clone(), &dir.join("store"), Arc::clone(&clock), &metrics)?;
    let store: Arc<dyn Store> = opened.store.clone();
    let numbers = Arc::new(Numbers::new(opened.report.boot));
    let lifelog = lifelog::Settings::default();
    let lifelog = Lifelog::open(lifelog, dir, Arc::clone(&store), clock, numbers, &lifelog::Metrics::default())?;
    let mut effects = 0;
    for (device, (session, told)) in &known.0 {
        let id = DeviceId::parse(device)?;
        let session = SessionId::parse(session)?;
        let bytes = marks::get(&*store, &id, &session).await?;
        let mark = match bytes.map(|bytes| Windows::decode(&bytes)) {
            Some(Ok(windows)) => windows.ack(Stream::Control),
            Some(Err(error)) => return Err(DurableError::Broken(format!("{device}: {error}"))),
            None => 0,
        };
        if mark < *told {
            return Err(DurableError::Broken(format!("{device}: the mark is {mark}, {told} was acknowledged")));
        }
        let from = if all { 1 } else { mark.saturating_sub(RECENT).max(1) };
        effects += effects_of(&lifelog, &id, &session, from, mark).await?;
    }
    opened.store.close().await;
    Ok((effects, opened.report.replayed))
}

/// Each number from `from` to the mark has left its effect once, and none above it has.
async fn effects_of(
    lifelog: &Lifelog,
    device: &DeviceId,
    session: &SessionId,
    from: u32,
    mark: u32,
) -> Result<u64, DurableError> {
    let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
    let limit = if from == 1 { usize::MAX } else { RECENT as usize + 8 };
    let mut query = Query { device: Some(device.clone()), ..Query::newest(limit.min(PAGE)) };
    let mut read = 0;
    loop {
        let page = lifelog.query(&query).await?;
        for entry in page.entries.iter().filter(|e| e.kind == Kind::Session && e.session.as_ref() == Some(session)) {
            let name = entry.body["tool_result"]["operation_id"].as_str();
            if let Some(seq) = name.and_then(|name| name.rsplit('-').next()).and_then(|seq| seq.parse().ok()) {
                *seen.entry(seq).or_default() += 1;
            }
        }
        read += page.entries.len();
        match page.next {
            Some(next) if read < limit => query.before = Some(next),
            _ => break,
        }
    }
    if let Some((seq, count)) = seen.iter().find(|(_, count)| **count > 1) {
        return Err(DurableError::Broken(format!("{device}: the effect of number {seq} is there {count} times")));
    }
    if let Some(seq) = (from..=mark).find(|seq| !seen.contains_key(seq)) {
        return Err(DurableError::Broken(format!(
            "{device}: the effect of number {seq} is missing, the mark is {mark}"
        )));
    }
    if let Some(seq) = seen.keys().find(|seq| **seq > mark) {
        return Err(DurableError::Broken(format!("{device}: an effect of number {seq}, and the mark is {mark}")));
    }
    Ok(seen.len() as u64)
}

/// The child: commits until it is killed, and says what it was told.
pub async fn child(settings: &store::Settings, dir: &Path, devices: u32) -> Result<(), DurableError> {
    let known: Known = serde_json::from_slice(&std::fs::read(dir.join(KNOWN))?).map_err(std::io::Error::other)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let opened: Opened = open(settings, dir, Arc::clone(&clock), Duration::ZERO)?;
    let fleet = Fleet::start(&opened, dir, devices, &clock, None).await?;
    let mut tasks = JoinSet::new();
    for mut device in fleet.devices() {
        device.session = known.0.get(device.id.as_str()).map(|(session, _)| session.clone());
        tasks.spawn(talk(device));
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|_| DurableError::Session("a device's task panicked"))??;
    }
    Ok(())
}

fn tell(line: &str) -> Result<(), DurableError> {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())?;
    Ok(out.flush()?)
}

async fn talk(mut device: Device) -> Result<(), DurableError> {
    let ack = device.hello().await?;
    tell(&format!("hello {} {} {}\n", device.id, ack.session_id, ack.ack.control))?;
    let name = |seq: u32| format!("{}-{seq}", device.id);
    // one that is durable comes again, as after an acknowledgement that was lost
    if device.seq > 0 && device.say(device.seq, effect(&name(device.seq))).await? != Settled::Durable {
        return Err(DurableError::Session("a repeat was not acknowledged"));
    }
    for seq in device.seq + 1.. {
        // sent twice at once: the repeat joins the commit of the first
        let (first, second) = tokio::join!(device.say(seq, effect(&name(seq))), device.say(seq, effect(&name(seq))));
        if (first?, second?) != (Settled::Durable, Settled::Durable) {
            return Err(DurableError::Session("a message was not taken"));
        }
        tell(&format!("ack {} {seq} .\n", device.id))?;
    }
    Ok(())
}
