//! The case g: everybody comes back at once, and those who talk must not hear it.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::super::generator::{Generator, Run};
use super::gateway::{Kind, Served};
use super::idle::hello;
use super::results::{Found, OURS, Sample};
use super::{Bench, Size};
use crate::cli::sim::Mode;
use crate::domain::DeviceId;
use crate::sim::bench;
use crate::sim::device::Login as Talker;
use crate::sim::flood::{Login, crowd, herd};
use crate::sim::report::Report;

/// Connects that the gateway takes a second: a herd is let in at a pace that leaves the voices their time.
const CONNECTS: u32 = 2_000;
/// The devices' first tries are spread over this, as those of devices that back off at random.
const SPREAD: Duration = Duration::from_secs(3);
/// Length of the question.
const QUESTION: Duration = Duration::from_secs(1);

const BACK: &str = "devices back, their hello answered, after the start of the new gateway";
const SILENT: &str = "turns meanwhile that were not answered";
const LATE: &str = "frames late at talking devices meanwhile, p99";

impl Bench<'_> {
    /// Case g.
    pub async fn restart(&self, found: &mut Found) -> anyhow::Result<()> {
        let Size { rounds, connections, talkers, .. } = self.size;
        let kind = Kind { talks: true, connects: CONNECTS, ..Kind::default() };
        let mut gateway = self.gateway("g", kind).await?;
        let devices = gateway.devices((0..connections).map(|n| format!("bench-{n}"))).await?;
        let talkers = gateway.devices((0..talkers).map(|n| format!("talker-{n}"))).await?;
        let talk = Talk::new(self, &gateway, &talkers)?;
        let mut idle = crowd(gateway.addr, &devices, None).await?;
        for _ in 0..rounds {
            let quiet = talk.run().await?;
            found.add(
                "frames late at talking devices, nobody comes back, p99",
                OURS,
                "ms",
                Sample::of(quiet.late_ms.p99),
            );
            let addr = gateway.addr;
            let returning = herd(addr, std::mem::take(&mut idle), SPREAD, hello);
            let talking = async {
                let stopped = Instant::now();
                gateway.stop().await?;
                let started = Instant::now();
                gateway.again().await?;
                let up = Instant::now();
                let report = talk.run().await?;
                anyhow::Ok((report, stopped, started, up))
            };
            let (returned, talked) = tokio::join!(returning, talking);
            let (returned, (report, stopped, started, up)) = (returned?, talked?);
            idle = returned.crowd;
            let last = *returned.back.last().context("nobody came back")?;
            anyhow::ensure!(idle.len() == devices.len(), "{} of {} came back", idle.len(), devices.len());
            let seconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64();
            let mut add = |what: &str, unit, value| found.add(what, OURS, unit, Sample::of(value));
            add(BACK, "s", seconds(started, last));
            add("gateway stops, and is up again", "s", seconds(stopped, up));
            add("tries that failed meanwhile, a device", "times", returned.failed as f64 / devices.len().max(1) as f64);
            found.add(LATE, OURS, "ms", Sample { lost: Some(report.lost), ..Sample::of(report.late_ms.p99) });
            let mut add = |what: &str, unit, value| found.add(what, OURS, unit, Sample::of(value));
            add("frames late at talking devices meanwhile, most", "ms", report.late_ms.max);
            add(SILENT, "turns", (report.turns - report.answered) as f64);
            add("seconds for which they talked", "s", report.seconds);
        }
        found.at_most(BACK, "s", 10.0);
        found.at_most(LATE, "ms", 20.0);
        found.at_most(SILENT, "turns", 0.0);
        gateway.stop().await
    }
}

/// Devices that ask and are answered, in a process of their own.
struct Talk {
    generator: Generator,
    turns: u32,
}

impl Talk {
    fn new(bench: &Bench<'_>, gateway: &Served, logins: &[Login]) -> anyhow::Result<Self> {
        let wav = bench.dir.join("question.wav");
        bench::write_voice(&wav, QUESTION)?;
        let login = |login: &Login| {
            anyhow::Ok(Talker {
                host: gateway.addr.ip().to_string(),
                port: gateway.addr.port(),
                id: DeviceId::parse(&login.id)?,
                secret: login.password.clone().unwrap_or_default(),
            })
        };
        let logins = logins.iter().map(login).collect::<anyhow::Result<Vec<_>>>()?;
        let generator = Generator::new(bench.dir, Some(&gateway.config), &wav, &logins, &[])?;
        Ok(Self { generator, turns: bench.size.turns })
    }

    async fn run(&self) -> anyhow::Result<Report> {
        let run = Run { turns: self.turns, mode: Mode::Manual, interrupt: None, hold: 0 };
        Ok(self.generator.run(&run, std::future::pending()).await?.report)
    }
}
