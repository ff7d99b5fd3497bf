//! What the store counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::StoreError;

/// Batches made durable.
pub const COMMITS: &str = "voxgate_store_commits";
/// Commit groups written to the journal.
pub const GROUPS: &str = "voxgate_store_groups";
/// Bytes written to the journal.
pub const BYTES: &str = "voxgate_store_journal";
/// How long a sync of the journal took.
pub const SYNC: &str = "voxgate_store_journal_sync";
/// How long flush and sync of sled took.
pub const SLED_SYNC: &str = "voxgate_store_sled_sync";
/// Batches that wait.
pub const QUEUE: &str = "voxgate_store_queue";
/// What was refused or failed, by kind.
pub const ERRORS: &str = "voxgate_store_errors";
/// How often sled was dropped and opened again.
pub const REOPENED: &str = "voxgate_store_reopened";
/// sled's size on disk.
pub const SLED_SIZE: &str = "voxgate_store_sled_size";
/// Free bytes of the disk.
pub const FREE: &str = "voxgate_store_disk_free";

/// Every [`StoreError::kind`].
const KINDS: [&str; 6] = ["write", "damaged", "format", "locked", "closed", "busy"];

/// The kind of a [`StoreError`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabels {
    /// `write`, `damaged`, `format`, `locked`, `closed`, `busy`.
    pub kind: &'static str,
}

/// The store's counters.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) commits: Counter,
    pub(crate) groups: Counter,
    pub(crate) bytes: Counter,
    pub(crate) sync: Histogram,
    pub(crate) sled_sync: Histogram,
    pub(crate) queue: Gauge,
    pub(crate) errors: Family<ErrorLabels, Counter>,
    pub(crate) reopened: Counter,
    pub(crate) sled_size: Gauge,
    pub(crate) free: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        // 16 us to 0.5 s: a quiet virtual disk, an SSD, an SD card
        let buckets = || Histogram::new(exponential_buckets(0.000_016, 2.0, 16));
        let metrics = Self {
            commits: Counter::default(),
            groups: Counter::default(),
            bytes: Counter::default(),
            sync: buckets(),
            sled_sync: buckets(),
            queue: Gauge::default(),
            errors: Family::default(),
            reopened: Counter::default(),
            sled_size: Gauge::default(),
            free: Gauge::default(),
        };
        registry.register(COMMITS, "Batches of changes made durable", metrics.commits.clone());
        registry.register(
            GROUPS,
            "Commit groups written to the journal: one sync each, for all batches that waited",
            metrics.groups.clone(),
        );
        registry.register_with_unit(BYTES, "Bytes written to the journal", Unit::Bytes, metrics.bytes.clone());
        registry.register_with_unit(
            SYNC,
            "Time of a sync (fdatasync) of the journal",
            Unit::Seconds,
            metrics.sync.clone(),
        );
        registry.register_with_unit(
            SLED_SYNC,
            "Time of a flush and sync of sled's own files",
            Unit::Seconds,
            metrics.sled_sync.clone(),
        );
        registry.register(QUEUE, "Batches that wait for the writer", metrics.queue.clone());
        registry.register(ERRORS, "Calls of the store that were refused or failed", metrics.errors.clone());
        registry.register(REOPENED, "Times sled was opened again after an error", metrics.reopened.clone());
        registry.register_with_unit(SLED_SIZE, "Size of sled on disk", Unit::Bytes, metrics.sled_size.clone());
        registry.register_with_unit(FREE, "Free space of the store's disk", Unit::Bytes, metrics.free.clone());
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for kind in KINDS {
            drop(self.errors.get_or_create(&ErrorLabels { kind }));
        }
    }

    pub(crate) fn error(&self, error: &StoreError) {
        self.errors.get_or_create(&ErrorLabels { kind: error.kind() }).inc();
    }
}
