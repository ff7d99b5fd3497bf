//! One kept clause as a file: `VXS1`, the CRC-32C of what follows, the packets in a row.
//!
//! The name is the hash of what was said by whom, so that no word lies on the disk.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Key;
use crate::audio::packed::{pack, unpack};

const MAGIC: &[u8; 4] = b"VXS1";
const HEAD: usize = 8;
/// The ending of files that are whole, and of those that are being written.
pub(super) const WHOLE: &str = "vxs";
pub(super) const PARTIAL: &str = "part";

/// The file's bytes.
pub(super) fn encode(frames: &[Bytes]) -> Vec<u8> {
    let body = pack(frames);
    let mut file = Vec::with_capacity(HEAD + body.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    file.extend_from_slice(&body);
    file
}

/// The packets of a file; none where it is torn or something else.
pub(super) fn decode(file: &[u8]) -> Option<Vec<Bytes>> {
    let (head, body) = file.split_at_checked(HEAD)?;
    let (magic, sum) = head.split_at_checked(MAGIC.len())?;
    let sum = u32::from_le_bytes(sum.try_into().ok()?);
    (magic == MAGIC && crc32c::crc32c(body) == sum).then(|| unpack(body)).flatten()
}

/// Where a clause lies below the folder: 256 folders, so that none of them is large.
pub(super) fn path(dir: &Path, key: &Key) -> PathBuf {
    let name = key.iter().fold(String::new(), |mut name, byte| {
        // writing to a string does not fail
        let _ = write!(name, "{byte:02x}");
        name
    });
    dir.join(&name[..2]).join(format!("{name}.{WHOLE}"))
}

/// The key that a file's name tells; none where it is no name of ours.
pub(super) fn key_of(path: &Path) -> Option<Key> {
    let name = path.file_stem()?.to_str()?;
    let ours = path.extension()? == WHOLE && name.len() == 64 && name.bytes().all(|c| c.is_ascii_hexdigit());
    if !ours {
        return None;
    }
    let mut key = [0; 32];
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(name.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_tells_its_key_and_other_names_tell_none() {
        let key: Key = std::array::from_fn(|n| u8::try_from(n * 7 % 256).unwrap_or(0));
        let path = path(Path::new("/x"), &key);
        assert_eq!(key_of(&path), Some(key));
        for other in ["", "a.vxs", "notes.txt", "zz.vxs"] {
            assert_eq!(key_of(Path::new(other)), None);
        }
        assert_eq!(key_of(&path.with_extension(PARTIAL)), None);
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back_and_no_torn_or_changed_file_is_taken(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
            let file = encode(&frames);
            prop_assert_eq!(decode(&file), Some(frames));
            let at = at.index(file.len());
            prop_assert_eq!(decode(&file[..at]), None);
            let mut changed = file.clone();
            changed[at] ^= flip;
            prop_assert_eq!(decode(&changed), None);
        }

        #[test]
        fn garbage_is_no_file(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decode(&bytes), None);
        }
    }
}
