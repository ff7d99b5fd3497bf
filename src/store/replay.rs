//! Reading the journal: what sled does not have yet, and whether all of it is there.
//!
//! The end of the last segment may be torn (a crash in mid-write: nothing of it was acknowledged)
//! and is cut off. Anything else that is missing and that sled does not hold is damage, and said.

use std::path::{Path, PathBuf};

use super::StoreError;
use super::disk::Disk;
use super::group::{self, ALIGN, Change, Header, NoGroup};
use super::journal::{Closed, SEGMENT_HEAD, SegmentHeader};

/// What the journal held.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// The number of the last group, 0 when there is none.
    pub last: u64,
    /// How many groups were handed out.
    pub groups: u64,
    /// The highest number that sled was said to be synced to.
    pub synced: u64,
    /// Wall time of the last group, ms.
    pub wall: u64,
    /// The highest ordinal of a segment.
    pub ordinal: u64,
    /// All segments, oldest first.
    pub segments: Vec<Closed>,
    /// Where a torn last group was cut off.
    pub torn: Option<String>,
    /// Damage in groups that sled already holds: nothing is lost.
    pub harmless: Vec<String>,
}

struct Segment {
    path: PathBuf,
    header: SegmentHeader,
    bytes: Vec<u8>,
}

/// Hands every group that sled may lack to `apply`, in order: those after `applied`, the last that sled says it has, and
/// those after the last sync of sled that the journal knows of. When the power went since, any part of what sled wrote
/// may be there, the number without the records too; applied again, all of it is as it was.
pub(crate) fn replay(
    disk: &dyn Disk,
    dir: &Path,
    store: u64,
    applied: u64,
    mut apply: impl FnMut(&Header, &[Change<'_>]) -> Result<(), StoreError>,
) -> Result<Replayed, StoreError> {
    let known = pass(disk, dir, store, applied, applied, &mut |_, _| Ok(()))?;
    pass(disk, dir, store, applied, applied.min(known.synced), &mut apply)
}

/// Reads all groups and hands out those after `from`.
fn pass(
    disk: &dyn Disk,
    dir: &Path,
    store: u64,
    applied: u64,
    from: u64,
    apply: &mut impl FnMut(&Header, &[Change<'_>]) -> Result<(), StoreError>,
) -> Result<Replayed, StoreError> {
    let headers = headers(disk, dir, store)?;
    let mut found = Replayed { ordinal: headers.last().map_or(0, |(_, h)| h.ordinal), ..Replayed::default() };
    let Some((oldest, first)) = headers.first().map(|(path, header)| (path, header.first)) else {
        return Err(StoreError::Damaged(format!(
            "no journal segment in {}: restore the whole folder from a backup",
            dir.display()
        )));
    };
    if first > applied + 1 {
        return Err(StoreError::Damaged(format!(
            "sled holds groups up to {applied}, the oldest journal segment {} begins at {first}: groups between are \
             missing; stop, move the folder away and restore the whole of it from a backup",
            oldest.display()
        )));
    }
    let mut expected = first;
    for (i, (path, header)) in headers.iter().enumerate() {
        let limit = headers.get(i + 1).map_or(u64::MAX, |(_, next)| next.first);
        let bytes = disk.read(path).map_err(|e| StoreError::Damaged(format!("cannot read {}: {e}", path.display())))?;
        let segment = Segment { path: path.clone(), header: *header, bytes };
        if header.first > expected {
            missing(&mut found, applied, expected, header.first, &segment.path, SEGMENT_HEAD)?;
        }
        expected = walk(&segment, limit, applied, from, &mut found, apply)?;
        if limit < u64::MAX && expected < limit {
            missing(&mut found, applied, expected, limit, path, segment.bytes.len())?;
            expected = limit;
        }
        found.segments.push(Closed { path: path.clone(), last: expected.saturating_sub(1) });
    }
    found.last = expected.saturating_sub(1);
    Ok(found)
}

/// All segments in order, their headers checked.
fn headers(disk: &dyn Disk, dir: &Path, store: u64) -> Result<Vec<(PathBuf, SegmentHeader)>, StoreError> {
    let unread = |path: &Path, e: std::io::Error| StoreError::Damaged(format!("cannot read {}: {e}", path.display()));
    let mut segments = Vec::new();
    for path in disk.list(dir).map_err(|e| unread(dir, e))? {
        if path.extension().is_none_or(|e| e != "vxj") {
            continue;
        }
        let head = read_head(&path).map_err(|e| unread(&path, e))?;
        let Some(header) = SegmentHeader::decode(&head) else {
            return Err(StoreError::Damaged(format!(
                "the header of journal segment {} is damaged; restore the whole folder from a backup",
                path.display()
            )));
        };
        if header.store != store {
            return Err(StoreError::Damaged(format!(
                "journal segment {} belongs to another store; move it out of the folder",
                path.display()
            )));
        }
        segments.push((path, header));
    }
    segments.sort_by_key(|(_, header)| header.ordinal);
    Ok(segments)
}

fn read_head(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut head = Vec::with_capacity(SEGMENT_HEAD);
    std::fs::File::open(path)?.take(SEGMENT_HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Walks the groups of a segment below `limit`; returns the number that would come next.
fn walk(
    segment: &Segment,
    limit: u64,
    applied: u64,
    from: u64,
    found: &mut Replayed,
    apply: &mut impl FnMut(&Header, &[Change<'_>]) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let seed = segment.header.seed();
    let mut expected = segment.header.first;
    let mut offset = SEGMENT_HEAD;
    while expected < limit {
        let rest = segment.bytes.get(offset..).unwrap_or_default();
        match group::parse(seed, rest) {
            Ok((header, body)) if header.number == expected => {
                take(&header, body, segment, offset, from, found, apply)?;
                offset += header.length();
                expected += 1;
            }
            other => {
                if let Some((at, number)) = next_whole(seed, &segment.bytes, offset, expected, limit) {
                    missing(found, applied, expected, number, &segment.path, offset)?;
                    (offset, expected) = (at, number);
                } else {
                    note_torn(other.err(), limit, expected, segment, offset, found);
                    break;
                }
            }
        }
    }
    Ok(expected)
}

fn take(
    header: &Header,
    body: &[u8],
    segment: &Segment,
    offset: usize,
    from: u64,
    found: &mut Replayed,
    apply: &mut impl FnMut(&Header, &[Change<'_>]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    found.synced = found.synced.max(header.synced);
    found.wall = found.wall.max(header.wall);
    if header.number <= from {
        return Ok(());
    }
    let changes = group::records(header, body).ok_or_else(|| {
        StoreError::Damaged(format!("group {} in {} at byte {offset}", header.number, segment.path.display()))
    })?;
    apply(header, &changes)?;
    found.groups += 1;
    Ok(())
}

/// The next whole group of this use of the segment after `offset`.
fn next_whole(seed: u32, bytes: &[u8], offset: usize, after: u64, limit: u64) -> Option<(usize, u64)> {
    (offset + ALIGN..bytes.len()).step_by(ALIGN).find_map(|at| {
        let (header, _) = group::parse(seed, &bytes[at..]).ok()?;
        (header.number > after && header.number < limit).then_some((at, header.number))
    })
}

fn note_torn(why: Option<NoGroup>, limit: u64, expected: u64, segment: &Segment, offset: usize, found: &mut Replayed) {
    if limit == u64::MAX && why == Some(NoGroup::Broken(expected)) {
        found.torn = Some(format!("group {expected} in {} at byte {offset}", segment.path.display()));
    }
}

/// Groups `from..to` are not there: damage, unless sled has them.
fn missing(
    found: &mut Replayed,
    applied: u64,
    from: u64,
    to: u64,
    path: &Path,
    offset: usize,
) -> Result<(), StoreError> {
    let what = format!("groups {from} to {} are damaged in {} at byte {offset}", to - 1, path.display());
    if to - 1 <= applied {
        found.harmless.push(what);
        return Ok(());
    }
    Err(StoreError::Damaged(format!(
        "{what}, and sled holds only up to {applied}; later groups are whole: nothing was changed; restore the whole \
         folder from a backup, or copy it away before trying anything else"
    )))
}
