//! Whether a service is asked, or left alone: closed, open after so many failures in a row, and tried by one request when
//! its time is over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;

use super::Settings;
use crate::domain::Clock;
use crate::provider::{ErrorKind, ProviderError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is asked; so many failures in a row.
    Closed(u32),
    /// It is left alone until then.
    Open(Duration),
    /// Its time is over, and one request tries it.
    Tried,
}

#[derive(Debug)]
struct Inside {
    state: State,
    /// A look at it said that it is back.
    said_back: bool,
    /// Looks say nothing until it has answered: one was wrong, or it asked itself to be left alone.
    unlooked: bool,
}

/// The breaker of one service. Share it as an `Arc`.
#[derive(Debug)]
pub(super) struct Breaker {
    errors: u32,
    whole: Duration,
    clock: Arc<dyn Clock>,
    inside: Mutex<Inside>,
    left_alone: Gauge,
}

/// How a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is asked.
    Asked,
    /// It is left alone for so long; none: the next request tries it.
    LeftAlone(Duration),
    /// One request tries it.
    Tried,
}

/// Leave to ask. Without a word about what came of it nothing is learnt: somebody did not want the answer any more.
#[derive(Debug)]
pub(super) struct Leave {
    breaker: Arc<Breaker>,
    /// It is the one request that tries a service that was left alone.
    tries: bool,
}

impl Breaker {
    pub(super) fn new(settings: &Settings, clock: Arc<dyn Clock>, left_alone: Gauge) -> Arc<Self> {
        // one of an earlier configuration may have left it at 1
        left_alone.set(0);
        let inside = Mutex::new(Inside { state: State::Closed(0), said_back: false, unlooked: false });
        Arc::new(Self { errors: settings.errors, whole: settings.left_alone.0, clock, inside, left_alone })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // assignments are all that is ever done under it
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands.
    pub(super) fn standing(&self) -> Standing {
        match self.inside().state {
            State::Closed(_) => Standing::Asked,
            State::Open(until) => Standing::LeftAlone(until.saturating_sub(self.clock.mono())),
            State::Tried => Standing::Tried,
        }
    }

    /// It would give leave now.
    pub(super) fn lets_in(&self) -> bool {
        match self.standing() {
            Standing::Asked => true,
            Standing::LeftAlone(time) => time.is_zero(),
            Standing::Tried => false,
        }
    }

    /// Leave to ask; none while it is left alone.
    pub(super) fn leave(self: &Arc<Self>) -> Option<Leave> {
        let mut inside = self.inside();
        let tries = match inside.state {
            State::Closed(_) => false,
            State::Open(until) if self.clock.mono() >= until => {
                inside.state = State::Tried;
                true
            }
            State::Open(_) | State::Tried => return None,
        };
        drop(inside);
        Some(Leave { breaker: Arc::clone(self), tries })
    }

    /// Leave to ask all the same: there is nobody else.
    pub(super) fn in_need(self: &Arc<Self>) -> Leave {
        Leave { breaker: Arc::clone(self), tries: false }
    }

    /// When it may be asked again.
    pub(super) fn until(&self) -> Duration {
        match self.inside().state {
            State::Closed(_) => Duration::ZERO,
            State::Open(until) => until,
            State::Tried => Duration::MAX,
        }
    }

    /// It is worth a look: it is left alone for a while yet, and a look says something.
    pub(super) fn wants_a_look(&self) -> bool {
        let inside = self.inside();
        matches!(inside.state, State::Open(until) if until > self.clock.mono()) && !inside.unlooked
    }

    /// A look at it says that it is back: the next request tries it.
    pub(super) fn seen_back(&self) {
        let mut inside = self.inside();
        if let State::Open(until) = &mut inside.state {
            *until = (*until).min(self.clock.mono());
            inside.said_back = true;
        }
    }

    fn open(&self, inside: &mut Inside, time: Duration) {
        inside.state = State::Open(self.clock.mono().saturating_add(time));
        inside.said_back = false;
        self.left_alone.set(1);
    }
}

impl Leave {
    /// It answered.
    pub(super) fn answered(mut self) {
        self.tries = false;
        *self.breaker.inside() = Inside { state: State::Closed(0), said_back: false, unlooked: false };
        self.breaker.left_alone.set(0);
    }

    /// It failed. What the request itself was to blame for says nothing of the service.
    pub(super) fn failed(mut self, error: &ProviderError) {
        if matches!(error.kind, ErrorKind::BadRequest | ErrorKind::NotConfigured | ErrorKind::Busy) {
            return;
        }
        let tried = std::mem::take(&mut self.tries);
        let breaker = &self.breaker;
        let mut inside = breaker.inside();
        match (inside.state, error.retry_after) {
            // it says itself how long, and is not left alone for longer than one that is down
            (State::Closed(_), Some(time)) => {
                inside.unlooked = true;
                breaker.open(&mut inside, time.min(breaker.whole));
            }
            (State::Closed(before), None) if before + 1 >= breaker.errors => breaker.open(&mut inside, breaker.whole),
            (State::Closed(before), None) => inside.state = State::Closed(before + 1),
            (State::Tried, _) if tried => {
                inside.unlooked |= inside.said_back;
                breaker.open(&mut inside, breaker.whole);
            }
            // asked in need, or before it was left alone
            (State::Open(_) | State::Tried, _) => {}
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if self.tries {
            // nobody waited for what came of the try: the next request may try
            self.breaker.inside().state = State::Open(self.breaker.clock.mono());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;
    use crate::domain::{ManualClock, Span, Wall};

    fn breaker() -> (Arc<ManualClock>, Arc<Breaker>) {
        let clock = Arc::new(ManualClock::new(Wall(1)));
        let settings = Settings { errors: 3, left_alone: Span::secs(10), ..Settings::default() };
        (Arc::clone(&clock), Breaker::new(&settings, clock, Gauge::default()))
    }

    fn error(kind: ErrorKind) -> ProviderError {
        ProviderError::new(kind, "chat", "no")
    }

    fn fails(breaker: &Arc<Breaker>, times: usize) {
        for _ in 0..times {
            breaker.leave().unwrap().failed(&error(ErrorKind::Unavailable));
        }
    }

    #[test]
    fn it_is_left_alone_after_failures_in_a_row_and_not_after_as_many_with_an_answer_between() {
        let (_, breaker) = breaker();
        fails(&breaker, 2);
        breaker.leave().unwrap().answered();
        fails(&breaker, 2);
        assert!(breaker.leave().is_some());
        fails(&breaker, 1);
        assert!(breaker.leave().is_none());
        assert_eq!(breaker.left_alone.get(), 1);
    }

    #[test]
    fn when_its_time_is_over_one_request_tries_it_and_the_others_wait_for_what_comes_of_it() {
        let (clock, breaker) = breaker();
        fails(&breaker, 3);
        clock.advance(Duration::from_secs(10));
        let first = breaker.leave().unwrap();
        assert!(breaker.leave().is_none());
        first.failed(&error(ErrorKind::Timeout));
        assert!(breaker.leave().is_none(), "for the whole time again");
        clock.advance(Duration::from_secs(10));
        breaker.leave().unwrap().answered();
        assert!(breaker.leave().is_some());
        assert_eq!(breaker.left_alone.get(), 0);
    }

    #[test]
    fn a_try_whose_answer_nobody_waited_for_leaves_the_try_to_the_next() {
        let (clock, breaker) = breaker();
        fails(&breaker, 3);
        clock.advance(Duration::from_secs(10));
        drop(breaker.leave().unwrap());
        breaker.leave().unwrap().answered();
    }

    #[test]
    fn a_request_that_is_wrong_says_nothing_of_the_service() {
        let (_, breaker) = breaker();
        for _ in 0..9 {
            breaker.leave().unwrap().failed(&error(ErrorKind::BadRequest));
        }
        assert!(breaker.leave().is_some());
    }

    #[test]
    fn a_service_that_asks_to_be_left_alone_is_left_alone_as_long_as_it_says_and_no_longer_than_any() {
        let (clock, breaker) = breaker();
        let asks =
            |secs| ProviderError { retry_after: Some(Duration::from_secs(secs)), ..error(ErrorKind::RateLimited) };
        breaker.leave().unwrap().failed(&asks(2));
        assert!(breaker.leave().is_none());
        assert!(!breaker.wants_a_look(), "it said itself how long");
        clock.advance(Duration::from_secs(2));
        breaker.leave().unwrap().answered();
        breaker.leave().unwrap().failed(&asks(3_600));
        clock.advance(Duration::from_secs(10));
        assert!(breaker.leave().is_some());
    }

    #[test]
    fn an_answer_in_need_ends_its_time() {
        let (_, breaker) = breaker();
        fails(&breaker, 3);
        breaker.in_need().failed(&error(ErrorKind::Timeout));
        assert!(breaker.leave().is_none());
        breaker.in_need().answered();
        assert!(breaker.leave().is_some());
    }

    #[test]
    fn a_look_that_says_that_it_is_back_is_followed_by_a_try_and_believed_no_more_when_it_was_wrong() {
        let (clock, breaker) = breaker();
        assert!(!breaker.wants_a_look(), "it is asked anyway");
        fails(&breaker, 3);
        assert!(breaker.wants_a_look());
        breaker.seen_back();
        breaker.leave().unwrap().failed(&error(ErrorKind::Timeout));
        assert!(!breaker.wants_a_look());
        assert_eq!(breaker.standing(), Standing::LeftAlone(Duration::from_secs(10)));
        clock.advance(Duration::from_secs(10));
        breaker.leave().unwrap().answered();
        fails(&breaker, 3);
        assert!(breaker.wants_a_look(), "it has answered since");
        breaker.seen_back();
        breaker.leave().unwrap().answered();
        assert_eq!(breaker.standing(), Standing::Asked);
    }
}
