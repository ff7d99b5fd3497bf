//! Wrong passwords cost their sender time: by address and by name, more with each one.
//!
//! A name under attack delays only those who are wrong about it, so its owner still gets in from elsewhere.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::metrics::Metrics;
use super::settings::Settings;

/// Longest name that is remembered: no record has a longer one.
const LONGEST_NAME: usize = 64;
/// Of how many entries the oldest goes when a full table needs room.
const SAMPLE: usize = 8;

#[derive(Debug, Clone, Copy)]
struct Entry {
    failures: u32,
    /// The last failure.
    at: Instant,
    /// When the next check of a chosen password from there may begin.
    free: Instant,
}

#[derive(Debug, Default)]
struct Tables {
    addresses: HashMap<IpAddr, Entry>,
    names: HashMap<String, Entry>,
}

/// Who failed lately.
#[derive(Debug)]
pub(super) struct Backoff {
    settings: Settings,
    tables: Mutex<Tables>,
    metrics: Metrics,
}

impl Backoff {
    pub(super) fn new(settings: Settings, metrics: Metrics) -> Self {
        Self { settings, tables: Mutex::default(), metrics }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a wrong password; says how long after its arrival it is answered.
    pub(super) fn failed(&self, address: IpAddr, name: &str) -> Duration {
        let (now, settings) = (Instant::now(), &self.settings);
        let mut tables = self.tables();
        let for_address = self.delay(note(&mut tables.addresses, network(address), settings, now));
        let for_name = if name.len() <= LONGEST_NAME {
            self.delay(note(&mut tables.names, name.to_owned(), settings, now))
        } else {
            Duration::ZERO
        };
        self.metrics.suspects.set(i64::try_from(tables.addresses.len()).unwrap_or(i64::MAX));
        drop(tables);
        self.metrics.hold_back(if for_name > for_address { "name" } else { "address" });
        for_address.max(for_name)
    }

    /// When a check of a chosen password from `address` may begin; none for an address that did nothing wrong.
    /// Each call of an address that did takes the next turn, so that it gets no more checks than answers.
    pub(super) fn turn(&self, address: IpAddr) -> Option<Instant> {
        let now = Instant::now();
        let mut tables = self.tables();
        let entry = tables.addresses.get_mut(&network(address))?;
        if now - entry.at >= self.settings.remember.0 {
            return None;
        }
        let turn = entry.free.max(now);
        entry.free = turn + self.delay(entry.failures);
        Some(turn)
    }

    fn delay(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.settings.delay.0.saturating_mul(doubled).min(self.settings.delay_max.0)
    }
}

fn note<K: Eq + Hash + Clone>(table: &mut HashMap<K, Entry>, key: K, settings: &Settings, now: Instant) -> u32 {
    if table.len() >= settings.remembered && !table.contains_key(&key) {
        // a flood of new addresses must not wash away those that failed most lately, nor cost a look at all
        let oldest = table.iter().take(SAMPLE).min_by_key(|(_, entry)| entry.at).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            table.remove(&oldest);
        }
    }
    let entry = table.entry(key).or_insert(Entry { failures: 0, at: now, free: now });
    entry.failures = if now - entry.at < settings.remember.0 { entry.failures.saturating_add(1) } else { 1 };
    entry.at = now;
    entry.failures
}

/// An IPv6 host has a /64 to itself.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::net::Ipv4Addr;

    use super::*;

    fn address(n: u32) -> IpAddr {
        Ipv4Addr::from(n).into()
    }

    fn backoff(remembered: usize) -> Backoff {
        Backoff::new(Settings { remembered, ..Settings::default() }, Metrics::default())
    }

    #[tokio::test(start_paused = true)]
    async fn each_wrong_password_costs_more_up_to_a_limit_and_is_forgotten() {
        let backoff = backoff(64);
        let delays: Vec<u128> = (0..8).map(|_| backoff.failed(address(1), "anna").as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        tokio::time::advance(Duration::from_secs(301)).await;
        assert_eq!(backoff.failed(address(1), "anna").as_millis(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_many_addresses_try_costs_them_all_but_takes_nobodys_turn() {
        let backoff = backoff(64);
        for n in 0..6 {
            backoff.failed(address(n), "anna");
        }
        assert_eq!(backoff.failed(address(99), "anna").as_millis(), 5_000, "the seventh address, its first attempt");
        assert_eq!(backoff.failed(address(98), "bert").as_millis(), 100);
        assert_eq!(backoff.turn(address(100)), None, "an address that did nothing wrong begins at once");
    }

    #[tokio::test(start_paused = true)]
    async fn turns_of_an_address_that_failed_come_one_after_the_other() {
        let backoff = backoff(64);
        backoff.failed(address(1), "anna");
        backoff.failed(address(1), "anna");
        let now = Instant::now();
        let turns: Vec<u128> = (0..3).map(|_| (backoff.turn(address(1)).unwrap() - now).as_millis()).collect();
        assert_eq!(turns, [0, 200, 400]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_tables_are_bounded_and_a_flood_does_not_wash_the_latest_away() {
        let backoff = backoff(16);
        for n in 0..1_000 {
            backoff.failed(address(n), &format!("name-{n}"));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let tables = backoff.tables();
        assert_eq!((tables.addresses.len(), tables.names.len()), (16, 16));
        assert!(tables.addresses.contains_key(&address(999)));
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let one: IpAddr = "2001:db8:1:2:3::4".parse().unwrap();
        let two: IpAddr = "2001:db8:1:2:ffff::1".parse().unwrap();
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(network(one), network(two));
        assert_eq!(network(mapped), "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
