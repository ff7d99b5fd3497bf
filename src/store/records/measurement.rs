//! What devices measured: by device and time, and by time alone, so that the oldest of all is found without a search.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Batch, Space, Store, StoreError, get_json, parse};
use crate::domain::{DeviceId, SessionId, Wall};
use crate::store::{Key, Range};

/// One sample of one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Its number: of two of one time the later has the larger.
    pub n: u64,
    /// Whose.
    pub device: DeviceId,
    /// In which session.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// When it arrived.
    pub at: Wall,
    /// When the device says that it was measured.
    #[serde(default)]
    pub ts: Option<u64>,
    /// Its number in the device's stream.
    #[serde(default)]
    pub seq: Option<u32>,
    /// What `sample` is written in; empty where it was not normalised.
    #[serde(default)]
    pub schema: String,
    /// The normalised groups.
    #[serde(default)]
    pub sample: Map<String, Value>,
    /// In the device's own words.
    #[serde(default)]
    pub raw: Option<Map<String, Value>>,
    /// How long those were, bytes, when they were too long to be kept; else 0.
    #[serde(default)]
    pub too_long: usize,
}

/// What is known of a sample without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stub {
    /// When it arrived.
    pub at: Wall,
    /// Its number.
    pub n: u64,
    /// Whose.
    pub device: DeviceId,
    /// What it takes, bytes of both records and their keys.
    pub bytes: u64,
}

/// The value of the record by time.
#[derive(Serialize, Deserialize)]
struct Entry {
    device: DeviceId,
    bytes: u64,
}

/// Which samples: of a device or of all, from a time to a time, both included; before `before` where one is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Of this device.
    pub device: Option<DeviceId>,
    /// Not before.
    pub from: Wall,
    /// Not after.
    pub to: Wall,
    /// Before this one: its time and number.
    pub before: Option<(Wall, u64)>,
    /// At most so many.
    pub limit: usize,
}

/// Bytes of a time and a number in a key.
const STAMP: usize = 16;

fn of_device(device: &DeviceId) -> Key {
    Key::new(Space::Measurement).byte(b'd').device(device)
}

fn by_time() -> Key {
    Key::new(Space::Measurement).byte(b't')
}

fn stamp(key: Key, at: Wall, n: u64) -> Key {
    key.u64(at.0).u64(n)
}

/// Writes a sample; gives what it takes, bytes.
pub fn put(batch: &mut Batch, measurement: &Measurement) -> Result<u64, StoreError> {
    let Measurement { at, n, ref device, .. } = *measurement;
    let key = stamp(of_device(device), at, n);
    let text = |e: serde_json::Error| StoreError::Write(format!("record {key:?}: {e}"));
    let payload = serde_json::to_vec(measurement).map_err(text)?;
    // of the two keys, and of the second record, whose length is that of its device and a number
    let beside = key.as_bytes().len() + by_time().as_bytes().len() + STAMP + device.as_str().len() + 32;
    let bytes = (payload.len() + beside) as u64;
    let entry = serde_json::to_vec(&Entry { device: device.clone(), bytes }).map_err(text)?;
    batch.put(key, payload);
    batch.put(stamp(by_time(), at, n), entry);
    Ok(bytes)
}

/// Removes a sample.
pub fn remove(batch: &mut Batch, stub: &Stub) {
    batch.delete(stamp(of_device(&stub.device), stub.at, stub.n));
    batch.delete(stamp(by_time(), stub.at, stub.n));
}

/// The oldest samples of all after `after`, oldest first.
pub async fn oldest(store: &dyn Store, after: Option<(Wall, u64)>, limit: usize) -> Result<Vec<Stub>, StoreError> {
    let from = after.map_or_else(by_time, |(at, n)| stamp(by_time(), at, n).byte(0));
    stubs(store, Range { from, to: by_time().after_prefix(), limit, backwards: false }).await
}

/// Stubs of samples of all devices, newest first.
pub async fn latest(store: &dyn Store, wanted: &Wanted) -> Result<Vec<Stub>, StoreError> {
    stubs(store, range(by_time(), wanted)).await
}

/// Samples of the one device, newest first; none without a device.
pub async fn page(store: &dyn Store, wanted: &Wanted) -> Result<Vec<Measurement>, StoreError> {
    let Some(device) = &wanted.device else { return Ok(Vec::new()) };
    let page = store.scan(range(of_device(device), wanted)).await?;
    page.records.iter().map(|(key, payload)| parse(key, payload)).collect()
}

/// Reads one sample; none when it was removed meanwhile.
pub async fn get(store: &dyn Store, stub: &Stub) -> Result<Option<Measurement>, StoreError> {
    get_json(store, stamp(of_device(&stub.device), stub.at, stub.n)).await
}

fn range(prefix: Key, wanted: &Wanted) -> Range {
    let to = match (wanted.before, wanted.to.0.checked_add(1)) {
        (Some((at, n)), _) => stamp(prefix.clone(), at, n),
        (None, Some(end)) => prefix.clone().u64(end),
        (None, None) => prefix.clone().after_prefix(),
    };
    Range { from: prefix.u64(wanted.from.0), to, limit: wanted.limit, backwards: true }
}

async fn stubs(store: &dyn Store, range: Range) -> Result<Vec<Stub>, StoreError> {
    let page = store.scan(range).await?;
    page.records.iter().map(|(key, payload)| stub(key, payload)).collect()
}

fn stub(key: &Key, payload: &[u8]) -> Result<Stub, StoreError> {
    let Entry { device, bytes } = parse(key, payload)?;
    let number = |from: usize| {
        let part = key.as_bytes().get(from..from + 8).and_then(|part| part.try_into().ok());
        part.map(u64::from_be_bytes).ok_or_else(|| StoreError::Damaged(format!("key {key:?} has no time")))
    };
    let begin = by_time().as_bytes().len();
    Ok(Stub { at: Wall(number(begin)?), n: number(begin + 8)?, device, bytes })
}
