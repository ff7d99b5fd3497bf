//! What the lifelog counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Days moved out of the store.
pub const MOVED: &str = "voxgate_lifelog_days_moved";
/// Blocks of day files that were damaged when read.
pub const DAMAGED: &str = "voxgate_lifelog_blocks_damaged";
/// Images stored.
pub const IMAGES: &str = "voxgate_lifelog_images";

/// The lifelog's counters.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(super) moved: Counter,
    pub(super) damaged: Counter,
    pub(super) images: Counter,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(MOVED, "Days of entries moved out of the store, into a file each", metrics.moved.clone());
        registry.register(DAMAGED, "Damaged blocks of day files that a query left out", metrics.damaged.clone());
        registry.register(IMAGES, "Images stored as files", metrics.images.clone());
        metrics
    }
}
