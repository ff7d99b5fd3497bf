//! Reads a configuration and finds every mistake in it.
//!
//! Four sieves, none of which ends the search: the syntax, the schema, the types, and each part's own
//! check. What a sieve rejects is taken out before the next, so that a mistake is told once and hides no other.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::{Map, Value};

use crate::domain::Problem;

use super::complaint::{Complaint, ConfigError};
use super::schema::{resolve, schema, some, wanted, words};
use super::text::{self, Parsed};
use super::{Config, join};

/// Where the configuration is, when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/voxgate/voxgate.toml";
/// The environment variable that names another place.
pub const ENV_PATH: &str = "VOXGATE_CONFIG";

/// Where the configuration is: as asked for, else as [`ENV_PATH`] says, else [`DEFAULT_PATH`].
pub fn path(asked: Option<&Path>, env: Option<OsString>) -> PathBuf {
    let env = env.filter(|value| !value.is_empty()).map(PathBuf::from);
    asked.map(Path::to_path_buf).or(env).unwrap_or_else(|| PathBuf::from(DEFAULT_PATH))
}

/// Reads and checks a file.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let file = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => parse(&file, &text),
        Err(error) => {
            let remedy = if error.kind() == io::ErrorKind::NotFound {
                format!("name another with --config or {ENV_PATH}, or begin with `voxgate config example > {file}`")
            } else {
                "make it a text file that the gateway may read".to_owned()
            };
            Err(ConfigError::Unreadable { file, reason: error.to_string(), remedy })
        }
    }
}

/// Checks a text; `file` is its name in complaints.
pub fn parse(file: &str, text: &str) -> Result<Config, ConfigError> {
    let mut parsed = text::read(text);
    let mut problems = by_schema(&parsed.value);
    for problem in &problems {
        remove(&mut parsed.value, &problem.key);
    }
    let config = by_types(&mut parsed.value, &mut problems);
    let mut checked = config.check("");
    checked.extend(config.check_together());
    problems.extend(checked.into_iter().filter(|new| !told(&parsed, &problems, &new.key)).collect::<Vec<_>>());

    let mut complaints = std::mem::take(&mut parsed.complaints);
    complaints.extend(problems.into_iter().map(|problem| Complaint { line: parsed.line(&problem.key), problem }));
    if complaints.is_empty() {
        return Ok(config);
    }
    complaints.sort_by_key(|complaint| complaint.line.unwrap_or(usize::MAX));
    Err(ConfigError::Wrong { file: file.to_owned(), complaints })
}

/// The key was complained about already: itself, its table, or something in it.
fn told(parsed: &Parsed, problems: &[Problem], key: &str) -> bool {
    let inside = |inner: &str, outer: &str| {
        inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with(['.', '[']))
    };
    let earlier = problems.iter().chain(parsed.complaints.iter().map(|complaint| &complaint.problem));
    earlier.filter(|old| !old.key.is_empty()).any(|old| inside(key, &old.key) || inside(&old.key, key))
}

fn by_schema(value: &Value) -> Vec<Problem> {
    let root = schema();
    match jsonschema::validator_for(&root) {
        Ok(validator) => validator.iter_errors(value).flat_map(|error| describe(&root, &error)).collect(),
        // a test compiles the schema, so this is never seen by a user
        Err(error) => vec![Problem::new("", format!("the schema is broken: {error}"), "report this")],
    }
}

/// What the types refuse although the schema lets it pass; takes it out and goes on.
fn by_types(value: &mut Value, problems: &mut Vec<Problem>) -> Config {
    loop {
        match serde_path_to_error::deserialize::<_, Config>(value.clone()) {
            Ok(config) => return config,
            Err(error) => {
                let key = dotted(&error.path().to_string());
                problems.push(Problem::new(key.clone(), error.inner().to_string(), as_by_default(&key)));
                if !remove(value, &key) {
                    return Config::default();
                }
            }
        }
    }
}

/// A remedy for a value that only its type can judge: one that is right.
fn as_by_default(key: &str) -> String {
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    match defaults.pointer(&format!("/{}", key.replace('.', "/"))) {
        Some(value) if !value.is_null() => format!("write a value as in {value}"),
        _ => "see docs/configuration.md".to_owned(),
    }
}

/// `a.b[0].c` for serde's `a.b[0].c`; the whole document is `.` there.
fn dotted(path: &str) -> String {
    path.trim_matches('.').to_owned()
}

/// Takes a key out; `false`: it was not there.
fn remove(value: &mut Value, key: &str) -> bool {
    let pointer: Vec<&str> = key.split(['.', '[', ']']).filter(|part| !part.is_empty()).collect();
    let Some((last, tables)) = pointer.split_last() else {
        return false;
    };
    let mut at = value;
    for part in tables {
        let next = match at {
            Value::Object(object) => object.get_mut(*part),
            Value::Array(array) => part.parse::<usize>().ok().and_then(|n| array.get_mut(n)),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    match at {
        Value::Object(object) => object.remove(*last).is_some(),
        // an item in the middle is not taken out: the places of the others would move
        Value::Array(array) => {
            let is_last = last.parse() == Ok(array.len().wrapping_sub(1));
            is_last && array.pop().is_some()
        }
        _ => false,
    }
}

/// A validation error in our words; one of a choice becomes those of the branch that was meant.
fn describe(root: &Value, error: &ValidationError<'_>) -> Vec<Problem> {
    let key = key_of(error);
    let node = parent(root, error);
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            unexpected.iter().map(|name| unknown(&key, name, &node)).collect()
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![Problem::new(join(&key, name), "is missing", format!("add {name} to [{key}]"))]
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            choice(root, error, &key, &node, context)
        }
        ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } => {
            vec![wrong_word(&key, error.instance(), &words(root, &node))]
        }
        ValidationErrorKind::Type { kind } => {
            let what = format!("is {}, {} is wanted", kind_of(error.instance()), wanted_kind(kind));
            vec![Problem::new(key, what, format!("write {}", wanted(root, &node)))]
        }
        _ => {
            let what = format!("{} is not allowed", shown(&key, error.instance()));
            vec![Problem::new(key, what, format!("write {}", limits(root, &node)))]
        }
    }
}

fn choice(
    root: &Value,
    error: &ValidationError<'_>,
    key: &str,
    node: &Map<String, Value>,
    context: &[Vec<ValidationError<'static>>],
) -> Vec<Problem> {
    let words = words(root, node);
    if error.instance().is_string() && !words.is_empty() {
        return vec![wrong_word(key, error.instance(), &words)];
    }
    // the branch that was meant is the one whose kind (and whose tag) fits
    let misses = |errors: &&Vec<ValidationError<'static>>| {
        let elsewhere = |e: &ValidationError<'_>| {
            let wrong_kind = e.instance_path().as_str() == error.instance_path().as_str()
                && matches!(e.kind(), ValidationErrorKind::Type { .. });
            wrong_kind || matches!(e.kind(), ValidationErrorKind::Constant { .. })
        };
        (errors.iter().filter(|e| elsewhere(e)).count(), errors.len())
    };
    match context.iter().min_by_key(misses) {
        Some(branch) if misses(&branch).0 == 0 => branch.iter().flat_map(|e| describe(root, e)).collect(),
        Some(branch) if branch.iter().any(|e| matches!(e.kind(), ValidationErrorKind::Constant { .. })) => {
            let tags: Vec<String> = context.iter().flatten().filter_map(tag).collect();
            let wrong = branch.iter().find(|e| matches!(e.kind(), ValidationErrorKind::Constant { .. }));
            wrong.map(|e| wrong_word(&key_of(e), e.instance(), &tags)).into_iter().collect()
        }
        _ => {
            let what = format!("is {}", kind_of(error.instance()));
            vec![Problem::new(key, what, format!("write {}", wanted(root, &some(root, &Value::Object(node.clone())))))]
        }
    }
}

fn tag(error: &ValidationError<'_>) -> Option<String> {
    match error.kind() {
        ValidationErrorKind::Constant { expected_value } => expected_value.as_str().map(str::to_owned),
        _ => None,
    }
}

fn unknown(table: &str, name: &str, node: &Map<String, Value>) -> Problem {
    let known: Vec<&str> =
        node.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let remedy = match nearest(name, &known) {
        Some(near) => format!("did you mean {near}?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("remove it; known here: {}", known.join(", ")),
    };
    Problem::new(join(table, name), "unknown key", remedy)
}

fn wrong_word(key: &str, value: &Value, words: &[String]) -> Problem {
    let known: Vec<&str> = words.iter().map(String::as_str).collect();
    let listed: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    let near = value.as_str().and_then(|word| nearest(word, &known));
    let remedy = match near {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("write one of {}", listed.join(", ")),
    };
    Problem::new(key, format!("{} is no choice here", shown(key, value)), remedy)
}

/// The known word that was probably meant.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

fn key_of(error: &ValidationError<'_>) -> String {
    let pointer = error.instance_path().as_str();
    let mut key = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.bytes().all(|b| b.is_ascii_digit()) {
            key.extend(["[", &part, "]"]);
        } else {
            key = join(&key, &part);
        }
    }
    key
}

/// The schema node that holds the keyword that was violated.
fn parent(root: &Value, error: &ValidationError<'_>) -> Map<String, Value> {
    let pointer = error.schema_path().as_str();
    let holder = pointer.rsplit_once('/').map_or("", |(holder, _)| holder);
    root.pointer(holder).map(|node| resolve(root, node)).unwrap_or_default()
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(n) if n.is_f64() => "a number with a fraction",
        Value::Number(_) => "a whole number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

fn wanted_kind(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => kind.to_string(),
        TypeKind::Multiple(kinds) => {
            kinds.iter().map(|kind| kind.to_string()).filter(|kind| kind != "null").collect::<Vec<_>>().join(" or ")
        }
    }
    .replace("integer", "a whole number")
    .replace("boolean", "true or false")
    .replace("string", "a text")
    .replace("object", "a table")
    .replace("array", "a list")
}

fn limits(root: &Value, node: &Map<String, Value>) -> String {
    let mut text = wanted(root, node);
    for (keyword, words) in [
        ("minLength", "of {} or more characters"),
        ("maxLength", "and at most {} characters"),
        ("minItems", "of at least {} items"),
        ("maxItems", "of at most {} items"),
        ("exclusiveMinimum", "above {}"),
        ("exclusiveMaximum", "below {}"),
        ("multipleOf", "a multiple of {}"),
    ] {
        if let Some(limit) = node.get(keyword) {
            text.push(' ');
            text.push_str(&words.replace("{}", &limit.to_string()));
        }
    }
    match node.get("pattern").and_then(Value::as_str) {
        Some(pattern) if !text.contains("as in") => format!("{text} that matches {pattern}"),
        _ => text,
    }
}

/// A value as it may be shown: never that of a key that may hold a secret, never a long one.
fn shown(key: &str, value: &Value) -> String {
    let text = value.to_string();
    if super::reference::is_secret(key) {
        "the value".to_owned()
    } else if text.chars().count() > 60 {
        format!("{}…", text.chars().take(60).collect::<String>())
    } else {
        text
    }
}
