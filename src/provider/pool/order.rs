//! In which order the services of a pool are asked for one request. Pure: chance is an argument.

use super::complexity::Complexity;
use super::settings::Suits;

/// What the order depends on, of one service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Choice {
    /// As configured.
    pub(super) weight: Option<u32>,
    /// What it is multiplied with now.
    pub(super) factor: f64,
    pub(super) cost: f64,
    pub(super) suits: Suits,
}

impl Choice {
    /// The present weight; a service without a word about it has 1 beside those that have one.
    pub(super) fn present(&self) -> f64 {
        f64::from(self.weight.unwrap_or(1)) * self.factor
    }

    fn fits(&self, complexity: Option<Complexity>) -> bool {
        !matches!(
            (self.suits, complexity),
            (Suits::Simple, Some(Complexity::Complex)) | (Suits::Complex, Some(Complexity::Simple))
        )
    }
}

/// All services, the one that is asked first at the front. `chance` gives numbers of [0, 1).
pub(super) fn order(
    services: &[Choice],
    complexity: Option<Complexity>,
    mut chance: impl FnMut() -> f64,
) -> Vec<usize> {
    let shared = services.iter().any(|service| service.weight.is_some());
    let mut ranked: Vec<(bool, f64, usize)> = Vec::with_capacity(services.len());
    for (n, service) in services.iter().enumerate() {
        let rank = match shared {
            false => service.cost,
            // each waits for an event of its own rate: the first to come is drawn by weight, and so are all after it
            true if service.present() > 0.0 => -(1.0 - chance()).ln() / service.present(),
            true => f64::INFINITY,
        };
        ranked.push((!service.fits(complexity), rank, n));
    }
    ranked.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    ranked.into_iter().map(|(_, _, n)| n).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Choice = Choice { weight: None, factor: 1.0, cost: 0.0, suits: Suits::All };

    fn weighed(weight: u32) -> Choice {
        Choice { weight: Some(weight), ..PLAIN }
    }

    /// Numbers of [0, 1), evenly spread, always the same.
    fn spread() -> impl FnMut() -> f64 {
        let mut at = 0.0_f64;
        move || {
            at = (at + 0.618_033_988_749_895).fract();
            at
        }
    }

    #[test]
    fn without_a_word_about_it_the_order_of_the_file_counts_and_with_costs_the_cheapest_is_first() {
        assert_eq!(order(&[PLAIN; 3], None, || 0.5), [0, 1, 2]);
        let costs = [2.0, 0.5, 0.5].map(|cost| Choice { cost, ..PLAIN });
        assert_eq!(order(&costs, None, || 0.5), [1, 2, 0]);
    }

    #[test]
    fn requests_are_shared_by_weight() {
        let services = [weighed(80), weighed(20)];
        let mut chance = spread();
        let first = (0..10_000).filter(|_| order(&services, None, &mut chance)[0] == 0).count();
        assert!((7_700..8_300).contains(&first), "{first} of 10000 instead of about 8000");
    }

    #[test]
    fn a_weight_of_nothing_only_stands_in() {
        let services = [weighed(0), weighed(1)];
        let mut chance = spread();
        assert!((0..1_000).all(|_| order(&services, None, &mut chance) == [1, 0]));
    }

    #[test]
    fn who_is_for_other_requests_stands_in_all_the_same() {
        let small = Choice { suits: Suits::Simple, ..PLAIN };
        let large = Choice { suits: Suits::Complex, ..PLAIN };
        assert_eq!(order(&[small, large], Some(Complexity::Complex), || 0.5), [1, 0]);
        assert_eq!(order(&[large, small], Some(Complexity::Simple), || 0.5), [1, 0]);
        assert_eq!(order(&[large, small], None, || 0.5), [0, 1]);
    }

    proptest! {
        #[test]
        fn everybody_is_in_it_once(
            weights in proptest::collection::vec(proptest::option::of(0_u32..1_000), 0..8),
            chances in proptest::collection::vec(0.0..1.0_f64, 8),
        ) {
            let services: Vec<_> = weights.into_iter().map(|weight| Choice { weight, ..PLAIN }).collect();
            let mut chances = chances.into_iter().cycle();
            let mut order = order(&services, None, || chances.next().unwrap_or(0.0));
            order.sort_unstable();
            prop_assert!(order.into_iter().eq(0..services.len()));
        }
    }
}
