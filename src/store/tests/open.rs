//! Opening and closing.

use std::path::Path;
use std::sync::Arc;

use super::super::Key;
use super::super::disk::RealDisk;
use super::super::testing::{key, one, open_small, open_with, small};
use super::super::{Batch, CommitNo, Range, Settings, Space, Store, StoreError};
use crate::domain::Span;

#[tokio::test]
async fn a_second_opener_is_told_who_holds_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let first = open_small(dir.path()).unwrap();
    let Err(StoreError::Locked(text)) = open_small(dir.path()).map(drop) else { panic!("not locked") };
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    drop(first);
    open_small(dir.path()).unwrap();
}

#[tokio::test]
async fn another_format_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_small(dir.path()).unwrap());
    let path = dir.path().join("format.json");
    let text = std::fs::read_to_string(&path).unwrap().replace("\"format\":1", "\"format\":9");
    std::fs::write(&path, text).unwrap();
    let Err(StoreError::Format(text)) = open_small(dir.path()).map(drop) else { panic!("opened") };
    assert!(text.contains("format 9"), "{text}");
}

#[tokio::test]
async fn what_is_missing_is_never_made_anew() {
    for part in ["format.json", "sled/db", "journal"] {
        let dir = tempfile::tempdir().unwrap();
        drop(open_small(dir.path()).unwrap());
        let path = dir.path().join(part);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
        let error = open_small(dir.path()).map(drop).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged(text) if text.contains(part)), "{part}: {error}");
    }
}

#[tokio::test]
async fn a_first_start_that_was_interrupted_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("creating"), "").unwrap();
    std::fs::create_dir(dir.path().join("journal")).unwrap();
    std::fs::create_dir(dir.path().join("sled")).unwrap();
    assert!(open_small(dir.path()).unwrap().report.created);
    assert!(!dir.path().join("creating").exists());
}

#[tokio::test]
async fn records_and_numbers_survive_a_restart_and_the_boot_epoch_grows() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = CommitNo(0);
    for boot in 1..=5 {
        let opened = open_small(dir.path()).unwrap();
        assert_eq!((opened.report.boot, opened.report.created), (boot, boot == 1));
        assert_eq!((opened.report.replayed, opened.report.rolled_back), (0, None), "a clean stop leaves nothing");
        for i in 1..boot {
            let read = opened.store.get(key(&format!("k{i}"))).await.unwrap();
            assert_eq!(read, Some(vec![u8::try_from(i).unwrap()]));
        }
        let no = opened.store.commit(one(&format!("k{boot}"), &[u8::try_from(boot).unwrap()])).await.unwrap();
        assert!(no > last, "numbers never repeat");
        last = no;
        opened.store.close().await;
        let closed = opened.store.commit(Batch::new()).await;
        assert_eq!(closed, Err(StoreError::Closed));
        assert_eq!(opened.store.get(key("k1")).await, Err(StoreError::Closed));
    }
}

#[tokio::test]
async fn a_read_sees_what_was_handed_in_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_small(dir.path()).unwrap().store;
    for round in 0..200_u32 {
        let name = format!("k{round:03}");
        let commit = store.commit(one(&name, &round.to_le_bytes()));
        assert_eq!(store.get(key(&name)).await.unwrap(), Some(round.to_le_bytes().to_vec()));
        let range = Range {
            from: Key::new(Space::Device),
            to: Key::new(Space::Device).after_prefix(),
            limit: 1,
            backwards: true,
        };
        let page = store.scan(range).await.unwrap();
        assert_eq!(page.records, vec![(key(&name), round.to_le_bytes().to_vec())]);
        drop(commit);
    }
}

fn segments(dir: &Path) -> usize {
    let files = std::fs::read_dir(dir.join("journal")).unwrap();
    files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "vxj")).count()
}

#[tokio::test]
async fn what_the_journal_need_not_keep_is_gone_when_the_store_is_open_and_not_a_second_later() {
    let dir = tempfile::tempdir().unwrap();
    let hoards = Settings { journal_keep: 100, ..small() };
    let opened = open_with(Arc::new(RealDisk), hoards, dir.path()).unwrap();
    for n in 0..400 {
        opened.store.commit(one(&format!("n{n}"), &[b'x'; 1_000])).await.unwrap();
    }
    opened.store.close().await;
    drop(opened);
    assert!(segments(dir.path()) > 5);
    let settings = Settings { sync_every: Span::secs(60), ..small() };
    let keep = settings.journal_keep;
    let opened = open_with(Arc::new(RealDisk), settings, dir.path()).unwrap();
    assert!(segments(dir.path()) <= keep + 1, "{}", segments(dir.path()));
    assert!(opened.store.get(key("n0")).await.unwrap().is_some());
    opened.store.close().await;
}
