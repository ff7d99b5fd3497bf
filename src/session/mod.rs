//! (being built)

pub mod window;
