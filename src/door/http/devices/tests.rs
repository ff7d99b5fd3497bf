//! The door from a board's side: the bytes of stock firmware, of py-xiaozhi, of a browser, and what they get.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::domain::{Bulletins, DeviceId, Event, ManualClock, QoS, Stream, Wall};
use crate::door::credentials::Attempt;
use crate::door::credentials::tests::MapStore;
use crate::door::{enrolment, firmware};
use crate::store::records::Transport;

mod firmware_images;
mod hostile;

const MAC: &str = "f4:12:fa:00:00:01";
const NUMBER: &str = "6f9619ff-8b86-4011-b42d-00cf4fc964ff";
const OTHER: &str = "11111111-8b86-4011-b42d-00cf4fc964ff";
const NOW: u64 = 1_760_000_000_000;

struct Nobody;

impl Bulletins for Nobody {
    fn event(&self, _: Event) {}

    fn publish(&self, _: &str, _: bytes::Bytes, _: QoS, _: bool) {}

    fn watched(&self, _: &str) -> bool {
        false
    }
}

struct Bench {
    address: SocketAddr,
    enrolment: Arc<Enrolment>,
    firmware: Arc<Catalogue>,
    credentials: Arc<Credentials>,
    clock: Arc<ManualClock>,
    metrics: Metrics,
    stop: CancellationToken,
    running: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: bytes.get(end + 4..).unwrap_or_default().to_vec() }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

fn quick() -> Settings {
    Settings { listen: ([127, 0, 0, 1], 0).into(), timezone: Some("Europe/Berlin".into()), ..Settings::default() }
}

/// Every board is enrolled at its first contact.
fn welcoming() -> Settings {
    Settings { allow: vec!["f4:12:fa:*".into()], ..quick() }
}

impl Bench {
    async fn start(settings: Settings) -> Self {
        let doors = Doors { mqtt: Some(1_883), mqtts: Some(8_883), websocket: true };
        Self::start_with(settings, doors).await
    }

    async fn start_with(settings: Settings, doors: Doors) -> Self {
        assert_eq!(settings.check("devices"), []);
        let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
        let clock = Arc::new(ManualClock::new(Wall(NOW)));
        let credentials = Credentials::open(store.clone(), dir.path(), clock.clone()).await.unwrap();
        let firmware = Catalogue::open(store, dir.path(), clock.clone(), &settings.firmware).await.unwrap();
        let parts = enrolment::Parts {
            credentials: credentials.clone(),
            bulletins: Arc::new(Nobody),
            clock: clock.clone(),
            random: Arc::new(rand::random::<u128>),
            metrics: enrolment::Metrics::default(),
        };
        let enrolment = Arc::new(Enrolment::new(settings.activation.clone(), settings.welcome(), parts));
        let server = Server::bind(&settings).await.unwrap();
        let (address, metrics, stop) = (server.address(), Metrics::default(), CancellationToken::new());
        let parts = Parts {
            enrolment: enrolment.clone(),
            credentials: credentials.clone(),
            firmware: firmware.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            doors,
            certificate: None,
        };
        let running = tokio::spawn(server.run(parts, Routes::new(), stop.clone()));
        Self { address, enrolment, firmware, credentials, clock, metrics, stop, running, _dir: dir }
    }

    /// Sends bytes and reads until the door closes.
    async fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // the door may have closed already
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        Answer::read(&answer)
    }

    /// What stock firmware sends.
    async fn board(&self, mac: &str, number: &str) -> Answer {
        self.send(&firmware_request(mac, number, "gateway.local:8003", FIRMWARE_BODY)).await
    }

    async fn activate(&self, mac: &str, number: &str, body: &str) -> Answer {
        let request = format!(
            "POST /xiaozhi/ota/activate HTTP/1.1\r\nHost: gateway.local\r\nActivation-Version: 1\r\nDevice-Id: {mac}\r\n\
             Client-Id: {number}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        self.send(request.as_bytes()).await
    }

    async fn comes_in(&self, mqtt: &Value) -> bool {
        let (user, password) = (mqtt["username"].as_str(), mqtt["password"].as_str().map(str::as_bytes));
        let address: IpAddr = [10, 0, 0, 1].into();
        self.credentials.login(Attempt { user, password, address, certificate: None }).await.is_ok()
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.expect("no panic");
    }
}

/// As firmware 2.4.2 says it, shortened in nothing that is read.
const FIRMWARE_BODY: &str = r#"{"version":2,"language":"zh-CN","flash_size":16777216,
"minimum_free_heap_size":"8318916","mac_address":"f4:12:fa:00:00:01","uuid":"6f9619ff-8b86-4011-b42d-00cf4fc964ff",
"chip_model_name":"esp32s3","chip_info":{"model":9,"cores":2,"revision":2,"features":18},
"application":{"name":"xiaozhi","version":"2.4.2","compile_time":"Aug  6 2026T10:00:00Z","idf_version":"v5.5.1",
"elf_sha256":"c8a8ecb6d6fbcda682494d9675cd1ead240ecf38bdde75282a42365a0e396033"},
"partition_table":[{"label":"ota_0","type":0,"subtype":16,"address":2097152,"size":4128768}],"ota":{"label":"ota_0"},
"display":{"monochrome":true,"width":128,"height":32},
"board":{"type":"bread-compact-wifi","name":"bread-compact-wifi","ssid":"home","rssi":-51,"channel":6,
"ip":"192.168.7.20","mac":"f4:12:fa:00:00:01"}}"#;

fn firmware_request(mac: &str, number: &str, host: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /xiaozhi/ota/ HTTP/1.1\r\nHost: {host}\r\nActivation-Version: 1\r\nDevice-Id: {mac}\r\n\
         Client-Id: {number}\r\nUser-Agent: bread-compact-wifi/2.4.2\r\nAccept-Language: zh-CN\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What firmware would write into its flash, or read in a way that ends it.
fn safe_for_firmware(answer: &Value) {
    for object in ["mqtt", "websocket"] {
        for (key, value) in answer[object].as_object().into_iter().flatten() {
            assert!(key.len() <= 15, "{object}.{key} is no name for its flash");
            assert!(value.is_string() || value.is_u64(), "{object}.{key} is {value}");
            assert!(value.as_str().is_none_or(|text| text.len() <= 4_000), "{object}.{key} is too long");
        }
    }
    if let Some(endpoint) = answer["mqtt"]["endpoint"].as_str() {
        assert!(!endpoint.contains("//"), "{endpoint} has a scheme");
        let (host, port) = endpoint.split_once(':').expect("a port");
        assert!(!host.is_empty() && port.parse::<u16>().is_ok(), "{endpoint}");
    }
    let version = answer["firmware"]["version"].as_str().expect("a version");
    assert!(firmware::Version::parse(version).is_some(), "{version}");
    assert!(answer["firmware"]["url"].is_string());
    assert!(answer["server_time"]["timestamp"].is_u64() && answer["server_time"]["timezone_offset"].is_i64());
    if let Some(activation) = answer.get("activation") {
        let code = activation["code"].as_str().expect("a code");
        assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()), "{code}");
        assert!(activation["challenge"].as_str().is_some_and(|c| !c.is_empty()));
        assert!(activation["message"].as_str().is_some_and(|m| m.contains(code)));
        assert!(answer.get("mqtt").is_none() && answer.get("websocket").is_none(), "{answer}");
    }
}

#[tokio::test]
async fn stock_firmware_on_the_list_is_told_all_that_it_needs_and_the_same_at_each_boot() {
    let bench = Bench::start(welcoming()).await;
    let first = bench.board(MAC, NUMBER).await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.header("content-length"), first.body.len().to_string(), "firmware waits for it");
    let answer = first.json();
    safe_for_firmware(&answer);
    let mqtt = &answer["mqtt"];
    assert_eq!(mqtt["endpoint"], "gateway.local:1883");
    assert_eq!((&mqtt["client_id"], &mqtt["username"]), (&MAC.into(), &MAC.into()));
    assert_eq!(mqtt["publish_topic"], format!("xz/{MAC}/up"));
    assert_eq!(mqtt["subscribe_topic"], format!("xz/{MAC}/down"));
    assert_eq!(mqtt["keepalive"], 240);
    let websocket = &answer["websocket"];
    assert_eq!(websocket["url"], "ws://gateway.local:8003/xiaozhi/v1/");
    assert_eq!((&websocket["token"], &websocket["version"]), (&mqtt["password"], &1.into()));
    assert_eq!(answer["server_time"]["timestamp"], NOW);
    assert_eq!(answer["server_time"]["timezone_offset"], 120, "summer in Berlin");
    assert_eq!(answer["firmware"], serde_json::json!({"version": "2.4.2", "url": ""}));
    assert!(bench.comes_in(mqtt).await);
    assert_eq!(bench.board(MAC, NUMBER).await.json(), answer);
    assert_eq!((bench.metrics.requests("allowed"), bench.metrics.requests("known")), (1, 1));
    bench.end().await;
}

#[test]
fn a_topic_that_a_board_is_told_is_its_own_in_the_table() {
    let table = crate::topics::Table::builtin("gw").unwrap();
    let device = DeviceId::parse(MAC).unwrap();
    let (up, down) = (format!("xz/{device}/up"), format!("xz/{device}/down"));
    assert_eq!(table.uplink(&up).map(|up| (up.device, up.dialect)), Some((MAC, "xiaozhi")));
    assert_eq!(table.downlink("xiaozhi", Stream::Control, &device).as_deref(), Some(down.as_str()));
}

#[tokio::test]
async fn a_board_that_is_not_known_shows_a_code_waits_and_comes_in_when_it_was_claimed() {
    let bench = Bench::start(quick()).await;
    let answer = bench.board(MAC, NUMBER).await.json();
    safe_for_firmware(&answer);
    let code = answer["activation"]["code"].as_str().unwrap().to_owned();
    assert_eq!(bench.activate(MAC, NUMBER, "{}").await.status, 202);
    assert_eq!(bench.board(MAC, NUMBER).await.json()["activation"]["code"], code, "the screen stays as it is");
    bench.enrolment.claim(&code, Some("kitchen".into()), None).await.unwrap();
    let done = bench.activate(MAC, NUMBER, "{}").await;
    assert_eq!(done.status, 200);
    assert!(!String::from_utf8_lossy(&done.body).contains("password"), "credentials are elsewhere");
    let answer = bench.board(MAC, NUMBER).await.json();
    assert!(answer.get("activation").is_none() && bench.comes_in(&answer["mqtt"]).await, "{answer}");
    bench.end().await;
}

#[tokio::test]
async fn py_xiaozhi_is_activated_with_its_own_form_and_its_signature_is_not_looked_at() {
    let bench = Bench::start(quick()).await;
    let body = r#"{"application":{"version":"2.1.1","elf_sha256":"00ff"},"board":{"type":"bread-compact-wifi",
        "name":"py-xiaozhi","ip":"192.168.7.9","mac":"f4:12:fa:00:00:01"}}"#;
    let request = format!(
        "POST /xiaozhi/ota/ HTTP/1.1\r\nHost: 127.0.0.1:8003\r\nAccept: */*\r\nDevice-Id: {MAC}\r\nClient-Id: {NUMBER}\r\n\
         Content-Type: application/json\r\nUser-Agent: bread-compact-wifi/py-xiaozhi-2.1.1\r\nAccept-Language: zh-CN\r\n\
         Activation-Version: 2.1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = bench.send(request.as_bytes()).await.json();
    safe_for_firmware(&answer);
    let said = |challenge: &Value| {
        format!(
            r#"{{"Payload":{{"algorithm":"hmac-sha256","serial_number":"SN-1A2B3C4D-f412fa000001","challenge":{challenge},
            "hmac":"00"}}}}"#
        )
    };
    let challenge = &answer["activation"]["challenge"];
    assert_eq!(bench.activate(MAC, NUMBER, &said(challenge)).await.status, 202);
    assert_eq!(bench.activate(MAC, NUMBER, &said(&"another".into())).await.status, 403);
    bench.enrolment.claim(answer["activation"]["code"].as_str().unwrap(), None, None).await.unwrap();
    assert_eq!(bench.activate(MAC, NUMBER, &said(challenge)).await.status, 200);
    let answer = bench.send(request.as_bytes()).await.json();
    assert_eq!(answer["mqtt"]["endpoint"], "127.0.0.1:1883");
    assert_eq!(answer["firmware"]["version"], "2.1.1");
    bench.end().await;
}

#[tokio::test]
async fn the_path_stands_with_and_without_its_slash_for_post_and_get_and_a_chunked_body() {
    let bench = Bench::start(welcoming()).await;
    let who = format!("Host: gw:8003\r\nDevice-Id: {MAC}\r\nClient-Id: {NUMBER}\r\n");
    for path in ["/xiaozhi/ota", "/xiaozhi/ota/"] {
        for request in [
            format!("GET {path} HTTP/1.1\r\n{who}User-Agent: bread/1.9.0\r\n\r\n"),
            format!("POST {path} HTTP/1.1\r\n{who}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"),
        ] {
            let answer = bench.send(request.as_bytes()).await;
            assert_eq!(answer.status, 200, "{request}");
            safe_for_firmware(&answer.json());
        }
    }
    bench.end().await;
}

#[tokio::test]
async fn a_page_that_is_listed_may_ask_and_one_that_is_not_becomes_nothing() {
    let settings = Settings { origins: vec!["https://tester.example.org".into()], bring_up: true, ..quick() };
    let bench = Bench::start(settings).await;
    let ask = |method: &str, origin: &str| {
        format!(
            "{method} /xiaozhi/ota/ HTTP/1.1\r\nHost: gw\r\nOrigin: {origin}\r\nDevice-Id: {MAC}\r\nClient-Id: {NUMBER}\r\n\
             Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: device-id,client-id\r\n\r\n"
        )
    };
    for method in ["OPTIONS", "POST"] {
        let answer = bench.send(ask(method, "https://evil.example.org").as_bytes()).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, ""), "{method}");
    }
    assert!(bench.credentials.list_devices().is_empty(), "bring-up is not for pages");
    let preflight = bench.send(ask("OPTIONS", "https://tester.example.org").as_bytes()).await;
    assert_eq!(preflight.status, 204);
    assert!(preflight.header("access-control-allow-headers").contains("device-id"));
    let answer = bench.send(ask("POST", "https://tester.example.org").as_bytes()).await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://tester.example.org");
    assert!(answer.json()["mqtt"].is_object());
    bench.end().await;
}

#[tokio::test]
async fn the_transport_is_the_settings_unless_the_board_has_one_of_its_own() {
    let bench = Bench::start(Settings { transport: Transport::Websocket, ..quick() }).await;
    for (number, transport, has_mqtt) in [(NUMBER, None, false), (OTHER, Some(Transport::Mqtt), true)] {
        let code = bench.board(MAC, number).await.json()["activation"]["code"].as_str().unwrap().to_owned();
        bench.enrolment.claim(&code, None, transport).await.unwrap();
        let answer = bench.board(MAC, number).await.json();
        safe_for_firmware(&answer);
        assert_eq!(answer.get("mqtt").is_some(), has_mqtt, "firmware that finds mqtt does not look further");
        assert!(answer["websocket"]["token"].as_str().is_some_and(|token| !token.contains(' ')));
    }
    bench.end().await;
}

#[tokio::test]
async fn what_boards_are_told_is_the_name_by_which_they_came_unless_the_settings_know_better() {
    let public = |from: &str| Public {
        from: from.into(),
        host: "voice.example.org".into(),
        mqtt_port: Some(21_883),
        http_port: Some(443),
        secure: Some(true),
    };
    for (settings, endpoint, url) in [
        (welcoming(), "192.168.7.2:1883", "ws://192.168.7.2:9000/xiaozhi/v1/"),
        (Settings { host: Some("gw.lan".into()), ..welcoming() }, "gw.lan:1883", "ws://gw.lan:PORT/xiaozhi/v1/"),
        (
            Settings { public: vec![public("10.0.0.0/8"), public("127.0.0.0/8")], ..welcoming() },
            "voice.example.org:21883",
            "wss://voice.example.org:443/xiaozhi/v1/",
        ),
        (Settings { mqtt_tls: true, ..welcoming() }, "192.168.7.2:8883", "ws://192.168.7.2:9000/xiaozhi/v1/"),
    ] {
        let bench = Bench::start(settings).await;
        let request = firmware_request(MAC, NUMBER, "192.168.7.2:9000", FIRMWARE_BODY);
        let answer = bench.send(&request).await.json();
        safe_for_firmware(&answer);
        assert_eq!(answer["mqtt"]["endpoint"], endpoint);
        assert_eq!(answer["websocket"]["url"], url.replace("PORT", &bench.address.port().to_string()));
        bench.end().await;
    }
}

#[tokio::test]
async fn a_port_on_which_firmware_would_speak_otherwise_is_not_told() {
    // plain MQTT on 8883: firmware would begin a TLS handshake there
    let doors = Doors { mqtt: Some(8_883), mqtts: Some(9_883), websocket: false };
    for mqtt_tls in [false, true] {
        let bench = Bench::start_with(Settings { mqtt_tls, ..welcoming() }, doors).await;
        let answer = bench.board(MAC, NUMBER).await;
        assert_eq!((answer.status, bench.metrics.requests("no_listener")), (503, 1), "{answer:?}");
        bench.end().await;
    }
}
