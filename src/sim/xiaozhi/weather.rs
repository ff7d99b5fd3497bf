//! What happens to datagrams on their way between a simulated device and the gateway.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Arrives,
    /// It does not.
    Lost,
    /// It arrives behind the one that follows it.
    Overtaken,
}

/// A way that loses datagrams in both directions, and mixes up those of the device. A stream has no weather.
#[derive(Debug)]
pub struct Weather {
    loss: f64,
    reorder: f64,
    random: StdRng,
    /// Datagrams of the gateway that it took.
    pub taken: u32,
}

impl Weather {
    /// Shares, 0.0 to 1.0, of what is lost and of what is overtaken; the same `seed` makes the same weather.
    pub fn new(loss: f64, reorder: f64, seed: u64) -> Self {
        let share = |share: f64| if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        Self { loss: share(loss), reorder: share(reorder), random: StdRng::seed_from_u64(seed), taken: 0 }
    }

    /// Nothing happens.
    pub fn fine() -> Self {
        Self::new(0.0, 0.0, 0)
    }

    /// Datagrams get lost.
    pub fn takes(&self) -> bool {
        self.loss > 0.0
    }

    /// For a datagram of the device.
    pub fn up(&mut self) -> Fate {
        if self.chance(self.loss) {
            Fate::Lost
        } else if self.chance(self.reorder) {
            Fate::Overtaken
        } else {
            Fate::Arrives
        }
    }

    /// Whether a datagram of the gateway arrives.
    pub fn down(&mut self) -> bool {
        let lost = self.chance(self.loss);
        self.taken += u32::from(lost);
        !lost
    }

    /// Whether something happens that happens with this share.
    pub fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.random.random_bool(share.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_about_the_share_that_it_is_given_and_the_same_each_time() {
        let lost = |seed| {
            let mut weather = Weather::new(0.1, 0.0, seed);
            (0..10_000).filter(|_| weather.up() == Fate::Lost).count()
        };
        assert!((800..1_200).contains(&lost(1)), "{}", lost(1));
        assert_eq!(lost(2), lost(2));
        let mut fine = Weather::fine();
        assert!((0..1_000).all(|_| fine.up() == Fate::Arrives && fine.down()));
        assert_eq!(Weather::new(f64::NAN, 7.0, 0).up(), Fate::Overtaken);
    }
}
