//! Voxgate: a voice and vision gateway in one binary.
//!
//! # Layout
//!
//! The folders are in the order in which a message travels; `docs/ARCHITECTURE.md` has the map and the
//! table of who may import whom, `tests/tidy.rs` holds it.

pub mod admin;
pub mod app;
pub mod audio;
pub mod bridge;
pub mod cache;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod domain;
pub mod door;
pub mod engine;
pub mod home_assistant;
pub mod lifelog;
pub mod models;
pub mod observe;
pub mod operations;
pub mod pipeline;
pub mod policy;
pub mod provider;
pub mod router;
pub mod session;
pub mod sim;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod topics;
pub mod wire;
