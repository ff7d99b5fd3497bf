//! The HTTP request that becomes a WebSocket, or the answer that says why not.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::door::mqtt::transport::settings::WebSocketSettings;

/// Longest request head, in bytes: what browsers send, cookies included.
pub(super) const MAX_HEAD: usize = 8 << 10;
/// Most header lines.
const MAX_LINES: usize = 64;
/// RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The name of MQTT 3.1.1 and 5 as a subprotocol; "mqttv3.1" is that of 3.1, which the door does not speak.
const SUBPROTOCOL: &str = "mqtt";

/// What the peer gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 101, and frames from then on.
    Upgrade(Vec<u8>),
    /// Another status, and the end; the label for metrics.
    Refuse { response: Vec<u8>, cause: &'static str },
    /// Nobody is there any more.
    Gone,
}

fn refuse(status: &str, cause: &'static str, more: &str, why: &str) -> Answer {
    let length = why.len() + 1;
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n{why}\n"
    );
    Answer::Refuse { response: response.into_bytes(), cause }
}

fn bad(why: &str) -> Answer {
    refuse("400 Bad Request", "ws_head", "", why)
}

/// Where the head ends, when it is whole.
pub(super) fn end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4).filter(|end| *end <= MAX_HEAD)
}

/// What cannot become a request any more: it is too long, or does not begin like one.
pub(super) fn hopeless(bytes: &[u8]) -> Option<Answer> {
    if bytes.len() > MAX_HEAD {
        let why = "the request's head is longer than 8 KB";
        return Some(refuse("431 Request Header Fields Too Large", "ws_head", "", why));
    }
    // a method is of letters: plain MQTT, TLS and noise are told at once, not after the time for a head is over
    let first = bytes.first()?;
    (!first.is_ascii_uppercase()).then(|| bad("this port speaks MQTT over WebSocket"))
}

/// Decides on a whole head.
pub(super) fn judge(bytes: &[u8], settings: &WebSocketSettings, secure: bool) -> Answer {
    let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut request = httparse::Request::new(&mut lines);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) | Err(_) => return bad("this is no HTTP request that can be read"),
    }
    if request.version != Some(1) {
        return bad("WebSocket needs HTTP/1.1");
    }
    let head = Head(request.headers);
    let Some(host) = head.only("host") else { return bad("one Host header is needed") };
    let origins: Vec<_> = head.all("origin").collect();
    if !origins.iter().all(|origin| welcome(origin, host, settings, secure)) {
        let why = "pages of this origin may not connect; mqtt.websocket.origins lists those that may";
        return refuse("403 Forbidden", "ws_origin", "", why);
    }
    if request.path.map(|path| path.split('?').next().unwrap_or(path)) != Some(settings.path.as_str()) {
        return refuse("404 Not Found", "ws_path", "", "there is nothing here; mqtt.websocket.path says where MQTT is");
    }
    if request.method != Some("GET") {
        return refuse("405 Method Not Allowed", "ws_upgrade", "Allow: GET\r\n", "WebSocket begins with GET");
    }
    if !head.has("connection", "upgrade") || !head.has("upgrade", "websocket") {
        let why = "this port speaks MQTT over WebSocket, nothing else";
        return refuse("426 Upgrade Required", "ws_upgrade", "Upgrade: websocket\r\n", why);
    }
    if head.only("sec-websocket-version") != Some("13") {
        let more = "Sec-WebSocket-Version: 13\r\n";
        return refuse("426 Upgrade Required", "ws_version", more, "only version 13 of WebSocket is spoken");
    }
    let key = head.only("sec-websocket-key").filter(|key| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16));
    let Some(key) = key else { return bad("one Sec-WebSocket-Key of 16 bytes in base64 is needed") };
    // names of subprotocols are compared as they are written (RFC 6455, section 11.5)
    if !head.words("sec-websocket-protocol").any(|word| word == SUBPROTOCOL) {
        let why = "the subprotocol must be \"mqtt\" (Sec-WebSocket-Protocol)";
        return refuse("400 Bad Request", "ws_subprotocol", "", why);
    }
    upgrade(key)
}

fn upgrade(key: &str) -> Answer {
    let accept = STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    );
    Answer::Upgrade(response.into_bytes())
}

/// May pages of this origin connect: those that are listed, and those of the host itself.
///
/// A page can give its own host another address after it was loaded (DNS rebinding), and then is "the host itself" to
/// the browser. So the name alone proves something only where it cannot be given away: an address, localhost, or a name
/// that the certificate has proven.
fn welcome(origin: &str, host: &str, settings: &WebSocketSettings, secure: bool) -> bool {
    if settings.origins.iter().any(|listed| listed == "*" || listed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let Some((_, from)) = origin.split_once("://") else { return false };
    let (from, to) = (without_port(from), without_port(host));
    let fixed = to.eq_ignore_ascii_case("localhost") || to.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    !from.is_empty() && from.eq_ignore_ascii_case(to) && (secure || fixed)
}

/// `host` of `host:port`; `[::1]` keeps its brackets.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && !(host.starts_with('[') ^ host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}

/// Header lines.
struct Head<'a>(&'a [httparse::Header<'a>]);

impl<'a> Head<'a> {
    /// The values of a name; one that is no text is as good as empty.
    fn all(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.0.iter().filter(move |line| line.name.eq_ignore_ascii_case(name));
        lines.map(|line| std::str::from_utf8(line.value).unwrap_or_default().trim())
    }

    /// The value of a name that is there once.
    fn only(&self, name: &'a str) -> Option<&'a str> {
        let mut all = self.all(name);
        let first = all.next()?;
        (all.next().is_none() && !first.is_empty()).then_some(first)
    }

    /// The words of a list, over all lines.
    fn words(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|value| value.split(',')).map(str::trim)
    }

    fn has(&self, name: &'a str, word: &str) -> bool {
        self.words(name).any(|each| each.eq_ignore_ascii_case(word))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;

    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

    /// The lines of a good request, with some replaced or added (`Name: value`) or taken away (`Name:`).
    fn ask(first: &str, changes: &[&str]) -> String {
        let mut lines = vec![
            "Host: gateway.local:8083".to_owned(),
            "Upgrade: websocket".to_owned(),
            "Connection: keep-alive, Upgrade".to_owned(),
            KEY.to_owned(),
            "Sec-WebSocket-Version: 13".to_owned(),
            "Sec-WebSocket-Protocol: mqttv3.1, mqtt".to_owned(),
        ];
        for change in changes {
            let (name, value) = change.split_once(':').unwrap();
            lines.retain(|line| line.split(':').next() != Some(name));
            if !value.is_empty() {
                lines.push((*change).to_owned());
            }
        }
        let text = format!("{first}\r\n{}\r\n\r\n", lines.join("\r\n"));
        let settings = WebSocketSettings { origins: vec!["https://console.example".into()], ..Default::default() };
        let secure = changes.contains(&"X-Secure: yes");
        assert_eq!(end(text.as_bytes()), Some(text.len()));
        let response = match judge(text.as_bytes(), &settings, secure) {
            Answer::Upgrade(response) | Answer::Refuse { response, .. } => response,
            Answer::Gone => panic!("nobody went"),
        };
        String::from_utf8(response).unwrap()
    }

    fn status(changes: &[&str]) -> String {
        ask("GET /mqtt HTTP/1.1", changes).split(' ').nth(1).unwrap().to_owned()
    }

    #[test]
    fn a_good_request_is_answered_as_the_rfc_shows() {
        let response = ask("GET /mqtt?token=1 HTTP/1.1", &[]);
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        assert!(response.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{response}");
        assert!(response.contains("Sec-WebSocket-Protocol: mqtt\r\n"), "{response}");
        assert!(!response.contains("Extensions"), "no compression is offered: {response}");
    }

    #[test]
    fn everything_else_gets_a_status_that_says_why() {
        let table: &[(&str, &str, &[&str])] = &[
            ("404", "GET / HTTP/1.1", &[]),
            ("404", "GET /mqttx HTTP/1.1", &[]),
            ("405", "POST /mqtt HTTP/1.1", &[]),
            ("400", "GET /mqtt HTTP/1.0", &[]),
            ("426", "GET /mqtt HTTP/1.1", &["Upgrade:"]),
            ("426", "GET /mqtt HTTP/1.1", &["Connection: close"]),
            ("426", "GET /mqtt HTTP/1.1", &["Sec-WebSocket-Version: 8"]),
            ("400", "GET /mqtt HTTP/1.1", &["Sec-WebSocket-Key:"]),
            ("400", "GET /mqtt HTTP/1.1", &["Sec-WebSocket-Key: c2hvcnQ="]),
            ("400", "GET /mqtt HTTP/1.1", &["Host:"]),
            ("400", "GET /mqtt HTTP/1.1", &["Sec-WebSocket-Protocol:"]),
            ("400", "GET /mqtt HTTP/1.1", &["Sec-WebSocket-Protocol: mqttv3.1, chat, MQTT"]),
            ("400", "GET /mqtt nonsense", &[]),
        ];
        for (expected, first, changes) in table {
            let response = ask(first, changes);
            assert_eq!(response.split(' ').nth(1), Some(*expected), "{first} {changes:?}: {response}");
            assert!(response.contains("\r\nConnection: close\r\n\r\n"), "{response}");
        }
    }

    #[test]
    fn a_page_of_a_stranger_is_refused() {
        let table: &[(&str, &[&str])] = &[
            ("101", &["Origin: https://console.example"]),
            ("101", &["Origin: HTTPS://CONSOLE.example"]),
            ("403", &["Origin: http://console.example"]),
            ("403", &["Origin: https://console.example.evil"]),
            ("403", &["Origin: https://evil.example"]),
            ("403", &["Origin: null"]),
            ("403", &["Origin: "]),
            ("101", &["Origin: http://127.0.0.1:3000", "Host: 127.0.0.1:8083"]),
            ("101", &["Origin: http://localhost", "Host: LOCALHOST:8083"]),
            ("101", &["Origin: http://[::1]:3000", "Host: [::1]:8083"]),
            ("403", &["Origin: http://localhost", "Host: 127.0.0.1:8083"]),
            ("403", &["Origin: http://localhost.evil.example", "Host: localhost:8083"]),
            // its own name, which may have been given this machine's address: proven by a certificate only
            ("403", &["Origin: http://evil.example:8083", "Host: evil.example:8083"]),
            ("101", &["Origin: https://gateway.local", "X-Secure: yes"]),
            ("403", &["Origin: https://evil.example", "X-Secure: yes"]),
        ];
        for (expected, changes) in table {
            assert_eq!(status(changes), *expected, "{changes:?}");
        }
    }

    #[test]
    fn two_origins_or_hosts_do_not_hide_one_another() {
        let settings = WebSocketSettings { origins: vec!["https://a".into()], ..Default::default() };
        let head = |more: &str| format!("GET /mqtt HTTP/1.1\r\nHost: x\r\n{more}\r\n\r\n");
        for (more, expected) in [("Origin: https://a\r\nOrigin: https://b", "ws_origin"), ("Host: y", "ws_head")] {
            let Answer::Refuse { cause, .. } = judge(head(more).as_bytes(), &settings, false) else { panic!("{more}") };
            assert_eq!(cause, expected);
        }
    }

    #[test]
    fn what_cannot_be_a_request_is_told_at_once() {
        assert_eq!(hopeless(b""), None);
        assert_eq!(hopeless(b"GE"), None);
        assert!(hopeless(&[0x10, 0x0C]).is_some(), "plain mqtt");
        assert!(hopeless(&[0x16, 0x03, 0x01]).is_some(), "tls");
        assert!(hopeless(&[b'G'; MAX_HEAD + 1]).is_some(), "too long");
        assert_eq!(end(&[b'G'; 100]), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_get_an_answer(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let mut request = b"GET /mqtt HTTP/1.1\r\nHost: x\r\n".to_vec();
            request.extend(&bytes);
            let settings = WebSocketSettings::default();
            let refused = |answer| matches!(answer, Answer::Refuse { .. });
            assert!(refused(judge(&bytes, &settings, false)) && refused(judge(&request, &settings, true)));
        }
    }
}
