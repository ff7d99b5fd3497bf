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

/// The breaker of one service. Share it as an `Arc`.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: Settings,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    left_alone: Gauge,
}

/// Leave to ask. Without a word about what came of it nothing is learnt: somebody did not want the answer any more.
#[derive(Debug)]
pub(super) struct Leave {
    breaker: Arc<Breaker>,
    /// It is the one request that tries a service that was left alone.
    tries: bool,
}

impl Breaker {
    pub(super) fn new(settings: Settings, clock: Arc<dyn Clock>, left_alone: Gauge) -> Arc<Self> {
        Arc::new(Self { settings, clock, state: Mutex::new(State::Closed(0)), left_alone })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // one assignment is all that is ever done under it
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to ask; none while it is left alone.
    pub(super) fn leave(self: &Arc<Self>) -> Option<Leave> {
        let mut state = self.state();
        let tries = match *state {
            State::Closed(_) => false,
            State::Open(until) if self.clock.mono() >= until => {
                *state = State::Tried;
                true
            }
            State::Open(_) | State::Tried => return None,
        };
        drop(state);
        Some(Leave { breaker: Arc::clone(self), tries })
    }

    /// Leave to ask all the same: there is nobody else.
    pub(super) fn in_need(self: &Arc<Self>) -> Leave {
        Leave { breaker: Arc::clone(self), tries: false }
    }

    /// When it may be asked again.
    pub(super) fn until(&self) -> Duration {
        match *self.state() {
            State::Closed(_) => Duration::ZERO,
            State::Open(until) => until,
            State::Tried => Duration::MAX,
        }
    }

    fn open(&self, state: &mut State, time: Duration) {
        *state = State::Open(self.clock.mono().saturating_add(time));
        self.left_alone.set(1);
    }
}

impl Leave {
    /// It answered.
    pub(super) fn answered(mut self) {
        self.tries = false;
        *self.breaker.state() = State::Closed(0);
        self.breaker.left_alone.set(0);
    }

    /// It failed. What the request itself was to blame for says nothing of the service.
    pub(super) fn failed(mut self, error: &ProviderError) {
        if matches!(error.kind, ErrorKind::BadRequest | ErrorKind::NotConfigured) {
            return;
        }
        let tried = std::mem::take(&mut self.tries);
        let breaker = &self.breaker;
        let mut state = breaker.state();
        let whole = breaker.settings.left_alone.0;
        match (*state, error.retry_after) {
            // it says itself how long, and is not left alone for longer than one that is down
            (State::Closed(_), Some(time)) => breaker.open(&mut state, time.min(whole)),
            (State::Closed(before), None) if before + 1 >= breaker.settings.errors => breaker.open(&mut state, whole),
            (State::Closed(before), None) => *state = State::Closed(before + 1),
            (State::Tried, _) if tried => breaker.open(&mut state, whole),
            // asked in need, or before it was left alone
            (State::Open(_) | State::Tried, _) => {}
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if self.tries {
            // nobody waited for what came of the try: the next request may try
            *self.breaker.state() = State::Open(self.breaker.clock.mono());
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
        let settings = Settings { errors: 3, left_alone: Span::secs(10) };
        (Arc::clone(&clock), Breaker::new(settings, clock, Gauge::default()))
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
}
