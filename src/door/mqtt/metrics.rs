//! What the door counts.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::hub::Figures;
use super::transport::Listener;

/// Open connections by listener.
pub const CONNECTIONS: &str = "voxgate_mqtt_connections";
/// Connection attempts by result.
pub const CONNECTS: &str = "voxgate_mqtt_connects";
/// Ended connections by reason.
pub const ENDINGS: &str = "voxgate_mqtt_endings";
/// Packets by direction and type.
pub const PACKETS: &str = "voxgate_mqtt_packets";
/// Messages dropped or refused by cause.
pub const DROPS: &str = "voxgate_mqtt_drops";
/// Acknowledgements that are owed to publishers.
pub const OWED: &str = "voxgate_mqtt_owed_acks";
/// Sessions that outlive their connections.
pub const SESSIONS: &str = "voxgate_mqtt_sessions";
/// Such sessions that ended, by reason.
pub const SESSIONS_ENDED: &str = "voxgate_mqtt_sessions_ended";
/// Subscriptions.
pub const SUBSCRIPTIONS: &str = "voxgate_mqtt_subscriptions";
/// Messages that wait for subscribers.
pub const QUEUED: &str = "voxgate_mqtt_queued_messages";
/// Bytes that wait for subscribers.
pub const QUEUED_BYTES: &str = "voxgate_mqtt_queued_bytes";
/// Bytes of the memory for messages that are taken.
pub const MEMORY: &str = "voxgate_mqtt_memory_bytes";
/// Bytes of payloads by direction.
pub const PAYLOAD: &str = "voxgate_mqtt_payload_bytes";
/// Retained messages.
pub const RETAINED: &str = "voxgate_mqtt_retained_messages";
/// Bytes by direction.
pub const BYTES: &str = "voxgate_mqtt_bytes";
/// From `Link::send` to the socket write of an audio frame, seconds.
pub const LATENESS: &str = "voxgate_mqtt_audio_write_lateness_seconds";
/// Messages on the bus that are not yet read back.
pub const BUS_LIVE: &str = "voxgate_bus_live_messages";
/// Bytes on the bus that are not yet read back.
pub const BUS_BYTES: &str = "voxgate_bus_live_bytes";
/// Restarts of the bus.
pub const BUS_RESTARTS: &str = "voxgate_bus_restarts";
/// 1 when the bus does not work.
pub const BUS_DEGRADED: &str = "voxgate_bus_degraded";

/// When the TLS certificate ends, seconds since 1970.
pub const CERTIFICATE_EXPIRY: &str = "voxgate_tls_certificate_expiry_seconds";
/// New TLS files by result.
pub const TLS_RELOADS: &str = "voxgate_tls_reloads";

/// What a connection attempt comes to.
pub const RESULTS: [&str; 39] = [
    "ok",
    "limit",
    "address_limit",
    "accept_error",
    "no_connect",
    "gone",
    "malformed",
    "protocol_error",
    "too_large",
    "version",
    "auth_method",
    "no_credentials",
    "bad_credentials",
    "certificate",
    "passwords_busy",
    "client_id",
    "will",
    "too_many_links",
    "duplicate",
    "too_many_sessions",
    "storage",
    // the handshake of tls
    "tls_timeout",
    "tls_gone",
    "tls_garbage",
    "tls_incompatible",
    "tls_refused",
    "tls_no_certificate",
    "tls_bad_certificate",
    "tls_expired",
    "tls_revoked",
    "tls_failed",
    // the request of websocket
    "ws_timeout",
    "ws_gone",
    "ws_head",
    "ws_origin",
    "ws_path",
    "ws_upgrade",
    "ws_version",
    "ws_subprotocol",
];
/// Why sessions end.
pub const SESSION_ENDS: [&str; 6] = ["expired", "left", "replaced", "overflow", "revoked", "removed"];
/// Why connections end.
pub const REASONS: [&str; 19] = [
    "left",
    "peer_gone",
    "keep_alive",
    "taken_over",
    "too_slow",
    "stuck",
    "shutdown",
    "closed",
    "malformed",
    "protocol_error",
    "too_large",
    "version",
    "topic_alias",
    "bad_topic",
    "no_pubrel",
    "internal",
    "memory",
    "storage",
    "panic",
];
/// Why something is dropped or refused.
pub const CAUSES: [&str; 21] = [
    "malformed",
    "not_allowed",
    "retained_command",
    "subscription",
    "slowed",
    "withheld",
    "downlink_queue_full",
    "client_max_packet",
    "will",
    "bus_copy",
    "bus_token",
    "bus_own",
    "retained_quota",
    "retained_flood",
    "too_large_to_keep",
    "shared",
    "memory",
    "storage",
    "ws_protocol",
    "ws_text",
    "ws_too_long",
];
/// Types of packets that come.
const TYPES_IN: [&str; 9] =
    ["publish", "puback", "pubrec", "pubrel", "pubcomp", "subscribe", "unsubscribe", "pingreq", "disconnect"];
/// Types of packets that go.
const TYPES_OUT: [&str; 9] =
    ["publish", "puback", "pubrec", "pubrel", "pubcomp", "suback", "unsuback", "pingresp", "disconnect"];

/// An open connection, counted.
#[derive(Debug)]
pub(super) struct Open(Gauge<i64, AtomicI64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

type Labels = [(&'static str, &'static str); 1];
type PacketLabels = [(&'static str, &'static str); 2];

type Counted = (&'static str, Counter);

/// Counters that every packet touches: looked up once, not under a lock for each.
#[derive(Debug, Clone)]
struct Packets {
    incoming: Arc<[Counted]>,
    outgoing: Arc<[Counted]>,
}

impl Packets {
    fn new(family: &Family<PacketLabels, Counter>) -> Self {
        let all = |direction, types: [&'static str; 9]| {
            let counter = |kind| (kind, family.get_or_create_owned(&[("direction", direction), ("type", kind)]));
            types.into_iter().map(counter).collect()
        };
        Self { incoming: all("in", TYPES_IN), outgoing: all("out", TYPES_OUT) }
    }

    fn count(packets: &[Counted], kind: &str) {
        let counter = packets.iter().find(|(name, _)| *name == kind);
        debug_assert!(counter.is_some(), "{kind} is no type of packet");
        if let Some((_, counter)) = counter {
            counter.inc();
        }
    }
}

/// The door's metrics. Cheap to clone, and small: each connection has some.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Counters>);

impl Deref for Metrics {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0
    }
}

/// What [`Metrics`] shares.
#[derive(Debug)]
pub struct Counters {
    /// When the TLS certificate ends, seconds since 1970.
    pub certificate_expiry: Gauge<i64, AtomicI64>,
    /// Owed acknowledgements.
    pub owed: Gauge<i64, AtomicI64>,
    /// Bytes that came.
    pub bytes_in: Counter,
    /// Bytes that went.
    pub bytes_out: Counter,
    sessions: Gauge<i64, AtomicI64>,
    sessions_ended: Family<Labels, Counter>,
    subscriptions: Gauge<i64, AtomicI64>,
    queued: Gauge<i64, AtomicI64>,
    queued_bytes: Gauge<i64, AtomicI64>,
    retained: Gauge<i64, AtomicI64>,
    memory: Gauge<i64, AtomicI64>,
    /// Bytes of payloads that came.
    pub payload_in: Counter,
    /// Bytes of payloads that went.
    pub payload_out: Counter,
    /// Lateness of audio frames, seconds.
    pub lateness: Histogram,
    /// Messages on the bus.
    pub bus_live: Gauge<i64, AtomicI64>,
    /// Bytes on the bus.
    pub bus_bytes: Gauge<i64, AtomicI64>,
    /// Restarts of the bus.
    pub bus_restarts: Counter<u64, AtomicU64>,
    /// 1 when the bus does not work.
    pub bus_degraded: Gauge<i64, AtomicI64>,
    by_listener: Family<Labels, Gauge<i64, AtomicI64>>,
    tls_reloads: Family<Labels, Counter>,
    connects: Family<Labels, Counter>,
    endings: Family<Labels, Counter>,
    packets: Packets,
    drops: Family<Labels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::register(&mut Registry::default())
    }
}

impl Metrics {
    /// Registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        let buckets = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];
        let bytes = Family::<Labels, Counter>::default();
        // one after the other: each lookup holds the family's lock to the end of its statement
        let bytes_in = bytes.get_or_create(&[("direction", "in")]).clone();
        let bytes_out = bytes.get_or_create(&[("direction", "out")]).clone();
        let payload = Family::<Labels, Counter>::default();
        let payload_in = payload.get_or_create(&[("direction", "in")]).clone();
        let payload_out = payload.get_or_create(&[("direction", "out")]).clone();
        let packets = Family::<PacketLabels, Counter>::default();
        let metrics = Counters {
            bytes_in,
            bytes_out,
            sessions: Gauge::default(),
            sessions_ended: Family::default(),
            subscriptions: Gauge::default(),
            queued: Gauge::default(),
            queued_bytes: Gauge::default(),
            retained: Gauge::default(),
            memory: Gauge::default(),
            payload_in,
            payload_out,
            certificate_expiry: Gauge::default(),
            owed: Gauge::default(),
            lateness: Histogram::new(buckets),
            bus_live: Gauge::default(),
            bus_bytes: Gauge::default(),
            bus_restarts: Counter::default(),
            bus_degraded: Gauge::default(),
            by_listener: Family::default(),
            tls_reloads: Family::default(),
            connects: Family::default(),
            endings: Family::default(),
            packets: Packets::new(&packets),
            drops: Family::default(),
        };
        registry.register(CONNECTIONS, "Open MQTT connections, by listener", metrics.by_listener.clone());
        registry.register(
            CERTIFICATE_EXPIRY,
            "When the TLS certificate ends, in seconds since 1970; 0 while no listener has one",
            metrics.certificate_expiry.clone(),
        );
        registry.register(
            TLS_RELOADS,
            "TLS files that changed and were read anew, by result",
            metrics.tls_reloads.clone(),
        );
        registry.register(CONNECTS, "MQTT connection attempts, by result", metrics.connects.clone());
        registry.register(ENDINGS, "MQTT connections that ended, by reason", metrics.endings.clone());
        registry.register(PACKETS, "MQTT packets after CONNECT and CONNACK, by direction and type", packets);
        registry.register(
            DROPS,
            "Messages dropped or refused, and clients slowed down, by cause",
            metrics.drops.clone(),
        );
        registry.register(OWED, "Acknowledgements that are owed to publishers", metrics.owed.clone());
        registry.register(BYTES, "Bytes after CONNECT, by direction", bytes);
        registry.register(SESSIONS, "Sessions that outlive their connections", metrics.sessions.clone());
        registry.register(
            SESSIONS_ENDED,
            "Sessions that outlived their connections and ended, by reason",
            metrics.sessions_ended.clone(),
        );
        registry.register(SUBSCRIPTIONS, "Subscriptions of all sessions", metrics.subscriptions.clone());
        registry.register(QUEUED, "Messages that wait for subscribers", metrics.queued.clone());
        registry.register(QUEUED_BYTES, "Bytes that wait for subscribers", metrics.queued_bytes.clone());
        registry.register(
            MEMORY,
            "Memory that messages of all clients take, of mqtt.limits.memory",
            metrics.memory.clone(),
        );
        registry.register(PAYLOAD, "Bytes of the payloads of publishes, by direction", payload);
        registry.register(RETAINED, "Retained messages", metrics.retained.clone());
        registry.register(
            LATENESS,
            "Time from the queueing of a downlink audio frame to its write to the socket",
            metrics.lateness.clone(),
        );
        registry.register(BUS_LIVE, "Messages on the bus that are not read back yet", metrics.bus_live.clone());
        registry.register(BUS_BYTES, "Bytes on the bus that are not read back yet", metrics.bus_bytes.clone());
        registry.register(BUS_RESTARTS, "Restarts of the bus to operators' clients", metrics.bus_restarts.clone());
        registry.register(
            BUS_DEGRADED,
            "1 while the bus to operators' clients does not work, else 0",
            metrics.bus_degraded.clone(),
        );
        Self(Arc::new(metrics))
    }
}

impl Counters {
    /// Makes a sample of each label, for `docs/metrics.md`; not for a registry that is served.
    pub fn show_labels(&self) {
        for listener in Listener::ALL {
            drop(self.open(listener));
        }
        for result in ["ok", "failed"] {
            drop(self.tls_reloads.get_or_create(&[("result", result)]));
        }
        for result in RESULTS {
            drop(self.connects.get_or_create(&[("result", result)]));
        }
        for reason in REASONS {
            drop(self.endings.get_or_create(&[("reason", reason)]));
        }
        for reason in SESSION_ENDS {
            drop(self.sessions_ended.get_or_create(&[("reason", reason)]));
        }
        for cause in CAUSES {
            drop(self.drops.get_or_create(&[("cause", cause)]));
        }
    }

    /// Counts a connection attempt; the result is one of [`RESULTS`], which `docs/metrics.md` is made from.
    pub fn connect(&self, result: &'static str) {
        debug_assert!(RESULTS.contains(&result), "{result} is missing in RESULTS");
        self.connects.get_or_create(&[("result", result)]).inc();
    }

    /// Counts an open connection for as long as the answer lives.
    pub(super) fn open(&self, listener: Listener) -> Open {
        let gauge = self.by_listener.get_or_create_owned(&[("listener", listener.label())]);
        gauge.inc();
        Open(gauge)
    }

    /// How many connections of a listener are open.
    pub fn connections_of(&self, listener: Listener) -> i64 {
        self.by_listener.get_or_create(&[("listener", listener.label())]).get()
    }

    /// Counts new TLS files: `"ok"` or `"failed"`.
    pub(super) fn tls_reload(&self, result: &'static str) {
        self.tls_reloads.get_or_create(&[("result", result)]).inc();
    }

    /// How often new TLS files came to this result.
    pub fn tls_reloads(&self, result: &'static str) -> u64 {
        self.tls_reloads.get_or_create(&[("result", result)]).get()
    }

    /// Counts an ended connection; the reason is one of [`REASONS`].
    pub fn ended(&self, reason: &'static str) {
        debug_assert!(REASONS.contains(&reason), "{reason} is missing in REASONS");
        self.endings.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a kept session that ended; the reason is one of [`SESSION_ENDS`].
    pub fn session_ended(&self, reason: &'static str) {
        debug_assert!(SESSION_ENDS.contains(&reason), "{reason} is missing in SESSION_ENDS");
        self.sessions_ended.get_or_create(&[("reason", reason)]).inc();
    }

    /// How many kept sessions ended for this reason.
    pub fn sessions_ended(&self, reason: &'static str) -> u64 {
        self.sessions_ended.get_or_create(&[("reason", reason)]).get()
    }

    /// Sets what is counted now and then only.
    pub(super) fn figures(&self, figures: &Figures) {
        let set = |gauge: &Gauge<i64, AtomicI64>, n: usize| {
            gauge.set(i64::try_from(n).unwrap_or(i64::MAX));
        };
        set(&self.sessions, figures.kept);
        set(&self.subscriptions, figures.subscriptions);
        set(&self.queued, figures.waiting);
        set(&self.queued_bytes, figures.waiting_bytes);
        set(&self.retained, figures.retained);
        set(&self.memory, figures.memory);
    }

    /// Counts a packet that came.
    pub fn packet_in(&self, kind: &'static str) {
        Packets::count(&self.packets.incoming, kind);
    }

    /// Counts a packet that went.
    pub fn packet_out(&self, kind: &'static str) {
        Packets::count(&self.packets.outgoing, kind);
    }

    /// Counts something that was dropped or refused; the cause is one of [`CAUSES`].
    pub fn dropped(&self, cause: &'static str) {
        debug_assert!(CAUSES.contains(&cause), "{cause} is missing in CAUSES");
        self.drops.get_or_create(&[("cause", cause)]).inc();
    }

    /// How many packets of a type went `"in"` or `"out"`.
    pub fn packets(&self, direction: &'static str, kind: &'static str) -> u64 {
        let packets = if direction == "in" { &self.packets.incoming } else { &self.packets.outgoing };
        packets.iter().find(|(name, _)| *name == kind).map_or(0, |(_, counter)| counter.get())
    }

    /// How many packets of all types came, and how many went.
    pub fn all_packets(&self) -> (u64, u64) {
        let sum = |packets: &[Counted]| packets.iter().map(|(_, counter)| counter.get()).sum();
        (sum(&self.packets.incoming), sum(&self.packets.outgoing))
    }

    /// How many messages were dropped or refused, for whatever cause.
    pub fn lost_messages(&self) -> u64 {
        let no_message = ["subscription", "slowed", "withheld", "ws_protocol", "ws_text", "ws_too_long"];
        // looked up one by one: a family cannot be listed
        CAUSES
            .iter()
            .filter(|cause| !no_message.contains(*cause))
            .filter_map(|cause| self.drops.get(&[("cause", cause)]).map(|n| n.get()))
            .sum()
    }

    /// How often something was dropped or refused for this cause.
    pub fn drops(&self, cause: &'static str) -> u64 {
        self.drops.get_or_create(&[("cause", cause)]).get()
    }

    /// How many connections ended for this reason.
    pub fn endings(&self, reason: &'static str) -> u64 {
        self.endings.get_or_create(&[("reason", reason)]).get()
    }

    /// How many connection attempts had this result.
    pub fn connects(&self, result: &'static str) -> u64 {
        self.connects.get_or_create(&[("result", result)]).get()
    }
}
