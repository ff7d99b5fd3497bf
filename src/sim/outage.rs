//! Times at which simulated devices were without a gateway that they had not left: how soon they were back.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Losses within this time of each other are one outage.
const TOGETHER: f64 = 30.0;
/// The first wait before a device connects again; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How long a device waits before it tries again for the `n`th time, from 0. Stock firmware waits longer, about 10 s.
pub fn wait(n: u32) -> Duration {
    (FIRST_WAIT * 2_u32.saturating_pow(n.min(8))).min(LONGEST_WAIT)
}

/// One device that lost the gateway and found it again; seconds since the first word of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Away {
    /// The connection was lost.
    pub lost: f64,
    /// It was in a conversation again.
    pub hello: f64,
    /// It had an answer again.
    pub answered: f64,
}

/// What they have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outage {
    /// When the first device lost the gateway, seconds since the first word.
    pub at_s: f64,
    /// How many did.
    pub devices: usize,
    /// From `at_s` until the last of them was in a conversation again, s.
    pub talking_s: f64,
    /// From `at_s` until the last of them had the end of an answer again, s.
    pub answered_s: f64,
}

impl Outage {
    /// Sums up.
    pub fn of(mut all: Vec<Away>) -> Vec<Self> {
        all.sort_by(|a, b| a.lost.total_cmp(&b.lost));
        let mut outages: Vec<Self> = Vec::new();
        for away in all {
            let same = outages.last_mut().filter(|outage| away.lost - outage.at_s < TOGETHER);
            let Some(outage) = same else {
                let (talking_s, answered_s) = (away.hello - away.lost, away.answered - away.lost);
                outages.push(Self { at_s: away.lost, devices: 1, talking_s, answered_s });
                continue;
            };
            outage.devices += 1;
            outage.talking_s = outage.talking_s.max(away.hello - outage.at_s);
            outage.answered_s = outage.answered_s.max(away.answered - outage.at_s);
        }
        outages
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} devices without the gateway at {:.0} s: all talked again after {:.1} s, all had an answer after {:.1} s",
            self.devices, self.at_s, self.talking_s, self.answered_s
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_one_moment_are_one_outage_and_the_last_device_counts() {
        let away = |lost, hello, answered| Away { lost, hello, answered };
        let found = Outage::of(vec![away(10.5, 12.0, 16.0), away(10.0, 11.0, 19.0), away(100.0, 101.0, 104.0)]);
        let expected = Outage { at_s: 10.0, devices: 2, talking_s: 2.0, answered_s: 9.0 };
        assert_eq!(found, [expected, Outage { at_s: 100.0, devices: 1, talking_s: 1.0, answered_s: 4.0 }]);
    }

    #[test]
    fn a_device_does_not_knock_without_end() {
        assert_eq!([wait(0), wait(2), wait(40)], [FIRST_WAIT, Duration::from_secs(1), LONGEST_WAIT]);
    }
}
