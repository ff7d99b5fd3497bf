//! Threads of their own for dear hashes, with a bounded queue before them.
//!
//! The runtime's workers never hash. Work that finds no room is refused at once; who is suspicious finds less room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::CredentialsError;
use super::metrics::Metrics;

type Job = Box<dyn FnOnce() + Send>;

/// There is no room, or the threads have stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// For whom a hash is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// An operator of this gateway.
    House,
    /// A client at this address.
    Client {
        /// Which.
        address: IpAddr,
        /// It gave wrong passwords lately.
        suspect: bool,
    },
}

#[derive(Debug, Default)]
struct Load {
    all: usize,
    suspects: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The pool. Its threads end when it is dropped.
pub(super) struct Hashing {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    capacity: usize,
    load: Arc<Mutex<Load>>,
    metrics: Metrics,
}

/// A place in the queue; given back when it is dropped.
struct Place {
    whom: For,
    load: Arc<Mutex<Load>>,
    metrics: Metrics,
    since: Instant,
}

fn locked(load: &Mutex<Load>) -> MutexGuard<'_, Load> {
    load.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hashing {
    /// Starts `threads` threads with room for `capacity` pieces of work.
    pub(super) fn start(threads: usize, capacity: usize, metrics: Metrics) -> Result<Self, CredentialsError> {
        let (jobs, inbox) = bounded::<Job>(capacity);
        let spawn = |n| {
            let inbox: Receiver<Job> = inbox.clone();
            let thread = std::thread::Builder::new().name(format!("password-{n}"));
            let thread = thread.spawn(move || inbox.iter().for_each(|job| job()));
            thread.map_err(|error| CredentialsError::Hash(format!("cannot start a thread: {error}")))
        };
        let threads = (0..threads.max(1)).map(spawn).collect::<Result<_, _>>()?;
        Ok(Self { jobs: Some(jobs), threads, capacity, load: Arc::default(), metrics })
    }

    /// Does `work` on one of the threads.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        whom: For,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Full> {
        let place = self.place(whom)?;
        let (done, result) = oneshot::channel();
        let job = Box::new(move || {
            // nobody waits any more: the client has gone
            if !done.is_closed() {
                let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                // before anybody hears of it: who asks next finds the place
                drop(place);
                if let Ok(made) = made {
                    let _ = done.send(made);
                }
            }
        });
        self.jobs.as_ref().ok_or(Full)?.try_send(job).map_err(|_| Full)?;
        result.await.map_err(|_| Full)
    }

    fn place(&self, whom: For) -> Result<Place, Full> {
        let mut load = locked(&self.load);
        let room = match whom {
            For::House => load.all < self.capacity,
            For::Client { address, suspect } => {
                let own = load.by_address.get(&address).copied().unwrap_or_default();
                // an eighth stays for operators who make passwords
                load.all < self.capacity - self.capacity / 8
                    && own < (self.capacity / 4).max(1)
                    && (!suspect || load.suspects < (self.capacity / 2).max(1))
            }
        };
        if !room {
            return Err(Full);
        }
        load.all += 1;
        if let For::Client { address, suspect } = whom {
            load.suspects += usize::from(suspect);
            *load.by_address.entry(address).or_default() += 1;
        }
        self.metrics.queue.inc();
        let (load, metrics) = (Arc::clone(&self.load), self.metrics.clone());
        Ok(Place { whom, load, metrics, since: Instant::now() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut load = locked(&self.load);
        load.all = load.all.saturating_sub(1);
        if let For::Client { address, suspect } = self.whom {
            load.suspects = load.suspects.saturating_sub(usize::from(suspect));
            if let Some(own) = load.by_address.get_mut(&address) {
                *own = own.saturating_sub(1);
                if *own == 0 {
                    load.by_address.remove(&address);
                }
            }
        }
        self.metrics.queue.dec();
        self.metrics.seconds.observe(self.since.elapsed().as_secs_f64());
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // work catches its panics, so there is nothing to hear
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::net::Ipv4Addr;

    use super::*;

    fn client(last: u8, suspect: bool) -> For {
        For::Client { address: Ipv4Addr::new(10, 0, 0, last).into(), suspect }
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_one_address_cannot_fill_it() {
        let hashing = Arc::new(Hashing::start(1, 16, Metrics::default()).unwrap());
        let (open, gate) = bounded::<()>(0);
        let mut waiting = tokio::task::JoinSet::new();
        let mut taken = 0;
        let mut begin = |whom| {
            let (hashing, gate) = (Arc::clone(&hashing), gate.clone());
            waiting.spawn(async move { hashing.run(whom, move || gate.recv().is_err()).await });
        };
        for _ in 0..6 {
            begin(client(1, false)); // four of them find room
        }
        for last in 2..12 {
            begin(client(last, true)); // eight of them
        }
        for last in 20..24 {
            begin(client(last, false)); // two of them: two places are the house's
        }
        while taken < 14 {
            tokio::task::yield_now().await;
            taken = locked(&hashing.load).all;
        }
        assert_eq!(hashing.run(client(30, false), || ()).await, Err(Full));
        begin(For::House);
        drop(open);
        let mut results = Vec::new();
        while let Some(result) = waiting.join_next().await {
            results.push(result.unwrap());
        }
        assert_eq!(results.iter().filter(|r| **r == Ok(true)).count(), 15);
        assert_eq!(results.iter().filter(|r| **r == Err(Full)).count(), 6);
        assert_eq!(locked(&hashing.load).all, 0, "every place is given back");
        assert!(locked(&hashing.load).by_address.is_empty());
        assert_eq!(hashing.run(client(1, true), || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn work_that_panics_ends_itself_only() {
        let hashing = Hashing::start(1, 8, Metrics::default()).unwrap();
        assert_eq!(hashing.run(For::House, || panic!("on purpose")).await, Err::<(), _>(Full));
        assert_eq!(hashing.run(For::House, || 1).await, Ok(1));
    }
}
