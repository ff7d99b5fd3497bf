//! Which numbers of a channel were seen: a mark and the 63 numbers before it.
//!
//! It never moves back, and a number counts once: what was recorded and is sent again finds its number taken. (A
//! session's window is another: it knows what is durable, and begins anew for a device that lost its count.)

/// How many numbers it can tell apart, the mark's own included.
pub(super) const SIZE: u32 = 64;

/// Where a number lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// So far ahead of the mark, at least 1.
    Ahead(u32),
    /// Just before the mark and not seen.
    Hole,
    /// Seen.
    Seen,
    /// So far behind that nobody knows.
    Late,
}

/// The window of one channel's uplink: serial numbers (RFC 1982) from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// The highest number seen.
    mark: u32,
    /// Bit i: number `mark - i` was seen.
    seen: u64,
}

impl Window {
    /// Nothing came yet; 0 and what is before it is no number.
    pub fn new() -> Self {
        Self { mark: 0, seen: u64::MAX }
    }

    /// Looks where a number lies; changes nothing.
    pub fn place(&self, seq: u32) -> Place {
        let ahead = seq.wrapping_sub(self.mark);
        if ahead.cast_signed() > 0 {
            return Place::Ahead(ahead);
        }
        let back = self.mark.wrapping_sub(seq);
        if back >= SIZE {
            Place::Late
        } else if self.seen >> back & 1 == 1 {
            Place::Seen
        } else {
            Place::Hole
        }
    }

    /// Takes a number; one that is late changes nothing.
    pub fn take(&mut self, seq: u32) {
        match self.place(seq) {
            Place::Ahead(by) => {
                self.seen = self.seen.checked_shl(by).unwrap_or(0) | 1;
                self.mark = seq;
            }
            Place::Hole => self.seen |= 1 << self.mark.wrapping_sub(seq),
            Place::Seen | Place::Late => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_begin_at_one() {
        let window = Window::new();
        assert_eq!(window.place(0), Place::Seen);
        assert_eq!(window.place(u32::MAX), Place::Seen);
        assert_eq!(window.place(1), Place::Ahead(1));
        assert_eq!(window.place(u32::MAX - 100), Place::Late);
        assert_eq!(window.place(1 << 31), Place::Late);
    }

    #[test]
    fn a_hole_is_filled_once_and_what_is_far_behind_is_late() {
        let mut window = Window::new();
        for seq in [1, 4, 64] {
            window.take(seq);
        }
        assert_eq!(window.place(1), Place::Seen);
        assert_eq!(window.place(2), Place::Hole);
        window.take(2);
        assert_eq!(window.place(2), Place::Seen);
        window.take(65);
        assert_eq!(window.place(1), Place::Late);
        window.take(1_000);
        assert_eq!((window.place(999), window.place(936)), (Place::Hole, Place::Late));
    }

    proptest! {
        #[test]
        fn no_number_is_taken_twice_whatever_comes(steps in proptest::collection::vec((any::<bool>(), 0_u32..200), 1..300)) {
            let (mut window, mut taken, mut high) = (Window::new(), BTreeSet::new(), 0_u32);
            for (ahead, by) in steps {
                let seq = if ahead { high.wrapping_add(by) } else { high.wrapping_sub(by) };
                if matches!(window.place(seq), Place::Ahead(_) | Place::Hole) {
                    prop_assert!(taken.insert(seq), "{seq} twice");
                    window.take(seq);
                    high = if ahead { seq } else { high };
                }
                prop_assert!(matches!(window.place(seq), Place::Seen | Place::Late));
            }
        }
    }
}
