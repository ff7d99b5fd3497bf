//! A simulated device with stock xiaozhi firmware: both of its transports, and strict about what it is sent.

mod board;
mod camera;
mod socket;
mod strict;
mod talk;

pub use board::{Board, BoardError, Heard, Path};
pub use camera::Camera;
pub use strict::{Mode, State, Strict};
pub use talk::{Exchange, Weather, exchange};
