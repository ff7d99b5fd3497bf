//! The control API over a socket, with a whole gateway behind it. Numbers in comments are those of the faults of OpenCane
//! that a test holds out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod gateway;

use serde_json::{Value, json};
use voxgate::admin::{Admin, NewOperator, Role};
use voxgate::domain::{ByteSize, ControlKind, DeviceId, Downlink, Hello, Message, Span};
use voxgate::door::http::control::Signature;

use gateway::http::{Http, Reply};
use gateway::peer::{Got, Peer, Version, connect_packet};
use gateway::{Running, chat, until};

/// A gateway whose turns nobody asks for.
async fn running() -> Running {
    Running::start(chat(&["yes"])).await
}

async fn operator(gateway: &Running, name: &str, role: Role) -> Http {
    let new = NewOperator { name: name.to_owned(), role, password: None };
    let secret = gateway.operators().operator_add(new).await.unwrap().secret.unwrap().0;
    Http { address: gateway.addrs().http.unwrap(), token: Some(format!("{name}.{secret}")) }
}

fn stranger(gateway: &Running) -> Http {
    Http { address: gateway.addrs().http.unwrap(), token: None }
}

#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code()), (status, code), "{}", reply.text);
    assert_eq!(reply.body["success"], false);
    assert!(reply.body["error"].as_str().is_some_and(|error| !error.is_empty()), "{}", reply.text);
    assert!(reply.head.contains("content-type: application/json"), "{}", reply.head);
}

#[track_caller]
fn done(reply: Reply) -> Value {
    assert_eq!((reply.status, &reply.body["success"]), (200, &json!(true)), "{}", reply.text);
    reply.body
}

/// The code of CONNACK (3.1.1): 0 lets in.
async fn knock(gateway: &Running, user: &str, password: &str) -> u8 {
    let mut peer = Peer::open(gateway.addrs().mqtt).await;
    peer.send(&connect_packet(Version::V4, user, password)).await;
    match peer.next().await {
        Got::Packet(0x20, body) => body[1],
        other => panic!("{other:?}"),
    }
}

/// 21: authentication was off by default, one token could do everything, and reading asked for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_served_without_a_token_that_fits_and_no_role_does_more_than_it_may() {
    let gateway = running().await;
    let (nobody, viewer) = (stranger(&gateway), operator(&gateway, "vera", Role::Viewer).await);
    for path in ["/v1/device/binding", "/v1/nothing/here"] {
        let reply = nobody.get(path).await;
        refused(&reply, 401, "unauthorized");
        assert!(reply.head.contains("www-authenticate: bearer"), "{}", reply.head);
    }
    let register = json!({"device_id": "cane-1"});
    refused(&nobody.post("/v1/device/register", register.clone()).await, 401, "unauthorized");
    let wrong = Http { token: viewer.token.clone().map(|token| token + "x"), ..viewer.clone() };
    refused(&wrong.get("/v1/device/binding").await, 401, "unauthorized");
    refused(&viewer.post("/v1/device/register", register.clone()).await, 403, "forbidden");
    let olaf = operator(&gateway, "olaf", Role::Operator).await;
    refused(&olaf.post("/v1/device/register", register).await, 403, "forbidden");
    done(viewer.get("/v1/device/binding").await);

    // a device is no operator, whatever secret it has
    let secret = gateway.add("cane-9", false).await;
    let device = Http { token: Some(format!("cane-9.{secret}")), ..nobody };
    refused(&device.get("/v1/device/binding").await, 403, "forbidden");

    // who is removed is gone at once
    gateway.operators().operator_remove("vera".into()).await.unwrap();
    refused(&viewer.get("/v1/device/binding").await, 401, "unauthorized");
    gateway.stop().await;
}

/// 21: a body that is no UTF-8 cut the connection without an answer, and a JSON list gave 500.
#[tokio::test(flavor = "multi_thread")]
async fn no_body_is_answered_with_silence_or_a_fault_of_ours() {
    let gateway = Running::start_with(chat(&["yes"]), |config| config.http.api.body = ByteSize::kb(64)).await;
    let admin = operator(&gateway, "ada", Role::Admin).await;
    let path = "/v1/device/register";
    for bad in [&b"\xff\xfe{}"[..], b"[1]", b"\"x\"", b"null", b"{", b"[", b"{\"a\":\"\xc3\x28\"}"] {
        refused(&admin.ask("POST", path, &[], bad).await, 400, "invalid_json");
    }
    for bad in [json!({}), json!({"device_id": 5}), json!({"device_id": "a/b"}), json!({"device_id": ""})] {
        refused(&admin.post(path, bad).await, 400, "bad_request");
    }
    let deep = [b"{\"metadata\":".repeat(2_000), b"1".to_vec(), b"}".repeat(2_000)].concat();
    refused(&admin.ask("POST", path, &[], &deep).await, 400, "invalid_json");
    refused(&admin.ask("POST", path, &[], &vec![b' '; (64 << 10) + 1]).await, 413, "payload_too_large");
    let chunked = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nx-auth-token: {}\r\ntransfer-encoding: chunked\r\n\r\n20000\r\n{}\r\n0\r\n\r\n",
        admin.token.clone().unwrap(),
        " ".repeat(0x20000)
    );
    refused(&admin.raw(chunked.as_bytes()).await, 413, "payload_too_large");
    refused(&admin.get("/v1/device/nothing").await, 404, "not_found");
    let reply = admin.get(path).await;
    refused(&reply, 405, "method_not_allowed");
    assert!(reply.head.contains("allow: post"), "{}", reply.head);
    refused(&admin.post("/v1/device/binding", json!({})).await, 405, "method_not_allowed");
    refused(&admin.get("/v1/device/binding?limit=many").await, 400, "bad_request");
    refused(&admin.get("/v1/device/binding?status=lost").await, 400, "bad_request");
    done(admin.post(path, json!({"device_id": "cane-1"})).await);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_told_that_its_time_is_over() {
    let gateway = Running::start_with(chat(&["yes"]), |config| config.http.api.timeout = Span::ms(200)).await;
    let admin = operator(&gateway, "ada", Role::Admin).await;
    let head = format!(
        "POST /v1/device/register HTTP/1.1\r\nhost: x\r\nx-auth-token: {}\r\ncontent-length: 100\r\n\r\n{{",
        admin.token.clone().unwrap()
    );
    refused(&admin.raw(head.as_bytes()).await, 504, "timeout");
    gateway.stop().await;
}

/// 21: the limit counted by a header that anybody could write.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_use_up_their_own_limit_and_no_operators() {
    let few = |config: &mut voxgate::config::Config| {
        config.http.api.strangers_per_minute = 3;
        config.http.api.requests_per_minute = 5;
        config.mqtt.credentials.delay = Span::ms(1);
    };
    let gateway = Running::start_with(chat(&["yes"]), few).await;
    let (nobody, ada) = (stranger(&gateway), operator(&gateway, "ada", Role::Admin).await);
    for n in 0..3 {
        let lies = [("x-device-id", format!("cane-{n}")), ("x-forwarded-for", format!("10.0.0.{n}"))];
        let lies: Vec<(&str, &str)> = lies.iter().map(|(name, value)| (*name, value.as_str())).collect();
        refused(&nobody.ask("GET", "/v1/device/binding", &lies, b"").await, 401, "unauthorized");
    }
    let guess = Http { token: Some("ada.guess".into()), ..nobody.clone() };
    let reply = guess.get("/v1/device/binding").await;
    refused(&reply, 429, "rate_limited");
    assert!(reply.head.contains("retry-after:"), "{}", reply.head);
    refused(&nobody.get("/v1/device/binding").await, 429, "rate_limited");
    // at the same address: who is proven has a limit of its own
    for _ in 0..5 {
        done(ada.get("/v1/device/binding").await);
    }
    refused(&ada.get("/v1/device/binding").await, 429, "rate_limited");
    done(operator(&gateway, "bert", Role::Viewer).await.get("/v1/device/binding").await);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_with_a_nonce_counts_twice_also_after_a_restart() {
    let gateway = Running::start_with(chat(&["yes"]), |config| config.http.api.nonces = true).await;
    let ada = operator(&gateway, "ada", Role::Admin).await;
    let path = "/v1/device/register";
    let body = br#"{"device_id":"cane-1"}"#;
    let now = now_ms().to_string();
    refused(&ada.ask("POST", path, &[], body).await, 400, "missing_nonce");
    refused(&ada.ask("POST", path, &[("x-request-nonce", "n")], body).await, 400, "missing_timestamp");
    let soon = [("x-request-nonce", "n"), ("x-request-timestamp", "soon")];
    let reply = ada.ask("POST", path, &soon, body).await;
    refused(&reply, 400, "invalid_timestamp");
    assert_eq!(reply.body["error"], "invalid_timestamp");
    let stale = [("x-request-nonce", "n"), ("x-request-timestamp", "1700000000")];
    refused(&ada.ask("POST", path, &stale, body).await, 400, "stale_timestamp");
    let good = [("x-request-nonce", "n"), ("x-request-timestamp", now.as_str())];
    done(ada.ask("POST", path, &good, body).await);
    refused(&ada.ask("POST", path, &good, body).await, 409, "replayed_nonce");
    // what only looks needs none
    done(ada.get("/v1/device/binding").await);
    let gateway = gateway.restart().await;
    let ada = Http { address: gateway.addrs().http.unwrap(), ..ada };
    refused(&ada.ask("POST", path, &good, body).await, 400, "stale_timestamp");
    gateway.stop().await;
}

fn now_ms() -> u64 {
    use voxgate::domain::Clock;
    voxgate::domain::SystemClock.wall().0
}

/// Made by openssl, so that the signature is not ours twice.
fn signature(key: &str, text: &str) -> String {
    let mut openssl = std::process::Command::new("openssl");
    let openssl = openssl.args(["dgst", "-sha256", "-hmac", key]).stdin(std::process::Stdio::piped());
    let mut child = openssl.stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().last().unwrap().to_owned()
}

fn digest(body: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, body).unwrap();
    let output = std::process::Command::new("sha256sum").arg(&file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

/// 21: a nonce was not tied to the body.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_cannot_be_made_another_and_no_token_is_taken() {
    let signed = |config: &mut voxgate::config::Config| config.http.api.signature = Signature::Required;
    let gateway = Running::start_with(chat(&["yes"]), signed).await;
    let ada = operator(&gateway, "ada", Role::Admin).await;
    let key = gateway.operators().operator_signing_key("ada".into()).await.unwrap().0;
    let (path, body) = ("/v1/device/register", br#"{"device_id":"cane-1"}"#);
    refused(&ada.ask("POST", path, &[], body).await, 400, "missing_nonce");
    let nobody = stranger(&gateway);
    let (stamp, hash) = (now_ms().to_string(), digest(body));
    let made = signature(&key, &format!("POST\n{path}\n{stamp}\nn-1\n{hash}"));
    let headers = |operator: &'static str, nonce: &'static str| {
        [
            ("x-operator", operator.to_owned()),
            ("x-request-nonce", nonce.to_owned()),
            ("x-request-timestamp", stamp.clone()),
            ("x-content-sha256", hash.clone()),
            ("x-request-signature", made.clone()),
        ]
    };
    let ask = async |path: &str, headers: [(&str, String); 5], body: &[u8]| {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        nobody.ask("POST", path, &headers, body).await
    };
    refused(&ask(path, headers("ada", "n-2"), body).await, 401, "unauthorized");
    refused(&ask(path, headers("olaf", "n-1"), body).await, 401, "unauthorized");
    refused(&ask("/v1/device/revoke", headers("ada", "n-1"), body).await, 401, "unauthorized");
    refused(&ask("/v1/device/register?x=1", headers("ada", "n-1"), body).await, 401, "unauthorized");
    assert_eq!(done(ask(path, headers("ada", "n-1"), body).await)["device"]["status"], "registered");
    refused(&ask(path, headers("ada", "n-1"), body).await, 409, "replayed_nonce");
    // a signature that fits another body
    let made = signature(&key, &format!("POST\n{path}\n{stamp}\nn-3\n{hash}"));
    let mut other = headers("ada", "n-3");
    other[4].1 = made;
    refused(&ask(path, other, br#"{"device_id":"cane-2"}"#).await, 401, "unauthorized");
    assert_eq!(gateway.operators().device_list().await.unwrap().len(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_web_page_of_elsewhere_asks_in_the_name_of_who_looks_at_it() {
    let gateway = Running::start_with(chat(&["yes"]), |config| config.http.api.auth = false).await;
    let anyone = stranger(&gateway);
    done(anyone.get("/v1/device/binding").await);
    let evil = [("origin", "https://evil.example")];
    let reply = anyone.ask("POST", "/v1/device/register", &evil, br#"{"device_id":"cane-1"}"#).await;
    refused(&reply, 403, "foreign_origin");
    // a name of theirs that was pointed at this machine
    let rebound =
        b"GET /v1/device/binding HTTP/1.1\r\nhost: evil.example:18792\r\norigin: http://evil.example:18792\r\n\r\n";
    refused(&anyone.raw(rebound).await, 403, "foreign_origin");
    let own = format!("http://{}", anyone.address);
    let reply = anyone.ask("POST", "/v1/device/register", &[("origin", &own)], br#"{"device_id":"cane-1"}"#).await;
    done(reply);
    gateway.stop().await;
}

/// 20: tokens were kept and told in clear, and who was revoked could be activated again.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_revoked_is_thrown_off_and_nothing_but_another_token_brings_it_back() {
    let gateway = running().await;
    let ada = operator(&gateway, "ada", Role::Admin).await;
    let registered = done(ada.post("/v1/device/register", json!({"deviceId": "cane-1", "metadata": {"k": 1}})).await);
    let token = registered["device"]["device_token"].as_str().unwrap().to_owned();
    assert_eq!(registered["device"]["status"], "registered");
    assert_ne!(knock(&gateway, "cane-1", &token).await, 0, "it is not activated");

    refused(&ada.post("/v1/device/bind", json!({"device_id": "cane-7", "user_id": "anna"})).await, 404, "not_found");
    refused(&ada.post("/v1/device/activate", json!({"device_id": "cane-1"})).await, 409, "conflict");
    refused(&ada.post("/v1/device/bind", json!({"device_id": "cane-1", "user_id": " "})).await, 400, "bad_request");
    let bound = done(ada.post("/v1/device/bind", json!({"device_id": "cane-1", "user_id": "anna"})).await);
    assert_eq!((&bound["device"]["status"], &bound["device"]["user_id"]), (&json!("bound"), &json!("anna")));
    assert_ne!(knock(&gateway, "cane-1", &token).await, 0, "it is not activated");
    let other = json!({"device_id": "cane-1", "user_id": "bert"});
    refused(&ada.post("/v1/device/activate", other).await, 409, "conflict");
    done(ada.post("/v1/device/activate", json!({"device_id": "cane-1"})).await);
    let mut inside = Peer::connect(gateway.addrs().mqtt, Version::V4, "cane-1", &token).await;

    // again: it has a token, which is not told a second time
    let again = done(ada.post("/v1/device/register", json!({"device_id": "cane-1"})).await);
    assert_eq!((&again["device"]["device_token"], &again["device"]["status"]), (&Value::Null, &json!("activated")));
    let listed = ada.get("/v1/device/binding?device_id=cane-1").await;
    assert!(!listed.text.contains(&token) && listed.text.contains("\"k\":1"), "{}", listed.text);

    let revoke = json!({"device_id": "cane-1", "reason": "lost in the bus"});
    let revoked = done(ada.post("/v1/device/revoke", revoke).await);
    assert_eq!(revoked["device"]["revoke_reason"], "lost in the bus");
    while !matches!(inside.next().await, Got::Closed) {}
    assert_ne!(knock(&gateway, "cane-1", &token).await, 0, "it is revoked");
    for (path, body) in [
        ("/v1/device/activate", json!({"device_id": "cane-1", "user_id": "anna"})),
        ("/v1/device/bind", json!({"device_id": "cane-1", "user_id": "anna", "status": "activated"})),
        ("/v1/device/register", json!({"device_id": "cane-1"})),
    ] {
        refused(&ada.post(path, body).await, 409, "conflict");
    }
    let gateway = gateway.restart().await;
    let ada = Http { address: gateway.addrs().http.unwrap(), ..ada };
    assert_ne!(knock(&gateway, "cane-1", &token).await, 0, "it is revoked");
    let anew = done(ada.post("/v1/device/register", json!({"device_id": "cane-1", "force_rotate": true})).await);
    assert_eq!((&anew["device"]["status"], &anew["device"]["user_id"]), (&json!("registered"), &json!("")));
    let other = anew["device"]["device_token"].as_str().unwrap().to_owned();
    assert_ne!(other, token);
    done(ada.post("/v1/device/bind", json!({"device_id": "cane-1", "user_id": "bert", "status": "activated"})).await);
    assert_ne!(knock(&gateway, "cane-1", &token).await, 0, "the old token is dead");
    assert_eq!(knock(&gateway, "cane-1", &other).await, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_added_by_hand_is_active_and_can_be_revoked_too() {
    let gateway = running().await;
    let ada = operator(&gateway, "ada", Role::Admin).await;
    let secret = gateway.add("cane-1", false).await;
    let listed = done(ada.get("/v1/device/binding").await);
    assert_eq!((&listed["count"], &listed["items"][0]["status"]), (&json!(1), &json!("activated")));
    done(ada.post("/v1/device/revoke", json!({"device_id": "cane-1"})).await);
    assert_ne!(knock(&gateway, "cane-1", &secret).await, 0);
    let anew = voxgate::admin::NewDevice::anew(DeviceId::parse("cane-1").unwrap(), voxgate::domain::ListenMode::Auto);
    assert!(gateway.operators().device_add(anew).await.is_err(), "adding it anew would bring it back");
    assert_eq!(done(ada.get("/v1/device/binding?status=revoked").await)["count"], 1);
    assert_eq!(done(ada.get("/v1/device/binding?user_id=anna").await)["count"], 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_in_the_document_and_the_page_loads_nothing_of_elsewhere() {
    let gateway = running().await;
    let nobody = stranger(&gateway);
    let document = nobody.get("/v1/openapi.json").await;
    assert_eq!((document.status, &document.body["openapi"]), (200, &json!("3.1.0")));
    assert_eq!(document.body, voxgate::door::http::control::openapi());
    let page = nobody.get("/v1/docs").await;
    assert_eq!(page.status, 200);
    assert!(page.head.contains("default-src 'none'") && !page.text.contains("//"), "{}", page.text);
    gateway.stop().await;
}

/// Says hello; gives the session.
async fn hello(device: &mut voxgate::sim::device::Device, boot_id: u32) -> String {
    device.renumber();
    device.control(None, ControlKind::Hello(Hello { boot_id: Some(boot_id), ..Hello::default() })).await.unwrap();
    let answer = until(device, |downlink| is(downlink, "hello_ack")).await;
    let Downlink::Control { message: Message::HelloAck(ack), .. } = answer else { panic!("{answer:?}") };
    ack.session_id.to_string()
}

fn is(downlink: &Downlink, name: &str) -> bool {
    matches!(downlink, Downlink::Control { message, .. } if message.name() == name)
}

async fn answer(device: &mut voxgate::sim::device::Device, session: &str, operation_id: &str, success: bool) {
    let (operation_id, result) = (operation_id.to_owned(), json!({"done": success}));
    let error = (!success).then(|| "no such tool".to_owned());
    let kind = ControlKind::ToolResult { operation_id, success, result, error };
    device.control(Some(session), kind).await.unwrap();
}

/// The operation, when it has this status.
async fn becomes(api: &Http, id: &str, status: &str) -> Value {
    let path = format!("/v1/device/ops?operation_id={id}");
    api.get_until(&path, |listed| listed["items"][0]["status"] == status).await["items"][0].clone()
}

/// 25: an operation of a device that was away failed at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_a_device_that_is_away_is_neither_lost_by_a_restart_nor_done_twice() {
    let gateway = running().await;
    let olaf = operator(&gateway, "olaf", Role::Operator).await;
    gateway.add("cane-1", false).await;
    let order = json!({"device_id": "cane-1", "op_type": "config", "operation_id": "op-1", "payload": {"volume": 3}});
    let begun = done(olaf.post("/v1/device/ops/dispatch", order.clone()).await);
    assert_eq!((&begun["operation"]["status"], &begun["dispatch"]["queued"]), (&json!("queued"), &json!(true)));
    assert_eq!(begun["operation"]["requested_by"], "olaf");
    refused(&olaf.post("/v1/device/ops/dispatch", order.clone()).await, 409, "conflict");
    let gateway = gateway.restart().await;
    let olaf = Http { address: gateway.addrs().http.unwrap(), ..olaf };

    let mut device = gateway.connect("cane-1").await;
    let session = hello(&mut device, 7).await;
    let sent = until(&mut device, |downlink| is(downlink, "set_config")).await;
    let Downlink::Control { message: Message::SetConfig { config }, want_ack, .. } = sent else { panic!("{sent:?}") };
    assert_eq!((config, want_ack), (json!({"volume": 3, "operation_id": "op-1"}), true));
    let item = becomes(&olaf, "op-1", "sent").await;
    assert_eq!((&item["session_id"], &item["attempts"]), (&json!(session), &json!(1)));
    answer(&mut device, &session, "op-1", true).await;
    let item = becomes(&olaf, "op-1", "acked").await;
    assert_eq!(item["result"], json!({"done": true}));
    assert!(item["acked_at_ms"].as_u64().unwrap() > 0);
    refused(&olaf.post("/v1/device/ops/op-1/cancel", json!({})).await, 409, "conflict");
    refused(&olaf.post("/v1/device/ops/dispatch", order).await, 409, "conflict");

    // it comes back with another power-on: what it did is not asked of it again
    device.disconnect().await;
    let mut device = gateway.connect("cane-1").await;
    hello(&mut device, 8).await;
    let next = json!({"operation_id": "op-2", "volume": 4});
    let begun = done(olaf.post("/v1/device/cane-1/set_config", next).await);
    assert_eq!(
        (&begun["operation"]["status"], &begun["operation"]["payload"]),
        (&json!("sent"), &json!({"volume": 4}))
    );
    assert!(begun["dispatch"]["seq"].as_u64().is_some(), "{begun}");
    let sent = until(&mut device, |downlink| is(downlink, "set_config")).await;
    assert!(format!("{sent:?}").contains("op-2"), "{sent:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_did_not_answer_is_asked_again_when_it_is_back_and_an_update_is_not() {
    let gateway = running().await;
    let olaf = operator(&gateway, "olaf", Role::Operator).await;
    let mut device = gateway.device("cane-1").await;
    hello(&mut device, 7).await;
    let call = json!({"operation_id": "call", "name": "buzz", "arguments": {"times": 2}});
    done(olaf.post("/v1/device/cane-1/tool_call", call).await);
    done(olaf.post("/v1/device/cane-1/ota_plan", json!({"operation_id": "ota", "version": "2"})).await);
    until(&mut device, |downlink| is(downlink, "ota_plan")).await;
    becomes(&olaf, "ota", "sent").await;
    device.disconnect().await;
    let mut device = gateway.connect("cane-1").await;
    let session = hello(&mut device, 7).await;
    let sent = until(&mut device, |downlink| is(downlink, "tool_call") || is(downlink, "ota_plan")).await;
    let Downlink::Control { message: Message::ToolCall { operation_id, name, arguments }, .. } = sent else {
        panic!("{sent:?}")
    };
    assert_eq!((operation_id.as_str(), name.as_str(), arguments), ("call", "buzz", json!({"times": 2})));
    answer(&mut device, &session, "call", false).await;
    let item = becomes(&olaf, "call", "failed").await;
    assert_eq!((&item["error"], &item["attempts"]), (&json!("no such tool"), &json!(2)));
    // for a device that has no word for it an operator says that it is done
    done(olaf.post("/v1/device/ops/ota/ack", json!({"result": {"version": "2"}})).await);
    becomes(&olaf, "ota", "acked").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_stays_and_acknowledges_nothing_is_asked_again_until_it_does_and_an_update_is_not() {
    let gateway = Running::start_with(chat(&["yes"]), |config| {
        config.session.resend_after = voxgate::domain::Span::ms(100);
    })
    .await;
    let olaf = operator(&gateway, "olaf", Role::Operator).await;
    let mut device = gateway.device("cane-1").await;
    let session = hello(&mut device, 7).await;
    done(olaf.post("/v1/device/cane-1/ota_plan", json!({"operation_id": "ota", "version": "2"})).await);
    done(olaf.post("/v1/device/cane-1/tool_call", json!({"operation_id": "call", "name": "buzz"})).await);
    let (mut numbers, mut updates) = (Vec::new(), 0);
    while numbers.len() < 3 {
        let sent = until(&mut device, |downlink| is(downlink, "tool_call") || is(downlink, "ota_plan")).await;
        match sent {
            Downlink::Control { message: Message::ToolCall { operation_id, .. }, seq, .. } => {
                assert_eq!(operation_id, "call");
                numbers.push(seq.unwrap());
            }
            _ => updates += 1,
        }
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert_eq!(updates, 1);
    answer(&mut device, &session, "call", true).await;
    let item = becomes(&olaf, "call", "acked").await;
    assert!(item["attempts"].as_u64().unwrap() >= 3, "{item}");
    gateway.stop().await;
}

/// 20, 25.
#[tokio::test(flavor = "multi_thread")]
async fn no_operation_is_begun_for_nobody_or_ended_by_who_may_not() {
    let gateway = running().await;
    let ada = operator(&gateway, "ada", Role::Admin).await;
    let vera = operator(&gateway, "vera", Role::Viewer).await;
    gateway.add("cane-1", false).await;
    let path = "/v1/device/ops/dispatch";
    let order = |id: &str| json!({"device_id": "cane-1", "op_type": "set_config", "operation_id": id, "payload": {}});
    refused(&vera.post(path, order("one")).await, 403, "forbidden");
    let mut nobodys = order("one");
    nobodys["device_id"] = json!("cane-7");
    refused(&ada.post(path, nobodys).await, 404, "not_found");
    for (key, bad) in [
        ("op_type", json!("format_disk")),
        ("payload", json!([1])),
        ("ttl_seconds", json!(0)),
        ("operation_id", json!("a/b")),
    ] {
        let mut order = order("one");
        order[key] = bad;
        refused(&ada.post(path, order).await, 400, "bad_request");
    }
    refused(&ada.post("/v1/device/cane-1/tool_call", json!({"arguments": {}})).await, 400, "bad_request");
    refused(&ada.post("/v1/device/ops/none/ack", json!({})).await, 404, "not_found");
    done(ada.post(path, order("one")).await);
    for status in ["queued", "sent", "expired"] {
        refused(&ada.post("/v1/device/ops/one/ack", json!({"status": status})).await, 400, "bad_request");
    }
    // another device says that it did it
    let mut mallory = gateway.device("mallory").await;
    let session = hello(&mut mallory, 3).await;
    answer(&mut mallory, &session, "one", true).await;
    until(&mut mallory, |downlink| is(downlink, "ack")).await;
    becomes(&ada, "one", "queued").await;
    done(ada.post("/v1/device/ops/one/cancel", json!({"reason": "not needed"})).await);
    assert_eq!(becomes(&ada, "one", "canceled").await["error"], "not needed");
    done(ada.post("/v1/device/revoke", json!({"device_id": "cane-1"})).await);
    refused(&ada.post(path, order("two")).await, 409, "conflict");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_tells_of_each_device_and_does_nothing_without_a_selection() {
    let gateway = running().await;
    let ada = operator(&gateway, "ada", Role::Admin).await;
    for (id, user) in [("cane-1", "anna"), ("cane-2", "anna"), ("cane-3", "bert")] {
        gateway.add(id, false).await;
        done(ada.post("/v1/device/bind", json!({"device_id": id, "user_id": user})).await);
    }
    let path = "/v1/device/ops/batch";
    refused(&ada.post(path, json!({"op_type": "set_config"})).await, 400, "bad_request");
    let annas = done(ada.post(path, json!({"op_type": "set_config", "user_id": "anna", "payload": {"a": 1}})).await);
    assert_eq!((&annas["taken"], annas["results"].as_array().unwrap().len()), (&json!(2), 2));
    let named = json!({"op_type": "set_config", "device_ids": ["cane-3", "cane-9"]});
    let named = done(ada.post(path, named).await);
    assert_eq!(named["taken"], 1);
    assert!(named["results"][1]["error"].as_str().is_some(), "{named}");
    let all = done(ada.post(path, json!({"op_type": "ota_plan", "all": true})).await);
    assert_eq!(all["taken"], 3);
    let batch = annas["batch_id"].as_str().unwrap();
    assert_eq!(done(ada.get(&format!("/v1/device/ops?batch_id={batch}")).await)["count"], 2);
    assert_eq!(done(ada.get("/v1/device/ops?op_type=ota_plan&limit=2&offset=2").await)["count"], 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_whose_time_is_over_is_not_sent() {
    let gateway = running().await;
    let ada = operator(&gateway, "ada", Role::Admin).await;
    gateway.add("cane-1", false).await;
    let order = json!({"operation_id": "late", "ttl_seconds": 1, "volume": 1});
    done(ada.post("/v1/device/cane-1/set_config", order).await);
    becomes(&ada, "late", "expired").await;
    let mut device = gateway.connect("cane-1").await;
    hello(&mut device, 1).await;
    done(ada.post("/v1/device/cane-1/set_config", json!({"operation_id": "next"})).await);
    let first = until(&mut device, |downlink| is(downlink, "set_config")).await;
    assert!(format!("{first:?}").contains("next"), "{first:?}");
    gateway.stop().await;
}

/// 11, 24: the share of devices that are offline counted sessions, and samples were taken by who asked.
#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_the_gateway_is_noted_by_a_clock_and_a_device_that_came_back_often_is_one() {
    let often = |config: &mut voxgate::config::Config| {
        config.http.api.sample_every = Span::secs(1);
        config.http.api.samples = 2;
    };
    let gateway = Running::start_with(chat(&["yes"]), often).await;
    let vera = operator(&gateway, "vera", Role::Viewer).await;
    refused(&vera.get("/v1/device/cane-1/status").await, 404, "not_found");
    gateway.add("cane-1", false).await;
    let mut device = gateway.connect("cane-1").await;
    for boot in 0..5 {
        hello(&mut device, boot).await;
        device.disconnect().await;
        device = gateway.connect("cane-1").await;
    }
    hello(&mut device, 9).await;
    let state = done(vera.get("/v1/device/cane-1/status").await);
    assert_eq!((&state["device"]["online"], &state["device"]["status"]), (&json!(true), &json!("activated")));
    let now = done(vera.get("/v1/runtime/observability").await);
    assert_eq!((&now["healthy"], &now["metrics"]["devices_total"]), (&json!(true), &json!(1)));
    assert_eq!(now["metrics"]["device_offline_rate"], 0.0);
    gateway.add("cane-2", false).await;
    let now = done(vera.get("/v1/runtime/observability?device_offline_rate_max=0.4").await);
    assert_eq!((&now["healthy"], &now["alerts"][0]["metric"]), (&json!(false), &json!("device_offline_rate")));
    refused(&vera.get("/v1/runtime/observability?device_offline_rate_max=7").await, 400, "bad_request");
    let status = done(vera.get("/v1/runtime/status").await);
    assert_eq!(status["metrics"]["events_by_type"]["hello"], 6);
    assert_eq!(status["devices"].as_array().unwrap().len(), 2);
    refused(&vera.post("/v1/device/cane-1/abort", json!({})).await, 403, "forbidden");
    let olaf = operator(&gateway, "olaf", Role::Operator).await;
    done(olaf.post("/v1/device/cane-1/abort", json!({"reason": "test"})).await);
    refused(&olaf.post("/v1/device/cane-2/abort", json!({})).await, 404, "not_found");
    // the third note has pushed the first out
    let two =
        |history: &Value| history["raw"].as_array().is_some_and(|raw| raw.len() == 2 && raw[0]["devices_total"] == 2);
    let path = "/v1/runtime/observability/history?bucket_seconds=5&include_raw=true";
    assert_eq!(vera.get_until(path, two).await["summary"]["sample_count"], 2);
    gateway.stop().await;
}

/// The document of the gateway against the gateway: no answer that it does not tell of, nothing taken that it forbids.
#[tokio::test(flavor = "multi_thread")]
async fn the_document_promises_nothing_that_the_gateway_does_not_keep() {
    let schemathesis = std::env::var("SCHEMATHESIS").unwrap_or_else(|_| "schemathesis".to_owned());
    if std::process::Command::new(&schemathesis).arg("--version").output().is_err() {
        eprintln!("skipped: there is no schemathesis (pip install schemathesis, or SCHEMATHESIS=/path/to/it)");
        return;
    }
    let roomy = |config: &mut voxgate::config::Config| {
        config.http.api.requests_per_minute = 1_000_000;
        config.http.api.strangers_per_minute = 1_000_000;
        config.http.connections = 256;
        config.mqtt.credentials.delay = Span::ms(1);
        config.mqtt.credentials.delay_max = Span::ms(1);
    };
    let gateway = Running::start_with(chat(&["yes"]), roomy).await;
    let ada = operator(&gateway, "ada", Role::Admin).await;
    gateway.add("cane-1", false).await;
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/api-check");
    let mut check = tokio::process::Command::new(script);
    check.arg(format!("http://{}", ada.address)).arg(ada.token.clone().unwrap()).env("SCHEMATHESIS", schemathesis);
    // it leaves a folder where it runs
    let dir = tempfile::tempdir().unwrap();
    let output = check.env("EXAMPLES", "5").current_dir(dir.path()).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_taken_for_no_device_that_is_unknown_shut_out_or_of_another_tongue() {
    let gateway = running().await;
    let admin = operator(&gateway, "ada", Role::Admin).await;
    let vera = operator(&gateway, "vera", Role::Viewer).await;
    let path = "/v1/device/event";
    let heartbeat = |id: &str| json!({"device_id": id, "type": "heartbeat", "seq": 1});
    refused(&vera.post(path, heartbeat("cane-1")).await, 403, "forbidden");
    refused(&admin.post(path, heartbeat("cane-1")).await, 404, "not_found");
    done(admin.post("/v1/device/register", json!({"device_id": "cane-1"})).await);
    refused(&admin.post(path, heartbeat("cane-1")).await, 409, "conflict");
    done(admin.post("/v1/device/bind", json!({"device_id": "cane-1", "user_id": "u", "status": "activated"})).await);
    done(admin.post(path, heartbeat("cane-1")).await);
    let foreign = json!({"device_id": "cane-1", "type": "hello", "payload": {"device_id": "cane-2"}});
    for bad in [json!({"device_id": "cane-1"}), json!({"device_id": "cane-1", "type": "dance"}), foreign] {
        let reply = admin.post(path, bad.clone()).await;
        // another device in the body is no more than an unknown field, or is refused: never another device's event
        assert!(reply.status == 400 || bad["type"] == "hello", "{bad}: {}", reply.text);
    }
    refused(&admin.get("/v1/device/cane-2/status").await, 404, "not_found");
    let mut native = gateway.device("native-1").await;
    hello(&mut native, 1).await;
    refused(&admin.post(path, heartbeat("native-1")).await, 409, "conflict");
    gateway.stop().await;
}
