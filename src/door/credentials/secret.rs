//! A secret that the gateway made.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;

use super::CredentialsError;

/// A secret that was just made: shown once. Its Debug hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new one, of 256 random bits.
    pub(super) fn random() -> Result<Self, CredentialsError> {
        let mut random = [0_u8; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut random).map_err(|_| CredentialsError::Random)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(random)))
    }

    /// One that is derived.
    pub(super) fn of(bytes: [u8; 32]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The text to give to the device or operator: 43 characters of `[A-Za-z0-9_-]`.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
