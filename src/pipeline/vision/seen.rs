//! What a service said about a photo: words, or the JSON object that some are told to answer with, in which they say how
//! sure they are and how grave it is.

use serde_json::{Map, Value};

use crate::domain::Level;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Seen {
    /// For the person who asked.
    pub text: String,
    /// How grave it is, by its own account.
    pub level: Option<Level>,
    /// How sure the model is, 0 to 1.
    pub confidence: Option<f32>,
}

impl Seen {
    /// Reads an answer. Only one that is an object as a whole is taken for one; any other is words.
    pub fn read(answer: String) -> Self {
        let bare = answer.trim().trim_start_matches("```json").trim_matches('`').trim();
        match serde_json::from_str::<Map<String, Value>>(bare) {
            Ok(object) => Self::of(&object).unwrap_or(Self { text: answer, ..Self::default() }),
            Err(_) => Self { text: answer, ..Self::default() },
        }
    }

    fn of(object: &Map<String, Value>) -> Option<Self> {
        let words = |keys: &[&str]| {
            let found = keys.iter().find_map(|key| object.get(*key)?.as_str());
            found.map(str::trim).filter(|text| !text.is_empty())
        };
        let summary = words(&["summary", "semantic_summary", "answer", "result", "text"])?;
        let action = words(&["actionable_summary", "action", "guidance"]).filter(|action| *action != summary);
        let text = action.map_or_else(|| summary.to_owned(), |action| format!("{summary} {action}"));
        let level = words(&["risk_level", "risk"]).and_then(Level::parse);
        let confidence = object.get("confidence").and_then(Value::as_f64).filter(|sure| (0.0..=1.0).contains(sure));
        #[allow(clippy::cast_possible_truncation, reason = "0 to 1: a few digits are lost, no more")]
        Some(Self { text, level, confidence: confidence.map(|sure| sure as f32) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_tells_how_sure_and_how_grave() {
        let answer = r#"{"summary": "A staircase.", "actionable_summary": "Hold the rail.", "risk_level": "p1", "confidence": 0.5}"#;
        let expected =
            Seen { text: "A staircase. Hold the rail.".into(), level: Some(Level::P1), confidence: Some(0.5) };
        assert_eq!(Seen::read(answer.into()), expected);
        assert_eq!(Seen::read(format!("```json\n{answer}\n```")), expected);
    }

    #[test]
    fn words_are_words_and_nothing_is_made_up() {
        let odd = [
            "A staircase.",
            "{\"summary\": \"\"}",
            "{broken",
            "[1]",
            "{\"confidence\": 0.4}",
            "It says {\"confidence\": 0.1}",
        ];
        for answer in odd {
            assert_eq!(Seen::read(answer.into()), Seen { text: answer.into(), ..Seen::default() });
        }
        let wild = Seen::read(r#"{"text": "Yes.", "confidence": 85, "risk": "high"}"#.into());
        assert_eq!(wild, Seen { text: "Yes.".into(), level: None, confidence: None });
    }
}
