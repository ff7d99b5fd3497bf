//! The real binary with its engine process: models that are missing, and an engine that is killed.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use voxgate::domain::{ControlKind, Downlink, Message};

use crate::gateway::answer::{answer, ask};
use crate::gateway::binary::{Binary, wait};
use crate::gateway::metrics::{get, value};
use crate::gateway::until;

/// The models that these stories need; none, and the reason printed, where they are not.
#[expect(clippy::print_stderr, reason = "why a test does nothing is said where it is seen")]
fn models() -> Option<PathBuf> {
    let dir = std::env::var_os("VOXGATE_MODELS").map(PathBuf::from);
    let has =
        |dir: &PathBuf| ["smollm2-135m-instruct-q8_0", "hibari"].iter().all(|m| dir.join(m).join("READY").is_file());
    let found = dir.filter(has);
    if found.is_none() {
        let required = std::env::var_os("VOXGATE_REQUIRE_MODELS").is_some_and(|value| value == "1");
        assert!(!required, "VOXGATE_REQUIRE_MODELS=1, but $VOXGATE_MODELS has no models (voxgate models pull)");
        eprintln!("skipped: $VOXGATE_MODELS has no models (voxgate models pull)");
    }
    found
}

fn settings(models: &Path) -> String {
    let models = models.display();
    format!(
        "[models]\ndir = \"{models}\"\n[engine]\nlisten_wyoming = \"127.0.0.1:0\"\nlisten_http = \"127.0.0.1:0\"\n\
         stt = \"off\"\nembed = \"off\"\n[voice.reply]\nmax_tokens = 8\n"
    )
}

/// What `status` says of a part.
fn part(gateway: &Binary, name: &str) -> serde_json::Value {
    let status = gateway.json(&["status", "--json"]);
    let found = status["health"]["components"].as_array().unwrap().iter().find(|c| c["name"] == name);
    found.unwrap().clone()
}

async fn ready(gateway: &Binary) {
    wait("engine that is ready", || (part(gateway, "engine")["state"] == "ready").then_some(())).await;
}

/// kill -9.
fn kill_engine(gateway: &Binary) {
    let children = gateway.children();
    let [engine] = children[..] else { panic!("not one engine, but {children:?}") };
    kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_killed_in_mid_turn_is_apologised_for_and_comes_back_by_itself() {
    let Some(models) = models() else { return };
    let mut gateway = Binary::serve(&settings(&models)).await;
    ready(&gateway).await;
    let mut device = gateway.device("cane-1", &[]).await;
    let mut other = gateway.device("other", &["--tts-mode", "device_text"]).await;
    let first = ask(&mut device, "why is the sky blue").await;
    assert!(first.errors.is_empty() && first.frames > 0 && !first.reply.is_empty(), "{first:?}");

    // while the model thinks
    device.control(None, ControlKind::Text("tell me a story about a cat".into())).await.unwrap();
    until(&mut device, |d| matches!(d, Downlink::Control { message: Message::Ack { seq: Some(2), .. }, .. })).await;
    kill_engine(&gateway);
    let meanwhile = ask(&mut other, "what time is it").await;
    assert!(meanwhile.errors.is_empty() && meanwhile.reply.starts_with("It's "), "{meanwhile:?}");
    let told = answer(&mut device).await;
    assert!(!told.errors.is_empty() && told.frames > 0 && told.spoken, "{told:?}");
    ready(&gateway).await;
    let next = ask(&mut device, "why is the grass green").await;
    assert!(next.errors.is_empty() && next.frames > 0 && !next.reply.is_empty(), "{next:?}");

    // while it speaks
    let words = "and then many more words follow, one after the other. ".repeat(40);
    assert!(gateway.run(&["say", "cane-1", &words]).status.success());
    until(&mut device, |d| matches!(d, Downlink::Audio(_))).await;
    kill_engine(&gateway);
    let told = answer(&mut device).await;
    assert!(!told.errors.is_empty() && told.frames > 0 && told.spoken, "{told:?}");
    ready(&gateway).await;
    let next = ask(&mut device, "what is two plus two").await;
    assert!(next.errors.is_empty() && next.frames > 0, "{next:?}");
    let (_, metrics) = get(gateway.addr("http"), "/metrics").await;
    assert_eq!(value(&metrics, "voxgate_engine_restarts_total", &[("reason", "exit")]), 2);
    assert!(gateway.alive());
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_models_the_remedy_is_named_and_what_needs_none_is_done() {
    let empty = tempfile::TempDir::new().unwrap();
    let mut gateway = Binary::serve(&settings(empty.path()).replace("stt = \"off\"\n", "")).await;
    let engine = wait("engine that says what it lacks", || {
        let engine = part(&gateway, "engine");
        (engine["state"] == "degraded").then_some(engine)
    })
    .await;
    assert!(engine["remedy"].as_str().unwrap().contains("voxgate models pull"), "{engine}");
    let (_, said) = get(gateway.addr("http"), "/-/ready").await;
    assert!(said.contains("voxgate models pull"), "{said}");
    assert!(gateway.log().contains("voxgate models pull"), "{}", gateway.log());

    let mut device = gateway.device("cane-1", &[]).await;
    let mut other = gateway.device("other", &["--tts-mode", "device_text"]).await;
    // a local intent needs no model but a voice; a device with a voice of its own needs none at all
    let told = ask(&mut device, "what time is it").await;
    assert!(told.reply.starts_with("It's "), "{told:?}");
    assert!(told.errors == ["speech"] && told.frames > 0, "the apology is built in: {told:?}");
    let told = ask(&mut other, "what time is it").await;
    assert!(told.errors.is_empty() && told.reply.starts_with("It's "), "{told:?}");
    let told = ask(&mut device, "why is the sky blue").await;
    assert!(told.errors == ["chat"] && told.frames > 0, "{told:?}");
    assert!(gateway.alive());
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}
