//! How much thought a chat request wants, by what can be seen of it at once. Pure, and coarse on purpose.

use crate::provider::{ChatRequest, Role};

/// How much thought a chat request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Complexity {
    Simple,
    Complex,
}

/// Words that ask for reasons, comparisons, plans.
const WORDS: [&str; 20] = [
    "why",
    "explain",
    "compare",
    "comparison",
    "difference",
    "differences",
    "analyse",
    "analyze",
    "reason",
    "reasons",
    "plan",
    "summarise",
    "summarize",
    "summary",
    "prove",
    "calculate",
    "recommend",
    "suggest",
    "advantages",
    "steps",
];
/// The same in Chinese, in both scripts.
const CHINESE: [&str; 24] = [
    "为什么",
    "為什麼",
    "为何",
    "為何",
    "解释",
    "解釋",
    "比较",
    "比較",
    "区别",
    "區別",
    "分析",
    "原因",
    "计划",
    "計劃",
    "总结",
    "總結",
    "证明",
    "證明",
    "计算",
    "計算",
    "建议",
    "建議",
    "优缺点",
    "步骤",
];
/// A question of so many words is long, and of twice as many very long.
const LONG: usize = 20;
/// A conversation of so many messages has a history that counts.
const HISTORY: usize = 10;
/// Points from which on a request is complex.
const COMPLEX: usize = 2;

/// Points: 2 for a word that asks for reasons or for a picture, 1 for a long question and 2 for a very long one, 1 each for a long
/// conversation, for tools on offer, and for the answer of a tool. Two points are complex.
pub(super) fn of(request: &ChatRequest) -> Complexity {
    let messages = &request.messages;
    let asked = messages.iter().rev().find(|message| message.role == Role::User);
    let text = asked.map_or("", |message| message.content.as_str());
    let length = words(text);
    let points = [
        2 * usize::from(asks_for_thought(text) || asked.is_some_and(|message| message.picture.is_some())),
        usize::from(length >= LONG) + usize::from(length >= 2 * LONG),
        usize::from(messages.len() >= HISTORY),
        usize::from(!request.tools.is_empty()),
        usize::from(messages.last().is_some_and(|message| message.role == Role::Tool)),
    ];
    if points.iter().sum::<usize>() >= COMPLEX { Complexity::Complex } else { Complexity::Simple }
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}')
}

/// Words; two characters of Chinese are about one.
fn words(text: &str) -> usize {
    let han = text.chars().filter(|c| is_han(*c)).count();
    let others = text.split(|c: char| !c.is_alphanumeric() || is_han(c)).filter(|word| !word.is_empty()).count();
    others + han.div_ceil(2)
}

fn asks_for_thought(text: &str) -> bool {
    let small = text.to_lowercase();
    small.split(|c: char| !c.is_alphabetic()).any(|word| WORDS.contains(&word))
        || CHINESE.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::{ChatMessage, ToolSpec};

    fn ask(text: &str) -> ChatRequest {
        let system = ChatMessage::new(Role::System, "Explain nothing. Why should you.");
        ChatRequest { messages: vec![system, ChatMessage::new(Role::User, text)], ..ChatRequest::default() }
    }

    fn tool() -> ToolSpec {
        ToolSpec { name: "t".into(), description: String::new(), parameters: json!({}) }
    }

    #[test]
    fn short_questions_and_orders_are_simple_in_both_languages() {
        for text in
            ["hello", "turn on the light", "what is the capital of France", "今天天气怎么样", "把灯打开", "", "planet"]
        {
            assert_eq!(of(&ask(text)), Complexity::Simple, "{text}");
            let offered = ChatRequest { tools: vec![tool()], ..ask(text) };
            assert_eq!(of(&offered), Complexity::Simple, "{text} beside tools");
        }
    }

    #[test]
    fn reasons_comparisons_and_plans_are_complex_in_both_languages() {
        for text in [
            "Why is the sky blue?",
            "EXPLAIN how a heat pump works",
            "what's the difference between a crow and a raven",
            "天空为什么是蓝色的",
            "請解釋一下",
            "比较一下这两种手机",
        ] {
            assert_eq!(of(&ask(text)), Complexity::Complex, "{text}");
        }
    }

    #[test]
    fn length_history_and_tools_add_up() {
        let long = "word ".repeat(LONG);
        assert_eq!(of(&ask(&long)), Complexity::Simple);
        assert_eq!(of(&ask(&long.repeat(2))), Complexity::Complex);
        assert_eq!(of(&ask(&"字".repeat(4 * LONG))), Complexity::Complex);
        assert_eq!(of(&ChatRequest { tools: vec![tool()], ..ask(&long) }), Complexity::Complex);
        let mut talk = ask(&long);
        talk.messages.splice(1..1, (0..HISTORY).map(|_| ChatMessage::new(Role::Assistant, "yes")));
        assert_eq!(of(&talk), Complexity::Complex);
    }

    #[test]
    fn nothing_at_all_is_simple() {
        assert_eq!(of(&ChatRequest::default()), Complexity::Simple);
    }
}
