//! `voxgate bench turn` and `bench admission` from their words to their figures, with test providers; nothing is timed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::process::{Command, Stdio};

use serde_json::Value;

/// What it found, and whether it ended with 0.
fn bench(args: &[&str]) -> (Value, bool) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxgate"));
    command.args(["bench", "turn", "--json", "--turns", "1", "--dir"]).arg(dir.path()).args(args);
    let done = command.stdin(Stdio::null()).output().expect("runs");
    let said = String::from_utf8_lossy(&done.stderr);
    let found = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(dir.path().read_dir().expect("the folder").next().is_none(), "it cleans up: {said}");
    (found, done.status.success())
}

#[test]
fn every_turn_is_answered_and_the_delays_of_cloud_services_are_told_apart_from_what_the_gateway_adds() {
    let (found, done) = bench(&["--only", "instant,cloud", "--devices", "2"]);
    assert!(done, "{found:#}");
    let runs = found["runs"].as_array().unwrap();
    let who: Vec<_> = runs.iter().map(|run| run["answers"].as_str().unwrap()).collect();
    assert_eq!(who, ["instant", "cloud"]);
    for run in runs {
        assert_eq!(run["found"]["report"]["answered"], 2, "{run:#}");
        assert_eq!(run["found"]["gateway"]["own_ms"]["count"], 2, "{run:#}");
    }
    let providers = |run: &Value| run["found"]["gateway"]["stages_ms"]["providers"]["p50"].as_f64().unwrap();
    assert!(providers(&runs[1]) >= 799.0, "the three delays are waited for, and are the providers': {:#}", runs[1]);
    assert!(providers(&runs[0]) < providers(&runs[1]));
    let bars: Vec<_> = found["bars"].as_array().unwrap().iter().map(|bar| bar["what"].as_str().unwrap()).collect();
    assert_eq!(bars, ["adds at 2, p50", "adds at 2, p99", "cloud services at 2, first audio p50"]);
}

#[test]
fn who_waits_for_a_service_is_counted_and_drawn() {
    let dir = tempfile::tempdir().expect("a folder");
    let plot = dir.path().join("admission.svg");
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxgate"));
    command.args(["bench", "admission", "--json", "--talkers", "2", "--at-once", "1", "--takes", "20"]);
    command.args(["--pause", "100", "--tasks", "1", "--seconds", "1", "--plot"]).arg(&plot);
    let done = command.stdin(Stdio::null()).output().expect("runs");
    let found: Value = serde_json::from_slice(&done.stdout).expect("one run, one object");
    for order in ["classes", "first_come"] {
        for who in ["live", "greetings", "tasks"] {
            assert!(found[order][who]["first_ms"]["count"].as_u64().unwrap() > 0, "{order} {who}: {found:#}");
        }
        assert!(found[order]["live"]["first_ms"]["p50"].as_f64().unwrap() >= 20.0, "{found:#}");
    }
    assert!(std::fs::read_to_string(plot).unwrap().contains("max_wait"));
}
