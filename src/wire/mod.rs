//! Bytes ↔ domain, one folder a protocol.

pub mod wyoming;
