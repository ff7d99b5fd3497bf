//! Units in configuration: `"500ms"`, `"4MB"`; and what is wrong with a setting.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time span, written `"500ms"`, `"20s"`, `"5m"`, `"24h"` or `"7d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub Duration);

impl Span {
    /// So many milliseconds.
    pub const fn ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// So many seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// So many days.
    pub const fn days(days: u64) -> Self {
        Self(Duration::from_secs(days * 86_400))
    }

    /// Reads `"500ms"`, `"20s"`, `"5m"`, `"24h"`, `"7d"`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let complaint =
            || format!("{text:?} is no time span: write a whole number and ms, s, m, h or d, as in \"500ms\"");
        let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(complaint)?;
        let (number, unit) = text.split_at(at);
        let number: u64 = number.parse().map_err(|_| complaint())?;
        let scale = match unit.trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(complaint()),
        };
        number.checked_mul(scale).map(Self::ms).ok_or_else(complaint)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        for (scale, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
            if ms > 0 && ms.is_multiple_of(scale) {
                return write!(f, "{}{unit}", ms / scale);
            }
        }
        write!(f, "{ms}ms")
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
            "description": "a time span: a whole number and ms, s, m, h or d"
        })
    }
}

/// An amount of bytes, written `"200KB"`, `"4MB"`, `"1GB"` (powers of 1,024) or as a plain number in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many KB.
    pub const fn kb(kb: u64) -> Self {
        Self(kb << 10)
    }

    /// So many MB.
    pub const fn mb(mb: u64) -> Self {
        Self(mb << 20)
    }

    /// As a length in memory.
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// None at all.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Reads `"200KB"`, `"4MB"`, `"1GB"`, `"512"`, `"512B"`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let complaint = || format!("{text:?} is no size: write a whole number and B, KB, MB or GB, as in \"4MB\"");
        let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(at);
        let number: u64 = number.parse().map_err(|_| complaint())?;
        let scale: u64 = match unit.trim() {
            "" | "B" => 1,
            "KB" => 1 << 10,
            "MB" => 1 << 20,
            "GB" => 1 << 30,
            _ => return Err(complaint()),
        };
        number.checked_mul(scale).map(Self).ok_or_else(complaint)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (scale, unit) in [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")] {
            if self.0 > 0 && self.0.is_multiple_of(scale) {
                return write!(f, "{}{unit}", self.0 / scale);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for ByteSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(B|KB|MB|GB)?$",
            "description": "an amount of bytes: a whole number and B, KB, MB or GB (powers of 1,024)"
        })
    }
}

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, dotted: `mqtt.listen`.
    pub key: String,
    /// What is wrong, lowercase, no full stop.
    pub what: String,
    /// How to mend it.
    pub remedy: String,
}

impl Problem {
    /// A problem with `key`.
    pub fn new(key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into(), remedy: remedy.into() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_span_reads_back_as_it_is_written() {
        for text in ["500ms", "20s", "5m", "24h", "7d"] {
            let span = Span::parse(text).expect(text);
            assert_eq!(Span::parse(&span.to_string()), Ok(span));
        }
        assert_eq!(Span::ms(1_500).to_string(), "1500ms");
        for bad in ["", "5", "ms", "5 weeks", "-1s", "99999999999999999d"] {
            assert!(Span::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_reads_back_as_it_is_written() {
        assert_eq!(ByteSize::parse("4MB"), Ok(ByteSize::mb(4)));
        assert_eq!(ByteSize::parse("512"), Ok(ByteSize(512)));
        assert_eq!(ByteSize::mb(4).to_string(), "4MB");
        assert!(ByteSize::parse("4 apples").is_err());
    }
}
