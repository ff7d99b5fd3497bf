//! A board with stock firmware from its first boot to its MQTT connection, through a whole gateway.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use voxgate::admin::{Admin, AdminErrorKind, Claim, Client, FirmwarePart, NewFirmware};
use voxgate::app::authority::Authority;
use voxgate::domain::{Clock, DeviceId, SystemClock};
use voxgate::sim::device::{Device, Login};

use gateway::{PATIENCE, Running, chat, config};

const MAC: &str = "f4:12:fa:00:00:01";
const NUMBER: &str = "6f9619ff-8b86-4011-b42d-00cf4fc964ff";
const OTHER: &str = "11111111-8b86-4011-b42d-00cf4fc964ff";

fn ask(path: &str, number: &str) -> Vec<u8> {
    let body = r#"{"application":{"version":"2.4.2"},"board":{"type":"bread-compact-wifi"}}"#;
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nDevice-Id: {MAC}\r\nClient-Id: {number}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Status and body.
async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> (u16, Value) {
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

async fn post(gateway: &Running, path: &str, number: &str) -> (u16, Value) {
    let stream = TcpStream::connect(gateway.addrs().devices.unwrap()).await.unwrap();
    talk(stream, &ask(path, number)).await
}

/// As the board would, with what it was told.
async fn connect(mqtt: &Value) -> Result<Device, String> {
    let text = |key: &str| mqtt[key].as_str().unwrap().to_owned();
    let (host, port) = mqtt["endpoint"].as_str().unwrap().split_once(':').unwrap();
    let id = DeviceId::parse(&text("username")).unwrap();
    let login = Login { host: host.to_owned(), port: port.parse().unwrap(), id, secret: text("password") };
    Device::connect(&login, PATIENCE).await.map_err(|error| format!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_waits_is_claimed_over_the_control_socket_connects_and_survives_a_restart() {
    let gateway = Running::start(chat(&["Fine."])).await;
    let client = Client::new(&gateway.config().control.socket);
    let (status, answer) = post(&gateway, "/xiaozhi/ota/", NUMBER).await;
    assert_eq!(status, 200);
    assert!(answer["mqtt"].is_null(), "{answer}");
    let waiting = client.device_pending().await.unwrap();
    assert_eq!(answer["activation"]["code"], waiting[0].code);
    assert_eq!((waiting[0].id.as_str(), waiting[0].reason.as_str()), (MAC, "new"));
    assert_eq!(post(&gateway, "/xiaozhi/ota/activate", NUMBER).await.0, 202);

    let claim = |code: &str| Claim { code: code.into(), name: Some("kitchen".into()), transport: None };
    let wrong = client.device_claim(claim("000000")).await.unwrap_err();
    assert_eq!(wrong.kind, AdminErrorKind::NotFound);
    assert_eq!(client.device_claim(claim(&waiting[0].code)).await.unwrap().as_str(), MAC);
    assert_eq!(post(&gateway, "/xiaozhi/ota/activate", NUMBER).await.0, 200);
    let (_, told) = post(&gateway, "/xiaozhi/ota/", NUMBER).await;
    drop(connect(&told["mqtt"]).await.unwrap());
    let rows = client.device_list().await.unwrap();
    assert_eq!((rows[0].name.as_deref(), rows[0].dialect.as_deref()), (Some("kitchen"), Some("xiaozhi")));
    let status = client.status().await.unwrap();
    assert!(status.listeners.iter().any(|(name, _)| name == "devices"), "{:?}", status.listeners);

    // the secret is in no file, and the next boot is told the same
    let gateway = gateway.restart().await;
    let (_, again) = post(&gateway, "/xiaozhi/ota/", NUMBER).await;
    assert_eq!(again["mqtt"]["password"], told["mqtt"]["password"]);
    let mut board = connect(&again["mqtt"]).await.unwrap();

    // flashed anew: a new number, claimed again; the connection with the old secret ends
    let (_, asked) = post(&gateway, "/xiaozhi/ota/", OTHER).await;
    let code = asked["activation"]["code"].as_str().unwrap().to_owned();
    assert_eq!(client.device_pending().await.unwrap()[0].reason, "other_board");
    client.device_claim(claim(&code)).await.unwrap();
    assert!(board.next(PATIENCE, "the end").await.is_err());
    connect(&again["mqtt"]).await.map(drop).unwrap_err();
    let (_, new) = post(&gateway, "/xiaozhi/ota/", OTHER).await;
    drop(connect(&new["mqtt"]).await.unwrap());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_the_certificate_of_the_mqtt_door_is_shown() {
    let dir = Arc::new(TempDir::new().unwrap());
    let (authority, _) = Authority::in_folder(dir.path(), SystemClock.wall()).unwrap();
    let pair = authority.server(&["127.0.0.1".to_owned()], 30).unwrap();
    let (certificate, key) = pair.write(dir.path(), "server", true).unwrap();
    let mut config = Box::new(config(dir.path()));
    config.devices.tls = true;
    let problems: Vec<String> = config.check("").into_iter().map(|problem| problem.key).collect();
    assert_eq!(problems, Vec::<String>::new(), "each part is well by itself");
    config.mqtt.tls.enabled = true;
    config.mqtt.tls.listen = "127.0.0.1:0".parse().unwrap();
    (config.mqtt.tls.certificate, config.mqtt.tls.key) = (Some(certificate), Some(key));
    let gateway = Running::start_in(dir.clone(), config, chat(&["Fine."])).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.path().join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tokio_rustls::TlsConnector::from(Arc::new(tls.with_root_certificates(roots).with_no_client_auth()));
    let address = gateway.addrs().devices.unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = tls.connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await.unwrap();
    let (status, answer) = talk(stream, &ask("/xiaozhi/ota/", NUMBER)).await;
    assert_eq!(status, 200);
    assert!(answer["activation"]["code"].is_string(), "{answer}");
    // and who does not speak TLS gets nothing
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(&ask("/xiaozhi/ota/", NUMBER)).await.unwrap();
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1"), "{rest:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firmware_that_is_none_is_refused_over_the_control_socket_with_the_reason() {
    let gateway = Running::start(chat(&["Fine."])).await;
    let client = Client::new(&gateway.config().control.socket);
    let upload = "0123456789abcdef0123456789abcdef".to_owned();
    let parts = [vec![0xFF_u8; 32 << 10], vec![0xFF; 100]];
    for (n, part) in parts.iter().enumerate() {
        let (offset, data) = ((n * (32 << 10)) as u64, STANDARD.encode(part));
        client.firmware_upload(FirmwarePart { upload: upload.clone(), offset, data }).await.unwrap();
    }
    let new = NewFirmware { upload, board: "bread-compact-wifi".into(), version: None, share: 100 };
    let refused = client.firmware_add(new).await.unwrap_err();
    assert_eq!(refused.kind, AdminErrorKind::Invalid);
    assert!(refused.message.contains("merged-binary.bin"), "{refused}");
    assert!(client.firmware_list().await.unwrap().is_empty());
    gateway.stop().await;
}
