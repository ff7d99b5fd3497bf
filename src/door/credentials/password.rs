//! A password on its way into a record.

use std::fmt;

use super::hashing::For;
use super::secret::Secret;
use super::verifier::{self, Verifier};
use super::{Credentials, CredentialsError};

/// Fewest characters of a password that a person chooses.
pub const MIN_PASSWORD: usize = 12;

/// What a password shall be. Its Debug hides it.
#[derive(Clone)]
pub enum Password {
    /// A secret of 256 random bits that the gateway makes.
    Made,
    /// One that a person chose.
    Chosen(String),
    /// One that is known only as a hash: mosquitto's `$7$…` or `$6$…`, or a PHC string of argon2id.
    Hashed(String),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// Can it be taken.
    pub fn check(&self) -> Result<(), CredentialsError> {
        match self {
            Self::Made => Ok(()),
            Self::Chosen(password) => match password.chars().count() {
                short if short < MIN_PASSWORD => Err(CredentialsError::Short(short)),
                _ => Ok(()),
            },
            Self::Hashed(text) => match Verifier::parse(text) {
                Some(verifier) if verifier.is_slow() => Ok(()),
                _ => Err(CredentialsError::Foreign),
            },
        }
    }
}

impl Credentials {
    /// The secret when one is made, and what to write into the record.
    pub(super) async fn make(
        &self,
        name: &str,
        password: Password,
    ) -> Result<(Option<Secret>, String), CredentialsError> {
        password.check()?;
        match password {
            Password::Made => {
                let key = self.key.as_ref().ok_or_else(|| CredentialsError::NoKey(self.key_path.clone()))?;
                let secret = Secret::random()?;
                let text = Verifier::write_hmac(&key.verifier(name, secret.reveal().as_bytes()));
                Ok((Some(secret), text))
            }
            Password::Chosen(password) => {
                let hashed = self.hashing.run(For::House, move || verifier::hash(password.as_bytes())).await;
                Ok((None, hashed.map_err(|_| CredentialsError::Busy)??))
            }
            Password::Hashed(text) => Ok((None, text)),
        }
    }
}
