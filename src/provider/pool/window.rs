//! What was measured of one service lately: time to the first of an answer, and failures minute by minute.

use std::collections::VecDeque;
use std::time::Duration;

/// Answers that are remembered.
const KEPT: usize = 128;
/// What is older than this says nothing of now.
const RECENT: Duration = Duration::from_mins(10);
/// Minutes whose failures count.
const MINUTES: u64 = 5;
/// Fewer answers have no 95th of a hundred.
const ENOUGH_FOR_TAIL: usize = 20;
/// Fewer answers have no middle that is worth the name.
const ENOUGH_FOR_MIDDLE: usize = 5;

/// What was measured of one service.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// When, and how long the first took.
    firsts: VecDeque<(Duration, Duration)>,
    minutes: VecDeque<Minute>,
}

#[derive(Debug)]
struct Minute {
    number: u64,
    asked: u64,
    failed: u64,
}

impl Window {
    /// The first of an answer came, or would not have come sooner.
    pub(super) fn first(&mut self, now: Duration, took: Duration) {
        if self.firsts.len() == KEPT {
            self.firsts.pop_front();
        }
        self.firsts.push_back((now, took));
    }

    /// A request has ended.
    pub(super) fn ended(&mut self, now: Duration, failed: bool) {
        let number = now.as_secs() / 60;
        self.forget(number);
        if self.minutes.back().is_none_or(|minute| minute.number != number) {
            self.minutes.push_back(Minute { number, asked: 0, failed: 0 });
        }
        if let Some(minute) = self.minutes.back_mut() {
            minute.asked += 1;
            minute.failed += u64::from(failed);
        }
    }

    fn forget(&mut self, number: u64) {
        while self.minutes.front().is_some_and(|minute| minute.number + MINUTES <= number) {
            self.minutes.pop_front();
        }
    }

    /// Requests of the last five minutes, and those of them that failed.
    pub(super) fn errors(&self, now: Duration) -> (u64, u64) {
        let number = now.as_secs() / 60;
        let recent = self.minutes.iter().filter(|minute| minute.number + MINUTES > number);
        recent.fold((0, 0), |(asked, failed), minute| (asked + minute.asked, failed + minute.failed))
    }

    /// The time that half of the answers were faster than.
    pub(super) fn p50(&self, now: Duration) -> Option<Duration> {
        self.share(now, 50, ENOUGH_FOR_MIDDLE)
    }

    /// The time that 95 of 100 answers were faster than.
    pub(super) fn p95(&self, now: Duration) -> Option<Duration> {
        self.share(now, 95, ENOUGH_FOR_TAIL)
    }

    fn share(&self, now: Duration, percent: usize, enough: usize) -> Option<Duration> {
        let recent = self.firsts.iter().filter(|(at, _)| now.saturating_sub(*at) < RECENT);
        let mut times: Vec<Duration> = recent.map(|(_, took)| *took).collect();
        if times.len() < enough {
            return None;
        }
        let nth = (times.len() * percent).div_ceil(100).saturating_sub(1);
        Some(*times.select_nth_unstable(nth).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_middle_and_the_tail_are_those_of_what_was_measured() {
        let mut window = Window::default();
        for ms in 1..=19 {
            window.first(MS(0), MS(ms));
        }
        assert_eq!((window.p50(MS(0)), window.p95(MS(0))), (Some(MS(10)), None));
        for ms in 20..=100 {
            window.first(MS(0), MS(ms));
        }
        assert_eq!((window.p50(MS(0)), window.p95(MS(0))), (Some(MS(50)), Some(MS(95))));
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut window = Window::default();
        (0..50).for_each(|_| window.first(MS(0), MS(7)));
        assert_eq!(window.p95(RECENT), None);
        window.ended(MS(0), true);
        window.ended(MS(61_000), false);
        assert_eq!(window.errors(MS(61_000)), (2, 1));
        assert_eq!(window.errors(MS(300_000)), (1, 0));
        assert_eq!(window.errors(MS(3_600_000)), (0, 0));
    }

    #[test]
    fn however_many_there_are_only_the_last_are_kept() {
        let mut window = Window::default();
        (0..10_000).for_each(|_| window.first(MS(0), MS(500)));
        (0..KEPT).for_each(|_| window.first(MS(1), MS(5)));
        assert_eq!(window.p95(MS(1)), Some(MS(5)));
        (0..10_000).for_each(|second| window.ended(MS(second * 1_000), false));
        assert!(window.minutes.len() <= 6);
    }
}
