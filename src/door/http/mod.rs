//! HTTP, two doors that share nothing but the protocol: the operators' own, and the one that devices begin at.

pub mod conversation;
pub mod devices;
pub mod operators;
pub mod vision;

/// Routes, for who mounts some of its own at the devices' door.
pub use axum::Router as Routes;
