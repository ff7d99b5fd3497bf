//! The other processes of a bench: the devices (`voxgate sim`), watched from the gateway's; and a gateway's own,
//! where several are measured one after the other.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum as _;
use tokio::process::Command;
use tokio::time::Instant;

use super::figures::Found;
use super::{Args, Dialect, Interrupt, Login, Mode};
use crate::observe::cost;
use crate::sim::report::Report;

/// How often this process looks at its own cost.
const LOOK: Duration = Duration::from_millis(100);

/// How to start it.
pub(super) struct Generator {
    program: PathBuf,
    args: Vec<OsString>,
}

/// What it shall do.
pub(super) struct Run {
    pub turns: u32,
    pub mode: Mode,
    pub interrupt: Option<Interrupt>,
    /// Seconds of silence between connecting and talking.
    pub hold: u64,
}

/// What it said, and what this process cost meanwhile.
pub(super) struct Watched {
    pub report: Report,
    /// What `idle` read; none when it came to nothing before the end.
    pub idle: Option<u64>,
    /// Most resident memory of this process, bytes.
    pub peak: u64,
    /// Time and CPU seconds of this process since the first word, in order.
    pub samples: Vec<(f64, f64)>,
}

impl Generator {
    /// Devices that connect as `logins` and ask what is in `wav`. Their passwords go by a file in `dir`, which is
    /// the owner's alone. `boards` is what else is said of them.
    pub fn new(
        dir: &Path,
        config: Option<&Path>,
        wav: &Path,
        logins: &[Login],
        boards: &[OsString],
    ) -> anyhow::Result<Self> {
        let credentials = dir.join("credentials");
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&credentials)?;
        for login in logins {
            writeln!(file, "{}:{}", login.id, login.secret)?;
        }
        let first = logins.first().context("a bench needs a device")?;
        let mut args: Vec<OsString> = vec!["sim".into(), "--json".into()];
        let mut add = |name: &str, value: OsString| args.extend([name.into(), value]);
        add("--devices", logins.len().to_string().into());
        add("--address", format!("{}:{}", first.host, first.port).into());
        add("--credentials", credentials.into());
        add("--wav", wav.into());
        if let Some(config) = config {
            add("--config", config.into());
        }
        args.extend_from_slice(boards);
        Ok(Self { program: std::env::current_exe()?, args })
    }

    /// Runs it to its end. `idle` is asked meanwhile.
    pub async fn run(&self, run: &Run, idle: impl Future<Output = u64>) -> anyhow::Result<Watched> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).args(["--turns", &run.turns.to_string(), "--hold", &run.hold.to_string()]);
        command.args(["--mode", mode(run.mode)]);
        if let Some(how) = run.interrupt {
            command.args(["--interrupt", if how == Interrupt::Abort { "abort" } else { "voice" }]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let done = command.spawn().context("the load generator cannot start")?.wait_with_output();
        tokio::pin!(done, idle);
        let mut look = tokio::time::interval(LOOK);
        let (mut samples, mut peak, mut rested) = (Vec::new(), 0, None);
        let output = loop {
            tokio::select! {
                output = &mut done => break output?,
                resident = &mut idle, if rested.is_none() => rested = Some(resident),
                at = look.tick() => {
                    let now = cost();
                    peak = peak.max(now.resident);
                    samples.push((at, now.cpu_s));
                }
            }
        };
        // it exits with 1 when a turn was not answered; the report says so
        let report: Report = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("the load generator gave no report and ended with {}", output.status))?;
        let samples = since_the_first_word(&samples, Instant::now(), report.seconds);
        Ok(Watched { report, idle: rested, peak, samples })
    }
}

/// One run of `voxgate bench`, its gateway in a process of its own.
pub(super) fn bench(args: &Args, devices: u32, config: Option<&Path>) -> anyhow::Result<Found> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["bench", "--json", "--devices", &devices.to_string(), "--turns", &args.turns.to_string()]);
    command.args(["--mode", mode(args.mode)]);
    command.args(boards(args, None));
    if args.interrupt {
        command.arg("--interrupt");
    }
    let files = [("--config", config), ("--wav", args.wav.as_deref()), ("--dir", args.dir.as_deref())];
    for (name, file) in files.into_iter().filter_map(|(name, file)| Some((name, file?))) {
        command.arg(name).arg(file);
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("the bench cannot start")?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("the bench ended with {}", output.status))
}

/// What is said of xiaozhi boards: to the bench of one run, and with the address of the devices' HTTP to its devices.
pub(super) fn boards(args: &Args, devices: Option<SocketAddr>) -> Vec<OsString> {
    if args.dialect == Dialect::Native {
        return Vec::new();
    }
    let mut words: Vec<OsString> = vec!["--dialect".into(), "xiaozhi".into()];
    if let Some(value) = args.transport.and_then(|transport| transport.to_possible_value()) {
        words.extend(["--transport".into(), value.get_name().to_owned().into()]);
    }
    words.extend(["--frame".into(), args.frame.to_string().into()]);
    if let Some(devices) = devices {
        words.extend(["--bootstrap".into(), format!("http://{devices}/xiaozhi/ota/").into()]);
    }
    words
}

pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Auto => "auto",
        Mode::Manual => "manual",
        Mode::Realtime => "realtime",
    }
}

/// The generator ends right after the last answer: the first word was `seconds` before.
fn since_the_first_word(samples: &[(Instant, f64)], end: Instant, seconds: f64) -> Vec<(f64, f64)> {
    let ago = |at: Instant| end.saturating_duration_since(at).as_secs_f64();
    let from = samples.iter().rev().find(|(at, _)| ago(*at) >= seconds).or(samples.first());
    let Some((begin, cpu)) = from else { return Vec::new() };
    let after = samples.iter().filter(|(at, _)| at >= begin);
    after.map(|(at, spent)| (at.saturating_duration_since(*begin).as_secs_f64(), spent - cpu)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_spent_while_they_talked_counts() {
        let begin = Instant::now();
        let at = |s: u64| begin + Duration::from_secs(s);
        let samples = [(at(0), 1.0), (at(1), 5.0), (at(2), 6.0), (at(3), 8.0)];
        assert_eq!(since_the_first_word(&samples, at(3), 2.0), [(0.0, 0.0), (1.0, 1.0), (2.0, 3.0)]);
        assert_eq!(since_the_first_word(&[], at(3), 2.0), []);
    }
}
