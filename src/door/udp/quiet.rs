//! Lines about bad datagrams: one a minute of each kind at most, whoever is to blame.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Between two lines of one kind.
const PAUSE: Duration = Duration::from_mins(1);

/// Remembers when the last line was written. Costs a flood no lock.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// Milliseconds of the clock's monotonic time.
    until: AtomicU64,
    unsaid: AtomicU64,
}

impl Quiet {
    /// May a line be logged now? Says how many were not since the last one.
    pub fn may_say(&self, now: Duration) -> Option<u64> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (until, now) = (self.until.load(Ordering::Relaxed), ms(now));
        let next = now.saturating_add(ms(PAUSE));
        // of two that come at once one speaks
        let mine =
            now >= until && self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            return Some(self.unsaid.swap(0, Ordering::Relaxed));
        }
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_a_minute_which_says_how_many_there_were() {
        let quiet = Quiet::default();
        let at = Duration::from_secs;
        assert_eq!(quiet.may_say(at(5)), Some(0));
        for second in 5..65 {
            assert_eq!(quiet.may_say(at(second)), None);
        }
        assert_eq!(quiet.may_say(at(65)), Some(60));
        assert_eq!(quiet.may_say(at(66)), None);
    }
}
