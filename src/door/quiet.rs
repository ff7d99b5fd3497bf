//! How often the log is told what peers do wrong.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Of the lines about what peers do: one a second at most, whoever is to blame.
#[derive(Debug, Default)]
pub(super) struct Quiet(Mutex<(Option<Instant>, u64)>);

impl Quiet {
    /// May a line be logged now; says how many were not since the last one.
    pub fn may_log(&self) -> Option<u64> {
        let (until, unsaid) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if until.is_some_and(|until| now < until) {
            *unsaid += 1;
            return None;
        }
        *until = Some(now + Duration::from_secs(1));
        Some(std::mem::take(unsaid))
    }
}
