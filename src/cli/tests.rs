//! The command line from its words to what it prints.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
use std::fs;
use std::sync::Arc;

use clap::CommandFactory;

use crate::admin::testing::InMemory;

use super::*;

fn parses(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_and_every_option_says_what_it_is() {
    fn visit(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        assert!(command.get_about().is_some(), "{path} has no description");
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{path}: {} has no description", arg.get_id());
        }
        for inner in command.get_subcommands() {
            visit(inner, &path);
        }
    }
    visit(&Cli::command(), "");
}

#[test]
fn every_command_that_reads_prints_json_too() {
    for command in [
        "status",
        "device list",
        "operator list",
        "rule list",
        "session list",
        "lifelog list",
        "lifelog tail",
        "models list",
        "models verify",
        "config show",
        "say x y",
        "demo",
        "sim --wav f.wav",
        "bench",
    ] {
        parses(&format!("voxgate {command} --json")).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn a_password_is_no_argument() {
    assert!(parses("voxgate device add cane --password hush").is_err());
    assert!(parses("voxgate device add cane --password-file f").is_ok());
    assert!(parses("voxgate device password cane hush").is_err());
    assert!(parses("voxgate device password cane").is_err(), "it says what it shall be");
    assert!(parses("voxgate operator password anna --rotate --password-file f").is_err(), "one or the other");
}

#[test]
fn a_device_id_that_is_none_is_refused_before_anything_happens() {
    assert!(parses("voxgate device add a/b").is_err());
    assert!(parses("voxgate say a+b hello").is_err());
}

#[test]
fn wrong_configuration_and_a_gateway_that_is_not_there_have_codes_of_their_own() {
    let config = ConfigError::Unreadable { file: "f".into(), reason: "r".into(), remedy: "m".into() };
    assert_eq!(exit_code(&config.into()), 64);
    assert_eq!(exit_code(&AdminError::new(AdminErrorKind::NotRunning, "no").into()), 69);
    assert_eq!(exit_code(&AdminError::new(AdminErrorKind::NotFound, "no").into()), 1);
}

/// Runs a command line on `admin` and gives what it prints.
fn prints(admin: &Arc<InMemory>, line: &str) -> String {
    let mut out = Vec::new();
    let cli = parses(line).unwrap_or_else(|e| panic!("{e}"));
    let mut context = Context::of_test(Arc::clone(admin) as _, &mut out);
    dispatch(cli.command, &mut context).unwrap_or_else(|e| panic!("{line}: {e:#}"));
    String::from_utf8(out).expect("text")
}

#[test]
fn a_new_device_prints_its_password_and_nothing_else() {
    let admin = Arc::new(InMemory::default());
    assert_eq!(prints(&admin, "voxgate device add cane --tts-mode device_text"), "hush\n");
    assert_eq!(prints(&admin, "voxgate device add cane-2 --json"), "{\"user\":\"cane-2\",\"secret\":\"hush\"}\n");
    assert_eq!(
        prints(&admin, "voxgate device list"),
        "ID      ONLINE  DIALECT  TTS MODE     CREATED\n\
         cane    no      -        device_text  2023-11-14 22:13:20\n\
         cane-2  no      -        gateway      2023-11-14 22:13:20\n"
    );
    prints(&admin, "voxgate device remove cane");
    assert!(prints(&admin, "voxgate device list --json").starts_with("[{\"id\":\"cane-2\","));
}

#[test]
fn a_password_that_a_person_chose_is_taken_from_a_file_and_not_told_again() {
    let admin = Arc::new(InMemory::default());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    fs::write(&file, "correct horse\n").expect("writes");
    assert_eq!(prints(&admin, &format!("voxgate device add cane --password-file {}", file.display())), "");
    let devices = admin.devices.lock().expect("no panic");
    assert_eq!(devices[0].password.as_ref().map(|p| p.0.as_str()), Some("correct horse"));
}

#[test]
fn a_turn_in_the_lifelog_is_what_was_said() {
    let admin = Arc::new(InMemory::default());
    assert_eq!(
        prints(&admin, "voxgate lifelog list --device cane --since 2h --limit 5"),
        "2023-11-14 20:13:20  cane  turn  \"what time is it\" → \"It is noon.\"\n\
         2023-11-14 22:13:20  -  alert  level=\"warning\" limit=5\n"
    );
}

#[test]
fn the_status_names_what_is_missing_and_what_mends_it() {
    let admin = Arc::new(InMemory::default());
    assert_eq!(
        prints(&admin, "voxgate status"),
        "kitchen missing, voxgate 0.0.0, up 1h 1m\n\
         1 of 2 devices connected, 1 open sessions\n\
         listens: mqtt 0.0.0.0:1883\n\n\
         PART   STATE    DETAIL                 REMEDY\n\
         mqtt   ready    listens\n\
         speak  missing  no voice is installed  voxgate models pull\n"
    );
}
