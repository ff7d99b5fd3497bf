//! The commented example file, from the structs: every key, its meaning, its default.
//!
//! Lines that begin with `# ` are prose; lines that begin with `#` and no space are TOML that was
//! commented out. A test takes those marks away and gets the defaults.

// Writing to a `String` cannot fail: the results of `writeln!` below are nothing to handle.
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::schema::{resolve, schema, some, wanted};
use super::{Config, join};

const HEAD: &str = "\
#:schema schema.json
# The configuration of Voxgate: every key, what it means, and its default, commented out.
# Generated from the code by `UPDATE_DOCS=1 cargo test --test docs`: do not edit, copy.
# An empty file is a whole configuration. Check yours with `voxgate config check --config FILE`.
";

/// The text of `config/voxgate.toml`.
pub fn example() -> String {
    let root = schema();
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut out = HEAD.to_owned();
    table(&mut out, &root, &resolve(&root, &root), &defaults, "", "");
    out
}

/// Writes a table: its plain keys first, as TOML wants it, then its tables. `mark` is `#` where the
/// table itself is commented out.
fn table(out: &mut String, root: &Value, node: &Map<String, Value>, value: &Value, path: &str, mark: &str) {
    let mut tables = Vec::new();
    for (name, property) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let inner = some(root, property);
        let default = value.get(name).cloned().unwrap_or_else(|| inner.get("default").cloned().unwrap_or_default());
        if is_table(&inner) {
            tables.push((name, inner, default));
        } else {
            key(out, root, name, &inner, &default);
        }
    }
    for (name, inner, default) in tables {
        section(out, root, &inner, &default, &join(path, name), mark);
    }
}

fn section(out: &mut String, root: &Value, node: &Map<String, Value>, value: &Value, path: &str, mark: &str) {
    out.push('\n');
    prose(out, node);
    match (node.get("properties"), node.get("additionalProperties")) {
        (None, Some(entry)) if entry.is_object() => entries(out, root, entry, value, path),
        _ => {
            let mark = if value.is_null() { "#" } else { mark };
            let _ = writeln!(out, "{mark}[{path}]");
            table(out, root, node, value, path, mark);
        }
    }
}

/// A table whose keys the user chooses: the entries that are there by default, commented out.
fn entries(out: &mut String, root: &Value, entry: &Value, value: &Value, path: &str) {
    let defaults = value.as_object().filter(|map| !map.is_empty());
    let Some(defaults) = defaults else {
        let _ = writeln!(out, "# None by default: [{path}.NAME]");
        return;
    };
    for (name, value) in defaults {
        let node = variant(root, entry, value);
        if is_table(&node) {
            let _ = writeln!(out, "#[{path}.{name}]");
            table(out, root, &node, value, &join(path, name), "#");
        } else {
            let _ = writeln!(out, "#{path}.{name} = {}", toml_value(value));
        }
    }
}

/// The branch of a tagged choice that a value takes; the node itself where there is no choice.
pub(super) fn variant(root: &Value, node: &Value, value: &Value) -> Map<String, Value> {
    let node = some(root, node);
    let fits = |branch: &&Value| {
        let properties =
            resolve(root, branch).get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        properties.iter().all(|(name, p)| p.get("const").is_none_or(|tag| value.get(name) == Some(tag)))
    };
    let branches = node.get("oneOf").and_then(Value::as_array);
    branches.and_then(|branches| branches.iter().find(fits)).map_or_else(|| node.clone(), |b| resolve(root, b))
}

pub(super) fn is_table(node: &Map<String, Value>) -> bool {
    node.contains_key("properties") || node.get("additionalProperties").is_some_and(Value::is_object)
}

fn key(out: &mut String, root: &Value, name: &str, node: &Map<String, Value>, default: &Value) {
    prose(out, node);
    if default.is_null() {
        let _ = writeln!(out, "# Not set by default; write {}: {name} = …", wanted(root, node));
    } else {
        let _ = writeln!(out, "#{name} = {}", toml_value(default));
    }
}

fn prose(out: &mut String, node: &Map<String, Value>) {
    for line in node.get("description").and_then(Value::as_str).unwrap_or_default().lines() {
        out.push_str(format!("# {line}").trim_end());
        out.push('\n');
    }
}

/// A JSON value as TOML, on one line.
pub(super) fn toml_value(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml_value).collect::<Vec<_>>().join(", ")),
        Value::Object(object) => {
            let pairs = object.iter().filter(|(_, value)| !value.is_null());
            let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key} = {}", toml_value(value))).collect();
            if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
        }
        Value::String(text) => toml::Value::String(text.clone()).to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::config::parse;

    /// The example with every commented key made a real one.
    fn uncommented() -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(toml) if toml.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => toml.to_owned(),
            _ => line.to_owned(),
        };
        example().lines().map(|text| line(text) + "\n").collect()
    }

    #[test]
    fn the_example_as_it_is_and_with_every_key_uncommented_is_the_default() {
        assert_eq!(parse("example", &example()).expect("loads"), Config::default());
        let all = uncommented();
        assert_eq!(parse("example", &all).expect("loads"), Config::default(), "{all}");
        assert!(all.contains("\nname = \"voxgate\"\n"), "{all}");
    }
}
