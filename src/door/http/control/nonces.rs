//! Nonces: what was asked once is not done twice.
//!
//! A nonce is remembered until its timestamp is too old to be taken, and none is forgotten before that: when there is no
//! room, nothing is taken. A restart forgets them all, so what was stamped before it is too old.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};

use super::fault::Fault;
use super::settings::Settings;
use crate::domain::Wall;

/// Longest nonce, bytes.
const LONGEST: usize = 128;
/// Timestamps below this are seconds, as OpenCane takes them.
const SECONDS: i64 = 10_000_000_000;

/// What a request says of its time and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    /// As it was written, for the signature.
    pub text: String,
    pub at_ms: i64,
    pub nonce: String,
}

impl Stamp {
    /// Reads the two headers; the complaints are OpenCane's, in its order.
    pub fn read(headers: &HeaderMap) -> Result<Self, Fault> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
        let bad = |code| Fault::coded(StatusCode::BAD_REQUEST, code);
        let (nonce, stamp) = (text("x-request-nonce"), text("x-request-timestamp"));
        if nonce.is_empty() || nonce.len() > LONGEST {
            return Err(bad("missing_nonce"));
        }
        if stamp.is_empty() {
            return Err(bad("missing_timestamp"));
        }
        let at = stamp.parse::<i64>().map_err(|_| bad("invalid_timestamp"))?;
        let at_ms = if (1..SECONDS).contains(&at) { at * 1_000 } else { at };
        Ok(Self { text: stamp.to_owned(), at_ms, nonce: nonce.to_owned() })
    }
}

/// The nonces of the last while.
#[derive(Debug)]
pub(super) struct Nonces {
    seen: Mutex<HashMap<[u8; 16], i64>>,
    window_ms: i64,
    most: usize,
    /// Nothing stamped before this counts.
    since_ms: i64,
}

impl Nonces {
    pub fn new(settings: &Settings, since: Wall) -> Self {
        let window_ms = i64::try_from(settings.nonce_window.0.as_millis()).unwrap_or(i64::MAX / 4);
        Self { seen: Mutex::default(), window_ms, most: settings.nonces_remembered, since_ms: ms(since) }
    }

    /// Takes the nonce of a proven identity, once.
    pub fn take(&self, who: &str, stamp: &Stamp, now: Wall) -> Result<(), Fault> {
        let now = ms(now);
        let off = now.checked_sub(stamp.at_ms).map_or(i64::MAX, i64::saturating_abs);
        if off > self.window_ms || stamp.at_ms < self.since_ms {
            return Err(Fault::coded(StatusCode::BAD_REQUEST, "stale_timestamp"));
        }
        let key = key(who, &stamp.nonce);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.get(&key).is_some_and(|until| *until >= now) {
            return Err(Fault::coded(StatusCode::CONFLICT, "replayed_nonce"));
        }
        if seen.len() >= self.most {
            seen.retain(|_, until| *until >= now);
            if seen.len() >= self.most {
                return Err(Fault::busy("too many nonces are remembered: come again later"));
            }
        }
        seen.insert(key, stamp.at_ms.saturating_add(self.window_ms));
        Ok(())
    }
}

fn ms(at: Wall) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// One operator's nonces are not another's.
fn key(who: &str, nonce: &str) -> [u8; 16] {
    let hash = Sha256::new().chain_update(who.as_bytes()).chain_update([0]).chain_update(nonce.as_bytes()).finalize();
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    key
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn stamp(at_ms: i64, nonce: &str) -> Stamp {
        Stamp { text: at_ms.to_string(), at_ms, nonce: nonce.to_owned() }
    }

    fn code(taken: Result<(), Fault>) -> &'static str {
        taken.expect_err("is refused").code
    }

    #[test]
    fn headers_are_complained_of_in_the_words_of_opencane() {
        let read = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            Stamp::read(&headers)
        };
        let failed = |pairs: &[(&'static str, &str)]| read(pairs).expect_err("is refused").code;
        assert_eq!(failed(&[]), "missing_nonce");
        assert_eq!(failed(&[("x-request-timestamp", "5")]), "missing_nonce");
        assert_eq!(failed(&[("x-request-nonce", "n")]), "missing_timestamp");
        assert_eq!(failed(&[("x-request-nonce", "n"), ("x-request-timestamp", "soon")]), "invalid_timestamp");
        let seconds = read(&[("x-request-nonce", "n"), ("x-request-timestamp", "1800000000")]).unwrap();
        let millis = read(&[("x-request-nonce", "n"), ("x-request-timestamp", "1800000000000")]).unwrap();
        assert_eq!((seconds.at_ms, millis.at_ms), (1_800_000_000_000, 1_800_000_000_000));
    }

    #[test]
    fn a_nonce_counts_once_for_each_operator_and_a_stamp_far_from_now_never() {
        let nonces = Nonces::new(&Settings::default(), Wall(NOW - 900_000));
        let (now, at) = (Wall(NOW), i64::try_from(NOW).unwrap());
        assert!(nonces.take("anna", &stamp(at, "n"), now).is_ok());
        assert_eq!(code(nonces.take("anna", &stamp(at, "n"), now)), "replayed_nonce");
        assert!(nonces.take("bert", &stamp(at, "n"), now).is_ok());
        assert!(nonces.take("anna", &stamp(at + 300_000, "ahead"), now).is_ok());
        // as long as its stamp may still be taken, it is not forgotten
        assert_eq!(code(nonces.take("anna", &stamp(at + 300_000, "ahead"), Wall(NOW + 599_000))), "replayed_nonce");
        for far in [at - 300_001, at + 300_001, 0, -5, i64::MIN, i64::MAX] {
            assert_eq!(code(nonces.take("anna", &stamp(far, "far"), now)), "stale_timestamp", "{far}");
        }
    }

    #[test]
    fn a_restart_that_forgets_nonces_takes_no_stamp_from_before_it() {
        let nonces = Nonces::new(&Settings::default(), Wall(NOW));
        let before = stamp(i64::try_from(NOW).unwrap() - 60_000, "n");
        assert_eq!(code(nonces.take("anna", &before, Wall(NOW + 1_000))), "stale_timestamp");
    }

    #[test]
    fn a_full_memory_takes_nothing_rather_than_forget_and_is_free_again_in_time() {
        let settings = Settings { nonces_remembered: 2, ..Settings::default() };
        let (nonces, at) = (Nonces::new(&settings, Wall(NOW)), i64::try_from(NOW).unwrap());
        assert!(nonces.take("anna", &stamp(at, "1"), Wall(NOW)).is_ok());
        assert!(nonces.take("anna", &stamp(at, "2"), Wall(NOW)).is_ok());
        assert_eq!(code(nonces.take("anna", &stamp(at, "3"), Wall(NOW))), "busy");
        assert_eq!(code(nonces.take("anna", &stamp(at, "1"), Wall(NOW))), "replayed_nonce");
        assert!(nonces.take("anna", &stamp(at + 301_000, "3"), Wall(NOW + 301_000)).is_ok());
    }
}
