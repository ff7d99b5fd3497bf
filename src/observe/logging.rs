//! Logs: text or JSON on standard error, one line an event.
//!
//! Under systemd (`JOURNAL_STREAM` is set) text lines carry no time, because the journal has it,
//! and begin with the journal's priority prefix (`<3>` … `<7>`), so that `journalctl -p` works.

use std::io::{self, IsTerminal, Write};

use serde::{Deserialize, Serialize};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::domain::Problem;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people and for the journal.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// The least important lines that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Something failed that an operator must know.
    Error,
    /// Something is worse than it should be.
    Warn,
    /// What happens: connections, sessions, turns; never what was said.
    #[default]
    Info,
    /// Each step.
    Debug,
    /// Each packet.
    Trace,
}

impl LogLevel {
    fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How lines look: `text` for people and the journal, `json` for collectors. Default: `text`.
    pub format: LogFormat,
    /// The least important lines that are written: `error`, `warn`, `info`, `debug` or `trace`.
    /// Transcripts and replies are never written at `info`. Default: `info`.
    pub level: LogLevel,
    /// Finer rules by part, added to `level`, as `tracing` writes them: `"voxgate::session=debug,hyper=warn"`. Only
    /// `tungstenite=trace` writes what is sent over WebSockets, secrets and transcripts too.
    /// Default: none.
    pub filter: String,
}

impl Settings {
    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        match EnvFilter::builder().parse(&self.filter) {
            Ok(_) => Vec::new(),
            Err(error) => vec![Problem::new(
                format!("{path}.filter"),
                format!("is no log filter: {error}"),
                "write rules like \"voxgate::session=debug\", with commas between them",
            )],
        }
    }

    /// Which lines are written.
    pub fn env_filter(&self) -> Result<EnvFilter, LogError> {
        // the engines' and the bus's crates speak of their own affairs at info; tungstenite writes whole messages at
        // trace, and secrets and transcripts are in some
        let rules =
            format!("{},rumqttd=warn,sled=warn,hyper=warn,tungstenite=debug,{}", self.level.name(), self.filter);
        EnvFilter::builder().parse(rules).map_err(|error| LogError::Filter(error.to_string()))
    }
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("log.filter: {0}")]
    Filter(String),
    /// Somebody has set them up already.
    #[error("logs are set up already")]
    Twice,
}

/// Sets up the process's logs. `journal` is the value of `JOURNAL_STREAM`, when there is one.
/// Called once, by the command line: tests use `tracing::subscriber::set_default`.
pub fn init(settings: &Settings, journal: Option<&str>) -> Result<(), LogError> {
    let registry = tracing_subscriber::registry().with(settings.env_filter()?);
    let layer = tracing_subscriber::fmt::layer();
    let done = match (settings.format, journal) {
        (LogFormat::Json, _) => registry.with(layer.json().flatten_event(true).with_writer(io::stderr)).try_init(),
        (LogFormat::Text, Some(_)) => {
            registry.with(layer.without_time().with_level(false).with_ansi(false).with_writer(Journal)).try_init()
        }
        (LogFormat::Text, None) => {
            registry.with(layer.with_ansi(io::stderr().is_terminal()).with_writer(io::stderr)).try_init()
        }
    };
    done.map_err(|_| LogError::Twice)
}

/// Standard error with the journal's priority prefix before each line.
#[derive(Debug, Clone, Copy)]
struct Journal;

/// One line on its way to the journal.
struct JournalLine(&'static str);

impl MakeWriter<'_> for Journal {
    type Writer = JournalLine;

    fn make_writer(&self) -> JournalLine {
        JournalLine("<6>")
    }

    fn make_writer_for(&self, meta: &Metadata<'_>) -> JournalLine {
        JournalLine(priority(*meta.level()))
    }
}

/// The syslog priority of a level, as `sd-daemon(3)` writes it.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

impl Write for JournalLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // one write a line: the layer hands a whole event over at once
        let mut out = Vec::with_capacity(line.len() + 3);
        out.extend_from_slice(self.0.as_bytes());
        out.extend_from_slice(line);
        io::stderr().lock().write_all(&out)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_refused_with_its_key() {
        let settings = Settings { filter: "voxgate=loud".to_owned(), ..Settings::default() };
        let problems = settings.check("log");
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "log.filter");
        assert!(settings.env_filter().is_err());
    }

    #[test]
    fn a_rule_for_one_part_is_added_to_the_level() {
        let settings = Settings { filter: "voxgate::session=debug".to_owned(), ..Settings::default() };
        assert_eq!(settings.check("log"), []);
        let filter = settings.env_filter().expect("parses").to_string();
        assert!(filter.contains("voxgate::session=debug") && filter.contains("info"), "{filter}");
    }

    #[test]
    fn errors_are_errors_in_the_journal_too() {
        assert_eq!([Level::ERROR, Level::WARN, Level::INFO, Level::TRACE].map(priority), ["<3>", "<4>", "<6>", "<7>"]);
    }
}
