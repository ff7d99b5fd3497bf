//! A key that is lost: a new one, without the secrets that were made with the old one.

use std::path::Path;

use super::CredentialsError;
use super::key::{GatewayKey, KEY_FILE};
use super::records;
use super::verifier::Verifier;
use crate::store::records::{Device, devices};
use crate::store::{Batch, Store, StoreError};

/// Whose secrets were dropped, and whose passwords still work; each by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Devices that need a new password.
    pub devices: Vec<String>,
    /// Operators that need a new password.
    pub operators: Vec<String>,
    /// Devices and operators with a password that somebody chose: they are as they were.
    pub kept: Vec<String>,
}

/// Makes a new key, and takes the verifiers out of the records that only the old one could check. No gateway may
/// run on the store. A key that works is replaced only by `force`.
pub async fn reset_key(store: &dyn Store, data_dir: &Path, force: bool) -> Result<Dropped, CredentialsError> {
    let path = data_dir.join(KEY_FILE);
    let (old, read) = (path.clone(), tokio::task::spawn_blocking);
    let works = read(move || GatewayKey::open(&old, false).is_ok()).await;
    if works.map_err(|_| CredentialsError::Store(StoreError::Closed))? && !force {
        return Err(CredentialsError::GoodKey(path));
    }
    let (batch, dropped) = without_secrets(store).await?;
    // first the records: when the power fails in between, the key is still missing and this can be done again
    store.commit(batch).await?;
    let made = tokio::task::spawn_blocking(move || GatewayKey::make(&path)).await;
    made.map_err(|_| CredentialsError::Store(StoreError::Closed))??;
    Ok(dropped)
}

async fn without_secrets(store: &dyn Store) -> Result<(Batch, Dropped), CredentialsError> {
    let is_secret = |text: &str| Verifier::parse(text).is_some_and(|verifier| verifier.is_hmac());
    let (mut batch, mut dropped) = (Batch::new(), Dropped::default());
    for device in records::devices(store).await? {
        if is_secret(&device.verifier) {
            dropped.devices.push(device.id.to_string());
            devices::put(&mut batch, &Device { verifier: String::new(), board: None, ..device })?;
        } else if !device.verifier.is_empty() {
            dropped.kept.push(device.id.to_string());
        } else if device.expected.is_none() {
            // an earlier reset dropped it, and it has no other yet; a board that is expected never had one
            dropped.devices.push(device.id.to_string());
        }
    }
    for operator in records::operators(store).await? {
        if is_secret(&operator.verifier) {
            dropped.operators.push(operator.name.clone());
            records::put_operator(&mut batch, &records::Operator { verifier: String::new(), ..operator })?;
        } else if !operator.verifier.is_empty() {
            dropped.kept.push(operator.name);
        } else {
            dropped.operators.push(operator.name);
        }
    }
    Ok((batch, dropped))
}
