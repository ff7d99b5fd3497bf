//! The real binary: what it prints and its exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn voxgate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_voxgate")).args(args).env_remove("VOXGATE_CONFIG").output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A configuration in a folder of its own; gives its path.
fn config(folder: &Path, text: &str) -> String {
    let file = folder.join("voxgate.toml");
    fs::write(&file, text).expect("writes");
    file.display().to_string()
}

#[test]
fn a_wrong_configuration_ends_with_64_and_all_its_mistakes() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = config(folder.path(), "[htp]\n[log]\nformat = \"jsn\"\n");
    for command in [&["config", "check"][..], &["serve"], &["device", "list"]] {
        let done = voxgate(&[&["--config", file.as_str()], command].concat());
        let errors = text(&done.stderr);
        assert_eq!(done.status.code(), Some(64), "{command:?}: {errors}");
        assert!(errors.contains(":1: htp:") && errors.contains(":3: log.format:"), "{command:?}: {errors}");
    }
}

#[test]
fn without_a_gateway_a_question_to_it_ends_with_69_and_how_to_start_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("control.sock");
    let file = config(folder.path(), &format!("[control]\nsocket = {:?}\n", socket.display().to_string()));
    for command in [&["status"][..], &["session", "list"], &["say", "cane", "hello"], &["lifelog", "tail"]] {
        let done = voxgate(&[&["--config", file.as_str()], command].concat());
        let errors = text(&done.stderr);
        assert_eq!(done.status.code(), Some(69), "{command:?}: {errors}");
        assert!(errors.contains("is not running") && errors.contains("voxgate serve"), "{command:?}: {errors}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for args in [&["sing"][..], &["device", "add"], &["device", "add", "a/b"], &[]] {
        assert_eq!(voxgate(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn what_config_example_prints_is_a_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = config(folder.path(), &text(&voxgate(&["config", "example"]).stdout));
    let done = voxgate(&["config", "check", "--config", &file]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let shown = voxgate(&["config", "show", "--json", "--config", &file]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["gateway"]["name"], "voxgate");
}
