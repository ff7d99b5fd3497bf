//! `voxgate import opencane`: the bindings, tokens and settings of an OpenCane server.
//!
//! Devices are written, each a step of its own, so that a second run goes on where a first one ended; settings are printed for a
//! person to put into `voxgate.toml`. Nothing is done without `--apply`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use toml::Table;

use crate::admin::{Admin, ImportOutcome, NewDevice, Secret};
use crate::domain::{DeviceId, ListenMode};

use super::super::context::{Context, block_on};
use super::text;

/// A device that says nothing for so many heartbeats is gone, and never sooner than after `LEAST` seconds.
const HEARTBEATS: u64 = 3;
const LEAST: u64 = 20;

/// Take over devices, their tokens and the settings of an OpenCane server
///
/// Says what it would do, and does nothing, until --apply is given. Each device keeps its token, which is its MQTT password and
/// its WebSocket token from then on; it is kept as a hash. Devices that were revoked are left out. What is there already
/// stays as it is, so this can be run again. Settings are printed, to be put into voxgate.toml; keys of services are never
/// printed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  curl -s 'http://127.0.0.1:18792/v1/device/binding?limit=1000' > bindings.json     on the old server, while it runs
  voxgate import opencane --config ~/.opencane/config.json --bindings bindings.json
  voxgate import opencane --bindings bindings.json --apply")]
pub(in crate::cli) struct OpenCane {
    /// Its configuration, config.json
    #[arg(long, value_name = "FILE", required_unless_present = "bindings")]
    config: Option<PathBuf>,
    /// What its control API answers to GET /v1/device/binding, without mask_sensitive
    #[arg(long, value_name = "FILE")]
    bindings: Option<PathBuf>,
    /// Do it
    #[arg(long)]
    apply: bool,
    /// Print one JSON object: {applied, devices, notes, settings}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    applied: bool,
    devices: Vec<Row>,
    notes: Vec<String>,
    settings: String,
}

#[derive(Debug, Serialize)]
struct Row {
    device: String,
    outcome: ImportOutcome,
}

/// One of its bindings. No Debug: it holds a token.
struct Binding {
    device: String,
    token: String,
    revoked: bool,
}

/// What its configuration comes to here.
#[derive(Default)]
struct Settings {
    piece: Table,
    notes: Vec<String>,
    device_text: bool,
}

/// The names of its modems.
#[derive(Deserialize)]
struct Profiles {
    profile: Vec<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    name: String,
    #[serde(default)]
    also: Vec<String>,
    heartbeat_s: u64,
    keepalive_s: u64,
}

/// Works on the gateway that runs, else on the store.
pub(in crate::cli) fn run(args: &OpenCane, context: &mut Context<'_>) -> anyhow::Result<()> {
    let settings = match &args.config {
        Some(path) => settings(&json(path)?).with_context(|| path.display().to_string())?,
        None => Settings::default(),
    };
    let bindings = match &args.bindings {
        Some(path) => bindings(&json(path)?).with_context(|| path.display().to_string())?,
        None => Vec::new(),
    };
    block_on(async {
        let admin = context.gateway_or_store().await?;
        let devices = give(&*admin, &bindings, settings.device_text, args.apply).await?;
        let refused = devices.iter().filter(|row| matches!(row.outcome, ImportOutcome::Refused(_))).count();
        let piece = toml::to_string_pretty(&settings.piece).context("the settings")?;
        let report = Report { applied: args.apply, devices, notes: settings.notes, settings: piece };
        if args.json {
            context.json(&report)?;
        } else {
            print(&report, context)?;
        }
        ensure!(refused == 0, "{refused} devices were not taken, as said above");
        Ok(())
    })
}

fn json(path: &std::path::Path) -> anyhow::Result<Value> {
    // what serde says could quote a token
    serde_json::from_str(&text(path)?)
        .map_err(|error| anyhow::anyhow!("{}:{}: is no JSON; save the whole answer", path.display(), error.line()))
}

/// As the control API gives them: a list, alone or under `items` or `bindings`.
fn bindings(answer: &Value) -> anyhow::Result<Vec<Binding>> {
    let list = ["items", "bindings", "devices"].iter().find_map(|name| answer.get(name)).unwrap_or(answer);
    let one = |name: &str| answer.get(name).filter(|value| value.get("device_id").is_some());
    let list = match (list.as_array(), one("binding").or_else(|| one("device"))) {
        (Some(list), _) => list.clone(),
        (None, Some(one)) => vec![one.clone()],
        (None, None) => {
            anyhow::bail!("holds no bindings: a list of objects with device_id and device_token is expected")
        }
    };
    let said =
        |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let binding = |entry: &Value| Binding {
        device: said(entry, "device_id"),
        token: said(entry, "device_token"),
        revoked: said(entry, "status") == "revoked",
    };
    Ok(list.iter().map(binding).collect())
}

async fn give(admin: &dyn Admin, bindings: &[Binding], device_text: bool, apply: bool) -> anyhow::Result<Vec<Row>> {
    let known: BTreeSet<DeviceId> = admin.device_list().await?.into_iter().map(|row| row.id).collect();
    let mut rows = Vec::with_capacity(bindings.len());
    for binding in bindings {
        let outcome = match (DeviceId::parse(&binding.device), trouble(binding)) {
            (Err(why), _) => ImportOutcome::Refused(format!("{why}; add the device by hand under another name")),
            (Ok(id), _) if known.contains(&id) => ImportOutcome::There,
            (Ok(_), Some(why)) => ImportOutcome::Refused(why.to_owned()),
            (Ok(_), None) if !apply => ImportOutcome::Added,
            (Ok(id), None) => {
                let password = Some(Secret(binding.token.clone()));
                let mode = ListenMode::Manual;
                let new = NewDevice { id, password, mode, device_text, language: None, replace: false };
                let done = rows.len();
                admin.device_add(new).await.with_context(|| {
                    let (device, all) = (&binding.device, bindings.len());
                    format!("device {device}: after {done} of {all}; when it is mended, run this again and it goes on")
                })?;
                ImportOutcome::Added
            }
        };
        rows.push(Row { device: binding.device.clone(), outcome });
    }
    Ok(rows)
}

fn trouble(binding: &Binding) -> Option<&'static str> {
    match binding {
        Binding { revoked: true, .. } => Some("was revoked there; add it by hand if it shall come in again"),
        Binding { token, .. } if token.is_empty() => Some("has no token; add it by hand, and give it the new password"),
        Binding { token, .. } if token.contains('*') => {
            Some("has a token that is masked; ask again without mask_sensitive")
        }
        _ => None,
    }
}

fn settings(config: &Value) -> anyhow::Result<Settings> {
    ensure!(config.get("hardware").is_some(), "is no configuration of OpenCane: there is no \"hardware\" in it");
    let mut settings = Settings::default();
    let at = |path: &str| config.pointer(path).filter(|value| !value.is_null());
    let word = |path: &str| at(path).and_then(Value::as_str).unwrap_or_default();
    doors(&mut settings, word("/hardware/adapter"), at("/hardware/port").and_then(Value::as_u64));
    silence(&mut settings, word("/hardware/deviceProfile"), at("/hardware/heartbeatSeconds").and_then(Value::as_u64))?;
    settings.device_text = word("/hardware/ttsMode") != "server_audio";
    if let Some(prompt) = at("/vision/defaultPrompt").and_then(Value::as_str).filter(|prompt| !prompt.trim().is_empty())
    {
        put(&mut settings.piece, &["session", "opencane", "question"], prompt.into());
    }
    if let Some(port) = at("/hardware/controlPort").and_then(Value::as_u64).filter(|port| *port != 18_792) {
        let host = Some(word("/hardware/controlHost")).filter(|host| !host.is_empty()).unwrap_or("127.0.0.1");
        put(&mut settings.piece, &["http", "listen"], format!("{host}:{port}").into());
    }
    for (path, then) in [
        (
            "/hardware/auth/token",
            "the one token of its control API is not taken: make operators, each with a role (voxgate operator add)",
        ),
        (
            "/hardware/mqtt/tlsEnabled",
            "its broker had TLS: see [mqtt.tls], and give the canes this gateway's certificate",
        ),
        (
            "/hardware/mqtt/host",
            "there is no broker beside this gateway: the canes connect to it, so give it the broker's address",
        ),
        ("/hardware/controlPlane/baseUrl", "an outside control plane is not asked"),
        (
            "/providers",
            "models are chosen in [providers.stt], [providers.chat], [providers.tts] and [vision]; their keys go to files",
        ),
    ] {
        let set = at(path).is_some_and(|value| !matches!(value, Value::Bool(false)) && value.as_str() != Some(""));
        if set {
            settings.notes.push(format!("{}: {then}", path.trim_start_matches('/').replace('/', ".")));
        }
    }
    Ok(settings)
}

fn doors(settings: &mut Settings, adapter: &str, port: Option<u64>) {
    match adapter {
        "" | "websocket" => {
            put(&mut settings.piece, &["websocket", "opencane"], true.into());
            let also = format!("0.0.0.0:{}", port.unwrap_or(18_791));
            put(&mut settings.piece, &["devices", "also"], vec![also].into());
        }
        "mock" => settings.notes.push("hardware.adapter: the mock is for tests, and there is none here".to_owned()),
        // MQTT needs no setting
        _ => {}
    }
}

/// When a cane counts as gone.
fn silence(settings: &mut Settings, profile: &str, heartbeat: Option<u64>) -> anyhow::Result<()> {
    let profiles: Profiles =
        toml::from_str(include_str!("../../../topics/opencane.toml")).context("topics/opencane.toml")?;
    let wanted = profile.trim().to_ascii_lowercase();
    let known = profiles.profile.iter().find(|one| one.name == wanted || one.also.contains(&wanted));
    if known.is_none() && !wanted.is_empty() {
        let what =
            format!("hardware.deviceProfile: {profile:?} is no profile of OpenCane's: its heartbeat is taken alone");
        settings.notes.push(what);
    }
    let least = known.map_or(0, |profile| profile.heartbeat_s);
    let after = (heartbeat.unwrap_or(20).max(least) * HEARTBEATS).max(LEAST);
    put(&mut settings.piece, &["session", "opencane", "silent_after"], format!("{after}s").into());
    if let Some(profile) = known {
        let (name, keepalive) = (&profile.name, profile.keepalive_s);
        settings.notes.push(format!("hardware.deviceProfile: {name}, whose canes keep MQTT alive every {keepalive} s"));
    }
    Ok(())
}

fn put(table: &mut Table, path: &[&str], value: toml::Value) {
    match path {
        [] => {}
        [name] => {
            table.insert((*name).to_owned(), value);
        }
        [name, rest @ ..] => {
            let inner = table.entry(*name).or_insert_with(|| toml::Value::Table(Table::new()));
            if let toml::Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn print(report: &Report, context: &mut Context<'_>) -> anyhow::Result<()> {
    let (mut added, mut there) = (0, 0);
    let would = if report.applied { "" } else { "would be " };
    for Row { device, outcome } in &report.devices {
        match outcome {
            ImportOutcome::Added => {
                added += 1;
                writeln!(context.out, "device {device}: {would}added, with its token")?;
            }
            ImportOutcome::There => {
                there += 1;
                writeln!(context.out, "device {device}: is there already")?;
            }
            ImportOutcome::Refused(why) => eprintln!("device {device}: {why}"),
        }
    }
    for note in &report.notes {
        writeln!(context.out, "{note}")?;
    }
    if !report.settings.is_empty() {
        writeln!(context.out, "\n# for voxgate.toml\n{}", report.settings)?;
    }
    let then = if report.applied { "" } else { "; nothing was done: --apply does it" };
    writeln!(context.out, "{added} devices {would}added, {there} there already{then}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use serde_json::json;

    use super::*;

    #[test]
    fn its_configuration_comes_to_settings_that_this_gateway_takes() {
        let config = json!({"hardware": {"adapter": "websocket", "port": 18_799, "deviceProfile": "EC600", "heartbeatSeconds": 40,
            "ttsMode": "device_text", "controlPort": 18_700, "auth": {"token": "secret"}}, "vision": {"defaultPrompt": "What is there?"}});
        let settings = settings(&config).unwrap();
        let text = toml::to_string(&settings.piece).unwrap();
        assert_eq!(crate::config::parse("voxgate.toml", &text).map(drop).map_err(|error| error.to_string()), Ok(()));
        assert!(text.contains("silent_after = \"120s\"") && text.contains("0.0.0.0:18799"), "{text}");
        assert!(settings.device_text && !settings.notes.join(" ").contains("secret"), "{:?}", settings.notes);
        assert!(super::settings(&json!({"server": {}})).is_err());
    }

    #[test]
    fn bindings_are_found_however_the_answer_holds_them() {
        let one = json!({"device_id": "cane-1", "device_token": "0123456789abcdef", "status": "activated"});
        for answer in [json!([one]), json!({"items": [one]}), json!({"success": true, "binding": one})] {
            let bindings = bindings(&answer).unwrap();
            assert_eq!((bindings.len(), bindings[0].device.as_str(), bindings[0].revoked), (1, "cane-1", false));
            assert!(trouble(&bindings[0]).is_none());
        }
        assert!(bindings(&json!({"success": true})).is_err());
        for (token, status) in [("", "bound"), ("01****ef", "bound"), ("0123456789abcdef", "revoked")] {
            let binding = Binding { device: "d".into(), token: token.into(), revoked: status == "revoked" };
            assert!(trouble(&binding).is_some(), "{token} {status}");
        }
    }
}
