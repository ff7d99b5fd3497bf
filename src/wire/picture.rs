//! What a file is that says it is a picture: told by its content alone, never by a name or a header.
//!
//! JPEG, PNG and WebP, each as far as its size in pixels. Nothing is decoded: the reader allocates nothing and looks at
//! no more than the heads of segments.

/// Largest width and height that are believed, in pixels.
const MOST_PIXELS: u32 = 16_384;

/// A picture's form and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// `image/jpeg`, `image/png` or `image/webp`.
    pub mime: &'static str,
    /// In pixels, 1 to 16,384.
    pub width: u32,
    /// In pixels, 1 to 16,384.
    pub height: u32,
}

/// What the bytes are; none when they are no picture of a known form, or of a size that cannot be.
pub fn read(file: &[u8]) -> Option<Picture> {
    let (mime, (width, height)) = if file.starts_with(&[0xFF, 0xD8, 0xFF]) {
        ("image/jpeg", jpeg(file)?)
    } else if file.starts_with(b"\x89PNG\r\n\x1a\n") {
        ("image/png", png(file)?)
    } else if file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WEBP") {
        ("image/webp", webp(file)?)
    } else {
        return None;
    };
    let sane = |pixels: u32| (1..=MOST_PIXELS).contains(&pixels);
    (sane(width) && sane(height)).then_some(Picture { mime, width, height })
}

/// Segments up to the frame's head (SOF): its height and width stand behind a byte of precision. ITU T.81, B.2.
fn jpeg(file: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        // any number of 0xFF may stand before a marker
        let marker = match file.get(at..at + 2)? {
            [0xFF, 0xFF] => {
                at += 1;
                continue;
            }
            [0xFF, marker] => *marker,
            _ => return None,
        };
        at += 2;
        match marker {
            // markers without a segment
            0x01 | 0xD0..=0xD7 => {}
            // frames of all kinds; C4, C8 and CC are tables
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                let size = file.get(at + 3..at + 7)?;
                return Some((be16(&size[2..4]), be16(&size[..2])));
            }
            // data, an end or a second beginning before any frame
            0xD8..=0xDA | 0x00 => return None,
            _ => {
                let length = be16(file.get(at..at + 2)?) as usize;
                if length < 2 {
                    return None;
                }
                at += length;
            }
        }
    }
}

/// The first chunk is IHDR.
fn png(file: &[u8]) -> Option<(u32, u32)> {
    let head = file.get(8..24)?;
    let number = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
    (head.get(4..8)? == b"IHDR").then_some(())?;
    Some((number(8)?, number(12)?))
}

/// One of three forms, by the name of the first chunk. RFC 9649.
fn webp(file: &[u8]) -> Option<(u32, u32)> {
    let data = file.get(20..30)?;
    let le16 = |at: usize| u32::from(data[at]) | u32::from(data[at + 1]) << 8;
    match file.get(12..16)? {
        // behind a frame's head of three bytes and a start code of three
        b"VP8 " if data[3..6] == [0x9D, 0x01, 0x2A] => Some((le16(6) & 0x3FFF, le16(8) & 0x3FFF)),
        b"VP8L" if data[0] == 0x2F => {
            let bits = le16(1) | le16(3) << 16;
            Some(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1))
        }
        b"VP8X" => Some(((le16(4) | u32::from(data[6]) << 16) + 1, (le16(7) | u32::from(data[9]) << 16) + 1)),
        _ => None,
    }
}

fn be16(bytes: &[u8]) -> u32 {
    u32::from(bytes[0]) << 8 | u32::from(bytes[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a JPEG as cameras write it: JFIF, a table, the frame.
    fn camera(width: u16, height: u16) -> Vec<u8> {
        let mut file = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 16];
        file.extend(b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
        file.extend([0xFF, 0xDB, 0, 4, 0, 0, 0xFF, 0xFF, 0xC0, 0, 17, 8]);
        file.extend(height.to_be_bytes());
        file.extend(width.to_be_bytes());
        file.extend([3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
        file
    }

    fn webp_of(chunk: [u8; 4], data: [u8; 10]) -> Vec<u8> {
        [b"RIFF\x1a\0\0\0WEBP", &chunk[..], &[10, 0, 0, 0], &data].concat()
    }

    #[test]
    fn the_three_forms_say_their_size() {
        let size = |file: &[u8]| read(file).map(|picture| (picture.mime, picture.width, picture.height));
        assert_eq!(size(&camera(640, 480)), Some(("image/jpeg", 640, 480)));
        let png = [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", &[0, 0, 2, 128, 0, 0, 1, 224, 8, 2, 0, 0, 0][..]].concat();
        assert_eq!(size(&png), Some(("image/png", 640, 480)));
        let lossy = webp_of(*b"VP8 ", [0, 0, 0, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0xE0, 0x01]);
        assert_eq!(size(&lossy), Some(("image/webp", 640, 480)));
        // 639 and 479 in 14 bits each
        let bits = (0x27F_u32 | 0x1DF << 14).to_le_bytes();
        let lossless = webp_of(*b"VP8L", [0x2F, bits[0], bits[1], bits[2], bits[3], 0, 0, 0, 0, 0]);
        assert_eq!(size(&lossless), Some(("image/webp", 640, 480)));
        let extended = webp_of(*b"VP8X", [0, 0, 0, 0, 0x7F, 0x02, 0, 0xDF, 0x01, 0]);
        assert_eq!(size(&extended), Some(("image/webp", 640, 480)));
    }

    #[test]
    fn what_is_cut_off_or_of_no_size_or_no_picture_is_none() {
        let whole = camera(640, 480);
        let frame = whole.len() - 10;
        for end in 0..frame {
            assert_eq!(read(&whole[..end]), None, "{end} bytes");
        }
        assert_eq!(read(&camera(0, 480)), None);
        assert_eq!(read(&camera(640, 20_000)), None);
        for bytes in [&b"GIF89a"[..], b"<svg>", b"", b"\xFF\xD8\xFF", b"%PDF-1.7", b"RIFF\0\0\0\0WAVEfmt "] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
        // a segment without length, and data before any frame
        assert_eq!(read(&[0xFF, 0xD8, 0xFF, 0xE0, 0, 0, 0xFF, 0xE0, 0, 0]), None);
        assert_eq!(read(&[0xFF, 0xD8, 0xFF, 0xDA, 0, 12, 3, 1, 0, 2]), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_picture_or_none(mut bytes: Vec<u8>, form in 0..4_usize) {
            let heads: [&[u8]; 4] = [&[], &[0xFF, 0xD8, 0xFF], b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 "];
            bytes.splice(0..0, heads[form].iter().copied());
            let _ = read(&bytes);
        }
    }
}
