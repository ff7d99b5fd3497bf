//! Records that are known by a number, in whose order they are read, and by an id: two entries each, in one batch.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{get_json, parse, put_json};
use crate::store::{Batch, Key, Range, Space, Store, StoreError};

/// A record with a number and an id.
pub(super) trait Numbered: Serialize + DeserializeOwned {
    const SPACE: Space;

    fn number(&self) -> u64;

    fn id(&self) -> &str;
}

fn by_number<T: Numbered>() -> Key {
    Key::new(T::SPACE).byte(b'n')
}

fn by_id<T: Numbered>(id: &str) -> Key {
    Key::new(T::SPACE).byte(b'i').text(id)
}

pub(super) fn put<T: Numbered>(batch: &mut Batch, record: &T) -> Result<(), StoreError> {
    put_json(batch, by_number::<T>().u64(record.number()), record)?;
    put_json(batch, by_id::<T>(record.id()), &record.number())
}

pub(super) fn remove<T: Numbered>(batch: &mut Batch, record: &T) {
    batch.delete(by_number::<T>().u64(record.number()));
    batch.delete(by_id::<T>(record.id()));
}

pub(super) async fn get<T: Numbered>(store: &dyn Store, id: &str) -> Result<Option<T>, StoreError> {
    match get_json::<u64>(store, by_id::<T>(id)).await? {
        Some(n) => get_json(store, by_number::<T>().u64(n)).await,
        None => Ok(None),
    }
}

/// Those before number `before`, newest first, or those from `from` on, oldest first.
pub(super) async fn page<T: Numbered>(
    store: &dyn Store,
    from: u64,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<T>, StoreError> {
    let to = before.map_or_else(|| by_number::<T>().after_prefix(), |before| by_number::<T>().u64(before));
    let range = Range { from: by_number::<T>().u64(from), to, limit, backwards: before.is_some() };
    let page = store.scan(range).await?;
    page.records.iter().map(|(key, payload)| parse(key, payload)).collect()
}
