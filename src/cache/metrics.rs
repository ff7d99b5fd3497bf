//! What caches count: asked and found, kept and dropped, and the share that was found.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Name;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    cache: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    cache: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Gone {
    cache: &'static str,
    why: &'static str,
}

/// What was found.
const RESULTS: [&str; 4] = ["memory", "disk", "exact", "semantic"];
const MISS: &str = "miss";

/// Why something is not, or no longer, kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It was there too long, or nobody asked for it.
    Old,
    /// Others needed its room, or it is too large.
    Room,
    /// Whoever keeps it has too much to do.
    Busy,
    /// Its file is not whole.
    Torn,
    /// A file that is none of the cache's.
    Foreign,
    /// The disk does not take it.
    Disk,
    /// An operator said so, or the service is another.
    Cleared,
}

impl Why {
    const ALL: [Self; 7] = [Why::Old, Why::Room, Why::Busy, Why::Torn, Why::Foreign, Why::Disk, Why::Cleared];

    fn name(self) -> &'static str {
        match self {
            Why::Old => "old",
            Why::Room => "room",
            Why::Busy => "busy",
            Why::Torn => "torn",
            Why::Foreign => "foreign",
            Why::Disk => "disk",
            Why::Cleared => "cleared",
        }
    }
}

/// Counters of all caches; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    lookups: Family<Asked, Counter>,
    kept: Family<Of, Counter>,
    dropped: Family<Gone, Counter>,
    entries: Family<Of, Gauge>,
    bytes: Family<Of, Gauge>,
    rate: Family<Of, Gauge<f64, AtomicU64>>,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "voxgate_cache_lookups",
            "What caches were asked for, by where it was found: speech in memory or on the disk, answers exactly or by their meaning",
            metrics.lookups.clone(),
        );
        registry.register("voxgate_cache_kept", "What caches took in", metrics.kept.clone());
        registry.register(
            "voxgate_cache_dropped",
            "What caches did not take in or keep: old, room for others, busy, files that are torn or foreign, a disk that fails, cleared",
            metrics.dropped.clone(),
        );
        registry.register("voxgate_cache_entries", "What caches hold", metrics.entries.clone());
        registry.register("voxgate_cache_bytes", "How much caches hold", metrics.bytes.clone());
        registry.register(
            "voxgate_cache_hit_rate",
            "Share of lookups since the start that found something, 0 to 1",
            metrics.rate.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for cache in Name::ALL {
            let of = Of { cache: cache.name() };
            for result in RESULTS.into_iter().chain([MISS]) {
                drop(self.lookups.get_or_create(&Asked { cache: of.cache, result }));
            }
            for why in Why::ALL {
                drop(self.dropped.get_or_create(&Gone { cache: of.cache, why: why.name() }));
            }
            drop(self.kept.get_or_create(&of));
            drop(self.entries.get_or_create(&of));
            drop(self.bytes.get_or_create(&of));
            drop(self.rate.get_or_create(&of));
        }
    }

    /// Those of one cache.
    pub(super) fn of(&self, cache: Name) -> Tally {
        Tally { cache: cache.name(), metrics: self.clone() }
    }
}

/// The counters of one cache.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    cache: &'static str,
    metrics: Metrics,
}

impl Tally {
    /// Something was found there.
    pub(super) fn hit(&self, result: &'static str) {
        debug_assert!(RESULTS.contains(&result), "a result without a label");
        self.asked(result);
    }

    pub(super) fn miss(&self) {
        self.asked(MISS);
    }

    fn asked(&self, result: &'static str) {
        self.metrics.lookups.get_or_create(&Asked { cache: self.cache, result }).inc();
        let (hits, misses) = self.asked_so_far();
        #[allow(clippy::cast_precision_loss, reason = "a share of counts far below 2^52")]
        self.metrics.rate.get_or_create(&self.label()).set(hits as f64 / (hits + misses).max(1) as f64);
    }

    pub(super) fn kept(&self) {
        self.metrics.kept.get_or_create(&self.label()).inc();
    }

    pub(super) fn dropped(&self, why: Why, count: usize) {
        if count > 0 {
            let gone = Gone { cache: self.cache, why: why.name() };
            self.metrics.dropped.get_or_create(&gone).inc_by(count as u64);
        }
    }

    pub(super) fn holds(&self, entries: u64, bytes: u64) {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.entries.get_or_create(&self.label()).set(number(entries));
        self.metrics.bytes.get_or_create(&self.label()).set(number(bytes));
    }

    /// Hits and misses since the start.
    pub(super) fn asked_so_far(&self) -> (u64, u64) {
        let count = |result| self.metrics.lookups.get(&Asked { cache: self.cache, result }).map_or(0, |c| c.get());
        (RESULTS.into_iter().map(count).sum(), count(MISS))
    }

    /// How many were dropped because of `why`.
    #[cfg(test)]
    pub(super) fn gone(&self, why: Why) -> u64 {
        self.metrics.dropped.get_or_create(&Gone { cache: self.cache, why: why.name() }).get()
    }

    fn label(&self) -> Of {
        Of { cache: self.cache }
    }
}
