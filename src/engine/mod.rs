//! (being built)
pub mod speech;
