//! Images: a whole file, told by its signature, or a part of one behind a header of 24 bytes, big-endian.
//!
//! `[0]` magic `0xA2` · `[1]` version 1 · `[2..4]` flags (0) · `[4..12]` image id · `[12..14]` part index ·
//! `[14..16]` parts · `[16..20]` total length · `[20..24]` CRC-32C of the whole image · data.

use bytes::{BufMut, Bytes, BytesMut};

use super::super::WireError;
use crate::domain::{ImageId, ImagePart, ImageUpload};

/// Length of a part's header in bytes.
pub const HEADER: usize = 24;
/// Largest image in bytes.
pub const MAX_IMAGE: usize = 4 << 20;
/// Most parts of one image.
pub const MAX_PARTS: u16 = 4_096;

const MAGIC: u8 = 0xA2;
const VERSION: u8 = 1;

/// Reads a whole image or a part; the data shares `payload`'s memory.
pub(super) fn decode(payload: &Bytes) -> Result<ImageUpload, WireError> {
    if payload.first() == Some(&MAGIC) {
        return part(payload).map(ImageUpload::Part);
    }
    if !is_image_file(payload) {
        return Err(WireError::malformed("neither a JPEG, PNG or WebP file nor an image part").at(0));
    }
    if payload.len() > MAX_IMAGE {
        return Err(WireError::too_large("an image has at most 4 MB"));
    }
    Ok(ImageUpload::Whole(payload.clone()))
}

/// `data` begins as a JPEG, PNG or WebP file does.
pub fn is_image_file(data: &[u8]) -> bool {
    data.starts_with(&[0xFF, 0xD8, 0xFF])
        || data.starts_with(&[0x89, b'P', b'N', b'G'])
        || (data.starts_with(b"RIFF") && data.get(8..12) == Some(b"WEBP"))
}

fn part(payload: &Bytes) -> Result<ImagePart, WireError> {
    let Some((header, data)) = payload.split_first_chunk::<HEADER>() else {
        return Err(WireError::malformed("an image part has a header of 24 bytes").at(payload.len()));
    };
    let [_, version, _, _, id @ .., i0, i1, p0, p1, t0, t1, t2, t3, c0, c1, c2, c3] = *header;
    let part = ImagePart {
        image: ImageId(u64::from_be_bytes(id)),
        index: u16::from_be_bytes([i0, i1]),
        parts: u16::from_be_bytes([p0, p1]),
        total: u32::from_be_bytes([t0, t1, t2, t3]),
        crc32c: u32::from_be_bytes([c0, c1, c2, c3]),
        data: payload.slice(HEADER..),
    };
    if version != VERSION {
        return Err(WireError::malformed("the image part's version is not 1").at(1));
    }
    if part.parts == 0 || part.index >= part.parts {
        return Err(WireError::malformed("the part's index is not below the number of parts").at(12));
    }
    if part.parts > MAX_PARTS {
        return Err(WireError::too_large("an image has at most 4,096 parts").at(14));
    }
    if part.total as usize > MAX_IMAGE {
        return Err(WireError::too_large("an image has at most 4 MB").at(16));
    }
    let fits = if part.parts == 1 { data.len() == part.total as usize } else { data.len() < part.total as usize };
    if data.is_empty() || !fits {
        return Err(WireError::malformed("the part's data does not fit the total length").at(16));
    }
    Ok(part)
}

/// Writes a part, as a device does.
pub(super) fn encode_part(part: &ImagePart) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER + part.data.len());
    out.put_slice(&[MAGIC, VERSION, 0, 0]);
    out.put_u64(part.image.0);
    out.put_u16(part.index);
    out.put_u16(part.parts);
    out.put_u32(part.total);
    out.put_u32(part.crc32c);
    out.put_slice(&part.data);
    out.freeze()
}

/// Cuts an image into parts of at most `size` bytes of data; none where the limits do not allow it.
pub(super) fn cut(image: ImageId, file: &Bytes, size: usize) -> Option<Vec<ImagePart>> {
    if file.is_empty() || file.len() > MAX_IMAGE || size == 0 {
        return None;
    }
    let parts = u16::try_from(file.len().div_ceil(size)).ok().filter(|p| *p <= MAX_PARTS)?;
    let total = u32::try_from(file.len()).ok()?;
    let crc32c = crc32c::crc32c(file);
    let piece = |index: u16| {
        let from = usize::from(index) * size;
        let data = file.slice(from..file.len().min(from + size));
        ImagePart { image, index, parts, total, crc32c, data }
    };
    Some((0..parts).map(piece).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

    use proptest::prelude::*;

    use super::*;

    fn good() -> ImagePart {
        ImagePart {
            image: ImageId(5),
            index: 1,
            parts: 3,
            total: 10,
            crc32c: 0xDEAD_BEEF,
            data: Bytes::from_static(b"abcd"),
        }
    }

    #[test]
    fn a_part_that_breaks_a_limit_is_refused() {
        for bad in [
            ImagePart { parts: 0, ..good() },
            ImagePart { index: 3, ..good() },
            ImagePart { parts: 4_097, ..good() },
            ImagePart { total: (4 << 20) + 1, ..good() },
            ImagePart { total: 4, ..good() },
            ImagePart { total: 0, ..good() },
            ImagePart { data: Bytes::new(), ..good() },
            ImagePart { index: 0, parts: 1, ..good() },
        ] {
            assert!(decode(&encode_part(&bad)).is_err(), "{bad:?}");
        }
        let bytes = encode_part(&good());
        for cut in 0..=HEADER {
            assert!(decode(&bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
        let mut version = bytes.to_vec();
        version[1] = 9;
        assert!(decode(&version.into()).is_err());
    }

    #[test]
    fn a_part_is_read_without_a_copy() {
        let bytes = encode_part(&good());
        let ImageUpload::Part(part) = decode(&bytes).unwrap() else { panic!("a part") };
        assert_eq!(part, good());
        assert_eq!(part.data.as_ptr(), bytes[HEADER..].as_ptr());
    }

    #[test]
    fn a_whole_file_is_told_by_its_signature() {
        for file in [&b"\xFF\xD8\xFF\xE0rest"[..], b"\x89PNG\r\n\x1a\nrest", b"RIFF\0\0\0\0WEBPVP8 "] {
            let payload = Bytes::copy_from_slice(file);
            assert_eq!(decode(&payload), Ok(ImageUpload::Whole(payload)));
        }
        for other in [&b""[..], b"GIF89a", b"RIFF\0\0\0\0WAVE", b"RIFF", b"\xFF\xD8", b"%PDF"] {
            assert!(decode(&Bytes::copy_from_slice(other)).is_err(), "{other:?}");
        }
        let mut large = vec![0; MAX_IMAGE + 1];
        large[..3].copy_from_slice(&[0xFF, 0xD8, 0xFF]);
        assert!(decode(&large.into()).is_err());
    }

    #[test]
    fn an_image_that_cannot_be_cut_within_the_limits_is_not() {
        let file = Bytes::from(vec![1; 5_000]);
        assert!(cut(ImageId(1), &file, 1).is_none());
        assert!(cut(ImageId(1), &file, 0).is_none());
        assert!(cut(ImageId(1), &Bytes::new(), 10).is_none());
        assert_eq!(cut(ImageId(1), &file, 5_000).unwrap().len(), 1);
        assert_eq!(cut(ImageId(1), &file, 4_999).unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_image_or_an_error(data in proptest::collection::vec(any::<u8>(), 0..80), magic in any::<bool>()) {
            let mut data = data;
            if magic && data.len() > 1 {
                data[..2].copy_from_slice(&[MAGIC, VERSION]);
            }
            let _ = decode(&data.into());
        }
    }
}
