//! What is answered without a model, and what is not.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use proptest::prelude::*;

use super::*;

fn facts() -> Facts<'static> {
    let now: Zoned = "2026-03-07T15:04:00[Europe/Berlin]".parse().unwrap();
    Facts {
        now,
        language: None,
        last_said: Some("Open the gate."),
        last_reply: Some("The gate is open."),
        has_tools: false,
        has_persona: false,
        random: 10,
    }
}

fn ask(said: &str) -> Option<String> {
    answer(said, &facts())
}

#[track_caller]
fn each(cases: &[(&str, &str)]) {
    for (said, answer) in cases {
        assert_eq!(ask(said).as_deref(), Some(*answer), "{said}");
    }
}

#[test]
fn the_time_and_the_date_are_the_devices() {
    each(&[
        ("What time is it?", "It's 3:04 PM."),
        ("Hey, can you tell me what time it is, please?", "It's 3:04 PM."),
        ("Do you know what time it is?", "It's 3:04 PM."),
        ("What's the date today?", "It's Saturday, March 7, 2026."),
        ("What day is it?", "It's Saturday."),
        ("What day was yesterday?", "Yesterday was Friday."),
        ("What's tomorrow's date?", "Tomorrow is Sunday, March 8, 2026."),
        ("What week is it?", "It's week 10."),
        ("Is this a leap year?", "No, this is no leap year."),
        ("What time will it be in 20 minutes?", "It will be 3:24 PM."),
        ("What time will it be in ten hours?", "It will be 1:04 AM on Sunday."),
        ("What day is it in ten days?", "It will be Tuesday, March 17, 2026."),
    ]);
}

#[test]
fn clocks_of_other_places_are_read_from_their_zones() {
    each(&[
        ("What time is it in Tokyo?", "It's 11:04 PM in Tokyo."),
        ("What's the time in New York right now?", "It's 9:04 AM in New York."),
        ("What time is it in Auckland", "It's 3:04 AM on Sunday in Auckland."),
        ("what time is it in reykjavik", "It's 2:04 PM in Reykjavik."),
        ("东京现在几点？", "东京现在是晚上十一点零四分。"),
        ("现在纽约几点了", "纽约现在是上午九点零四分。"),
        ("奧克蘭現在幾點", "奥克兰现在是明天凌晨三点零四分。"),
        ("北京时间", "北京现在是晚上十点零四分。"),
    ]);
}

#[test]
fn days_are_counted_and_named() {
    each(&[
        ("How many days until Christmas?", "293 days, until Friday, December 25, 2026."),
        ("How many days are left until March 3rd?", "361 days, until Wednesday, March 3, 2027."),
        ("how many days until the eighth of March", "One day: that's tomorrow."),
        ("How many days till March 7?", "That's today."),
        ("What day is the 24th of December?", "December 24, 2026 is a Thursday."),
        ("What day of the week was July 20, 1969", "July 20, 1969 was a Sunday."),
        ("When is Halloween?", "October 31, 2026 is a Saturday."),
        ("What day is February twenty ninth?", "February 29, 2028 is a Tuesday."),
        ("How many days are in February?", "February 2026 has 28 days."),
        ("How many days does June have?", "30 days."),
    ]);
}

#[test]
fn sums_are_exact() {
    each(&[
        ("What is 12 times 7?", "84."),
        ("What's twelve times seven", "84."),
        ("How much is 1,000 divided by 8?", "125."),
        ("what is twenty-three plus nineteen", "42."),
        ("What is 10 divided by 4?", "2.5."),
        ("what is 15 percent of 80", "12."),
        ("What percent of 80 is 20?", "25 percent."),
        ("What is two plus three times four?", "14."),
        ("what is 7 squared", "49."),
        ("what is 2 to the power of 10", "1024."),
        ("what's the square root of 144", "12."),
        ("what's the square root of 2", "about 1.4142."),
        ("What is the cube root of 27", "3."),
        ("What is half of 30", "15."),
        ("twice 7", "14."),
        ("What is 5 minus 12?", "minus 7."),
        ("What is 12 x 12?", "144."),
        ("3 + 4", "7."),
        ("what is 1 divided by 3", "about 0.3333."),
        ("what is 5 divided by zero", "Nothing can be divided by zero."),
    ]);
    assert_eq!(ask("what is 123456789 times 987654321"), None, "more digits than are sure");
}

#[test]
fn sums_in_chinese_are_exact() {
    each(&[
        ("三加五等于多少？", "等于8。"),
        ("一百二十乘以三", "等于360。"),
        ("十除以四", "等于2.5。"),
        ("请问二加三乘四等于几", "等于14。"),
        ("一百二减二十是多少", "等于100。"),
        ("3.5加1.5等于多少", "等于5。"),
        ("八十的百分之十五是多少", "等于12。"),
        ("200的15%是多少", "等于30。"),
        ("九十的三分之一是多少", "等于30。"),
        ("七的平方是多少", "等于49。"),
        ("一百四十四的平方根是多少", "等于12。"),
        ("根号二等于多少", "约等于1.4142。"),
        ("二的十次方", "等于1024。"),
        ("五减十二等于几", "等于负7。"),
        ("一百打八折是多少", "等于80。"),
        ("两百打八五折", "等于170。"),
        ("三萬加五千等於多少", "等于35000。"),
        ("五除以零等于多少", "零不能做除数。"),
    ]);
    let chinese = Facts { language: Some("zh-CN"), ..facts() };
    assert_eq!(
        answer("12×12=？", &chinese).as_deref(),
        Some("等于144。"),
        "without a word the device's language counts"
    );
    assert_eq!(answer("12 × 12 =", &facts()).as_deref(), Some("144."));
}

#[test]
fn units_are_converted_both_ways() {
    each(&[
        ("How many kilometers is 10 miles?", "That's about 16.09 kilometers."),
        ("Convert 5 pounds to kilograms", "That's about 2.27 kilograms."),
        ("What is 100 degrees Fahrenheit in Celsius?", "That's about 37.78 degrees celsius."),
        ("what is minus 40 celsius in fahrenheit", "That's minus 40 degrees fahrenheit."),
        ("How many seconds are in an hour?", "That's 3600 seconds."),
        ("how many days are in a week", "That's 7 days."),
        ("how many inches in a foot", "That's 12 inches."),
        ("十英里是多少公里", "大约是16.09公里。"),
        ("一小时有多少秒？", "是3600秒。"),
        ("一斤等于多少克", "是500克。"),
        ("华氏100度是多少摄氏度", "大约是37.78摄氏度。"),
        ("把10英里换算成公里", "大约是16.09公里。"),
    ]);
}

#[test]
fn chance_is_what_it_is_given() {
    let with = |said: &str, random| answer(said, &Facts { random, ..facts() }).unwrap();
    assert_eq!((with("Flip a coin", 0), with("flip a coin", 1)), ("Heads.".into(), "Tails.".into()));
    assert_eq!((with("抛个硬币", 0), with("抛个硬币吧", 1)), ("正面。".into(), "反面。".into()));
    assert_eq!(with("Roll two dice", 6 * 3 + 4), "A 5 and a 4: that's 9.");
    assert_eq!(with("掷个骰子", 5), "6点。");
    assert_eq!(with("Pick a number between 1 and 10", 9), "10.");
    assert_eq!(with("从一到十选一个数", 10), "1。");
}

#[test]
fn a_word_is_spelled_and_it_is_not() {
    assert_eq!(ask("How do you spell necessary?").unwrap(), "N, E, C, E, S, S, A, R, Y.");
    assert_eq!(ask("spell it"), None);
}

#[test]
fn chinese_clocks_and_calendars_are_read_as_people_read_them() {
    each(&[
        ("现在几点了？", "现在是下午三点零四分。"),
        ("請問現在幾點鐘", "现在是下午三点零四分。"),
        ("今天几号", "今天是2026年3月7日，星期六。"),
        ("今天是星期几呀", "今天是星期六。"),
        ("明天周几？", "明天是星期日。"),
        ("后天礼拜几", "后天是星期一。"),
        ("昨天是几月几号", "昨天是2026年3月6日，星期五。"),
        ("今年是哪一年", "今年是2026年。"),
        ("现在是几月", "现在是3月。"),
        ("三天后是星期几", "是2026年3月10日，星期二。"),
        ("二十分钟后是几点", "是下午三点二十四分。"),
        ("十个小时以后是几点", "是明天凌晨一点零四分。"),
        ("离圣诞节还有几天", "还有293天，2026年12月25日。"),
        ("到三月八号还有多少天", "还有一天，就是明天。"),
        ("十二月二十四号是星期几", "2026年12月24日是星期四。"),
        ("二零二七年一月一日是星期几", "2027年1月1日是星期五。"),
    ]);
    let at = |time: &str| {
        let now = format!("2026-11-22T{time}:00[Asia/Shanghai]").parse().unwrap();
        answer("现在几点", &Facts { now, ..facts() }).unwrap()
    };
    for (time, read) in [
        ("00:00", "凌晨零点整"),
        ("02:30", "凌晨两点半"),
        ("06:05", "早上六点零五分"),
        ("10:10", "上午十点十分"),
        ("12:00", "中午十二点整"),
        ("15:15", "下午三点十五分"),
        ("23:59", "晚上十一点五十九分"),
    ] {
        assert_eq!(at(time), format!("现在是{read}。"));
    }
}

#[test]
fn what_was_said_is_said_again() {
    each(&[
        ("What did I just say?", "You said: Open the gate."),
        ("Say that again, please", "The gate is open."),
        ("我刚才说了什么？", "你说的是：Open the gate."),
        ("再说一遍好吗", "The gate is open."),
    ]);
    let nothing = Facts { last_said: None, last_reply: None, ..facts() };
    assert_eq!(answer("你说什么", &nothing).unwrap(), "在这之前我还没有说话。");
}

#[test]
fn what_cannot_be_done_is_not_promised_unless_a_tool_may_do_it() {
    let tools = Facts { has_tools: true, ..facts() };
    for said in [
        "Set a timer for five minutes",
        "Turn on the kitchen lights",
        "设个闹钟",
        "明天早上七点叫我起床",
        "开灯",
        "今天天气怎么样",
    ] {
        let told = ask(said).unwrap();
        assert!(["can't", "不能", "控制不了", "没有这方面"].iter().any(|no| told.contains(no)), "{said}: {told}");
        assert_eq!(answer(said, &tools), None, "{said}");
    }
}

#[test]
fn who_answers_is_left_to_a_device_with_instructions_of_its_own() {
    let own = Facts { has_persona: true, ..facts() };
    for said in ["Who are you?", "你是谁"] {
        assert!(ask(said).unwrap().contains("Voxgate") && answer(said, &own).is_none(), "{said}");
    }
    each(&[("你好", "你好！有什么可以帮你？"), ("谢谢你", "不客气。"), ("Hi", "Hello! How can I help?")]);
}

/// One a line; what begins with `#` is none.
const FOR_THE_MODEL: &str = include_str!("for_the_model.txt");

#[test]
fn everything_else_goes_to_the_model() {
    let questions: Vec<&str> =
        FOR_THE_MODEL.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(questions.len() > 150, "{}", questions.len());
    for said in questions.into_iter().chain(["", "?!", "。"]) {
        assert_eq!(ask(said), None, "{said}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,60}") {
        let _ = ask(&text);
    }

    #[test]
    fn no_mixture_of_known_words_is_too_strange(words in proptest::collection::vec(
        proptest::sample::select(vec![
            "what", "is", "how many", "days", "until", "march", "3rd", "99999999999999999999", "-", "1.5", "percent of", "zero",
            "divided by", "miles", "in", "tokyo", "to the power of", "squared", "零", "一", "两", "十", "百", "千", "万", "亿", "点", "负",
            "加", "减", "乘", "除以", "的", "百分之", "分之", "平方根", "打", "折", "根号", "几", "号", "月", "年", "天", "后", "是",
            "星期几", "离", "还有", "华氏", "度", "公里", "多少", "等于", "从", "到", "选一个数", "次方", "倍", "現在", "９", ".", ",", " ",
        ]), 0..9))
    {
        let _ = ask(&words.concat());
        let _ = ask(&words.join(" "));
        let _ = device::order(&words.concat());
    }
}
