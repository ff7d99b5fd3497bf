//! What a board is told, in the form that stock firmware reads.
//!
//! Each text and number in `mqtt` and `websocket` goes into the board's flash under its own name, which has at most
//! 15 characters there, and 4,000 bytes of value; a scheme in the endpoint, or a version that is not of numbers, ends
//! firmware in a loop of restarts. So all of that is made here, and a test looks at every answer.

use std::net::IpAddr;

use axum::http::HeaderMap;
use serde_json::{Map, Value, json};

use super::request::{Facts, host};
use super::{Door, Peer, Settings, WEBSOCKET};
use crate::domain::DeviceId;
use crate::door::credentials::Enrolled;
use crate::door::enrolment::Waiting;
use crate::store::records::Transport;

/// The port on which firmware speaks TLS, and on no other.
const TLS_PORT: u16 = 8_883;
/// How long a board that waits may show its code, as it is told.
const ACTIVATION_MS: u32 = 30_000;

/// How the board sees this gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// A DNS name or an IPv4 address.
    pub host: String,
    http_port: u16,
    mqtt_port: Option<u16>,
    secure: bool,
}

impl Seen {
    /// By the settings; else as it reached this door. None when that is no host that firmware could use.
    pub fn by(door: &Door, peer: &Peer, headers: &HeaderMap) -> Option<Self> {
        // firmware may leave the port out, whatever it is
        let reached = || host(headers).map(|(host, port)| (host, port.unwrap_or(door.port)));
        Self::from(&door.settings, door.port, Some(peer.address().ip()), reached)
    }

    /// By the settings; else by the host and port with which the board `reached` the door. `address` is the board's.
    pub fn from(
        settings: &Settings,
        port: u16,
        address: Option<IpAddr>,
        reached: impl FnOnce() -> Option<(String, u16)>,
    ) -> Option<Self> {
        let secure = settings.tls;
        if let Some(public) = address.and_then(|address| settings.public(address)) {
            return Some(Self {
                host: public.host.clone(),
                http_port: public.http_port.unwrap_or(port),
                mqtt_port: public.mqtt_port,
                secure: public.secure.unwrap_or(secure),
            });
        }
        if let Some(host) = settings.host.clone() {
            return Some(Self { host, http_port: port, mqtt_port: None, secure });
        }
        let (host, http_port) = reached()?;
        Some(Self { host, http_port, mqtt_port: None, secure })
    }

    /// The port of this door, as the board sees it.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// An address at this door. The port is always there: firmware takes a colon further on for its beginning.
    pub fn url(&self, plain: &str, secure: &str, path: &str) -> String {
        format!("{}://{}:{}{path}", if self.secure { secure } else { plain }, self.host, self.http_port)
    }
}

/// What every answer has: the time, and that there is nothing new.
pub(super) fn base(door: &Door, facts: &Facts) -> Map<String, Value> {
    let mut answer = Map::new();
    if let Some(time) = server_time(door) {
        answer.insert("server_time".into(), time);
    }
    // its own version, and no address: that is "no news"
    let version = facts.version.as_ref().map_or_else(|| "0.0.0".to_owned(), ToString::to_string);
    answer.insert("firmware".into(), json!({"version": version, "url": ""}));
    answer
}

fn server_time(door: &Door) -> Option<Value> {
    let now = i64::try_from(door.parts.clock.wall().0).ok().filter(|ms| *ms > 0)?;
    let stamp = jiff::Timestamp::from_millisecond(now).ok()?;
    let minutes = door.zone.to_offset(stamp).seconds() / 60;
    Some(json!({"timestamp": now, "timezone_offset": minutes}))
}

/// What a board gets that may come in; none when the door that it should go to is not open.
pub(super) fn credentials(
    door: &Door,
    seen: &Seen,
    device: &DeviceId,
    enrolled: &Enrolled,
) -> Option<Map<String, Value>> {
    let mut answer = Map::new();
    // firmware that finds `mqtt` does not look at `websocket`
    let wanted = enrolled.transport.unwrap_or(door.settings.transport);
    if wanted == Transport::Mqtt
        && let Some(endpoint) = endpoint(door, seen)
    {
        answer.insert("mqtt".into(), mqtt(door, &endpoint, device, enrolled));
    }
    if door.parts.doors.websocket {
        let websocket = json!({
            "url": seen.url("ws", "wss", WEBSOCKET),
            "token": enrolled.secret.reveal(),
            "version": 1,
        });
        answer.insert("websocket".into(), websocket);
    }
    (!answer.is_empty()).then_some(answer)
}

fn mqtt(door: &Door, endpoint: &str, device: &DeviceId, enrolled: &Enrolled) -> Value {
    json!({
        "endpoint": endpoint,
        "client_id": device.as_str(),
        "username": device.as_str(),
        "password": enrolled.secret.reveal(),
        "publish_topic": format!("xz/{device}/up"),
        // firmware does not ask for it, older one and py-xiaozhi do
        "subscribe_topic": format!("xz/{device}/down"),
        "keepalive": door.settings.keep_alive.0.as_secs(),
    })
}

/// Host and port, without a scheme. None when no listener is on, or on a port that firmware takes for another.
fn endpoint(door: &Door, seen: &Seen) -> Option<String> {
    let (doors, tls) = (&door.parts.doors, door.settings.mqtt_tls);
    let listener = if tls { doors.mqtts } else { doors.mqtt };
    let port = seen.mqtt_port.or(listener).filter(|port| (*port == TLS_PORT) == tls)?;
    Some(format!("{}:{port}", seen.host))
}

/// What a board gets that waits for an operator.
pub(super) fn activation(waiting: &Waiting, message: &str) -> Value {
    json!({
        "message": message,
        "code": waiting.code,
        "challenge": waiting.challenge,
        "timeout_ms": ACTIVATION_MS,
    })
}
