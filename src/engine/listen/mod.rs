//! The two listeners of the engine process.

pub mod http;
pub mod wyoming;
