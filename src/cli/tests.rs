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
        "providers",
        "device list",
        "device pending",
        "device claim 123456",
        "firmware list",
        "operator list",
        "rule list",
        "session list",
        "cache stats",
        "cache clear speech",
        "cache warm",
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
    assert!(parses("voxgate device alert a+b hello").is_err());
    assert!(parses("voxgate device alert cane hello there --level critical --emotion sad").is_ok());
    assert!(parses("voxgate device alert cane hello --level loud").is_err());
    assert!(parses("voxgate device alert cane").is_err(), "there is nothing to show");
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
        "ID      NAME  ROOM  ONLINE  DIALECT  TTS MODE     CREATED\n\
         cane    -     -     no      -        device_text  2023-11-14 22:13:20\n\
         cane-2  -     -     no      -        gateway      2023-11-14 22:13:20\n"
    );
    prints(&admin, "voxgate device remove cane");
    assert!(prints(&admin, "voxgate device list --json").starts_with("[{\"id\":\"cane-2\","));
}

#[test]
fn what_is_set_of_a_device_is_what_was_named_and_a_prompt_comes_from_a_file_too() {
    let admin = Arc::new(InMemory::default());
    prints(&admin, "voxgate device add toy-7 --language de");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pirate.txt");
    fs::write(&file, "You are a pirate.\n").unwrap();
    prints(&admin, &format!("voxgate device set toy-7 --voice onyx --prompt-file {}", file.display()));
    prints(&admin, "voxgate device set toy-7 --transport websocket --name kitchen");
    let changed = admin.changed.lock().unwrap().clone();
    assert_eq!(
        (changed[0].voice.as_deref(), changed[0].prompt.as_deref()),
        (Some("onyx"), Some("You are a pirate.\n"))
    );
    assert_eq!((&changed[0].name, &changed[0].language, &changed[0].transport), (&None, &None, &None));
    assert_eq!((changed[1].name.as_deref(), changed[1].prompt.as_ref()), (Some("kitchen"), None));
    assert!(parses("voxgate device set toy-7 --prompt x --prompt-file y").is_err());
}

#[test]
fn a_link_for_a_browser_is_printed_and_nothing_else() {
    let admin = Arc::new(InMemory::default());
    assert_eq!(prints(&admin, "voxgate device talk laptop"), "http://localhost:8003/talk#hush\n");
    assert_eq!(
        prints(&admin, "voxgate device talk laptop --for 2m --json"),
        "{\"device\":\"laptop\",\"url\":\"http://localhost:8003/talk#hush\",\"until\":1700000120000,\"made\":true}\n"
    );
    assert!(parses("voxgate device talk laptop --for soon").is_err());
}

#[test]
fn a_board_that_waits_is_claimed_by_the_code_on_its_screen() {
    let admin = Arc::new(InMemory::default());
    assert_eq!(
        prints(&admin, "voxgate device pending"),
        "CODE    ID                 BOARD               ADDRESS       SINCE                WHY\n\
         123456  f4:12:fa:00:00:01  bread-compact-wifi  192.168.7.20  2023-11-14 22:13:20  new\n"
    );
    let told = prints(&admin, "voxgate device claim 123456 --name kitchen --transport websocket");
    assert!(told.starts_with("f4:12:fa:00:00:01 is a device now"), "{told}");
    assert_eq!(prints(&admin, "voxgate device claim 123456 --json"), "\"f4:12:fa:00:00:01\"\n");
}

#[test]
fn firmware_is_sent_in_parts_offered_to_a_share_and_held() {
    let admin = Arc::new(InMemory::default());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("xiaozhi.bin");
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| u8::try_from(n % 251).expect("a byte")).collect();
    fs::write(&file, &bytes).expect("writes");
    let told = prints(&admin, &format!("voxgate firmware add bread {} --share 10", file.display()));
    assert_eq!(told, "bread 2.4.2 is offered to 10 % of the boards, each when it next starts\n");
    assert_eq!(*admin.uploaded.lock().expect("no panic"), bytes);
    assert_eq!(prints(&admin, "voxgate firmware hold bread 2.4.2"), "bread 2.4.2 is held: no board is offered it\n");
    assert!(prints(&admin, "voxgate firmware list").contains("held"));
    assert!(parses("voxgate firmware rollout bread 2.4.2 101").is_err());
}

#[test]
fn caches_tell_what_they_hold_and_how_much_of_what_was_asked_they_had() {
    let admin = Arc::new(InMemory::default());
    let stats = prints(&admin, "voxgate cache stats");
    let speech = stats.lines().find(|line| line.starts_with("speech")).unwrap();
    assert_eq!(speech.split_whitespace().collect::<Vec<_>>(), ["speech", "on", "10", "15KB", "3", "1", "75", "%"]);
    assert!(prints(&admin, "voxgate cache stats --json").contains("\"misses\":1"));
    assert!(prints(&admin, "voxgate cache clear speech --json").contains("\"entries\":10"));
    assert!(prints(&admin, "voxgate cache warm --json").contains("\"there\":2"));
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

#[test]
fn services_are_shown_with_their_weights_and_the_terms_that_change_them() {
    let admin = Arc::new(InMemory::default());
    let shown = prints(&admin, "voxgate providers");
    let lines: Vec<Vec<&str>> =
        shown.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    let why = "latency 0.75 load 0.60 cost 2.00";
    assert_eq!(
        lines[1],
        ["chat", "0", "local", "asked", "80", "72.0", why, "2 of 2", "3", "600 ms", "1100 ms", "0 of 120"]
    );
    let second = ["chat", "1", "openai", "left alone 62 s", "-", "-", "-", "0", "0", "-", "-", "5 of 5"];
    assert_eq!(lines[2], second);
    assert!(
        prints(&admin, "voxgate providers --json")
            .starts_with("[{\"capability\":\"chat\",\"route\":0,\"type\":\"local\",")
    );
}
