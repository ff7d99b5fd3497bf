//! The cases a to e: messages, their latency, connects.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::brokers::Broker;
use super::gateway::Served;
use super::results::{Found, OURS, Sample};
use super::{Bench, Size};
use crate::sim::flood::{Content, Login, Outcome, Publishing, Subscribing, connect_rate, flood, paced};
use crate::sim::report::Spread;

/// Most messages under way to one subscriber: well below what may wait for it, enough to keep every broker busy.
const WINDOW: usize = 8_192;
/// The same to each of many.
const NARROW: usize = 256;
/// What was taken and has not reached its session for so long is lost.
const QUIET: Duration = Duration::from_secs(5);
/// How often the gateway's counters are read.
const LOOK: Duration = Duration::from_millis(10);

/// What devices publish in the case a.
const UPLINKS: [(&str, u8, Content); 3] = [
    ("uplinks to the router, audio, QoS 0", 0, Content::Audio),
    ("uplinks to the router, audio, QoS 1", 1, Content::Audio),
    ("uplinks to the router, control, QoS 1", 1, Content::Heartbeat),
];
/// What mosquitto does in the case a.
const BESIDE: [&str; 2] = ["to one wildcard subscriber, QoS 0", "to one wildcard subscriber, QoS 1"];
const MESSAGES: &str = "msg/s";

impl Bench<'_> {
    /// Case a.
    pub async fn router(&self, found: &mut Found) -> anyhow::Result<()> {
        let Size { rounds, publishers, .. } = self.size;
        let mut gateway = self.gateway("a", super::gateway::Kind::default()).await?;
        let mut other = self.other("a").await?;
        // fresh devices for each measurement: they number what they publish from 1
        let all = publishers * UPLINKS.len() * rounds as usize;
        let devices = gateway.devices((0..all).map(|n| format!("bench-{n}"))).await?;
        let mut devices = devices.chunks(publishers);
        for _ in 0..rounds {
            for (what, qos, content) in UPLINKS {
                let logins = devices.next().unwrap_or_default();
                self.uplinks(&gateway, found, (what, qos, content), logins).await?;
            }
            if let Some(other) = &other {
                for (what, qos) in BESIDE.into_iter().zip(0..) {
                    let outcome = self.to_one(other, found, what, qos).await?;
                    note_order(found, what, other, &outcome);
                }
            }
        }
        for (what, qos, _) in UPLINKS {
            found.at_least((what, BESIDE[usize::from(qos)]), MESSAGES, 1.5);
        }
        gateway.stop().await?;
        if let Some(other) = &mut other {
            other.stop().await?;
        }
        Ok(())
    }

    /// Devices publish; what the gateway's sessions took is its own count.
    async fn uplinks(
        &self,
        gateway: &Served,
        found: &mut Found,
        (what, qos, content): (&str, u8, Content),
        logins: &[Login],
    ) -> anyhow::Result<()> {
        let stream = if content == Content::Audio { "audio" } else { "control" };
        let publishers = logins.iter().map(|login| (login.clone(), format!("device/{}/{stream}", login.id))).collect();
        let load = Publishing { addr: gateway.addr, publishers, qos, content, length: self.size.length, window: 0 };
        let (before, dropped_before) = reached(gateway, content).await?;
        let cpu = gateway.cpu()?;
        let outcome = flood(&load, None).await?;
        let due = if qos == 0 { outcome.sent } else { outcome.acked };
        let (mut last, mut at) = ((0, 0), Instant::now());
        let mut now = Instant::now();
        while last.0 + last.1 < due && at.elapsed() < QUIET {
            let (reached, dropped) = reached(gateway, content).await?;
            now = Instant::now();
            let count = (reached - before, dropped - dropped_before);
            if count != last {
                (last, at) = (count, now);
            }
            sleep(LOOK).await;
        }
        // the time in which nothing came any more is not the router's
        let seconds = (if last.0 + last.1 < due { at } else { now } - outcome.begun).as_secs_f64();
        let cores = Some((gateway.cpu()? - cpu) / seconds);
        let (reached, dropped) = last;
        let taken = reached + dropped;
        let lost = due.saturating_sub(taken) + if qos > 0 { outcome.sent - outcome.acked } else { 0 };
        found.add(what, OURS, MESSAGES, Sample { value: taken as f64 / seconds, lost: Some(lost), cores });
        if content == Content::Audio {
            let share = dropped as f64 / taken.max(1) as f64 * 100.0;
            found.add(&format!("{what}: shed by full lanes of sessions"), OURS, "%", Sample::of(share));
        }
        Ok(())
    }

    /// Case b.
    pub async fn one_subscriber(&self, found: &mut Found) -> anyhow::Result<()> {
        let mut brokers = self.pair("b").await?;
        for _ in 0..self.size.rounds {
            for (what, qos) in BESIDE.into_iter().zip(0..) {
                for broker in &brokers {
                    let outcome = self.to_one(broker, found, what, qos).await?;
                    note_order(found, what, broker, &outcome);
                }
            }
        }
        for what in BESIDE {
            found.at_least((what, what), MESSAGES, 1.0);
        }
        stop(&mut brokers).await
    }

    async fn to_one(&self, broker: &Broker, found: &mut Found, what: &str, qos: u8) -> anyhow::Result<Outcome> {
        let load = self.publishing(broker, self.size.publishers, qos, WINDOW);
        let subscribing = subscribing(1, qos);
        let cpu = broker.cpu()?;
        let outcome = flood(&load, Some(&subscribing)).await?;
        found.add(what, broker.name(), MESSAGES, delivered(&outcome, broker.cpu()? - cpu, qos));
        Ok(outcome)
    }

    /// Case c.
    pub async fn many_subscribers(&self, found: &mut Found) -> anyhow::Result<()> {
        let mut brokers = self.pair("c").await?;
        for _ in 0..self.size.rounds {
            for qos in [0, 1] {
                let what = format!("1 publisher to {} subscribers, QoS {qos}", self.size.subscribers);
                for broker in &brokers {
                    let load = self.publishing(broker, 1, qos, NARROW);
                    let cpu = broker.cpu()?;
                    let outcome = flood(&load, Some(&subscribing(self.size.subscribers, qos))).await?;
                    found.add(&what, broker.name(), MESSAGES, delivered(&outcome, broker.cpu()? - cpu, qos));
                    note_order(found, &what, broker, &outcome);
                }
            }
        }
        stop(&mut brokers).await
    }

    /// Case d.
    pub async fn latency(&self, found: &mut Found) -> anyhow::Result<()> {
        let mut brokers = self.pair("d").await?;
        let rate = self.size.rate;
        self.answers(&brokers, found).await?;
        let name = |qos: u8, rank: &str| format!("latency at {rate}/s, QoS {qos}, {rank}");
        for _ in 0..self.size.rounds {
            for qos in [0, 1] {
                for broker in &brokers {
                    let load = self.publishing(broker, self.size.publishers, qos, 0);
                    let cpu = broker.cpu()?;
                    let outcome = paced(&load, Some(&subscribing(1, qos)), rate).await?;
                    let spread = Spread::of(outcome.times.iter().map(|ns| *ns as f64 / 1e3).collect());
                    let sample = delivered(&outcome, broker.cpu()? - cpu, qos);
                    for (rank, value) in [("p50", spread.p50), ("p99", spread.p99), ("most", spread.max)] {
                        // the loss is told once
                        let lost = sample.lost.filter(|_| rank == "p50");
                        found.add(&name(qos, rank), broker.name(), "us", Sample { value, lost, ..sample });
                    }
                }
            }
        }
        for qos in [0, 1] {
            found.at_most(&name(qos, "p99"), "us", 1_000.0);
            found.no_worse(&name(qos, "p99"), "us");
        }
        stop(&mut brokers).await
    }

    /// What voice waits for: from a device's publish to the acknowledgement that its session has taken it, there and back.
    async fn answers(&self, brokers: &[Broker], found: &mut Found) -> anyhow::Result<()> {
        let Some(Broker::Gateway(gateway)) = brokers.first() else { return Ok(()) };
        let Size { rounds, publishers, rate, length, .. } = self.size;
        let name =
            |rank: &str| format!("a device's uplink at {rate}/s, QoS 1, taken by its session and acknowledged, {rank}");
        // fresh devices for each measurement: they number what they publish from 1
        let devices = gateway.devices((0..publishers * rounds as usize).map(|n| format!("bench-d-{n}"))).await?;
        for logins in devices.chunks(publishers) {
            let publishers =
                logins.iter().map(|login| (login.clone(), format!("device/{}/control", login.id))).collect();
            let content = Content::Heartbeat;
            let load = Publishing { addr: gateway.addr, publishers, qos: 1, content, length, window: 0 };
            let cpu = gateway.cpu()?;
            let outcome = paced(&load, None, rate).await?;
            let cores = Some((gateway.cpu()? - cpu) / outcome.seconds.max(length.as_secs_f64()));
            let spread = Spread::of(outcome.answered.iter().map(|ns| *ns as f64 / 1e3).collect());
            let lost = outcome.sent - outcome.acked;
            for (rank, value) in [("p50", spread.p50), ("p99", spread.p99), ("most", spread.max)] {
                let lost = Some(lost).filter(|_| rank == "p50");
                found.add(&name(rank), OURS, "us", Sample { value, lost, cores });
            }
        }
        // there and back: 100 us each way
        found.at_most(&name("p50"), "us", 200.0);
        found.at_most(&name("p99"), "us", 400.0);
        Ok(())
    }

    /// Case e.
    pub async fn connects(&self, found: &mut Found) -> anyhow::Result<()> {
        let Size { rounds, length, connecting, .. } = self.size;
        let mut brokers = self.pair("e").await?;
        let anonymous: Vec<Login> = (0..connecting).map(|n| Login::anonymous(format!("connect-{n}"))).collect();
        let mut devices = Vec::new();
        if let Some(Broker::Gateway(gateway)) = brokers.first() {
            devices = gateway.devices((0..connecting).map(|n| format!("bench-{n}"))).await?;
        }
        for _ in 0..rounds {
            for broker in &brokers {
                let whose: &[(&str, &[Login])] = match broker {
                    Broker::Gateway(_) => &[("devices with their secrets", &devices), ("anonymous", &anonymous)],
                    Broker::Mosquitto(..) => &[("anonymous", &anonymous)],
                };
                for (what, logins) in whose {
                    let cpu = broker.cpu()?;
                    let (count, seconds) = connect_rate(broker.addr(), logins, length).await?;
                    let cores = Some((broker.cpu()? - cpu) / seconds);
                    let sample = Sample { value: count as f64 / seconds, lost: None, cores };
                    found.add(&format!("connects, {what}"), broker.name(), "1/s", sample);
                }
            }
        }
        stop(&mut brokers).await
    }

    fn publishing(&self, broker: &Broker, publishers: usize, qos: u8, window: usize) -> Publishing {
        let publisher = |n| (Login::anonymous(format!("publisher-{n}")), format!("bench/{n:04}"));
        let publishers = (1..=publishers).map(publisher).collect();
        let (addr, content, length) = (broker.addr(), Content::Audio, self.size.length);
        Publishing { addr, publishers, qos, content, length, window }
    }
}

/// Packets of devices that sessions took, and audio that full lanes dropped.
async fn reached(gateway: &Served, content: Content) -> anyhow::Result<(u64, u64)> {
    if content == Content::Heartbeat {
        return Ok((gateway.counter("voxgate_control_messages_total", "kind=\"heartbeat\"").await?, 0));
    }
    // in this order: what is counted between the two is not missed
    let dropped = gateway.counter("voxgate_audio_dropped_total", "").await?;
    Ok((gateway.counter("voxgate_audio_packets_total", "").await?, dropped))
}

fn subscribing(subscribers: usize, qos: u8) -> Subscribing {
    let subscribers = (0..subscribers).map(|n| Login::anonymous(format!("subscriber-{n}"))).collect();
    Subscribing { subscribers, filter: "bench/+".to_owned(), qos }
}

/// What came; what was sent (and with QoS 1 acknowledged) and did not come is lost, what was not acknowledged, too.
fn delivered(outcome: &Outcome, cpu_s: f64, qos: u8) -> Sample {
    let unacknowledged = if qos > 0 { outcome.sent - outcome.acked } else { 0 };
    let seconds = outcome.seconds.max(1e-6);
    Sample {
        value: outcome.delivered as f64 / seconds,
        lost: Some(outcome.lost + unacknowledged),
        cores: Some(cpu_s / seconds),
    }
}

/// What should never be is told when it is.
fn note_order(found: &mut Found, what: &str, broker: &Broker, outcome: &Outcome) {
    for (fault, count) in [("came again or out of order", outcome.repeats), ("subscribers closed", outcome.closed)] {
        if count > 0 {
            found.add(&format!("{what}: {fault}"), broker.name(), "times", Sample::of(count as f64));
        }
    }
}

async fn stop(brokers: &mut [Broker]) -> anyhow::Result<()> {
    for broker in brokers {
        broker.stop().await?;
    }
    Ok(())
}
