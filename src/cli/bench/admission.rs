//! `voxgate bench admission`: who waits, and for how long, when more talk than a service works on at once.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;

use crate::app::Outside;
use crate::cli::context::Context;
use crate::sim::admission::{self, Order, Outcome, Plan};
use crate::sim::plot::{self, Curves};

/// So long all come to their pace.
const BEFORE: Duration = Duration::from_secs(4);

/// Let more and more people talk to a service that works on few requests at once
///
/// No gateway and no network: the queue, the classes and the prediction of `[providers.pool]` in front of a test service
/// that takes its time. Each talker asks, hears the answer, waits and asks again; two devices are woken and greeted
/// meanwhile, and tasks ask without a pause. The same is done twice side by side: with classes (a live turn, then a greeting,
/// then tasks; who would wait for more than `max_wait` is told that nobody is free) and first come, first served.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate bench admission --plot admission.svg
  voxgate bench admission --talkers 5,50 --at-once 2 --takes 800 --seconds 20")]
pub(in crate::cli) struct Args {
    /// Numbers of people who talk, each with a service of its own
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1_u32, 5, 10, 15, 20, 25, 30, 35, 40, 50, 60],
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    talkers: Vec<u32>,
    /// Requests that the service works on at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    at_once: u32,
    /// How long it takes for one, ms
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    takes: u64,
    /// Between an answer and the next question, ms, on average
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pause: u64,
    /// Tasks that ask without a pause
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    tasks: u32,
    /// How long is measured, seconds; four more go before
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Draw waits and who was told that nobody is free against the number of talkers
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Print one JSON object a run
    #[arg(long)]
    json: bool,
}

/// One run.
#[derive(Debug, Serialize)]
struct Found {
    talkers: u32,
    seconds: u64,
    classes: Outcome,
    first_come: Outcome,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // they wait nearly all of the time: side by side they do not disturb each other
    let found = runtime.block_on(join_all(args.talkers.iter().map(|talkers| measure(args, *talkers))));
    if !args.json {
        writeln!(context.out, "{}", HEADINGS.join("\n"))?;
    }
    for one in &found {
        if args.json {
            context.json(one)?;
        } else {
            writeln!(context.out, "{one}")?;
        }
    }
    match &args.plot {
        Some(path) => plot::ladder(path, &curves(args, &found)).map_err(anyhow::Error::msg),
        None => Ok(()),
    }
}

async fn measure(args: &Args, talkers: u32) -> Found {
    let plan = Plan {
        order: Order::Classes,
        talkers,
        woken: 2,
        tasks: args.tasks,
        at_once: args.at_once,
        takes: Duration::from_millis(args.takes),
        pause: Duration::from_millis(args.pause),
        before: BEFORE,
        length: Duration::from_secs(args.seconds),
    };
    let Outside { clock, random, .. } = Outside::default();
    let (classes, first_come) = tokio::join!(
        admission::run(plan, Arc::clone(&clock), Arc::clone(&random)),
        admission::run(Plan { order: Order::FirstCome, ..plan }, clock, random),
    );
    Found { talkers, seconds: args.seconds, classes, first_come }
}

const HEADINGS: [&str; 2] = [
    "         with classes                                            first come, first served",
    "talkers  live p50    p99 ms   busy  greeting p50  tasks a second  live p50    p99 ms  greeting p50  tasks a second",
];

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { talkers, classes, first_come, .. } = self;
        write!(f, "{talkers:>7}")?;
        for (outcome, told) in [(classes, true), (first_come, false)] {
            let (live, greeting) = (outcome.live.first_ms, outcome.greetings.first_ms);
            write!(f, "  {:>8.0}  {:>8.0}", live.p50, live.p99)?;
            if told {
                write!(f, "  {:>3.0} %", busy(outcome))?;
            }
            // none was answered at all
            let greeting = if greeting.count == 0 { "-".to_owned() } else { format!("{:.0}", greeting.p50) };
            write!(f, "  {greeting:>12}  {:>14.1}", self.tasks(outcome))?;
        }
        Ok(())
    }
}

impl Found {
    /// Requests of tasks that were answered in a second.
    fn tasks(&self, outcome: &Outcome) -> f64 {
        outcome.tasks.first_ms.count as f64 / self.seconds.max(1) as f64
    }
}

/// Of 100 questions those that were told that nobody is free.
fn busy(outcome: &Outcome) -> f64 {
    let asked = outcome.live.first_ms.count + outcome.live.busy + outcome.live.unanswered;
    100.0 * outcome.live.busy as f64 / asked.max(1) as f64
}

fn curves(args: &Args, found: &[Found]) -> Curves {
    let line = |name: &str, value: fn(&Found) -> f64| {
        (name.to_owned(), found.iter().map(|one| (f64::from(one.talkers), value(one))).collect())
    };
    Curves {
        title: format!(
            "{} requests at once of {} ms each, {} tasks that ask without a pause",
            args.at_once, args.takes, args.tasks
        ),
        across: "people who talk, each with a pause after the answer".to_owned(),
        ms: vec![
            line("live turn, with classes: p50", |one| one.classes.live.first_ms.p50),
            line("live turn, with classes: p99", |one| one.classes.live.first_ms.p99),
            line("live turn, first come: p50", |one| one.first_come.live.first_ms.p50),
            line("live turn, first come: p99", |one| one.first_come.live.first_ms.p99),
        ],
        bar: (2_000.0 + args.takes as f64, "max_wait, and the answer itself".to_owned()),
        below: vec![
            line("with classes: told that nobody is free, of 100 questions", |one| busy(&one.classes)),
            line("answers to tasks a second, with classes", |one| one.tasks(&one.classes)),
        ],
        below_name: String::new(),
    }
}
