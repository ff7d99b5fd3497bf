//! Who may send photos: one token a session, known as long as the session holds its pass, and kept as a digest.
//!
//! A token is a name, by which it is found, and a secret of 256 bits, which is compared in constant time.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::super::devices::Whereabouts;
use super::{Metrics, PATH};
use crate::domain::{DeviceId, PhotoPass, Photos, SessionId, TurnId};
use crate::door::credentials::Credentials;
use crate::door::quiet::Quiet;
use crate::topics::Who;

/// Most passes at once.
const MOST: usize = 16_384;

/// What a token stands for.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) device: DeviceId,
    pub(super) session: Option<SessionId>,
    turn: Arc<AtomicU32>,
    /// The device had a record: without one it is somebody who was removed since.
    known: bool,
    digest: [u8; 32],
    /// Photos of this session: one at a time.
    pub(super) place: Arc<Semaphore>,
    /// The session has given its pass back.
    pub(super) over: CancellationToken,
}

impl Grant {
    /// The turn that runs now.
    pub(super) fn turn(&self) -> Option<TurnId> {
        Some(self.turn.load(Ordering::Relaxed)).filter(|turn| *turn > 0).map(TurnId)
    }
}

/// The passes that are held.
pub struct Passes {
    own: Weak<Self>,
    credentials: Arc<Credentials>,
    whereabouts: Arc<Whereabouts>,
    random: Arc<dyn Fn() -> u128 + Send + Sync>,
    metrics: Metrics,
    quiet: Quiet,
    held: Mutex<HashMap<u64, Arc<Grant>>>,
}

impl fmt::Debug for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passes").finish_non_exhaustive()
    }
}

impl Passes {
    /// None is held. `random` gives bits that nobody can guess.
    pub fn new(
        credentials: Arc<Credentials>,
        whereabouts: Arc<Whereabouts>,
        random: Arc<dyn Fn() -> u128 + Send + Sync>,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: Weak::clone(own),
            credentials,
            whereabouts,
            random,
            metrics,
            quiet: Quiet::default(),
            held: Mutex::default(),
        })
    }

    /// What a token stands for; none when it is wrong, or no longer known.
    pub(super) fn find(&self, token: &str) -> Option<Arc<Grant>> {
        let (name, secret) = token.split_once('.')?;
        let name = u64::from_str_radix(name, 16).ok()?;
        let grant = self.held.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()?;
        let fits = bool::from(digest(secret).ct_eq(&grant.digest));
        (fits && (!grant.known || self.knows(&grant.device))).then_some(grant)
    }

    fn knows(&self, device: &DeviceId) -> bool {
        self.credentials.who(device.as_str()) == Some(Who::Device(device.clone()))
    }

    fn grant(&self, device: &DeviceId, session: Option<&SessionId>) -> Option<(String, Arc<AtomicU32>, Held)> {
        let secret = format!("{:032x}{:032x}", (self.random)(), (self.random)());
        let turn = Arc::new(AtomicU32::new(0));
        let grant = Grant {
            device: device.clone(),
            session: session.cloned(),
            turn: Arc::clone(&turn),
            known: self.knows(device),
            digest: digest(&secret),
            place: Arc::new(Semaphore::new(1)),
            over: CancellationToken::new(),
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= MOST {
            return None;
        }
        let name = loop {
            // the low half; two alike are as good as impossible, and then drawn again
            let name = u64::try_from((self.random)() & u128::from(u64::MAX)).unwrap_or_default();
            if !held.contains_key(&name) {
                break name;
            }
        };
        held.insert(name, Arc::new(grant));
        self.metrics.open.set(i64::try_from(held.len()).unwrap_or(i64::MAX));
        Some((format!("{name:x}.{secret}"), turn, Held { passes: Weak::clone(&self.own), name }))
    }

    fn give_back(&self, name: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = held.remove(&name);
        self.metrics.open.set(i64::try_from(held.len()).unwrap_or(i64::MAX));
        drop(held);
        if let Some(grant) = gone {
            grant.over.cancel();
        }
    }
}

impl Photos for Passes {
    fn open(
        &self,
        device: &DeviceId,
        session: Option<&SessionId>,
        addresses: Option<(IpAddr, IpAddr)>,
    ) -> Option<PhotoPass> {
        let Some(url) = self.whereabouts.url(device, addresses, PATH) else {
            self.metrics.pass("no_address");
            if let Some(unsaid) = self.quiet.may_log() {
                tracing::warn!(%device, unsaid, "a board cannot be told where to send photos: set devices.host");
            }
            return None;
        };
        let Some((token, turn, held)) = self.grant(device, session) else {
            self.metrics.pass("full");
            return None;
        };
        self.metrics.pass("ok");
        Some(PhotoPass::new(url, token, turn, Box::new(held)))
    }
}

/// Gives a pass back when it is dropped.
struct Held {
    passes: Weak<Passes>,
    name: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(passes) = self.passes.upgrade() {
            passes.give_back(self.name);
        }
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}
