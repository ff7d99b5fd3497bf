//! kill -9 in mid-write: nothing acknowledged is lost. The child is this test binary again.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::super::testing::{key, one, open_small};
use super::super::{Batch, Store};

const DIR: &str = "VOXGATE_TEST_KILL_DIR";
const ROUNDS: usize = 12;
const WRITERS: usize = 8;

/// The child: writes for ever and says what was acknowledged. Without its variable it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let opened = open_small(dir.as_ref()).unwrap();
    println!("\nBOOT {} {}", opened.report.boot, opened.report.replayed);
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = opened.store.clone();
        let boot = opened.report.boot;
        tasks.spawn(async move {
            for n in 0_u64.. {
                // two keys in one batch: together or not at all
                let mut batch = Batch::new();
                batch.put(key(&format!("w{writer}")), format!("{boot} {n}").into_bytes());
                batch.extend(one(&format!("w{writer}-{boot}-{n}"), &[b'x'; 200]));
                store.commit(batch).await.unwrap();
                println!("ACK {writer} {boot} {n}");
            }
        });
    }
    tasks.join_next().await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(usize, u64, u64)> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_that_writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // killed after another number of acknowledgements each time: at another place of a group or a segment
        let wanted = 100 + round * 137;
        let mut seen = 0;
        for line in lines.by_ref() {
            let line = line.unwrap();
            seen += usize::from(note(&line, &mut acknowledged));
            if seen == wanted {
                child.kill().unwrap();
                break;
            }
        }
        // what it still said before it died counts too
        for line in lines {
            note(&line.unwrap_or_default(), &mut acknowledged);
        }
        child.wait().unwrap();
        assert!(seen >= wanted, "the child ended by itself in round {round}");
    }
    let opened = open_small(dir.path()).unwrap();
    assert_eq!(opened.report.boot, ROUNDS as u64 + 1);
    assert_eq!(opened.report.rolled_back, None);
    for (writer, boot, n) in &acknowledged {
        let record = opened.store.get(key(&format!("w{writer}-{boot}-{n}"))).await.unwrap();
        assert_eq!(record, Some(vec![b'x'; 200]), "w{writer}-{boot}-{n} was acknowledged");
    }
    for writer in 0..WRITERS {
        let mark = opened.store.get(key(&format!("w{writer}"))).await.unwrap().unwrap();
        let mark = String::from_utf8(mark).unwrap();
        let effect = key(&format!("w{writer}-{}", mark.replace(' ', "-")));
        assert!(opened.store.get(effect).await.unwrap().is_some(), "the mark {mark} without its effect");
    }
}

fn note(line: &str, acknowledged: &mut Vec<(usize, u64, u64)>) -> bool {
    let Some(rest) = line.strip_prefix("ACK ") else { return false };
    let numbers: Vec<u64> = rest.split(' ').filter_map(|n| n.parse().ok()).collect();
    let [writer, boot, n] = numbers[..] else { return false };
    acknowledged.push((usize::try_from(writer).unwrap(), boot, n));
    true
}
