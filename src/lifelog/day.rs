//! Days as numbers, file names and people write them.

use std::fmt;

use jiff::civil::Date;

use crate::domain::Wall;

/// Days since 1970-01-01, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Day(pub u32);

impl Day {
    pub fn of(at: Wall) -> Self {
        Self(at.day())
    }

    /// Reads `2026-11-21`.
    pub fn parse(text: &str) -> Option<Self> {
        let date: Date = text.parse().ok()?;
        let since = date.since(epoch()).ok()?;
        u32::try_from(since.get_days()).ok().map(Self)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = jiff::Span::new().try_days(i64::from(self.0));
        match days.and_then(|d| epoch().checked_add(d)) {
            Ok(date) => date.fmt(f),
            // beyond the calendar: a clock gone wild must not stop the rest
            Err(_) => write!(f, "day-{}", self.0),
        }
    }
}

fn epoch() -> Date {
    Date::constant(1970, 1, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_read_back_as_they_are_written() {
        assert_eq!(Day(0).to_string(), "1970-01-01");
        assert_eq!(Day::of(Wall(1_763_700_000_000)).to_string(), "2025-11-21");
        for day in [0, 1, 59, 20_000, 40_000] {
            assert_eq!(Day::parse(&Day(day).to_string()), Some(Day(day)));
        }
        assert_eq!(Day::parse("1969-12-31"), None);
        assert_eq!(Day::parse("x"), None);
        assert_eq!(Day(u32::MAX).to_string(), "day-4294967295");
    }
}
