//! Cores for networks that rten runs: a call takes one, and calls run side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rten::{RunOptions, ThreadPool};

/// One-thread pools, used in turn: a call never takes more than one core, and as many calls as there are
/// cores run side by side. (rten runs everything inside a pool; one pool of one thread would be a queue.)
pub(super) struct Lanes {
    pools: Vec<Arc<ThreadPool>>,
    next: AtomicUsize,
}

impl Lanes {
    pub(super) fn of_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let pools = (0..cores).map(|_| Arc::new(ThreadPool::with_num_threads(1))).collect();
        Self { pools, next: AtomicUsize::new(0) }
    }

    pub(super) fn options(&self) -> RunOptions {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.pools.len();
        RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pools[turn])))
    }
}
