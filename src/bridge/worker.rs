//! One bridge's task: it connects, carries, and when that ends waits and connects again.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::dial::Remote;
use super::line::{Line, Memory, Plan};
use super::metrics::Counts;
use super::trouble::Trouble;
use crate::door::mqtt::{Gauge, Spilt};

/// A connection that lived so long was a good one: the next pause is the shortest again.
const GOOD: Duration = Duration::from_secs(10);
/// How often the gauges follow the queue.
const LOOK: Duration = Duration::from_secs(1);

/// How a bridge is, for others to look at.
#[derive(Debug, Default)]
pub(super) struct State {
    pub connected: bool,
    /// Why not, and what mends it.
    pub trouble: Option<(String, &'static str)>,
}

/// State that a worker and those who look share.
pub(super) type Shared = Arc<Mutex<State>>;

/// Random bits.
pub(super) type Random = Arc<dyn Fn() -> u128 + Send + Sync>;

/// Pauses between attempts.
#[derive(Debug)]
pub(super) struct Backoff {
    pub least: Duration,
    pub most: Duration,
    failures: u32,
}

impl Backoff {
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, failures: 0 }
    }

    /// The next pause: it doubles with each failure; `random` draws between half and all of it.
    fn next(&mut self, random: u128) -> Duration {
        let whole = self.least.saturating_mul(1 << self.failures.min(20)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        let part = u32::try_from(random % 1_001).unwrap_or(0);
        whole / 2 + whole / 2 * part / 1_000
    }
}

pub(super) struct Worker {
    pub name: String,
    pub remote: Remote,
    pub plan: Plan,
    pub memory: Memory,
    /// Say that we are a bridge, until the other broker does not like it.
    pub announce: bool,
    pub state: Shared,
    pub counts: Counts,
    pub backoff: Backoff,
    pub random: Random,
}

impl Worker {
    /// Works until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let watching = watch(self.name.clone(), self.memory.place.gauge(), self.counts.clone(), stop.clone());
        tokio::join!(self.work(stop), watching);
    }

    async fn work(&mut self, stop: CancellationToken) {
        // what was said last: the same again is not said again
        let mut said = String::new();
        let mut as_bridge = self.announce;
        loop {
            let began = Instant::now();
            let ended = self.connect(as_bridge, &mut said, &stop).await;
            self.tell(false, None);
            let Err(trouble) = ended else { return };
            if began.elapsed() >= GOOD {
                self.backoff.failures = 0;
            }
            // not every broker knows that word; one that never heard of it may just hang up
            let hung_up = matches!(trouble, Trouble::Closed(why) if !why.is_empty());
            let doubts = self.announce && (hung_up || matches!(trouble, Trouble::Version));
            let at_once = as_bridge && doubts;
            as_bridge ^= doubts;
            if at_once {
                continue;
            }
            self.complain(&trouble, &mut said);
            let pause = self.backoff.next((self.random)());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One connection, from its first packet to its end. `Ok`: the gateway stops.
    async fn connect(&mut self, as_bridge: bool, said: &mut String, stop: &CancellationToken) -> Result<(), Trouble> {
        let dialled = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            dialled = self.remote.dial(as_bridge) => dialled,
        };
        self.counts.attempt(dialled.as_ref().map_or_else(Trouble::result, |_| "ok"));
        let dialled = dialled?;
        said.clear();
        let (waiting, _) = self.memory.place.gauge().waiting();
        tracing::info!(bridge = self.name, remote = ?self.remote, known = dialled.present, as_bridge, waiting, "bridge connected");
        self.tell(true, None);
        self.memory.echoing = !as_bridge;
        let line = Line::new(dialled, &self.plan, &mut self.memory, &self.counts).run(stop);
        let ended = AssertUnwindSafe(line).catch_unwind().await;
        ended.unwrap_or(Err(Trouble::Fault))
    }

    fn complain(&self, trouble: &Trouble, said: &mut String) {
        let text = trouble.to_string();
        if *said == text {
            tracing::debug!(bridge = self.name, remote = ?self.remote, trouble = text, "bridge not connected");
        } else {
            tracing::warn!(bridge = self.name, remote = ?self.remote, trouble = text, remedy = trouble.remedy(), "bridge not connected, messages wait");
        }
        self.tell(false, Some((text.clone(), trouble.remedy())));
        *said = text;
    }

    fn tell(&self, connected: bool, trouble: Option<(String, &'static str)>) {
        self.counts.connected(connected);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State { connected, trouble };
    }
}

/// Keeps the gauges and the counters of the queue up to date.
async fn watch(name: String, gauge: Gauge, counts: Counts, stop: CancellationToken) {
    let (mut before, mut full) = (Spilt::default(), false);
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            () = stop.cancelled() => true,
            _ = every.tick() => false,
        };
        let now = gauge.spilt();
        counts.dropped("queue_full", now.dropped - before.dropped);
        counts.dropped("queue_refused", now.refused - before.refused);
        if now != before && !full {
            tracing::warn!(
                bridge = name,
                dropped = now.dropped,
                refused = now.refused,
                "the queue of a bridge is full"
            );
        }
        (full, before) = (now != before, now);
        counts.waiting(gauge.waiting());
        if last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_drawn_by_lot() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        let longest: Vec<u64> = (0..8).map(|_| backoff.next(1_000).as_secs()).collect();
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.next(0), Duration::from_secs(30));
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        assert_eq!(backoff.next(0), Duration::from_millis(500));
        assert!((0..10_000).all(|n| backoff.next(n * 7) <= Duration::from_mins(1)));
    }
}
