//! TLS: its handshakes, good and bad, client certificates, and new files while connections stay.

use std::process::Stdio;

use rcgen::{
    CertificateParams, CertificateRevocationListParams, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use tokio::process::Command;

use super::transports::{Papers, Talk, trusting};
use super::*;
use crate::domain::{Clock, Settled, Span};

#[tokio::test]
async fn the_same_door_is_behind_tcp_and_tls() {
    let papers = Papers::new();
    let mut fixture = Fixture::with(papers.settings()).await;
    let config = trusting(&papers.path("ca.pem"), None);
    let stream = fixture.tls(Listener::Tls, &config).await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let (mut secret, code) = Talk::hello(stream, &fixture, "dev1", "over tls").await;
    assert_eq!(code, Some(0));
    let link = fixture.link().await;
    let mut plain = fixture.peer(Version::V4, "dev2").await;
    assert_eq!(fixture.metrics.connections_of(Listener::Tls), 1);
    assert_eq!(fixture.metrics.connections_of(Listener::Tcp), 1);
    secret.publish("device/dev1/audio", &audio(1)).await;
    until("heard over tls", || fixture.recorder.audio.load(Ordering::SeqCst) == 1).await;
    // larger than a record, and than what the socket takes at once
    let long = vec![7; 300_000];
    link.send(down("device/dev1/down/control", &long, PacketKind::Control)).unwrap();
    let (_, body) = secret.next().await.unwrap();
    assert_eq!(&body[body.len() - long.len()..], &long[..]);
    plain.ping().await;
    drop(secret);
    until("counted down", || fixture.metrics.connections_of(Listener::Tls) == 0).await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_large_message_in_small_records_arrives_whole() {
    let papers = Papers::new();
    let mut fixture = Fixture::with(papers.settings()).await;
    let stream = fixture.tls(Listener::Tls, &trusting(&papers.path("ca.pem"), None)).await.unwrap();
    let (mut talk, _) = Talk::hello(stream, &fixture, "dev1", "c").await;
    let words = "x".repeat(200_000);
    let sending = async {
        let mut out = BytesMut::new();
        let head = PublishHead { qos: 1, id: 3, ..PublishHead::default() };
        codec::publish(&mut out, Version::V4, head, "device/dev1/control", &typed(&words));
        for piece in out.chunks(1_000) {
            talk.send(piece).await;
        }
        talk.next().await.unwrap()
    };
    let receiving = async {
        let uplink = fixture.uplink().await;
        uplink.receipt.settle(Settled::Durable);
        format!("{:?}", uplink.body).len()
    };
    let (ack, len) = tokio::join!(sending, receiving);
    assert_eq!(ack, (0x40, vec![0, 3]));
    assert!(len > 200_000);
    fixture.stop().await;
}

#[tokio::test]
async fn old_versions_are_spoken_as_far_as_configured() {
    for (least, speaks_12) in [(TlsVersion::V12, true), (TlsVersion::V13, false)] {
        let papers = Papers::new();
        let mut settings = papers.settings();
        settings.tls.min_version = least;
        let fixture = Fixture::with(settings).await;
        let mut roots = rustls::RootCertStore::empty();
        let ca = rustls::pki_types::pem::PemObject::from_pem_slice(papers.authority.certificate().as_bytes());
        roots.add(ca.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let old = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = fixture.tls(Listener::Tls, &Arc::new(old)).await;
        assert_eq!(stream.is_ok(), speaks_12, "{least:?}");
        match stream {
            Ok(stream) => assert_eq!(Talk::hello(stream, &fixture, "dev1", "old").await.1, Some(0)),
            Err(_) => fixture.refused("tls_incompatible").await,
        }
        fixture.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_comes_back_resumes() {
    let papers = Papers::new();
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let fixture = Fixture::with(papers.settings()).await;
        let mut roots = rustls::RootCertStore::empty();
        let ca = rustls::pki_types::pem::PemObject::from_pem_slice(papers.authority.certificate().as_bytes());
        roots.add(ca.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let mut kinds = Vec::new();
        for n in 0..2 {
            let stream = fixture.tls(Listener::Tls, &config).await.unwrap();
            let (mut talk, code) = Talk::hello(stream, &fixture, "dev1", &format!("c{n}")).await;
            assert_eq!(code, Some(0));
            talk.ping().await; // the ticket has come before this
            kinds.push(talk.stream.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(kinds[1], rustls::HandshakeKind::Resumed, "{kinds:?}");
        fixture.stop().await;
    }
}

#[tokio::test]
async fn any_alpn_is_tolerated() {
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    let mut config = (*trusting(&papers.path("ca.pem"), None)).clone();
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    let stream = fixture.tls(Listener::Tls, &Arc::new(config)).await.unwrap();
    assert_eq!(Talk::hello(stream, &fixture, "dev1", "alpn").await.1, Some(0));
    fixture.stop().await;
}

/// K10a and K10b of the broker study: there one silent socket shut a listener for everybody.
#[tokio::test]
async fn a_hundred_sockets_that_say_nothing_keep_nobody_waiting() {
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    let mut silent = Vec::new();
    for listener in [Listener::Tls, Listener::WebSocket, Listener::WebSocketTls] {
        for n in 0..40 {
            let mut stream = fixture.tcp(listener).await;
            // some stop after a few bytes of a hello or a request
            let begun: &[u8] = if listener == Listener::WebSocket { b"GET /mq" } else { &[0x16, 3, 1, 2] };
            stream.write_all(&begun[..n % begun.len()]).await.unwrap();
            silent.push(stream);
        }
    }
    let config = trusting(&papers.path("ca.pem"), None);
    let good = async {
        for n in 0..5 {
            let stream = fixture.tls(Listener::Tls, &config).await.unwrap();
            let (mut talk, code) = Talk::hello(stream, &fixture, "dev1", &format!("c{n}")).await;
            assert_eq!(code, Some(0));
            talk.ping().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), good).await.expect("good clients wait for silent ones");
    fixture.stop().await;
}

#[tokio::test]
async fn a_silent_socket_is_closed_when_its_time_is_over() {
    let papers = Papers::new();
    let mut settings = papers.settings();
    settings.limits.connect_time = Span::ms(100);
    let fixture = Fixture::with(settings).await;
    for (listener, result) in
        [(Listener::Tls, "tls_timeout"), (Listener::WebSocket, "ws_timeout"), (Listener::WebSocketTls, "tls_timeout")]
    {
        let before = fixture.metrics.connects(result);
        let mut stream = fixture.tcp(listener).await;
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap_or(0), 0, "{listener:?}");
        until(result, || fixture.metrics.connects(result) > before).await;
    }
    // a handshake does not buy more time
    let config = trusting(&papers.path("ca.pem"), None);
    let mut stream = fixture.tls(Listener::Tls, &config).await.unwrap();
    assert_eq!(stream.read(&mut [0; 64]).await.unwrap_or(0), 0);
    fixture.refused("no_connect").await;
    fixture.stop().await;
}

#[tokio::test]
async fn strangers_of_all_listeners_count_together() {
    let papers = Papers::new();
    let mut settings = papers.settings();
    settings.limits.unauthenticated = 3;
    let fixture = Fixture::with(settings).await;
    let mut silent = Vec::new();
    for listener in [Listener::Tls, Listener::WebSocket, Listener::WebSocketTls] {
        silent.push(fixture.tcp(listener).await);
    }
    // one too many, whatever its listener, and whichever of the four is accepted last
    silent.push(fixture.tcp(Listener::Tcp).await);
    until("refused", || fixture.metrics.connects("limit") == 1).await;
    drop(silent);
    // there is room again, as soon as the door has seen them go
    let again =
        async { while Talk::hello(fixture.tcp(Listener::Tcp).await, &fixture, "dev1", "c").await.1.is_none() {} };
    tokio::time::timeout(Duration::from_secs(5), again).await.expect("still no room");
    fixture.stop().await;
}

#[tokio::test]
async fn noise_and_plain_mqtt_on_the_tls_port_are_told_apart_and_closed() {
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    let connect = fixture.connect_packet(Version::V4, "dev1", "c", 60);
    let noise = [[0xFF_u8; 64].to_vec(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), connect];
    for (n, bytes) in noise.iter().enumerate() {
        let mut stream = fixture.tcp(Listener::Tls).await;
        stream.write_all(bytes).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        until("counted", || fixture.metrics.connects("tls_garbage") == n as u64 + 1).await;
    }
    fixture.stop().await;
}

#[tokio::test]
async fn a_tls_hello_on_the_plain_port_is_closed_at_once() {
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    assert!(fixture.tls(Listener::Tcp, &trusting(&papers.path("ca.pem"), None)).await.is_err());
    fixture.refused("protocol_error").await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_client_that_trusts_another_ca_goes_away() {
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    let other = Papers::new();
    assert!(fixture.tls(Listener::Tls, &trusting(&other.path("ca.pem"), None)).await.is_err());
    fixture.refused("tls_refused").await;
    fixture.stop().await;
}

/// Shakes hands, then says hello: over TLS 1.3 a client learns only then that its certificate was refused.
async fn comes_in(fixture: &Fixture, config: &Arc<rustls::ClientConfig>) -> bool {
    match fixture.tls(Listener::Tls, config).await {
        Ok(stream) => Talk::hello(stream, fixture, "dev1", "c").await.1 == Some(0),
        Err(_) => false,
    }
}

#[tokio::test]
async fn client_certificates_are_asked_for_as_configured() {
    let papers = Papers::new();
    let (certificate, key) = papers.client("dev1");
    let ca = papers.path("ca.pem");
    let (with, without) = (trusting(&ca, Some((&certificate, &key))), trusting(&ca, None));
    for (ask, lets_in_without) in [(ClientCertificates::Optional, true), (ClientCertificates::Required, false)] {
        let fixture = Fixture::with(papers.asking(ask)).await;
        assert!(comes_in(&fixture, &with).await, "{ask:?}");
        assert_eq!(comes_in(&fixture, &without).await, lets_in_without, "{ask:?}");
        if !lets_in_without {
            fixture.refused("tls_no_certificate").await;
        }
        fixture.stop().await;
    }
}

/// A client's certificate of the papers' CA with something of its own.
fn odd(papers: &Papers, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Arc<rustls::ClientConfig> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, papers.authority.issuer()).unwrap();
    let (at, key_at) = (papers.path("odd.pem"), papers.path("odd.key"));
    std::fs::write(&at, certificate.pem()).unwrap();
    std::fs::write(&key_at, key.serialize_pem()).unwrap();
    trusting(&papers.path("ca.pem"), Some((&at, &key_at)))
}

#[tokio::test]
async fn a_client_certificate_that_ended_or_is_of_another_ca_is_refused_and_counted() {
    let papers = Papers::new();
    let fixture = Fixture::with(papers.asking(ClientCertificates::Optional)).await;
    let ended = odd(&papers, "dev1", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    assert!(!comes_in(&fixture, &ended).await);
    fixture.refused("tls_expired").await;
    let server = odd(&papers, "dev1", |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert!(!comes_in(&fixture, &server).await, "a server's certificate is no client's");
    fixture.refused("tls_bad_certificate").await;
    let other = Papers::new();
    let (certificate, key) = other.client("dev1");
    assert!(!comes_in(&fixture, &trusting(&papers.path("ca.pem"), Some((&certificate, &key)))).await);
    until("another ca", || fixture.metrics.connects("tls_bad_certificate") == 2).await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_revoked_client_certificate_is_refused_once_the_list_says_so() {
    let papers = Papers::new();
    let list = |numbers: &[u64]| {
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(papers.authority.issuer()).unwrap();
        std::fs::write(papers.path("crl.pem"), list.pem().unwrap()).unwrap();
    };
    list(&[7]);
    let mut settings = papers.asking(ClientCertificates::Required);
    settings.tls.client_crl = Some(papers.path("crl.pem"));
    let fixture = Fixture::with(settings).await;
    let good = odd(&papers, "dev1", |params| params.serial_number = Some(SerialNumber::from(8)));
    assert!(comes_in(&fixture, &good).await);
    let bad = odd(&papers, "dev1", |params| params.serial_number = Some(SerialNumber::from(7)));
    assert!(!comes_in(&fixture, &bad).await);
    fixture.refused("tls_revoked").await;
    // the good one is revoked too: its ticket must not bring it past the new list
    list(&[7, 8]);
    fixture.control.reload_certificate();
    until("reloaded", || fixture.metrics.tls_reloads("ok") == 1).await;
    assert!(!comes_in(&fixture, &good).await);
    fixture.stop().await;
}

fn serial(stream: &tokio_rustls::client::TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_new_certificate_serves_new_connections_and_old_ones_stay() {
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    let config = || trusting(&papers.path("ca.pem"), None);
    let first = fixture.tls(Listener::Tls, &config()).await.unwrap();
    let old = serial(&first);
    let (mut first, code) = Talk::hello(first, &fixture, "dev1", "first").await;
    assert_eq!(code, Some(0));
    let expiry = fixture.metrics.certificate_expiry.get();
    assert!(expiry > 1_700_000_000, "{expiry}");

    // only half of the pair is there yet: the old one stays
    let pair = papers.authority.server(&["localhost".to_owned()], 60).unwrap();
    std::fs::write(papers.path("server.pem"), &pair.certificate).unwrap();
    fixture.control.reload_certificate();
    until("the mistake is counted", || fixture.metrics.tls_reloads("failed") >= 1).await;
    assert_eq!(serial(&fixture.tls(Listener::Tls, &config()).await.unwrap()), old);

    std::fs::write(papers.path("server.key"), pair.key()).unwrap();
    fixture.control.reload_certificate();
    until("reloaded", || fixture.metrics.tls_reloads("ok") == 1).await;
    assert_ne!(serial(&fixture.tls(Listener::Tls, &config()).await.unwrap()), old);
    assert_ne!(serial(&fixture.tls(Listener::WebSocketTls, &config()).await.unwrap()), old, "shared with wss");
    assert!(fixture.metrics.certificate_expiry.get() > expiry);
    first.ping().await;

    // gone files and files of nonsense change nothing either
    for damage in [None, Some("nonsense")] {
        let failed = fixture.metrics.tls_reloads("failed");
        match damage {
            None => std::fs::remove_file(papers.path("server.key")).unwrap(),
            Some(text) => std::fs::write(papers.path("server.key"), text).unwrap(),
        }
        fixture.control.reload_certificate();
        until("counted", || fixture.metrics.tls_reloads("failed") > failed).await;
        assert!(comes_in(&fixture, &config()).await);
    }
    first.ping().await;
    fixture.stop().await;
}

#[tokio::test]
async fn changed_files_are_noticed_without_being_asked() {
    let papers = Papers::new();
    let mut settings = papers.settings();
    settings.tls.reload = Span::ms(20);
    let fixture = Fixture::with(settings).await;
    papers.renew();
    until("noticed", || fixture.metrics.tls_reloads("ok") >= 1).await;
    fixture.stop().await;
}

type Change<'a> = Box<dyn Fn(&mut TlsSettings) + 'a>;

/// What the door says to files that it cannot use.
#[test]
fn every_wrong_file_is_named_with_its_remedy() {
    let papers = Papers::new();
    let other = Papers::new();
    let now = i64::try_from(SystemClock.wall().0 / 1_000).unwrap();
    let good = papers.asking(ClientCertificates::Required);
    assert_eq!(good.check_files(now).map_err(|p| p.what), Ok(vec![]));
    let write = |name: &str, text: &str| {
        std::fs::write(papers.path(name), text).unwrap();
        Some(papers.path(name))
    };
    let table: Vec<(&str, &str, Change<'_>)> = vec![
        ("mqtt.tls.certificate", "no such file", Box::new(|tls| tls.certificate = Some(papers.path("gone.pem")))),
        ("mqtt.tls.certificate", "holds no certificate", Box::new(|tls| tls.certificate = tls.key.clone())),
        ("mqtt.tls.certificate", "cannot be read", Box::new(|tls| tls.certificate = Some(papers.dir.path().into()))),
        ("mqtt.tls.key", "does not fit", Box::new(|tls| tls.key = Some(other.path("server.key")))),
        ("mqtt.tls.key", "holds no private key", Box::new(|tls| tls.key = tls.certificate.clone())),
        (
            "mqtt.tls.key",
            "passphrase",
            Box::new(|tls| {
                let text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
                tls.key = write("locked.key", text);
            }),
        ),
        ("mqtt.tls.key", "no private key", Box::new(|tls| tls.key = write("empty.key", ""))),
        ("mqtt.tls.client_ca", "holds no certificate", Box::new(|tls| tls.client_ca = write("ca.txt", "trust me"))),
        ("mqtt.tls.client_crl", "holds no revocation list", Box::new(|tls| tls.client_crl = tls.client_ca.clone())),
    ];
    for (key, what, change) in table {
        let mut settings = good.clone();
        change(&mut settings.tls);
        let problem = settings.check_files(now).unwrap_err();
        assert!(problem.key == key && problem.what.contains(what), "{what}: {problem:?}");
        assert!(problem.remedy.len() > 10, "{problem:?}");
    }
    let ended = good.check_files(4_000_000_000).unwrap();
    assert!(ended.iter().any(|warning| warning.contains("ended at")), "{ended:?}");
}

#[test]
fn settings_that_cannot_work_are_told() {
    let mut settings = Settings::default();
    settings.tls.enabled = true;
    settings.tls.client_certificates = ClientCertificates::Required;
    settings.websocket.enabled = true;
    settings.websocket.path = "mqtt".into();
    settings.websocket.listen = settings.listen;
    settings.websocket.origins = vec!["https://console.example/".into(), "*".into()];
    let keys: Vec<String> = settings.check("mqtt").into_iter().map(|problem| problem.key).collect();
    let expected = [
        "mqtt.tls.certificate",
        "mqtt.tls.key",
        "mqtt.tls.client_ca",
        "mqtt.websocket.path",
        "mqtt.websocket.origins[0]",
        "mqtt.websocket.listen",
    ];
    assert_eq!(keys, expected);
    let silent = Settings { plain: false, ..Settings::default() };
    assert_eq!(silent.check("mqtt")[0].key, "mqtt.plain");
}

async fn there(program: &str, arg: &str) -> bool {
    let found = Command::new(program).arg(arg).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    if found.is_err() {
        println!("skipped: {program} is not installed");
    }
    found.is_ok()
}

#[tokio::test]
async fn mosquitto_pub_and_sub_come_over_tls_with_and_without_a_certificate() {
    if !there("mosquitto_sub", "--help").await {
        return;
    }
    let papers = Papers::new();
    let mut fixture = Fixture::with(papers.asking(ClientCertificates::Optional)).await;
    let (certificate, key) = papers.client("dev1");
    let port = fixture.addr_of(Listener::Tls).port().to_string();
    let client = |program: &str, user: &str| {
        let mut command = Command::new(program);
        command.args(["-h", "localhost", "-p", &port, "-u", user, "-P", fixture.secrets[user].reveal()]);
        command.arg("--cafile").arg(papers.path("ca.pem")).kill_on_drop(true);
        command
    };
    let watcher = client("mosquitto_sub", "operator")
        .args(["-t", "device/+/control", "-C", "1", "-v"])
        .stdout(Stdio::piped())
        .spawn();
    until("it subscribes", || fixture.bus.hub().watched("device/dev1/control", None)).await;
    let said = String::from_utf8(typed("good morning")).unwrap();
    let mut publisher = client("mosquitto_pub", "dev1");
    publisher.arg("--cert").arg(certificate).arg("--key").arg(key);
    let mut publisher = publisher.args(["-t", "device/dev1/control", "-q", "1", "-m", &said]).spawn().unwrap();
    let uplink = fixture.uplink().await;
    uplink.receipt.settle(Settled::Durable);
    assert!(publisher.wait().await.unwrap().success());
    let out = watcher.unwrap().wait_with_output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), format!("device/dev1/control {said}"));

    let other = Papers::new();
    let mut wary = Command::new("mosquitto_sub");
    wary.args(["-h", "localhost", "-p", &port, "-u", "dev1", "-P", "x", "-t", "x", "--cafile"])
        .arg(other.path("ca.pem"));
    let out = wary.output().await.unwrap();
    assert!(!out.status.success(), "it trusts another ca");
    fixture.stop().await;
}

#[tokio::test]
async fn openssl_finds_the_chain_good_in_both_versions() {
    if !there("openssl", "version").await {
        return;
    }
    let papers = Papers::new();
    let fixture = Fixture::with(papers.settings()).await;
    let at = fixture.addr_of(Listener::Tls).to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-connect",
            &at,
            "-servername",
            "localhost",
            "-verify_hostname",
            "localhost",
            version,
        ]);
        command.arg("-verify_return_error").arg("-CAfile").arg(papers.path("ca.pem")).stdin(Stdio::null());
        let out = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && said.contains("Verify return code: 0 (ok)"), "{version}: {said}");
    }
    fixture.stop().await;
}
