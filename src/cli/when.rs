//! Points in time as people write them: `2h` (ago), `today`, `2026-11-20`, `2026-11-20T10:00`, RFC 3339.

use anyhow::{anyhow, bail};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::domain::{Span, Wall};

/// Reads a point in time; dates and times without a zone are in `zone`.
pub(super) fn parse(text: &str, now: Wall, zone: &TimeZone) -> anyhow::Result<Wall> {
    if let Ok(span) = Span::parse(text) {
        let ago = u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX);
        return Ok(Wall(now.0.saturating_sub(ago)));
    }
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return wall(stamp);
    }
    let today = Timestamp::from_millisecond(i64::try_from(now.0)?)?.to_zoned(zone.clone()).date();
    let local = match text {
        "today" => today.to_datetime(jiff::civil::Time::midnight()),
        "yesterday" => today.checked_sub(1.day())?.to_datetime(jiff::civil::Time::midnight()),
        _ => text.parse::<DateTime>().map_err(|_| {
            anyhow!("{text:?} is no time: write 2h (ago), today, yesterday, 2026-11-20, 2026-11-20T10:00 or RFC 3339")
        })?,
    };
    wall(local.to_zoned(zone.clone())?.timestamp())
}

fn wall(stamp: Timestamp) -> anyhow::Result<Wall> {
    match u64::try_from(stamp.as_millisecond()) {
        Ok(ms) => Ok(Wall(ms)),
        Err(_) => bail!("{stamp} is before 1970"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;

    const NOW: Wall = Wall(1_700_000_000_000); // 2023-11-14T22:13:20Z

    #[test]
    fn what_is_no_time_is_told_with_what_would_be_one() {
        for bad in ["", "noon", "2023-13-01", "-2h", "1969-01-01"] {
            assert!(parse(bad, NOW, &TimeZone::UTC).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_span_is_so_long_ago_and_a_date_begins_at_midnight_of_the_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        let at = |text| parse(text, NOW, &zone).expect(text).0;
        assert_eq!(at("2h"), NOW.0 - 7_200_000);
        assert_eq!(at("2023-11-14T22:13:20Z"), NOW.0);
        assert_eq!(at("2023-11-15T06:13:20"), NOW.0);
        // in that zone it is the 15th already
        assert_eq!(at("today"), at("2023-11-15"));
        assert_eq!(at("today") - at("yesterday"), 86_400_000);
    }
}
