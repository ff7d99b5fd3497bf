//! The envelope of every stored value: version, flags, checksum, payload.
//!
//! The checksum covers the key too, so that a value that turns up under another key is noticed.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Key, StoreError};

/// The layout below. A reader refuses what it does not know.
const VERSION: u8 = 1;
/// version, flags, CRC-32C.
const HEAD: usize = 6;

/// Wraps a payload for the disk. The flags byte is for compression and encryption, none yet.
pub(crate) fn seal(key: &Key, payload: &[u8]) -> Bytes {
    let mut sealed = BytesMut::with_capacity(HEAD + payload.len());
    sealed.put_u8(VERSION);
    sealed.put_u8(0);
    sealed.put_u32_le(checksum(key.as_bytes(), VERSION, 0, payload));
    sealed.put_slice(payload);
    sealed.freeze()
}

/// Checks and unwraps what [`seal`] made.
pub(crate) fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], StoreError> {
    let damaged = |what: &str| StoreError::Damaged(format!("record {}: {what}", key.escape_ascii()));
    let Some((head, payload)) = sealed.split_first_chunk::<HEAD>() else {
        return Err(damaged("too short for its header"));
    };
    let [version, flags, crc @ ..] = *head;
    if version != VERSION || flags != 0 {
        return Err(damaged(&format!("version {version}, flags {flags:#04x} are not known to this voxgate")));
    }
    if u32::from_le_bytes(crc) != checksum(key, version, flags, payload) {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(payload)
}

fn checksum(key: &[u8], version: u8, flags: u8, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), &[version, flags]);
    crc32c::crc32c_append(crc, payload)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]
    use super::*;
    use crate::store::Space;

    #[test]
    fn any_flipped_bit_is_noticed_and_the_key_is_named() {
        let key = Key::new(Space::Device).text("cane-1");
        let sealed = seal(&key, b"hello");
        assert_eq!(unseal(key.as_bytes(), &sealed).unwrap(), b"hello");
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = unseal(key.as_bytes(), &bad).unwrap_err();
            assert!(matches!(&error, StoreError::Damaged(text) if text.contains("cane-1")), "{error}");
        }
    }

    #[test]
    fn a_value_under_another_key_is_damaged() {
        let sealed = seal(&Key::new(Space::Device).text("a"), b"hello");
        assert!(unseal(Key::new(Space::Device).text("b").as_bytes(), &sealed).is_err());
    }

    #[test]
    fn a_short_value_is_damaged() {
        for length in 0..HEAD {
            assert!(unseal(b"k", &[1; HEAD][..length]).is_err());
        }
    }
}
