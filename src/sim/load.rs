//! Many simulated devices against a running gateway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::device::Login;
use super::outage::{self, Away, Outage};
use super::report::Report;
use super::script::Script;
use super::talker::{Kind, Manner, Noticed, Talker, TalkerError};
use super::turn::Turn;
use crate::observe::cost;

/// Texts of complaints that are kept apart in a report.
const TEXTS: usize = 50;

/// What to run.
#[derive(Debug, Clone)]
pub struct Load {
    /// One login a device, and what sort of device it is.
    pub devices: Vec<(Login, Kind)>,
    /// How they talk.
    pub manner: Manner,
    /// When they have talked enough.
    pub until: Until,
    /// Connects are spread over this.
    pub ramp: Duration,
    /// All are connected and silent for so long before the first word.
    pub hold: Duration,
}

/// When devices have talked enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// After so many turns each; one that cannot connect loses a turn with each try.
    Turns(usize),
    /// After this time; who loses the gateway comes back.
    Time(Duration),
}

impl Until {
    /// How many turns there will be, as far as it is known.
    fn turns(self, devices: usize) -> Option<usize> {
        match self {
            Self::Turns(turns) => Some(turns * devices),
            Self::Time(_) => None,
        }
    }
}

/// What a device tells.
enum Told {
    Turn(Result<Turn, String>),
    Away(Away),
    Noticed(Noticed),
}

/// Runs it; tells `progress` after each turn how many there were. Also gives the turns themselves, for a plot.
pub async fn run(
    load: &Load,
    script: Arc<Script>,
    mut progress: impl FnMut(usize, Option<usize>),
) -> (Report, Vec<Turn>) {
    let start = Instant::now();
    let talk = start + load.ramp + load.hold;
    // as many speak as are spoken to: first words are spread over the length of a question and of its answer
    let length = script.length() * 2;
    let devices = load.devices.len();
    let all = load.until.turns(devices);
    let (told_tx, mut told) = mpsc::channel(256);
    let mut tasks = JoinSet::new();
    for (at, (login, kind)) in load.devices.iter().cloned().enumerate() {
        let (script, told, load) = (Arc::clone(&script), told_tx.clone(), load.clone());
        let share = at as f64 / devices.max(1) as f64;
        // frames of different devices fall between each other, as they do in life
        let phase = Duration::from_millis(u64::from(script.frame_ms)).mul_f64(share);
        let (begin, word) = (start + load.ramp.mul_f64(share), talk + length.mul_f64(share) + phase);
        let device = OneDevice { at, login, kind, load, script, told, talk };
        tasks.spawn(async move { device.runs(begin, word).await });
    }
    drop(told_tx);
    let mut results: Vec<Result<Turn, String>> = Vec::with_capacity(all.unwrap_or_default());
    let (mut aways, mut noticed) = (Vec::new(), Noticed::default());
    sleep_until(talk).await;
    let before = cost();
    let mut resident = before.resident;
    while let Some(told) = told.recv().await {
        match told {
            Told::Turn(result) => {
                results.push(result);
                resident = resident.max(cost().resident);
                progress(results.len(), all);
            }
            Told::Away(away) => aways.push(away),
            Told::Noticed(more) => noticed.add(more),
        }
    }
    let (seconds, generator_cpu_s) = (talk.elapsed().as_secs_f64(), cost().cpu_s - before.cpu_s);
    while tasks.join_next().await.is_some() {}
    let turns = results.iter().filter_map(|result| result.as_ref().ok().cloned()).collect();
    let mut report = Report::of(devices, results);
    report.lost += u64::from(noticed.lost);
    (report.complaints, report.mistimed) = (counted(noticed.complaints), counted(noticed.mistimed));
    report.outages = Outage::of(aways);
    (Report { seconds, generator_cpu_s, generator_rss: resident, ..report }, turns)
}

impl Noticed {
    fn add(&mut self, more: Noticed) {
        self.complaints.extend(more.complaints);
        self.mistimed.extend(more.mistimed);
        self.lost += more.lost;
    }
}

/// Texts and how often each was there; the numbers in them are not told apart.
fn counted(texts: Vec<String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for text in texts {
        let text =
            text.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("#");
        if counts.len() < TEXTS || counts.contains_key(&text) {
            *counts.entry(text).or_default() += 1;
        }
    }
    counts
}

/// One device of a run.
struct OneDevice {
    at: usize,
    login: Login,
    kind: Kind,
    load: Load,
    script: Arc<Script>,
    told: mpsc::Sender<Told>,
    /// When the run's first word is said.
    talk: Instant,
}

impl OneDevice {
    /// Connects at `begin`, says its first word at `word`.
    async fn runs(&self, begin: Instant, word: Instant) {
        sleep_until(begin).await;
        let mut connected = self.connect().await;
        sleep_until(word).await;
        let mut left = None;
        let mut turn = 0;
        let mut tries = 0;
        while self.goes_on(turn) {
            let mut talker = match connected {
                Ok(talker) => talker,
                Err(error) => {
                    if matches!(self.load.until, Until::Turns(_)) {
                        self.tell(Told::Turn(Err(error.to_string()))).await;
                        turn += 1;
                    } else {
                        sleep(outage::wait(tries)).await;
                        tries += 1;
                    }
                    connected = self.connect().await;
                    continue;
                }
            };
            let hello = self.seconds();
            let result = talker.turn(&self.script, &self.load.manner, moment(self.at, turn)).await;
            turn += 1;
            if let Some(lost) = left.filter(|_| result.is_ok()) {
                self.tell(Told::Away(Away { lost, hello, answered: self.seconds() })).await;
                left = None;
            }
            (connected, tries) = match &result {
                Ok(_) => (self.goes_or_stays(talker, turn).await, 0),
                Err(error) => {
                    if error.is_loss() {
                        left.get_or_insert_with(|| self.seconds());
                    }
                    self.tell(Told::Noticed(talker.noticed())).await;
                    // the old connection is closed before there is another
                    drop(talker);
                    (self.connect().await, 0)
                }
            };
            let result = result.map(|turn| Turn { speech: Vec::new(), ..turn });
            self.tell(Told::Turn(result.map_err(|error| error.to_string()))).await;
        }
        if let Ok(talker) = connected {
            self.tell(Told::Noticed(talker.noticed())).await;
            talker.disconnect().await;
        }
    }

    fn goes_on(&self, turn: usize) -> bool {
        match self.load.until {
            Until::Turns(turns) => turn < turns,
            Until::Time(time) => self.talk.elapsed() < time,
        }
    }

    async fn connect(&self) -> Result<Talker, TalkerError> {
        Talker::connect(&self.login, &self.kind, &self.load.manner, &self.script, self.at as u64).await
    }

    /// After some turns it leaves and comes back: with a goodbye, and the next time without a word.
    async fn goes_or_stays(&self, mut talker: Talker, turn: usize) -> Result<Talker, TalkerError> {
        let leave = self.load.manner.leave;
        let times = |turns: usize| ((turns + self.at) as f64 * leave).floor();
        if matches!(self.kind, Kind::Native) || times(turn) <= times(turn.saturating_sub(1)) {
            return Ok(talker);
        }
        if times(turn) % 2.0 < 1.0 {
            talker.begins_anew().await?;
            return Ok(talker);
        }
        self.tell(Told::Noticed(talker.noticed())).await;
        drop(talker);
        self.connect().await
    }

    /// Seconds since the first word of the run.
    fn seconds(&self) -> f64 {
        self.talk.elapsed().as_secs_f64()
    }

    async fn tell(&self, told: Told) {
        // the report is gone only when the whole run is
        let _ = self.told.send(told).await;
    }
}

/// How far into an answer a device breaks: another moment each time, within the first second.
fn moment(device: usize, turn: usize) -> Duration {
    let spread = (device * 37 + turn * 211) % 800;
    Duration::from_millis(100 + u64::try_from(spread).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_that_differ_in_numbers_are_one() {
        let texts = ["a frame 20 ms after tts start", "a frame 31 ms after tts start", "hello"].map(str::to_owned);
        let counts = counted(texts.to_vec());
        assert_eq!(
            counts.into_iter().collect::<Vec<_>>(),
            [("a frame # ms after tts start".to_owned(), 2), ("hello".to_owned(), 1)]
        );
    }
}
