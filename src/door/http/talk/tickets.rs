//! Tickets: each lets one browser in, once, as one device, within its time. They are in memory only, and as digests:
//! a restart of the gateway ends them, and what is read out of its memory opens nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use sha2::{Digest, Sha256};

use crate::domain::{Clock, DeviceId, Span};

/// The longest time of a ticket.
pub(super) const LONGEST: Duration = Duration::from_hours(24);

/// Why no ticket was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// As many as may wait do.
    #[error("{0} tickets wait for their browsers already (talk.tickets); the oldest end first, so try again later")]
    Full(usize),
    /// The time makes no sense.
    #[error("a ticket is good for a day at most, and for some time at least, as in \"10m\"")]
    Time,
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// A ticket on its way to a browser: 256 random bits, as text. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket(String);

impl Ticket {
    /// The text, for who asked for it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

type Print = [u8; 32];

/// Whose ticket it was.
#[derive(Debug, Clone)]
pub(super) struct Held {
    print: Print,
    pub device: DeviceId,
    /// On the monotonic clock.
    until: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tickets {
    most: usize,
    clock: Arc<dyn Clock>,
    waiting: Mutex<HashMap<Print, Held>>,
}

impl Tickets {
    pub fn new(most: usize, clock: Arc<dyn Clock>) -> Self {
        Self { most, clock, waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Print, Held>> {
        // each change leaves whole tickets in a whole table
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one.
    pub fn issue(&self, device: &DeviceId, time: Span) -> Result<Ticket, TicketError> {
        if time.0.is_zero() || time.0 > LONGEST {
            return Err(TicketError::Time);
        }
        let mut random = [0_u8; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut random).map_err(|_| TicketError::Random)?;
        let ticket = URL_SAFE_NO_PAD.encode(random);
        let (print, now) = (digest(&ticket), self.clock.mono());
        let mut waiting = self.waiting();
        waiting.retain(|_, held| held.until > now);
        if waiting.len() >= self.most {
            return Err(TicketError::Full(self.most));
        }
        waiting.insert(print, Held { print, device: device.clone(), until: now + time.0 });
        Ok(Ticket(ticket))
    }

    /// Takes one in; it is good no more.
    pub fn redeem(&self, ticket: &str) -> Option<Held> {
        let held = self.waiting().remove(&digest(ticket))?;
        (held.until > self.clock.mono()).then_some(held)
    }

    /// Gives one back whose browser found no room.
    pub fn restore(&self, held: Held) {
        self.waiting().insert(held.print, held);
    }
}

fn digest(ticket: &str) -> Print {
    Sha256::digest(ticket).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::domain::{ManualClock, Wall};

    fn tickets(most: usize) -> (Tickets, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Wall(1)));
        (Tickets::new(most, clock.clone()), clock)
    }

    fn laptop() -> DeviceId {
        DeviceId::parse("laptop").unwrap()
    }

    #[test]
    fn a_ticket_is_good_once_and_within_its_time() {
        let (tickets, clock) = tickets(8);
        let (one, late) = (tickets.issue(&laptop(), Span::secs(60)), tickets.issue(&laptop(), Span::secs(60)));
        let (one, late) = (one.unwrap(), late.unwrap());
        assert_ne!(one, late);
        clock.advance(Duration::from_secs(59));
        assert!(tickets.redeem("guessed").is_none());
        assert_eq!(tickets.redeem(one.reveal()).unwrap().device, laptop());
        assert!(tickets.redeem(one.reveal()).is_none(), "used");
        clock.advance(Duration::from_secs(1));
        assert!(tickets.redeem(late.reveal()).is_none(), "too late");
    }

    #[test]
    fn a_ticket_that_found_no_room_is_good_again() {
        let (tickets, _) = tickets(8);
        let ticket = tickets.issue(&laptop(), Span::secs(60)).unwrap();
        let held = tickets.redeem(ticket.reveal()).unwrap();
        tickets.restore(held);
        assert!(tickets.redeem(ticket.reveal()).is_some());
    }

    #[test]
    fn tickets_are_bounded_and_those_whose_time_is_over_make_room() {
        let (tickets, clock) = tickets(2);
        for _ in 0..2 {
            tickets.issue(&laptop(), Span::secs(60)).unwrap();
        }
        assert_eq!(tickets.issue(&laptop(), Span::secs(60)), Err(TicketError::Full(2)));
        clock.advance(Duration::from_mins(1));
        assert!(tickets.issue(&laptop(), Span::secs(60)).is_ok());
        for no in [Span::secs(0), Span::secs(24 * 3_600 + 1)] {
            assert_eq!(tickets.issue(&laptop(), no), Err(TicketError::Time));
        }
    }

    #[test]
    fn what_is_kept_of_a_ticket_is_not_the_ticket() {
        let (tickets, _) = tickets(1);
        let ticket = tickets.issue(&laptop(), Span::secs(60)).unwrap();
        assert_eq!(ticket.reveal().len(), 43);
        assert!(!format!("{tickets:?} {ticket:?}").contains(ticket.reveal()));
    }
}
