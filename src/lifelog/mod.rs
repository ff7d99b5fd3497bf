//! The lifelog: what happened, by device and time; entries, and images beside them.
//!
//! Entries of the last days are records of the store, so that one commits together with the mark of the
//! message that it stands for. Older days are moved into one file a day. Queries read both alike. This
//! room knows nothing of turns or sessions but their JSON.

mod cold;
mod day;
mod entry;
mod hot;
mod image;
pub mod measure;
mod metrics;
mod mover;
mod query;
mod settings;
mod tail;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

pub use entry::{Entry, Kind};
pub use image::{ImageError, ImageRef};
pub use metrics::Metrics;
pub use mover::Swept;
pub use query::{Cursor, Page, Query};
pub use settings::Settings;
pub use tail::Tail;

use crate::domain::{Clock, DeviceId, SessionId};
use crate::store::records::Numbers;
use crate::store::{Batch, Store, StoreError};

/// The lifelog of this gateway.
pub struct Lifelog {
    settings: Settings,
    /// `lifelog/` and `images/` are in here.
    dir: PathBuf,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    numbers: Arc<Numbers>,
    metrics: Metrics,
}

impl Lifelog {
    /// The lifelog whose files are in `dir` (`dir/lifelog`, `dir/images`). Makes the folders.
    pub fn open(
        settings: Settings,
        dir: &Path,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        numbers: Arc<Numbers>,
        metrics: &Metrics,
    ) -> Result<Self, StoreError> {
        let lifelog = Self { settings, dir: dir.to_owned(), store, clock, numbers, metrics: metrics.clone() };
        for folder in [lifelog.cold_dir(), lifelog.image_dir()] {
            std::fs::create_dir_all(&folder)
                .map_err(|e| StoreError::Write(format!("cannot make {}: {e}", folder.display())))?;
        }
        Ok(lifelog)
    }

    /// Adds an entry, dated now, to a batch: it is written when the batch is. Returns the entry.
    pub fn append(
        &self,
        batch: &mut Batch,
        device: &DeviceId,
        session: Option<&SessionId>,
        kind: Kind,
        body: Value,
    ) -> Result<Entry, StoreError> {
        let entry = Entry {
            n: self.numbers.next(),
            at: self.clock.wall(),
            device: device.clone(),
            session: session.cloned(),
            kind,
            body,
        };
        entry.put(batch)?;
        Ok(entry)
    }

    fn cold_dir(&self) -> PathBuf {
        self.dir.join("lifelog")
    }

    fn image_dir(&self) -> PathBuf {
        self.dir.join("images")
    }
}

#[cfg(test)]
mod tests;
