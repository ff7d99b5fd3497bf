//! Bytes to domain values and back: one folder a dialect, one file a format.
//!
//! Everything here is total: any bytes give a value or a [`WireError`], never a panic and never an
//! allocation that a length field asked for. It must not know transports, sessions or the store.

pub mod wyoming;
