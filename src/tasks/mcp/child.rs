//! A server of tools as a program: a process group of its own, ended with all that it started.

use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;

use super::super::settings::Mcp;

/// What every program gets of the gateway's environment. The rest may hold keys of providers.
const ENVIRONMENT: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];
/// Longest line of its standard error that is logged, bytes.
const LINE: u64 = 2 << 10;

/// A running program. Its group is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Child {
    group: Option<Pid>,
    /// Never waited for before the group is killed: until then its number is nobody else's.
    _process: tokio::process::Child,
    _log: JoinSet<()>,
}

/// Starts it; gives its standard output and input too.
pub(super) fn start(settings: &Mcp, program: &str) -> std::io::Result<(Child, ChildStdout, ChildStdin)> {
    let mut command = Command::new(program);
    command.args(&settings.args).env_clear().process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let given = ENVIRONMENT.into_iter().chain(settings.env.iter().map(String::as_str));
    command.envs(given.filter_map(|name| std::env::var_os(name).map(|value| (name.to_owned(), value))));
    let mut process = command.spawn()?;
    let missing = || std::io::Error::other("a pipe of the program is missing");
    let (output, input) = (process.stdout.take().ok_or_else(missing)?, process.stdin.take().ok_or_else(missing)?);
    let mut log = JoinSet::new();
    if let Some(errors) = process.stderr.take() {
        log.spawn(say(settings.name.clone(), errors));
    }
    let group = process.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    Ok((Child { group, _process: process, _log: log }, output, input))
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(group) = self.group.take() {
            // it may have ended by itself, and all that it started
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Logs what it complains of.
async fn say(server: String, errors: impl AsyncRead + Unpin) {
    let mut errors = BufReader::new(errors);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut errors).take(LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                tracing::debug!(server, line = %String::from_utf8_lossy(&line).trim_end(), "a server of tools says");
            }
        }
    }
}
