//! Time as an argument.
//!
//! Timers inside a task are tokio's (tests pause and move them); what is *written down* comes
//! from a [`Clock`], so that a test can move it by hand.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Wall time, milliseconds since 1970-01-01 UTC. 0 is "not known".
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct Wall(pub u64);

impl Wall {
    /// Days since 1970-01-01.
    pub fn day(self) -> u32 {
        u32::try_from(self.0 / 86_400_000).unwrap_or(u32::MAX)
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall time.
    fn wall(&self) -> Wall;
    /// Time since some fixed point, suspend included; never goes back.
    fn mono(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place where wall time comes from")]
    fn wall(&self) -> Wall {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn mono(&self) -> Duration {
        let spec = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
        spec.map(Duration::from).unwrap_or_default()
    }
}

/// A clock that is moved by hand.
#[derive(Debug)]
pub struct ManualClock {
    wall_ms: AtomicU64,
    mono_us: AtomicU64,
}

impl ManualClock {
    /// Starts at `wall`, with a monotonic time of 0.
    pub fn new(wall: Wall) -> Self {
        Self { wall_ms: AtomicU64::new(wall.0), mono_us: AtomicU64::new(0) }
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        self.wall_ms.fetch_add(u64::try_from(by.as_millis()).unwrap_or(0), Ordering::SeqCst);
        self.mono_us.fetch_add(u64::try_from(by.as_micros()).unwrap_or(0), Ordering::SeqCst);
    }

    /// Sets wall time, as NTP does.
    pub fn set_wall(&self, wall: Wall) {
        self.wall_ms.store(wall.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Wall {
        Wall(self.wall_ms.load(Ordering::SeqCst))
    }

    fn mono(&self) -> Duration {
        Duration::from_micros(self.mono_us.load(Ordering::SeqCst))
    }
}
