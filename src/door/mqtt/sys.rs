//! `$SYS/broker/…`: the door's figures under the names that mosquitto gives them, for tools that know those.
//!
//! Retained in memory, QoS 0, and published again only when they have changed.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::gate::Gate;
use super::hub::Figures;
use super::message::Message;
use crate::observe;

/// Over how many minutes load is averaged.
const WINDOWS: [u32; 3] = [1, 5, 15];

/// What was published last.
#[derive(Debug)]
pub(super) struct Sys {
    since: Instant,
    last: Option<Instant>,
    told: HashMap<String, String>,
    loads: HashMap<&'static str, Load>,
    most_memory: u64,
}

/// A counter's rate a minute, averaged as the system's load is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Load {
    count: u64,
    averages: [f64; 3],
}

impl Load {
    /// The counter stands at `count`, `gone` after it was last asked.
    fn advance(&mut self, count: u64, gone: Duration) {
        let minutes = gone.as_secs_f64() / 60.0;
        let rate = count.saturating_sub(self.count) as f64 / minutes;
        for (average, window) in self.averages.iter_mut().zip(WINDOWS) {
            *average = rate + (-minutes / f64::from(window)).exp() * (*average - rate);
        }
        self.count = count;
    }
}

impl Sys {
    pub fn new(since: Instant) -> Self {
        Self { since, last: None, told: HashMap::new(), loads: HashMap::new(), most_memory: 0 }
    }

    /// Publishes what has changed, when it is time.
    pub fn publish(&mut self, gate: &Gate, figures: &Figures, now: Instant) {
        let every = gate.settings.sys_interval.0;
        if every.is_zero() || self.last.is_some_and(|last| now - last < every) {
            return;
        }
        let gone = now - self.last.unwrap_or(self.since);
        self.last = Some(now);
        let counters = counters(gate);
        for (name, value) in self.values(gate, figures, &counters, now) {
            self.tell(gate, name.to_owned(), value);
        }
        if gone.is_zero() {
            return; // the first time: there is no rate yet
        }
        for (name, count) in counters.loads() {
            let load = self.loads.entry(name).or_default();
            load.advance(count, gone);
            let Load { averages, .. } = *load;
            for (average, window) in averages.into_iter().zip(WINDOWS) {
                self.tell(gate, format!("load/{name}/{window}min"), format!("{average:.2}"));
            }
        }
    }

    fn values(
        &mut self,
        gate: &Gate,
        figures: &Figures,
        counters: &Counters,
        now: Instant,
    ) -> Vec<(&'static str, String)> {
        let connected = gate.registry.len();
        let memory = observe::cost().resident;
        self.most_memory = self.most_memory.max(memory);
        let expired = gate.metrics.sessions_ended("expired");
        vec![
            ("version", concat!("voxgate version ", env!("CARGO_PKG_VERSION")).to_owned()),
            ("uptime", format!("{} seconds", (now - self.since).as_secs())),
            ("clients/connected", connected.to_string()),
            ("clients/disconnected", figures.away.to_string()),
            ("clients/total", (connected + figures.away).to_string()),
            ("clients/maximum", gate.registry.peak().to_string()),
            ("clients/expired", expired.to_string()),
            ("bytes/received", counters.bytes_in.to_string()),
            ("bytes/sent", counters.bytes_out.to_string()),
            ("messages/received", counters.packets_in.to_string()),
            ("messages/sent", counters.packets_out.to_string()),
            ("messages/stored", figures.waiting.to_string()),
            ("store/messages/count", figures.waiting.to_string()),
            ("store/messages/bytes", figures.waiting_bytes.to_string()),
            ("publish/messages/received", counters.publishes_in.to_string()),
            ("publish/messages/sent", counters.publishes_out.to_string()),
            ("publish/messages/dropped", counters.dropped.to_string()),
            ("publish/bytes/received", gate.metrics.payload_in.get().to_string()),
            ("publish/bytes/sent", gate.metrics.payload_out.get().to_string()),
            ("retained messages/count", figures.retained.to_string()),
            ("subscriptions/count", figures.subscriptions.to_string()),
            ("shared_subscriptions/count", figures.shared.to_string()),
            ("heap/current", memory.to_string()),
            ("heap/maximum", self.most_memory.to_string()),
        ]
    }

    fn tell(&mut self, gate: &Gate, name: String, value: String) {
        if self.told.get(&name) == Some(&value) {
            return;
        }
        let payload = Bytes::copy_from_slice(value.as_bytes());
        let message = Message::new(format!("$SYS/broker/{name}"), payload, 0, true);
        gate.broker.tell(Message { own: true, ..message });
        self.told.insert(name, value);
    }
}

struct Counters {
    bytes_in: u64,
    bytes_out: u64,
    packets_in: u64,
    packets_out: u64,
    publishes_in: u64,
    publishes_out: u64,
    dropped: u64,
    connects: u64,
}

fn counters(gate: &Gate) -> Counters {
    let metrics = &gate.metrics;
    let (packets_in, packets_out) = metrics.all_packets();
    Counters {
        bytes_in: metrics.bytes_in.get(),
        bytes_out: metrics.bytes_out.get(),
        packets_in,
        packets_out,
        publishes_in: metrics.packets("in", "publish"),
        publishes_out: metrics.packets("out", "publish"),
        dropped: metrics.lost_messages(),
        connects: metrics.connects("ok"),
    }
}

impl Counters {
    fn loads(&self) -> [(&'static str, u64); 8] {
        [
            ("bytes/received", self.bytes_in),
            ("bytes/sent", self.bytes_out),
            ("messages/received", self.packets_in),
            ("messages/sent", self.packets_out),
            ("publish/received", self.publishes_in),
            ("publish/sent", self.publishes_out),
            ("publish/dropped", self.dropped),
            ("connections", self.connects),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_told_as_it_is_and_a_pause_fades() {
        let mut load = Load::default();
        let tick = Duration::from_secs(10);
        for n in 1..=1_000 {
            load.advance(n * 20, tick);
        }
        assert!(load.averages.iter().all(|average| (average - 120.0).abs() < 0.2), "{load:?}");
        load.advance(load.count, Duration::from_mins(1));
        let [one, five, fifteen] = load.averages;
        assert!((one - 120.0 * (-1.0_f64).exp()).abs() < 0.2, "{load:?}");
        assert!(one < five && five < fifteen && fifteen < 120.0, "{load:?}");
    }
}
