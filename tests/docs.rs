//! What is generated from the code is fresh. `UPDATE_DOCS=1 cargo test --test docs` writes it again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

/// The file is what the code says now.
fn fresh(file: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, now).unwrap_or_else(|e| panic!("{file}: {e}"));
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == now, "{file} is stale: run `UPDATE_DOCS=1 cargo test --test docs` and commit it");
}

#[test]
fn the_example_configuration_is_fresh() {
    fresh("config/voxgate.toml", &voxgate::config::example());
}

#[test]
fn the_schema_of_the_configuration_is_fresh() {
    fresh("config/schema.json", &voxgate::config::schema_text());
}

#[test]
fn the_reference_of_the_configuration_is_fresh() {
    fresh("docs/configuration.md", &voxgate::config::reference());
}

#[test]
fn the_reference_of_the_command_line_is_fresh() {
    fresh("docs/cli.md", &voxgate::cli::reference());
}
