//! One unit in another, asked in Chinese: 十英里是多少公里, 一小时有多少秒.

use super::super::{sum, units};
use super::numbers;

/// The answer, or none where the text asks something else.
pub(super) fn answer(text: &str) -> Option<String> {
    const JOINTS: [&str; 12] = [
        "等于多少",
        "相当于多少",
        "是多少",
        "合多少",
        "有多少",
        "等于几",
        "是几",
        "有几",
        "换算成",
        "转换成",
        "换成",
        "转成",
    ];
    let text = text.strip_prefix('把').unwrap_or(text);
    let (amount, to) = JOINTS.iter().find_map(|joint| text.split_once(joint))?;
    let amount = amount.strip_suffix('换').unwrap_or(amount);
    // 华氏100度 is 100华氏度
    let (value, from) = if let Some(found) = heat(amount) {
        found
    } else {
        let (value, used) = numbers::read(amount)?;
        (value, units::chinese(&amount[used..])?)
    };
    let to = units::chinese(to)?;
    if std::ptr::eq(from, to) {
        return None;
    }
    let exact = from.into(value, to)?;
    let short = if exact.abs() >= 1.0 { (exact * 100.0).round() / 100.0 } else { exact };
    let (told, rounded) = sum::digits(short)?;
    let about = if rounded || sum::digits(exact)?.0 != told { "大约" } else { "" };
    Some(format!("{about}是{}{}。", told.replace('-', "负"), to.chinese.first()?))
}

fn heat(amount: &str) -> Option<(f64, &'static units::Unit)> {
    let degrees = amount.strip_suffix('度')?;
    let (name, value) = degrees
        .strip_prefix("华氏")
        .map(|rest| ("华氏度", rest))
        .or_else(|| degrees.strip_prefix("摄氏").map(|rest| ("摄氏度", rest)))?;
    Some((numbers::whole(value)?, units::chinese(name)?))
}
