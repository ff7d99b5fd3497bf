//! Topic aliases of one connection, both ways.

use std::collections::HashMap;
use std::sync::Arc;

/// Aliases that we give, whatever the client takes.
const MOST: u16 = 64;

/// Nothing is allocated before the first alias.
#[derive(Debug)]
pub(super) struct Aliases {
    in_maximum: u16,
    out_maximum: u16,
    known: Option<Box<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    theirs: HashMap<u16, Arc<str>>,
    ours: HashMap<Arc<str>, u16>,
}

impl Aliases {
    /// How many the client may use, and how many it takes.
    pub fn new(in_maximum: u16, out_maximum: u16) -> Self {
        Self { in_maximum, out_maximum: out_maximum.min(MOST), known: None }
    }

    /// The topic of a publish that carries an alias; none when the alias is not allowed or not known.
    pub fn topic(&mut self, alias: u16, topic: &str) -> Option<Arc<str>> {
        if alias == 0 || alias > self.in_maximum {
            return None;
        }
        if topic.is_empty() {
            return self.known.as_ref()?.theirs.get(&alias).cloned();
        }
        let topic: Arc<str> = topic.into();
        self.known.get_or_insert_default().theirs.insert(alias, topic.clone());
        Some(topic)
    }

    /// The alias for a topic, and whether the client knows it; the first topics get theirs for good.
    pub fn alias(&mut self, topic: &str) -> Option<(u16, bool)> {
        if self.out_maximum == 0 {
            return None;
        }
        let ours = &mut self.known.get_or_insert_default().ours;
        if let Some(alias) = ours.get(topic) {
            return Some((*alias, true));
        }
        let next = u16::try_from(ours.len()).ok()? + 1;
        if next > self.out_maximum {
            return None;
        }
        ours.insert(topic.into(), next);
        Some((next, false))
    }

    /// An alias that was given did not reach the client after all.
    pub fn take_back(&mut self, topic: &str, given: Option<(u16, bool)>) {
        if let (Some((_, false)), Some(known)) = (given, &mut self.known) {
            known.ours.remove(topic);
        }
    }
}
