//! MQTT over WebSocket: a real client of another make, and peers that do everything wrong.

use std::process::Stdio;

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::transports::{Papers, trusting};
use super::*;

/// Header lines.
type Lines<'a> = &'a [(&'static str, &'a str)];

/// A client's socket; `Err` has the status of a refusal.
async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    url: &str,
    lines: Lines<'_>,
) -> Result<WebSocketStream<S>, u16> {
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    for (name, value) in lines {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    match client_async(request, stream).await {
        Ok((socket, response)) => {
            assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqtt");
            assert!(response.headers().get("Sec-WebSocket-Extensions").is_none());
            Ok(socket)
        }
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

async fn plain(fixture: &Fixture) -> WebSocketStream<TcpStream> {
    open(fixture.tcp(Listener::WebSocket).await, "ws://localhost/mqtt", &[]).await.unwrap()
}

/// The next bytes of messages, at least `n` of them.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>, n: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < n {
        let next = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("the door is silent");
        match next.unwrap().unwrap() {
            Message::Binary(bytes) => got.extend(bytes),
            other => panic!("{other:?}"),
        }
    }
    got
}

#[tokio::test]
async fn a_conversation_over_websocket_and_over_its_tls() {
    let papers = Papers::new();
    let mut fixture = Fixture::with(papers.settings()).await;
    let secret = fixture.tls(Listener::WebSocketTls, &trusting(&papers.path("ca.pem"), None)).await.unwrap();
    let mut secret = open(secret, "wss://localhost/mqtt", &[]).await.unwrap();
    let mut plain = plain(&fixture).await;
    for (user, which) in [("dev1", false), ("dev2", true)] {
        let connect = fixture.connect_packet(Version::V4, user, "c", 60);
        let mut publish = BytesMut::new();
        codec::publish(&mut publish, Version::V4, PublishHead::default(), &format!("device/{user}/audio"), &audio(1));
        let connack = if which {
            secret.send(Message::binary(connect)).await.unwrap();
            secret.send(Message::binary(publish.to_vec())).await.unwrap();
            read(&mut secret, 4).await
        } else {
            plain.send(Message::binary(connect)).await.unwrap();
            plain.send(Message::binary(publish.to_vec())).await.unwrap();
            read(&mut plain, 4).await
        };
        assert_eq!(connack, [0x20, 2, 0, 0]);
        let link = fixture.link().await;
        let long = vec![7; 300_000];
        link.send(down(&format!("device/{user}/down/control"), &long, PacketKind::Control)).unwrap();
        let size = 1 + 3 + 2 + 24 + long.len();
        let got = if which { read(&mut secret, size).await } else { read(&mut plain, size).await };
        assert!(got.len() == size && got.ends_with(&long), "{}", got.len());
    }
    until("both heard", || fixture.recorder.audio.load(Ordering::SeqCst) == 2).await;
    assert_eq!(fixture.metrics.connections_of(Listener::WebSocket), 1);
    assert_eq!(fixture.metrics.connections_of(Listener::WebSocketTls), 1);
    fixture.stop().await;
}

#[tokio::test]
async fn packets_may_be_split_and_joined_and_pinged_between() {
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    let mut socket = plain(&fixture).await;
    for byte in fixture.connect_packet(Version::V4, "dev1", "c", 60) {
        socket.send(Message::binary(vec![byte])).await.unwrap();
        socket.send(Message::binary(vec![])).await.unwrap();
    }
    assert_eq!(read(&mut socket, 4).await, [0x20, 2, 0, 0]);
    socket.send(Message::binary(vec![0xC0, 0, 0xC0, 0, 0xC0])).await.unwrap();
    socket.send(Message::Ping("here?".into())).await.unwrap();
    socket.send(Message::binary(vec![0])).await.unwrap();
    let (mut pings, mut pong) = (Vec::new(), false);
    while pings.len() < 6 || !pong {
        match socket.next().await.unwrap().unwrap() {
            Message::Binary(bytes) => pings.extend(bytes),
            Message::Pong(payload) => pong = payload == "here?",
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pings, [0xD0, 0, 0xD0, 0, 0xD0, 0]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_text_message_is_told_1003_and_a_leaving_client_is_answered() {
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    let mut wrong = plain(&fixture).await;
    wrong.send(Message::text("hello")).await.unwrap();
    let Some(Ok(Message::Close(Some(close)))) = wrong.next().await else { panic!("not closed") };
    assert_eq!(close.code, CloseCode::Unsupported);
    assert_eq!(fixture.metrics.drops("ws_text"), 1);

    let mut leaving = plain(&fixture).await;
    leaving.send(Message::binary(fixture.connect_packet(Version::V4, "dev1", "c", 60))).await.unwrap();
    read(&mut leaving, 4).await;
    leaving.close(None).await.unwrap();
    let answer = leaving.next().await;
    assert!(matches!(answer, Some(Ok(Message::Close(_)))), "{answer:?}");
    until("gone", || fixture.metrics.connections_of(Listener::WebSocket) == 0).await;
    fixture.stop().await;
}

#[tokio::test]
async fn the_gateways_own_end_says_goodbye_in_a_close_frame() {
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    let mut socket = plain(&fixture).await;
    socket.send(Message::binary(fixture.connect_packet(Version::V4, "dev1", "c", 60))).await.unwrap();
    read(&mut socket, 4).await;
    fixture.control.end_device(&device("dev1"), "removed");
    let last = tokio::time::timeout(Duration::from_secs(5), socket.next()).await.unwrap();
    let Some(Ok(Message::Close(Some(close)))) = last else { panic!("{last:?}") };
    assert_eq!(close.code, CloseCode::Normal);
    fixture.stop().await;
}

#[tokio::test]
async fn requests_that_are_wrong_get_a_status() {
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    let table: &[(u16, &'static str, &str, Lines<'_>)] = &[
        (404, "ws_path", "ws://localhost/", &[]),
        (404, "ws_path", "ws://localhost/mqtt/", &[]),
        (400, "ws_subprotocol", "ws://localhost/mqtt", &[("Sec-WebSocket-Protocol", "chat")]),
        (403, "ws_origin", "ws://localhost/mqtt", &[("Origin", "https://evil.example")]),
        (403, "ws_origin", "ws://evil.example/mqtt", &[("Origin", "http://evil.example")]),
        (426, "ws_version", "ws://localhost/mqtt", &[("Sec-WebSocket-Version", "8")]),
        (426, "ws_upgrade", "ws://localhost/mqtt", &[("Upgrade", "h2c")]),
    ];
    for (status, result, url, lines) in table {
        let before = fixture.metrics.connects(result);
        let refused = open(fixture.tcp(Listener::WebSocket).await, url, lines).await.err();
        assert_eq!(refused, Some(*status), "{url} {lines:?}");
        until(result, || fixture.metrics.connects(result) > before).await;
    }
    let own =
        open(fixture.tcp(Listener::WebSocket).await, "ws://localhost/mqtt", &[("Origin", "http://localhost:3000")]);
    assert!(own.await.is_ok(), "a page of this machine");
    fixture.stop().await;
}

#[tokio::test]
async fn a_listed_origin_may_and_compression_is_never_agreed_on() {
    let papers = Papers::new();
    let mut settings = papers.settings();
    settings.websocket.origins = vec!["https://console.example".into()];
    settings.websocket.path = "/gate".into();
    let fixture = Fixture::with(settings).await;
    let lines = [("Origin", "https://console.example"), ("Sec-WebSocket-Extensions", "permessage-deflate")];
    assert!(open(fixture.tcp(Listener::WebSocket).await, "ws://gateway.local/gate", &lines).await.is_ok());
    fixture.stop().await;
}

/// What the door answers to bytes, until it closes.
async fn answer(fixture: &Fixture, listener: Listener, bytes: &[u8]) -> String {
    let mut stream = fixture.tcp(listener).await;
    let _ = stream.write_all(bytes).await;
    let mut got = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut got)).await.expect("not closed");
    String::from_utf8_lossy(&got).into_owned()
}

#[tokio::test]
async fn huge_heads_plain_mqtt_and_noise_are_answered_and_closed() {
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    let huge = format!("GET /mqtt HTTP/1.1\r\nHost: x\r\nCookie: {}", "x".repeat(100_000));
    assert!(answer(&fixture, Listener::WebSocket, huge.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let many = format!("GET /mqtt HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100));
    assert!(answer(&fixture, Listener::WebSocket, many.as_bytes()).await.starts_with("HTTP/1.1 400 "));
    let mqtt = fixture.connect_packet(Version::V4, "dev1", "c", 60);
    assert!(answer(&fixture, Listener::WebSocket, &mqtt).await.starts_with("HTTP/1.1 400 "));
    assert!(
        answer(&fixture, Listener::WebSocket, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 404 ")
    );
    assert_eq!(answer(&fixture, Listener::WebSocketTls, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.find("HTTP"), None);
    fixture.stop().await;
}

#[tokio::test]
async fn frames_that_break_the_protocol_end_their_connection_only() {
    let papers = Papers::new();
    let mut settings = papers.settings();
    settings.limits.packet = crate::domain::ByteSize::kb(64);
    let fixture = Fixture::with(settings).await;
    let mut good = plain(&fixture).await;
    good.send(Message::binary(fixture.connect_packet(Version::V4, "dev1", "good", 60))).await.unwrap();
    read(&mut good, 4).await;
    let request = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    let table: &[(&[u8], [u8; 2])] = &[
        (&[0x82, 2, 0xC0, 0], [3, 0xEA]),                               // not masked: 1002
        (&[0xC2, 0x81, 0, 0, 0, 0, 0], [3, 0xEA]),                      // compressed: 1002
        (&[0x82, 0xFF, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], [3, 0xF1]), // a terabyte is announced: 1009
        (&[0x81, 0x81, 0, 0, 0, 0, b'x'], [3, 0xEB]),                   // text: 1003
    ];
    for (frame, code) in table {
        let mut stream = fixture.tcp(Listener::WebSocket).await;
        // in one piece with the request: what comes early is not lost
        stream.write_all(&[request.as_bytes(), frame].concat()).await.unwrap();
        let mut got = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut got)).await.expect("not closed");
        assert!(got.ends_with(&[0x88, 2, code[0], code[1]]), "{frame:x?}: {:x?}", &got[got.len().saturating_sub(8)..]);
    }
    good.send(Message::binary(vec![0xC0, 0])).await.unwrap();
    assert_eq!(read(&mut good, 2).await, [0xD0, 0]);
    fixture.stop().await;
}

/// Node's WebSocket is that of browsers (undici); it is there from Node 22, and behind a switch in 20.
#[tokio::test]
async fn a_browsers_websocket_connects_and_pings() {
    let node = std::process::Command::new("node").arg("--version").stdout(Stdio::piped()).output();
    let Ok(node) = node else {
        println!("skipped: node is not installed");
        return;
    };
    let version = String::from_utf8_lossy(&node.stdout).into_owned();
    let switch = if version.starts_with("v20.") { vec!["--experimental-websocket"] } else { vec![] };
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    let connect = fixture.connect_packet(Version::V4, "operator", "page", 60);
    for (listener, scheme) in [(Listener::WebSocket, "ws"), (Listener::WebSocketTls, "wss")] {
        let url = format!("{scheme}://localhost:{}/mqtt", fixture.addr_of(listener).port());
        let script = format!(
            "if (typeof WebSocket === 'undefined') {{ console.log('none'); process.exit(0); }}
            const s = new WebSocket('{url}', 'mqtt'); s.binaryType = 'arraybuffer'; let got = [];
            s.onopen = () => s.send(new Uint8Array({connect:?}));
            s.onerror = (e) => {{ console.log('error', e.message); process.exit(1); }};
            s.onclose = (e) => {{ console.log('closed', e.code, got.join(' ')); process.exit(0); }};
            s.onmessage = (e) => {{
              got.push(...new Uint8Array(e.data));
              if (got.length == 4) s.send(new Uint8Array([0xC0, 0]));
              if (got.length == 6) s.send('text is not mqtt');
            }};"
        );
        let out = tokio::process::Command::new("node")
            .args(&switch)
            .arg("-e")
            .arg(script)
            .env("NODE_EXTRA_CA_CERTS", papers.path("ca.pem"))
            .kill_on_drop(true)
            .output();
        let out = tokio::time::timeout(Duration::from_secs(20), out).await.expect("node hangs").unwrap();
        let said = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        if said == "none" {
            println!("skipped: node {version} has no WebSocket");
            break;
        }
        assert_eq!(said, "closed 1003 32 2 0 0 208 0", "{scheme}: {}", String::from_utf8_lossy(&out.stderr));
    }
    fixture.stop().await;
}

/// Debian's paho for Python, a WebSocket client of its own make.
#[tokio::test]
async fn paho_connects_over_websocket_with_tls() {
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    let script = "
import sys, paho.mqtt.client as mqtt
port, user, password, ca = int(sys.argv[1]), sys.argv[2], sys.stdin.readline().strip(), sys.argv[3]
c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, transport='websockets', protocol=mqtt.MQTTv5) \\
    if hasattr(mqtt, 'CallbackAPIVersion') else mqtt.Client(transport='websockets', protocol=mqtt.MQTTv5)
if ca: c.tls_set(ca)
c.username_pw_set(user, password)
def connected(c, u, flags, reason, props=None):
    print('connected', reason); c.disconnect()
c.on_connect = connected
c.connect('localhost', port); c.loop_forever()
";
    let there = std::process::Command::new("python3").args(["-c", "import paho.mqtt"]).status();
    if !there.is_ok_and(|status| status.success()) {
        println!("skipped: paho for Python is not installed (Debian package python3-paho-mqtt)");
        return;
    }
    for (listener, ca) in
        [(Listener::WebSocket, String::new()), (Listener::WebSocketTls, papers.path("ca.pem").display().to_string())]
    {
        let port = fixture.addr_of(listener).port().to_string();
        let mut child = tokio::process::Command::new("python3")
            .args(["-c", script, &port, "operator", &ca])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let password = format!("{}\n", fixture.secrets["operator"].reveal());
        child.stdin.take().unwrap().write_all(password.as_bytes()).await.unwrap();
        let out =
            tokio::time::timeout(Duration::from_secs(20), child.wait_with_output()).await.expect("it hangs").unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(said.starts_with("connected Success"), "{listener:?}: {said}");
    }
    fixture.stop().await;
}
