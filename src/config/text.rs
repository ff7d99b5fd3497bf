//! TOML text to a JSON value, with the line of every key and every error of syntax.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeArray, DeFloat, DeInteger, DeTable, DeValue};

use crate::domain::Problem;

use super::complaint::Complaint;
use super::join;

/// A text that was read as far as it could be.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// What it says.
    pub value: Value,
    /// The line of each key, from 1; keys are dotted, with `[n]` in arrays.
    pub lines: BTreeMap<String, usize>,
    /// What is no TOML, or no number.
    pub complaints: Vec<Complaint>,
}

impl Parsed {
    /// The line of a key, or of the nearest table around it that the text has.
    pub fn line(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(*line);
            }
            let end = key.rfind(['.', '['])?;
            key = &key[..end];
        }
    }
}

/// Reads a text. Faulty lines are left out and complained about; the rest is there.
pub(super) fn read(text: &str) -> Parsed {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { text, parsed: Parsed::default() };
    for error in errors {
        let line = error.span().map(|span| reader.line_at(span.start));
        let what = error.message().replace('\n', ", ");
        reader
            .parsed
            .complaints
            .push(Complaint { line, problem: Problem::new("", what, "see https://toml.io for the syntax") });
    }
    reader.parsed.value = reader.table("", table.get_ref());
    reader.parsed
}

struct Reader<'a> {
    text: &'a str,
    parsed: Parsed,
}

impl Reader<'_> {
    fn line_at(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    fn table(&mut self, path: &str, table: &DeTable<'_>) -> Value {
        let mut object = Map::new();
        for (name, value) in table {
            let key = join(path, name.get_ref());
            let line = self.line_at(name.span().start);
            self.parsed.lines.insert(key.clone(), line);
            if let Some(value) = self.value(&key, line, value.get_ref()) {
                object.insert(name.get_ref().to_string(), value);
            }
        }
        Value::Object(object)
    }

    fn array(&mut self, path: &str, array: &DeArray<'_>) -> Value {
        let mut items = Vec::new();
        for (n, item) in array.iter().enumerate() {
            let key = format!("{path}[{n}]");
            let line = self.line_at(Spanned::span(item).start);
            self.parsed.lines.insert(key.clone(), line);
            items.extend(self.value(&key, line, item.get_ref()));
        }
        Value::Array(items)
    }

    fn value(&mut self, key: &str, line: usize, value: &DeValue<'_>) -> Option<Value> {
        let number = match value {
            DeValue::String(text) => return Some(Value::String(text.to_string())),
            DeValue::Boolean(is) => return Some(Value::Bool(*is)),
            DeValue::Datetime(time) => return Some(Value::String(time.to_string())),
            DeValue::Array(array) => return Some(self.array(key, array)),
            DeValue::Table(table) => return Some(self.table(key, table)),
            DeValue::Integer(integer) => whole(integer),
            DeValue::Float(float) => fraction(float),
        };
        if number.is_none() {
            let problem = Problem::new(key, "is a number that is too large", "write one that fits 64 bits");
            self.parsed.complaints.push(Complaint { line: Some(line), problem });
        }
        number
    }
}

fn whole(integer: &DeInteger<'_>) -> Option<Value> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(Value::from)
}

fn fraction(float: &DeFloat<'_>) -> Option<Value> {
    let value: f64 = float.as_str().parse().ok()?;
    Number::from_f64(value).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_key_has_its_line_and_a_key_that_is_not_there_that_of_its_table() {
        let parsed = read("a = 1\n\n[b]\nc = [\n  2,\n  { d = 0x10 },\n]\n");
        assert_eq!(parsed.value, json!({"a": 1, "b": {"c": [2, {"d": 16}]}}));
        for (key, line) in [("a", 1), ("b", 3), ("b.c", 4), ("b.c[1].d", 6), ("b.none", 3)] {
            assert_eq!(parsed.line(key), Some(line), "{key}");
        }
        assert_eq!(parsed.line("nowhere"), None);
    }

    #[test]
    fn a_line_that_is_no_toml_does_not_hide_the_next_mistake() {
        let parsed = read("a = \nb = 2\nc = [1\nd = 999999999999999999999\n");
        let lines: Vec<_> = parsed.complaints.iter().map(|c| c.line).collect();
        assert!(lines.contains(&Some(1)) && lines.len() >= 2, "{:?}", parsed.complaints);
        assert_eq!(parsed.value["b"], json!(2));
    }

    #[test]
    fn nothing_that_is_typed_makes_it_panic() {
        for text in ["\0", "[[[", "a.b.c = {", "\"", "a = inf", "a = 1\na = 2", "é = '''", "[a]\n[a]"] {
            read(text);
        }
    }
}
