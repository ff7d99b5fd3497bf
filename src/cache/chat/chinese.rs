//! Chinese questions, by their characters: which depend on nothing but these, and what of them decides the answer.

use super::question::{Kind, Traits};

/// Whoever says one of these speaks of himself, of here, of now, of the device, or wants something done or made up.
const PERSONAL: &[&str] = &[
    "我",
    "咱",
    "你",
    "您",
    "他",
    "她",
    "它",
    "现在",
    "今天",
    "明天",
    "昨天",
    "后天",
    "前天",
    "今晚",
    "今年",
    "去年",
    "明年",
    "这",
    "那",
    "附近",
    "当前",
    "目前",
    "最近",
    "最新",
    "新闻",
    "天气",
    "下雨",
    "气温",
    "温度",
    "几点",
    "时间",
    "日期",
    "星期",
    "礼拜",
    "周末",
    "几号",
    "几月",
    "早上",
    "晚上",
    "下午",
    "刚才",
    "还有",
    "再",
    "别的",
    "其他",
    "家里",
    "房间",
    "客厅",
    "价格",
    "多少钱",
    "股",
    "比分",
    "路况",
    "电量",
    "音量",
    "亮度",
    "灯",
    "打开",
    "关闭",
    "关掉",
    "播放",
    "音乐",
    "歌",
    "闹钟",
    "提醒",
    "定时",
    "屏幕",
    "摄像头",
    "麦克风",
    "设备",
    "笑话",
    "故事",
    "诗",
    "谜语",
    "随机",
    "猜",
    "随便",
    "名字",
];

/// What makes a question, and of what kind; the first that is found.
const MARKS: &[(&str, Kind)] = &[
    ("为什么", Kind::Why),
    ("为啥", Kind::Why),
    ("为何", Kind::Why),
    ("怎么", Kind::How),
    ("如何", Kind::How),
    ("怎样", Kind::How),
    ("多少", Kind::What),
    ("多高", Kind::What),
    ("多大", Kind::What),
    ("多长", Kind::What),
    ("多远", Kind::What),
    ("多深", Kind::What),
    ("多重", Kind::What),
    ("什么时候", Kind::When),
    ("哪一年", Kind::When),
    ("哪年", Kind::When),
    ("哪里", Kind::Where),
    ("哪儿", Kind::Where),
    ("谁", Kind::Who),
    ("什么", Kind::What),
    ("啥", Kind::What),
    ("哪", Kind::What),
    ("几", Kind::What),
    ("吗", Kind::Whether),
    ("是不是", Kind::Whether),
    ("能不能", Kind::Whether),
    ("会不会", Kind::Whether),
    ("可不可以", Kind::Whether),
];

/// Written in several ways.
const SAME: &[(&str, &str)] = &[
    ("为啥", "为什么"),
    ("为何", "为什么"),
    ("如何", "怎么"),
    ("怎样", "怎么"),
    ("哪儿", "哪里"),
    ("啥", "什么"),
    ("请问", ""),
    ("一下", ""),
];

/// Characters that decide nothing.
const EMPTY: &[char] = &['的', '了', '吗', '呢', '啊', '呀', '吧', '是', '请'];

pub(super) fn has_han(text: &str) -> bool {
    text.chars().any(|c| matches!(c as u32, 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0x20000..=0x2FA1F))
}

/// The question, or none where it is no question, or its answer depends on more than its characters.
pub(super) fn read(text: &str) -> Option<Traits> {
    let mut plain: String = text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    if plain.chars().count() > 80 || PERSONAL.iter().any(|word| plain.contains(word)) {
        return None;
    }
    let (_, kind) = MARKS.iter().find(|(mark, _)| plain.contains(mark))?;
    for (other, same) in SAME {
        plain = plain.replace(other, same);
    }
    let is_number = |c: &char| c.is_numeric() || "一二两三四五六七八九十百千万亿半".contains(*c);
    Some(Traits {
        kind: *kind,
        negations: plain.chars().filter(|c| matches!(c, '不' | '没' | '无' | '非' | '别' | '未')).count(),
        numbers: plain.chars().filter(is_number).map(String::from).collect(),
        content: plain.chars().filter(|c| !EMPTY.contains(c)).map(String::from).collect(),
    })
}
