//! The gateway's side of the engine process: starts it, looks whether it is well, restarts it when it is not.
//!
//! It knows processes and `/health`; it must not know engines. A child whose pipe to us breaks ends itself, so
//! none is left behind however the gateway ends.

mod look;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Addrs, Settings, Start};
use look::{health, hung, judge};

/// Counter: starts after the first, by reason.
pub const RESTARTS: &str = "voxgate_engine_restarts";
/// Gauge: 1 while the engine process answers.
pub const UP: &str = "voxgate_engine_up";
/// So many hangs within [`Pace::hang_window`] and it is left alone for as long.
const HANGS: usize = 3;

/// How the engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not yet there, or models are loading.
    Starting,
    /// All engines that are switched on work.
    Ready,
    /// It answers, but something is missing: the text says what and what mends it.
    Degraded(String),
    /// It does not answer.
    Down(String),
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program: mostly `current_exe()`.
    pub program: PathBuf,
    /// What comes before `--die-with-parent`: mostly `engine`.
    pub args: Vec<OsString>,
}

/// How patient the supervisor is; tests are less so.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two looks at a process that is well.
    pub look: Duration,
    /// Between two looks at one that is starting.
    pub look_starting: Duration,
    /// An answer of `/health`, or the announcement of addresses, takes no longer.
    pub answer: Duration,
    /// The first pause before a restart; doubles.
    pub pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// After a life this long the pause begins anew.
    pub settled: Duration,
    /// Three hangs in this time, and it is left alone for as long.
    pub hang_window: Duration,
    /// How long a child may take to end when it is asked to.
    pub farewell: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(2),
            look_starting: Duration::from_millis(100),
            answer: Duration::from_secs(5),
            pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(30),
            settled: Duration::from_mins(1),
            hang_window: Duration::from_mins(5),
            farewell: Duration::from_secs(4),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The supervisor's metrics.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    restarts: Family<Reason, Counter>,
    up: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            RESTARTS,
            "Restarts of the engine process: it ended, or did not answer",
            metrics.restarts.clone(),
        );
        registry.register(
            UP,
            "1 while the engine process answers, else 0; absent where no local engine is wanted",
            metrics.up.clone(),
        );
        metrics
    }

    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for reason in ["exit", "hung"] {
            drop(self.restarts.get_or_create(&Reason { reason }));
        }
    }
}

/// What others see of the engine process. Clones see the same.
#[derive(Debug, Clone)]
pub struct View {
    state: watch::Receiver<State>,
    addrs: watch::Receiver<Option<Addrs>>,
}

impl View {
    /// How it is now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until it is something else; false when the supervisor has ended.
    pub async fn changed(&mut self) -> bool {
        self.state.changed().await.is_ok()
    }

    /// Where it listens, once it has said so; the same after each restart. None: it never will.
    pub async fn addrs(&mut self) -> Option<Addrs> {
        self.addrs.wait_for(Option::is_some).await.ok()?.clone()
    }
}

/// Looks after the engine process.
pub struct Supervisor {
    settings: Settings,
    launch: Launch,
    pace: Pace,
    metrics: Metrics,
    state: watch::Sender<State>,
    addrs: watch::Sender<Option<Addrs>>,
}

/// How a life ended.
enum End {
    Stopped,
    Exited(String),
    Hung(String),
}

impl Supervisor {
    /// Nothing is started yet.
    pub fn new(settings: Settings, launch: Launch, pace: Pace, metrics: Metrics) -> (Self, View) {
        let (state, seen) = watch::channel(State::Starting);
        let (addrs, places) = watch::channel(None);
        (Self { settings, launch, pace, metrics, state, addrs }, View { state: seen, addrs: places })
    }

    /// Looks after it until the token is cancelled; then it is gone.
    pub async fn run(mut self, stop: CancellationToken) {
        match self.settings.start {
            Start::Off => {
                self.tell(State::Down("switched off in [engine]".into()));
                stop.cancelled().await;
            }
            Start::External => {
                let places = Addrs {
                    wyoming: self.settings.listen_wyoming,
                    http: self.settings.listen_http,
                    socket: self.settings.wyoming_socket.clone(),
                };
                self.addrs.send_replace(Some(places));
                stop.run_until_cancelled(self.watch_external()).await;
            }
            Start::Spawn if !cfg!(feature = "engine") => {
                self.tell(State::Down("this voxgate was built without the engine".into()));
                stop.cancelled().await;
            }
            Start::Spawn => self.keep_alive(&stop).await,
        }
        self.metrics.up.set(0);
    }

    #[expect(clippy::needless_pass_by_value, reason = "states are made to be told")]
    fn tell(&self, state: State) {
        self.metrics.up.set(i64::from(matches!(state, State::Ready | State::Degraded(_))));
        let changed = self.state.send_if_modified(|old| {
            let changed = *old != state;
            old.clone_from(&state);
            changed
        });
        if changed {
            match &state {
                State::Starting => tracing::info!("engine starting"),
                State::Ready => tracing::info!("engine ready"),
                State::Degraded(reason) => tracing::warn!(reason, "engine degraded"),
                State::Down(reason) => tracing::warn!(reason, "engine down"),
            }
        }
    }

    async fn watch_external(&self) {
        let http = self.settings.listen_http;
        loop {
            let pause = match timeout(self.pace.answer, health(http)).await {
                Ok(Ok(report)) => {
                    let state = judge(&report);
                    let pause = if state == State::Starting { self.pace.look_starting } else { self.pace.look };
                    self.tell(state);
                    pause
                }
                Ok(Err(error)) => {
                    self.tell(State::Down(format!("nobody answers at {http}: {error}")));
                    self.pace.look
                }
                Err(_) => {
                    self.tell(State::Down(format!("no answer from {http} in time")));
                    self.pace.look
                }
            };
            sleep(pause).await;
        }
    }

    async fn keep_alive(&mut self, stop: &CancellationToken) {
        let mut pause = self.pace.pause;
        let mut hangs: Vec<Instant> = Vec::new();
        loop {
            let begin = Instant::now();
            let (reason, text) = match self.live(stop).await {
                End::Stopped => return,
                End::Exited(text) => ("exit", text),
                End::Hung(text) => ("hung", text),
            };
            self.metrics.restarts.get_or_create(&Reason { reason }).inc();
            if begin.elapsed() >= self.pace.settled {
                pause = self.pace.pause;
            }
            let mut wait = pause;
            pause = (pause * 2).min(self.pace.longest_pause);
            if reason == "hung" {
                hangs.retain(|at| at.elapsed() < self.pace.hang_window);
                hangs.push(Instant::now());
                if hangs.len() >= HANGS {
                    hangs.clear();
                    wait = self.pace.hang_window;
                }
            }
            self.tell(State::Down(format!("{text}; next start in {} ms", wait.as_millis())));
            if stop.run_until_cancelled(sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// One life of the child, from start to end.
    async fn live(&mut self, stop: &CancellationToken) -> End {
        self.tell(State::Starting);
        let mut child = match self.spawn() {
            Ok(child) => child,
            Err(error) => return End::Exited(format!("cannot start {}: {error}", self.launch.program.display())),
        };
        let mut stdin = child.stdin.take();
        let orders = self.orders();
        let attend = async {
            if let Some(stdin) = &mut stdin
                && !matches!(timeout(self.pace.answer, stdin.write_all(&orders)).await, Ok(Ok(())))
            {
                tracing::debug!("the engine process did not take its settings");
            }
            self.attend(&mut child).await
        };
        let end = tokio::select! {
            () = stop.cancelled() => End::Stopped,
            end = attend => end,
        };
        match end {
            End::Stopped => farewell(&mut child, stdin, self.pace.farewell).await,
            End::Exited(_) => {}
            End::Hung(_) => kill(&mut child).await,
        }
        end
    }

    fn spawn(&self) -> std::io::Result<Child> {
        Command::new(&self.launch.program)
            .args(&self.launch.args)
            .arg("--die-with-parent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }

    /// What the child reads first: `[engine]` as one line of JSON. Not on its command line, where everybody could
    /// read the instructions, and which has an end.
    fn orders(&self) -> Vec<u8> {
        let mut settings = self.settings.clone();
        // A restart comes back to where the first start was.
        if let Some(addrs) = &*self.addrs.borrow() {
            (settings.listen_wyoming, settings.listen_http) = (addrs.wyoming, addrs.http);
        }
        let mut line = serde_json::to_vec(&settings).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Waits for its addresses, then looks after it.
    async fn attend(&self, child: &mut Child) -> End {
        let Some(stdout) = child.stdout.take() else { return End::Exited("it has no standard output".into()) };
        let mut lines = BufReader::new(stdout).lines();
        let announced = timeout(self.pace.answer, lines.next_line()).await;
        let addrs: Addrs = match announced {
            Err(_) => return End::Hung("the engine did not say where it listens".into()),
            Ok(Ok(Some(line))) => match serde_json::from_str(&line) {
                Ok(addrs) => addrs,
                Err(_) => return End::Hung("the engine said something else than where it listens".into()),
            },
            Ok(_) => return End::Exited(self.exit(child).await),
        };
        let http = addrs.http;
        self.addrs.send_replace(Some(addrs));
        loop {
            let report = tokio::select! {
                _ = child.wait() => return End::Exited(self.exit(child).await),
                report = timeout(self.pace.answer, health(http)) => report,
            };
            let state = match report {
                Err(_) => return End::Hung("the engine process does not answer".into()),
                // Mostly it has just ended: the next look at it says so.
                Ok(Err(error)) => State::Down(format!("health not readable: {error}")),
                Ok(Ok(report)) => match hung(&report) {
                    Some(name) => return End::Hung(format!("the engine {name} hangs")),
                    None => judge(&report),
                },
            };
            let pause =
                if state == State::Ready { self.pace.look } else { self.pace.look_starting.max(self.pace.look / 4) };
            let pause = if state == State::Starting { self.pace.look_starting } else { pause };
            self.tell(state);
            tokio::select! {
                _ = child.wait() => return End::Exited(self.exit(child).await),
                () = sleep(pause) => {}
            }
        }
    }

    async fn exit(&self, child: &mut Child) -> String {
        match timeout(self.pace.farewell, child.wait()).await {
            Ok(Ok(status)) => format!("the engine process ended: {status}"),
            Ok(Err(error)) => format!("the engine process is lost: {error}"),
            Err(_) => {
                kill(child).await;
                "the engine process closed its output".into()
            }
        }
    }
}

async fn kill(child: &mut Child) {
    if let Err(error) = child.kill().await {
        tracing::warn!(%error, "the engine process was not killed");
    }
}

/// Closing its standard input asks it to end.
async fn farewell(child: &mut Child, stdin: Option<ChildStdin>, patience: Duration) {
    drop(stdin);
    if timeout(patience, child.wait()).await.is_err() {
        tracing::warn!("the engine process did not end when asked");
        kill(child).await;
    }
}

#[cfg(all(test, feature = "engine"))]
mod tests;
