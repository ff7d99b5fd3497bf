//! The reference of all keys as Markdown, from the structs; and the effective configuration as text.

// Writing to a `String` cannot fail: the results of `writeln!` below are nothing to handle.
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::example::{is_table, toml_value};
use super::schema::{resolve, schema, some, wanted};
use super::{Config, join};

const HEAD: &str = "\
# Configuration

One TOML file, `--config FILE`, else `$VOXGATE_CONFIG`, else `/etc/voxgate/voxgate.toml`. Every key has a default.
`voxgate config check` reports every mistake in one run, each with file, line, key and remedy, and exits with 64;
`voxgate config show` prints what is in force; `voxgate config example` prints `config/voxgate.toml`;
`voxgate config schema` prints `config/schema.json` for editors.

Time spans are written `\"500ms\"`, `\"20s\"`, `\"5m\"`, `\"24h\"`, `\"7d\"`; sizes `\"200KB\"`, `\"4MB\"`, `\"1GB\"` (powers of 1,024).
Generated from the code by `UPDATE_DOCS=1 cargo test --test docs`: do not edit.
";

/// The text of `docs/configuration.md`.
pub fn reference() -> String {
    let root = schema();
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut out = HEAD.to_owned();
    table(&mut out, &root, &resolve(&root, &root), &defaults, "");
    out
}

fn table(out: &mut String, root: &Value, node: &Map<String, Value>, value: &Value, path: &str) {
    let mut rows = Vec::new();
    let (mut tables, mut lists) = (Vec::new(), Vec::new());
    for (name, property) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let inner = some(root, property);
        let default = value.get(name).cloned().unwrap_or_default();
        if is_table(&inner) {
            tables.push((join(path, name), inner, default));
        } else {
            rows.push(row(root, name, &inner, &default));
            lists.extend(item(root, &inner).map(|item| (join(path, name), item)));
        }
    }
    if !rows.is_empty() {
        out.push_str("\n| key | default | what | meaning |\n|---|---|---|---|\n");
        out.push_str(&rows.concat());
    }
    for (path, inner, default) in tables {
        section(out, root, &inner, &default, &path);
    }
    for (path, item) in lists {
        let _ = writeln!(out, "\n## `[[{path}]]`\n\n{}", one_line(&item));
        table(out, root, &item, &defaults_of(root, &item), &path);
    }
}

/// What a list is made of, when that is tables.
fn item(root: &Value, list: &Map<String, Value>) -> Option<Map<String, Value>> {
    let item = some(root, list.get("items")?);
    is_table(&item).then_some(item)
}

fn section(out: &mut String, root: &Value, node: &Map<String, Value>, value: &Value, path: &str) {
    let description = one_line(node);
    match (node.get("properties"), node.get("additionalProperties")) {
        (None, Some(entry)) if entry.is_object() => {
            let _ = writeln!(out, "\n## `[{path}.NAME]`\n\n{description}");
            let entry = some(root, entry);
            for branch in entry.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
                let branch = resolve(root, branch);
                let _ = writeln!(out, "\n{}", one_line(&branch));
                table(out, root, &branch, &defaults_of(root, &branch), &format!("{path}.NAME"));
            }
            table(out, root, &entry, &defaults_of(root, &entry), &format!("{path}.NAME"));
        }
        _ => {
            let _ = writeln!(out, "\n## `[{path}]`\n\n{description}");
            table(out, root, node, value, path);
        }
    }
}

/// The defaults that the schema itself names, where no value is there to ask.
fn defaults_of(root: &Value, node: &Map<String, Value>) -> Value {
    let properties = node.get("properties").and_then(Value::as_object).into_iter().flatten();
    let default = |property: &Value| resolve(root, property).get("default").cloned().unwrap_or_default();
    Value::Object(properties.map(|(name, property)| (name.clone(), default(property))).collect())
}

fn row(root: &Value, name: &str, node: &Map<String, Value>, default: &Value) -> String {
    let default = if default.is_null() { "–".to_owned() } else { format!("`{}`", toml_value(default)) };
    let cell = |text: &str| text.replace('|', "\\|");
    format!("| `{name}` | {} | {} | {} |\n", cell(&default), cell(&wanted(root, node)), cell(&one_line(node)))
}

fn one_line(node: &Map<String, Value>) -> String {
    let text = node.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A key whose value is never shown. Secrets are best named as files or systemd credentials, whose paths may be.
pub(super) fn is_secret(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key);
    let secret = ["api_key", "secret", "password", "token"]
        .iter()
        .any(|word| name == *word || name.ends_with(&format!("_{word}")));
    secret || ["authorization", "x-api-key"].contains(&name.to_ascii_lowercase().as_str())
}

impl Config {
    /// The configuration in force as a JSON value, secrets replaced by `"…"`.
    pub fn shown(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        redact(&mut value);
        value
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                if is_secret(key) && !value.is_null() {
                    *value = "…".into();
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let mut value =
            json!({"chat": {"api_key": "sk-1", "api_key_file": "/run/k", "max_tokens": 5}, "list": [{"token": "t"}]});
        redact(&mut value);
        assert_eq!(
            value,
            json!({"chat": {"api_key": "…", "api_key_file": "/run/k", "max_tokens": 5}, "list": [{"token": "…"}]})
        );
    }
}
