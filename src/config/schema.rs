//! The JSON Schema of the configuration, and how to find one's way in it.

use serde_json::{Map, Value};

use super::Config;

/// The schema as a value.
pub(super) fn schema() -> Value {
    let mut schema = schemars::schema_for!(Config);
    schema.insert("title".to_owned(), "Voxgate configuration".into());
    schema.to_value()
}

/// The schema as `config/schema.json` has it, for editors and for other programs.
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}

/// A node of the schema with its `$ref` followed: the keys beside the reference win.
pub(super) fn resolve(root: &Value, node: &Value) -> Map<String, Value> {
    let own = node.as_object().cloned().unwrap_or_default();
    let Some(pointer) = own.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#')) else {
        return own;
    };
    let Some(target) = root.pointer(pointer) else {
        return own;
    };
    let mut merged = resolve(root, target);
    merged.extend(own.into_iter().filter(|(key, _)| key != "$ref"));
    merged
}

/// A nullable node without its null: what is written when something is written.
pub(super) fn some(root: &Value, node: &Value) -> Map<String, Value> {
    let node = resolve(root, node);
    let is_null = |branch: &&Value| branch.get("type").and_then(Value::as_str) == Some("null");
    let Some(branches) = node.get("anyOf").and_then(Value::as_array) else {
        return node;
    };
    match branches.iter().find(|branch| !is_null(branch)) {
        Some(branch) if branches.len() == 2 => {
            let mut merged = resolve(root, branch);
            merged.extend(node.into_iter().filter(|(key, _)| key != "anyOf"));
            merged
        }
        _ => node,
    }
}

/// The words that a node admits, when it is a choice of words.
pub(super) fn words(root: &Value, node: &Map<String, Value>) -> Vec<String> {
    let own = node.get("const").into_iter().chain(node.get("enum").and_then(Value::as_array).into_iter().flatten());
    let mut words: Vec<String> = own.filter_map(Value::as_str).map(str::to_owned).collect();
    for branch in node.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        words.extend(self::words(root, &resolve(root, branch)));
    }
    words
}

/// What a node wants, in words: the first sentence that describes its type.
pub(super) fn wanted(root: &Value, node: &Map<String, Value>) -> String {
    let words = words(root, node);
    if !words.is_empty() {
        return words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
    }
    let kinds: Vec<&str> = match node.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect(),
        _ => Vec::new(),
    };
    let base = match kinds.as_slice() {
        ["string"] => unit(node).unwrap_or("a text in quotes"),
        ["integer"] => "a whole number",
        ["number"] => "a number",
        ["boolean"] => "true or false",
        ["array"] => "a list",
        ["object"] => "a table",
        _ => "a value",
    };
    match (node.get("minimum"), node.get("maximum")) {
        (Some(low), Some(high)) => format!("{base} from {low} to {high}"),
        (Some(low), None) if *low != 0 => format!("{base}, {low} or more"),
        (None, Some(high)) => format!("{base}, {high} or less"),
        _ => base.to_owned(),
    }
}

/// Units that are written as text (`domain::Span`, `domain::ByteSize`), known by their patterns.
fn unit(node: &Map<String, Value>) -> Option<&'static str> {
    match node.get("pattern")?.as_str()? {
        "^[0-9]+(ms|s|m|h|d)$" => Some("a time span, as in \"500ms\" or \"20s\""),
        "^[0-9]+(B|KB|MB|GB)?$" => Some("a size, as in \"200KB\" or \"4MB\""),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described() {
        let root = schema();
        let mut bare = Vec::new();
        visit(&root, &root, "", &mut bare);
        assert_eq!(bare, Vec::<String>::new(), "keys without a doc comment");
    }

    fn visit(root: &Value, node: &Value, path: &str, bare: &mut Vec<String>) {
        for (name, property) in some(root, node).get("properties").and_then(Value::as_object).into_iter().flatten() {
            let key = super::super::join(path, name);
            if resolve(root, property).get("description").is_none_or(|text| text == "") {
                bare.push(key.clone());
            }
            visit(root, property, &key, bare);
        }
    }
}
