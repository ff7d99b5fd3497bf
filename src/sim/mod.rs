//! Simulated devices: what `voxgate demo`, `voxgate sim` and the tests connect with.
//!
//! A simulated device is a real MQTT client that speaks the native dialect, or a board with stock xiaozhi firmware on
//! either of its transports; it knows nothing of the gateway's inside. The test providers are here too, and only here.

pub mod admission;
pub mod bench;
pub mod demo;
pub mod device;
pub mod flood;
pub mod interrupt;
pub mod load;
pub mod outage;
pub mod plot;
pub mod providers;
pub mod report;
pub mod script;
pub mod service;
pub mod soak;
pub mod talker;
pub mod turn;
pub mod xiaozhi;
