//! The store as a whole, unhappy paths first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test may panic")]

mod open;
