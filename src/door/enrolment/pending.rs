//! Boards that wait for an operator: bounded in number, each with a code of its own until its time is over.
//!
//! It knows no credentials and no clock: times are spans since some fixed point, given with each call.

use std::net::IpAddr;
use std::time::Duration;

use super::Settings;
use crate::domain::{DeviceId, Wall};
use crate::door::credentials::Fingerprint;

/// Codes are of six digits, the first not 0: firmware speaks the digits, people type a number.
const CODES: (u128, u128) = (100_000, 900_000);
/// Times that wrong claims are counted over.
const MINUTE: Duration = Duration::from_mins(1);

/// Why a board that nobody enrolled waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It was never here.
    New,
    /// A board of this name enrolled with another number.
    OtherBoard,
    /// An operator made a device of this name.
    ByHand,
}

impl Reason {
    /// The label in metrics, events and tables.
    pub fn name(self) -> &'static str {
        match self {
            Reason::New => "new",
            Reason::OtherBoard => "other_board",
            Reason::ByHand => "by_hand",
        }
    }
}

/// A board that waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// What it says to be.
    pub device: DeviceId,
    pub(super) client: Fingerprint,
    /// What its screen shows.
    pub code: String,
    /// What it says back while it asks whether it was claimed.
    pub challenge: String,
    /// Why it waits.
    pub reason: Reason,
    /// Where it asked from.
    pub address: IpAddr,
    /// The board's type, as it says; empty when it does not.
    pub board: String,
    /// When it first asked.
    pub since: Wall,
    until: Duration,
    network: IpAddr,
}

/// Who asks.
pub(super) struct Asker<'a> {
    pub device: &'a DeviceId,
    pub client: &'a Fingerprint,
    pub address: IpAddr,
    pub network: IpAddr,
    pub board: &'a str,
    pub reason: Reason,
    pub since: Wall,
}

/// What became of asking.
pub(super) enum Place {
    /// It waits already; the code stays.
    Old(Waiting),
    /// It waits from now on.
    New(Waiting),
    /// There is no room, for all or for its address.
    Full,
}

/// Why a code was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoClaim {
    /// Nobody waits with it.
    Wrong,
    /// Too many wrong codes; so long until the next may be tried.
    Later(Duration),
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: Vec<Waiting>,
    wrong: u32,
    wrong_since: Duration,
}

impl Pending {
    /// Forgets those whose time is over.
    pub fn expire(&mut self, now: Duration) {
        self.waiting.retain(|waiting| now < waiting.until);
    }

    /// All of them, in the order in which they came.
    pub fn list(&mut self, now: Duration) -> Vec<Waiting> {
        self.expire(now);
        self.waiting.clone()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The place of a board that asks.
    pub fn ask(&mut self, who: &Asker<'_>, settings: &Settings, now: Duration, random: &dyn Fn() -> u128) -> Place {
        self.expire(now);
        if let Some(old) = self.find(who.device, who.client) {
            return Place::Old(old.clone());
        }
        let own = self.waiting.iter().filter(|waiting| waiting.network == who.network).count();
        if self.waiting.len() >= settings.pending || own >= settings.pending_per_address {
            return Place::Full;
        }
        let waiting = Waiting {
            device: who.device.clone(),
            client: who.client.clone(),
            code: self.code(random),
            challenge: format!("{:032x}", random()),
            reason: who.reason,
            address: who.address,
            board: who.board.to_owned(),
            since: who.since,
            until: now + settings.code_life.0,
            network: who.network,
        };
        self.waiting.push(waiting.clone());
        Place::New(waiting)
    }

    /// A code that no other board has. There are 900,000, and at most 10,000 wait: one is found.
    fn code(&self, random: &dyn Fn() -> u128) -> String {
        let mut number = random() % CODES.1;
        loop {
            let code = (CODES.0 + number).to_string();
            if self.waiting.iter().all(|waiting| waiting.code != code) {
                return code;
            }
            number = (number + 1) % CODES.1;
        }
    }

    /// This board, if it waits.
    pub fn find(&self, device: &DeviceId, client: &Fingerprint) -> Option<&Waiting> {
        self.waiting.iter().find(|waiting| waiting.device == *device && waiting.client == *client)
    }

    /// The board with this code. Wrong ones are counted; too many of them in a minute end all trying for its rest.
    pub fn by_code(&mut self, code: &str, most: u32, now: Duration) -> Result<Waiting, NoClaim> {
        self.expire(now);
        let since = now.saturating_sub(self.wrong_since);
        if since >= MINUTE {
            (self.wrong, self.wrong_since) = (0, now);
        } else if self.wrong >= most {
            return Err(NoClaim::Later(MINUTE.saturating_sub(since)));
        }
        let found = self.waiting.iter().find(|waiting| waiting.code == code);
        found.cloned().ok_or_else(|| {
            self.wrong += 1;
            NoClaim::Wrong
        })
    }

    /// The device has been claimed: nobody waits for its name any more.
    pub fn claimed(&mut self, device: &DeviceId) {
        self.waiting.retain(|waiting| waiting.device != *device);
    }
}
