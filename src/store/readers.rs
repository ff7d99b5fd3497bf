//! The threads that read: a bounded pool, so that a slow disk never blocks the async runtime.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use super::overlay::Entry;
use super::seal::unseal;
use super::shared::Shared;
use super::{Key, Page, Range, StoreError};

/// Reads that may wait; more are refused as busy.
const QUEUE: usize = 4_096;

/// One read.
pub(crate) enum Job {
    Get(Key, oneshot::Sender<Result<Option<Vec<u8>>, StoreError>>),
    Scan(Range, oneshot::Sender<Result<Page, StoreError>>),
    Stop,
}

/// The pool.
pub(crate) struct Readers {
    jobs: Sender<Job>,
    threads: usize,
}

impl Readers {
    pub fn start(shared: &Arc<Shared>) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (jobs, queue) = bounded(QUEUE);
        let threads = shared.settings.readers;
        let handles = (0..threads).map(|i| {
            let (shared, queue) = (shared.clone(), queue.clone());
            std::thread::Builder::new().name(format!("store-read-{i}")).spawn(move || run(&shared, &queue))
        });
        Ok((Self { jobs, threads }, handles.collect::<Result<_, _>>()?))
    }

    /// Queues a read; never waits.
    pub fn submit(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Closed,
        })
    }

    /// Ends the threads after what is queued.
    pub fn stop(&self) {
        for _ in 0..self.threads {
            // all threads gone: nothing to stop
            let _ = self.jobs.send(Job::Stop);
        }
    }
}

fn run(shared: &Shared, queue: &Receiver<Job>) {
    for job in queue {
        match job {
            // a caller that does not wait any more is no error
            Job::Get(key, answer) => drop(answer.send(shared.counted(get(shared, &key)))),
            Job::Scan(range, answer) => drop(answer.send(shared.counted(scan(shared, &range)))),
            Job::Stop => return,
        }
    }
}

/// Reads one record: the overlay, then sled.
fn get(shared: &Shared, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
    let overlay = shared.state().overlay.get(key);
    match overlay {
        Some(entry) => opened(key, entry),
        None => shared.with_tree(|tree| tree.get(key)),
    }
}

/// The payload of an overlay's entry.
pub(crate) fn opened(key: &Key, entry: Entry) -> Result<Option<Vec<u8>>, StoreError> {
    entry.map(|sealed| unseal(key.as_bytes(), &sealed).map(<[u8]>::to_vec)).transpose()
}

/// Reads a range: a copy of the overlay first, then sled below it. The other way round a batch could move
/// from one to the other in between and be missed.
fn scan(shared: &Shared, range: &Range) -> Result<Page, StoreError> {
    if range.from >= range.to || range.limit == 0 {
        return Ok(Page::default());
    }
    let over = shared.state().overlay.range(range);
    shared.with_tree(|tree| {
        let under = tree.range(&range.from, &range.to);
        if range.backwards {
            merge(over.into_iter().rev(), under.rev(), range.limit, |a, b| a > b)
        } else {
            merge(over.into_iter(), under, range.limit, |a, b| a < b)
        }
    })
}

type Stored = Result<(sled::IVec, sled::IVec), StoreError>;

/// Merges two walks of the same direction; an overlay's entry hides sled's of the same key.
fn merge(
    over: impl Iterator<Item = (Key, Entry)>,
    under: impl Iterator<Item = Stored>,
    limit: usize,
    before: impl Fn(&[u8], &[u8]) -> bool,
) -> Result<Page, StoreError> {
    let (mut over, mut under) = (over.peekable(), under.peekable());
    let mut page = Page::default();
    while page.records.len() < limit {
        let stored_first = match (over.peek(), under.peek()) {
            (None, None) => break,
            (_, Some(Err(_))) | (None, Some(_)) => true,
            (Some(_), None) => false,
            (Some((key, _)), Some(Ok((stored, _)))) => {
                if key.as_bytes() == &stored[..] {
                    under.next();
                    false
                } else {
                    before(stored, key.as_bytes())
                }
            }
        };
        if stored_first {
            if let Some(pair) = under.next() {
                let (key, sealed) = pair?;
                page.records.push((Key::from_bytes(&key), unseal(&key, &sealed)?.to_vec()));
            }
        } else if let Some((key, entry)) = over.next()
            && let Some(payload) = opened(&key, entry)?
        {
            page.records.push((key, payload));
        }
    }
    Ok(page)
}
