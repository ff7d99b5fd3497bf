//! What a device can do without a model being asked: its volume, its brightness.
//!
//! English and Chinese; anything less than plain is left to the model.

use serde_json::{Value, json};

use super::chinese;

/// What the device is asked for how it stands.
pub(in crate::pipeline::voice) const STATUS: &str = "self.get_device_status";
/// How much "louder" is, of a hundred.
const STEP: i32 = 10;

/// An order that the device itself can carry out.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::pipeline::voice) struct Deed {
    /// As the device calls it.
    pub tool: &'static str,
    knob: &'static Knob,
    change: Change,
    chinese: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    To(u32),
    By(i32),
}

#[derive(Debug, PartialEq)]
struct Knob {
    words: [&'static str; 2],
    tool: &'static str,
    argument: &'static str,
    /// Where the device's account of itself has it.
    status: [&'static str; 2],
    name: [&'static str; 2],
}

static KNOBS: [Knob; 2] = [
    Knob {
        words: ["volume", "音量"],
        tool: "self.audio_speaker.set_volume",
        argument: "volume",
        status: ["audio_speaker", "volume"],
        name: ["Volume", "音量"],
    },
    Knob {
        words: ["brightness", "亮度"],
        tool: "self.screen.set_brightness",
        argument: "brightness",
        status: ["screen", "brightness"],
        name: ["Brightness", "亮度"],
    },
];

/// Words that a plain order has besides the knob and its number.
const PLAIN: [&str; 17] = [
    "set", "turn", "put", "make", "change", "the", "up", "down", "to", "at", "please", "percent", "your", "my",
    "screen", "speaker", "level",
];
/// The same in Chinese.
const JOINTS: [&str; 9] = ["调到", "调至", "设为", "设置为", "设置到", "设置成", "调成", "改成", "开到"];

/// Whole orders without a number: which knob, what is done to it, as people say it.
const SHAPES: [(usize, Change, &[&str]); 6] = [
    (
        0,
        Change::By(STEP),
        &[
            "volume up",
            "turn up the volume",
            "turn the volume up",
            "louder",
            "turn it up",
            "speak up",
            "a bit louder",
            "大声一点",
            "大声点",
            "大点声",
            "大点儿声",
            "声音大一点",
            "声音大点",
            "音量大一点",
            "音量调大",
            "音量调大一点",
            "调大音量",
            "声音调大一点",
            "把音量调大一点",
            "把声音调大一点",
            "把音量调大",
            "把声音调大",
            "音量调高",
            "音量调高一点",
            "把音量调高一点",
        ],
    ),
    (
        0,
        Change::By(-STEP),
        &[
            "volume down",
            "turn down the volume",
            "turn the volume down",
            "quieter",
            "turn it down",
            "a bit quieter",
            "小声一点",
            "小声点",
            "小点声",
            "小点儿声",
            "声音小一点",
            "声音小点",
            "音量小一点",
            "音量调小",
            "音量调小一点",
            "调小音量",
            "声音调小一点",
            "把音量调小一点",
            "把声音调小一点",
            "把音量调小",
            "把声音调小",
            "音量调低",
            "音量调低一点",
            "把音量调低一点",
        ],
    ),
    (0, Change::To(0), &["mute", "mute the volume", "静音", "把声音关掉", "关掉声音"]),
    (
        0,
        Change::To(100),
        &[
            "maximum volume",
            "full volume",
            "volume to maximum",
            "最大声",
            "最大音量",
            "音量最大",
            "音量调到最大",
            "声音调到最大",
            "把音量调到最大",
            "把声音调到最大",
        ],
    ),
    (
        1,
        Change::By(STEP),
        &[
            "brighter",
            "turn up the brightness",
            "brightness up",
            "屏幕亮一点",
            "亮一点",
            "调高亮度",
            "亮度调高",
            "亮度调高一点",
            "把屏幕调亮一点",
        ],
    ),
    (
        1,
        Change::By(-STEP),
        &[
            "dimmer",
            "turn down the brightness",
            "brightness down",
            "屏幕暗一点",
            "暗一点",
            "调低亮度",
            "亮度调低",
            "亮度调低一点",
            "把屏幕调暗一点",
        ],
    ),
];

/// What the words order, if they order it plainly.
pub(in crate::pipeline::voice) fn order(words: &str) -> Option<Deed> {
    let text = words.to_lowercase();
    let chinese = text.chars().any(chinese::is_han);
    let (knob, change) = if chinese { in_chinese(&text)? } else { in_english(&text)? };
    Some(Deed { tool: knob.tool, knob, change, chinese })
}

impl Deed {
    /// The tool that must be asked first: how it stands.
    pub fn asks_first(&self) -> Option<&'static str> {
        matches!(self.change, Change::By(_)).then_some(STATUS)
    }

    /// What the device is to do, and what is said when it has; `status` is its account of itself, where it was asked for one.
    /// None where that says nothing of it.
    pub fn done(&self, status: Option<&str>) -> Option<(Value, String)> {
        let number = match self.change {
            Change::To(number) => number,
            Change::By(step) => {
                let status: Value = serde_json::from_str(status?).ok()?;
                let [part, value] = self.knob.status;
                let now = i32::try_from(status.get(part)?.get(value)?.as_i64()?).ok()?;
                u32::try_from(now.clamp(0, 100).saturating_add(step).clamp(0, 100)).ok()?
            }
        };
        let name = self.knob.name[usize::from(self.chinese)];
        let done = if self.chinese { format!("{name}已调到{number}。") } else { format!("{name} is at {number}.") };
        Some((json!({ self.knob.argument: number }), done))
    }
}

fn shape(text: &str) -> Option<(&'static Knob, Change)> {
    let (knob, change, _) = SHAPES.iter().find(|(.., shapes)| shapes.contains(&text))?;
    Some((KNOBS.get(*knob)?, *change))
}

fn in_english(text: &str) -> Option<(&'static Knob, Change)> {
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if let Some(found) =
        shape(words.iter().filter(|word| **word != "please").copied().collect::<Vec<_>>().join(" ").as_str())
    {
        return Some(found);
    }
    let number = only_number(text)?;
    let knob = KNOBS.iter().find(|knob| text.contains(knob.words[0]))?;
    plain(&text.replace(knob.words[0], " ")).then_some((knob, Change::To(number)))
}

fn in_chinese(text: &str) -> Option<(&'static Knob, Change)> {
    let text = chinese::plain(text);
    let text = chinese::without_courtesy(&text);
    if let Some(found) = shape(text) {
        return Some(found);
    }
    let rest = ["把", "将"].iter().find_map(|before| text.strip_prefix(before)).unwrap_or(text);
    let rest = rest.strip_prefix("屏幕").map_or(rest, |rest| rest.strip_prefix('的').unwrap_or(rest));
    let named = |knob: &'static Knob| Some((knob, rest.strip_prefix(knob.words[1])?));
    let loud = || rest.strip_prefix("声音").map(|rest| (&KNOBS[0], rest));
    let (knob, rest) = KNOBS.iter().find_map(named).or_else(loud)?;
    let rest = JOINTS.iter().find_map(|joint| rest.strip_prefix(joint)).unwrap_or(rest);
    let rest = rest.strip_prefix("百分之").unwrap_or(rest).trim_end_matches('%');
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number up to 100")]
    let number = chinese::number(rest).filter(|value| value.fract() == 0.0 && (0.0..=100.0).contains(value))? as u32;
    Some((knob, Change::To(number)))
}

/// The one number from 0 to 100 in a text; none where there is none, or more than one.
fn only_number(text: &str) -> Option<u32> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    let number = numbers.next()?.parse().ok().filter(|number| *number <= 100)?;
    numbers.next().is_none().then_some(number)
}

/// Nothing is left that would make the order another one ("not", "if", "by").
fn plain(rest: &str) -> bool {
    rest.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && !word.bytes().all(|b| b.is_ascii_digit()))
        .all(|word| PLAIN.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &str, status: Option<&str>) -> Option<(Value, String)> {
        order(words)?.done(status)
    }

    #[allow(clippy::unnecessary_wraps, reason = "as orders tell it")]
    fn volume(number: u32, done: &str) -> Option<(Value, String)> {
        Some((json!({ "volume": number }), done.to_owned()))
    }

    #[test]
    fn a_plain_order_is_understood() {
        assert_eq!(told("Turn the volume down to 30.", None), volume(30, "Volume is at 30."));
        assert_eq!(told("volume 100 percent, please", None), volume(100, "Volume is at 100."));
        assert_eq!(told("Mute, please", None), volume(0, "Volume is at 0."));
        assert_eq!(order("set screen brightness to 7").map(|deed| deed.tool), Some("self.screen.set_brightness"));
        for words in ["请把音量调到50。", "音量调到五十", "把声音调到百分之五十", "音量五十", "把音量設為50%"]
        {
            assert_eq!(told(words, None), volume(50, "音量已调到50。"), "{words}");
        }
        assert_eq!(told("静音", None), volume(0, "音量已调到0。"));
        assert_eq!(order("屏幕亮度调到三十").map(|deed| deed.tool), Some("self.screen.set_brightness"));
    }

    #[test]
    fn more_or_less_is_counted_from_where_it_stands() {
        let status = r#"{"audio_speaker": {"volume": 65}, "screen": {"brightness": 96}}"#;
        for words in ["Turn the volume up", "louder please"] {
            assert_eq!(told(words, Some(status)), volume(75, "Volume is at 75."), "{words}");
        }
        for words in ["大声一点", "请把声音调大一点", "聲音大一點吧", "音量调大一点"] {
            assert_eq!(told(words, Some(status)), volume(75, "音量已调到75。"), "{words}");
        }
        assert_eq!(told("小声点", Some(status)), volume(55, "音量已调到55。"));
        let brighter = told("屏幕亮一点", Some(status)).map(|(arguments, _)| arguments);
        assert_eq!(brighter, Some(json!({"brightness": 100})), "no more than all");
        for nothing in [None, Some("fine"), Some("{}"), Some(r#"{"audio_speaker": {"volume": "loud"}}"#)] {
            assert_eq!(told("大声一点", nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn what_is_less_than_plain_is_left_to_the_model() {
        for words in [
            "volume to 30 and then 50",
            "volume to 300",
            "do not turn the volume to 30",
            "if it rains set the volume to 30",
            "turn the volume down by 30",
            "what is 30 percent of the volume of a ball",
            "turn up the volume when she calls",
            "音量调到三百",
            "不要把音量调到五十",
            "音量调到五十还是六十",
            "大声一点读书有好处吗",
            "把音量",
            "静音是什么意思",
            "",
        ] {
            assert_eq!(order(words), None, "{words}");
        }
    }
}
