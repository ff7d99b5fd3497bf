//! A wheel of the Python package index, through pip: its configuration, proxies and certificates hold.
//!
//! pip only downloads here: nothing of the wheel is run or installed.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

/// Where pip is looked for, in this order.
const CANDIDATES: &[&[&str]] = &[&["python3", "-m", "pip"], &["pip3"], &["pip"]];
/// So much of what pip says is kept.
const KEPT: usize = 4 << 10;
/// How often the bytes that are here are counted.
const COUNT_EVERY: Duration = Duration::from_millis(500);

/// pip as it is on this machine.
#[derive(Debug, Clone)]
pub(super) struct Pip {
    command: Vec<OsString>,
    /// Added to the environment.
    pub(super) env: Vec<(String, OsString)>,
}

/// A package of the index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wheel<'a> {
    pub package: &'a str,
    pub version: &'a str,
    /// The wheel's file name.
    pub file: &'a str,
}

impl Pip {
    /// This command is pip.
    pub fn new(command: &[String]) -> Self {
        Self { command: command.iter().map(OsString::from).collect(), env: Vec::new() }
    }

    /// Looks for pip; `Err` says how to get it.
    pub async fn find() -> Result<Self, String> {
        for candidate in CANDIDATES {
            let pip = Self { command: candidate.iter().map(OsString::from).collect(), env: Vec::new() };
            let mut command = pip.start();
            command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            if let Ok(Ok(status)) = timeout(Duration::from_secs(30), command.status()).await
                && status.success()
            {
                return Ok(pip);
            }
        }
        Err("this source comes through pip, and there is no pip here: apt-get install python3-pip".into())
    }

    fn start(&self) -> Command {
        let (program, arguments) = self.command.split_first().map_or((None, &[][..]), |(p, a)| (Some(p), a));
        let mut command = Command::new(program.map_or_else(|| OsString::from("pip"), Clone::clone));
        command.args(arguments).envs(self.env.iter().map(|(k, v)| (k, v))).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Downloads the wheel into `scratch` (a folder of its own, emptied first) and returns its path. `count` gets the
    /// bytes that are here. `limit` is for the whole.
    pub async fn download(
        &self,
        wheel: Wheel<'_>,
        scratch: &Path,
        limit: Duration,
        count: &(dyn Fn(u64) + Sync),
    ) -> Result<PathBuf, String> {
        let (into, work) = (scratch.join("got"), scratch.join("work"));
        fresh(scratch, &[&into, &work]).map_err(|e| format!("{}: {e}", scratch.display()))?;
        let mut command = self.start();
        command
            .args(["download", "--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--no-input"])
            .args(["--disable-pip-version-check", "--progress-bar", "off", "--quiet", "--dest"])
            .arg(&into)
            .arg(format!("{}=={}", wheel.package, wheel.version))
            // pip gathers the bytes in its temporary folder: here they can be counted, and are on the right disk.
            .env("TMPDIR", &work)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().map_err(|e| format!("pip cannot be started: {e}"))?;
        let said = timeout(limit, watched(child, scratch, count)).await;
        let (success, said) = said.map_err(|_| format!("pip was not done after {} s", limit.as_secs()))??;
        if !success {
            return Err(complaint(wheel, &said));
        }
        let path = into.join(wheel.file);
        if path.is_file() {
            Ok(path)
        } else {
            Err(format!("pip brought {} instead of {}", names(&into).join(", "), wheel.file))
        }
    }
}

/// An empty folder with these folders in it.
fn fresh(scratch: &Path, folders: &[&Path]) -> io::Result<()> {
    match std::fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    folders.iter().try_for_each(std::fs::create_dir_all)
}

/// Waits for pip, counting what is in `scratch` meanwhile; whether it succeeded, and what it said.
async fn watched(mut child: Child, scratch: &Path, count: &(dyn Fn(u64) + Sync)) -> Result<(bool, String), String> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ended = async {
        let (_, said, status) = tokio::join!(tail(out), tail(err), child.wait());
        (status, said)
    };
    let counting = async {
        let mut tick = interval(COUNT_EVERY);
        loop {
            tick.tick().await;
            let folder = scratch.to_owned();
            if let Ok(bytes) = tokio::task::spawn_blocking(move || bytes_below(&folder, 4)).await {
                count(bytes);
            }
        }
    };
    tokio::select! {
        (status, said) = ended => Ok((status.map_err(|e| format!("pip: {e}"))?.success(), said)),
        () = counting => Err("pip is no longer watched".into()),
    }
}

/// All of a pipe is read, the last [`KEPT`] bytes are kept.
async fn tail(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    let Some(mut pipe) = pipe else { return String::new() };
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = pipe.read(&mut piece).await {
        kept.extend_from_slice(&piece[..read]);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// What pip said, in one line, with a remedy where one is known.
fn complaint(wheel: Wheel<'_>, said: &str) -> String {
    let errors: Vec<&str> = said.lines().map(str::trim).filter(|line| line.starts_with("ERROR")).collect();
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
    let text = if errors.is_empty() { last.to_owned() } else { errors.join(" ") };
    let lower = said.to_lowercase();
    let hint = if said.contains("No module named pip") {
        ": apt-get install python3-pip"
    } else if lower.contains("name resolution") || lower.contains("connection") || lower.contains("timed out") {
        ": is the index reachable, and pip set up for it (pip config list)?"
    } else if lower.contains("no matching distribution") {
        ": the index that pip is set up for has no such version"
    } else {
        ""
    };
    format!("pip could not download {}=={} ({text}){hint}", wheel.package, wheel.version)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).map_or_else(|_| Vec::new(), |all| all.flatten().collect());
    let mut names: Vec<_> = entries.iter().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    if names.is_empty() { vec!["nothing".into()] } else { names }
}

fn bytes_below(folder: &Path, depth: u32) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok().map(|meta| (entry, meta)))
        .map(|(entry, meta)| match meta.is_dir() {
            true if depth > 0 => bytes_below(&entry.path(), depth - 1),
            true => 0,
            false => meta.len(),
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const WHEEL: Wheel<'_> = Wheel { package: "p", version: "1", file: "p-1-py3-none-any.whl" };

    fn script(dir: &Path, body: &str) -> Pip {
        let path = dir.join("pip.sh");
        std::fs::write(&path, body).unwrap();
        Pip::new(&["sh".into(), path.display().to_string()])
    }

    async fn run(body: &str, limit: Duration) -> Result<PathBuf, String> {
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().join("scratch");
        script(dir.path(), body).download(WHEEL, &scratch, limit, &|_| {}).await
    }

    #[tokio::test]
    async fn what_pip_says_reaches_the_person() {
        let minute = Duration::from_mins(1);
        let said = run("echo 'ERROR: No matching distribution found for p==1' >&2; exit 1", minute).await.unwrap_err();
        assert!(said.contains("No matching distribution") && said.contains("has no such version"), "{said}");
        let said = run("echo 'No module named pip' >&2; exit 1", minute).await.unwrap_err();
        assert!(said.contains("apt-get install python3-pip"), "{said}");
        let said = run("exit 0", minute).await.unwrap_err();
        assert!(said.contains("pip brought nothing"), "{said}");
    }

    #[tokio::test]
    async fn a_pip_that_hangs_is_ended() {
        let said = run("exec sleep 600", Duration::from_millis(300)).await.unwrap_err();
        assert!(said.contains("was not done"), "{said}");
    }

    #[tokio::test]
    async fn a_flood_of_words_is_bounded() {
        let flood =
            "i=0; while [ $i -lt 20000 ]; do echo a line that says nothing at all; i=$((i+1)); done >&2; exit 1";
        let said = run(flood, Duration::from_mins(1)).await.unwrap_err();
        assert!(said.len() < 2 * KEPT, "{}", said.len());
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let pip = Pip::new(&["/nowhere/pip".into()]);
        let said = pip.download(WHEEL, &dir.path().join("s"), Duration::from_secs(9), &|_| {}).await.unwrap_err();
        assert!(said.contains("cannot be started"), "{said}");
    }
}
