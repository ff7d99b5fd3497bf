//! What a run of `voxgate bench mqtt` found: medians, losses, and whether the bars are met.

use std::io::{self, Write};

use serde::Serialize;

use super::Case;
use crate::cli::table;

/// The broker that is ours.
pub(super) const OURS: &str = "voxgate";
/// The one that it is compared with.
pub(super) const THEIRS: &str = "mosquitto";

/// One run.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    /// This program's version, and how it was built.
    version: &'static str,
    build: &'static str,
    /// What it was compared with; none when there was nothing.
    mosquitto: Option<String>,
    /// Of this machine.
    cores: usize,
    /// Of this machine when the run began, 1 minute.
    load: Option<f64>,
    rounds: u32,
    rows: Vec<Row>,
    bars: Vec<Bar>,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
struct Row {
    case: Case,
    what: String,
    broker: &'static str,
    unit: &'static str,
    /// Of the rounds.
    median: f64,
    least: f64,
    most: f64,
    /// Messages, of all rounds together; none where nothing can be lost.
    lost: Option<u64>,
    /// Cores that the broker took, median; none where it was not looked at.
    broker_cores: Option<f64>,
}

/// Something that must be so.
#[derive(Debug, Clone, Serialize)]
struct Bar {
    case: Case,
    what: String,
    /// What was found.
    found: String,
    met: bool,
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub value: f64,
    pub lost: Option<u64>,
    pub cores: Option<f64>,
}

impl Sample {
    /// A figure by itself.
    pub fn of(value: f64) -> Self {
        Self { value, lost: None, cores: None }
    }
}

#[derive(Debug)]
struct Series {
    what: String,
    broker: &'static str,
    unit: &'static str,
    samples: Vec<Sample>,
}

/// What one case found.
#[derive(Debug)]
pub(super) struct Found {
    case: Case,
    series: Vec<Series>,
    bars: Vec<Bar>,
}

impl Found {
    pub fn new(case: Case) -> Self {
        Self { case, series: Vec::new(), bars: Vec::new() }
    }

    /// Adds a measurement; those of one name, broker and unit belong together.
    pub fn add(&mut self, what: &str, broker: &'static str, unit: &'static str, sample: Sample) {
        let same = |series: &&mut Series| (&*series.what, series.broker, series.unit) == (what, broker, unit);
        match self.series.iter_mut().find(same) {
            Some(series) => series.samples.push(sample),
            None => self.series.push(Series { what: what.to_owned(), broker, unit, samples: vec![sample] }),
        }
    }

    fn median(&self, what: &str, broker: &str, unit: &str) -> Option<f64> {
        let series = self.series.iter().find(|s| s.what == what && s.broker == broker && s.unit == unit)?;
        Some(spread(series.samples.iter().map(|sample| sample.value)).1)
    }

    /// Ours must be at least so many times theirs.
    pub fn at_least(&mut self, (ours, theirs): (&str, &str), unit: &'static str, times: f64) {
        let Some(mine) = self.median(ours, OURS, unit) else { return };
        let Some(other) = self.median(theirs, THEIRS, unit) else { return };
        let ratio = if other > 0.0 { mine / other } else { f64::INFINITY };
        let found = format!("{ratio:.2} times");
        // what full lanes shed reached the router, and stopped there
        let shed = self.median(&format!("{ours}: shed by full lanes of sessions"), OURS, "%");
        let shed = shed.map_or_else(String::new, |share| format!(" ({}% of it shed by full lanes)", number(share)));
        self.bar(format!("{ours}: at least {times} times mosquitto's{shed}"), found, ratio >= times);
    }

    /// Ours must be at most so much.
    pub fn at_most(&mut self, what: &str, unit: &'static str, most: f64) {
        let Some(mine) = self.median(what, OURS, unit) else { return };
        self.bar(format!("{what}: at most {most} {unit}"), format!("{} {unit}", number(mine)), mine <= most);
    }

    /// Ours must be no more than theirs.
    pub fn no_worse(&mut self, what: &str, unit: &'static str) {
        let Some(mine) = self.median(what, OURS, unit) else { return };
        let Some(other) = self.median(what, THEIRS, unit) else { return };
        let found = format!("{} against {} {unit}", number(mine), number(other));
        self.bar(format!("{what}: no worse than mosquitto's"), found, mine <= other);
    }

    fn bar(&mut self, what: String, found: String, met: bool) {
        self.bars.push(Bar { case: self.case, what, found, met });
    }

    /// Ours must lose nothing.
    fn nothing_lost(&mut self) {
        let ours = self.series.iter().filter(|series| series.broker == OURS);
        let lost: Vec<u64> = ours.flat_map(|series| &series.samples).filter_map(|sample| sample.lost).collect();
        if !lost.is_empty() {
            let lost: u64 = lost.into_iter().sum();
            self.bar("nothing is lost".to_owned(), format!("{lost} lost"), lost == 0);
        }
    }
}

impl Results {
    pub fn new(rounds: u32, mosquitto: Option<String>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            build: if cfg!(debug_assertions) { "debug: its figures mean little" } else { "release" },
            mosquitto,
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            load: crate::observe::load(),
            rounds,
            rows: Vec::new(),
            bars: Vec::new(),
        }
    }

    /// Adds a case that is measured.
    pub fn take(&mut self, mut found: Found) {
        found.nothing_lost();
        for Series { what, broker, unit, samples } in found.series {
            let (least, median, most) = spread(samples.iter().map(|sample| sample.value));
            let lost = samples.iter().filter_map(|sample| sample.lost).reduce(|a, b| a + b);
            let cores = samples.iter().any(|sample| sample.cores.is_some());
            let broker_cores = cores.then(|| spread(samples.iter().filter_map(|sample| sample.cores)).1);
            let case = found.case;
            self.rows.push(Row { case, what, broker, unit, median, least, most, lost, broker_cores });
        }
        self.bars.extend(found.bars);
    }

    /// Every bar is met.
    pub fn met(&self) -> bool {
        self.bars.iter().all(|bar| bar.met)
    }

    /// For a person.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let beside = self.mosquitto.as_deref().unwrap_or("nothing beside it");
        let load = self.load.map_or("unknown".to_owned(), |load| load.to_string());
        writeln!(
            out,
            "voxgate {} ({}), {beside}; {} cores, load {load}; medians of {}\n",
            self.version, self.build, self.cores, self.rounds
        )?;
        let dash = || "-".to_owned();
        let rows = self.rows.iter().map(|row| {
            vec![
                row.case.letter().to_owned(),
                row.what.clone(),
                row.broker.to_owned(),
                format!("{} {}", number(row.median), row.unit),
                format!("{} to {}", number(row.least), number(row.most)),
                row.lost.map_or_else(dash, |lost| lost.to_string()),
                row.broker_cores.map_or_else(dash, |cores| format!("{cores:.2}")),
            ]
        });
        let heading = ["case", "what", "broker", "median", "range", "lost", "its cores"];
        table::write(out, &heading, &rows.collect::<Vec<_>>(), "nothing was measured")?;
        if self.bars.is_empty() {
            return Ok(());
        }
        let bars = self.bars.iter().map(|bar| {
            let met = if bar.met { "met" } else { "missed" };
            vec![bar.case.letter().to_owned(), bar.what.clone(), bar.found.clone(), met.to_owned()]
        });
        writeln!(out)?;
        table::write(out, &["case", "bar", "found", ""], &bars.collect::<Vec<_>>(), "")
    }
}

/// The least, the median and the greatest; zeros when there is nothing.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |n: usize| values.get(n).copied().unwrap_or_default();
    let (last, middle) = (values.len().saturating_sub(1), values.len() / 2);
    let median = if values.len().is_multiple_of(2) && middle > 0 {
        f64::midpoint(at(middle - 1), at(middle))
    } else {
        at(middle)
    };
    (at(0), median, at(last))
}

/// As many digits as mean something.
fn number(value: f64) -> String {
    if value.abs() >= 1_000.0 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count below 2^53")]
        let digits = (value.round().abs() as u64).to_string();
        let mut out = String::new();
        for (n, digit) in digits.chars().enumerate() {
            if n > 0 && (digits.len() - n).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        return out;
    }
    if value.abs() >= 100.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(spread([5.0, 1.0, 3.0].into_iter()), (1.0, 3.0, 5.0));
        assert_eq!(spread([4.0, 1.0, 2.0, 3.0].into_iter()), (1.0, 2.5, 4.0));
        assert_eq!(spread([].into_iter()), (0.0, 0.0, 0.0));
    }

    #[test]
    fn a_bar_is_missed_by_one_lost_message_and_by_too_little() {
        let mut found = Found::new(Case::B);
        let sample = |value, lost| Sample { value, lost: Some(lost), cores: None };
        found.add("QoS 1", OURS, "msg/s", sample(149.0, 0));
        found.add("QoS 1", OURS, "msg/s", sample(151.0, 1));
        found.add("QoS 1", THEIRS, "msg/s", sample(100.0, 7));
        found.at_least(("QoS 1", "QoS 1"), "msg/s", 1.5);
        found.at_least(("QoS 1", "QoS 1"), "msg/s", 1.6);
        found.at_least(("QoS 1", "not measured"), "msg/s", 9.0);
        let mut results = Results::new(2, None);
        results.take(found);
        assert_eq!(results.bars.iter().map(|bar| bar.met).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(results.bars[2].found, "1 lost", "theirs is their own affair");
        assert!(!results.met());
    }

    #[test]
    fn figures_are_read_by_people() {
        assert_eq!(
            ["0", "0.52", "152", "1,234,567"],
            [0.0, 0.52, 152.4, 1_234_567.0].map(number).each_ref().map(|s| &**s)
        );
    }
}
