//! HTTP, two doors that share nothing but the protocol: the operators' own, and the one that devices begin at, where
//! their conversations over WebSocket and a page that makes a browser a device are mounted too.

pub mod control;
pub mod conversation;
pub mod devices;
pub mod operators;
pub mod talk;
pub mod vision;

/// Routes, for who mounts some of its own at the devices' door.
pub use axum::Router as Routes;
