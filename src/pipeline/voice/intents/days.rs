//! Days of the year that a question may name, and how far off they are.

use jiff::civil::Date;
use jiff::{ToSpan, Unit};

/// A day without a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day {
    pub month: i8,
    pub day: i8,
}

impl Day {
    /// This day, where it is one in some year.
    pub(super) fn new(month: i8, day: i8) -> Option<Self> {
        Date::new(2024, month, day).ok().map(|_| Self { month, day })
    }

    /// In a year, where it has it.
    pub(super) fn of(self, year: i16) -> Option<Date> {
        Date::new(year, self.month, self.day).ok()
    }

    /// The next one, today too.
    pub(super) fn next(self, today: Date) -> Option<Date> {
        (0..=8).find_map(|years| self.of(today.year() + years).filter(|date| *date >= today))
    }
}

/// Feasts that are on the same day every year: English names, Chinese names.
const FEASTS: [(&[&str], &[&str], i8, i8); 9] = [
    (&["christmas", "christmas day", "xmas"], &["圣诞节", "圣诞"], 12, 25),
    (&["christmas eve"], &["平安夜"], 12, 24),
    (&["new year", "new year's", "new year's day", "the new year"], &["元旦"], 1, 1),
    (&["new year's eve"], &["跨年夜"], 12, 31),
    (&["halloween"], &["万圣节"], 10, 31),
    (&["valentine's day", "valentines day"], &["情人节"], 2, 14),
    (&[], &["国庆节", "国庆"], 10, 1),
    (&[], &["劳动节", "五一"], 5, 1),
    (&[], &["儿童节", "六一"], 6, 1),
];

/// A feast by its English or Chinese name.
pub(super) fn feast(name: &str) -> Option<Day> {
    let found = FEASTS.iter().find(|(english, chinese, ..)| english.contains(&name) || chinese.contains(&name))?;
    Day::new(found.2, found.3)
}

/// Days from one date to a later one.
pub(super) fn between(from: Date, to: Date) -> Option<i32> {
    from.until((Unit::Day, to)).ok().map(|span| span.get_days()).filter(|days| *days >= 0)
}

/// A date so many days off.
pub(super) fn off(date: Date, days: i32) -> Option<Date> {
    date.checked_add(i64::from(days).days()).ok()
}
