//! A simulated device with stock xiaozhi firmware: both of its transports, and strict about what it is sent.

mod board;
mod bootstrap;
mod camera;
mod socket;
mod strict;
mod talk;
mod weather;

pub use board::{Board, BoardError, Heard, Path};
pub use bootstrap::{Bootstrap, BootstrapError, Told};
pub use camera::Camera;
pub use strict::{Mode, State, Strict};
pub use talk::{Exchange, Talk, exchange};
pub use weather::{Fate, Weather};

pub use crate::wire::xiaozhi::frames::Version;
