//! Where a city's clock stands: its name in English or Chinese → a zone of the time zone database.

use jiff::tz::TimeZone;

/// English name, Chinese name, zone: what the names of zones do not say.
const CITIES: [(&str, &str, &str); 61] = [
    ("beijing", "北京", "Asia/Shanghai"),
    ("china", "中国", "Asia/Shanghai"),
    ("shanghai", "上海", "Asia/Shanghai"),
    ("shenzhen", "深圳", "Asia/Shanghai"),
    ("guangzhou", "广州", "Asia/Shanghai"),
    ("hong kong", "香港", "Asia/Hong_Kong"),
    ("macau", "澳门", "Asia/Macau"),
    ("taipei", "台北", "Asia/Taipei"),
    ("taiwan", "台湾", "Asia/Taipei"),
    ("tokyo", "东京", "Asia/Tokyo"),
    ("osaka", "大阪", "Asia/Tokyo"),
    ("japan", "日本", "Asia/Tokyo"),
    ("seoul", "首尔", "Asia/Seoul"),
    ("south korea", "韩国", "Asia/Seoul"),
    ("singapore", "新加坡", "Asia/Singapore"),
    ("bangkok", "曼谷", "Asia/Bangkok"),
    ("thailand", "泰国", "Asia/Bangkok"),
    ("hanoi", "河内", "Asia/Bangkok"),
    ("kuala lumpur", "吉隆坡", "Asia/Kuala_Lumpur"),
    ("manila", "马尼拉", "Asia/Manila"),
    ("jakarta", "雅加达", "Asia/Jakarta"),
    ("delhi", "德里", "Asia/Kolkata"),
    ("new delhi", "新德里", "Asia/Kolkata"),
    ("mumbai", "孟买", "Asia/Kolkata"),
    ("india", "印度", "Asia/Kolkata"),
    ("dubai", "迪拜", "Asia/Dubai"),
    ("istanbul", "伊斯坦布尔", "Europe/Istanbul"),
    ("moscow", "莫斯科", "Europe/Moscow"),
    ("london", "伦敦", "Europe/London"),
    ("england", "英国", "Europe/London"),
    ("paris", "巴黎", "Europe/Paris"),
    ("france", "法国", "Europe/Paris"),
    ("berlin", "柏林", "Europe/Berlin"),
    ("munich", "慕尼黑", "Europe/Berlin"),
    ("frankfurt", "法兰克福", "Europe/Berlin"),
    ("germany", "德国", "Europe/Berlin"),
    ("rome", "罗马", "Europe/Rome"),
    ("milan", "米兰", "Europe/Rome"),
    ("italy", "意大利", "Europe/Rome"),
    ("madrid", "马德里", "Europe/Madrid"),
    ("barcelona", "巴塞罗那", "Europe/Madrid"),
    ("amsterdam", "阿姆斯特丹", "Europe/Amsterdam"),
    ("zurich", "苏黎世", "Europe/Zurich"),
    ("geneva", "日内瓦", "Europe/Zurich"),
    ("vienna", "维也纳", "Europe/Vienna"),
    ("athens", "雅典", "Europe/Athens"),
    ("cairo", "开罗", "Africa/Cairo"),
    ("cape town", "开普敦", "Africa/Johannesburg"),
    ("new york", "纽约", "America/New_York"),
    ("washington dc", "华盛顿", "America/New_York"),
    ("boston", "波士顿", "America/New_York"),
    ("chicago", "芝加哥", "America/Chicago"),
    ("denver", "丹佛", "America/Denver"),
    ("los angeles", "洛杉矶", "America/Los_Angeles"),
    ("san francisco", "旧金山", "America/Los_Angeles"),
    ("seattle", "西雅图", "America/Los_Angeles"),
    ("toronto", "多伦多", "America/Toronto"),
    ("vancouver", "温哥华", "America/Vancouver"),
    ("sydney", "悉尼", "Australia/Sydney"),
    ("melbourne", "墨尔本", "Australia/Melbourne"),
    ("auckland", "奥克兰", "Pacific/Auckland"),
];
const REGIONS: [&str; 8] = ["Europe", "America", "Asia", "Africa", "Australia", "Pacific", "Atlantic", "Indian"];

/// A place with a clock.
#[derive(Debug)]
pub(super) struct Place {
    /// As it is said.
    pub name: String,
    /// Its zone.
    pub zone: TimeZone,
}

/// A place by its English name in small letters.
pub(super) fn english(name: &str) -> Option<Place> {
    let zone = match CITIES.iter().find(|(city, ..)| *city == name) {
        Some((_, _, zone)) => TimeZone::get(zone).ok()?,
        None => zone_named(name)?,
    };
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
    };
    let name = if name.ends_with(" dc") {
        "Washington".to_owned()
    } else {
        name.split(' ').map(capital).collect::<Vec<_>>().join(" ")
    };
    Some(Place { name, zone })
}

/// A place by its Chinese name.
pub(super) fn chinese(name: &str) -> Option<Place> {
    let (_, city, zone) = CITIES.iter().find(|(_, city, _)| *city == name)?;
    Some(Place { name: (*city).to_owned(), zone: TimeZone::get(zone).ok()? })
}

/// The zone that has a city's name.
fn zone_named(city: &str) -> Option<TimeZone> {
    let plain = (3..=24).contains(&city.len()) && city.bytes().all(|b| b.is_ascii_lowercase() || b == b' ');
    let city = plain.then(|| city.replace(' ', "_"))?;
    REGIONS.iter().find_map(|region| TimeZone::get(&format!("{region}/{city}")).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_city_has_a_zone_and_what_is_none_has_none() {
        for (name, zone) in
            [("tokyo", "Asia/Tokyo"), ("san francisco", "America/Los_Angeles"), ("reykjavik", "Atlantic/Reykjavik")]
        {
            let place = english(name).map(|place| place.zone.iana_name().map(str::to_lowercase));
            assert_eq!(place, Some(Some(zone.to_lowercase())), "{name}");
        }
        for nothing in ["the kitchen", "../etc", "", "hell", "the morning", "utc+8"] {
            assert!(english(nothing).is_none(), "{nothing}");
        }
        assert!(
            CITIES
                .iter()
                .all(|(english_name, chinese_name, _)| english(english_name).is_some()
                    && chinese(chinese_name).is_some())
        );
    }
}
