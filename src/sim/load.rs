//! Many simulated devices against a running gateway.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::device::{Device, DeviceError, Login};
use super::interrupt::{self, How};
use super::report::Report;
use super::script::{FRAME_MS, Script};
use super::turn::{self, Turn};
use crate::domain::ListenMode;
use crate::observe::cost;

/// How long a connect may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to run.
#[derive(Debug, Clone)]
pub struct Load {
    /// One login a device.
    pub logins: Vec<Login>,
    /// Turns of each device.
    pub turns: usize,
    /// Who ends a turn.
    pub mode: ListenMode,
    /// Break into each answer, in the place of hearing it out.
    pub interrupt: Option<How>,
    /// Frames that the gateway sends ahead of real time (`voice.reply.ahead_frames`).
    pub ahead: u32,
    /// Connects are spread over this.
    pub ramp: Duration,
    /// All are connected and silent for so long before the first word.
    pub hold: Duration,
}

/// Runs it; tells each finished turn to `progress`. Also gives the turns themselves, for a plot.
pub async fn run(load: &Load, script: Arc<Script>, mut progress: impl FnMut(usize, usize)) -> (Report, Vec<Turn>) {
    let start = Instant::now();
    let talk = start + load.ramp + load.hold;
    // as many speak as are spoken to: first words are spread over the length of a question and of its answer
    let length = Duration::from_millis(2 * u64::from(FRAME_MS)).mul_f64(script.frames.len() as f64);
    let devices = load.logins.len();
    let all = devices * load.turns;
    let (done_tx, mut done) = mpsc::channel(256);
    let mut tasks = JoinSet::new();
    for (at, login) in load.logins.iter().cloned().enumerate() {
        let (script, done_tx, load) = (Arc::clone(&script), done_tx.clone(), load.clone());
        let share = at as f64 / devices.max(1) as f64;
        let (begin, word) = (start + load.ramp.mul_f64(share), talk + length.mul_f64(share));
        // frames of different devices fall between each other, as they do in life
        let phase = Duration::from_millis(u64::from(FRAME_MS)).mul_f64(at as f64 / devices.max(1) as f64);
        tasks.spawn(async move {
            one(&login, &load, &script, [begin, word + phase], (at, done_tx)).await;
        });
    }
    drop(done_tx);
    let mut results = Vec::with_capacity(all);
    sleep_until(talk).await;
    let before = cost();
    let mut resident = before.resident;
    while let Some(result) = done.recv().await {
        results.push(result);
        resident = resident.max(cost().resident);
        progress(results.len(), all);
    }
    let (seconds, generator_cpu_s) = (talk.elapsed().as_secs_f64(), cost().cpu_s - before.cpu_s);
    while tasks.join_next().await.is_some() {}
    let turns = results.iter().filter_map(|result: &Result<Turn, String>| result.as_ref().ok().cloned()).collect();
    let report = Report::of(devices, results);
    (Report { seconds, generator_cpu_s, generator_rss: resident, ..report }, turns)
}

/// One device: connects at `begin`, says its first word at `talk`.
async fn one(
    login: &Login,
    load: &Load,
    script: &Script,
    [begin, talk]: [Instant; 2],
    (at, done): (usize, mpsc::Sender<Result<Turn, String>>),
) {
    sleep_until(begin).await;
    let mut connected = Device::connect(login, PATIENCE).await;
    sleep_until(talk).await;
    for turn in 0..load.turns {
        let mut device = match connected {
            Ok(device) => device,
            Err(error) => {
                // the report is gone only when the whole run is
                let _ = done.send(Err(error.to_string())).await;
                connected = Device::connect(login, PATIENCE).await;
                continue;
            }
        };
        let result = match load.interrupt {
            None => turn::run(&mut device, script, load.mode, load.ahead, &mut |_| {}).await,
            Some(how) => interrupt::run(&mut device, script, how, moment(at, turn)).await,
        };
        connected = match &result {
            Ok(_) => Ok(device),
            Err(_) => Device::connect(login, PATIENCE).await,
        };
        let _ = done.send(result.map_err(|error: DeviceError| error.to_string())).await;
    }
    if let Ok(device) = connected {
        device.disconnect().await;
    }
}

/// How far into an answer a device breaks: another moment each time, within the first second.
fn moment(device: usize, turn: usize) -> Duration {
    let spread = (device * 37 + turn * 211) % 800;
    Duration::from_millis(100 + u64::try_from(spread).unwrap_or(0))
}
