//! Many simulated devices against a running gateway.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::device::{Device, Login};
use super::report::Report;
use super::script::{FRAME_MS, Script};
use super::turn::{self, Turn};
use crate::domain::ListenMode;

/// What to run.
#[derive(Debug, Clone)]
pub struct Load {
    /// One login a device.
    pub logins: Vec<Login>,
    /// Turns of each device.
    pub turns: usize,
    /// Who ends a turn.
    pub mode: ListenMode,
    /// Frames that the gateway sends ahead of real time (`voice.reply.ahead_frames`).
    pub ahead: u32,
    /// Connects are spread over this.
    pub ramp: Duration,
}

/// Runs it; tells each finished turn to `progress`. Also gives the turns themselves, for a plot.
pub async fn run(load: &Load, script: Arc<Script>, mut progress: impl FnMut(usize, usize)) -> (Report, Vec<Turn>) {
    let start = Instant::now();
    let cpu = cpu_seconds();
    let devices = load.logins.len();
    let all = devices * load.turns;
    let (done_tx, mut done) = mpsc::channel(256);
    let mut tasks = JoinSet::new();
    for (at, login) in load.logins.iter().cloned().enumerate() {
        let (script, done_tx, load) = (Arc::clone(&script), done_tx.clone(), load.clone());
        let share = load.ramp.mul_f64(at as f64 / devices.max(1) as f64);
        // frames of different devices fall between each other, as they do in life
        let phase = Duration::from_millis(u64::from(FRAME_MS)).mul_f64(at as f64 / devices.max(1) as f64);
        tasks.spawn(async move { one(&login, &load, &script, start + share + phase, done_tx).await });
    }
    drop(done_tx);
    let mut results = Vec::with_capacity(all);
    while let Some(result) = done.recv().await {
        results.push(result);
        progress(results.len(), all);
    }
    while tasks.join_next().await.is_some() {}
    let turns = results.iter().filter_map(|result: &Result<Turn, String>| result.as_ref().ok().cloned()).collect();
    let seconds = start.elapsed().as_secs_f64();
    (Report::of(devices, results, seconds, cpu_seconds() - cpu), turns)
}

async fn one(login: &Login, load: &Load, script: &Script, begin: Instant, done: mpsc::Sender<Result<Turn, String>>) {
    sleep_until(begin).await;
    let mut connected = None;
    for _ in 0..load.turns {
        let mut device = match connected.take() {
            Some(device) => device,
            None => match Device::connect(login, Duration::from_secs(20)).await {
                Ok(device) => device,
                Err(error) => {
                    // the report is gone only when the whole run is
                    let _ = done.send(Err(error.to_string())).await;
                    continue;
                }
            },
        };
        let result = turn::run(&mut device, script, load.mode, load.ahead, &mut |_| {}).await;
        if result.is_ok() {
            connected = Some(device);
        }
        let _ = done.send(result.map_err(|error| error.to_string())).await;
    }
    if let Some(device) = connected {
        device.disconnect().await;
    }
}

/// CPU seconds of this process.
fn cpu_seconds() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    usage.map_or(0.0, |usage| {
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    })
}
