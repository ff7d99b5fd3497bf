//! `topics/telemetry.toml` as a lookup: which field of the schema a name stands for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::LazyLock;

use serde::Deserialize;

/// What a field's content has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Number,
    Bool,
    Text,
    Vector,
}

/// What happens to a number outside its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outside {
    Clamp,
    Drop,
    Wrap,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    pub(super) name: String,
    #[serde(default)]
    inside: Vec<String>,
    #[serde(default)]
    flat: Vec<String>,
    pub(super) kind: Kind,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) outside: Option<Outside>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    pub(super) name: String,
    #[serde(default)]
    also: Vec<String>,
    #[serde(default)]
    pub(super) together: Vec<String>,
    #[serde(rename = "field")]
    pub(super) fields: Vec<Field>,
}

#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(rename = "group")]
    groups: Vec<Group>,
}

/// Where a value goes: a field of a group, or one axis of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) group: usize,
    pub(super) field: usize,
    /// 0, 1, 2 for x, y, z.
    pub(super) axis: Option<usize>,
}

/// The lookup.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) groups: Vec<Group>,
    objects: HashMap<String, usize>,
    flat: HashMap<String, Target>,
    inside: Vec<HashMap<String, Target>>,
}

/// The built-in names: constant data, read once.
pub(super) static NAMES: LazyLock<Names> =
    LazyLock::new(|| Names::read(include_str!("../../../../topics/telemetry.toml")).unwrap_or_default());

impl Names {
    fn read(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        let mut names = Self::default();
        for (at, group) in file.groups.iter().enumerate() {
            for name in group.also.iter().chain([&group.name]) {
                unique(&mut names.objects, fold(name), at)?;
            }
            let mut inside = HashMap::new();
            for (field_at, field) in group.fields.iter().enumerate() {
                let target = Target { group: at, field: field_at, axis: None };
                for name in field.inside.iter().chain([&field.name]) {
                    enter(&mut inside, name, field.kind, target)?;
                }
                for name in &field.flat {
                    enter(&mut names.flat, name, field.kind, target)?;
                }
            }
            names.inside.push(inside);
        }
        names.groups = file.groups;
        Ok(names)
    }

    /// The group that an object of this name holds.
    pub(super) fn group(&self, name: &str) -> Option<usize> {
        self.objects.get(&fold(name)).copied()
    }

    /// The field that `name` is, beside the groups.
    pub(super) fn flat(&self, name: &str) -> Option<Target> {
        self.flat.get(&fold(name)).copied()
    }

    /// The field that `name` is, inside an object of `group`.
    pub(super) fn inside(&self, group: usize, name: &str) -> Option<Target> {
        self.inside.get(group)?.get(&fold(name)).copied()
    }

    /// The description of a target.
    pub(super) fn field(&self, target: Target) -> Option<(&Group, &Field)> {
        let group = self.groups.get(target.group)?;
        Some((group, group.fields.get(target.field)?))
    }
}

fn enter(map: &mut HashMap<String, Target>, name: &str, kind: Kind, target: Target) -> Result<(), String> {
    let name = fold(name);
    if kind == Kind::Vector {
        for (axis, letter) in ["x", "y", "z"].into_iter().enumerate() {
            unique(map, format!("{name}{letter}"), Target { axis: Some(axis), ..target })?;
        }
    }
    unique(map, name, target)
}

fn unique<T>(map: &mut HashMap<String, T>, name: String, value: T) -> Result<(), String> {
    match map.entry(name) {
        Entry::Vacant(free) => {
            free.insert(value);
            Ok(())
        }
        Entry::Occupied(taken) => Err(format!("{} stands for two fields", taken.key())),
    }
}

/// Lower case, letters and digits only.
fn fold(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

    use super::*;

    const TEXT: &str = include_str!("../../../../topics/telemetry.toml");

    #[test]
    fn the_committed_names_are_sound() {
        let names = Names::read(TEXT).unwrap();
        assert_eq!(names.groups.len(), 6);
        for group in &names.groups {
            for field in &group.fields {
                let ranged = field.min.is_some() && field.max.is_some() && field.outside.is_some();
                let bare = field.min.is_none() && field.max.is_none() && field.outside.is_none();
                assert!(if field.kind == Kind::Number { ranged } else { bare }, "{}.{}", group.name, field.name);
            }
            for name in &group.together {
                assert!(group.fields.iter().any(|f| &f.name == name), "{}.{name}", group.name);
            }
        }
    }

    #[test]
    fn a_name_that_stands_for_two_fields_is_found() {
        let twice = TEXT.replacen("\"wifi_rssi\"", "\"soc\"", 1);
        assert!(Names::read(&twice).unwrap_err().contains("soc"));
    }

    #[test]
    fn names_are_folded() {
        assert_eq!(fold("Battery Percent"), fold("battery_percent"));
        assert_eq!(NAMES.flat("wifiRSSI"), NAMES.flat("wifi_rssi"));
        assert_eq!(NAMES.flat("nothing"), None);
    }
}
