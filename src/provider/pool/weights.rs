//! How much of the requests a service gets: its configured weight times what was measured, within bounds.
//!
//! One pure function; `docs/providers.md` has it in words.

/// No service gets less than this times its configured weight, whatever was measured.
pub(super) const LEAST: f64 = 0.25;
/// Nor more than this.
pub(super) const MOST: f64 = 4.0;

/// What was measured of one service.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Measured {
    /// Seconds to the first of an answer, in the middle; none where too few were measured.
    pub(super) first: Option<f64>,
    /// The share of its requests that failed lately, 0 to 1.
    pub(super) errors: f64,
    /// The share of its time that it was at work, 0 to 1; 0 where it has no limit.
    pub(super) used: f64,
    /// What a request costs.
    pub(super) cost: f64,
}

/// The terms whose product, within [`LEAST`] and [`MOST`], a configured weight is multiplied with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Why {
    /// 0.5 to 2: slower than the others is less.
    pub latency: f64,
    /// 0 to 1: the square of the share that was answered.
    pub errors: f64,
    /// 0.5 to 1: at work all the time is one half.
    pub load: f64,
    /// 0.5 to 2: dearer than the others is less.
    pub cost: f64,
}

impl Default for Why {
    fn default() -> Self {
        Self { latency: 1.0, errors: 1.0, load: 1.0, cost: 1.0 }
    }
}

impl Why {
    /// What a configured weight is multiplied with.
    pub fn factor(&self) -> f64 {
        (self.latency * self.errors * self.load * self.cost).clamp(LEAST, MOST)
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// The terms of each service of a pool, in their order.
pub(super) fn terms(services: &[Measured]) -> Vec<Why> {
    let first = mean(services.iter().filter_map(|service| service.first));
    let cost = mean(services.iter().map(|service| service.cost)).filter(|cost| *cost > 0.0);
    let one = |service: &Measured| Why {
        latency: match (first, service.first) {
            (Some(all), Some(own)) if own > 0.0 => (all / own).clamp(0.5, 2.0),
            _ => 1.0,
        },
        errors: (1.0 - service.errors.clamp(0.0, 1.0)).powi(2),
        load: 1.0 - service.used.clamp(0.0, 1.0) / 2.0,
        cost: cost.map_or(1.0, |all| (2.0 / (1.0 + service.cost / all)).clamp(0.5, 2.0)),
    };
    services.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn measured() -> impl Strategy<Value = Measured> {
        (proptest::option::of(0.0..1e6_f64), 0.0..=1.0_f64, 0.0..=1.0_f64, 0.0..1e9_f64)
            .prop_map(|(first, errors, used, cost)| Measured { first, errors, used, cost })
    }

    fn factor(services: &[Measured], n: usize) -> f64 {
        terms(services)[n].factor()
    }

    #[test]
    fn services_that_do_equally_well_keep_their_weights() {
        let service = Measured { first: Some(0.3), cost: 2.0, ..Measured::default() };
        assert!(terms(&[service; 3]).iter().all(|why| *why == Why::default()));
        assert!(terms(&[Measured::default(); 2]).iter().all(|why| *why == Why::default()));
        assert!(terms(&[]).is_empty());
    }

    #[test]
    fn the_example_of_the_docs_comes_out_as_it_stands_there() {
        let local = Measured { first: Some(0.6), used: 0.8, ..Measured::default() };
        let remote = Measured { first: Some(0.3), errors: 0.1, cost: 1.0, ..Measured::default() };
        let rounded = |n: usize| (terms(&[local, remote])[n].factor() * 100.0).round() / 100.0;
        assert_eq!((rounded(0), rounded(1)), (0.9, 0.81));
    }

    proptest! {
        #[test]
        fn a_weight_stays_within_its_bounds_whatever_was_measured(
            services in proptest::collection::vec(measured(), 1..6)
        ) {
            for why in terms(&services) {
                prop_assert!((LEAST..=MOST).contains(&why.factor()), "{why:?}");
            }
        }

        #[test]
        fn slower_failing_busier_or_dearer_never_gets_more(
            services in proptest::collection::vec(measured(), 1..6),
            worse in measured(),
        ) {
            let before = factor(&services, 0);
            let own = services[0];
            let changes = [
                Measured { first: own.first.map(|first| first + worse.errors), ..own },
                Measured { errors: own.errors.max(worse.errors), ..own },
                Measured { used: own.used.max(worse.used), ..own },
                Measured { cost: own.cost + worse.cost, ..own },
            ];
            for changed in changes {
                let mut services = services.clone();
                services[0] = changed;
                // what is divided by a mean may differ in its last digit
                prop_assert!(factor(&services, 0) <= before * (1.0 + 1e-9), "{own:?} {changed:?}");
            }
        }
    }
}
