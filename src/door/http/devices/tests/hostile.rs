//! Peers that say nonsense, too much, too little, or that they are somebody else.

use super::*;
use crate::domain::{ByteSize, Span};

#[tokio::test]
async fn who_does_not_say_who_he_is_is_told_what_is_missing() {
    let bench = Bench::start(welcoming()).await;
    for (mac, number, result) in [
        ("F4:12:FA:00:00:01", NUMBER, "bad_device"),
        ("f4:12:fa:00:00", NUMBER, "bad_device"),
        ("../../etc/passwd", NUMBER, "bad_device"),
        ("f4:12:fa:00:00:01\u{e9}", NUMBER, "bad_device"),
        (MAC, "", "bad_client"),
        (MAC, "web_test_client", "bad_client"),
        (MAC, "00000000-0000-0000-0000-000000000000", "bad_client"),
    ] {
        let before = bench.metrics.requests(result);
        assert_eq!(bench.board(mac, number).await.status, 400, "{mac} {number}");
        assert_eq!(bench.metrics.requests(result), before + 1, "{mac} {number}");
    }
    assert_eq!(bench.send(b"POST /xiaozhi/ota/ HTTP/1.1\r\nHost: gw\r\n\r\n").await.status, 400);
    assert!(bench.credentials.list_devices().is_empty());
    bench.end().await;
}

#[tokio::test]
async fn a_body_that_makes_no_sense_is_answered_all_the_same_and_counted() {
    let bench = Bench::start(welcoming()).await;
    for body in ["{", "[]", "null", "\u{0}\u{1}", r#"{"application":{"version":"v1.2"},"board":[]}"#] {
        let answer = bench.send(&firmware_request(MAC, NUMBER, "gw", body)).await;
        assert_eq!(answer.status, 200, "{body}");
        safe_for_firmware(&answer.json());
        assert!(bench.comes_in(&answer.json()["mqtt"]).await);
    }
    assert_eq!(bench.metrics.unreadable.get(), 4);
    bench.end().await;
}

#[tokio::test]
async fn too_much_or_too_slow_is_refused_and_others_are_served_meanwhile() {
    let limits = Limits { timeout: Span::ms(200), body: ByteSize::kb(4), ..Limits::default() };
    let bench = Bench::start(Settings { limits, ..welcoming() }).await;
    let huge = firmware_request(MAC, NUMBER, "gw", &"x".repeat(5_000));
    assert_eq!(bench.send(&huge).await.status, 413);
    // a head that never ends, and one that is too large
    let mut slow = TcpStream::connect(bench.address).await.unwrap();
    slow.write_all(b"POST /xiaozhi/ota/ HTTP/1.1\r\nHost: gw\r\n").await.unwrap();
    let long = format!("GET /xiaozhi/ota/ HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    assert_eq!(bench.send(long.as_bytes()).await.status, 431);
    assert_eq!(bench.board(MAC, NUMBER).await.status, 200);
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    // a body that never comes
    let mut waits = firmware_request(MAC, NUMBER, "gw", FIRMWARE_BODY);
    waits.truncate(waits.len() - 10);
    assert_eq!(bench.send(&waits).await.status, 408);
    assert_eq!((bench.metrics.requests("too_large"), bench.metrics.requests("slow")), (1, 1));
    bench.end().await;
}

#[tokio::test]
async fn other_methods_other_paths_and_what_is_no_http_are_refused() {
    let bench = Bench::start(welcoming()).await;
    assert_eq!(bench.send(b"DELETE /xiaozhi/ota/ HTTP/1.1\r\nHost: gw\r\n\r\n").await.status, 405);
    assert_eq!(bench.send(b"GET /xiaozhi/ota/activate HTTP/1.1\r\nHost: gw\r\n\r\n").await.status, 405);
    assert_eq!(bench.send(b"GET /metrics HTTP/1.1\r\nHost: gw\r\n\r\n").await.status, 404);
    assert_eq!(bench.send(b"GET /xiaozhi/firmware/../../etc/passwd HTTP/1.1\r\nHost: gw\r\n\r\n").await.status, 404);
    assert_eq!(bench.send(b"\x10\x20\x00\x04MQTT\x04\x02\r\n\r\n").await.status, 400);
    let options = bench.send(b"OPTIONS /xiaozhi/ota/ HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!((options.status, options.header("access-control-allow-origin")), (204, ""));
    bench.end().await;
}

#[tokio::test]
async fn a_host_that_firmware_could_not_use_is_not_echoed() {
    let bench = Bench::start(welcoming()).await;
    for host in ["[::1]:8003", "0.0.0.0:8003", "mqtt://x", "a b", ""] {
        let answer = bench.send(&firmware_request(MAC, NUMBER, host, "{}")).await;
        assert_eq!(answer.status, 400, "{host:?}: {answer:?}");
    }
    bench.end().await;
}

#[tokio::test]
async fn who_says_a_known_name_with_another_number_gets_a_code_and_takes_nothing_from_the_board() {
    let bench = Bench::start(welcoming()).await;
    let board = bench.board(MAC, NUMBER).await.json();
    let stranger = bench.board(MAC, OTHER).await.json();
    safe_for_firmware(&stranger);
    assert!(stranger["activation"]["code"].is_string());
    assert!(!stranger.to_string().contains(board["mqtt"]["password"].as_str().unwrap()));
    assert_eq!(bench.enrolment.pending()[0].reason, enrolment::Reason::OtherBoard);
    // the board itself does not notice
    assert_eq!(bench.board(MAC, NUMBER).await.json()["mqtt"], board["mqtt"]);
    assert!(bench.comes_in(&board["mqtt"]).await);
    // only an operator who reads the code off a screen ends that
    let code = stranger["activation"]["code"].as_str().unwrap();
    bench.enrolment.claim(code, None, None).await.unwrap();
    assert!(!bench.comes_in(&board["mqtt"]).await);
    assert!(bench.comes_in(&bench.board(MAC, OTHER).await.json()["mqtt"]).await);
    bench.end().await;
}

#[tokio::test]
async fn a_replayed_activation_gets_nothing_and_one_without_a_question_before_neither() {
    let bench = Bench::start(quick()).await;
    assert_eq!(bench.activate(MAC, NUMBER, "{}").await.status, 404);
    let answer = bench.board(MAC, NUMBER).await.json();
    assert_eq!(bench.activate(MAC, OTHER, "{}").await.status, 404, "it is not his code");
    bench.enrolment.claim(answer["activation"]["code"].as_str().unwrap(), None, None).await.unwrap();
    let replayed = bench.activate(MAC, NUMBER, "{}").await;
    assert_eq!((replayed.status, replayed.json()), (200, serde_json::json!({"message": "claimed"})));
    assert_eq!(bench.activate(MAC, OTHER, "{}").await.status, 404);
    bench.end().await;
}

#[tokio::test]
async fn a_code_whose_time_is_over_claims_nothing_and_the_board_gets_another() {
    let bench = Bench::start(quick()).await;
    let old = bench.board(MAC, NUMBER).await.json()["activation"].clone();
    bench.clock.advance(std::time::Duration::from_mins(15));
    assert!(bench.enrolment.claim(old["code"].as_str().unwrap(), None, None).await.is_err());
    assert_eq!(bench.activate(MAC, NUMBER, "{}").await.status, 404);
    let new = bench.board(MAC, NUMBER).await.json()["activation"].clone();
    assert_ne!(new["challenge"], old["challenge"]);
    bench.end().await;
}

#[tokio::test]
async fn two_boards_that_ask_at_once_have_two_codes() {
    let bench = Bench::start(quick()).await;
    let asks = (0..8).map(|n| {
        let mac = format!("f4:12:fa:00:01:{n:02x}");
        let bench = &bench;
        async move { bench.board(&mac, NUMBER).await.json()["activation"]["code"].to_string() }
    });
    let mut codes = futures::future::join_all(asks).await;
    codes.sort();
    codes.dedup();
    assert_eq!(codes.len(), 8);
    bench.end().await;
}

#[tokio::test]
async fn an_address_that_asks_too_often_waits_and_so_do_boards_when_too_many_do() {
    let limits = Limits { requests_per_minute: 6, ..Limits::default() };
    let activation = enrolment::Settings { pending_per_address: 2, ..enrolment::Settings::default() };
    let bench = Bench::start(Settings { activation, limits, ..quick() }).await;
    let mac = |n: u8| format!("f4:12:fa:00:01:{n:02x}");
    assert_eq!(bench.board(&mac(1), NUMBER).await.status, 200);
    assert_eq!(bench.board(&mac(2), NUMBER).await.status, 200);
    let full = bench.board(&mac(3), NUMBER).await;
    assert_eq!((full.status, full.header("retry-after")), (503, "30"));
    for _ in 0..3 {
        assert_eq!(bench.activate(&mac(1), NUMBER, "{}").await.status, 202);
    }
    assert_eq!(bench.activate(&mac(1), NUMBER, "{}").await.status, 429);
    assert_eq!(bench.board(&mac(1), NUMBER).await.status, 429);
    bench.clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(bench.board(&mac(1), NUMBER).await.status, 200);
    bench.end().await;
}

#[tokio::test]
async fn one_address_cannot_have_all_connections() {
    let limits = Limits { connections_per_address: 2, timeout: Span::secs(5), ..Limits::default() };
    let bench = Bench::start(Settings { limits, ..welcoming() }).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(b"GET ").await.unwrap();
        open.push(stream);
    }
    // the third is closed unanswered
    assert_eq!(bench.board(MAC, NUMBER).await.status, 0);
    drop(open);
    // a place is given back when the door has seen the end
    let answered = async {
        while bench.board(MAC, NUMBER).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), answered).await.expect("served again");
    bench.end().await;
}
