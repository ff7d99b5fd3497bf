//! Who becomes a device of this gateway: boards that ask for their credentials over HTTP.
//!
//! A board that is known by its number gets its secret; one that an operator allowed beforehand is enrolled at its
//! first contact; every other waits, with a code on its screen, until an operator claims it. It knows no HTTP.

mod metrics;
mod names;
mod pending;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::domain::{Bulletins, Clock, DeviceId, Event, EventKind};
use crate::store::records::Transport;

use super::credentials::{Credentials, CredentialsError, Enrolled, Standing, Taken};
use pending::{Asker, NoClaim, Pending, Place};

pub use metrics::Metrics;
pub use names::{Allowed, mac, number};
pub use pending::{Reason, Waiting};
pub use settings::{BringUp, Settings, Welcome};

/// A board that asks.
#[derive(Debug, Clone)]
pub struct Board {
    /// Its MAC.
    pub device: DeviceId,
    /// The number that it made up, in lower case: the only thing that tells it from who says its MAC.
    pub number: Number,
    /// Where it asks from.
    pub address: IpAddr,
    /// Its type, as it says; empty when it does not.
    pub kind: String,
}

/// A board's own number. Its Debug hides it: who knows it is that board.
#[derive(Clone, PartialEq, Eq)]
pub struct Number(String);

impl Number {
    /// Reads a UUID.
    pub fn parse(text: &str) -> Option<Self> {
        number(text).map(Self)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Number(..)")
    }
}

/// What a board is told.
#[derive(Debug, Clone)]
pub enum Told {
    /// It may come in, with this.
    Enrolled(Enrolled, Way),
    /// It waits for an operator.
    Wait(Box<Waiting>),
    /// It may not come in.
    Barred,
    /// Too many wait.
    Full,
}

/// How a board came to be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It was enrolled before.
    Known,
    /// An operator named it beforehand.
    Expected,
    /// It is on the list.
    Allowed,
    /// Bring-up mode.
    BringUp,
}

/// What a board is told that asks whether it was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// It was: its credentials are there for the asking.
    Done,
    /// Not yet.
    Waiting,
    /// It says another challenge than it was given.
    Stale,
    /// It does not wait: it never asked, or its code's time is over.
    Unknown,
}

/// Why a claim was not done.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Nobody waits with this code.
    #[error(
        "no board waits with this code; codes count for a while only: look at the board's screen, or at `voxgate device \
         pending`"
    )]
    Wrong,
    /// Too many wrong codes.
    #[error("too many wrong codes; try again in {} s", .0.as_secs().max(1))]
    Later(Duration),
    /// It could not be written.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// What enrolment needs from elsewhere.
pub struct Parts {
    /// Where boards are enrolled.
    pub credentials: Arc<Credentials>,
    /// Where operators are told.
    pub bulletins: Arc<dyn Bulletins>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random bits, for codes.
    pub random: Arc<dyn Fn() -> u128 + Send + Sync>,
    /// Counters.
    pub metrics: Metrics,
}

/// Enrolment. Share it as an `Arc`.
pub struct Enrolment {
    settings: Settings,
    welcome: Welcome,
    parts: Parts,
    pending: Mutex<Pending>,
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment").finish_non_exhaustive()
    }
}

impl Enrolment {
    /// Nobody waits yet. Says loudly when everybody is let in.
    pub fn new(settings: Settings, welcome: Welcome, parts: Parts) -> Self {
        if welcome.bring_up != BringUp::Off {
            let from = if welcome.bring_up == BringUp::Anywhere { "every address" } else { "loopback" };
            tracing::warn!(from, "bring-up mode of boards: whoever asks is enrolled as a device, do not leave it on");
        }
        Self { settings, welcome, parts, pending: Mutex::default() }
    }

    fn pending_now(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a board is told that asks for its credentials.
    pub async fn ask(&self, board: &Board) -> Result<Told, CredentialsError> {
        let credentials = &self.parts.credentials;
        let client = credentials.fingerprint(&board.device, &board.number.0)?;
        let mut standing = credentials.standing(&board.device, &client).await?;
        let way = match standing {
            Standing::Expected => Some(Way::Expected),
            Standing::Unknown => self.welcome(board),
            _ => None,
        };
        if let Some(way) = way {
            let enrolled = match way {
                Way::Expected => credentials.enrol_expected(&board.device, &client).await,
                _ => credentials.enrol_first(&board.device, &client).await,
            };
            match enrolled {
                Ok(enrolled) => {
                    self.tell_enrolled(&board.device, way);
                    return Ok(Told::Enrolled(enrolled, way));
                }
                // somebody was quicker: what counts is who it is now
                Err(CredentialsError::Exists(_)) => standing = credentials.standing(&board.device, &client).await?,
                Err(error) => return Err(error),
            }
        }
        let reason = match standing {
            Standing::Enrolled(enrolled) => return Ok(Told::Enrolled(enrolled, Way::Known)),
            Standing::Taken(Taken::Barred) => return Ok(Told::Barred),
            // named anew in this very moment: it is let in when it asks again
            Standing::Unknown | Standing::Expected => Reason::New,
            Standing::Taken(Taken::OtherBoard) => Reason::OtherBoard,
            Standing::Taken(Taken::ByHand) => Reason::ByHand,
        };
        let asker = Asker {
            device: &board.device,
            client: &client,
            address: board.address,
            network: network(board.address),
            board: &board.kind,
            reason,
            since: self.parts.clock.wall(),
        };
        let now = self.parts.clock.mono();
        let place = self.with_pending(|pending| pending.ask(&asker, &self.settings, now, &*self.parts.random));
        match place {
            Place::Old(waiting) => Ok(Told::Wait(Box::new(waiting))),
            Place::New(waiting) => {
                self.tell_pending(&waiting);
                Ok(Told::Wait(Box::new(waiting)))
            }
            Place::Full => Ok(Told::Full),
        }
    }

    /// What the board's screen shows.
    pub fn message(&self, waiting: &Waiting) -> String {
        self.settings.message.replace("{code}", &waiting.code)
    }

    /// What a board is told that asks whether it was claimed. Tells nothing that opens a door.
    pub async fn activation(&self, board: &Board, challenge: Option<&str>) -> Result<Activation, CredentialsError> {
        let credentials = &self.parts.credentials;
        let client = credentials.fingerprint(&board.device, &board.number.0)?;
        // a board that waits when its name is imported need not wait for the end of its polls
        if let Standing::Enrolled(_) | Standing::Expected = credentials.standing(&board.device, &client).await? {
            return Ok(Activation::Done);
        }
        let now = self.parts.clock.mono();
        Ok(self.with_pending(|pending| {
            pending.expire(now);
            match pending.find(&board.device, &client) {
                None => Activation::Unknown,
                Some(waiting) if challenge.is_some_and(|said| said != waiting.challenge) => Activation::Stale,
                Some(_) => Activation::Waiting,
            }
        }))
    }

    /// Boards that wait, in the order in which they came.
    pub fn pending(&self) -> Vec<Waiting> {
        let now = self.parts.clock.mono();
        self.with_pending(|pending| pending.list(now))
    }

    /// Enrols the board that shows this code, in the place of whoever has its name; gives its id. The open
    /// connections of the one before are the door's to end.
    pub async fn claim(
        &self,
        code: &str,
        name: Option<String>,
        transport: Option<Transport>,
    ) -> Result<DeviceId, ClaimError> {
        let (metrics, now) = (&self.parts.metrics, self.parts.clock.mono());
        let found = self.with_pending(|pending| pending.by_code(code, self.settings.wrong_claims, now));
        let waiting = found.map_err(|no| match no {
            NoClaim::Wrong => {
                metrics.refused("wrong");
                ClaimError::Wrong
            }
            NoClaim::Later(wait) => {
                metrics.refused("too_many");
                ClaimError::Later(wait)
            }
        })?;
        let device = waiting.device;
        let claimed = self.parts.credentials.enrol_claimed(&device, &waiting.client, name, transport).await;
        claimed.inspect_err(|_| metrics.refused("failed"))?;
        self.with_pending(|pending| pending.claimed(&device));
        metrics.enrolled("claimed");
        tracing::info!(%device, "a board was claimed");
        Ok(device)
    }

    /// Works on those that wait, and tells their number.
    fn with_pending<T>(&self, work: impl FnOnce(&mut Pending) -> T) -> T {
        let mut pending = self.pending_now();
        let done = work(&mut pending);
        self.parts.metrics.pending.set(i64::try_from(pending.len()).unwrap_or(i64::MAX));
        done
    }

    fn welcome(&self, board: &Board) -> Option<Way> {
        if self.welcome.allowed.iter().any(|allowed| allowed.fits(&board.device)) {
            return Some(Way::Allowed);
        }
        let bring_up = match self.welcome.bring_up {
            BringUp::Off => false,
            BringUp::Loopback => board.address.to_canonical().is_loopback(),
            BringUp::Anywhere => true,
        };
        bring_up.then_some(Way::BringUp)
    }

    fn tell_enrolled(&self, device: &DeviceId, way: Way) {
        if way == Way::Expected {
            // it may have waited with a code before it was named
            self.with_pending(|pending| pending.claimed(device));
        }
        let way = match way {
            Way::Expected => "expected",
            Way::Allowed => "allowed",
            Way::Known | Way::BringUp => "bring_up",
        };
        self.parts.metrics.enrolled(way);
        tracing::info!(%device, way, "a board was enrolled at its first contact");
    }

    /// A line and an event for a board that waits; the code is in neither, it is for who stands before the board.
    /// There are at most as many as places, each for as long as a code counts.
    fn tell_pending(&self, waiting: &Waiting) {
        let (device, reason, address) = (&waiting.device, waiting.reason.name(), waiting.address);
        self.parts.metrics.asked(reason);
        match waiting.reason {
            Reason::New => tracing::info!(%device, %address, "a board waits to be claimed: voxgate device pending"),
            Reason::OtherBoard => tracing::warn!(
                %device, %address,
                "a board says the name of another: it was flashed anew, or it is a stranger; it waits to be claimed"
            ),
            Reason::ByHand => tracing::warn!(
                %device, %address,
                "a board says the name of a device that was made by hand; it waits to be claimed"
            ),
        }
        let detail = json!({
            "alert": "device_pending", "device": device.as_str(), "reason": reason, "address": address.to_string(),
            "board": waiting.board,
        });
        let at = self.parts.clock.wall();
        let event = Event { device: Some(device.clone()), at, kind: EventKind::Alert, detail };
        self.parts.bulletins.event(event);
    }
}

/// What counts as one address.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}
