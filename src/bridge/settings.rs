//! `[[bridges]]`: to which brokers, and what travels.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{ByteSize, DeviceId, Problem, Span};
use crate::topics;

/// Longest prefix, in bytes: with it a topic stays within what brokers take.
const MAX_PREFIX: usize = 256;
/// Most filters of one direction.
const MAX_ROUTES: usize = 64;

/// All bridges.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Settings(pub Vec<BridgeSettings>);

/// One bridge: a connection that this gateway makes to another broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BridgeSettings {
    /// Its name in the log, the metrics and `voxgate status`: letters, digits and `_ . : -`. What waits for it is kept
    /// under this name.
    pub name: String,
    /// Connect (default true). A bridge that is switched off keeps what waits and collects nothing new; one that is
    /// taken out of the file loses it.
    pub enabled: bool,
    /// Host name or address of the other broker.
    pub host: String,
    /// Its port (default 1883, over TLS 8883).
    pub port: Option<u16>,
    /// Over TLS, when this table is there.
    pub tls: Option<TlsSettings>,
    /// Client id at the other broker (default: the gateway's name, `-`, the bridge's name).
    pub client_id: Option<String>,
    /// User name at the other broker.
    pub username: Option<String>,
    /// A file with the password, as in /run/credentials/voxgate.service/NAME; a line break at its end is not part of it.
    pub password_file: Option<PathBuf>,
    /// The environment variable with the password, when there is no file.
    pub password_env: Option<String>,
    /// How long nothing may come before the other broker is asked whether it is there (default "60s").
    pub keep_alive: Span,
    /// Ask the other broker for a new session with each connection (default false): then what it has for us while we
    /// are away is lost.
    pub clean: bool,
    /// Tell the other broker that we are a bridge, as mosquitto's own bridges do (default true): one that knows this
    /// sends us none of our own messages and marks retained ones; one that refuses it is connected to without. False
    /// for a broker that accepts it and still sends our own messages back.
    pub announce: bool,
    /// Least pause before the next attempt; it doubles with each failure, and is drawn by lot between half and all of
    /// it (default "1s").
    pub reconnect_min: Span,
    /// Longest pause before the next attempt (default "60s").
    pub reconnect_max: Span,
    /// Largest packet in both directions (default "4608KB"); what is larger is dropped on its way out and ends the
    /// connection on its way in.
    pub max_packet: ByteSize,
    /// What goes out: each a table of `filter`, `prefix_local`, `prefix_remote` and `qos`.
    pub out: Vec<RouteSettings>,
    /// What comes in: each a table of `filter`, `prefix_local`, `prefix_remote` and `qos`.
    #[serde(rename = "in")]
    pub incoming: Vec<RouteSettings>,
    /// What waits while the other broker is away.
    pub queue: QueueSettings,
    /// What messages that come in may do: "topics" (only topics that belong to no device and not to the gateway) or
    /// "operator" (also command devices). Default "topics".
    pub role: Role,
}

impl Default for BridgeSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            enabled: true,
            host: String::new(),
            port: None,
            tls: None,
            client_id: None,
            username: None,
            password_file: None,
            password_env: None,
            keep_alive: Span::secs(60),
            clean: false,
            announce: true,
            reconnect_min: Span::secs(1),
            reconnect_max: Span::secs(60),
            max_packet: ByteSize::kb(4_608),
            out: Vec::new(),
            incoming: Vec::new(),
            queue: QueueSettings::default(),
            role: Role::default(),
        }
    }
}

/// TLS to the other broker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// A PEM file with the CA certificates that the other broker's certificate is checked against (default: the
    /// public ones that come with the gateway).
    pub ca: Option<PathBuf>,
    /// The name in the other broker's certificate (default: `host`).
    pub server_name: Option<String>,
    /// A PEM file with the client certificate, its own first.
    pub certificate: Option<PathBuf>,
    /// A PEM file with its key.
    pub key: Option<PathBuf>,
}

/// What travels in one direction, and how its topics are called on each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteSettings {
    /// A topic filter, without the prefixes.
    pub filter: String,
    /// What stands before it here (default none).
    pub prefix_local: String,
    /// What stands before it at the other broker (default none).
    pub prefix_remote: String,
    /// At most this quality of service: 0 or 1 (default 1). 1 is at least once.
    #[schemars(range(max = 1))]
    pub qos: u8,
}

impl Default for RouteSettings {
    fn default() -> Self {
        Self { filter: String::new(), prefix_local: String::new(), prefix_remote: String::new(), qos: 1 }
    }
}

/// How much waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueueSettings {
    /// Messages (default 100000).
    pub messages: usize,
    /// Bytes in memory, with 160 for each message; the same is on disk (default "64MB").
    pub bytes: ByteSize,
    /// When it is full: "oldest" drops the oldest message for each new one, "refuse" does not take the new one, and
    /// its publisher is not told that it is safe (MQTT 5: 0x97). Default "oldest".
    pub full: Full,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { messages: 100_000, bytes: ByteSize::mb(64), full: Full::default() }
    }
}

/// What happens when a queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Full {
    /// The oldest message goes.
    #[default]
    Oldest,
    /// The new one is not taken.
    Refuse,
}

/// What messages that come in may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Ordinary topics.
    #[default]
    Topics,
    /// Ordinary topics, and commands to devices.
    Operator,
}

impl Settings {
    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let (mut problems, mut names) = (Vec::new(), HashSet::new());
        for (at, bridge) in self.0.iter().enumerate() {
            let path = format!("{path}[{at}]");
            if !names.insert(&bridge.name) {
                let what = format!("{:?} is the name of another bridge, too", bridge.name);
                problems.push(Problem::new(format!("{path}.name"), what, "give each bridge a name of its own"));
            }
            bridge.check(&path, &mut problems);
        }
        problems
    }
}

impl BridgeSettings {
    /// The port, or what is usual.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls.is_some() { 8883 } else { 1883 })
    }

    fn check(&self, path: &str, problems: &mut Vec<Problem>) {
        let mut add = |key: &str, what: String, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if let Err(error) = DeviceId::parse(&self.name) {
            add("name", error.to_string(), "write a short plain name, as in \"cloud\"");
        }
        if self.host.is_empty() {
            add("host", "is empty".into(), "write the other broker's host name, as in \"broker.example\"");
        } else if self.host.contains("://") || self.host.contains(char::is_whitespace) {
            let what = format!("{:?} is no host name", self.host);
            add("host", what, "write the name or address alone; the port is `port`, TLS is the table `tls`");
        }
        if self.port == Some(0) {
            add("port", "nobody listens on port 0".into(), "write the other broker's port, as in 1883");
        }
        if self.client_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > 256) {
            add("client_id", "is empty or too long".into(), "leave it out, or write 1 to 256 characters");
        }
        self.check_login(&mut add);
        self.check_times(&mut add);
        if self.max_packet.0 < 1_024 || self.max_packet.0 > 256 << 20 {
            add("max_packet", format!("{} is no packet size", self.max_packet), "write \"1KB\" to \"256MB\"");
        }
        if self.out.is_empty() && self.incoming.is_empty() {
            let remedy = "write what travels, as in out = [{ filter = \"home/#\" }]";
            add("out", "nothing travels in either direction".into(), remedy);
        }
        if self.queue.messages == 0 || self.queue.bytes.0 < 4_096 {
            add("queue", "nothing could wait in it".into(), "write 1 message and \"4KB\" or more");
        }
        for (name, routes) in [("out", &self.out), ("in", &self.incoming)] {
            if routes.len() > MAX_ROUTES {
                add(name, format!("{} filters", routes.len()), "write at most 64 in one direction");
            }
        }
        for (name, routes) in [("out", &self.out), ("in", &self.incoming)] {
            for (at, route) in routes.iter().enumerate() {
                route.check(&format!("{path}.{name}[{at}]"), problems);
            }
        }
        if let Some(tls) = &self.tls {
            tls.check(&format!("{path}.tls"), problems);
        }
    }

    fn check_login(&self, add: &mut impl FnMut(&str, String, &str)) {
        let has_password = self.password_file.is_some() || self.password_env.is_some();
        if has_password && self.username.is_none() {
            add("username", "a password needs a user name".into(), "write username = \"…\" too");
        }
        if self.password_file.is_some() && self.password_env.is_some() {
            add("password_env", "there is a password_file, too".into(), "leave one of them out");
        }
        if let Some(file) = self.password_file.as_ref().filter(|file| !file.is_file()) {
            add("password_file", format!("there is no file {}", file.display()), "name a file with the password");
        }
        if let Some(name) = self.password_env.as_ref().filter(|name| std::env::var_os(name).is_none()) {
            add("password_env", format!("{name} is not in the environment"), "set it, or use password_file");
        }
    }

    fn check_times(&self, add: &mut impl FnMut(&str, String, &str)) {
        let keep = self.keep_alive.0;
        if keep < Duration::from_secs(1) || keep > Duration::from_secs(65_535) {
            add("keep_alive", format!("{} is no keep-alive", self.keep_alive), "write \"1s\" to \"65535s\"");
        }
        if self.reconnect_min.0 < Duration::from_millis(10) {
            add("reconnect_min", format!("{} is too eager", self.reconnect_min), "write \"10ms\" or more");
        }
        if self.reconnect_max < self.reconnect_min {
            let what = format!("{} is less than reconnect_min", self.reconnect_max);
            add("reconnect_max", what, "write at least what reconnect_min says");
        }
    }
}

impl RouteSettings {
    fn check(&self, path: &str, problems: &mut Vec<Problem>) {
        let mut add = |key: &str, what: String, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        for (key, prefix) in [("prefix_local", &self.prefix_local), ("prefix_remote", &self.prefix_remote)] {
            if prefix.contains(['+', '#', '\0']) || prefix.starts_with('$') || prefix.len() > MAX_PREFIX {
                let remedy = "write the beginning of a topic, without wildcards and not with $, as in \"site1/\"";
                add(key, format!("{prefix:?} cannot begin a topic"), remedy);
            } else if !topics::valid_filter(&format!("{prefix}{}", self.filter)) && topics::valid_filter(&self.filter) {
                let what = format!("{prefix:?} and the filter {:?} give no filter", self.filter);
                add(key, what, "end the prefix with /, as in \"site1/\"");
            }
        }
        if !topics::valid_filter(&self.filter) {
            add("filter", format!("{:?} is no topic filter", self.filter), "write one as in \"home/+/temperature\"");
        } else if self.filter.starts_with('$') {
            let what = format!("{:?} begins with $, which is each broker's own", self.filter);
            add("filter", what, "leave it out");
        }
        if self.qos > 1 {
            let what = format!("qos {} is not bridged", self.qos);
            add("qos", what, "write 0 or 1; 1 is at least once");
        }
    }
}

impl TlsSettings {
    fn check(&self, path: &str, problems: &mut Vec<Problem>) {
        let files = [("ca", &self.ca), ("certificate", &self.certificate), ("key", &self.key)];
        for (key, file) in files {
            if let Some(file) = file.as_ref().filter(|file| !file.is_file()) {
                let what = format!("there is no file {}", file.display());
                problems.push(Problem::new(format!("{path}.{key}"), what, "name a PEM file"));
            }
        }
        if self.certificate.is_some() != self.key.is_some() {
            let key = if self.key.is_none() { "key" } else { "certificate" };
            let remedy = "name both files, or neither";
            problems.push(Problem::new(format!("{path}.{key}"), "a certificate and its key go together", remedy));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge() -> BridgeSettings {
        let out = vec![RouteSettings { filter: "home/#".into(), ..RouteSettings::default() }];
        BridgeSettings { name: "cloud".into(), host: "broker.example".into(), out, ..BridgeSettings::default() }
    }

    fn keys(bridges: Vec<BridgeSettings>) -> Vec<String> {
        Settings(bridges).check("bridges").into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn each_mistake_is_said_at_its_place() {
        assert!(keys(vec![bridge()]).is_empty());
        let with = |change: fn(&mut BridgeSettings)| {
            let mut bridge = bridge();
            change(&mut bridge);
            keys(vec![bridge])
        };
        assert_eq!(with(|b| b.name = "no good".into()), ["bridges[0].name"]);
        assert_eq!(with(|b| b.host = "mqtt://broker".into()), ["bridges[0].host"]);
        assert_eq!(with(|b| b.host.clear()), ["bridges[0].host"]);
        assert_eq!(with(|b| b.port = Some(0)), ["bridges[0].port"]);
        assert_eq!(with(|b| b.out.clear()), ["bridges[0].out"]);
        assert_eq!(with(|b| b.out[0].filter = "a/#/b".into()), ["bridges[0].out[0].filter"]);
        assert_eq!(with(|b| b.out[0].filter = "$SYS/#".into()), ["bridges[0].out[0].filter"]);
        assert_eq!(with(|b| b.out[0].filter = "#".into()), Vec::<String>::new());
        assert_eq!(with(|b| b.out[0].prefix_remote = "$SYS/".into()), ["bridges[0].out[0].prefix_remote"]);
        assert_eq!(with(|b| b.out[0].prefix_local = "a/+/".into()), ["bridges[0].out[0].prefix_local"]);
        let no_slash = with(|b| (b.out[0].prefix_remote, b.out[0].filter) = ("site".into(), "#".into()));
        assert_eq!(no_slash, ["bridges[0].out[0].prefix_remote"]);
        assert_eq!(with(|b| b.out[0].qos = 2), ["bridges[0].out[0].qos"]);
        assert_eq!(with(|b| b.password_file = Some("/nowhere".into())).len(), 2, "no user name, and no file");
        assert_eq!(with(|b| b.keep_alive = Span::secs(0)), ["bridges[0].keep_alive"]);
        assert_eq!(with(|b| b.reconnect_max = Span::ms(20)), ["bridges[0].reconnect_max"]);
        assert_eq!(with(|b| b.queue.messages = 0), ["bridges[0].queue"]);
        let half = TlsSettings { key: Some("Cargo.toml".into()), ..TlsSettings::default() };
        let mut over_tls = bridge();
        over_tls.tls = Some(half);
        assert_eq!(keys(vec![over_tls]), ["bridges[0].tls.certificate"]);
        assert_eq!(keys(vec![bridge(), bridge()]), ["bridges[1].name"]);
    }

    #[test]
    fn the_usual_port_follows_tls() {
        let mut bridge = bridge();
        assert_eq!(bridge.port(), 1883);
        bridge.tls = Some(TlsSettings::default());
        assert_eq!(bridge.port(), 8883);
    }
}
