//! New firmware: offered, fetched in whole and in part, taken back.

use super::*;
use crate::domain::{ByteSize, Span};
use crate::door::firmware::{NewRelease, test_image};

const UPLOAD: &str = "0123456789abcdef0123456789abcdef";

impl Bench {
    async fn release(&self, version: &str, size: usize) -> Vec<u8> {
        let image = test_image(version, size);
        for (n, part) in image.chunks(firmware::MAX_PART).enumerate() {
            let offset = (n * firmware::MAX_PART) as u64;
            self.firmware.upload(UPLOAD.into(), offset, part.to_vec()).await.unwrap();
        }
        let new = NewRelease {
            upload: UPLOAD.into(),
            board: "bread-compact-wifi".into(),
            version: Some(version.into()),
            share: 100,
        };
        self.firmware.add(new).await.unwrap();
        image
    }

    /// The path that the board is told.
    async fn offered(&self, mac: &str) -> Option<String> {
        let answer = self.board(mac, NUMBER).await.json();
        safe_for_firmware(&answer);
        let url = answer["firmware"]["url"].as_str().unwrap();
        url.strip_prefix("http://gateway.local:8003").map(str::to_owned)
    }

    async fn fetch(&self, path: &str, more: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: gateway.local\r\n{more}\r\n").as_bytes()).await
    }
}

#[tokio::test]
async fn a_board_with_an_older_version_fetches_the_newest_and_resumes_where_it_was_broken_off() {
    let bench = Bench::start(welcoming()).await;
    assert_eq!(bench.offered(MAC).await, None);
    let image = bench.release("2.4.3", 50_000).await;
    let path = bench.offered(MAC).await.expect("an offer");
    assert!(!path.contains(':'), "firmware would take it for a port's");
    let whole = bench.fetch(&path, "").await;
    assert_eq!((whole.status, whole.header("content-length")), (200, image.len().to_string().as_str()));
    assert!(whole.body == image);
    let part = bench.fetch(&path, "Range: bytes=20000-\r\n").await;
    assert_eq!(part.status, 206);
    assert_eq!(part.header("content-range"), format!("bytes 20000-{}/{}", image.len() - 1, image.len()));
    assert!(part.body == image[20_000..]);
    let etag = whole.header("etag");
    assert_eq!(bench.fetch(&path, &format!("If-None-Match: {etag}\r\n")).await.status, 304);
    let other = bench.fetch(&path, "Range: bytes=5-9\r\nIf-Range: \"another\"\r\n").await;
    assert_eq!(other.status, 200, "a part of another image would be no help");
    let same = bench.fetch(&path, &format!("Range: bytes=5-9\r\nIf-Range: {etag}\r\n")).await;
    assert_eq!((same.status, &same.body[..]), (206, &image[5..10]));
    bench.end().await;
}

#[tokio::test]
async fn bytes_that_are_not_there_are_refused_with_what_is() {
    let bench = Bench::start(welcoming()).await;
    let image = bench.release("2.4.3", 900).await;
    let path = bench.offered(MAC).await.unwrap();
    for range in ["bytes=100000-", "bytes=-0"] {
        let answer = bench.fetch(&path, &format!("Range: {range}\r\n")).await;
        let all = format!("bytes */{}", image.len());
        assert_eq!((answer.status, answer.header("content-range")), (416, all.as_str()), "{range}");
    }
    bench.end().await;
}

#[tokio::test]
async fn an_address_counts_for_its_board_and_image_until_its_time_is_over() {
    let bench = Bench::start(welcoming()).await;
    bench.release("2.4.3", 900).await;
    let path = bench.offered(MAC).await.unwrap();
    assert_eq!(bench.fetch(&path, "").await.status, 200);
    for (from, to) in [("-01.", "-02."), ("/firmware/", "/firmware/0"), (".", "."), ("f4-", "F4-")] {
        let forged = match from {
            "." => format!("{path}x"),
            from => path.replace(from, to),
        };
        assert_eq!(bench.fetch(&forged, "").await.status, 404, "{forged}");
    }
    bench.clock.advance(std::time::Duration::from_hours(1));
    assert_eq!(bench.fetch(&path, "").await.status, 404);
    let path = bench.offered(MAC).await.unwrap();
    bench.credentials.remove_device(&DeviceId::parse(MAC).unwrap()).await.unwrap();
    assert_eq!(bench.fetch(&path, "").await.status, 404, "it is no device any more");
    bench.end().await;
}

#[tokio::test]
async fn a_board_that_waits_to_be_claimed_is_offered_nothing() {
    let bench = Bench::start(quick()).await;
    bench.release("2.4.3", 900).await;
    let answer = bench.board(MAC, NUMBER).await.json();
    assert_eq!(answer["firmware"], serde_json::json!({"version": "2.4.2", "url": ""}));
    bench.end().await;
}

#[tokio::test]
async fn firmware_that_is_taken_back_in_mid_roll_out_is_neither_offered_nor_sent_to_its_end() {
    let slow = firmware::Settings { bytes_per_second: ByteSize::kb(64), ..firmware::Settings::default() };
    let bench = Bench::start(Settings { firmware: slow, ..welcoming() }).await;
    let image = bench.release("2.4.3", 400_000).await;
    let path = bench.offered(MAC).await.unwrap();
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: gw\r\n\r\n").as_bytes()).await.unwrap();
    let mut begun = vec![0; 8_000];
    stream.read_exact(&mut begun).await.unwrap();
    bench.firmware.rollout("bread-compact-wifi", "2.4.3", 0).await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(begun.len() + rest.len() < image.len(), "the board sees that it has not all of it");
    assert_eq!(bench.offered(MAC).await, None);
    assert_eq!(bench.fetch(&path, "").await.status, 410);
    bench.firmware.remove("bread-compact-wifi", "2.4.3").await.unwrap();
    assert_eq!(bench.fetch(&path, "").await.status, 410);
    bench.end().await;
}

#[tokio::test]
async fn downloads_are_few_at_once_and_not_faster_than_they_may() {
    let few = firmware::Settings { downloads: 1, bytes_per_second: ByteSize::kb(64), ..firmware::Settings::default() };
    let limits = Limits { timeout: Span::secs(5), ..Limits::default() };
    let bench = Bench::start(Settings { firmware: few, limits, ..welcoming() }).await;
    let image = bench.release("2.4.3", 30_000).await;
    let path = bench.offered(MAC).await.unwrap();
    let begun = tokio::time::Instant::now();
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: gw\r\n\r\n").as_bytes()).await.unwrap();
    let mut some = vec![0; 1_000];
    stream.read_exact(&mut some).await.unwrap();
    let second = bench.fetch(&path, "").await;
    assert_eq!((second.status, second.header("retry-after")), (503, "30"));
    stream.read_to_end(&mut some).await.unwrap();
    assert!(some.len() > image.len());
    // the first 16 KB at once, the rest at 64 KB a second
    assert!(begun.elapsed() >= std::time::Duration::from_millis(240), "{:?}", begun.elapsed());
    bench.end().await;
}
