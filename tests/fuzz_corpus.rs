//! What the fuzzers found worth keeping, played as an ordinary test: no toolchain but the usual one is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

#[path = "fuzz/drive/connection.rs"]
mod connection;
#[path = "fuzz/drive/packet.rs"]
mod packet;

/// The inputs of a target, and how many there are at least.
fn inputs(target: &str, least: usize) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let inputs: Vec<_> = files.map(|path| std::fs::read(path).unwrap()).collect();
    assert!(inputs.len() >= least, "{} holds {} inputs", folder.display(), inputs.len());
    inputs
}

#[test]
fn the_decoder_is_total_on_every_kept_input() {
    for input in inputs("packet", 50) {
        packet::drive(&input);
    }
}

#[test]
fn no_kept_input_of_a_client_harms_the_door_or_another_client() {
    let rig = connection::Rig::start();
    for input in inputs("connection", 50) {
        rig.drive(&input);
    }
}
