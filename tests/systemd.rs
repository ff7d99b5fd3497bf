//! The units as systemd reads them. Where systemd's tools are missing, each test says that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Exposure, times ten, that `systemd-analyze security` may find: 1.5.
const THRESHOLD: &str = "15";
const UNITS: [&str; 2] = ["voxgate.service", "voxgate-engine.service"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

/// Runs one of systemd's tools; its words when it fails. None: it is not installed.
fn run(tool: &str, args: &[&str]) -> Option<Result<(), String>> {
    let done = match Command::new(tool).args(args).output() {
        Ok(done) => done,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: {tool} is not installed");
            return None;
        }
        Err(error) => panic!("{tool}: {error}"),
    };
    let words = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    Some(if done.status.success() { Ok(()) } else { Err(words) })
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    // the units name /usr/bin/voxgate, which a machine that builds does not have
    let scratch = tempfile::tempdir().expect("a folder");
    let mut paths = Vec::new();
    for unit in UNITS {
        let text = fs::read_to_string(folder().join(unit)).expect(unit);
        let path = scratch.path().join(unit);
        fs::write(&path, text.replace("/usr/bin/voxgate", env!("CARGO_BIN_EXE_voxgate"))).expect("writes");
        paths.push(path.display().to_string());
    }
    let paths: Vec<&str> = ["verify", "--man=no"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    if let Some(Err(words)) = run("systemd-analyze", &paths) {
        panic!("{words}");
    }
}

#[test]
fn the_sandbox_leaves_little_exposed() {
    for unit in UNITS {
        let path = folder().join(unit).display().to_string();
        let threshold = format!("--threshold={THRESHOLD}");
        if let Some(Err(words)) = run("systemd-analyze", &["security", "--offline=true", &threshold, &path]) {
            panic!("{words}");
        }
    }
}

#[test]
fn a_loose_sandbox_would_be_noticed() {
    let scratch = tempfile::tempdir().expect("a folder");
    let path = scratch.path().join("loose.service");
    fs::write(&path, "[Service]\nExecStart=/bin/true\n").expect("writes");
    let threshold = format!("--threshold={THRESHOLD}");
    let path = path.display().to_string();
    if let Some(done) = run("systemd-analyze", &["security", "--offline=true", &threshold, &path]) {
        assert!(done.is_err(), "a unit without a sandbox passes: the check checks nothing");
    }
}

#[test]
fn user_and_folders_are_made_in_an_empty_root() {
    let root = tempfile::tempdir().expect("a folder");
    let root_arg = format!("--root={}", root.path().display());
    let lines = |name: &str| fs::read_to_string(folder().join(name)).expect(name);
    fs::create_dir_all(root.path().join("etc")).expect("makes it");
    let users = folder().join("voxgate.sysusers").display().to_string();
    if let Some(done) = run("systemd-sysusers", &[&root_arg, &users]) {
        assert_eq!(done, Ok(()));
        let passwd = fs::read_to_string(root.path().join("etc/passwd")).expect("is made");
        assert!(passwd.contains("voxgate:") && passwd.contains("/usr/sbin/nologin"), "{passwd}");
    }
    // making the folders needs root, for their owner
    for line in lines("voxgate.tmpfiles").lines().filter(|line| !line.starts_with('#')) {
        assert_eq!(line.split_whitespace().count(), 6, "{line}");
    }
}
