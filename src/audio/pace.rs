//! When to send which packet of an answer: a few ahead at once, then in real time.
//!
//! Plain arithmetic on durations since a start of the caller's choice; no clock, no socket.

use std::time::Duration;

/// Paces one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pacer {
    frame: Duration,
    ahead: u32,
    /// When the first packet of the present run went out; none before it.
    anchor: Option<Duration>,
    /// Packets of the present run.
    run: u32,
}

impl Pacer {
    /// Packets of `frame_ms` milliseconds; the device holds at most `ahead` of them unplayed (at least 1).
    pub fn new(frame_ms: u32, ahead: u32) -> Self {
        Self { frame: Duration::from_millis(u64::from(frame_ms)), ahead: ahead.max(1), anchor: None, run: 0 }
    }

    /// When packet `n` of an uninterrupted run is due, from the run's start.
    pub fn due(&self, n: u32) -> Duration {
        self.frame * n.saturating_sub(self.ahead - 1)
    }

    /// When the next packet, which is at hand at `now`, is to be sent; it counts as sent then. Never before `now`.
    /// After starvation (the device has played all that it got) a new run begins.
    pub fn schedule(&mut self, now: Duration) -> Duration {
        let anchor = match self.anchor {
            Some(anchor) if now < anchor + self.frame * self.run => anchor,
            _ => {
                self.anchor = Some(now);
                self.run = 0;
                now
            }
        };
        let due = anchor + self.due(self.run);
        self.run += 1;
        due.max(now)
    }

    /// The packet that was scheduled last left at `at`. One that comes when the device has played all before it, since the
    /// machine was late, begins a new run: what follows keeps its distance to it.
    pub fn left(&mut self, at: Duration) {
        if self.anchor.is_some_and(|anchor| at > anchor + self.frame * self.run.saturating_sub(1)) {
            self.anchor = Some(at);
            self.run = 1;
        }
    }

    /// When the device will have played all that was sent; zero when nothing was.
    pub fn played_at(&self) -> Duration {
        self.anchor.map_or(Duration::ZERO, |anchor| anchor + self.frame * self.run)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_few_go_at_once_and_the_others_in_real_time() {
        let mut pacer = Pacer::new(60, 3);
        let at: Vec<u128> = (0..6).map(|_| pacer.schedule(ms(100)).as_millis()).collect();
        assert_eq!(at, [100, 100, 100, 160, 220, 280]);
        assert_eq!(pacer.played_at(), ms(460));
        assert_eq!([0, 2, 3, 10].map(|n| pacer.due(n)), [ms(0), ms(0), ms(60), ms(480)]);
    }

    #[test]
    fn a_late_packet_goes_at_once_and_the_schedule_stands() {
        let mut pacer = Pacer::new(60, 3);
        for _ in 0..4 {
            pacer.schedule(ms(0));
        }
        // Due at 120; the device still plays until 240.
        assert_eq!(pacer.schedule(ms(200)), ms(200));
        assert_eq!(pacer.schedule(ms(200)), ms(200));
        assert_eq!(pacer.schedule(ms(200)), ms(240));
    }

    #[test]
    fn after_starvation_a_new_run_begins() {
        let mut pacer = Pacer::new(60, 2);
        assert_eq!([0, 0, 0].map(|now| pacer.schedule(ms(now))), [ms(0), ms(0), ms(60)]);
        assert_eq!([500, 500, 500].map(|now| pacer.schedule(ms(now))), [ms(500), ms(500), ms(560)]);
        assert_eq!(pacer.played_at(), ms(680));
    }

    #[test]
    fn nothing_ahead_is_one_ahead() {
        let mut pacer = Pacer::new(20, 0);
        assert_eq!([0, 0].map(|now| pacer.schedule(ms(now))), [ms(0), ms(20)]);
    }

    #[test]
    fn a_packet_that_leaves_too_late_ends_later_and_keeps_the_next_from_crowding() {
        let mut pacer = Pacer::new(60, 2);
        for _ in 0..3 {
            let at = pacer.schedule(ms(0));
            pacer.left(at);
        }
        // Due at 120, on its way at 400 only; the device had played all by 180.
        assert_eq!(pacer.schedule(ms(60)), ms(120));
        pacer.left(ms(400));
        assert_eq!(pacer.played_at(), ms(460));
        assert_eq!([0, 0].map(|_| pacer.schedule(ms(400))), [ms(400), ms(460)]);
    }

    proptest! {
        #[test]
        fn the_device_never_holds_more_than_so_many(
            ahead in 1u32..8,
            waits in proptest::collection::vec((0u64..300, 0u64..400), 1..100),
        ) {
            let mut pacer = Pacer::new(60, ahead);
            let (mut now, mut last, mut played) = (ms(0), ms(0), ms(0));
            for (wait, late) in waits {
                now += ms(wait);
                let at = pacer.schedule(now);
                prop_assert!(at >= last && at >= now);
                let at = at + ms(late);
                pacer.left(at);
                played = played.max(at) + ms(60);
                prop_assert_eq!(pacer.played_at(), played);
                prop_assert!(played <= at + ms(60) * ahead);
                (last, now) = (at, at);
            }
        }
    }
}
