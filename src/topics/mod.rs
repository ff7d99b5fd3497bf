//! The topic table: `topics/*.toml` as typed rows, names built and taken apart, filters, rights.
//!
//! It knows names only: not what the payloads mean, nor who is connected.

mod doc;
mod filter;
mod pattern;
mod rights;
mod rules;
mod table;

pub use doc::page;
pub use filter::{matches, shared, valid_filter, valid_topic};
pub use rights::{Role, Who};
pub use rules::{Access, Asker, Rule, RuleError, Rules, Ruling, Subject};
pub use table::{Durable, Row, Table, TopicsError, UplinkTopic, Way, dialect};
