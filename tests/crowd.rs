//! Many simulated boards at once, as `voxgate sim` and `voxgate bench` make them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use voxgate::admin::{Admin, NewDevice};
use voxgate::domain::{DeviceId, ListenMode};
use voxgate::sim::device::Login;
use voxgate::sim::interrupt::How;
use voxgate::sim::load::{self, Load, Until};
use voxgate::sim::report::Report;
use voxgate::sim::talker::{Kind, Manner};
use voxgate::sim::xiaozhi::{Path, Version};

use gateway::{Running, chat, speech};

/// A crowd of boards, each with a path of its own, as `voxgate sim` makes them.
async fn crowd(gateway: &Running, devices: u32) -> Vec<(Login, Kind)> {
    let mut crowd = Vec::new();
    let url = format!("ws://{}/xiaozhi/v1/", gateway.addrs().devices.unwrap());
    for n in 0..devices {
        let id = DeviceId::parse(&format!("3c:84:27:aa:cc:{n:02x}")).unwrap();
        let new = NewDevice::anew(id.clone(), ListenMode::Auto);
        let secret = gateway.operators().device_add(new).await.unwrap().secret.unwrap().0;
        let addr = gateway.addrs().mqtt;
        let login = Login { host: addr.ip().to_string(), port: addr.port(), id, secret };
        let path = if n % 2 == 0 { Path::Mqtt } else { Path::WebSocket(url.clone(), Version::One) };
        crowd.push((login, Kind::Xiaozhi(path)));
    }
    crowd
}

fn manner() -> Manner {
    Manner { mode: ListenMode::Auto, interrupt: None, ahead: 5, loss: 0.0, reorder: 0.0, leave: 0.0 }
}

async fn run(gateway: &Running, devices: u32, turns: usize, manner: Manner) -> Report {
    let load = Load {
        devices: crowd(gateway, devices).await,
        manner,
        until: Until::Turns(turns),
        ramp: Duration::from_millis(100),
        hold: Duration::ZERO,
    };
    load::run(&load, Arc::new(speech()), |_, _| {}).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn boards_that_leave_and_come_back_over_both_transports_get_every_answer() {
    let gateway = Running::start(chat(&["Because of the air."])).await;
    let report = run(&gateway, 4, 3, Manner { leave: 1.0, ..manner() }).await;
    assert!(report.clean(), "{report}");
    assert_eq!((report.answered, report.lost), (12, 0), "{report}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_stop_when_a_button_is_pressed_and_nothing_of_them_follows() {
    let gateway =
        Running::start(chat(&["Because of the air, which scatters blue light the most of all, as you can see."])).await;
    let report = run(&gateway, 4, 2, Manner { interrupt: Some(How::Abort), ..manner() }).await;
    let interrupted = report.interrupted.unwrap();
    assert_eq!((interrupted.count + interrupted.missed, interrupted.after_stop), (8, 0), "{report}");
    assert!(interrupted.count > 0 && report.complaints.is_empty(), "{report}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_costs_sound_and_no_answer() {
    let gateway = Running::start(chat(&["Because of the air."])).await;
    let report = run(&gateway, 2, 2, Manner { loss: 0.1, reorder: 0.1, ..manner() }).await;
    assert_eq!((report.answered, report.complaints.len()), (4, 0), "{report}");
    gateway.stop().await;
}

#[test]
fn the_bench_answers_its_boards() {
    let mut bench = std::process::Command::new(env!("CARGO_BIN_EXE_voxgate"));
    bench.args([
        "bench",
        "--dialect",
        "xiaozhi",
        "--transport",
        "both",
        "--devices",
        "2",
        "--turns",
        "1",
        "--frame",
        "20",
        "--json",
    ]);
    let output = bench.env_remove("VOXGATE_CONFIG").output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(found["report"]["answered"], 2, "{found}");
    assert!(found["report"]["complaints"].is_null(), "{found}");
}
