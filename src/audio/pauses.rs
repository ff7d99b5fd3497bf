//! How somebody pauses, and so how much silence ends his turn.
//!
//! Longer pauses are rarer; by how much, is learnt from each one that somebody makes in mid-speech. It knows lengths only.

use std::ops::RangeInclusive;

use crate::domain::UP_RATE;

/// What is shorter belongs to the words, a breath, closed lips: 200 ms, in samples.
const SHORTEST: u64 = UP_RATE as u64 / 5;
/// So much rarer than any pause is one that may be taken for the end: e to the power of this; 3 in 100.
const RARE: f64 = 3.5;
/// Pauses that were taken for the end are mostly not heard as such: those that are known are shorter than all by so much (the mean
/// of an exponential law that is cut at 3.5 times its mean is 0.89 of it).
const UNHEARD: f64 = 1.12;
/// What is believed of somebody who was not heard yet counts as so many pauses.
const BELIEF: f64 = 8.0;
/// How much less each pause counts once another has come: some fifty of them count.
const FADES: f64 = 0.98;

/// The pauses of whoever speaks to a device. Lengths are samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pauses {
    least: u64,
    most: u64,
    /// By how much pauses are longer than the shortest, on average, as long as nothing else is known.
    believed: f64,
    /// By how much those that were heard were longer, together.
    longer: f64,
    heard: f64,
}

impl Pauses {
    /// Of somebody who was not heard yet: his turns end with `silence`, later ones with something `within`.
    pub fn new(silence: u64, within: RangeInclusive<u64>) -> Self {
        let (least, most) = within.into_inner();
        let believed = length(silence.saturating_sub(SHORTEST)) / (RARE * UNHEARD);
        Self { least: least.min(silence), most: most.max(silence), believed, longer: 0.0, heard: 0.0 }
    }

    /// Somebody paused for so long, and spoke on.
    pub fn paused(&mut self, pause: u64) {
        if pause >= SHORTEST {
            self.longer = self.longer * FADES + length(pause - SHORTEST);
            self.heard = self.heard * FADES + 1.0;
        }
    }

    /// So much silence ends a turn.
    pub fn silence(&self) -> u64 {
        let mean = (self.believed * BELIEF + self.longer) / (BELIEF + self.heard);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of samples, never below 0")]
        let more = (mean * RARE * UNHEARD).round() as u64;
        (SHORTEST + more).clamp(self.least, self.most)
    }

    /// The same in milliseconds.
    pub fn silence_ms(&self) -> u64 {
        self.silence() * 1_000 / u64::from(UP_RATE)
    }
}

fn length(samples: u64) -> f64 {
    u32::try_from(samples).unwrap_or(u32::MAX).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "made-up numbers are in range")]

    use crate::audio::endpoint::Settings;
    use crate::audio::testing::Dice;

    /// After so many pauses of this length.
    fn after(count: usize, pause: u64) -> u64 {
        let mut pauses = Settings::default().pauses();
        (0..count).for_each(|_| pauses.paused(pause * 16));
        pauses.silence_ms()
    }

    #[test]
    fn nobody_is_waited_for_longer_before_he_has_paused() {
        assert_eq!(Settings::default().pauses().silence_ms(), 480);
        assert_eq!(after(50, 120), 480, "what belongs to the words is no pause");
    }

    #[test]
    fn who_pauses_for_long_is_given_time_and_who_does_not_is_answered_sooner() {
        assert!((500..700).contains(&after(3, 450)), "{}", after(3, 450));
        assert_eq!(after(60, 450), 900, "but not more than the most");
        assert_eq!(after(60, 205), 400, "and not less than the least");
        assert!(after(60, 450) > after(5, 450) && after(5, 450) > after(1, 450));
    }

    #[test]
    fn where_it_is_off_all_are_waited_for_alike() {
        let mut pauses = Settings { adapt: false, ..Settings::default() }.pauses();
        (0..60).for_each(|_| pauses.paused(460 * 16));
        assert_eq!(pauses.silence_ms(), 480);
    }

    #[test]
    fn somebody_else_at_the_same_device_is_known_after_some_fifty_pauses() {
        let mut pauses = Settings::default().pauses();
        (0..200).for_each(|_| pauses.paused(470 * 16));
        (0..100).for_each(|_| pauses.paused(210 * 16));
        assert!(pauses.silence_ms() < 500, "{}", pauses.silence_ms());
    }

    /// Pauses whose lengths are drawn as the rule believes them to be.
    fn drawn(mean: f64, dice: &mut Dice) -> u64 {
        let share = (dice.unit() + 1.000_001) / 2.000_001;
        ((200.0 - mean * share.ln()) * 16.0) as u64
    }

    #[test]
    #[ignore = "prints the table of docs/BENCHMARKS.md"]
    fn what_learning_is_worth() {
        println!("| mean pause | fixed 480 ms: cut off | learnt: cut off | waits |\n|---|---|---|---|");
        for mean in [20, 40, 80, 120, 160, 240] {
            let (mut dice, mut pauses) = (Dice(7), Settings::default().pauses());
            let (mut cut, mut cut_fixed, mut waits) = (0_u32, 0_u32, 0_u64);
            for _ in 0..20_000 {
                let pause = drawn(f64::from(mean), &mut dice);
                let silence = pauses.silence();
                waits += silence / 16;
                cut_fixed += u32::from(pause > 480 * 16);
                cut += u32::from(pause > silence);
                // what is cut off in `auto` mode is not heard, and nothing is learnt from it
                if pause <= silence {
                    pauses.paused(pause);
                }
            }
            let share = |cut: u32| f64::from(cut) / 200.0;
            println!("| {} ms | {:.1} % | {:.1} % | {} ms |", 200 + mean, share(cut_fixed), share(cut), waits / 20_000);
        }
    }
}
