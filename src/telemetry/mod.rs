//! What devices measure: samples that are kept for a while and can be asked for, and the latest value of each device.
//!
//! A sample goes into the batch of the message that brought it, so that what is acknowledged is durable. What is too old
//! or too much is swept by the clock, page by page. The latest value is that of each group, whichever message brought
//! it. This room knows no session, no link and no dialect.

mod latest;
mod metrics;
mod query;
mod settings;
mod sweep;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

pub use latest::{Board, Topic};
pub use metrics::Metrics;
pub use query::{LIMIT, MOST, Query, query};
pub use settings::Settings;

use crate::domain::{Clock, DeviceId, Raw, SessionId, Telemetry, Wall};
use crate::store::records::{Measurement, Numbers, measurements};
use crate::store::{Batch, Store};

/// What `sample` is written in; `schemas/telemetry.schema.json` describes it.
pub const SCHEMA: &str = "voxgate.telemetry.v1";

/// What telemetry works with.
pub struct Parts {
    /// `[telemetry]`.
    pub settings: Settings,
    /// The records.
    pub store: Arc<dyn Store>,
    /// Numbers of records.
    pub numbers: Arc<Numbers>,
    /// Time for records.
    pub clock: Arc<dyn Clock>,
    /// The latest values.
    pub board: Board,
    /// What is counted.
    pub metrics: Metrics,
}

/// The samples of all devices. Share them as an `Arc`.
pub struct Samples {
    settings: Settings,
    store: Arc<dyn Store>,
    numbers: Arc<Numbers>,
    clock: Arc<dyn Clock>,
    board: Board,
    metrics: Metrics,
    /// What all of them take.
    bytes: AtomicU64,
    /// They take too much.
    full: Notify,
}

impl Samples {
    /// Nothing is read yet: [`Samples::run`] does that.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { settings, store, numbers, clock, board, metrics } = parts;
        let (bytes, full) = (AtomicU64::new(0), Notify::new());
        Arc::new(Self { settings, store, numbers, clock, board, metrics, bytes, full })
    }

    /// The latest values.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Adds a sample to the batch of its message, when it is time for one: `last` is when the device's last one was
    /// kept. Gives when this one was.
    pub fn keep(
        &self,
        batch: &mut Batch,
        (device, session): (&DeviceId, Option<&SessionId>),
        telemetry: &Telemetry,
        (last, now): (Option<Wall>, Wall),
        notable: bool,
    ) -> Option<Wall> {
        if self.settings.publishes() {
            self.board.measured(device, telemetry, now);
        }
        if let Err(cause) = self.is_due(last, now, notable) {
            self.metrics.dropped(cause);
            return last;
        }
        let (raw, too_long) = match &telemetry.raw {
            Raw::Said(words) => (Some(words.clone()), 0),
            Raw::TooLong(length) => (None, *length),
            Raw::Gone => (None, 0),
        };
        if too_long > 0 {
            self.metrics.raw_too_long.inc();
        }
        let normalised = self.settings.normalize;
        let measurement = Measurement {
            n: self.numbers.next(),
            device: device.clone(),
            session: session.cloned(),
            at: now,
            ts: telemetry.ts,
            seq: telemetry.seq,
            schema: if normalised { SCHEMA.to_owned() } else { String::new() },
            sample: if normalised { telemetry.groups.clone() } else { serde_json::Map::new() },
            raw,
            too_long,
        };
        match measurements::put(batch, &measurement) {
            Ok(bytes) => self.grown(bytes),
            Err(error) => {
                tracing::error!(%device, %error, "a telemetry sample was not written");
                self.metrics.dropped(metrics::RECORD);
                return last;
            }
        }
        Some(now)
    }

    fn is_due(&self, last: Option<Wall>, now: Wall, notable: bool) -> Result<(), &'static str> {
        if !self.settings.keep {
            return Err(metrics::OFF);
        }
        if now.0 == 0 {
            return Err(metrics::NO_CLOCK);
        }
        let every = u64::try_from(self.settings.sample_every.0.as_millis()).unwrap_or(u64::MAX);
        // a clock that was set back does not stop them
        let soon = last.is_some_and(|last| last <= now && now.0 - last.0 < every);
        if soon && !notable { Err(metrics::SOON) } else { Ok(()) }
    }

    fn grown(&self, bytes: u64) {
        self.metrics.kept.inc();
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.gauge();
        // a little too much waits for the clock
        let (size, slack) = (self.settings.retention_size.0, self.settings.retention_size.0 / 16);
        if before.saturating_add(bytes) > size.saturating_add(slack) {
            self.full.notify_one();
        }
    }

    fn gauge(&self) {
        self.metrics.bytes.set(i64::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(i64::MAX));
    }
}
