//! Requests of each peer: a bucket that fills evenly, in a table that does not grow without end.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Limits;
use crate::door::enrolment::network;

/// See the module; a peer is an address, unless it is something else.
#[derive(Debug)]
pub(in super::super) struct Rates<P = IpAddr> {
    per_minute: f64,
    most: usize,
    seen: Mutex<HashMap<P, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Duration,
}

impl Rates {
    /// Of addresses, an IPv6 network of 64 bits counting as one.
    pub fn new(limits: &Limits) -> Self {
        Self::of(limits.requests_per_minute, limits.addresses)
    }

    /// May this address ask once more; see [`Rates::take`].
    pub fn admit(&self, address: IpAddr, now: Duration) -> bool {
        self.take(network(address), now)
    }
}

impl<P: Eq + Hash> Rates<P> {
    /// So many requests a minute of each of at most so many peers.
    pub fn of(per_minute: u32, most: usize) -> Self {
        Self { per_minute: per_minute.into(), most, seen: Mutex::default() }
    }

    /// May this peer ask once more; `now` since some fixed point. When the table is full of peers that asked lately, new
    /// ones may not.
    pub fn take(&self, peer: P, now: Duration) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.contains_key(&peer) && seen.len() >= self.most {
            seen.retain(|_, bucket| self.level(bucket, now) < self.per_minute);
            if seen.len() >= self.most {
                return false;
            }
        }
        let bucket = seen.entry(peer).or_insert(Bucket { left: self.per_minute, at: now });
        (bucket.left, bucket.at) = (self.level(bucket, now), now);
        let may = bucket.left >= 1.0;
        if may {
            bucket.left -= 1.0;
        }
        may
    }

    fn level(&self, bucket: &Bucket, now: Duration) -> f64 {
        let filled = now.saturating_sub(bucket.at).as_secs_f64() * self.per_minute / 60.0;
        (bucket.left + filled).min(self.per_minute)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn an_address_that_asked_too_often_may_ask_again_later_and_others_meanwhile() {
        let limits = Limits { requests_per_minute: 6, addresses: 16, ..Limits::default() };
        let (rates, second) = (Rates::new(&limits), Duration::from_secs(1));
        let (one, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        assert!((0..6).all(|_| rates.admit(one, second)));
        assert!(!rates.admit(one, second * 2) && rates.admit(other, second * 2));
        assert!(rates.admit(one, second * 12) && !rates.admit(one, second * 12));
    }

    #[test]
    fn a_full_table_forgets_who_has_been_quiet_and_no_one_else() {
        let limits = Limits { requests_per_minute: 60, addresses: 16, ..Limits::default() };
        let rates = Rates::new(&limits);
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        assert!((0..16).all(|n| rates.admit(address(n), Duration::from_secs(1))));
        assert!(!rates.admit(address(16), Duration::from_secs(1)));
        assert!(rates.admit(address(16), Duration::from_secs(3)));
        assert_eq!(rates.seen.lock().unwrap().len(), 1);
    }
}
