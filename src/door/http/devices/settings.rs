//! `[devices]`: the HTTP door at which boards with stock firmware begin, and what they are told there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::vision;
use crate::domain::{ByteSize, Problem, Span};
use crate::door::enrolment::{self, Allowed, BringUp, Welcome};
use crate::door::firmware;
use crate::store::records::Transport;

/// The devices' HTTP: boards with stock xiaozhi firmware ask here for their credentials, and fetch new firmware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Switches the listener on (default true).
    pub enabled: bool,
    /// Where it listens; port 0 takes any free one (default "0.0.0.0:8003").
    pub listen: SocketAddr,
    /// Where it listens too, as in "0.0.0.0:8002": the port of the server that boards asked before (default none; at
    /// most 8).
    pub also: Vec<SocketAddr>,
    /// Speak HTTPS, with the certificate of `[mqtt.tls]`, whose listener (or that of `[mqtt.websocket_tls]`) must be on
    /// (default false). Stock firmware takes certificates of public authorities only, and has none to show:
    /// `mqtt.tls.client_certificates = "required"` keeps it out.
    pub tls: bool,
    /// The host that boards are told, a DNS name or an IPv4 address. Not set by default: the one by which the board
    /// reached this door.
    pub host: Option<String>,
    /// What boards of certain networks are told instead: behind NAT, or when the gateway has several names. The first
    /// that fits counts. None by default; each is a table `[[devices.public]]`.
    pub public: Vec<Public>,
    /// How boards are told to speak, unless their record says otherwise: "mqtt" (audio as datagrams) or "websocket"
    /// (default "mqtt").
    pub transport: Transport,
    /// Tell boards the listener of `[mqtt.tls]` instead of the plain one (default false). Firmware speaks TLS on port
    /// 8883 only, and takes certificates of public authorities only.
    pub mqtt_tls: bool,
    /// Keep-alive that boards are told (default "240s").
    pub keep_alive: Span,
    /// Boards that are enrolled at their first contact, by MAC, as in "f4:12:fa:00:00:01" or "f4:12:fa:*" (default
    /// none). A board that says the name of one that is enrolled already waits for an operator all the same.
    pub allow: Vec<String>,
    /// Bring-up mode: every board is enrolled at its first contact (default false). On loopback only, unless
    /// `bring_up_anywhere` says otherwise; behind a proxy on this machine everything comes from loopback.
    pub bring_up: bool,
    /// Bring-up mode for every address (default false): whoever reaches the port becomes a device.
    pub bring_up_anywhere: bool,
    /// Origins of web pages that may ask as boards do, such as a tester, as in "https://tester.example.org"; "*" is
    /// every page (default none: what comes from a web page is refused).
    pub origins: Vec<String>,
    /// The time zone of boards' clocks, as in "Europe/Berlin". Not set by default: the system's.
    pub timezone: Option<String>,
    /// Boards that wait for an operator.
    pub activation: enrolment::Settings,
    /// Firmware images.
    pub firmware: firmware::Settings,
    /// Photos of boards with cameras.
    pub vision: vision::Settings,
    /// What peers may use.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([0, 0, 0, 0], 8_003)),
            also: Vec::new(),
            tls: false,
            host: None,
            public: Vec::new(),
            transport: Transport::Mqtt,
            mqtt_tls: false,
            keep_alive: Span::secs(240),
            allow: Vec::new(),
            bring_up: false,
            bring_up_anywhere: false,
            origins: Vec::new(),
            timezone: None,
            activation: enrolment::Settings::default(),
            firmware: firmware::Settings::default(),
            vision: vision::Settings::default(),
            limits: Limits::default(),
        }
    }
}

/// What boards of one network are told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Public {
    /// The network that the board's address is in, as in "192.168.7.0/24"; "0.0.0.0/0" is every IPv4 address.
    pub from: String,
    /// The host that they are told, a DNS name or an IPv4 address.
    pub host: String,
    /// The port of MQTT, when it is another out there. Default: that of the listener.
    pub mqtt_port: Option<u16>,
    /// The port of this door, when it is another out there. Default: that of the listener.
    pub http_port: Option<u16>,
    /// It is HTTPS and WSS out there, ended by a proxy. Default: as `tls` says.
    pub secure: Option<bool>,
}

/// What peers may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections, all peers together (default 512).
    pub connections: usize,
    /// The same of one address, an IPv6 network of 64 bits counting as one (default 32). Behind a proxy all boards
    /// have the proxy's address: give as much as `connections` then.
    pub connections_per_address: usize,
    /// A request's head, and then its body, must be there within this time each (default "10s").
    pub timeout: Span,
    /// Largest head of a request, 8 KB at least (default "16KB").
    pub head: ByteSize,
    /// Largest body of a request of a board (default "32KB").
    pub body: ByteSize,
    /// Requests a minute of one address, likewise; a board that waits to be claimed asks 20 times (default 300).
    pub requests_per_minute: u32,
    /// Addresses whose requests are counted at once (default 4096).
    pub addresses: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_address: 32,
            timeout: Span::secs(10),
            head: ByteSize::kb(16),
            body: ByteSize::kb(32),
            requests_per_minute: 300,
            addresses: 4_096,
        }
    }
}

impl Settings {
    /// Who enrols without an operator's word.
    pub fn welcome(&self) -> Welcome {
        let bring_up = match (self.bring_up, self.bring_up_anywhere) {
            (false, _) => BringUp::Off,
            (true, false) => BringUp::Loopback,
            (true, true) => BringUp::Anywhere,
        };
        Welcome { allowed: self.allow.iter().filter_map(|text| Allowed::parse(text)).collect(), bring_up }
    }

    /// What boards at this address are told, when it is something of its own.
    pub(super) fn public(&self, address: IpAddr) -> Option<&Public> {
        let address = address.to_canonical();
        self.public.iter().find(|public| public.from.parse::<IpNet>().is_ok_and(|net| net.contains(&address)))
    }

    /// The zone of boards' clocks.
    pub(super) fn zone(&self) -> TimeZone {
        self.timezone.as_deref().and_then(|name| TimeZone::get(name).ok()).unwrap_or_else(TimeZone::system)
    }

    /// What is wrong with them; `path` is the key that they stand under.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut no = |key: String, what: String, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        let a_host = "write a DNS name or an IPv4 address, without a port: firmware knows no IPv6 literals";
        if let Some(host) = self.host.as_deref().filter(|host| !is_host(host)) {
            no("host".into(), format!("{host:?} is no host"), a_host);
        }
        if self.also.len() > 8 {
            no("also".into(), "has more than 8 addresses".to_owned(), "listen on 0.0.0.0 or [::] once a port");
        }
        for (n, address) in self.also.iter().enumerate() {
            let twice = address.port() != 0 && (*address == self.listen || self.also[..n].contains(address));
            if twice {
                no(format!("also[{n}]"), format!("{address} is listened on already"), "remove it");
            }
        }
        for (n, public) in self.public.iter().enumerate() {
            if public.from.parse::<IpNet>().is_err() {
                let what = format!("{:?} is no network", public.from);
                no(format!("public[{n}].from"), what, "write it as in \"192.168.7.0/24\"");
            }
            if !is_host(&public.host) {
                no(format!("public[{n}].host"), format!("{:?} is no host", public.host), a_host);
            }
        }
        for (n, text) in self.allow.iter().enumerate() {
            if Allowed::parse(text).is_none() {
                let remedy = "write a MAC as in \"f4:12:fa:00:00:01\", or its beginning as in \"f4:12:fa:*\"";
                no(format!("allow[{n}]"), format!("{text:?} is no MAC and no beginning of one"), remedy);
            }
        }
        for (n, origin) in self.origins.iter().enumerate() {
            if !is_origin(origin) {
                let remedy = "write it as the browser sends it: \"https://tester.example.org\", \"null\" or \"*\"";
                no(format!("origins[{n}]"), format!("{origin:?} is no origin"), remedy);
            }
        }
        if self.bring_up_anywhere && !self.bring_up {
            let what = "says nothing without bring_up".to_owned();
            no("bring_up_anywhere".into(), what, "set bring_up too, or remove it");
        }
        if self.keep_alive < Span::secs(10) || self.keep_alive > Span::secs(3_600) {
            no("keep_alive".into(), "is not in 10 s to an hour".to_owned(), "leave it out: 240s");
        }
        if let Some(zone) = self.timezone.as_deref().filter(|zone| TimeZone::get(zone).is_err()) {
            no("timezone".into(), format!("{zone:?} is not known here"), "write it as in \"Europe/Berlin\"");
        }
        problems.extend(self.activation.check(&format!("{path}.activation")));
        problems.extend(self.firmware.check(&format!("{path}.firmware")));
        problems.extend(self.vision.check(&format!("{path}.vision")));
        problems.extend(self.limits.check(&format!("{path}.limits")));
        problems
    }
}

impl Limits {
    fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut no = |key: &str, what: &str, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if self.connections == 0 || self.connections_per_address == 0 {
            no("connections", "is 0, or connections_per_address is", "leave both out: 512 and 32");
        }
        if self.timeout.0 < Duration::from_millis(10) || self.timeout > Span::secs(120) {
            no("timeout", "is not in 10 ms to two minutes", "leave it out: 10s");
        }
        if self.head < ByteSize::kb(8) || self.head > ByteSize::mb(1) {
            no("head", "is not in 8 KB to 1 MB", "leave it out: 16KB");
        }
        if self.body < ByteSize::kb(4) || self.body > ByteSize::mb(1) {
            no("body", "is not in 4 KB to 1 MB", "leave it out: 32KB");
        }
        if self.requests_per_minute == 0 || self.addresses < 16 {
            no("requests_per_minute", "is 0, or addresses is less than 16", "leave both out: 300 and 4096");
        }
        problems
    }
}

/// A DNS name or an IPv4 address, as may stand in a URL before the port.
pub(super) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && label.chars().all(fits)
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

fn is_origin(text: &str) -> bool {
    let host = |(scheme, host): (&str, &str)| matches!(scheme, "http" | "https") && !host.contains(['/', ' ', '@']);
    text == "*" || text == "null" || text.split_once("://").is_some_and(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_with_its_key() {
        let settings = Settings {
            host: Some("::1".into()),
            also: vec![SocketAddr::from(([0, 0, 0, 0], 8_002)), SocketAddr::from(([0, 0, 0, 0], 8_003))],
            public: vec![Public { from: "10.0.0.0/40".into(), host: "mqtt://x".into(), ..Public::default() }],
            allow: vec!["*".into()],
            origins: vec!["tester".into()],
            bring_up_anywhere: true,
            keep_alive: Span::secs(1),
            timezone: Some("Europe/Atlantis".into()),
            limits: Limits { connections: 0, ..Limits::default() },
            ..Settings::default()
        };
        let keys: Vec<String> = settings.check("devices").into_iter().map(|problem| problem.key).collect();
        assert_eq!(
            keys,
            [
                "devices.host",
                "devices.also[1]",
                "devices.public[0].from",
                "devices.public[0].host",
                "devices.allow[0]",
                "devices.origins[0]",
                "devices.bring_up_anywhere",
                "devices.keep_alive",
                "devices.timezone",
                "devices.limits.connections",
            ]
        );
        assert_eq!(Settings::default().check("devices"), []);
    }

    #[test]
    fn a_host_is_what_may_stand_before_a_port() {
        for good in ["gateway", "gateway.local", "192.168.7.2", "a-b.example.org.", "my_box"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", ".", "a..b", "[::1]", "::1", "a:1", "a/b", "a b", "a@b", "ü", &"a".repeat(64)] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
