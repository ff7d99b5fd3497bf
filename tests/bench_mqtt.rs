//! `voxgate bench mqtt` from its words to its counts: real brokers, real messages, nothing timed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::process::{Command, Stdio};

use serde_json::Value;

/// What it found, and whether it ended with 0.
fn bench(args: &[&str]) -> (Value, bool) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxgate"));
    command.args(["bench", "mqtt", "--quick", "--json", "--dir"]).arg(dir.path()).args(args);
    let done = command.stdin(Stdio::null()).output().expect("runs");
    let said = String::from_utf8_lossy(&done.stderr);
    let found = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(dir.path().read_dir().expect("the folder").next().is_none(), "it cleans up: {said}");
    (found, done.status.success())
}

fn rows<'a>(found: &'a Value, case: &'a str, broker: &'a str) -> impl Iterator<Item = &'a Value> {
    let rows = found["rows"].as_array().expect("rows").iter();
    rows.filter(move |row| row["case"] == case && row["broker"] == broker)
}

#[test]
fn under_every_load_each_message_is_counted_and_none_is_missing() {
    let (found, _) = bench(&["--only", "a,b,c,d"]);
    for (case, messages) in [("a", 3), ("b", 2), ("c", 2), ("d", 3)] {
        let counted: Vec<_> = rows(&found, case, "voxgate").filter(|row| !row["lost"].is_null()).collect();
        assert_eq!(counted.len(), messages, "{found:#}");
        for row in counted {
            assert_eq!(row["lost"], 0, "{row}");
            assert!(row["median"].as_f64() > Some(0.0), "{row}");
        }
    }
    let faults: Vec<_> = found["rows"].as_array().unwrap().iter().filter(|row| row["unit"] == "times").collect();
    let ours: Vec<_> = faults.iter().filter(|row| row["broker"] == "voxgate").collect();
    assert!(ours.is_empty(), "nothing came again, out of order, or to nobody: {ours:?}");
    // the other broker is there or is not, and is never half there
    for case in ["a", "b", "c", "d"] {
        assert_eq!(rows(&found, case, "mosquitto").count() > 0, !found["mosquitto"].is_null(), "{found:#}");
    }
}

#[test]
fn connections_are_made_held_and_made_again_after_a_restart() {
    let (found, _) = bench(&["--alone", "--only", "e,f,g", "--connections", "60"]);
    assert_eq!(found["mosquitto"], Value::Null);
    assert_eq!(rows(&found, "e", "voxgate").count(), 2);
    assert_eq!(rows(&found, "f", "voxgate").count(), 4);
    let of = |what: &str| {
        let row = rows(&found, "g", "voxgate").find(|row| row["what"].as_str().unwrap().starts_with(what));
        row.unwrap_or_else(|| panic!("no {what} in {found:#}")).clone()
    };
    assert!(of("devices back")["median"].as_f64() > Some(0.0));
    assert_eq!(of("turns meanwhile that were not answered")["median"], 0.0, "{found:#}");
    assert_eq!(of("frames late at talking devices meanwhile, p99")["lost"], 0);
}

#[test]
fn a_missed_bar_ends_with_1_only_where_it_is_asked_for() {
    let (found, well) = bench(&["--alone", "--only", "b"]);
    assert!(well);
    let (checked, met) = bench(&["--alone", "--only", "b", "--check"]);
    assert_eq!(met, checked["bars"].as_array().unwrap().iter().all(|bar| bar["met"] == true), "{checked:#}");
    assert_eq!(found["rounds"], 1);
}
