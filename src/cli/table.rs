//! Tables for people: columns as wide as they need, two spaces between them.

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::Wall;

/// Writes rows below a heading; nothing but `empty` when there are none.
pub(super) fn write(out: &mut dyn Write, heading: &[&str], rows: &[Vec<String>], empty: &str) -> io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "{empty}");
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(heading.get(column).map(|title| title.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let heading: Vec<String> = heading.iter().map(|title| title.to_uppercase()).collect();
    for row in std::iter::once(&heading).chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// A wall time for people; `-` when it is not known.
pub(super) fn time(at: Wall, zone: &TimeZone) -> String {
    let ms = i64::try_from(at.0).ok().filter(|ms| *ms > 0);
    match ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()) {
        Some(stamp) => stamp.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => "-".to_owned(),
    }
}

/// `yes`, `no`, or `-` where nobody knows.
pub(super) fn yes(is: Option<bool>) -> String {
    is.map_or("-", |is| if is { "yes" } else { "no" }).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn columns_line_up_also_where_letters_are_wide_in_bytes() {
        let mut out = Vec::new();
        let rows = [vec!["é".to_owned(), "1".to_owned()], vec!["abc".to_owned(), "22".to_owned()]];
        write(&mut out, &["id", "n"], &rows, "none").expect("writes");
        assert_eq!(String::from_utf8(out).expect("text"), "ID   N\né    1\nabc  22\n");
    }

    #[test]
    fn a_time_that_is_not_known_is_a_dash() {
        assert_eq!(time(Wall(0), &TimeZone::UTC), "-");
        assert_eq!(time(Wall(1_700_000_000_000), &TimeZone::UTC), "2023-11-14 22:13:20");
        assert_eq!(time(Wall(u64::MAX), &TimeZone::UTC), "-");
    }
}
