//! 硬币, 骰子, a number by chance.

use super::numbers;

/// The answer, or none where the text asks something else.
pub(super) fn answer(text: &str, random: u128) -> Option<String> {
    match text {
        "抛硬币" | "抛个硬币" | "抛一枚硬币" | "抛一个硬币" | "扔硬币" | "扔个硬币" | "掷硬币" | "掷个硬币" => {
            Some(if random.is_multiple_of(2) { "正面。" } else { "反面。" }.to_owned())
        }
        "掷骰子" | "掷个骰子" | "扔骰子" | "扔个骰子" | "摇骰子" | "摇个骰子" | "掷一个骰子" | "掷一次骰子" => {
            Some(format!("{}点。", 1 + random % 6))
        }
        _ => between(text, random),
    }
}

/// 从一到十选一个数
fn between(text: &str, random: u128) -> Option<String> {
    const AFTER: [&str; 8] = [
        "选一个数",
        "选一个数字",
        "随机选一个数",
        "随机选一个数字",
        "挑一个数",
        "之间的随机数",
        "的随机数",
        "之间随机选一个数",
    ];
    let asked = AFTER.iter().filter_map(|after| text.strip_suffix(after)).min_by_key(|rest| rest.len())?;
    let asked = ["从", "给我一个", "在"].iter().find_map(|before| asked.strip_prefix(before)).unwrap_or(asked);
    let (low, high) = asked.split_once('到')?;
    let (low, high) = (whole(low)?, whole(high)?);
    (low < high).then(|| format!("{}。", low + random % (high - low + 1)))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number up to a thousand million")]
fn whole(text: &str) -> Option<u128> {
    numbers::whole(text).filter(|value| value.fract() == 0.0 && (0.0..=1e9).contains(value)).map(|value| value as u128)
}
