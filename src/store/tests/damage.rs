//! Torn, flipped, cut: what is only the crash's is cut off, what sled has is passed over, the rest is said.

use std::path::{Path, PathBuf};

use super::super::group::HEAD;
use super::super::journal::SEGMENT_HEAD;
use super::super::testing::{key, one, open_small};
use super::super::{Settings, Store, StoreError};

/// A store whose journal has groups that sled has not: a copy of its folder in mid-life, as a power cut leaves it.
async fn power_cut(groups: u32) -> (tempfile::TempDir, u64) {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let settings = Settings { sync_every: crate::domain::Span::secs(60), ..super::super::testing::small() };
    let store = super::super::testing::open_with(std::sync::Arc::new(super::super::disk::RealDisk), settings, &live)
        .unwrap()
        .store;
    let mut last = 0;
    // sled is copied as it is before the groups, the journal as it is after them
    copy(&live, &dir.path().join("cut"));
    for i in 0..groups {
        last = store.commit(one(&format!("k{i}"), &[b'v'; 100])).await.unwrap().0;
    }
    std::fs::remove_dir_all(dir.path().join("cut/journal")).unwrap();
    copy(&live.join("journal"), &dir.path().join("cut/journal"));
    store.close().await;
    (dir, last)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

/// The journal's newest segment, and where each of its groups begins.
fn newest(dir: &Path) -> (PathBuf, Vec<usize>) {
    let files = std::fs::read_dir(dir.join("journal")).unwrap().map(|f| f.unwrap().path());
    let path = files.filter(|p| p.extension().is_some_and(|e| e == "vxj")).max().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let (mut at, mut starts) = (SEGMENT_HEAD, Vec::new());
    while bytes[at..].starts_with(b"VxG1") {
        starts.push(at);
        let body = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        at += (HEAD + body).next_multiple_of(8);
    }
    starts.push(at);
    (path, starts)
}

async fn keys_of(dir: &Path, groups: u32) -> (u32, super::super::Report) {
    let opened = open_small(dir).unwrap();
    let mut found = 0;
    for i in 0..groups {
        let record = opened.store.get(key(&format!("k{i}"))).await.unwrap();
        assert!(record.is_none() || record == Some(vec![b'v'; 100]));
        found += u32::from(record.is_some());
    }
    (found, opened.report)
}

#[tokio::test]
async fn groups_that_sled_lacks_come_back_from_the_journal() {
    let (dir, _) = power_cut(30).await;
    let (found, report) = keys_of(&dir.path().join("cut"), 30).await;
    assert_eq!((found, report.torn), (30, None));
    assert!(report.replayed >= 30, "{}", report.replayed);
    let again = keys_of(&dir.path().join("cut"), 30).await;
    assert_eq!((again.0, again.1.replayed), (30, 0));
}

#[tokio::test]
async fn a_torn_last_group_is_cut_off_wherever_it_was_torn() {
    let (dir, _) = power_cut(5).await;
    let cut = dir.path().join("cut");
    let (path, starts) = newest(&cut);
    let whole = std::fs::read(&path).unwrap();
    let name = path.file_name().unwrap();
    let [.., last, end] = starts[..] else { panic!("no groups") };
    for (round, keep) in (last..end).step_by(13).enumerate() {
        let mut torn = whole.clone();
        torn[keep..end].fill(0);
        let target = dir.path().join(format!("torn{round}"));
        copy(&cut, &target);
        std::fs::write(target.join("journal").join(name), &torn).unwrap();
        let (found, report) = keys_of(&target, 5).await;
        assert_eq!(found, 4, "torn at {keep}");
        assert_eq!(report.torn.is_some(), keep > last + 8, "said, once its number is there: {keep}");
    }
}

#[tokio::test]
async fn a_cut_journal_file_loses_only_what_was_cut() {
    let (dir, _) = power_cut(5).await;
    let cut = dir.path().join("cut");
    let (path, starts) = newest(&cut);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..starts[starts.len() - 2] + 20]).unwrap();
    let (found, report) = keys_of(&cut, 5).await;
    assert_eq!((found, report.torn.is_some()), (4, true));
}

#[tokio::test]
async fn a_damaged_group_in_the_middle_is_refused_and_nothing_is_changed() {
    let (dir, _) = power_cut(6).await;
    let cut = dir.path().join("cut");
    let (path, starts) = newest(&cut);
    let whole = std::fs::read(&path).unwrap();
    // the first of our six: all before the last are in the middle
    for group in starts.len() - 7..starts.len() - 2 {
        let mut bytes = whole.clone();
        bytes[starts[group] + HEAD + 3] ^= 4;
        std::fs::write(&path, &bytes).unwrap();
        let error = open_small(&cut).map(drop).unwrap_err();
        let said = format!("{} at byte {}", path.display(), starts[group]);
        assert!(matches!(&error, StoreError::Damaged(text) if text.contains(&said)), "{error}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(keys_of(&cut, 6).await.0, 6, "mended, all of it is there");
}

#[tokio::test]
async fn damage_in_groups_that_sled_has_is_noted_and_passed_over() {
    let (dir, _) = power_cut(6).await;
    let live = dir.path().join("live");
    let (path, starts) = newest(&live);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[starts[1] + HEAD + 3] ^= 4;
    std::fs::write(&path, &bytes).unwrap();
    let (found, report) = keys_of(&live, 6).await;
    assert_eq!((found, report.harmless.len()), (6, 1), "{report:?}");
}

#[tokio::test]
async fn sled_behind_the_oldest_segment_is_refused_with_the_way_to_mend_it() {
    let (dir, _) = power_cut(6).await;
    let cut = dir.path().join("cut");
    for life in 0..60 {
        // some lives of the store, until its old segments are gone
        let store = open_small(&dir.path().join("live")).unwrap().store;
        for j in 0..60 {
            store.commit(one(&format!("x{life}-{j}"), &[1; 6_000])).await.unwrap();
            store.sync_now();
        }
        store.close().await;
        let old = dir.path().join(format!("old{life}"));
        copy(&cut, &old);
        std::fs::remove_dir_all(old.join("journal")).unwrap();
        copy(&dir.path().join("live/journal"), &old.join("journal"));
        let Err(error) = open_small(&old).map(drop) else { continue };
        assert!(matches!(&error, StoreError::Damaged(text) if text.contains("oldest journal segment")), "{error}");
        assert!(error.to_string().contains("restore"), "{error}");
        return;
    }
    panic!("old segments are kept for ever");
}

#[tokio::test]
async fn a_tail_that_sled_lost_is_noticed_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    drop(open_small(&live).unwrap());
    copy(&live, &dir.path().join("old"));
    let store = open_small(&live).unwrap().store;
    for i in 0..40 {
        store.commit(one(&format!("k{i}"), &[b'v'; 100])).await.unwrap();
    }
    // a clean end: sled was on disk with all of it, and the journal says so
    store.close().await;
    std::fs::remove_dir_all(live.join("sled")).unwrap();
    copy(&dir.path().join("old/sled"), &live.join("sled"));
    let (found, report) = keys_of(&live, 40).await;
    assert_eq!(found, 40);
    assert!(report.rolled_back.is_some_and(|(synced, had)| synced > had + 40), "{report:?}");
}

/// What sled itself does with a damaged file: it opens with less, and the journal gives it back; or it does not
/// open, or a record fails its checksum, and that is said. Never a wrong value, never a silent loss.
#[tokio::test]
async fn no_damage_to_sleds_file_is_passed_over_in_silence() {
    let (dir, _) = power_cut(40).await;
    let live = dir.path().join("live");
    let whole = std::fs::read(live.join("sled/db")).unwrap();
    let used = whole.iter().rposition(|b| *b != 0).unwrap();
    for (round, back) in [1, 9, 100, 700, 1_500, 3_000, 5_000].into_iter().enumerate() {
        for cut in [false, true] {
            let target = dir.path().join(format!("sled{round}-{cut}"));
            copy(&live, &target);
            let mut bytes = whole.clone();
            let at = used.saturating_sub(back);
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 0x20;
            }
            std::fs::write(target.join("sled/db"), &bytes).unwrap();
            let opened = match open_small(&target) {
                Ok(opened) => opened,
                Err(StoreError::Damaged(_)) => continue,
                Err(other) => panic!("{back} from the end, cut {cut}: {other}"),
            };
            for i in 0..40 {
                match opened.store.get(key(&format!("k{i}"))).await {
                    Ok(record) => assert_eq!(record, Some(vec![b'v'; 100]), "k{i}: {back} from the end, cut {cut}"),
                    Err(StoreError::Damaged(text)) => assert!(!text.is_empty()),
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
}

/// sled writes a snapshot under another name first; killed there, or on a full disk, it would call its own file damaged.
#[tokio::test]
async fn a_snapshot_that_sled_did_not_finish_is_no_damage() {
    let (dir, _) = power_cut(40).await;
    let cut = dir.path().join("cut");
    let half: Vec<u8> = (0..=255).collect();
    std::fs::write(cut.join("sled/snap.FFFFFFFFFFFFFFF0.generating"), []).unwrap();
    std::fs::write(cut.join("sled/snap.FFFFFFFFFFFFFFF1.generating"), half).unwrap();
    let (found, report) = keys_of(&cut, 40).await;
    assert_eq!(found, 40);
    assert!(report.replayed >= 40, "{}", report.replayed);
    let left = std::fs::read_dir(cut.join("sled")).unwrap().map(|file| file.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().ends_with("generating")));
}
