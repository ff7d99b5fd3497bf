//! Operators' rules in the store: one record a rule, under an id made of the rule itself, so that the same rule is
//! never there twice.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::store::{Batch, Key, Range, Space, Store, StoreError};
use crate::topics::Rule;

/// How many records a scan reads at once.
const PAGE: usize = 1_000;
/// Digits of an id.
const DIGITS: usize = 12;

/// The id of a stored rule: 12 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(String);

impl RuleId {
    /// The id of a rule.
    pub fn of(rule: &Rule) -> Self {
        let digest = Sha256::digest(rule.to_string().as_bytes());
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
        Self(digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).take(DIGITS).collect())
    }

    /// Reads an id; none when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        hex.then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn key(&self) -> Key {
        Key::new(Space::Rule).text(&self.0)
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds a rule to the batch; false when it is in the store or the batch already.
pub(super) async fn put(store: &dyn Store, batch: &mut Batch, rule: &Rule) -> Result<bool, StoreError> {
    let key = RuleId::of(rule).key();
    if batch.changes.iter().any(|(known, _)| *known == key) || store.get(key.clone()).await?.is_some() {
        return Ok(false);
    }
    let record = serde_json::to_vec(rule).map_err(|e| StoreError::Write(format!("record {key:?}: {e}")))?;
    batch.put(key, record);
    Ok(true)
}

/// Removes a rule; false when there was none.
pub(super) async fn remove(store: &dyn Store, id: &RuleId) -> Result<bool, StoreError> {
    let was = store.get(id.key()).await?.is_some();
    let mut batch = Batch::new();
    batch.delete(id.key());
    store.commit(batch).await?;
    Ok(was)
}

/// All rules, by id. One that cannot be read stops the reading: a denial that is lost would open a door.
pub(super) async fn list(store: &dyn Store) -> Result<Vec<(RuleId, Rule)>, StoreError> {
    let (mut from, to) = (Key::new(Space::Rule), Key::new(Space::Rule).after_prefix());
    let mut rules = Vec::new();
    loop {
        let range = Range { from: from.clone(), to: to.clone(), limit: PAGE, backwards: false };
        let page = store.scan(range).await?.records;
        let Some((last, _)) = page.last() else { return Ok(rules) };
        from = last.clone().byte(0);
        for (key, payload) in &page {
            let rule: Rule = serde_json::from_slice(payload)
                .map_err(|error| StoreError::Damaged(format!("record {key:?}: {error}")))?;
            rules.push((RuleId::of(&rule), rule));
        }
    }
}
