//! Real clients: Debian's mosquitto_sub and mosquitto_pub.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::*;
use crate::domain::Settled;

async fn there() -> bool {
    let found = Command::new("mosquitto_sub").arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    if found.is_err() {
        println!("skipped: mosquitto_sub is not installed (Debian package mosquitto-clients)");
    }
    found.is_ok()
}

fn client(program: &str, fixture: &Fixture, user: &str) -> Command {
    let mut command = Command::new(program);
    let port = fixture.addr.port().to_string();
    command.args(["-h", "127.0.0.1", "-p", &port, "-u", user, "-P", fixture.secrets[user].reveal()]);
    command.kill_on_drop(true);
    command
}

#[tokio::test]
async fn mosquitto_sub_tells_the_story_that_mosquitto_pub_makes() {
    if !there().await {
        return;
    }
    for version in ["mqttv311", "mqttv5"] {
        let mut fixture = Fixture::new().await;
        let mut watcher = client("mosquitto_sub", &fixture, "operator")
            .args(["-V", version, "-t", "device/#", "-t", "gateway/#", "-v", "-q", "1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
        until("it subscribes", || fixture.bus.hub().watched("gateway/x", None)).await;
        let said = String::from_utf8(typed("good morning")).unwrap();
        let mut publisher = client("mosquitto_pub", &fixture, "dev1")
            .args(["-V", version, "-t", "device/dev1/control", "-q", "1", "-m", &said])
            .spawn()
            .unwrap();
        let uplink = fixture.uplink().await;
        assert_eq!(uplink.origin.device, device("dev1"));
        uplink.receipt.settle(Settled::Durable);
        assert!(publisher.wait().await.unwrap().success(), "it waits for PUBACK");
        let expected = [
            "device/dev1/status online".into(),
            format!("device/dev1/control {said}"),
            "device/dev1/status offline".into(),
        ];
        for line in expected {
            let got = tokio::time::timeout(Duration::from_secs(5), lines.next_line()).await.expect("no line");
            assert_eq!(got.unwrap(), Some(line), "{version}");
        }
        watcher.kill().await.unwrap();
        fixture.stop().await;
    }
}

#[tokio::test]
async fn the_first_five_minutes_work_with_one_identity_in_two_programs() {
    if !there().await {
        return;
    }
    let mut fixture = Fixture::new().await;
    let mut listener = client("mosquitto_sub", &fixture, "dev1")
        .args(["-t", "device/dev1/down/#", "-C", "1", "-v"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let link = fixture.link().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), audio(1)).unwrap();
    let sent = client("mosquitto_pub", &fixture, "dev1")
        .args(["-t", "device/dev1/audio", "-f", file.path().to_str().unwrap()])
        .status()
        .await
        .unwrap();
    assert!(sent.success());
    until("heard", || fixture.recorder.audio.load(Ordering::SeqCst) == 1).await;
    link.send(down("device/dev1/down/control", b"welcome", PacketKind::Control)).unwrap();
    let out = BufReader::new(listener.stdout.take().unwrap()).lines().next_line().await.unwrap();
    assert_eq!(out.as_deref(), Some("device/dev1/down/control welcome"));
    listener.wait().await.unwrap();
    fixture.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_said_to_mosquitto() {
    if !there().await {
        return;
    }
    let fixture = Fixture::new().await;
    let port = fixture.addr.port().to_string();
    let mut command = Command::new("mosquitto_sub");
    command.args(["-h", "127.0.0.1", "-p", &port, "-u", "dev1", "-P", "wrong", "-t", "x"]);
    let out = command.output().await.unwrap();
    assert!(!out.status.success());
    let said = String::from_utf8_lossy(&out.stderr).to_lowercase();
    assert!(said.contains("not authori") || said.contains("bad user name"), "{said}");
    fixture.stop().await;
}
