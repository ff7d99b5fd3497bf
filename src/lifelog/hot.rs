//! Reading entries that are still records of the store.

use super::day::Day;
use super::entry::{Entry, day_key, day_of, device_key, device_of};
use crate::domain::DeviceId;
use crate::store::{Key, Range, Space, Store, StoreError};

/// Most records of one read.
const PAGE: usize = 512;

/// The latest day below `below` with an entry.
pub(super) async fn day_before(store: &dyn Store, below: Day) -> Result<Option<Day>, StoreError> {
    let range = Range { from: Key::new(Space::Lifelog), to: day_key(below), limit: 1, backwards: true };
    Ok(store.scan(range).await?.records.first().and_then(|(key, _)| day_of(key)))
}

/// The first day with an entry.
pub(super) async fn first_day(store: &dyn Store) -> Result<Option<Day>, StoreError> {
    let from = Key::new(Space::Lifelog);
    let range = Range { to: from.clone().after_prefix(), from, limit: 1, backwards: false };
    Ok(store.scan(range).await?.records.first().and_then(|(key, _)| day_of(key)))
}

/// The devices with entries on a day: one seek each, the entries are passed over.
pub(super) async fn devices(store: &dyn Store, day: Day) -> Result<Vec<DeviceId>, StoreError> {
    let to = day_key(day).after_prefix();
    let mut from = day_key(day);
    let mut found = Vec::new();
    loop {
        let range = Range { from, to: to.clone(), limit: 1, backwards: false };
        let page = store.scan(range).await?;
        let Some(device) = page.records.first().and_then(|(key, _)| device_of(key)) else { return Ok(found) };
        from = device_key(day, &device).after_prefix();
        found.push(device);
    }
}

/// The newest entries of a device on a day with `from <= (at, n) < to`, newest first, at most `limit`.
pub(super) async fn newest(
    store: &dyn Store,
    day: Day,
    device: &DeviceId,
    from: (u64, u64),
    to: (u64, u64),
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let prefix = device_key(day, device);
    let from = prefix.clone().u64(from.0).u64(from.1);
    let mut to = prefix.u64(to.0).u64(to.1);
    let mut found = Vec::new();
    while found.len() < limit {
        let wanted = PAGE.min(limit - found.len());
        let range = Range { from: from.clone(), to: to.clone(), limit: wanted, backwards: true };
        let page = store.scan(range).await?;
        for (key, payload) in &page.records {
            found.push(Entry::parse(key, payload)?);
        }
        match page.records.last() {
            Some((last, _)) if page.records.len() == wanted => to = last.clone(),
            _ => break,
        }
    }
    Ok(found)
}

/// A whole day as stored: keys and payloads in key order.
pub(super) async fn whole_day(store: &dyn Store, day: Day) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
    let to = day_key(day).after_prefix();
    let mut from = day_key(day);
    let mut found = Vec::new();
    loop {
        let range = Range { from, to: to.clone(), limit: PAGE, backwards: false };
        let mut page = store.scan(range).await?;
        let full = page.records.len() == PAGE;
        found.append(&mut page.records);
        match found.last() {
            Some((last, _)) if full => from = last.clone().byte(0),
            _ => return Ok(found),
        }
    }
}
