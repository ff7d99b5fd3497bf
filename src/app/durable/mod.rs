//! What it costs to make numbers durable: real sessions on a real store, without doors, codecs and providers.
//!
//! For `voxgate bench store`. A device says one thing, waits until it is acknowledged, and says the next: the whole way
//! of a number, from the session's lane to the disk and back. Knows nothing of the command line.

mod day;
mod fleet;
mod kills;
mod load;
#[cfg(feature = "bench-sqlite")]
mod sqlite;

/// What is opened, and the year of a fleet that is opened: `cli` knows of rooms only through this one.
pub use crate::lifelog::measure::{Filled, Reopened, Year, reopen, year};
pub use crate::store::Settings as StoreSettings;
pub use day::{Day, day};
pub use kills::{Killed, child, kills};
pub use load::{Figures, Load, SyncTime, sessions, store_alone, sync_time};
#[cfg(feature = "bench-sqlite")]
pub use sqlite::{Commit, sqlite};

use crate::domain::IdError;
use crate::lifelog::{ImageError, measure::MeasureError};
use crate::store::StoreError;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An image could not be kept.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The year could not be lived.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// A file or a process could not be used.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A made-up id is no id: a fault of ours.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A session ended, or did not answer.
    #[error("a session did not answer: {0}")]
    Session(&'static str),
    /// SQLite failed.
    #[error("sqlite: {0}")]
    Sqlite(String),
    /// What was promised does not hold.
    #[error("{0}")]
    Broken(String),
}
