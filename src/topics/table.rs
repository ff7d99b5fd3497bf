//! The rows of `topics/*.toml`, checked, and what is asked of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::matches;
use super::pattern::{Found, Pattern};
use crate::domain::{DeviceId, EventKind, QoS, Stream};

/// The dialects' files, in the order in which an uplink is looked up.
const FILES: [(&str, &str); 3] = [
    ("native", include_str!("../../topics/native.toml")),
    ("xiaozhi", include_str!("../../topics/xiaozhi.toml")),
    ("opencane", include_str!("../../topics/opencane.toml")),
];

/// The dialect of this name, if it is built in.
pub fn dialect(name: &str) -> Option<&'static str> {
    FILES.iter().map(|(dialect, _)| *dialect).find(|dialect| *dialect == name)
}

/// The rows that the gateway itself writes or reads.
const NEEDED: [&str; 8] = [
    "native.status",
    "native.telemetry.latest",
    "native.session",
    "native.transcript",
    "gateway.status",
    "gateway.event",
    "gateway.command",
    "homeassistant.device",
];

/// What is wrong with a topic file or the gateway's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicsError {
    /// The file is no topic file.
    #[error("topics/{file}.toml: {message}")]
    File {
        /// The dialect.
        file: &'static str,
        /// What TOML says.
        message: String,
    },
    /// The name has to be one level of a topic.
    #[error("the gateway's name {0:?} cannot stand in a topic: letters, digits and _ . : - only, 1 to 64 of them")]
    GatewayName(String),
    /// A pattern is no pattern.
    #[error("{row}: {pattern:?} is no pattern")]
    Pattern {
        /// The row's id.
        row: String,
        /// Its pattern.
        pattern: String,
    },
    /// Two rows have one id.
    #[error("two rows are called {0}")]
    Twice(String),
    /// A row breaks a rule of the table.
    #[error("{row}: {what}")]
    Row {
        /// The row's id.
        row: String,
        /// Which rule.
        what: &'static str,
    },
    /// One name would be two uplinks.
    #[error("the uplinks {0} and {1} overlap")]
    Overlap(String, String),
    /// A row that the gateway itself needs is missing.
    #[error("the row {0} is missing")]
    Missing(&'static str),
}

/// Who publishes a topic, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A device publishes it, nobody else.
    Up,
    /// The gateway sends it to the device's connection.
    Down,
    /// The gateway writes it about a device.
    Gateway,
    /// The gateway publishes it for operators.
    Out,
    /// Operators publish it.
    In,
}

/// Which messages of a topic are acknowledged only when they are in the store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Durable {
    /// All of them or none.
    All(bool),
    /// By the envelope's `type`.
    ByType(BTreeMap<String, bool>),
}

impl Durable {
    /// A message of `kind` (the envelope's `type`; empty where there is none) must be in the store first.
    pub fn applies(&self, kind: &str) -> bool {
        match self {
            Durable::All(all) => *all,
            Durable::ByType(types) => types.get(kind).copied().unwrap_or(false),
        }
    }
}

/// One row as it is written in the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Unique over all dialects.
    pub id: String,
    /// The topic, with `{id}`, `{gateway}`, `{kind}`, `{a|b}`.
    pub pattern: String,
    /// Who publishes it.
    pub way: Way,
    /// The stream whose numbers it carries.
    #[serde(default)]
    pub stream: Option<Stream>,
    /// What the sender shall use.
    pub qos: Vec<u8>,
    /// The last one is kept for new subscribers.
    pub retained: bool,
    /// What the bytes are.
    pub payload: String,
    /// What waits for the store.
    pub durable: Durable,
    /// One sentence.
    pub doc: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    dialect: String,
    root: Option<String>,
    topic: Vec<Row>,
    /// What the dialect's devices call things, and what is known of their modems: read elsewhere.
    #[serde(default, rename = "names")]
    _names: serde::de::IgnoredAny,
    #[serde(default, rename = "profile")]
    _profiles: serde::de::IgnoredAny,
}

/// A row with its pattern read.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) dialect: &'static str,
    pub(super) row: Row,
    pub(super) pattern: Pattern,
}

/// An uplink topic taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UplinkTopic<'t> {
    /// Whose protocol it is.
    pub dialect: &'static str,
    /// What it carries.
    pub stream: Stream,
    /// Which device the name says; compare it with the proven identity.
    pub device: &'t str,
}

/// All topics that have a meaning.
#[derive(Debug, Clone)]
pub struct Table {
    entries: Vec<Entry>,
    roots: Vec<Pattern>,
}

impl Table {
    /// The table of the dialects that are built in, for a gateway of this name.
    pub fn builtin(gateway_name: &str) -> Result<Self, TopicsError> {
        Self::read(&FILES, gateway_name)
    }

    fn read(files: &[(&'static str, &str)], gateway: &str) -> Result<Self, TopicsError> {
        if DeviceId::parse(gateway).is_err() {
            return Err(TopicsError::GatewayName(gateway.to_owned()));
        }
        let mut table = Self { entries: Vec::new(), roots: Vec::new() };
        for (dialect, text) in files {
            table.add_file(dialect, text, gateway)?;
        }
        table.check()?;
        Ok(table)
    }

    fn add_file(&mut self, dialect: &'static str, text: &str, gateway: &str) -> Result<(), TopicsError> {
        let wrong = |message: String| TopicsError::File { file: dialect, message };
        let file: File = toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
        if file.dialect != dialect {
            return Err(wrong(format!("the file says that it is {:?}", file.dialect)));
        }
        if let Some(root) = file.root {
            self.roots.push(Pattern::parse(&root, gateway, "root")?);
        }
        for row in file.topic {
            let pattern = Pattern::parse(&row.pattern, gateway, &row.id)?;
            self.entries.push(Entry { dialect, row, pattern });
        }
        Ok(())
    }

    /// The rules that every table keeps.
    fn check(&self) -> Result<(), TopicsError> {
        let mut ids = BTreeSet::new();
        for Entry { row, .. } in &self.entries {
            if !ids.insert(row.id.as_str()) {
                return Err(TopicsError::Twice(row.id.clone()));
            }
            check_row(row)?;
        }
        for (at, a) in self.entries.iter().enumerate().filter(|(_, e)| e.row.way == Way::Up) {
            if let Some(b) =
                self.entries[at + 1..].iter().find(|b| b.row.way == Way::Up && a.pattern.overlaps(&b.pattern))
            {
                return Err(TopicsError::Overlap(a.row.id.clone(), b.row.id.clone()));
            }
        }
        for needed in NEEDED {
            if !ids.contains(needed) {
                return Err(TopicsError::Missing(needed));
            }
        }
        Ok(())
    }

    /// Takes an uplink topic apart. The door still has to compare the device with the proven identity.
    pub fn uplink<'t>(&self, topic: &'t str) -> Option<UplinkTopic<'t>> {
        self.of_way(Way::Up).find_map(|entry| {
            let Found { device, .. } = entry.pattern.find(topic)?;
            Some(UplinkTopic { dialect: entry.dialect, stream: entry.row.stream?, device })
        })
    }

    /// The topic on which `device` gets `stream` in `dialect`; none where the dialect has none.
    pub fn downlink(&self, dialect: &str, stream: Stream, device: &DeviceId) -> Option<Arc<str>> {
        self.of_way(Way::Down)
            .find(|e| e.dialect == dialect && e.row.stream == Some(stream))
            .map(|e| e.pattern.name(device.as_str(), "").into())
    }

    /// The dialect has a topic on which devices get `stream`.
    pub fn has_downlink(&self, dialect: &str, stream: Stream) -> bool {
        self.of_way(Way::Down).any(|e| e.dialect == dialect && e.row.stream == Some(stream))
    }

    /// With which QoS a device of this dialect gets `stream`.
    pub fn downlink_qos(&self, dialect: &str, stream: Stream) -> QoS {
        let row = self.of_way(Way::Down).find(|e| e.dialect == dialect && e.row.stream == Some(stream));
        match row.and_then(|e| e.row.qos.first()) {
            Some(0) => QoS::AtMostOnce,
            Some(2) => QoS::ExactlyOnce,
            _ => QoS::AtLeastOnce,
        }
    }

    /// `filter` (or a plain name) matches at least one downlink topic of `device`, whatever the dialect.
    pub fn is_downlink_of(&self, filter: &str, device: &DeviceId) -> bool {
        self.of_way(Way::Down).any(|e| matches(filter, &e.pattern.name(device.as_str(), "")))
    }

    /// Where the gateway writes `online` or `offline` of `device`.
    pub fn status_topic(&self, device: &DeviceId) -> Arc<str> {
        self.built("native.status", device.as_str(), "")
    }

    /// Where the gateway writes what `device` measured last.
    pub fn latest_topic(&self, device: &DeviceId) -> Arc<str> {
        self.built("native.telemetry.latest", device.as_str(), "")
    }

    /// Where the gateway writes what the session of `device` does.
    pub fn session_topic(&self, device: &DeviceId) -> Arc<str> {
        self.built("native.session", device.as_str(), "")
    }

    /// Where the gateway writes what it understood of `device` last.
    pub fn transcript_topic(&self, device: &DeviceId) -> Arc<str> {
        self.built("native.transcript", device.as_str(), "")
    }

    /// Where operators publish the command `name` for `device`.
    pub fn command_topic(&self, device: &DeviceId, name: &str) -> Arc<str> {
        self.built("gateway.command", device.as_str(), name)
    }

    /// Where the gateway writes about itself.
    pub fn gateway_status_topic(&self) -> Arc<str> {
        self.built("gateway.status", "", "")
    }

    /// Where an event is published; the device is `-` where there is none.
    pub fn event_topic(&self, device: Option<&DeviceId>, kind: EventKind) -> Arc<str> {
        self.built("gateway.event", device.map_or("-", DeviceId::as_str), kind.name())
    }

    /// Where Home Assistant looks for the description of `device`; `.` and `:` are not allowed there.
    pub fn discovery_topic(&self, device: &DeviceId) -> Arc<str> {
        self.built("homeassistant.device", &device.as_str().replace(['.', ':'], "_"), "")
    }

    /// The device and the command (`say`, `abort`, `reboot`) of an operator's command topic.
    pub fn command<'t>(&self, topic: &'t str) -> Option<(&'t str, &'t str)> {
        let found = self.entry("gateway.command")?.pattern.find(topic)?;
        Some((found.device, found.word))
    }

    /// A message of `kind` on this uplink is acknowledged only when it is in the store.
    pub fn durable(&self, dialect: &str, stream: Stream, kind: &str) -> bool {
        self.of_way(Way::Up)
            .find(|e| e.dialect == dialect && e.row.stream == Some(stream))
            .is_some_and(|e| e.row.durable.applies(kind))
    }

    /// The rows with their dialects, in the order of the files.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, &Row)> {
        self.entries.iter().map(|e| (e.dialect, &e.row))
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn roots(&self) -> &[Pattern] {
        &self.roots
    }

    fn of_way(&self, way: Way) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |e| e.row.way == way)
    }

    fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.row.id == id)
    }

    /// A name of a row that [`Table::check`] has seen.
    fn built(&self, id: &str, device: &str, word: &str) -> Arc<str> {
        self.entry(id).map(|e| e.pattern.name(device, word)).unwrap_or_default().into()
    }
}

fn check_row(row: &Row) -> Result<(), TopicsError> {
    let no = |what| Err(TopicsError::Row { row: row.id.clone(), what });
    if row.doc.trim().is_empty() || row.payload.trim().is_empty() {
        return no("doc and payload must say something");
    }
    if row.qos.is_empty() || row.qos.iter().any(|q| *q > 2) {
        return no("qos must be a list of 0, 1, 2");
    }
    if matches!(row.way, Way::Up | Way::Down) != row.stream.is_some() {
        return no("uplinks and downlinks, and nothing else, have a stream");
    }
    if matches!(row.way, Way::Up | Way::Down | Way::In) && row.retained {
        return no("only what the gateway writes is retained");
    }
    if matches!(row.way, Way::Up | Way::Down) && !row.pattern.contains("{id}") {
        return no("an uplink or downlink names its device");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

    use super::*;
    use crate::domain::{ControlKind, Hello, ImageId, TurnId};

    const NATIVE: &str = FILES[0].1;

    fn table() -> Table {
        Table::builtin("box").unwrap()
    }

    fn device(id: &str) -> DeviceId {
        DeviceId::parse(id).unwrap()
    }

    fn broken(from: &str, to: &str) -> TopicsError {
        assert!(NATIVE.contains(from), "{from}");
        Table::read(&[("native", &NATIVE.replacen(from, to, 1))], "box").unwrap_err()
    }

    #[test]
    fn a_table_that_breaks_a_rule_is_refused_by_name() {
        assert_eq!(Table::builtin("a/b").unwrap_err(), TopicsError::GatewayName("a/b".into()));
        assert_eq!(broken("native.audio", "native.control"), TopicsError::Twice("native.control".into()));
        assert_eq!(
            broken("device/{id}/audio", "device/{id}/control"),
            TopicsError::Overlap("native.control".into(), "native.audio".into())
        );
        assert_eq!(broken("gateway.event", "gateway.incident"), TopicsError::Missing("gateway.event"));
        assert!(matches!(broken("device/{id}/image", "device/+/image"), TopicsError::Pattern { .. }));
        assert!(matches!(broken("qos = [1]", "qos = [3]"), TopicsError::Row { .. }));
        assert!(matches!(broken("stream = \"audio\"", ""), TopicsError::Row { .. }));
        assert!(matches!(broken("retained = false", "retained = true"), TopicsError::Row { .. }));
        assert!(matches!(broken("retained =", "retaind ="), TopicsError::File { .. }));
        assert!(matches!(broken("doc = \"Numbered", "doc = \" \"\n#"), TopicsError::Row { .. }));
    }

    #[test]
    fn an_uplink_topic_is_taken_apart() {
        let table = table();
        for stream in Stream::ALL {
            let topic = format!("device/cane-1/{}", stream.name());
            let want = UplinkTopic { dialect: "native", stream, device: "cane-1" };
            assert_eq!(table.uplink(&topic), Some(want));
        }
        for no in
            ["device/cane-1/status", "device/cane-1/down/audio", "device//audio", "device/a/audio/", "设备/a/audio", ""]
        {
            assert_eq!(table.uplink(no), None, "{no}");
        }
    }

    #[test]
    fn names_are_built_for_a_device() {
        let (table, cane) = (table(), device("a.b:1"));
        assert_eq!(&*table.downlink("native", Stream::Control, &cane).unwrap(), "device/a.b:1/down/control");
        assert_eq!(&*table.downlink("native", Stream::Audio, &cane).unwrap(), "device/a.b:1/down/audio");
        assert_eq!(table.downlink("native", Stream::Image, &cane), None);
        assert_eq!(table.downlink("klingon", Stream::Audio, &cane), None);
        assert_eq!(&*table.status_topic(&cane), "device/a.b:1/status");
        assert_eq!(&*table.gateway_status_topic(), "gateway/box/status");
        assert_eq!(&*table.event_topic(Some(&cane), EventKind::Turn), "gateway/box/event/a.b:1/turn");
        assert_eq!(&*table.event_topic(None, EventKind::Gap), "gateway/box/event/-/gap");
        assert_eq!(&*table.discovery_topic(&cane), "homeassistant/device/voxgate_a_b_1/config");
    }

    #[test]
    fn a_command_names_its_device() {
        let table = table();
        assert_eq!(table.command("gateway/box/command/cane-1/say"), Some(("cane-1", "say")));
        assert_eq!(table.command("gateway/box/command/cane-1/explode"), None);
        assert_eq!(table.command("gateway/other/command/cane-1/say"), None);
    }

    #[test]
    fn a_filter_is_a_downlink_filter_when_it_matches_one() {
        let (table, cane) = (table(), device("cane"));
        for yes in ["device/cane/down/#", "device/cane/down/audio", "device/cane/#", "$share/g/device/cane/down/+"] {
            assert!(table.is_downlink_of(yes, &cane), "{yes}");
        }
        for no in ["device/cane/audio", "device/other/down/#", "device/cane/down"] {
            assert!(!table.is_downlink_of(no, &cane), "{no}");
        }
    }

    #[test]
    fn the_table_and_the_code_agree_on_what_waits_for_the_disk() {
        let kinds = [
            ControlKind::Hello(Hello::default()),
            ControlKind::Heartbeat,
            ControlKind::ListenStart { mode: None, n: None },
            ControlKind::ListenStop,
            ControlKind::Abort { reason: None },
            ControlKind::Text(String::new()),
            ControlKind::Played(TurnId(1)),
            ControlKind::Ack(1),
            ControlKind::Sos { kind: String::new(), text: None },
            ControlKind::ToolResult {
                operation_id: String::new(),
                success: true,
                result: serde_json::Value::Null,
                error: None,
            },
            ControlKind::ImageNote { image_id: ImageId(1), question: None, keep: true },
            ControlKind::Goodbye,
        ];
        let table = table();
        let Durable::ByType(types) = &table.entry("native.control").unwrap().row.durable else { panic!("by type") };
        assert_eq!(types.len(), kinds.len());
        for kind in &kinds {
            assert!(types.contains_key(kind.name()), "{}", kind.name());
            assert_eq!(table.durable("native", Stream::Control, kind.name()), kind.durable(), "{}", kind.name());
        }
        assert!(table.durable("native", Stream::Image, "") && !table.durable("native", Stream::Audio, ""));
    }
}
