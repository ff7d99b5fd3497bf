//! SHA-256 sums: as values, and of files.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A SHA-256 sum, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha([u8; 32]);

impl Sha {
    /// The finished sum.
    pub(super) fn of(hash: Sha256) -> Self {
        Self(hash.finalize().into())
    }

    /// The sum of bytes in memory.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::of(Sha256::new_with_prefix(bytes))
    }

    /// The sum of a file and its length. `go_on` is asked after each piece; `None` when it said no.
    pub fn file(path: &Path, mut go_on: impl FnMut(u64) -> bool) -> io::Result<Option<(Self, u64)>> {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        let mut piece = vec![0; 1 << 18];
        let mut length = 0;
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                return Ok(Some((Self::of(hash), length)));
            }
            hash.update(&piece[..read]);
            length += read as u64;
            if !go_on(length) {
                return Ok(None);
            }
        }
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut sum = [0; 32];
        for (byte, pair) in sum.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high << 4 | low).ok()?;
        }
        Some(Self(sum))
    }
}

impl fmt::Display for Sha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Sha {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no SHA-256: 64 hexadecimal digits")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_sum_reads_back_and_agrees_with_the_file() {
        let sum = Sha::bytes(b"abc");
        assert_eq!(sum.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Sha::parse(&sum.to_string()), Some(sum));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"abc").unwrap();
        assert_eq!(Sha::file(file.path(), |_| true).unwrap(), Some((sum, 3)));
        assert_eq!(Sha::file(file.path(), |_| false).unwrap(), None);
    }

    #[test]
    fn what_is_no_sum_is_refused() {
        for bad in ["", "00", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(Sha::parse(bad), None, "{bad}");
        }
    }
}
