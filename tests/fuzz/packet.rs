//! The MQTT decoder under any bytes.
#![no_main]

#[path = "drive/packet.rs"]
mod packet;

libfuzzer_sys::fuzz_target!(|data: &[u8]| packet::drive(data));
