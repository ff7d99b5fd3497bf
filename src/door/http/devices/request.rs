//! What a board says of itself: who it is, in the head; what it is, in the body.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::Value;
use tokio::time::timeout;

use super::refusal::{LIMITED, Refusal};
use super::settings::is_host;
use super::{Door, Peer};
use crate::door::enrolment::{self, Board, Number};
use crate::door::firmware::Version;

/// Longest name of a board's type or chip.
const NAME: usize = 64;

const BAD_DEVICE: Refusal = Refusal::new(
    "bad_device",
    StatusCode::BAD_REQUEST,
    "the header Device-Id must be the board's MAC, in lower case with colons",
);
const BAD_CLIENT: Refusal =
    Refusal::new("bad_client", StatusCode::BAD_REQUEST, "the header Client-Id must be the board's own UUID");
const TOO_LARGE: Refusal = Refusal::new("too_large", StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
const SLOW: Refusal = Refusal::new("slow", StatusCode::REQUEST_TIMEOUT, "the body did not come in time");

/// What a board is: all of it may be missing, none of it opens a door.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Its type.
    pub board: String,
    /// Its chip.
    pub chip: String,
    /// What it runs.
    pub version: Option<Version>,
    /// Bytes of the smallest partition that it may write new firmware into.
    pub slot: Option<u64>,
    /// The challenge that it says back.
    pub challenge: Option<String>,
    /// There was a body, and it could not be read.
    pub unreadable: bool,
}

/// A request, taken apart.
#[derive(Debug)]
pub(super) struct Asked {
    pub board: Board,
    pub facts: Facts,
}

/// Who asks, and what he says of himself.
pub(super) async fn read(door: &Door, peer: &Peer, headers: &HeaderMap, body: Body) -> Result<Asked, Refusal> {
    let address = peer.address().ip();
    if !door.rates.admit(address, door.parts.clock.mono()) {
        return Err(LIMITED);
    }
    let device = text(headers, "device-id").and_then(enrolment::mac).ok_or(BAD_DEVICE)?;
    let number = text(headers, "client-id").and_then(Number::parse).ok_or(BAD_CLIENT)?;
    let limits = &door.settings.limits;
    let body = timeout(limits.timeout.0, whole(body, limits.body.len())).await.map_err(|_| SLOW)??;
    let facts = Facts::of(&body, text(headers, header::USER_AGENT.as_str()).unwrap_or_default());
    Ok(Asked { board: Board { device, number, address, kind: facts.board.clone() }, facts })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn whole(body: Body, most: usize) -> Result<Bytes, Refusal> {
    let (mut data, mut whole) = (body.into_data_stream(), Vec::new());
    while let Some(part) = data.next().await {
        // a peer that breaks off reads no answer either
        let part = part.map_err(|_| SLOW)?;
        if whole.len() + part.len() > most {
            return Err(TOO_LARGE);
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.into())
}

impl Facts {
    /// From the body, and from `User-Agent` (`board/version`) what the body does not say.
    pub fn of(body: &[u8], agent: &str) -> Self {
        let read = serde_json::from_slice::<Value>(body);
        let unreadable = !body.is_empty() && !read.as_ref().is_ok_and(Value::is_object);
        let body = read.unwrap_or_default();
        let say = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (agent_board, agent_version) = agent.rsplit_once('/').unwrap_or_default();
        let or = |said: &str, else_: &str| name(if said.is_empty() { else_ } else { said });
        let version = Version::parse(say("/application/version")).or_else(|| Version::parse(agent_version));
        let challenge = [say("/challenge"), say("/Payload/challenge")].into_iter().find(|said| !said.is_empty());
        Self {
            board: or(say("/board/type"), agent_board),
            chip: name(say("/chip_model_name")),
            version,
            slot: slot(&body),
            challenge: challenge.map(str::to_owned),
            unreadable,
        }
    }
}

/// The smallest partition for applications besides the one that runs; none when the board does not say.
fn slot(body: &Value) -> Option<u64> {
    /// ESP-IDF numbers the partitions that updates go to from here.
    const SLOTS: std::ops::Range<u64> = 0x10..0x20;
    let running = body.pointer("/ota/label").and_then(Value::as_str);
    let number = |entry: &Value, field: &str| entry.get(field).and_then(Value::as_u64);
    let table = body.get("partition_table")?.as_array()?.iter();
    let apps = table.filter(|entry| {
        number(entry, "type") == Some(0) && number(entry, "subtype").is_some_and(|sub| SLOTS.contains(&sub))
    });
    let free = apps.filter(|entry| entry.get("label").and_then(Value::as_str) != running);
    free.filter_map(|entry| number(entry, "size")).filter(|size| *size > 0).min()
}

/// As it may stand in logs and tables.
fn name(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(NAME).collect()
}

/// The host and port by which a peer reached this door; none when it does not say, or says what no board could use.
pub(super) fn host(headers: &HeaderMap) -> Option<(String, Option<u16>)> {
    let said = text(headers, header::HOST.as_str())?;
    let (host, port) = match said.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port != 0)?)),
        None => (said, None),
    };
    (is_host(host) && host != "0.0.0.0").then(|| (host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_the_body_does_not_say_the_agent_may_and_what_makes_no_sense_is_nothing() {
        let body = br#"{"chip_model_name":"esp32s3","application":{"version":"2.4.2"},"board":{"type":"a b\n"}}"#;
        let facts = Facts::of(body, "other/1.0");
        assert_eq!((facts.board.as_str(), facts.chip.as_str(), facts.unreadable), ("ab", "esp32s3", false));
        assert_eq!(facts.version, Version::parse("2.4.2"));
        let facts = Facts::of(b"", "bread-compact-wifi/py-xiaozhi-2.1.1");
        assert_eq!((facts.board.as_str(), facts.version, facts.unreadable), ("bread-compact-wifi", None, false));
        for body in [&b"{"[..], b"[1]", b"\xff", br#"{"board":7,"application":{"version":{}}}"#] {
            let facts = Facts::of(body, "");
            assert_eq!((facts.board.as_str(), facts.version), ("", None));
        }
        for body in [r#"{"challenge":"c"}"#, r#"{"Payload":{"challenge":"c"}}"#] {
            assert_eq!(
                Facts::of(body.as_bytes(), "").challenge.as_deref(),
                Some("c"),
                "firmware's form, and py-xiaozhi's"
            );
        }
        assert!(Facts::of(b"{", "").unreadable && !Facts::of(b"{}", "").unreadable);
        assert_eq!(
            Facts::of(format!("{{\"board\":{{\"type\":\"{}\"}}}}", "x".repeat(99)).as_bytes(), "").board.len(),
            64
        );
    }

    #[test]
    fn room_for_firmware_is_the_smallest_slot_that_does_not_run() {
        let slot = |body: &str| Facts::of(body.as_bytes(), "").slot;
        let table = r#""partition_table":[{"label":"nvs","type":1,"subtype":2,"size":16384},
            {"label":"ota_0","type":0,"subtype":16,"size":4128768},{"label":"ota_1","type":0,"subtype":17,"size":3145728}]"#;
        assert_eq!(slot(&format!(r#"{{{table},"ota":{{"label":"ota_0"}}}}"#)), Some(3_145_728));
        assert_eq!(slot(&format!(r#"{{{table},"ota":{{"label":"ota_1"}}}}"#)), Some(4_128_768));
        assert_eq!(slot(&format!("{{{table}}}")), Some(3_145_728));
        for nothing in ["", r#""partition_table":7"#, r#""partition_table":[7,{"type":0,"subtype":16,"size":-1}]"#] {
            assert_eq!(slot(&format!("{{{nothing}}}")), None, "{nothing}");
        }
    }

    #[test]
    fn a_host_that_no_board_could_use_is_none() {
        let host = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, text.parse().unwrap());
            super::host(&headers)
        };
        assert_eq!(host("Gateway.local:8003"), Some(("gateway.local".into(), Some(8003))));
        assert_eq!(host("192.168.7.2"), Some(("192.168.7.2".into(), None)));
        for bad in ["[::1]:8003", "a:b", "a:0", "0.0.0.0", "", "a b", "evil@x"] {
            assert_eq!(host(bad), None, "{bad}");
        }
    }
}
