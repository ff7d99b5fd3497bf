//! Questions in Chinese, simplified or traditional, answered in simplified characters.

mod chance;
mod clock;
mod measure;
mod numbers;
mod sums;

pub(super) use numbers::whole as number;

use super::Facts;

/// A Chinese character.
pub(super) fn is_han(c: char) -> bool {
    matches!(c as u32, 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x2_0000..=0x3_FFFF)
}

/// The answer to a question in Chinese.
pub(super) fn answer(said: &str, facts: &Facts<'_>) -> Option<String> {
    let plain = plain(said);
    let text = without_courtesy(&plain);
    if text.is_empty() || text.chars().count() > 40 {
        return None;
    }
    clock::answer(text, &facts.now)
        .or_else(|| memory(text, facts))
        .or_else(|| smalltalk(text, facts))
        .or_else(|| sums::answer(text))
        .or_else(|| measure::answer(text))
        .or_else(|| chance::answer(text, facts.random))
        .or_else(|| if facts.has_tools { None } else { cannot(text) })
}

/// Simplified characters and what numbers need, nothing between them.
pub(super) fn plain(said: &str) -> String {
    let chars: Vec<char> = said.chars().map(simple).flat_map(char::to_lowercase).collect();
    let digit = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(char::is_ascii_digit);
    let mut out = String::with_capacity(said.len());
    for (at, &c) in chars.iter().enumerate() {
        let inside_number = digit(at.checked_sub(1)) && digit(Some(at + 1));
        match c {
            '.' if inside_number => out.push('.'),
            ',' if inside_number => {}
            c if c.is_alphanumeric() || "+-*/%=×÷".contains(c) => out.push(c),
            // two numbers with a space between them are not one
            c if c.is_whitespace() && inside_number => out.push(' '),
            _ => {}
        }
    }
    out
}

/// The simplified form of what known shapes are made of; wide digits and marks as narrow ones.
fn simple(c: char) -> char {
    // each traditional character before its simplified one
    const FORMS: &str = "為为幾几點点現现時时間间號号嗎吗麼么說说請请問问調调聲声靜静週周後后個个萬万億亿兩两減减聽听謝谢誰谁對对還还離离聖圣誕诞節节國国東东紐纽約约倫伦溫温華华裡里來来鐘钟鬧闹燈灯開开關关擲掷幣币隨随機机數数會会餘余負负訴诉幫帮聞闻氣气設设鬆松換换類类計计慶庆勞劳兒儿當当過过從从選选亂乱擇择裏里灣湾臺台門门澤泽韓韩達达爾尔維维羅罗馬马蘇苏內内蘭兰魯鲁雙双丟丢強强於于奧奥";
    match c {
        '０'..='９' | '＋' | '－' | '＝' | '％' | '／' | '．' | '，' | '＊' => {
            char::from_u32(c as u32 - 0xFEE0).unwrap_or(c)
        }
        '〇' | '○' => '零',
        '\u{2212}' => '-',
        c => FORMS
            .chars()
            .step_by(2)
            .position(|known| known == c)
            .and_then(|at| FORMS.chars().nth(2 * at + 1))
            .unwrap_or(c),
    }
}

pub(super) fn without_courtesy(text: &str) -> &str {
    const BEFORE: [&str; 16] = [
        "请问一下",
        "请问",
        "请你",
        "请",
        "麻烦你",
        "麻烦",
        "你能告诉我",
        "能告诉我",
        "可以告诉我",
        "告诉我",
        "你知道",
        "我想知道",
        "帮我",
        "那么",
        "那",
        "嘿",
    ];
    const AFTER: [&str; 12] = ["好吗", "可以吗", "行吗", "谢谢", "呀", "啊", "呢", "吧", "了", "哦", "嘛", "啦"];
    let mut text = text;
    while let Some(rest) = BEFORE.iter().find_map(|polite| text.strip_prefix(polite)).filter(|rest| !rest.is_empty()) {
        text = rest;
    }
    while let Some(rest) = AFTER.iter().find_map(|polite| text.strip_suffix(polite)).filter(|rest| !rest.is_empty()) {
        text = rest;
    }
    text
}

fn memory(text: &str, facts: &Facts<'_>) -> Option<String> {
    match text {
        "我刚才说什么"
        | "我刚才说了什么"
        | "我刚刚说什么"
        | "我刚刚说了什么"
        | "我说了什么"
        | "我刚才问什么"
        | "我刚才问了什么"
        | "我刚刚问了什么"
        | "我刚才说的什么"
        | "我刚才说的是什么" => Some(
            facts.last_said.map_or_else(|| "在这之前你还没有说话。".to_owned(), |said| format!("你说的是：{said}")),
        ),
        "你刚才说什么"
        | "你刚才说了什么"
        | "你刚刚说什么"
        | "你刚刚说了什么"
        | "你说什么"
        | "你说了什么"
        | "再说一遍"
        | "再说一次"
        | "再说一下"
        | "你再说一遍"
        | "你再说一次"
        | "重复一遍"
        | "重复一下"
        | "重复一次"
        | "没听清"
        | "我没听清"
        | "没听清楚"
        | "我没听清楚"
        | "刚才没听清" => {
            Some(facts.last_reply.map_or_else(|| "在这之前我还没有说话。".to_owned(), str::to_owned))
        }
        _ => None,
    }
}

fn smalltalk(text: &str, facts: &Facts<'_>) -> Option<String> {
    let answer = match text {
        "你好" | "您好" | "哈喽" | "嗨" | "早上好" | "早安" | "上午好" | "中午好" | "下午好" | "晚上好"
        | "你好你好" => "你好！有什么可以帮你？",
        "谢谢" | "谢谢你" | "谢谢您" | "多谢" | "感谢" | "非常感谢" | "太谢谢你" => "不客气。",
        "再见" | "拜拜" | "回头见" => "再见！",
        "晚安" => "晚安！",
        "你是谁" | "你叫什么" | "你叫什么名字" | "你的名字是什么" if !facts.has_persona => {
            "我是Voxgate，这个网关的语音。"
        }
        "你会什么" | "你能做什么" | "你会做什么" | "你能干什么" if !facts.has_persona && !facts.has_tools => {
            "我可以报时间和日期，算天数，做算术，换算单位，抛硬币，重复说过的话。配置了更大的模型，我还能做更多。"
        }
        "你听得到吗" | "你能听到吗" | "听得到吗" | "你能听见我吗" | "你能听到我吗" | "你在吗" | "在吗" | "你还在吗" => {
            "我在，听得到。"
        }
        _ => return None,
    };
    Some(answer.to_owned())
}

/// Requests that need something that is not here.
fn cannot(text: &str) -> Option<String> {
    let starts = |shapes: &[&str]| shapes.iter().any(|shape| text.starts_with(shape));
    let answer = if starts(&[
        "设个闹钟",
        "设一个闹钟",
        "设闹钟",
        "设置闹钟",
        "设置一个闹钟",
        "设定闹钟",
        "定个闹钟",
        "定一个闹钟",
        "定闹钟",
    ]) || starts(&[
        "提醒我",
        "设个提醒",
        "设置提醒",
        "设一个提醒",
        "倒计时",
        "设个定时器",
        "设置定时器",
        "开始计时",
    ]) || (text.ends_with("叫我起床") && text.chars().count() <= 14)
    {
        "我还不能设闹钟和提醒。"
    } else if matches!(
        text,
        "开灯"
            | "关灯"
            | "把灯打开"
            | "把灯关掉"
            | "打开灯"
            | "关掉灯"
            | "打开空调"
            | "关掉空调"
            | "打开电视"
            | "关掉电视"
    ) {
        "我在这里还控制不了它。"
    } else if matches!(
        text,
        "天气怎么样"
            | "今天天气怎么样"
            | "明天天气怎么样"
            | "今天天气如何"
            | "今天的天气怎么样"
            | "今天会下雨吗"
            | "明天会下雨吗"
            | "会下雨吗"
            | "今天有什么新闻"
            | "有什么新闻"
            | "播报新闻"
    ) {
        "我没有这方面的来源，只知道这个盒子里的东西。"
    } else {
        return None;
    };
    Some(answer.to_owned())
}
