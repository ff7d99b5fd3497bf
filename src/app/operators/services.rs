//! How the services stand, in the operators' words.

use std::time::Duration;

use crate::admin::{ProviderRow, ProviderState, WeightTerms};
use crate::provider::pool::{Pools, Standing, View};

/// Every service, pool by pool.
pub(super) fn rows(pools: &Pools) -> Vec<ProviderRow> {
    pools.views().iter().map(row).collect()
}

fn row(view: &View) -> ProviderRow {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (state, left) = match view.standing {
        Standing::Asked => (ProviderState::Asked, Duration::ZERO),
        Standing::LeftAlone(left) => (ProviderState::LeftAlone, left),
        Standing::Tried => (ProviderState::Tried, Duration::ZERO),
    };
    let why = view.why;
    ProviderRow {
        capability: view.capability.to_owned(),
        route: view.route,
        kind: view.kind.to_owned(),
        state,
        left_alone_ms: ms(left),
        weight: view.weight,
        present_weight: view.present,
        why: WeightTerms { latency: why.latency, errors: why.errors, load: why.load, cost: why.cost },
        cost: view.cost,
        suits: view.suits.name().to_owned(),
        in_flight: view.in_flight as u64,
        queued: view.queued as u64,
        at_once: view.at_once,
        p50_ms: view.p50.map(ms),
        p95_ms: view.p95.map(ms),
        asked: view.asked,
        failed: view.failed,
    }
}
