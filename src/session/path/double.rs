//! A store whose commits end when the test says so: well, badly, or never.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use crate::store::{Batch, CommitNo, Key, Page, Range, Store, StoreError};

type Map = BTreeMap<Key, Vec<u8>>;

#[derive(Default)]
struct Inner {
    durable: Map,
    queue: VecDeque<(Batch, oneshot::Sender<Result<CommitNo, StoreError>>)>,
    number: u64,
}

/// As the real one: batches are durable in the order of their calls, reads see those that wait, and a write that fails
/// takes all behind it along.
#[derive(Default)]
pub(super) struct DoubleStore(Mutex<Inner>);

fn apply(map: &mut Map, batch: &Batch) {
    for (key, value) in &batch.changes {
        match value {
            Some(value) => drop(map.insert(key.clone(), value.clone())),
            None => drop(map.remove(key)),
        }
    }
}

impl DoubleStore {
    pub(super) fn of(durable: Map) -> Self {
        Self(Mutex::new(Inner { durable, ..Inner::default() }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is on disk.
    pub(super) fn durable(&self) -> Map {
        self.inner().durable.clone()
    }

    /// So many of those that wait become durable; they are told, unless the process dies in between.
    pub(super) fn end_well(&self, count: usize, told: bool) {
        let mut inner = self.inner();
        for _ in 0..count.min(inner.queue.len()) {
            let Some((batch, answer)) = inner.queue.pop_front() else { return };
            apply(&mut inner.durable, &batch);
            inner.number += 1;
            if told {
                // a session that is gone is not told
                let _ = answer.send(Ok(CommitNo(inner.number)));
            }
        }
    }

    /// All that wait are refused.
    pub(super) fn end_badly(&self) {
        for (_, answer) in self.inner().queue.drain(..) {
            let _ = answer.send(Err(StoreError::Write("the disk is full".into())));
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.inner().queue.len()
    }

    fn seen(&self) -> Map {
        let inner = self.inner();
        let mut map = inner.durable.clone();
        inner.queue.iter().for_each(|(batch, _)| apply(&mut map, batch));
        map
    }
}

impl Store for DoubleStore {
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<CommitNo, StoreError>> {
        let (answer, answered) = oneshot::channel();
        self.inner().queue.push_back((batch, answer));
        async move { answered.await.unwrap_or(Err(StoreError::Closed)) }.boxed()
    }

    fn get(&self, key: Key) -> BoxFuture<'static, Result<Option<Vec<u8>>, StoreError>> {
        futures::future::ready(Ok(self.seen().remove(&key))).boxed()
    }

    fn scan(&self, range: Range) -> BoxFuture<'static, Result<Page, StoreError>> {
        let map = self.seen();
        let within = map.range(range.from..range.to).map(|(key, value)| (key.clone(), value.clone()));
        let records: Vec<_> =
            if range.backwards { within.rev().take(range.limit).collect() } else { within.take(range.limit).collect() };
        futures::future::ready(Ok(Page { records })).boxed()
    }
}
