//! Waits for commits, so that nobody else has to.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::domain::{Receipt, Refusal, Settled};
use crate::door::mqtt::metrics::Metrics;
use crate::store::{Batch, CommitNo, Store, StoreError};

/// Commits that may be under way at once; then the bus waits for the disk.
const UNDER_WAY: usize = 4_096;

type Commit = BoxFuture<'static, Result<CommitNo, StoreError>>;

/// Hands batches to the store and settles receipts when they are durable.
#[derive(Clone)]
pub(in crate::door::mqtt) struct Keeper {
    store: Arc<dyn Store>,
    waiting: mpsc::Sender<(Commit, Receipt)>,
    metrics: Metrics,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper")
    }
}

impl Keeper {
    /// The keeper, and the work that somebody must drive; it ends when the last keeper is gone.
    pub fn new(store: Arc<dyn Store>, metrics: Metrics) -> (Self, impl Future<Output = ()> + Send) {
        let (waiting, mut commits) = mpsc::channel::<(Commit, Receipt)>(UNDER_WAY);
        let work = async move {
            // the store answers in order: to wait for the first is to wait for all before the next
            while let Some((commit, receipt)) = commits.recv().await {
                receipt.settle(match commit.await {
                    Ok(_) => Settled::Durable,
                    Err(_) => Settled::Refused(Refusal::Storage),
                });
            }
        };
        (Self { store, waiting, metrics }, work)
    }

    /// Writes, and tells the receipt. For the bus's own thread: it may wait when the disk is slow.
    pub fn settle(&self, writes: Batch, receipt: Receipt) {
        if writes.is_empty() {
            return receipt.settle(Settled::Taken);
        }
        let commit = self.store.commit(writes);
        if !receipt.wanted() {
            return; // handed in: the store does it
        }
        if let Err(mpsc::error::SendError((_, receipt))) = self.waiting.blocking_send((commit, receipt)) {
            receipt.settle(Settled::Refused(Refusal::Storage));
        }
    }

    /// Writes what nobody waits for.
    pub fn note(&self, writes: Batch) {
        if !writes.is_empty() {
            // handed in with the call; the store counts what fails
            drop(self.store.commit(writes));
        }
    }

    /// Writes; resolves to false when it could not.
    pub async fn write(&self, writes: Batch) -> bool {
        if writes.is_empty() {
            return true;
        }
        let done = self.store.commit(writes).await;
        if done.is_err() {
            self.metrics.dropped("storage");
        }
        done.is_ok()
    }
}
