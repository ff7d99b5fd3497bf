//! Samples that are too old, or too much, go: by the clock, a page at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Samples, metrics};
use crate::domain::{DeviceId, Wall};
use crate::store::records::measurements::{self, Wanted};
use crate::store::{Batch, StoreError};

/// How often is looked for what is too old.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// Samples of a device that its latest value is put together from.
const RECALLED: usize = 8;
/// Samples that are counted at once.
const PAGE: usize = 512;
/// Samples that are removed at once: one batch, which the smallest store takes.
const SWEPT: usize = 100;

impl Samples {
    /// Counts what is there, then sweeps until `stop`; publishes the latest values meanwhile. `devices` are those that
    /// earlier runs may have kept something of.
    pub async fn run(self: Arc<Self>, devices: Vec<DeviceId>, stop: CancellationToken) {
        let sweeping = async {
            if let Err(error) = self.recall(devices).await {
                tracing::warn!(%error, "the latest telemetry of earlier runs cannot be read: it is published when it changes");
            }
            if let Err(error) = self.count().await {
                tracing::warn!(%error, "the telemetry samples cannot be counted: only new ones count until the next start");
            }
            let mut every = tokio::time::interval(SWEEP_EVERY);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = every.tick() => {}
                    () = self.full.notified() => {}
                }
                if let Err(error) = self.sweep().await {
                    tracing::warn!(%error, "old telemetry samples are not removed now");
                }
            }
        };
        tokio::select! {
            () = sweeping => {}
            () = self.board.run(&self.metrics) => {}
            () = stop.cancelled() => self.board.flush(&self.metrics),
        }
    }

    /// Publishes again what earlier runs knew last. A device whose latest value is not published has none: also for
    /// those who still have one from before it was switched off.
    pub(super) async fn recall(&self, devices: Vec<DeviceId>) -> Result<(), StoreError> {
        for device in devices {
            if !self.settings.publishes() {
                self.board.clear(&device);
                continue;
            }
            let all = (Wall(0), Wall(u64::MAX));
            let wanted = Wanted { device: Some(device.clone()), from: all.0, to: all.1, before: None, limit: RECALLED };
            self.board.recall(&device, &measurements::page(&*self.store, &wanted).await?);
        }
        Ok(())
    }

    /// Counts what the samples of earlier runs take.
    pub async fn count(&self) -> Result<(), StoreError> {
        // what this run keeps has counted itself
        let (mut after, mut found) = (None, 0_u64);
        loop {
            let page = measurements::oldest(&*self.store, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.at, last.n));
            found += page.iter().filter(|s| !self.numbers.is_of_this_run(s.n)).map(|s| s.bytes).sum::<u64>();
        }
        self.bytes.fetch_add(found, Ordering::Relaxed);
        self.gauge();
        Ok(())
    }

    /// Removes what is too old, then the oldest until the rest fits.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let keep = u64::try_from(self.settings.retention.0.as_millis()).unwrap_or(u64::MAX);
        // with the clock unset nothing is old
        let oldest = Wall(self.clock.wall().0.saturating_sub(keep));
        loop {
            let page = measurements::oldest(&*self.store, None, SWEPT).await?;
            let (mut left, mut aged, mut squeezed) = (self.bytes.load(Ordering::Relaxed), 0, 0);
            let before = left;
            let mut gone = Batch::new();
            for stub in &page {
                if stub.at < oldest {
                    aged += 1;
                } else if left > self.settings.retention_size.0 {
                    squeezed += 1;
                } else {
                    break;
                }
                left = left.saturating_sub(stub.bytes);
                measurements::remove(&mut gone, stub);
            }
            if gone.is_empty() {
                return Ok(());
            }
            self.store.commit(gone).await?;
            self.shrunk(before - left);
            self.metrics.swept(metrics::AGE, aged);
            self.metrics.swept(metrics::SIZE, squeezed);
            if aged + squeezed < page.len() as u64 {
                return Ok(());
            }
        }
    }

    fn shrunk(&self, bytes: u64) {
        let less = |all: u64| Some(all.saturating_sub(bytes));
        // the closure always gives a number
        let _ = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.gauge();
    }
}
