//! Times and dates, asked in Chinese: here, elsewhere, some days off.

use jiff::civil::{Date, Weekday};
use jiff::{Span, Zoned};

use super::super::days::{self, Day};
use super::super::places;
use super::numbers;

/// The answer to a question about time.
pub(super) fn answer(text: &str, now: &Zoned) -> Option<String> {
    let text = text.replace("礼拜", "星期").replace("周几", "星期几");
    plain(&text, now)
        .or_else(|| on_a_day(&text, now.date()))
        .or_else(|| elsewhere(&text, now))
        .or_else(|| later(&text, now))
        .or_else(|| days_until(&text, now.date()))
        .or_else(|| weekday_of(&text, now.date()))
}

fn plain(text: &str, now: &Zoned) -> Option<String> {
    match text {
        "现在几点"
        | "几点"
        | "现在几点钟"
        | "几点钟"
        | "现在是几点"
        | "现在是几点钟"
        | "现在时间"
        | "现在什么时间"
        | "现在是什么时间"
        | "现在的时间"
        | "现在的时间是多少"
        | "报时"
        | "报一下时间"
        | "时间"
        | "几点现在"
        | "现在多少点" => Some(format!("现在是{}。", spoken_time(now))),
        "今年是哪一年" | "今年是哪年" | "现在是哪一年" | "今年是几几年" | "今年是多少年" | "今年哪一年"
        | "今年几几年" => Some(format!("今年是{}年。", now.year())),
        "现在是几月" | "现在几月" | "这个月是几月" | "现在是几月份" | "现在几月份" => {
            Some(format!("现在是{}月。", now.month()))
        }
        "今年第几周" | "这是今年的第几周" | "现在是第几周" | "这周是第几周" | "今年是第几周" => {
            Some(format!("现在是今年第{}周。", now.date().iso_week_date().week()))
        }
        "今年是闰年吗" => Some(if now.in_leap_year() { "今年是闰年。" } else { "今年不是闰年。" }.to_owned()),
        _ => None,
    }
}

/// 下午三点十五分
fn spoken_time(at: &Zoned) -> String {
    let part = match at.hour() {
        0..=4 => "凌晨",
        5..=7 => "早上",
        8..=11 => "上午",
        12 => "中午",
        13..=17 => "下午",
        _ => "晚上",
    };
    let hour = if at.hour() > 12 { at.hour() - 12 } else { at.hour() };
    let hour = if hour == 2 { "两".to_owned() } else { numbers::words(hour) };
    match at.minute() {
        0 => format!("{part}{hour}点整"),
        30 => format!("{part}{hour}点半"),
        minute if minute < 10 => format!("{part}{hour}点零{}分", numbers::words(minute)),
        minute => format!("{part}{hour}点{}分", numbers::words(minute)),
    }
}

fn spoken_date(date: Date) -> String {
    format!("{}年{}月{}日，{}", date.year(), date.month(), date.day(), weekday(date))
}

fn weekday(date: Date) -> &'static str {
    match date.weekday() {
        Weekday::Monday => "星期一",
        Weekday::Tuesday => "星期二",
        Weekday::Wednesday => "星期三",
        Weekday::Thursday => "星期四",
        Weekday::Friday => "星期五",
        Weekday::Saturday => "星期六",
        Weekday::Sunday => "星期日",
    }
}

/// 今天星期几, 明天几号
fn on_a_day(text: &str, today: Date) -> Option<String> {
    const DAYS: [(&str, i32); 7] =
        [("今天", 0), ("明天", 1), ("大后天", 3), ("后天", 2), ("昨天", -1), ("大前天", -3), ("前天", -2)];
    let (name, off) = DAYS.iter().find(|(name, _)| text.starts_with(name))?;
    let rest = &text[name.len()..];
    let asked = rest.strip_prefix('是').unwrap_or(rest);
    let date = days::off(today, *off)?;
    match asked {
        "星期几" => Some(format!("{name}是{}。", weekday(date))),
        "几号"
        | "几月几号"
        | "几月几日"
        | "几日"
        | "多少号"
        | "什么日期"
        | "的日期"
        | "日期"
        | "哪天"
        | "几号星期几"
        | "几月几号星期几"
        | "的日期是什么" => Some(format!("{name}是{}。", spoken_date(date))),
        _ => None,
    }
}

/// 东京现在几点
fn elsewhere(text: &str, now: &Zoned) -> Option<String> {
    const AFTER: [&str; 8] = ["是几点钟", "是几点", "几点钟", "几点", "是什么时间", "什么时间", "的时间", "时间"];
    let rest = text.replacen("现在", "", 1);
    let name = AFTER.iter().find_map(|after| rest.strip_suffix(after))?;
    let place = places::chinese(name)?;
    let there = now.with_time_zone(place.zone);
    let day = match days::between(now.date(), there.date())
        .or_else(|| days::between(there.date(), now.date()).map(|days| -days))?
    {
        0 => "",
        1 => "明天",
        -1 => "昨天",
        _ => return None,
    };
    Some(format!("{}现在是{day}{}。", place.name, spoken_time(&there)))
}

/// 三天后是星期几, 二十分钟后是几点
fn later(text: &str, now: &Zoned) -> Option<String> {
    let (span, asked) =
        text.split_once("之后").or_else(|| text.split_once("以后")).or_else(|| text.split_once('后'))?;
    let asked = asked.strip_prefix('是').unwrap_or(asked);
    let (value, used) = numbers::read(span)?;
    if value.fract() != 0.0 || !(0.0..=36_500.0).contains(&value) {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "a whole number up to 36500")]
    let count = value as i32;
    let unit = &span[used..];
    match (unit, asked) {
        ("分钟" | "小时" | "个小时", "几点" | "几点钟" | "什么时间") if count <= 1_440 => {
            let span = if unit == "分钟" { Span::new().minutes(count) } else { Span::new().hours(count) };
            let then = now
                .checked_add(span)
                .ok()
                .filter(|then| days::between(now.date(), then.date()).is_some_and(|days| days <= 1))?;
            let day = if then.date() == now.date() { "" } else { "明天" };
            Some(format!("是{day}{}。", spoken_time(&then)))
        }
        ("天" | "周" | "个星期" | "星期", "星期几" | "几号" | "几月几号" | "几月几日" | "哪天") =>
        {
            let days = if unit == "天" { count } else { count.checked_mul(7)? };
            Some(format!("是{}。", spoken_date(days::off(now.date(), days)?)))
        }
        _ => None,
    }
}

/// 离圣诞节还有几天, 还有多少天到三月三号
fn days_until(text: &str, today: Date) -> Option<String> {
    const AFTER: [&str; 4] = ["还有多少天", "还有几天", "还剩多少天", "还剩几天"];
    const BEFORE: [&str; 5] = ["距离", "离", "距", "到", "今天到"];
    let name = AFTER.iter().find_map(|after| {
        let front =
            text.strip_suffix(after).map(|name| BEFORE.iter().find_map(|b| name.strip_prefix(b)).unwrap_or(name));
        front.or_else(|| text.strip_prefix(after).and_then(|name| name.strip_prefix('到')))
    })?;
    let then = match dated(name)? {
        (day, Some(year)) => day.of(year)?,
        (day, None) => day.next(today)?,
    };
    Some(match days::between(today, then)? {
        0 => "就是今天。".to_owned(),
        1 => "还有一天，就是明天。".to_owned(),
        days => format!("还有{days}天，{}年{}月{}日。", then.year(), then.month(), then.day()),
    })
}

/// 十二月二十四号是星期几
fn weekday_of(text: &str, today: Date) -> Option<String> {
    let name = text.strip_suffix("星期几").or_else(|| text.strip_suffix("哪天"))?;
    let (day, year) = dated(name.strip_suffix('是').unwrap_or(name))?;
    let then = year.map_or_else(|| day.next(today), |year| day.of(year))?;
    Some(format!("{}年{}月{}日是{}。", then.year(), then.month(), then.day(), weekday(then)))
}

/// A feast, or a date: 十二月二十四号, 2027年1月1日.
fn dated(text: &str) -> Option<(Day, Option<i16>)> {
    if let Some(day) = days::feast(text) {
        return Some((day, None));
    }
    let (year, rest) = match text.split_once('年') {
        Some((year, rest)) => (Some(small(year).filter(|year| (1_800..3_000).contains(year))?), rest),
        None => (None, text),
    };
    let (month, rest) = rest.split_once('月')?;
    let day = rest.strip_suffix('号').or_else(|| rest.strip_suffix('日')).unwrap_or(rest);
    let day = Day::new(i8::try_from(small(month)?).ok()?, i8::try_from(small(day)?).ok()?)?;
    Some((day, year))
}

#[allow(clippy::cast_possible_truncation, reason = "a whole number below 10000")]
fn small(text: &str) -> Option<i16> {
    numbers::whole(text)
        .filter(|value| value.fract() == 0.0 && (0.0..10_000.0).contains(value))
        .map(|value| value as i16)
}
