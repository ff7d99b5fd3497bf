//! The configuration from outside: every shipped file loads, every wrong one is told whole.
//!
//! `tests/data/config/NAME.toml` is a wrong file, `NAME.txt` every complaint about it
//! (`UPDATE_DOCS=1` writes it again: read the difference before committing it).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use voxgate::config;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    files
}

#[test]
fn every_shipped_configuration_loads() {
    let mut files = files("config");
    // the models' manifest, which the models' own tests read
    files.retain(|path| !path.ends_with("models.toml"));
    assert!(!files.is_empty());
    for path in files {
        if let Err(error) = config::load(&path) {
            panic!("{error}");
        }
    }
}

#[test]
fn every_example_of_the_page_on_services_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/providers.md")).expect("readable");
    let examples: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 5, "{examples:?}");
    for example in examples {
        // a file and a variable that are there
        let there = root.join("Cargo.toml").display().to_string();
        let lines = example.lines().map(|line| match line.split_once(" = ") {
            Some(("api_key_file", _)) => format!("api_key_file = {there:?}\n"),
            Some(("api_key_env", _)) => "api_key_env = \"PATH\"\n".to_owned(),
            _ => format!("{line}\n"),
        });
        if let Err(error) = config::parse("providers.md", &lines.collect::<String>()) {
            panic!("{example}\n{error}");
        }
    }
}

#[test]
fn every_mistake_of_a_wrong_file_is_told_in_one_run_with_line_key_and_remedy() {
    let files = files("tests/data/config");
    assert!(!files.is_empty());
    for path in files {
        let text = fs::read_to_string(&path).expect("readable");
        let name = path.file_name().expect("a name").to_string_lossy();
        let error = config::parse(&name, &text).expect_err(&name).to_string() + "\n";
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&expected, &error).expect("writes");
        }
        assert_eq!(error, fs::read_to_string(&expected).unwrap_or_default(), "{}", expected.display());
    }
}

#[test]
fn a_file_that_is_not_there_is_told_with_the_command_that_makes_one() {
    let error = config::load(Path::new("/nowhere/voxgate.toml")).expect_err("is not there").to_string();
    assert!(error.contains("/nowhere/voxgate.toml") && error.contains("voxgate config example"), "{error}");
}

#[test]
fn the_file_that_is_asked_for_wins_over_the_environment_and_that_over_the_usual_place() {
    let env = || Some("/from/env.toml".into());
    assert_eq!(config::path(Some(Path::new("/asked.toml")), env()), Path::new("/asked.toml"));
    assert_eq!(config::path(None, env()), Path::new("/from/env.toml"));
    assert_eq!(config::path(None, Some("".into())), Path::new(config::DEFAULT_PATH));
}
