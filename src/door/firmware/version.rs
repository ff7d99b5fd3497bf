//! Versions as firmware compares them: numbers with dots between, segment by segment.

use std::fmt;

/// Most segments.
const SEGMENTS: usize = 8;
/// Most digits of a segment: more do not fit into the number that firmware reads them into, and it ends there.
const DIGITS: usize = 9;

/// A version. `1.10` comes after `1.9`, `1.9.0` after `1.9`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(Vec<u32>);

impl Version {
    /// Reads one; none when firmware could not: it throws at `v1.2`, at an empty segment and at one too large.
    pub fn parse(text: &str) -> Option<Self> {
        let segment = |text: &str| {
            let digits = (1..=DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            if digits { text.parse().ok() } else { None }
        };
        let segments: Option<Vec<u32>> = text.split('.').take(SEGMENTS + 1).map(segment).collect();
        segments.filter(|segments| segments.len() <= SEGMENTS).map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&segments.join("."))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_firmware_throws_at_is_no_version() {
        for bad in ["", "v1.2", "1..2", "1.", ".1", "1.2-rc1", "1.9999999999", "1 .2", "-1", "1.1.1.1.1.1.1.1.1"] {
            assert_eq!(Version::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn segments_are_numbers() {
        let version = |text| Version::parse(text).unwrap();
        assert!(version("1.10") > version("1.9") && version("2.4.2") > version("2.4"));
        assert!(version("2") < version("10.0"));
        assert_eq!(version("02.4.2").to_string(), "2.4.2");
    }
}
