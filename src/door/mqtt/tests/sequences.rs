//! Packet sequences as data: `tests/data/mqtt/*.json`, bytes in and out, played by this one runner.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    steps: Vec<Step>,
}

/// Hex bytes; `{secret:USER}` stands for the length and bytes of a user's password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Step {
    Send(String),
    Expect(String),
    Closed(()),
}

fn bytes(fixture: &Fixture, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        if let Some(user) = word.strip_prefix("secret:") {
            out.extend(super::text(fixture.secrets[user].reveal()));
        } else if let Some(word) = word.strip_prefix('\'') {
            out.extend(word.as_bytes());
        } else {
            out.push(u8::from_str_radix(word, 16).unwrap());
        }
    }
    out
}

#[tokio::test]
async fn every_recorded_sequence_plays() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mqtt");
    let mut played = 0;
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files {
        let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for case in cases {
            let fixture = Fixture::new().await;
            play(&fixture, &case).await;
            played += 1;
            fixture.stop().await;
        }
    }
    assert!(played >= 10, "{played} sequences");
}

async fn play(fixture: &Fixture, case: &Case) {
    let mut peer = fixture.raw().await;
    for (at, step) in case.steps.iter().enumerate() {
        let place = format!("{}, step {at}", case.name);
        match step {
            Step::Send(text) => peer.send(&bytes(fixture, text)).await,
            Step::Expect(text) => {
                let expected = bytes(fixture, text);
                let mut got = vec![0; expected.len()];
                let read = peer.stream.read_exact(&mut got);
                let read =
                    tokio::time::timeout(Duration::from_secs(5), read).await.unwrap_or_else(|_| panic!("{place}"));
                read.unwrap_or_else(|e| panic!("{place}: {e}"));
                assert_eq!(got, expected, "{place}");
            }
            Step::Closed(()) => {
                let left = tokio::time::timeout(Duration::from_secs(5), peer.stream.read_u8()).await;
                assert!(left.unwrap_or_else(|_| panic!("{place}")).is_err(), "{place}");
            }
        }
    }
}
