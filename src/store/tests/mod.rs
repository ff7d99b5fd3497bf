//! The store as a whole, unhappy paths first.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failing test may panic; a child process speaks to its test by stdout"
)]

mod damage;
mod full;
mod kill;
mod model;
mod open;
mod order;
mod power;
