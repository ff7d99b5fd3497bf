//! Is this file what a board may write into its application slot: the form is that of ESP-IDF's application images
//! (`esp_image_format.h`, `esp_app_desc.h`).

use sha2::{Digest, Sha256};

/// First byte of every image.
const MAGIC: u8 = 0xE9;
/// Length of the image's head, and of a segment's.
const HEAD: usize = 24;
const SEGMENT: usize = 8;
/// Where the description begins, in the first segment; it begins with this in an application only.
const DESCRIPTION: (usize, u32) = (32, 0xABCD_5432);
/// Where in the image the description's version and project name are; each has 32 bytes.
const VERSION: usize = 48;
const PROJECT: usize = 80;
/// What the checksum of all segments' bytes begins with.
const CHECKSUM: u8 = 0xEF;

/// Why a file is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// It begins otherwise.
    #[error(
        "it is no ESP image: it begins with {0:#04x}, not with 0xe9; take the application alone (build/xiaozhi.bin), not \
         merged-binary.bin"
    )]
    Magic(u8),
    /// An image, but no application.
    #[error(
        "it is an ESP image, but no application: it begins with a bootloader, as merged-binary.bin does; take the \
         application alone (build/xiaozhi.bin)"
    )]
    NoApplication,
    /// It ends too early.
    #[error("it is not whole: it has {0} bytes, and its head speaks of more")]
    Short(usize),
    /// It is not what was built.
    #[error("it is damaged: its {0} does not fit")]
    Damaged(&'static str),
}

/// What an image says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The version that a board will say when it runs it.
    pub version: String,
    /// The project, `xiaozhi` for stock firmware.
    pub project: String,
    /// The chip, as numbered by Espressif.
    pub chip: u16,
}

/// Reads an image, all of it.
pub fn read(bytes: &[u8]) -> Result<Image, ImageError> {
    let short = || ImageError::Short(bytes.len());
    match bytes.first() {
        Some(&MAGIC) => {}
        other => return Err(ImageError::Magic(other.copied().unwrap_or_default())),
    }
    let head = bytes.get(..HEAD).ok_or_else(short)?;
    let magic = u32_at(bytes, DESCRIPTION.0).ok_or_else(short)?;
    if magic != DESCRIPTION.1 {
        return Err(ImageError::NoApplication);
    }
    let end = segments(bytes, head[1]).ok_or_else(short)?;
    // padded so that the checksum is the last byte of a row of 16
    let last = end | 15;
    let checksum = *bytes.get(last).ok_or_else(short)?;
    let sums = sum(bytes, head[1]);
    if sums != Some(checksum) {
        return Err(ImageError::Damaged("checksum"));
    }
    if head[23] == 1 {
        let kept = bytes.get(last + 1..last + 33).ok_or_else(short)?;
        if Sha256::digest(&bytes[..=last])[..] != *kept {
            return Err(ImageError::Damaged("SHA-256"));
        }
    }
    Ok(Image {
        version: text_at(bytes, VERSION),
        project: text_at(bytes, PROJECT),
        chip: u16::from_le_bytes([head[12], head[13]]),
    })
}

/// Where the last segment ends; none when that is beyond the file.
fn segments(bytes: &[u8], count: u8) -> Option<usize> {
    let mut at = HEAD;
    for _ in 0..count {
        at = at.checked_add(SEGMENT)?.checked_add(usize::try_from(u32_at(bytes, at + 4)?).ok()?)?;
        if at > bytes.len() {
            return None;
        }
    }
    Some(at)
}

/// All segments' bytes, folded.
fn sum(bytes: &[u8], count: u8) -> Option<u8> {
    let (mut at, mut sum) = (HEAD, CHECKSUM);
    for _ in 0..count {
        let length = usize::try_from(u32_at(bytes, at + 4)?).ok()?;
        let data = bytes.get(at + SEGMENT..at + SEGMENT + length)?;
        sum = data.iter().fold(sum, |sum, byte| sum ^ byte);
        at += SEGMENT + length;
    }
    Some(sum)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// A text of at most 32 bytes that ends at a NUL; what is not printable ASCII is left out.
fn text_at(bytes: &[u8], at: usize) -> String {
    let field = bytes.get(at..at + 32).unwrap_or_default();
    let text = field.iter().take_while(|b| **b != 0).filter(|b| b.is_ascii_graphic());
    text.map(|b| char::from(*b)).collect()
}

/// The chip by the name that firmware says (`chip_model_name`); none when it is not known.
pub fn chip(name: &str) -> Option<u16> {
    Some(match name {
        "esp32" => 0,
        "esp32s2" => 2,
        "esp32c3" => 5,
        "esp32s3" => 9,
        "esp32c2" => 12,
        "esp32c6" => 13,
        "esp32h2" => 16,
        "esp32p4" => 18,
        _ => return None,
    })
}

#[cfg(test)]
pub(in crate::door) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// An image as ESP-IDF's tools make it, with `size` bytes in its one segment.
    pub(in crate::door) fn image(version: &str, size: usize) -> Vec<u8> {
        let mut segment = vec![0_u8; size.max(256)];
        segment[..4].copy_from_slice(&DESCRIPTION.1.to_le_bytes());
        segment[16..16 + version.len()].copy_from_slice(version.as_bytes());
        segment[48..55].copy_from_slice(b"xiaozhi");
        for (n, byte) in segment[256.min(size)..].iter_mut().enumerate() {
            *byte = u8::try_from(n % 251).unwrap();
        }
        let mut bytes = vec![0_u8; HEAD];
        (bytes[0], bytes[1], bytes[12], bytes[23]) = (MAGIC, 1, 9, 1);
        bytes.extend_from_slice(&0x3c00_0020_u32.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(segment.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&segment);
        let last = bytes.len() | 15;
        bytes.resize(last, 0);
        bytes.push(segment.iter().fold(CHECKSUM, |sum, byte| sum ^ byte));
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    #[test]
    fn an_application_says_what_it_is() {
        let image = read(&image("2.4.2", 1_000)).unwrap();
        assert_eq!(image, Image { version: "2.4.2".into(), project: "xiaozhi".into(), chip: 9 });
    }

    #[test]
    fn what_would_brick_a_board_is_refused_and_said() {
        let good = image("2.4.2", 1_000);
        assert_eq!(read(b""), Err(ImageError::Magic(0)));
        assert_eq!(read(&[0xFF; 8_192]), Err(ImageError::Magic(0xFF)), "merged for the first ESP32");
        assert_eq!(read(b"PK\x03\x04"), Err(ImageError::Magic(b'P')));
        let mut bootloader = good.clone();
        bootloader[32] = 80;
        assert_eq!(read(&bootloader), Err(ImageError::NoApplication));
        for length in 1..good.len() {
            assert!(read(&good[..length]).is_err(), "{length} of {} bytes", good.len());
        }
        let mut damaged = good.clone();
        damaged[500] ^= 1;
        assert_eq!(read(&damaged), Err(ImageError::Damaged("checksum")));
        let mut damaged = good.clone();
        damaged[4] ^= 1;
        assert_eq!(read(&damaged), Err(ImageError::Damaged("SHA-256")));
        let mut wild = good;
        wild[28..32].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(read(&wild), Err(ImageError::Short(_))));
    }
}
