//! Samples, newest first.

use crate::domain::{DeviceId, Wall};
use crate::store::records::measurements::Wanted;
use crate::store::records::{Measurement, measurements};
use crate::store::{Store, StoreError};

/// Samples that are given unless it is said how many.
pub const LIMIT: usize = 200;
/// Most samples of one answer.
pub const MOST: usize = 5_000;
/// Samples that are read at once.
const PAGE: usize = 256;

/// Which samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Of this device.
    pub device: Option<DeviceId>,
    /// Of this session.
    pub session: Option<String>,
    /// That arrived not before.
    pub from: Wall,
    /// That arrived not after.
    pub to: Wall,
    /// Passes over so many.
    pub offset: usize,
    /// At most so many, up to [`MOST`]; 0 is [`LIMIT`].
    pub limit: usize,
}

/// Reads what the query matches, newest first.
pub async fn query(store: &dyn Store, query: &Query) -> Result<Vec<Measurement>, StoreError> {
    let limit = if query.limit == 0 { LIMIT } else { query.limit.min(MOST) };
    let (mut found, mut passed) = (Vec::new(), 0);
    let mut wanted = Wanted { device: query.device.clone(), from: query.from, to: query.to, before: None, limit: PAGE };
    loop {
        let (page, last) = read(store, &wanted).await?;
        for measurement in page {
            let session = measurement.session.as_ref().map(crate::domain::SessionId::as_str);
            if query.session.as_deref().is_some_and(|wanted| session != Some(wanted)) {
                continue;
            }
            if passed < query.offset {
                passed += 1;
                continue;
            }
            found.push(measurement);
            if found.len() >= limit {
                return Ok(found);
            }
        }
        match last {
            Some(last) => wanted.before = Some(last),
            None => return Ok(found),
        }
    }
}

/// A page, and where the next begins; none after the last.
async fn read(store: &dyn Store, wanted: &Wanted) -> Result<(Vec<Measurement>, Option<(Wall, u64)>), StoreError> {
    if wanted.device.is_some() {
        let page = measurements::page(store, wanted).await?;
        let last = page.last().filter(|_| page.len() >= wanted.limit).map(|last| (last.at, last.n));
        return Ok((page, last));
    }
    let stubs = measurements::latest(store, wanted).await?;
    let mut page = Vec::with_capacity(stubs.len());
    for stub in &stubs {
        // one that was swept meanwhile is not there
        page.extend(measurements::get(store, stub).await?);
    }
    let last = stubs.last().filter(|_| stubs.len() >= wanted.limit).map(|last| (last.at, last.n));
    Ok((page, last))
}
