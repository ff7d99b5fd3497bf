//! A whole MQTT door, and what a client may send to it.
#![no_main]

use std::sync::LazyLock;

#[path = "drive/connection.rs"]
mod connection;

static DOOR: LazyLock<connection::Rig> = LazyLock::new(connection::Rig::start);

libfuzzer_sys::fuzz_target!(|data: &[u8]| DOOR.drive(data));
