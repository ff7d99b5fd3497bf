//! The gateway's key: the file under which the verifiers of generated secrets are made.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use rand::{RngCore, TryRngCore};
use sha2::Sha256;

use super::CredentialsError;

/// The file with the gateway's key, in the data directory.
pub const KEY_FILE: &str = "credentials.key";

/// The key.
#[derive(Clone)]
pub(super) struct GatewayKey([u8; 32]);

impl GatewayKey {
    /// Reads the key; makes it when it is missing and `may_make`.
    pub(super) fn open(path: &Path, may_make: bool) -> Result<Self, CredentialsError> {
        let failed = |source| CredentialsError::KeyFile { path: path.to_owned(), source };
        match std::fs::read(path) {
            Ok(bytes) => {
                let open_to_others = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0;
                let key = <[u8; 32]>::try_from(bytes).ok().filter(|_| !open_to_others);
                key.map(Self).ok_or_else(|| CredentialsError::BadKey(path.to_owned()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_make => Self::make(path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(CredentialsError::NoKey(path.to_owned())),
            Err(error) => Err(failed(error)),
        }
    }

    /// Makes a new key in the place of what is there, so that the file is whole after a loss of power too.
    pub(super) fn make(path: &Path) -> Result<Self, CredentialsError> {
        let failed = |source| CredentialsError::KeyFile { path: path.to_owned(), source };
        let mut key = [0_u8; 32];
        rand::rngs::OsRng.unwrap_err().fill_bytes(&mut key);
        // half a key must never stand under the real name
        let unfinished = path.with_extension("new");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished).map_err(failed)?;
        file.write_all(&key).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&unfinished, path).map_err(failed)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(Self(key))
    }

    /// The verifier of a secret. Bound to the name: copied to another record it fits nobody.
    pub(super) fn verifier(&self, name: &str, secret: &[u8]) -> [u8; 32] {
        let mut mac = self.mac();
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(secret);
        mac.finalize().into_bytes().into()
    }

    /// Something else that only this gateway can make. No verifier is ever equal to it: no name begins with the
    /// byte 1. Each part goes in with its length, so that no two lists of parts are the same bytes.
    pub(super) fn derive(&self, what: &str, parts: &[&str]) -> [u8; 32] {
        let mut mac = self.mac();
        mac.update(&[1]);
        for part in std::iter::once(&what).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    fn mac(&self) -> Hmac<Sha256> {
        // HMAC fills a short key up with zeros to one block: the same key, without a fallible length check
        let mut block = [0_u8; 64];
        block[..32].copy_from_slice(&self.0);
        <Hmac<Sha256> as KeyInit>::new(&block.into())
    }
}
