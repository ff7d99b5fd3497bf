//! Waits for commits, so that nobody else has to.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::domain::{Receipt, Refusal, Settled};
use crate::door::mqtt::metrics::Metrics;
use crate::store::{Batch, CommitNo, Store, StoreError};

/// Commits that may be under way at once; then the bus waits for the disk.
const UNDER_WAY: usize = 4_096;

/// What the store adds to a record, and more.
const HEAD: usize = 64;

pub(in crate::door::mqtt) type Commit = BoxFuture<'static, Result<CommitNo, StoreError>>;

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

    /// Most bytes that one record may have.
    pub fn largest(&self) -> usize {
        self.store.largest().saturating_sub(HEAD)
    }

    /// Hands changes to the store, which does them in this order whether anybody waits or not.
    pub fn hand_in(&self, writes: Batch) -> Option<Commit> {
        let mut commits: Vec<_> = self.pieces(writes).into_iter().map(|piece| self.store.commit(piece)).collect();
        let last = commits.pop()?;
        if commits.is_empty() {
            return Some(last);
        }
        commits.push(last);
        let all = async move {
            let mut done = Err(StoreError::Closed);
            for commit in commits {
                done = Ok(commit.await?);
            }
            done
        };
        Some(all.boxed())
    }

    /// The store takes no batch beyond its limit: each of these is within it, unless a single record is not.
    fn pieces(&self, writes: Batch) -> Vec<Batch> {
        let most = self.store.largest();
        let (mut pieces, mut piece, mut bytes) = (Vec::new(), Batch::new(), 0);
        for (key, value) in writes.changes {
            let cost = HEAD + key.as_bytes().len() + value.as_ref().map_or(0, Vec::len);
            if bytes + cost > most && !piece.is_empty() {
                pieces.push(std::mem::take(&mut piece));
                bytes = 0;
            }
            bytes += cost;
            piece.changes.push((key, value));
        }
        if !piece.is_empty() {
            pieces.push(piece);
        }
        pieces
    }

    /// Tells the receipt what came of a commit. For the bus's own thread: it may wait when the disk is slow.
    pub fn settle(&self, commit: Option<Commit>, receipt: Receipt) {
        let Some(commit) = commit else { return receipt.settle(Settled::Taken) };
        if !receipt.wanted() {
            return self.look(commit);
        }
        if let Err(mpsc::error::SendError((_, receipt))) = self.waiting.blocking_send((commit, receipt)) {
            receipt.settle(Settled::Refused(Refusal::Storage));
        }
    }

    /// Writes what nobody waits for.
    pub fn note(&self, writes: Batch) {
        if let Some(commit) = self.hand_in(writes) {
            self.look(commit);
        }
    }

    /// Nobody waits for it; what the store refuses at once is counted here, what fails later by the store.
    fn look(&self, commit: Commit) {
        if let Some(Err(error)) = commit.now_or_never() {
            self.metrics.dropped("storage");
            tracing::debug!(%error, "the store did not take a change of a session");
        }
    }

    /// Writes; resolves to false when it could not.
    pub async fn write(&self, writes: Batch) -> bool {
        let Some(commit) = self.hand_in(writes) else { return true };
        let done = commit.await;
        if done.is_err() {
            self.metrics.dropped("storage");
        }
        done.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Key, Page, Range, Space};

    /// A store that takes nothing of more than 300 bytes.
    #[derive(Default)]
    struct Narrow(std::sync::Mutex<Vec<Batch>>);

    impl Store for Narrow {
        fn largest(&self) -> usize {
            300
        }
        fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<CommitNo, StoreError>> {
            let bytes: usize =
                batch.changes.iter().map(|(k, v)| k.as_bytes().len() + v.as_ref().map_or(0, Vec::len)).sum();
            let fits = bytes <= 300;
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(batch);
            async move { if fits { Ok(CommitNo(1)) } else { Err(StoreError::Write("too large".into())) } }.boxed()
        }
        fn get(&self, _: Key) -> BoxFuture<'static, Result<Option<Vec<u8>>, StoreError>> {
            async { Ok(None) }.boxed()
        }
        fn scan(&self, _: Range) -> BoxFuture<'static, Result<Page, StoreError>> {
            async { Ok(Page::default()) }.boxed()
        }
    }

    #[tokio::test]
    async fn many_changes_are_cut_into_batches_that_the_store_takes_in_their_order() {
        let store = Arc::new(Narrow::default());
        let (keeper, _work) = Keeper::new(store.clone(), Metrics::default());
        let mut writes = Batch::new();
        for n in 0..20_u64 {
            writes.put(Key::new(Space::Mqtt).u64(n), vec![0; 100]);
        }
        assert!(keeper.write(writes.clone()).await);
        {
            let taken = store.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            assert!(taken.len() > 1);
            let all: Vec<_> = taken.iter().flat_map(|batch| batch.changes.clone()).collect();
            assert_eq!(all, writes.changes);
        }
        let mut huge = Batch::new();
        huge.put(Key::new(Space::Mqtt).u64(1), vec![0; 400]);
        huge.put(Key::new(Space::Mqtt).u64(2), vec![0; 10]);
        assert!(!keeper.write(huge.clone()).await, "one piece that fails is a failure of all");
    }
}
