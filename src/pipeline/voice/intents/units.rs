//! Units of length, weight, heat, speed and time, and what one is in another.
//!
//! Units whose name means several things (gallon, cup, ton, month) are left out: a wrong one would be a wrong answer.

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Length,
    Weight,
    Heat,
    Speed,
    Time,
}

/// A unit: its names, and `value * factor + offset` in the first of its kind.
#[derive(Debug)]
pub(super) struct Unit {
    kind: Kind,
    factor: f64,
    offset: f64,
    /// One of it, more of it, other English names.
    pub english: &'static [&'static str],
    /// In Chinese, the usual name first.
    pub chinese: &'static [&'static str],
}

const fn unit(kind: Kind, factor: f64, english: &'static [&'static str], chinese: &'static [&'static str]) -> Unit {
    Unit { kind, factor, offset: 0.0, english, chinese }
}

static UNITS: [Unit; 22] = [
    unit(Kind::Length, 1.0, &["meter", "meters", "metre", "metres"], &["米", "公尺"]),
    unit(Kind::Length, 0.001, &["millimeter", "millimeters", "millimetre", "millimetres", "mm"], &["毫米"]),
    unit(Kind::Length, 0.01, &["centimeter", "centimeters", "centimetre", "centimetres", "cm"], &["厘米", "公分"]),
    unit(Kind::Length, 1_000.0, &["kilometer", "kilometers", "kilometre", "kilometres", "km"], &["公里", "千米"]),
    unit(Kind::Length, 0.0254, &["inch", "inches"], &["英寸"]),
    unit(Kind::Length, 0.3048, &["foot", "feet"], &["英尺"]),
    unit(Kind::Length, 0.9144, &["yard", "yards"], &["码"]),
    unit(Kind::Length, 1_609.344, &["mile", "miles"], &["英里"]),
    unit(Kind::Weight, 1.0, &["kilogram", "kilograms", "kilo", "kilos", "kg"], &["公斤", "千克"]),
    unit(Kind::Weight, 0.001, &["gram", "grams"], &["克"]),
    unit(Kind::Weight, 0.000_001, &["milligram", "milligrams", "mg"], &["毫克"]),
    unit(Kind::Weight, 0.453_592_37, &["pound", "pounds", "lbs"], &["磅"]),
    unit(Kind::Weight, 0.5, &[], &["斤"]),
    unit(
        Kind::Heat,
        1.0,
        &["degree celsius", "degrees celsius", "celsius", "centigrade", "degrees centigrade"],
        &["摄氏度"],
    ),
    Unit {
        kind: Kind::Heat,
        factor: 5.0 / 9.0,
        offset: -160.0 / 9.0,
        english: &["degree fahrenheit", "degrees fahrenheit", "fahrenheit"],
        chinese: &["华氏度"],
    },
    unit(
        Kind::Speed,
        1.0,
        &["kilometer per hour", "kilometers per hour", "kilometres per hour", "kph"],
        &["公里每小时"],
    ),
    unit(Kind::Speed, 1.609_344, &["mile per hour", "miles per hour", "mph"], &["英里每小时"]),
    unit(Kind::Time, 1.0, &["second", "seconds"], &["秒", "秒钟"]),
    unit(Kind::Time, 60.0, &["minute", "minutes"], &["分钟"]),
    unit(Kind::Time, 3_600.0, &["hour", "hours"], &["小时", "个小时"]),
    unit(Kind::Time, 86_400.0, &["day", "days"], &["天"]),
    unit(Kind::Time, 604_800.0, &["week", "weeks"], &["周", "个星期", "星期"]),
];

/// The unit with this English name.
pub(super) fn english(name: &str) -> Option<&'static Unit> {
    UNITS.iter().find(|unit| unit.english.contains(&name))
}

/// The unit with this Chinese name.
pub(super) fn chinese(name: &str) -> Option<&'static Unit> {
    UNITS.iter().find(|unit| unit.chinese.contains(&name))
}

impl Unit {
    /// So much of this unit in another; none where they measure different things, or there is less than nothing of it.
    pub(super) fn into(&self, value: f64, other: &Unit) -> Option<f64> {
        let fits = self.kind == other.kind && (value >= 0.0 || self.kind == Kind::Heat);
        let value = (value * self.factor + self.offset - other.offset) / other.factor;
        // a millionth of a millionth is not what anybody asked for
        fits.then_some((value * 1e9).round() / 1e9).filter(|value| value.abs() < 1e12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unit_in_another() {
        let convert = |value, from, to| english(from).and_then(|unit| unit.into(value, english(to)?));
        for (value, from, to, result) in [
            (10.0, "miles", "kilometers", 16.09344),
            (100.0, "fahrenheit", "celsius", 37.777_777_778),
            (-40.0, "celsius", "fahrenheit", -40.0),
            (5.0, "pounds", "kilograms", 2.267_961_85),
            (1.0, "hour", "seconds", 3_600.0),
        ] {
            assert!(convert(value, from, to).is_some_and(|got| (got - result).abs() < 1e-6), "{value} {from} in {to}");
        }
        assert_eq!(convert(1.0, "mile", "pounds"), None);
        assert_eq!(convert(-1.0, "mile", "feet"), None);
    }
}
