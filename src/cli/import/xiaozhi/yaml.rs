//! The configuration of a server without a console: `data/.config.yaml`, or all of `config.yaml`.

use std::path::Path;

use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, Options};

use super::super::Trouble;
use super::old::{Model, Old, OldBoard, PARAMETERS, Part, text};

/// Reads files, of which a later one counts before an earlier one; why not is said with file and line, and with nothing of
/// what stands there.
pub(super) fn read<'a>(sources: &[(&'a Path, String)]) -> Result<Old, (&'a Path, Trouble)> {
    let mut root = Map::new();
    for (path, source) in sources {
        match parse(source).map_err(|trouble| (*path, trouble))? {
            Value::Object(more) => merge(&mut root, more),
            Value::Null => {}
            _ => {
                let what = "is no configuration: names and values are expected".to_owned();
                return Err((
                    path,
                    Trouble { line: 1, what, remedy: "give the server's data/.config.yaml".to_owned() },
                ));
            }
        }
    }
    let mut old = Old::default();
    for key in PARAMETERS {
        if let Some(value) = at(&root, key) {
            old.parameters.insert(key, value.clone());
        }
    }
    models(&root, &mut old);
    for mac in old.list("server.auth.allowed_devices") {
        let line = sources.last().map_or(0, |(_, source)| line_of(source, &mac));
        old.boards.push(OldBoard { line, mac, name: None, agent: None });
    }
    Ok(old)
}

/// As that server does it: tables into one another, all else replaced.
fn merge(root: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        match (root.get_mut(&key), value) {
            (Some(Value::Object(inner)), Value::Object(more)) => merge(inner, more),
            (_, value) => {
                root.insert(key, value);
            }
        }
    }
}

/// Bounded by the reader's own budget: depth, nodes, aliases.
fn parse(source: &str) -> Result<Value, Trouble> {
    let mut options = Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::LastWins;
    options.leading_zero_numbers_as_strings = true;
    // a piece of the file in a complaint could be a key
    options.with_snippet = false;
    serde_saphyr::from_str_with_options::<Value>(source, options).map_err(|error| {
        let line = error.location().and_then(|at| usize::try_from(at.line()).ok()).unwrap_or(1);
        let (what, remedy) = ("is no YAML that can be read", "mend this line, or the one before it");
        Trouble { line, what: what.to_owned(), remedy: remedy.to_owned() }
    })
}

/// A value by its path; names have no dots in them.
fn at<'a>(root: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let first = root.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name)).filter(|value| !value.is_null())
}

/// The services that `selected_module` names.
fn models(root: &Map<String, Value>, old: &mut Old) {
    let Some(chosen) = root.get("selected_module").and_then(Value::as_object) else { return };
    for (kind, name) in chosen {
        let (Some(part), Some(name)) = (Part::parse(kind), text(name)) else { continue };
        old.chosen.insert(part, name.clone());
        if let Some(config) = root.get(kind).and_then(|all| all.get(&name)).and_then(Value::as_object) {
            let model = Model { part, name: name.clone(), config: config.clone() };
            old.models.insert(name, model);
        }
    }
}

fn line_of(source: &str, text: &str) -> usize {
    source.lines().position(|line| line.contains(text)).map_or(0, |at| at + 1)
}
