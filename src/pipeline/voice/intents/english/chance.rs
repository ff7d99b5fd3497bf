//! Coins, dice, numbers by chance.

use super::sums::number;
use super::within;

/// "flip a coin", "roll two dice", "pick a number between 1 and 10"
pub(super) fn answer(text: &str, random: u128) -> Option<String> {
    match text {
        "flip a coin" | "toss a coin" | "heads or tails" => {
            Some(if random.is_multiple_of(2) { "Heads." } else { "Tails." }.to_owned())
        }
        "roll a die" | "roll a dice" | "roll the dice" | "roll a six sided die" | "throw a die" | "roll dice" => {
            Some(format!("A {}.", 1 + random % 6))
        }
        "roll two dice" | "roll 2 dice" | "throw two dice" => {
            let (one, other) = (1 + random % 6, 1 + random / 6 % 6);
            Some(format!("A {one} and a {other}: that's {}.", one + other))
        }
        _ => between(text, random),
    }
}

fn between(text: &str, random: u128) -> Option<String> {
    const ASKS: [&str; 5] = [
        "pick a number between ",
        "pick a random number between ",
        "give me a random number between ",
        "give me a number between ",
        "random number between ",
    ];
    let asked = ASKS.iter().find_map(|ask| within(text, ask, ""))?;
    let (low, high) = asked.split_once(" and ")?;
    let (low, high) = (whole(low)?, whole(high)?);
    (low < high).then(|| format!("{}.", low + random % (high - low + 1)))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number up to a thousand million")]
fn whole(text: &str) -> Option<u128> {
    number(text).filter(|value| value.fract() == 0.0 && (0.0..=1e9).contains(value)).map(|value| value as u128)
}
