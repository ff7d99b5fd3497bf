//! `[mqtt]`: where the door listens and what it allows.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hub::QueueLimits;
use super::transport::{Listener, TlsSettings, WebSocketSettings, WebSocketTlsSettings};
use crate::domain::{ByteSize, Problem, Span};
use crate::door::credentials::{self, CertificateSettings};
use crate::topics::{self, Rule, Who};

/// The MQTT door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Listen for plain MQTT (default true).
    pub plain: bool,
    /// Address and port for plain MQTT 3.1.1 and 5 (default "0.0.0.0:1883"; port 0 takes a free one).
    pub listen: SocketAddr,
    /// Bring-up mode: admit clients that have no credentials (default false). On loopback only, unless
    /// `bring_up_anywhere` says otherwise.
    pub bring_up: bool,
    /// Bring-up mode from every address, not only from loopback (default false): anybody in reach may be any device.
    pub bring_up_anywhere: bool,
    /// MQTT 5 clients that ask for a longer keep-alive, or for none, are told to use this (default "0s": they may
    /// have what they want; a 3.1.1 client cannot be told).
    pub keep_alive_max: Span,
    /// Answer a refused subscription of MQTT 5 with 0x80, as 3.1.1 does, instead of with the reason (default false):
    /// for client libraries that know no other code.
    pub plain_refusals: bool,
    /// How often the figures below `$SYS/broker` are published (default "10s"; "0s" never).
    pub sys_interval: Span,
    /// Admit clients that give no user name and no password, with the rights that rules give to "anonymous" and
    /// "everyone" (default false). On loopback only, unless `anonymous_anywhere` says otherwise.
    pub anonymous: bool,
    /// Anonymous clients from every address, not only from loopback (default false).
    pub anonymous_anywhere: bool,
    /// Rules that widen or narrow who may read and publish what, beside those that `voxgate rule add` keeps in the
    /// store. None by default; each is a table `[[mqtt.rules]]` of `subject`, `access` and `filter`.
    pub rules: Vec<Rule>,
    /// What wrong passwords cost.
    pub credentials: credentials::Settings,
    /// Whose client certificate is whose.
    pub certificates: CertificateSettings,
    /// MQTT over TLS.
    pub tls: TlsSettings,
    /// MQTT over WebSocket.
    pub websocket: WebSocketSettings,
    /// MQTT over WebSocket over TLS, with the certificate of `[mqtt.tls]`.
    pub websocket_tls: WebSocketTlsSettings,
    /// Limits; each counts over all listeners together.
    pub limits: Limits,
    /// The bus to operators' clients.
    pub bus: BusSettings,
}

impl Default for Settings {
    fn default() -> Self {
        let listen = SocketAddr::from(([0, 0, 0, 0], 1883));
        Self {
            plain: true,
            listen,
            bring_up: false,
            bring_up_anywhere: false,
            keep_alive_max: Span::secs(0),
            plain_refusals: false,
            sys_interval: Span::secs(10),
            anonymous: false,
            anonymous_anywhere: false,
            rules: Vec::new(),
            credentials: credentials::Settings::default(),
            certificates: CertificateSettings::default(),
            tls: TlsSettings::default(),
            websocket: WebSocketSettings::default(),
            websocket_tls: WebSocketTlsSettings::default(),
            limits: Limits::default(),
            bus: BusSettings::default(),
        }
    }
}

/// What one client, and all of them together, may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections, all clients together (default 4000).
    pub connections: usize,
    /// New connections a second; more wait in the system's backlog (default 1000).
    pub connects_per_second: u32,
    /// Connections that have not yet said who they are (default 512).
    pub unauthenticated: usize,
    /// The same of one address (an IPv6 network of 64 bits counts as one); loopback is not counted (default 128).
    pub unauthenticated_per_address: usize,
    /// How long such a connection may live (default "10s").
    pub connect_time: Span,
    /// Largest CONNECT packet (default "16KB").
    pub connect_packet: ByteSize,
    /// Largest packet after it (default "4608KB": an image of 4 MB and its head).
    pub packet: ByteSize,
    /// Packets a second that one client may send; beyond it the client is read more slowly (default 400).
    pub messages_per_second: u32,
    /// Bytes a second that one client may send, measured over ten seconds; beyond it the client is read more
    /// slowly (default "1MB").
    pub bytes_per_second: ByteSize,
    /// Publishes of one client that may wait for their acknowledgement (default 64).
    pub in_flight: u16,
    /// Connections of one device, with different client ids (default 4).
    pub links_per_device: usize,
    /// Takeovers of one device in 60 s before newcomers are refused for 60 s (default 5).
    pub takeovers: usize,
    /// Topic aliases that an MQTT 5 client may use, and that it is sent at most; 0 is none (default 16).
    pub topic_aliases: u16,
    /// How long a session may outlive its connection; a client that asks for more gets this, 3.1.1 clients that
    /// keep their session too (default "7d"; "0s" keeps none).
    pub session_expiry: Span,
    /// Sessions that outlive their connections, all clients together (default 10000).
    pub sessions: usize,
    /// The same of one user (default 16).
    pub sessions_per_user: usize,
    /// Filters that one client may subscribe to (default 64).
    pub subscriptions: usize,
    /// Longest topic or filter, 64 to 65535 bytes (default 1024).
    pub topic_length: usize,
    /// Most levels of a topic or filter, at least 8 (default 32).
    pub topic_levels: usize,
    /// Memory for messages of all clients together: those that wait, are under way or retained, and large packets
    /// that are half there. When it is used up the session that holds most is dropped, what devices should hear is
    /// refused, and no large packet is begun (default "256MB").
    pub memory: ByteSize,
    /// Packets that may wait for a device (default 512).
    pub downlink_packets: usize,
    /// Bytes that may wait for a device (default "1MB").
    pub downlink_bytes: ByteSize,
    /// Messages that may wait for a watcher, at most 30000: beyond it the watcher is disconnected, and a session
    /// that has nobody connected is dropped (default 4096).
    pub watcher_packets: usize,
    /// Bytes that may wait for a watcher, likewise (default "16MB").
    pub watcher_bytes: ByteSize,
    /// How long a client may go unread because the gateway cannot take what it sends (default "60s").
    pub stuck: Span,
    /// How long connections get to end when the gateway stops (default "3s").
    pub grace: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_000,
            connects_per_second: 1_000,
            unauthenticated: 512,
            unauthenticated_per_address: 128,
            connect_time: Span::secs(10),
            connect_packet: ByteSize::kb(16),
            packet: ByteSize::kb(4_608),
            messages_per_second: 400,
            bytes_per_second: ByteSize::mb(1),
            in_flight: 64,
            links_per_device: 4,
            takeovers: 5,
            topic_aliases: 16,
            session_expiry: Span::secs(7 * 86_400),
            sessions: 10_000,
            sessions_per_user: 16,
            subscriptions: 64,
            topic_length: 1_024,
            topic_levels: 32,
            memory: ByteSize::mb(256),
            downlink_packets: 512,
            downlink_bytes: ByteSize::mb(1),
            watcher_packets: 4_096,
            watcher_bytes: ByteSize::mb(16),
            stuck: Span::secs(60),
            grace: Span::secs(3),
        }
    }
}

/// The bus to operators' clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BusSettings {
    /// Messages under way at once, 16 to 4096 (default 4096).
    pub slots: usize,
    /// Bytes under way at once (default "16MB").
    pub bytes: ByteSize,
    /// How often the canary flies (default "1s").
    pub canary: Span,
    /// The bus is restarted when the canary is away for so long (default "5s").
    pub canary_deadline: Span,
    /// Restarts within `restart_window` before the bus is given up (default 5).
    pub restarts: usize,
    /// See `restarts` (default "10m").
    pub restart_window: Span,
    /// Retained messages of clients; the gateway's own do not count (default 10000).
    pub retained: usize,
    /// Bytes of clients' retained messages (default "16MB").
    pub retained_bytes: ByteSize,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            slots: 4_096,
            bytes: ByteSize::mb(16),
            canary: Span::secs(1),
            canary_deadline: Span::secs(5),
            restarts: 5,
            restart_window: Span::secs(600),
            retained: 10_000,
            retained_bytes: ByteSize::mb(16),
        }
    }
}

/// Most messages that may wait for one session.
const MAX_QUEUE: usize = 30_000;

impl Limits {
    /// It is a topic, and within the limits.
    pub(super) fn sound_topic(&self, topic: &str) -> bool {
        self.fits(topic) && topics::valid_topic(topic)
    }

    /// It is a filter, and within the limits.
    pub(super) fn sound_filter(&self, filter: &str) -> bool {
        self.fits(filter) && topics::valid_filter(filter)
    }

    fn fits(&self, text: &str) -> bool {
        text.len() <= self.topic_length && text.bytes().filter(|b| *b == b'/').count() < self.topic_levels
    }

    /// What may wait for a client.
    pub(super) fn queue(&self, who: &Who) -> QueueLimits {
        match who {
            Who::Device(_) => QueueLimits { packets: self.downlink_packets, bytes: self.downlink_bytes.len() },
            _ => QueueLimits { packets: self.watcher_packets, bytes: self.watcher_bytes.len() },
        }
    }
}

impl Settings {
    /// The listeners that are on, and where each listens.
    pub(super) fn listeners(&self) -> Vec<(Listener, SocketAddr)> {
        let all = [
            (self.plain, Listener::Tcp, self.listen),
            (self.tls.enabled, Listener::Tls, self.tls.listen),
            (self.websocket.enabled, Listener::WebSocket, self.websocket.listen),
            (self.websocket_tls.enabled, Listener::WebSocketTls, self.websocket_tls.listen),
        ];
        all.into_iter().filter(|(on, ..)| *on).map(|(_, listener, addr)| (listener, addr)).collect()
    }

    /// Does a listener need the certificate.
    pub(super) fn wants_tls(&self) -> bool {
        self.listeners().iter().any(|(listener, _)| listener.secure())
    }

    /// What is wrong with the files that it names, or what should not stay so; reads them.
    /// `now` in seconds since 1970.
    pub fn check_files(&self, now: i64) -> Result<Vec<String>, Problem> {
        if self.wants_tls() { super::transport::check_files(&self.tls, now) } else { Ok(Vec::new()) }
    }

    /// What is wrong with them; `path` is the key that they stand under.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let limits = &self.limits;
        let mut problems = Vec::new();
        let mut positive = |key: &str, value: u64| {
            if value == 0 {
                problems.push(Problem::new(format!("{path}.{key}"), "is 0", "give at least 1"));
            }
        };
        positive("limits.connections", limits.connections as u64);
        positive("limits.connects_per_second", limits.connects_per_second.into());
        positive("limits.unauthenticated", limits.unauthenticated as u64);
        positive("limits.messages_per_second", limits.messages_per_second.into());
        positive("limits.bytes_per_second", limits.bytes_per_second.0);
        positive("limits.in_flight", limits.in_flight.into());
        positive("limits.links_per_device", limits.links_per_device as u64);
        positive("limits.unauthenticated_per_address", limits.unauthenticated_per_address as u64);
        positive("limits.subscriptions", limits.subscriptions as u64);
        positive("limits.downlink_packets", limits.downlink_packets as u64);
        positive("limits.watcher_packets", limits.watcher_packets as u64);
        if limits.watcher_packets > MAX_QUEUE {
            let key = format!("{path}.limits.watcher_packets");
            problems.push(Problem::new(key, "is more than 30000", "give less: a message that waits has a packet id"));
        }
        if !(64..=65_535).contains(&limits.topic_length) {
            let key = format!("{path}.limits.topic_length");
            problems.push(Problem::new(key, "is not in 64 to 65535", "leave it out: 1024"));
        }
        if limits.topic_levels < 8 {
            let key = format!("{path}.limits.topic_levels");
            problems.push(Problem::new(key, "is less than 8: the gateway's own topics need them", "leave it out: 32"));
        }
        if limits.memory.0 < 2 * self.bus.bytes.0.max(limits.packet.0) {
            let key = format!("{path}.limits.memory");
            let what = "is less than two of the largest packets, or than twice mqtt.bus.bytes";
            problems.push(Problem::new(key, what, "leave it out: 256MB"));
        }
        if !(16..=4_096).contains(&self.bus.slots) {
            problems.push(Problem::new(format!("{path}.bus.slots"), "is not in 16 to 4096", "leave it out: 4096"));
        }
        if self.bus.canary_deadline <= self.bus.canary {
            let what = "is not longer than the canary's interval";
            problems.push(Problem::new(format!("{path}.bus.canary_deadline"), what, "leave it out: 5s"));
        }
        if limits.connect_packet.0 < 256 || limits.packet < limits.connect_packet {
            let what = "packets need at least 256 bytes, and no less than a connect packet";
            problems.push(Problem::new(format!("{path}.limits.packet"), what, "leave both out: 16KB and 4608KB"));
        }
        if self.bring_up_anywhere && !self.bring_up {
            let key = format!("{path}.bring_up_anywhere");
            problems.push(Problem::new(key, "says nothing without bring_up", "set bring_up too, or remove it"));
        }
        if self.anonymous_anywhere && !self.anonymous {
            let key = format!("{path}.anonymous_anywhere");
            problems.push(Problem::new(key, "says nothing without anonymous", "set anonymous too, or remove it"));
        }
        if self.anonymous && self.bring_up {
            let what = "cannot be on together with bring_up, which makes a device of the same client";
            problems.push(Problem::new(format!("{path}.anonymous"), what, "leave one of them out"));
        }
        problems.extend(self.credentials.check(&format!("{path}.credentials")));
        for (at, rule) in self.rules.iter().enumerate() {
            if let Err(error) = rule.check() {
                problems.push(Problem::new(format!("{path}.rules[{at}].filter"), error.what, error.remedy));
            }
        }
        problems.extend(self.tls.check(&format!("{path}.tls"), self.wants_tls()));
        problems.extend(self.websocket.check(&format!("{path}.websocket")));
        problems.extend(self.check_addresses(path));
        problems
    }

    fn check_addresses(&self, path: &str) -> Option<Problem> {
        let listeners = self.listeners();
        if listeners.is_empty() {
            let what = "is false, and so is every other listener: nobody could connect";
            return Some(Problem::new(format!("{path}.plain"), what, "leave it out, or enable another listener"));
        }
        let taken = |(n, (_, addr)): (usize, &(Listener, SocketAddr))| {
            addr.port() != 0 && listeners[..n].iter().any(|(_, other)| other == addr)
        };
        let (listener, addr) = listeners.iter().enumerate().find(|one| taken(*one)).map(|(_, one)| one)?;
        let table = match listener {
            Listener::Tcp => "listen",
            Listener::Tls => "tls.listen",
            Listener::WebSocket => "websocket.listen",
            Listener::WebSocketTls => "websocket_tls.listen",
        };
        let what = format!("is {addr}, where another listener is already");
        Some(Problem::new(format!("{path}.{table}"), what, "give each listener a port of its own"))
    }
}
