//! Caches, as operators see them.

use serde::{Deserialize, Serialize};

/// Which caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheName {
    /// Answers.
    Chat,
    /// Speech.
    Speech,
    /// What was understood.
    Transcripts,
    /// All of them.
    All,
}

/// A cache, and how it did since the gateway started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CacheRow {
    /// `chat`, `speech` or `transcripts`.
    pub cache: String,
    /// It keeps anything.
    pub on: bool,
    /// How many it holds.
    pub entries: u64,
    /// How much, about.
    pub bytes: u64,
    /// Lookups that found something.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// What else there is to know; else empty.
    pub note: String,
}

/// What was forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheCleared {
    /// `chat`, `speech` or `transcripts`.
    pub cache: String,
    /// How many.
    pub entries: u64,
}

/// What came of making phrases ahead, in clauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheWarmed {
    /// Made now.
    pub made: u64,
    /// There already.
    pub there: u64,
    /// Could not be made.
    pub failed: u64,
}
