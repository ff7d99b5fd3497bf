//! Numbers that never repeat and need no record of their own.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts from the boot epoch times 2^32: greater than all of the runs before, without a read.
#[derive(Debug)]
pub struct Numbers(AtomicU64);

impl Numbers {
    /// The numbers of this run of the gateway; `boot` is [`super::super::Report::boot`].
    pub fn new(boot: u64) -> Self {
        Self(AtomicU64::new(boot << 32))
    }

    /// The next one.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
