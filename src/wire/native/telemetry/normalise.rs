//! One object of telemetry, sorted into the schema's groups.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value, json};

use super::super::super::fields::whole;
use super::names::{Field, Kind, NAMES, Names, Outside, Target};
use crate::domain::{Raw, Telemetry};

/// Most named numbers under `values`.
const MAX_VALUES: usize = 64;
/// Most unknown fields that are kept.
const MAX_OTHER: usize = 32;
/// Most bytes of all unknown fields together, as JSON.
const MAX_OTHER_BYTES: usize = 4_096;
/// Longest name of a field that is kept as it is, and longest text, in bytes.
const MAX_NAME: usize = 64;

/// Longest object that is kept in the device's own words, bytes of JSON.
const MAX_RAW: usize = 4_096;

/// Sorts `object` into the schema, and keeps it as it is beside, within bounds.
pub(in crate::wire) fn normalise(object: Map<String, Value>) -> Telemetry {
    let raw = match serde_json::to_vec(&object).map_or(usize::MAX, |text| text.len()) {
        length if length > MAX_RAW => Raw::TooLong(length),
        _ => Raw::Said(object.clone()),
    };
    let mut sorter = Sorter::new(&NAMES);
    for (name, value) in object {
        sorter.top(name, value);
    }
    Telemetry { raw, ..sorter.finish() }
}

/// The axes of a vector that came one by one, with the names that they came by.
type Axes = [Option<(String, Number)>; 3];

#[derive(Debug)]
struct Sorter<'n> {
    names: &'n Names,
    seq: Option<u32>,
    ts: Option<u64>,
    groups: Vec<Map<String, Value>>,
    axes: BTreeMap<(usize, usize), Axes>,
    values: Map<String, Value>,
    other: Map<String, Value>,
    other_bytes: usize,
    dropped: u64,
}

impl<'n> Sorter<'n> {
    fn new(names: &'n Names) -> Self {
        Self {
            names,
            seq: None,
            ts: None,
            groups: vec![Map::new(); names.groups.len()],
            axes: BTreeMap::new(),
            values: Map::new(),
            other: Map::new(),
            other_bytes: 0,
            dropped: 0,
        }
    }

    /// A field of the message itself.
    fn top(&mut self, name: String, value: Value) {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("seq" | "sequence", value) if self.seq.is_none() => match whole(&value).map(u32::try_from) {
                // 0, always, is what a firmware without a counter says
                Some(Ok(seq)) => self.seq = Some(seq).filter(|s| *s != 0),
                _ => self.keep(name, value),
            },
            ("ts" | "timestamp" | "time", value) if self.ts.is_none() => match whole(&value) {
                Some(ts) => self.ts = Some(ts).filter(|t| *t != 0),
                None => self.keep(name, value),
            },
            ("dropped", value) if self.dropped == 0 && value.is_u64() => self.dropped = value.as_u64().unwrap_or(0),
            ("values", Value::Object(map)) => map.into_iter().for_each(|(name, value)| self.named(name, value)),
            ("other", Value::Object(map)) => map.into_iter().for_each(|(name, value)| self.keep(name, value)),
            (_, Value::Object(map)) if self.names.group(&name).is_some() => self.group(&name, map),
            (_, value) => match self.names.flat(&name) {
                Some(target) => self.place(target, name, value),
                None => self.keep(name, value),
            },
        }
    }

    /// The fields of an object that holds a group.
    fn group(&mut self, name: &str, fields: Map<String, Value>) {
        let Some(group) = self.names.group(name) else { return };
        let canonical = self.names.groups.get(group).map_or_else(String::new, |g| g.name.clone());
        for (field, value) in fields {
            let dotted = format!("{canonical}.{field}");
            match self.names.inside(group, &field).or_else(|| self.names.flat(&field)) {
                Some(target) => self.place(target, dotted, value),
                None => self.keep(dotted, value),
            }
        }
    }

    /// A number of the device's own, under `values`.
    fn named(&mut self, name: String, value: Value) {
        let room = self.values.len() < MAX_VALUES && name.len() <= MAX_NAME && !self.values.contains_key(&name);
        match number(&value).filter(|_| room) {
            Some(number) => _ = self.values.insert(name, Value::Number(number)),
            None => self.keep(format!("values.{name}"), value),
        }
    }

    /// Puts a value in its place, where it fits and the place is free.
    fn place(&mut self, target: Target, name: String, value: Value) {
        let Some((_, field)) = self.names.field(target) else { return self.keep(name, value) };
        let taken = self.groups.get(target.group).is_none_or(|g| g.contains_key(&field.name));
        if let Some(axis) = target.axis {
            return self.place_axis(target, axis, name, value);
        }
        match fit(field, &value).filter(|_| !taken) {
            Some(fitting) => self.put(target, field, fitting),
            None => self.keep(name, value),
        }
    }

    fn put(&mut self, target: Target, field: &Field, value: Value) {
        if let Some(group) = self.groups.get_mut(target.group) {
            group.insert(field.name.clone(), value);
        }
    }

    fn place_axis(&mut self, target: Target, axis: usize, name: String, value: Value) {
        let axes = self.axes.entry((target.group, target.field)).or_default();
        match (axes.get_mut(axis), number(&value)) {
            (Some(free @ None), Some(number)) => *free = Some((name, number)),
            _ => self.keep(name, value),
        }
    }

    /// Keeps what fits nowhere, within bounds.
    fn keep(&mut self, name: String, value: Value) {
        if value.is_null() {
            return;
        }
        let bytes = name.len() + value.to_string().len();
        let room = self.other.len() < MAX_OTHER && self.other_bytes + bytes <= MAX_OTHER_BYTES;
        if !room || name.len() > MAX_NAME || self.other.contains_key(&name) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.other_bytes += bytes;
        self.other.insert(name, value);
    }

    fn finish(mut self) -> Telemetry {
        self.join_axes();
        self.part_lonely();
        let mut groups = Map::new();
        for (group, fields) in self.names.groups.iter().zip(self.groups) {
            if !fields.is_empty() {
                groups.insert(group.name.clone(), Value::Object(fields));
            }
        }
        for (name, fields) in [("values", self.values), ("other", self.other)] {
            if !fields.is_empty() {
                groups.insert(name.to_owned(), Value::Object(fields));
            }
        }
        if self.dropped > 0 {
            groups.insert("dropped".to_owned(), self.dropped.into());
        }
        Telemetry { seq: self.seq, ts: self.ts, groups, raw: Raw::Gone }
    }

    /// Three axes are a vector; fewer are fields that fit nowhere.
    fn join_axes(&mut self) {
        for ((group, field), axes) in std::mem::take(&mut self.axes) {
            let target = Target { group, field, axis: None };
            let free = self.names.field(target).filter(|(_, f)| !self.groups[group].contains_key(&f.name));
            match (axes, free) {
                ([Some((_, x)), Some((_, y)), Some((_, z))], Some((_, field))) => {
                    self.put(target, field, json!({ "x": x, "y": y, "z": z }));
                }
                (axes, _) => axes.into_iter().flatten().for_each(|(name, n)| self.keep(name, Value::Number(n))),
            }
        }
    }

    /// Fields that mean nothing alone are kept apart when one of them is missing.
    fn part_lonely(&mut self) {
        let names = self.names;
        for (at, group) in names.groups.iter().enumerate() {
            let Some(fields) = self.groups.get_mut(at) else { continue };
            if group.together.iter().all(|name| fields.contains_key(name)) {
                continue;
            }
            let lonely: Vec<_> =
                group.together.iter().filter_map(|name| Some((name, fields.shift_remove(name)?))).collect();
            for (name, value) in lonely {
                self.keep(format!("{}.{name}", group.name), value);
            }
        }
    }
}

/// `value` as what the field has to be.
fn fit(field: &Field, value: &Value) -> Option<Value> {
    match field.kind {
        Kind::Number => ranged(field, number(value)?.as_f64()?).map(Value::Number),
        Kind::Bool => boolean(value).map(Value::Bool),
        Kind::Text => {
            let text = value.as_str()?.trim();
            (!text.is_empty() && text.len() <= MAX_NAME).then(|| text.into())
        }
        Kind::Vector => vector(value),
    }
}

fn ranged(field: &Field, number: f64) -> Option<Number> {
    let (min, max) = (field.min.unwrap_or(f64::MIN), field.max.unwrap_or(f64::MAX));
    let inside = match field.outside {
        Some(Outside::Clamp) => number.clamp(min, max),
        Some(Outside::Wrap) => number.rem_euclid(max),
        Some(Outside::Drop) | None if (min..=max).contains(&number) => number,
        Some(Outside::Drop) | None => return None,
    };
    plain(inside)
}

fn vector(value: &Value) -> Option<Value> {
    let axis = |name: &str, at: usize| number(value.get(name).or_else(|| value.get(at))?);
    let known = value.as_array().is_none_or(|a| a.len() == 3) && value.as_object().is_none_or(|o| o.len() == 3);
    let (x, y, z) = (axis("x", 0)?, axis("y", 1)?, axis("z", 2)?);
    known.then(|| json!({ "x": x, "y": y, "z": z }))
}

/// A finite number, also where it is written as text.
fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => plain(number.as_f64()?),
        Value::String(text) => plain(text.trim().parse().ok()?),
        _ => None,
    }
}

/// One number is one text, whichever encoding it came by: whole numbers have no point.
fn plain(number: f64) -> Option<Number> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        #[allow(clippy::cast_possible_truncation, reason = "the range is checked before")]
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(yes) => Some(*yes),
        Value::Number(number) => match number.as_f64()? {
            0.0 => Some(false),
            1.0 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}
