//! What a device can do without a model being asked: its volume, its brightness.
//!
//! English and Chinese; anything less than plain is left to the model.

use serde_json::{Value, json};

/// A call of one of the device's tools, and what is said when it has worked.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::pipeline::voice) struct Deed {
    /// As the device calls it.
    pub tool: &'static str,
    /// With what.
    pub arguments: Value,
    /// The answer.
    pub done: String,
}

struct Knob {
    words: [&'static str; 2],
    tool: &'static str,
    argument: &'static str,
    name: [&'static str; 2],
}

const KNOBS: [Knob; 2] = [
    Knob {
        words: ["volume", "音量"],
        tool: "self.audio_speaker.set_volume",
        argument: "volume",
        name: ["Volume", "音量"],
    },
    Knob {
        words: ["brightness", "亮度"],
        tool: "self.screen.set_brightness",
        argument: "brightness",
        name: ["Brightness", "亮度"],
    },
];

/// Words that a plain order has besides the knob and its number.
const PLAIN: [&str; 17] = [
    "set", "turn", "put", "make", "change", "the", "up", "down", "to", "at", "please", "percent", "your", "my",
    "screen", "speaker", "level",
];
/// The same in Chinese, joined with nothing between.
const JOINED: [&str; 10] = ["请", "把", "将", "调到", "调至", "设为", "设置为", "设置到", "调成", "百分之"];

/// What the words order, if they order it plainly.
pub(in crate::pipeline::voice) fn order(words: &str) -> Option<Deed> {
    let text = words.to_lowercase();
    let number = only_number(&text)?;
    let (knob, chinese) =
        KNOBS.iter().find_map(|knob| (0..2).find(|at| text.contains(knob.words[*at])).map(|at| (knob, at == 1)))?;
    let rest = text.replace(knob.words[usize::from(chinese)], " ");
    if !plain(&rest) {
        return None;
    }
    let done = if chinese {
        format!("{}已调到{number}。", knob.name[1])
    } else {
        format!("{} is at {number}.", knob.name[0])
    };
    Some(Deed { tool: knob.tool, arguments: json!({ knob.argument: number }), done })
}

/// The one number from 0 to 100 in a text; none where there is none, or more than one.
fn only_number(text: &str) -> Option<u32> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    let number = numbers.next()?.parse().ok().filter(|number| *number <= 100)?;
    numbers.next().is_none().then_some(number)
}

/// Nothing is left that would make the order another one ("not", "if", "by").
fn plain(rest: &str) -> bool {
    let rest = JOINED.iter().fold(rest.to_owned(), |rest, word| rest.replace(word, " "));
    rest.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && !word.bytes().all(|b| b.is_ascii_digit()))
        .all(|word| PLAIN.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(number: u32, done: &str) -> Deed {
        let arguments = json!({ "volume": number });
        Deed { tool: "self.audio_speaker.set_volume", arguments, done: done.into() }
    }

    #[test]
    fn a_plain_order_is_understood() {
        assert_eq!(order("Turn the volume down to 30."), Some(volume(30, "Volume is at 30.")));
        assert_eq!(order("volume 100 percent, please"), Some(volume(100, "Volume is at 100.")));
        assert_eq!(order("请把音量调到50。"), Some(volume(50, "音量已调到50。")));
        assert_eq!(order("set screen brightness to 7").map(|deed| deed.tool), Some("self.screen.set_brightness"));
    }

    #[test]
    fn what_is_less_than_plain_is_left_to_the_model() {
        for words in [
            "turn the volume down",
            "volume to 30 and then 50",
            "volume to 300",
            "do not turn the volume to 30",
            "if it rains set the volume to 30",
            "turn the volume down by 30",
            "what is 30 percent of the volume of a ball",
            "",
        ] {
            assert_eq!(order(words), None, "{words}");
        }
    }
}
