//! What a killed process cannot prove, because the kernel keeps its pages: that the syncs happen, and in the right order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::testing::{Op, WatchedDisk, key, one, open_small, open_with, small};
use super::super::{Settings, Store, StoreError};
use crate::domain::Span;

/// No periodic sync gets in between.
fn quiet() -> Settings {
    Settings { sync_every: Span::secs(60), ..small() }
}

#[tokio::test]
async fn nobody_is_answered_before_the_sync_has_returned() {
    let dir = tempfile::tempdir().unwrap();
    let disk = WatchedDisk::default();
    let watch = disk.watch.clone();
    let store = open_with(Arc::new(disk), quiet(), dir.path()).unwrap().store;
    watch.hold(true);
    watch.take();
    let mut commit = store.commit(one("a", b"1"));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut commit).await;
    assert!(early.is_err(), "answered while the sync was held");
    assert!(matches!(&watch.take()[..], [Op::Write(_)]), "written, not synced");
    watch.hold(false);
    commit.await.unwrap();
    assert!(matches!(&watch.take()[..], [Op::Sync(_)]));
}

#[tokio::test]
async fn a_group_is_one_write_and_one_sync_of_everything_that_waited() {
    let dir = tempfile::tempdir().unwrap();
    let disk = WatchedDisk::default();
    let watch = disk.watch.clone();
    let store = open_with(Arc::new(disk), quiet(), dir.path()).unwrap().store;
    watch.hold(true);
    let first = store.commit(one("first", b"1"));
    let waiting: Vec<_> = (0..100).map(|i| store.commit(one(&format!("k{i}"), b"2"))).collect();
    watch.take();
    watch.hold(false);
    let first = first.await.unwrap();
    let mut numbers = Vec::new();
    for commit in waiting {
        numbers.push(commit.await.unwrap().0);
    }
    numbers.dedup();
    // the writer may have taken some of the 100 into the first group
    assert!(numbers.len() <= 2 && numbers.iter().all(|n| (first.0..=first.0 + 1).contains(n)), "{numbers:?}");
    let ops = watch.take();
    assert!(ops.iter().filter(|op| matches!(op, Op::Sync(_))).count() <= 2, "{ops:?}");
}

#[tokio::test]
async fn a_segment_has_its_header_on_disk_before_it_has_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let disk = WatchedDisk::default();
    let watch = disk.watch.clone();
    let store = open_with(Arc::new(disk), quiet(), dir.path()).unwrap().store;
    watch.take();
    for i in 0..12 {
        store.commit(one(&format!("k{i}"), &[7; 8_000])).await.unwrap();
    }
    let ops = watch.take();
    let at = ops.iter().position(|op| matches!(op, Op::Rename(..))).expect("a new segment");
    let Op::Rename(spare, segment) = &ops[at] else { panic!("no rename") };
    let before: Vec<_> = ops[..at].iter().filter(|op| **op == Op::Sync(spare.clone())).collect();
    assert_eq!(before.len(), 1, "{ops:?}");
    assert_eq!(ops[at + 1], Op::SyncDir("journal".into()));
    assert!(std::path::Path::new(segment).extension().is_some_and(|ext| ext == "vxj"));
}

#[tokio::test]
async fn sled_is_flushed_and_then_synced_before_a_segment_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let disk = WatchedDisk::default();
    let watch = disk.watch.clone();
    let settings = Settings { journal_keep: 0, ..quiet() };
    let store = open_with(Arc::new(disk), settings, dir.path()).unwrap().store;
    for i in 0..12 {
        store.commit(one(&format!("k{i}"), &[7; 8_000])).await.unwrap();
    }
    watch.take();
    store.sync_now();
    let ops = loop {
        let seen = watch.take();
        if !seen.is_empty() {
            // the rest follows; closing waits for it
            store.close().await;
            break [seen, watch.take()].concat();
        }
        tokio::task::yield_now().await;
    };
    let given_up =
        |op: &Op| matches!(op, Op::Remove(_)) || matches!(op, Op::Rename(from, _) if from.starts_with("segment-"));
    let flush = ops.iter().position(|op| *op == Op::FlushSled).expect("a flush");
    let sync = ops.iter().position(|op| *op == Op::SyncSled).expect("a sync");
    let gone = ops.iter().position(given_up).expect("a segment that goes");
    assert!(flush < sync && sync < gone, "{ops:?}");
}

#[tokio::test]
async fn a_sync_that_fails_fails_its_group_and_what_it_wrote_is_void() {
    let dir = tempfile::tempdir().unwrap();
    let disk = WatchedDisk::default();
    let watch = disk.watch.clone();
    let store = open_with(Arc::new(disk), quiet(), dir.path()).unwrap().store;
    let before = store.commit(one("kept", b"1")).await.unwrap();
    watch.fail_sync.store(true, Ordering::SeqCst);
    let failed = store.commit(one("failed", b"1")).await;
    assert!(matches!(failed, Err(StoreError::Write(_))), "{failed:?}");
    watch.fail_sync.store(false, Ordering::SeqCst);
    let after = commit_when_mended(&store, "after").await;
    assert_eq!(after.0, before.0 + 1, "the failed number was nobody's");
    assert_eq!(store.get(key("failed")).await.unwrap(), None);
    drop(store);
    let store = open_small(dir.path()).unwrap().store;
    assert_eq!(store.get(key("failed")).await.unwrap(), None, "its bytes were in the left segment");
    assert_eq!(store.get(key("kept")).await.unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.get(key("after")).await.unwrap(), Some(b"x".to_vec()));
}

/// Tries until the writer has opened sled again.
pub(super) async fn commit_when_mended(store: &super::super::SledStore, name: &str) -> super::super::CommitNo {
    loop {
        match store.commit(one(name, b"x")).await {
            Ok(number) => return number,
            Err(StoreError::Write(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(other) => panic!("{other}"),
        }
    }
}
