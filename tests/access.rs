//! Who may come in and do what, through the real binary: chosen passwords, mosquitto's files, rules, a lost key.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tempfile::TempDir;

use gateway::binary::{self, Binary};
use gateway::peer::{Got, Peer, Version, connect_packet};

/// Engines and providers are somebody else's test.
const BARE: &str = "[engine]\nstart = \"off\"\n[providers.stt]\ntype = \"off\"\n[providers.tts]\ntype = \"off\"\n\
                    [providers.chat]\ntype = \"off\"\n[providers.embed]\ntype = \"off\"\n";
/// Made by `mosquitto_passwd` 2.0.11 of `secret-of-anna` and `berts-password`.
const PASSWORDS: &str = "\
anna:$7$101$GgpN2FxsTQ6GQO9h$UCpAbfarcDXYDhK7ksXFuNOSzFj79BvzVA0caRhRs5moiCSLjzDb5aTgtwHoG4IuR4JIV5q1TOJ7aEMP1FDrPw==
bert:$7$101$o9SCJk/95j46/SKU$QuwZZJDrPQp4OkN8JQfBqbbgwZFrcqoL8Ae6prXj+J6yw0IHlfAdldyHyVFKteZ4XGUzrnkGz59RPQPIgHUwsg==
";
const RULES: &str = "\
topic read public/#
user anna
topic readwrite lights/#
topic deny lights/secret
pattern readwrite home/%u/#
";

/// A configuration without a gateway.
struct Offline {
    dir: TempDir,
    config: PathBuf,
}

impl Offline {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let config = binary::config(dir.path(), &dir.path().join("data"), BARE);
        Self { dir, config }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn run(&self, args: &[&str]) -> Output {
        binary::voxgate(&self.config, args).output().unwrap()
    }

    /// What it prints, when it succeeds.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The code of CONNACK (3.1.1).
async fn knock(addr: std::net::SocketAddr, user: &str, password: &str) -> u8 {
    let mut peer = Peer::open(addr).await;
    peer.send(&connect_packet(Version::V4, user, password)).await;
    match peer.next().await {
        Got::Packet(0x20, body) => body[1],
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chosen_password_must_be_long_and_may_come_from_standard_input() {
    let offline = Offline::new();
    let short = offline.file("short", "elevenchars\n");
    let refused = offline.run(&["device", "add", "cane", "--password-file", &short]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(errors(&refused).contains("at least 12"), "{}", errors(&refused));
    assert!(!errors(&refused).contains("elevenchars"));
    assert!(!offline.run(&["device", "password", "cane", "--rotate"]).status.success(), "there is no cane");
    let mut add = binary::voxgate(&offline.config, &["device", "add", "cane", "--password-file", "-"]);
    let mut add = add.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    add.stdin.take().unwrap().write_all(b"correct horse battery\n").unwrap();
    let added = add.wait_with_output().unwrap();
    assert!(added.status.success() && added.stdout.is_empty(), "a password that one knows is not told again");
    assert!(offline.ok(&["device", "list"]).contains("cane"));
    assert_eq!(offline.ok(&["device", "password", "cane", "--rotate"]).trim().len(), 43);
}

#[test]
fn files_of_mosquitto_are_taken_whole_or_not_at_all_and_only_once() {
    let offline = Offline::new();
    let passwords = offline.file("passwd", &format!("{PASSWORDS}\nevil/name:$6$c2FsdA==$aGFzaA==\nplain:hush-hush\n"));
    let rules = offline.file("acl", &format!("{RULES}allow everything\ntopic write $SYS/x\n"));
    let base = ["import", "mosquitto", "--password-file", &passwords, "--acl-file", &rules, "--operator", "anna"];
    let refused = offline.run(&base);
    let said = errors(&refused);
    assert_eq!(refused.status.code(), Some(1));
    for part in ["passwd:4: ", "passwd:5: ", "acl:6: ", "acl:7: ", "nothing was imported", "--partial"] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
    assert!(!said.contains("hush") && !said.contains("c2FsdA"), "{said}");
    assert!(offline.ok(&["device", "list", "--json"]).starts_with("[]"));
    let dry = offline.ok(&[&base[..], &["--partial", "--dry-run"]].concat());
    assert!(dry.contains("operator anna: would be added") && dry.contains("device bert: would be added"), "{dry}");
    assert!(offline.ok(&["rule", "list", "--json"]).starts_with("[]"));
    let done = offline.ok(&[&base[..], &["--partial"]].concat());
    assert!(done.contains("6 added, 0 there already, 4 lines not taken"), "{done}");
    let again = offline.ok(&[&base[..], &["--partial"]].concat());
    assert!(again.contains("0 added, 6 there already"), "{again}");
    assert_eq!(offline.ok(&["operator", "list"]).lines().count(), 2);
    assert_eq!(offline.ok(&["rule", "list"]).lines().count(), 5);
    let other = offline.run(&["import", "mosquitto", "--password-file", &passwords, "--viewer", "nobody"]);
    assert!(errors(&other).contains("there is no user nobody"), "{}", errors(&other));
}

#[tokio::test]
async fn imported_users_come_in_with_their_passwords_and_rules_count_at_once() {
    let offline = Offline::new();
    let (passwords, rules) = (offline.file("passwd", PASSWORDS), offline.file("acl", RULES));
    let binary = Binary::serve(BARE).await;
    let imported =
        binary.run(&["import", "mosquitto", "--password-file", &passwords, "--acl-file", &rules, "--viewer", "anna"]);
    assert!(imported.status.success(), "{}", errors(&imported));
    let addr = binary.addr("mqtt");
    assert_eq!(knock(addr, "anna", "berts-password").await, 4);
    assert_eq!(knock(addr, "bert", "berts-password").await, 0);
    let mut anna = Peer::connect(addr, Version::V5, "anna", "secret-of-anna").await;
    let mut bert = Peer::connect(addr, Version::V5, "bert", "berts-password").await;
    anna.subscribe("lights/#").await;
    for (topic, anna_may, bert_may) in [
        ("lights/hall", true, false),
        ("lights/secret", false, false),
        ("home/anna/door", true, false),
        ("home/bert/door", false, true),
        ("device/bert/status", false, false),
        ("device/anna/control", false, false),
    ] {
        for (peer, may) in [(&mut anna, anna_may), (&mut bert, bert_may)] {
            peer.publish_on(topic, 1, b"x").await;
            assert_eq!(peer.ack().await.1 < 0x80, may, "{topic}");
        }
    }
    let id =
        binary.json(&["rule", "add", "user:bert", "write", "lights/#", "--json"])["id"].as_str().unwrap().to_owned();
    bert.publish_on("lights/hall", 1, b"x").await;
    assert!(bert.ack().await.1 < 0x80, "the rule counts for a connection that is open");
    assert!(binary.run(&["rule", "remove", &id]).status.success());
    assert!(!binary.run(&["rule", "remove", &id]).status.success());
    bert.publish_on("lights/hall", 1, b"x").await;
    assert!(bert.ack().await.1 >= 0x80, "and so does its end");
    let log = binary.log();
    assert!(!log.contains("berts-password") && !log.contains("$7$") && !log.contains("$argon2id$"), "{log}");
}

#[tokio::test]
async fn another_password_ends_the_connections_that_came_in_with_the_old_one() {
    let offline = Offline::new();
    let chosen = offline.file("chosen", "correct horse battery\n");
    let binary = Binary::serve(BARE).await;
    let addr = binary.addr("mqtt");
    let old = binary.json(&["device", "add", "cane", "--json"])["secret"].as_str().unwrap().to_owned();
    let token = binary.json(&["operator", "add", "anna", "--json"])["secret"].as_str().unwrap().to_owned();
    let mut cane = Peer::connect(addr, Version::V4, "cane", &old).await;
    let mut anna = Peer::connect(addr, Version::V4, "anna", &token).await;
    assert!(binary.run(&["device", "password", "cane", "--password-file", &chosen]).status.success());
    cane.closed().await;
    assert_eq!(knock(addr, "cane", &old).await, 4);
    assert_eq!(knock(addr, "cane", "correct horse battery").await, 0);
    let new =
        binary.json(&["operator", "password", "anna", "--rotate", "--json"])["secret"].as_str().unwrap().to_owned();
    anna.closed().await;
    assert_eq!(knock(addr, "anna", &new).await, 0);
    let reset = binary.run(&["operator", "reset-key"]);
    assert!(errors(&reset).contains("stop it first"), "{}", errors(&reset));
}

fn lose_key(offline: &Offline) -> PathBuf {
    let key = offline.dir.path().join("data/credentials.key");
    fs::remove_file(&key).unwrap();
    key
}

#[test]
fn a_lost_key_can_be_mended_and_what_is_there_can_be_read_before() {
    let offline = Offline::new();
    let chosen = offline.file("chosen", "correct horse battery\n");
    offline.ok(&["device", "add", "cane-1"]);
    offline.ok(&["device", "add", "cane-2", "--password-file", &chosen]);
    offline.ok(&["operator", "add", "anna"]);
    let good = offline.run(&["operator", "reset-key"]);
    assert!(!good.status.success() && errors(&good).contains("--force"), "{}", errors(&good));
    let key = lose_key(&offline);
    assert!(offline.ok(&["device", "list"]).contains("cane-1"), "reading needs no key");
    let add = offline.run(&["device", "add", "cane-3"]);
    assert!(!add.status.success() && errors(&add).contains("reset-key"), "{}", errors(&add));
    assert_eq!(binary::voxgate(&offline.config, &["serve"]).output().unwrap().status.code(), Some(1));
    assert!(!key.exists(), "nothing makes a key by itself");
    let reset = offline.ok(&["operator", "reset-key"]);
    assert_eq!(reset, "voxgate operator password anna --rotate\nvoxgate device password cane-1 --rotate\n");
    assert_eq!(fs::metadata(Path::new(&key)).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(offline.ok(&["device", "password", "cane-1", "--rotate"]).trim().len(), 43);
}
