//! From what a client shows to who it is.
//!
//! A right secret of the gateway's comes in at once, whatever others do at the same address. A wrong one, and one for
//! a name that nobody has, cost the same and are answered later each time. A chosen password is checked on threads
//! of its own; an address that was wrong lately waits for its turn there.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::hashing::For;
use super::verifier::{Checked, Verifier};
use super::{Credentials, CredentialsError, Known, PeerCertificate, backoff};
use crate::store::records::{Device, devices};
use crate::topics::Who;

/// A record that changes so often during one login is not waited for.
const CHECKS: usize = 3;

/// What a client shows. Its Debug hides the password.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The user name, when it gives one.
    pub user: Option<&'a str>,
    /// The password, when it gives one.
    pub password: Option<&'a [u8]>,
    /// Where it comes from.
    pub address: IpAddr,
    /// Its certificate, when it has one and the chain was verified.
    pub certificate: Option<&'a PeerCertificate>,
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("user", &self.user).field("address", &self.address).finish_non_exhaustive()
    }
}

/// Who it is, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The device, or the operator's role.
    pub who: Who,
    /// The name of the record.
    pub user: Arc<str>,
}

/// Why nobody comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Neither a login nor a certificate that says who it is.
    Nothing,
    /// The password does not fit, or there is nobody of this name.
    Wrong,
    /// The certificate is somebody else's, or of somebody who may not come in.
    Certificate,
    /// Too many passwords are being checked.
    Busy,
}

impl Credentials {
    /// Who it is. Wrong passwords are answered late: this waits so long itself.
    pub async fn login(&self, attempt: Attempt<'_>) -> Result<Identity, Denied> {
        let since = Instant::now();
        let certified = match attempt.certificate {
            Some(certificate) => self.certified(certificate).inspect_err(|_| self.metrics.login("refused"))?,
            None => None,
        };
        let shows_password = attempt.password.is_some_and(|password| !password.is_empty());
        match (certified, attempt.user) {
            (Some(identity), user) if user.is_some_and(|user| user != &*identity.user) => {
                self.metrics.login("refused");
                Err(Denied::Certificate)
            }
            (Some(identity), user) if !(self.certificates.require_password || shows_password && user.is_some()) => {
                self.metrics.login("certificate");
                Ok(identity)
            }
            (_, Some(user)) => self.by_password(user, attempt, since).await,
            (_, None) => {
                self.metrics.login("refused");
                Err(Denied::Nothing)
            }
        }
    }

    async fn by_password(&self, user: &str, attempt: Attempt<'_>, since: Instant) -> Result<Identity, Denied> {
        let (password, address) = (attempt.password.unwrap_or_default(), attempt.address);
        let mut known = self.get(user).filter(|known| !known.shut);
        for _ in 0..CHECKS {
            let secret_fits = self.secret_fits(user, password, known.as_ref());
            let (fits, result) = match &known {
                Some(known) if known.verifier.is_slow() => {
                    (self.chosen_fits(user, password, known, address).await?, "password")
                }
                _ => (secret_fits, "secret"),
            };
            let Some(checked) = known.filter(|_| fits) else {
                known = None;
                break;
            };
            known = self.get(user).filter(|now| !now.shut);
            if known.as_ref().is_some_and(|now| now.is(&checked)) {
                self.metrics.login(result);
                return Ok(Identity { who: checked.who, user: user.into() });
            }
            // it was changed or renewed meanwhile: what counts is what it is now
        }
        if known.is_some() {
            self.metrics.login("busy");
            return Err(Denied::Busy);
        }
        self.metrics.login("wrong");
        let delay = self.backoff.failed(address, user);
        // counted from the arrival: the answer does not tell whether there was something to check
        tokio::time::sleep_until(since + delay).await;
        Err(Denied::Wrong)
    }

    /// Done for every attempt, also for a name that nobody has, so that all take the same time.
    fn secret_fits(&self, user: &str, password: &[u8], known: Option<&Known>) -> bool {
        let Some(key) = &self.key else { return false };
        let shown = key.verifier(user, password);
        let (verifier, there) = match known.map(|known| &*known.verifier) {
            Some(Verifier::Hmac(verifier)) => (*verifier, true),
            _ => ([0_u8; 32], false),
        };
        bool::from(verifier.ct_eq(&shown)) && there
    }

    async fn chosen_fits(&self, user: &str, password: &[u8], known: &Known, address: IpAddr) -> Result<bool, Denied> {
        let turn = self.backoff.turn(address);
        if let Some(turn) = turn {
            if turn.duration_since(Instant::now()) > self.patience {
                self.metrics.login("busy");
                return Err(Denied::Busy);
            }
            self.metrics.hold_back("turn");
            tokio::time::sleep_until(turn).await;
        }
        let whom = For::Client { address: backoff::network(address), suspect: turn.is_some() };
        let (verifier, password) = (Arc::clone(&known.verifier), password.to_vec());
        let checked = self.hashing.run(whom, move || verifier.check(&password)).await.map_err(|_| {
            self.metrics.login("busy");
            Denied::Busy
        })?;
        match checked {
            Checked::Wrong => Ok(false),
            Checked::Right => Ok(true),
            Checked::Renewed(text) => {
                match self.renew(user, known, text).await {
                    Ok(true) => {
                        self.metrics.renewed.inc();
                    }
                    Ok(false) => {}
                    Err(error) => tracing::warn!(user, %error, "hash was not renewed, the next login tries again"),
                }
                Ok(true)
            }
        }
    }

    /// Writes another verifier of the same password; false when the record was changed meanwhile.
    async fn renew(&self, user: &str, was: &Known, verifier: String) -> Result<bool, CredentialsError> {
        let _changing = self.changing.lock().await;
        if !self.get(user).is_some_and(|now| Arc::ptr_eq(&now.verifier, &was.verifier)) {
            return Ok(false);
        }
        match &was.who {
            Who::Device(id) => match devices::get(&*self.store, id).await? {
                Some(record) => self.write_device(&Device { verifier, ..record }).await?,
                None => return Ok(false),
            },
            _ => match super::records::operator(&*self.store, user).await? {
                Some(record) => self.write_operator(&super::Operator { verifier, ..record }).await?,
                None => return Ok(false),
            },
        }
        Ok(true)
    }

    /// The one known device or operator that the certificate names; none when it names nobody who is known here.
    fn certified(&self, certificate: &PeerCertificate) -> Result<Option<Identity>, Denied> {
        let mut found: Option<Identity> = None;
        for name in certificate.names(self.certificates.identity) {
            let Some(known) = self.get(name) else { continue };
            if known.shut || found.as_ref().is_some_and(|found| *found.user != *name) {
                return Err(Denied::Certificate);
            }
            found = Some(Identity { who: known.who, user: name.into() });
        }
        Ok(found)
    }
}
