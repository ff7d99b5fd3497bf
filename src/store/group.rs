//! The bytes of one commit group in the journal.
//!
//! A group is a header of 40 bytes (magic, length of the body, number, the number that sled was
//! synced to, wall time, records, CRC-32C) and its records, padded to 8 bytes. The checksum is
//! seeded with the segment's, so that what an earlier use of a segment left behind is never
//! taken for a group of this one.

use super::Key;

const MAGIC: u32 = u32::from_le_bytes(*b"VxG1");
/// Bytes before the records.
pub(crate) const HEAD: usize = 40;
/// Groups begin at multiples of this.
pub(crate) const ALIGN: usize = 8;
/// Bytes of a record besides key and value.
pub(crate) const RECORD_HEAD: usize = 8;
/// In place of a value's length: the key is removed.
const REMOVED: u32 = u32::MAX;

/// What a group says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its number.
    pub number: u64,
    /// sled was on disk up to this number when the group was written.
    pub synced: u64,
    /// Wall time in ms when it was written.
    pub wall: u64,
    /// How many records.
    pub records: u32,
    /// Bytes of records.
    pub body: u32,
}

impl Header {
    /// Bytes in the journal, padding included.
    pub fn length(&self) -> usize {
        (HEAD + self.body as usize).next_multiple_of(ALIGN)
    }
}

/// Builds groups in one buffer that is used again.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
    records: u32,
}

impl Builder {
    /// Starts a group.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEAD, 0);
        self.records = 0;
    }

    /// Adds a record.
    pub fn push(&mut self, key: &Key, value: Option<&[u8]>) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(REMOVED);
        let key = key.as_bytes();
        self.bytes.extend_from_slice(&length(key).to_le_bytes());
        self.bytes.extend_from_slice(&value.map_or(REMOVED, length).to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.records += 1;
    }

    /// No record yet.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len().next_multiple_of(ALIGN)
    }

    /// Fills in the header; the whole group, padded.
    pub fn finish(&mut self, seed: u32, number: u64, synced: u64, wall: u64) -> &[u8] {
        let body = self.bytes.len().saturating_sub(HEAD);
        self.bytes.resize(self.len(), 0);
        let body = u32::try_from(body).unwrap_or(REMOVED);
        self.bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        self.bytes[4..8].copy_from_slice(&body.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&number.to_le_bytes());
        self.bytes[16..24].copy_from_slice(&synced.to_le_bytes());
        self.bytes[24..32].copy_from_slice(&wall.to_le_bytes());
        self.bytes[32..36].copy_from_slice(&self.records.to_le_bytes());
        let crc = checksum(seed, &self.bytes);
        self.bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        &self.bytes
    }
}

/// Why there is no group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoGroup {
    /// Nothing was written here, or by an earlier use of the segment.
    End,
    /// A group with this number begins here and is not whole.
    Broken(u64),
}

/// The group at the start of `bytes`: its header and its records' bytes.
pub(crate) fn parse(seed: u32, bytes: &[u8]) -> Result<(Header, &[u8]), NoGroup> {
    let Some(head) = bytes.get(..HEAD) else { return Err(NoGroup::End) };
    if le32(head, 0) != MAGIC {
        return Err(NoGroup::End);
    }
    let header = Header {
        body: le32(head, 4),
        number: le64(head, 8),
        synced: le64(head, 16),
        wall: le64(head, 24),
        records: le32(head, 32),
    };
    let broken = NoGroup::Broken(header.number);
    let whole = bytes.get(..header.length()).ok_or(broken)?;
    if le32(head, 36) != checksum(seed, whole) {
        return Err(broken);
    }
    Ok((header, &whole[HEAD..HEAD + header.body as usize]))
}

/// One change as it stands in the journal: key and sealed value.
pub(crate) type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// The records of a group; none when they do not fill the body exactly (which the checksum makes all but impossible).
pub(crate) fn records<'a>(header: &Header, mut body: &'a [u8]) -> Option<Vec<Change<'a>>> {
    let mut changes = Vec::new();
    for _ in 0..header.records {
        let (head, rest) = body.split_at_checked(RECORD_HEAD)?;
        let (key_length, value_length) = (le32(head, 0), le32(head, 4));
        let (key, rest) = rest.split_at_checked(key_length as usize)?;
        if value_length == REMOVED {
            changes.push((key, None));
            body = rest;
        } else {
            let (value, rest) = rest.split_at_checked(value_length as usize)?;
            changes.push((key, Some(value)));
            body = rest;
        }
    }
    body.is_empty().then_some(changes)
}

/// Over everything but the checksum's own four bytes.
fn checksum(seed: u32, group: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &group[..36]), &group[HEAD..])
}

pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

pub(crate) fn le64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]
    use super::*;
    use crate::store::Space;
    use proptest::prelude::*;

    fn example() -> Vec<u8> {
        let mut builder = Builder::default();
        builder.clear();
        builder.push(&Key::new(Space::Device).text("a"), Some(b"value"));
        builder.push(&Key::new(Space::Device).text("b"), None);
        builder.finish(7, 42, 40, 1_000).to_vec()
    }

    #[test]
    fn a_group_reads_back_as_it_was_built() {
        let bytes = example();
        let (header, body) = parse(7, &bytes).unwrap();
        assert_eq!((header.number, header.synced, header.wall, header.length()), (42, 40, 1_000, bytes.len()));
        let changes = records(&header, body).unwrap();
        assert_eq!(changes, vec![(&b"da\0"[..], Some(&b"value"[..])), (&b"db\0"[..], None)]);
    }

    #[test]
    fn no_flipped_bit_no_cut_and_no_other_seed_passes() {
        let bytes = example();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(7, &bad).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(parse(7, &bytes[..cut]).is_err(), "cut {cut}");
        }
        assert_eq!(parse(8, &bytes), Err(NoGroup::Broken(42)));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_group_or_none(bytes: Vec<u8>, records_claimed: u32) {
            prop_assert!(parse(0, &bytes).is_err());
            let header = Header { number: 0, synced: 0, wall: 0, records: records_claimed, body: 0 };
            let _ = records(&header, &bytes);
        }
    }
}
