//! The same work in SQLite: WAL, `synchronous=FULL`, one connection, as OpenCane would do it durably.
//!
//! A device's whole session row of about 364 bytes is written over by an upsert. What the row means is nobody's here.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::DurableError;
use super::load::{Figures, since};
use crate::domain::{Clock, SystemClock};

/// Events that may wait for the connection.
const QUEUE: usize = 4_096;

/// When a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// After each event.
    Each,
    /// After all that wait, as our store does it.
    Group,
}

struct Event {
    device: u32,
    seq: u64,
    done: oneshot::Sender<()>,
}

fn failed(error: impl std::fmt::Display) -> DurableError {
    DurableError::Sqlite(error.to_string())
}

/// Devices with one outstanding event each.
pub async fn sqlite(dir: &Path, devices: u32, time: Duration, commit: Commit) -> Result<Figures, DurableError> {
    let connection = open(&dir.join("sessions.sqlite"))?;
    let (events, queue) = mpsc::channel(QUEUE);
    let writer = tokio::task::spawn_blocking(move || write(connection, queue, commit));
    let start = SystemClock.mono();
    let mut tasks = JoinSet::new();
    for device in 0..devices {
        let events = events.clone();
        tasks.spawn(async move {
            let mut waits = Vec::new();
            for seq in 0_u64.. {
                let begun = SystemClock.mono();
                if begun > start + time {
                    break;
                }
                let (done, answered) = oneshot::channel();
                if events.send(Event { device, seq, done }).await.is_err() || answered.await.is_err() {
                    break;
                }
                waits.push(since(begun));
            }
            waits
        });
    }
    drop(events);
    let mut waits = Vec::new();
    while let Some(done) = tasks.join_next().await {
        waits.append(&mut done.map_err(|_| DurableError::Session("a task panicked"))?);
    }
    let took = SystemClock.mono().saturating_sub(start);
    writer.await.map_err(failed)??;
    let what = if commit == Commit::Each { "sqlite, a commit an event" } else { "sqlite, group commit" };
    Ok(Figures::of(what, devices, took, waits))
}

fn open(path: &Path) -> Result<Connection, DurableError> {
    let connection = Connection::open(path).map_err(failed)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY; PRAGMA wal_autocheckpoint=1000;
             CREATE TABLE device_sessions (
                 device_id TEXT NOT NULL, session_id TEXT NOT NULL, state TEXT, last_seen_ms INTEGER,
                 last_seq INTEGER, last_outbound_seq INTEGER, metadata_json TEXT,
                 UNIQUE (device_id, session_id));",
        )
        .map_err(failed)?;
    Ok(connection)
}

fn write(mut connection: Connection, mut queue: mpsc::Receiver<Event>, commit: Commit) -> Result<(), DurableError> {
    let most = if commit == Commit::Each { 1 } else { QUEUE };
    let metadata = "m".repeat(300);
    let mut events = Vec::new();
    while queue.blocking_recv_many(&mut events, most) > 0 {
        let transaction = connection.transaction().map_err(failed)?;
        {
            let mut upsert = transaction
                .prepare_cached(
                    "INSERT INTO device_sessions VALUES (?1, 'session', 'ready', ?2, ?3, 0, ?4)
                     ON CONFLICT (device_id, session_id) DO UPDATE SET state = excluded.state,
                         last_seen_ms = excluded.last_seen_ms, last_seq = excluded.last_seq,
                         last_outbound_seq = excluded.last_outbound_seq, metadata_json = excluded.metadata_json",
                )
                .map_err(failed)?;
            for event in &events {
                let row = params![
                    format!("bench-{:04}", event.device),
                    event.seq.cast_signed(),
                    event.seq.cast_signed(),
                    metadata
                ];
                upsert.execute(row).map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)?;
        for event in events.drain(..) {
            // a device whose time is over does not wait
            let _ = event.done.send(());
        }
    }
    Ok(())
}
