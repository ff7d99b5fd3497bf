//! The real binary: what it prints and its exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

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

/// The certificate that a listener shows, as openssl prints it; none where openssl is not installed.
fn shown(address: &str, ca: &Path) -> Option<String> {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", address, "-verify_return_error", "-verify_hostname", "localhost", "-CAfile"]);
    let done = client.arg(ca).stdin(Stdio::null()).output().ok()?;
    assert!(done.status.success(), "{}", text(&done.stderr));
    let said = text(&done.stdout);
    let (begin, end) =
        (said.find("-----BEGIN CERT").expect("a certificate"), said.find("-----END CERT").expect("whole"));
    Some(said[begin..end].to_owned())
}

/// Waits for something outside this process.
async fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "no {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A gateway that ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn tls_in_a_minute_and_a_new_certificate_by_sighup() {
    let folder = tempfile::tempdir().expect("a folder");
    let tls = folder.path().join("tls");
    let out = tls.display().to_string();
    let create = ["tls", "create", "--name", "localhost", "--name", "127.0.0.1", "--out", &out];
    let made = voxgate(&create);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let again = voxgate(&create);
    assert!(!again.status.success() && text(&again.stderr).contains("--replace"), "{}", text(&again.stderr));
    let client = voxgate(&["tls", "client", "kitchen", "--dir", &out]);
    assert!(client.status.success() && text(&client.stdout).contains("kitchen.key"), "{}", text(&client.stderr));

    let (data, socket) = (folder.path().join("data"), folder.path().join("control.sock"));
    // what it printed is the configuration
    let file = config(
        folder.path(),
        &format!(
            "[gateway]\ndata_dir = {data:?}\n[control]\nsocket = {socket:?}\n[http]\nenabled = false\n[devices]\nenabled = false\n[udp]\nenabled = false\n[store]\nreserve = \"0\"\n\
             [mqtt]\nplain = false\n{}listen = \"127.0.0.1:0\"\n",
            text(&made.stdout)
        ),
    );
    let check = || voxgate(&["config", "check", "--config", &file]);
    assert!(check().status.success(), "{}", text(&check().stderr));

    let log = folder.path().join("log");
    let mut serve = Command::new(env!("CARGO_BIN_EXE_voxgate"));
    serve.args(["serve", "--config", &file]).stdin(Stdio::null()).stderr(fs::File::create(&log).expect("a log"));
    let serving = Serving(serve.spawn().expect("starts"));
    let address = wait("gateway", || {
        let status = voxgate(&["status", "--json", "--config", &file]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).ok()?;
        let listeners = status["listeners"].as_array()?.clone();
        assert!(listeners.iter().all(|listener| listener[0] != "mqtt"), "plain MQTT is off: {listeners:?}");
        Some(listeners.iter().find(|listener| listener[0] == "mqtts")?[1].as_str()?.to_owned())
    })
    .await;
    let first = shown(&address, &tls.join("ca.pem"));
    assert!(voxgate(&[&create[..], &["--replace"]].concat()).status.success());
    let hung_up = Command::new("kill").args(["-HUP", &serving.0.id().to_string()]).status().expect("kill");
    assert!(hung_up.success());
    wait("word of the new certificate", || {
        fs::read_to_string(&log).expect("the log").contains("the tls certificate was read anew").then_some(())
    })
    .await;
    if first.is_some() {
        assert_ne!(shown(&address, &tls.join("ca.pem")), first);
    }

    fs::write(tls.join("server.key"), "nonsense").expect("writes");
    let wrong = check();
    assert_eq!(wrong.status.code(), Some(64));
    let said = text(&wrong.stderr);
    assert!(
        said.contains("mqtt.tls.key: ") && said.contains("holds no private key") && said.contains("voxgate tls create"),
        "{said}"
    );
}
