//! The names of `topics/opencane.toml` as a lookup: what devices call fields and events.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
struct File {
    names: Lists,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    envelope: HashMap<String, Vec<String>>,
    event: HashMap<String, Vec<String>>,
    payload: HashMap<String, Vec<String>>,
}

/// The lookup; all names in their bare form.
#[derive(Debug, Default)]
pub(super) struct Names {
    envelope: HashMap<String, Vec<String>>,
    payload: HashMap<String, Vec<String>>,
    events: HashMap<String, String>,
}

/// The built-in names: constant data, read once.
pub(super) static NAMES: LazyLock<Names> =
    LazyLock::new(|| Names::read(include_str!("../../../topics/opencane.toml")).unwrap_or_default());

impl Names {
    fn read(text: &str) -> Result<Self, toml::de::Error> {
        let Lists { envelope, event, payload } = toml::from_str::<File>(text)?.names;
        let bare_lists = |lists: HashMap<String, Vec<String>>| {
            lists.into_iter().map(|(name, also)| (name, also.iter().map(|one| bare(one)).collect())).collect()
        };
        let events = event.into_iter().flat_map(|(name, also)| {
            let own = (bare(&name), name.clone());
            also.into_iter().map(move |one| (bare(&one), name.clone())).chain([own])
        });
        Ok(Self { events: events.collect(), envelope: bare_lists(envelope), payload: bare_lists(payload) })
    }

    /// What a field of the envelope may be called; the first that is there counts.
    pub(super) fn envelope(&self, field: &str) -> &[String] {
        self.envelope.get(field).map_or(&[], Vec::as_slice)
    }

    /// What a field of a payload may be called.
    pub(super) fn payload(&self, field: &str) -> &[String] {
        self.payload.get(field).map_or(&[], Vec::as_slice)
    }

    /// A bare name that a field of the envelope has.
    pub(super) fn is_envelope(&self, bare: &str) -> bool {
        self.envelope.values().any(|list| list.iter().any(|one| one == bare))
    }

    /// The event that a device means; its own word when it is known to nobody.
    pub(super) fn event<'a>(&'a self, said: &'a str) -> &'a str {
        self.events.get(&bare(said)).map_or(said, String::as_str)
    }
}

/// In lower case, letters and digits only.
pub(super) fn bare(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

    use super::*;

    #[test]
    fn the_file_is_read_and_no_name_stands_for_two_fields() {
        let names = Names::read(include_str!("../../../topics/opencane.toml")).unwrap();
        let mut all: Vec<&String> = names.envelope.values().flatten().collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        assert_eq!(names.event("Mic-Start"), "listen_start");
        assert_eq!(names.event("no such thing"), "no such thing");
    }
}
