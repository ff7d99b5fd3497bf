//! The way into one service: so many requests at once, a bounded queue before it, the more urgent first.
//!
//! The wait is predicted from the queue and the time that requests have taken: who would wait too long learns it at once. A
//! request counts as long as somebody waits for it: an answer whose reader is busy with what it has (speech that is being
//! played) keeps nobody else out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::metrics::AtGate;
use crate::domain::Clock;
use crate::provider::Urgency;

/// An answer whose reader has not come back for so long keeps nobody out.
const RESTS: Duration = Duration::from_millis(50);
/// What the newest request says of the time that requests take.
const NEWEST: f64 = 0.2;

/// The way into one service. Share it as an `Arc`.
#[derive(Debug)]
pub(super) struct Gate {
    at_once: Option<usize>,
    longest: usize,
    clock: Arc<dyn Clock>,
    inside: Mutex<Inside>,
    counted: AtGate,
}

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    /// Requests under way, and since when the reader of the answer is busy with what it has.
    held: BTreeMap<u64, Option<Duration>>,
    waiting: BTreeMap<(Urgency, u64), Arc<Notify>>,
    /// Seconds that a request takes.
    service: Option<f64>,
    /// Time that requests have taken since the weights were computed last.
    taken: Duration,
}

/// How long one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// Nobody joins the queue who is to expect more than this.
    pub(super) predicted: Option<Duration>,
    /// The longest wait.
    pub(super) wait: Duration,
}

impl Patience {
    /// None at all.
    const NONE: Self = Self { predicted: None, wait: Duration::ZERO };

    /// What is left of it.
    pub(super) fn less(self, waited: Duration) -> Self {
        let left = |time: Duration| time.saturating_sub(waited);
        Self { predicted: self.predicted.map(left), wait: left(self.wait) }
    }
}

/// It was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// A request under way; dropping it makes room.
#[derive(Debug)]
pub(super) struct Slot {
    gate: Arc<Gate>,
    id: u64,
    /// Since when somebody waits for it.
    since: Option<Duration>,
    taken: Duration,
}

/// A place in the queue; dropping it leaves it.
struct Place {
    gate: Arc<Gate>,
    key: (Urgency, u64),
    called: Arc<Notify>,
}

/// How long the last of the queue is to wait: one leaves after the other, `at_once` of them side by side.
pub(super) fn predicted(service: Option<f64>, ahead: usize, at_once: usize) -> Duration {
    #[allow(clippy::cast_precision_loss, reason = "queues are short")]
    let rounds = (ahead + 1) as f64 / at_once.max(1) as f64;
    Duration::try_from_secs_f64(service.unwrap_or(0.0) * rounds).unwrap_or(Duration::MAX)
}

impl Inside {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn has_room(&self, at_once: Option<usize>, now: Duration) -> bool {
        let waited_for = |rests: &&Option<Duration>| rests.is_none_or(|since| now.saturating_sub(since) < RESTS);
        at_once.is_none_or(|most| self.held.values().filter(waited_for).count() < most)
    }

    fn call_first(&self) {
        if let Some(called) = self.waiting.values().next() {
            called.notify_one();
        }
    }
}

impl Gate {
    pub(super) fn new(at_once: Option<u32>, longest: u32, clock: Arc<dyn Clock>, counted: AtGate) -> Arc<Self> {
        let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let inside = Mutex::default();
        Arc::new(Self { at_once: at_once.map(size), longest: size(longest), clock, inside, counted })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // what is done under it leaves it whole at every step
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests under way, and requests that wait.
    pub(super) fn load(&self) -> (usize, usize) {
        let inside = self.inside();
        (inside.held.len(), inside.waiting.len())
    }

    /// The share of its time that the service was at work since this was asked last.
    pub(super) fn used(&self, period: Duration) -> f64 {
        let taken = std::mem::take(&mut self.inside().taken);
        let Some(most) = self.at_once else { return 0.0 };
        #[allow(clippy::cast_precision_loss, reason = "a number of cores or so")]
        let whole = period.as_secs_f64() * most.max(1) as f64;
        if whole > 0.0 { (taken.as_secs_f64() / whole).min(1.0) } else { 0.0 }
    }

    /// What somebody who came now would wait.
    pub(super) fn wait(&self) -> Duration {
        let inside = self.inside();
        if inside.waiting.is_empty() && inside.has_room(self.at_once, self.clock.mono()) {
            return Duration::ZERO;
        }
        predicted(inside.service, inside.waiting.len(), self.at_once.unwrap_or(usize::MAX))
    }

    /// Comes in, now or after a wait.
    pub(super) async fn enter(self: &Arc<Self>, urgency: Urgency, patience: Patience) -> Result<Slot, Full> {
        let place = match self.at_once(urgency, patience) {
            Ok(slot) => return Ok(slot),
            Err(place) => place.ok_or(Full)?,
        };
        let begun = self.clock.mono();
        let until = Instant::now() + patience.wait;
        let entered = loop {
            // the tick sees answers whose reader has gone to do something else: nobody tells of those
            let called = timeout(RESTS, place.called.notified());
            if timeout_at(until, called).await.is_err() {
                break Err(Full);
            }
            if let Some(entered) = place.try_in() {
                break entered;
            }
        };
        self.counted.waited(self.clock.mono().saturating_sub(begun));
        entered
    }

    /// Comes in now, or not.
    pub(super) fn try_enter(self: &Arc<Self>, urgency: Urgency) -> Result<Slot, Full> {
        self.at_once(urgency, Patience::NONE).map_err(|_| Full)
    }

    /// A slot where there is room; else a place in the queue, or none.
    fn at_once(self: &Arc<Self>, urgency: Urgency, patience: Patience) -> Result<Slot, Option<Place>> {
        let now = self.clock.mono();
        let mut inside = self.inside();
        let ahead = inside.waiting.range(..=(urgency, u64::MAX)).count();
        if ahead == 0 && inside.has_room(self.at_once, now) {
            return Ok(self.slot(&mut inside, now));
        }
        let wait = predicted(inside.service, ahead, self.at_once.unwrap_or(usize::MAX));
        if patience.wait.is_zero() || patience.predicted.is_some_and(|most| wait > most) {
            return Err(None);
        }
        if inside.waiting.len() >= self.longest {
            // the last of those that are less urgent makes place
            let last = inside.waiting.keys().next_back().copied().filter(|(last, _)| *last > urgency);
            let Some(gone) = last.and_then(|last| inside.waiting.remove(&last)) else { return Err(None) };
            self.counted.queued.dec();
            gone.notify_one();
        }
        let (key, called) = ((urgency, inside.number()), Arc::new(Notify::new()));
        inside.waiting.insert(key, Arc::clone(&called));
        self.counted.queued.inc();
        Err(Some(Place { gate: Arc::clone(self), key, called }))
    }

    fn slot(self: &Arc<Self>, inside: &mut Inside, now: Duration) -> Slot {
        let id = inside.number();
        inside.held.insert(id, None);
        self.counted.in_flight.inc();
        Slot { gate: Arc::clone(self), id, since: Some(now), taken: Duration::ZERO }
    }
}

impl Place {
    /// Goes in when it is its turn and there is room; none: not yet.
    fn try_in(&self) -> Option<Result<Slot, Full>> {
        let gate = &self.gate;
        let now = gate.clock.mono();
        let mut inside = gate.inside();
        if !inside.waiting.contains_key(&self.key) {
            // somebody more urgent took the place
            return Some(Err(Full));
        }
        let first = inside.waiting.keys().next() == Some(&self.key);
        if !first || !inside.has_room(gate.at_once, now) {
            return None;
        }
        inside.waiting.remove(&self.key);
        gate.counted.queued.dec();
        let slot = gate.slot(&mut inside, now);
        if inside.has_room(gate.at_once, now) {
            inside.call_first();
        }
        Some(Ok(slot))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.gate.inside();
        if inside.waiting.remove(&self.key).is_some() {
            self.gate.counted.queued.dec();
        }
        // it may have been called in the moment in which it left
        inside.call_first();
    }
}

impl Slot {
    /// Somebody waits for the next of the answer.
    pub(super) fn works(&mut self) {
        if self.since.is_none() {
            self.since = Some(self.gate.clock.mono());
            if self.gate.at_once.is_some() {
                self.gate.inside().held.insert(self.id, None);
            }
        }
    }

    /// The reader has something to do.
    pub(super) fn rests(&mut self) {
        if let Some(since) = self.since.take() {
            let now = self.gate.clock.mono();
            self.taken += now.saturating_sub(since);
            if self.gate.at_once.is_some() {
                self.gate.inside().held.insert(self.id, Some(now));
            }
        }
    }

    /// It was answered: the time it took is what the next are to expect.
    pub(super) fn served(mut self) {
        self.rests();
        let took = self.taken.as_secs_f64();
        let mut inside = self.gate.inside();
        inside.service = Some(inside.service.map_or(took, |before| before + (took - before) * NEWEST));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.rests();
        let mut inside = self.gate.inside();
        inside.held.remove(&self.id);
        inside.taken += self.taken;
        inside.call_first();
        self.gate.counted.in_flight.dec();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use futures::FutureExt;

    use super::*;
    use crate::provider::pool::tests::TokioClock;

    const LONG: Patience = Patience { predicted: None, wait: Duration::from_mins(10) };
    const LIVE: Patience = Patience { predicted: Some(Duration::from_secs(2)), wait: Duration::from_secs(2) };

    fn gate(at_once: u32, longest: u32) -> Arc<Gate> {
        Gate::new(Some(at_once), longest, TokioClock::shared(), AtGate::default())
    }

    async fn served_in(gate: &Arc<Gate>, time: Duration) {
        let slot = gate.enter(Urgency::Turn, LONG).await.unwrap();
        tokio::time::sleep(time).await;
        slot.served();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_more_urgent_goes_first_whenever_it_came() {
        let gate = gate(1, 8);
        let slot = gate.enter(Urgency::Turn, LONG).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut all = Vec::new();
        for (name, urgency) in [
            ("task", Urgency::Background),
            ("greeting", Urgency::Greeting),
            ("one", Urgency::Turn),
            ("two", Urgency::Turn),
        ] {
            let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
            let mut waits = Box::pin(async move {
                let slot = gate.enter(urgency, LONG).await.unwrap();
                order.lock().unwrap().push(name);
                drop(slot);
            });
            assert!(waits.as_mut().now_or_never().is_none());
            all.push(waits);
        }
        assert_eq!(gate.load(), (1, 4));
        drop(slot);
        futures::future::join_all(all).await;
        assert_eq!(*order.lock().unwrap(), ["one", "two", "greeting", "task"]);
        assert_eq!(gate.load(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_is_told_at_once_and_who_would_not_waits() {
        let gate = gate(2, 64);
        served_in(&gate, Duration::from_secs(1)).await;
        let _held = (gate.enter(Urgency::Turn, LIVE).await.unwrap(), gate.enter(Urgency::Turn, LIVE).await.unwrap());
        let mut waiting = Vec::new();
        // 0.5, 1, 1.5, 2 seconds are to be expected; then 2.5
        for _ in 0..4 {
            let mut waits = Box::pin(gate.enter(Urgency::Turn, LIVE));
            assert!(waits.as_mut().now_or_never().is_none());
            waiting.push(waits);
        }
        assert_eq!(gate.enter(Urgency::Turn, LIVE).now_or_never().unwrap().unwrap_err(), Full);
        assert!(gate.wait() > Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_was_foretold_wrongly_has_an_end() {
        let gate = gate(1, 64);
        let _held = gate.enter(Urgency::Turn, LIVE).await.unwrap();
        let begun = Instant::now();
        assert_eq!(gate.enter(Urgency::Turn, LIVE).await.unwrap_err(), Full);
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
        assert_eq!(gate.load(), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_takes_nobody_but_in_the_place_of_one_that_is_less_urgent() {
        let gate = gate(1, 1);
        let slot = gate.enter(Urgency::Turn, LONG).await.unwrap();
        let mut task = Box::pin(gate.enter(Urgency::Background, LONG));
        assert!(task.as_mut().now_or_never().is_none());
        assert_eq!(gate.enter(Urgency::Background, LONG).now_or_never().unwrap().unwrap_err(), Full);
        let mut turn = Box::pin(gate.enter(Urgency::Turn, LONG));
        assert!(turn.as_mut().now_or_never().is_none());
        assert_eq!(task.await.unwrap_err(), Full);
        drop(slot);
        turn.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_want_to_wait_any_more_leaves_its_place_to_the_next() {
        let gate = gate(1, 8);
        let slot = gate.enter(Urgency::Turn, LONG).await.unwrap();
        let mut first = Box::pin(gate.enter(Urgency::Turn, LONG));
        let mut second = Box::pin(gate.enter(Urgency::Turn, LONG));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(slot);
        // it was called, and is gone before it heard
        drop(first);
        let begun = Instant::now();
        second.await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_whose_reader_is_busy_keeps_nobody_out() {
        let gate = gate(1, 8);
        let mut played = gate.enter(Urgency::Turn, LONG).await.unwrap();
        played.rests();
        let begun = Instant::now();
        let second = gate.enter(Urgency::Turn, LONG).await.unwrap();
        assert_eq!(begun.elapsed(), RESTS);
        played.works();
        drop(second);
        let third = Box::pin(gate.enter(Urgency::Turn, LONG));
        assert!(third.now_or_never().is_none(), "somebody waits for the first again");
    }

    #[test]
    fn the_wait_grows_with_the_queue_and_with_the_time_that_requests_take() {
        assert_eq!(predicted(None, 9, 2), Duration::ZERO);
        assert_eq!(predicted(Some(1.0), 0, 1), Duration::from_secs(1));
        assert_eq!(predicted(Some(1.0), 3, 2), Duration::from_secs(2));
        assert_eq!(predicted(Some(f64::INFINITY), 1, 1), Duration::MAX);
    }
}
