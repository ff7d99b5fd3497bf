//! The records of devices and operators, read and written. One that cannot be read admits nobody, and keeps nobody
//! else out.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::verifier::Verifier;
use crate::domain::Wall;
use crate::store::records::Device;
use crate::store::{Batch, Key, Range, Space, Store, StoreError};
use crate::topics::Role;

/// How many records a scan reads at once.
const PAGE: usize = 1_000;

/// An operator's record. No Debug: it holds a verifier.
#[derive(Serialize, Deserialize)]
pub(super) struct Operator {
    pub name: String,
    pub role: Role,
    pub verifier: String,
    #[serde(default)]
    pub created: Wall,
}

/// All operators, by name.
pub(super) async fn operators(store: &dyn Store) -> Result<Vec<Operator>, StoreError> {
    records(store, Space::Operator).await
}

/// All devices, by id.
pub(super) async fn devices(store: &dyn Store) -> Result<Vec<Device>, StoreError> {
    records(store, Space::Device).await
}

/// One operator.
pub(super) async fn operator(store: &dyn Store, name: &str) -> Result<Option<Operator>, StoreError> {
    let key = Key::new(Space::Operator).text(name);
    let Some(payload) = store.get(key.clone()).await? else { return Ok(None) };
    let record = serde_json::from_slice(&payload);
    record.map(Some).map_err(|error| StoreError::Damaged(format!("record {key:?}: {error}")))
}

/// Writes an operator.
pub(super) fn put_operator(batch: &mut Batch, operator: &Operator) -> Result<(), StoreError> {
    let key = Key::new(Space::Operator).text(&operator.name);
    let record = serde_json::to_vec(operator).map_err(|e| StoreError::Write(format!("record {key:?}: {e}")))?;
    batch.put(key, record);
    Ok(())
}

/// Was any secret made with the gateway's key, and is in use.
pub(super) async fn any_secret(store: &dyn Store) -> Result<bool, StoreError> {
    let is_secret = |text: &str| Verifier::parse(text).is_some_and(|verifier| verifier.is_hmac());
    Ok(operators(store).await?.iter().any(|o| is_secret(&o.verifier))
        || devices(store).await?.iter().any(|d| is_secret(&d.verifier)))
}

async fn records<T: DeserializeOwned>(store: &dyn Store, space: Space) -> Result<Vec<T>, StoreError> {
    let mut records = Vec::new();
    let (mut from, to) = (Key::new(space), Key::new(space).after_prefix());
    loop {
        let range = Range { from: from.clone(), to: to.clone(), limit: PAGE, backwards: false };
        let page = store.scan(range).await?.records;
        let Some((last, _)) = page.last() else { return Ok(records) };
        from = last.clone().byte(0);
        for (key, payload) in &page {
            match serde_json::from_slice(payload) {
                Ok(record) => records.push(record),
                Err(error) => tracing::warn!(?key, %error, "credential record cannot be read, it admits nobody"),
            }
        }
    }
}
