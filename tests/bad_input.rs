//! Bad input from end to end: each story makes trouble on one device, one port or one file, and then shows that it
//! was told or counted, that what follows it works, and that another device was served meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

#[path = "bad_input/bus.rs"]
mod bus;
#[path = "bad_input/bytes.rs"]
mod bytes;
#[path = "bad_input/disk.rs"]
mod disk;
#[cfg(feature = "engine")]
#[path = "bad_input/engine.rs"]
mod engine;
#[path = "bad_input/numbers.rs"]
mod numbers;
#[path = "bad_input/providers.rs"]
mod providers;
#[path = "bad_input/speech.rs"]
mod speech;
#[path = "bad_input/store.rs"]
mod store;
