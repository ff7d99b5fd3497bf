//! What is generated from the code is fresh. `UPDATE_DOCS=1 cargo test --test docs` writes it again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use voxgate::app::{Gateway, Outside, Providers};
use voxgate::config::Config;
use voxgate::domain::{ByteSize, DeviceId, ListenMode};
use voxgate::observe::Notifier;
use voxgate::sim::device::Device;
use voxgate::sim::providers::Delays;
use voxgate::sim::{bench, turn};

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

#[test]
fn the_reference_of_the_metrics_is_fresh() {
    fresh("docs/metrics.md", &voxgate::app::metrics_reference().unwrap());
}

/// Label → values of each row of `docs/metrics.md`.
fn documented() -> BTreeMap<String, String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    rows.map(|(name, rest)| (name.to_owned(), rest.split('|').nth(2).unwrap().to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_serves_after_a_conversation_is_in_the_reference_of_the_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.gateway.data_dir = dir.path().join("data");
    config.mqtt.listen = "127.0.0.1:0".parse().unwrap();
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.devices.listen = "127.0.0.1:0".parse().unwrap();
    config.control.socket = dir.path().join("control.sock");
    config.store.reserve = ByteSize(0);
    let ahead = config.voice.reply.ahead_frames;
    let (transcriber, chat, synthesizer) = bench::providers(Delays::default());
    let providers = Some(Providers { transcriber, chat, synthesizer });
    let outside = Outside { providers, notifier: Notifier::default(), ..Outside::default() };
    let gateway = Gateway::start(config, outside).await.unwrap();

    let id = DeviceId::parse("metrics").unwrap();
    let login = gateway.login(&id, ListenMode::Manual).await.unwrap();
    let mut device = Device::connect(&login, Duration::from_secs(20)).await.unwrap();
    let script = bench::script(None).unwrap();
    let turn = turn::run(&mut device, &script, ListenMode::Manual, ahead, &mut |_| {}).await.unwrap();
    assert!(turn.answered(), "{turn:?}");
    device.disconnect().await;

    let mut http = tokio::net::TcpStream::connect(gateway.addrs().http.unwrap()).await.unwrap();
    http.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    http.read_to_string(&mut answer).await.unwrap();
    gateway.stop(Duration::from_secs(10)).await;

    let documented = documented();
    let mut family = "";
    let mut labelled = 0;
    for line in answer.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap();
            assert!(documented.contains_key(family), "{family} is not in docs/metrics.md");
        } else if let Some((_, rest)) = line.split_once('{').filter(|_| line.starts_with(family) && !family.is_empty())
        {
            for pair in rest.split_once('}').unwrap().0.split(',') {
                let (label, value) = pair.split_once('=').unwrap();
                let (labels, value) = (&documented[family], value.trim_matches('"'));
                let listed = |values: &str| values.split([',', ';']).any(|one| one.trim() == value);
                let known = labels.split_once(&format!("`{label}`: ")).is_some_and(|(_, values)| listed(values));
                assert!(
                    known || label == "le" || family == "voxgate_build",
                    "{family}: {pair} is not in docs/metrics.md"
                );
                labelled += usize::from(label != "le");
            }
        }
    }
    assert!(labelled > 10, "a conversation counts under labels: {answer}");
}

/// All Rust sources below a folder, as one text.
fn sources(folder: &std::path::Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_page_on_conformance_names_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    let mut all = String::new();
    sources(&root.join("src"), &mut all);
    sources(&root.join("tests"), &mut all);
    let quoted = page.split('`').skip(1).step_by(2);
    let named: Vec<&str> = quoted.filter(|name| name.matches('_').count() > 3 && !name.contains(['.', ' '])).collect();
    assert!(named.len() > 15, "{named:?}");
    let missing: Vec<&&str> = named.iter().filter(|name| !all.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
