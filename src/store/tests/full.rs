//! A disk that is full, or fails: said to all who wait, healed without a restart, nothing acknowledged lost.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch::Receiver;

use super::super::disk::{Disk, RealDisk};
use super::super::syncer::SPARE_FILE;
use super::super::testing::{WatchedDisk, key, one, open_small, open_with, small};
use super::super::{Batch, Opened, Settings, Store, StoreError};
use super::order::commit_when_mended;
use crate::domain::{ByteSize, Span};

#[tokio::test]
async fn when_sled_fails_the_acknowledged_are_kept_and_the_rest_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let disk = WatchedDisk::default();
    let watch = disk.watch.clone();
    let Opened { store, .. } = open_with(Arc::new(disk), small(), dir.path()).unwrap();
    watch.fail_sled.store(true, Ordering::SeqCst);
    let (mut acknowledged, mut told) = (Vec::new(), false);
    for i in 0.. {
        let name = format!("k{i}");
        match store.commit(one(&name, b"1")).await {
            Ok(_) => acknowledged.push(name),
            Err(StoreError::Write(_)) => {
                told = true;
                break;
            }
            Err(other) => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(told && store.health().broken.is_some() && store.health().writer);
    watch.fail_sled.store(false, Ordering::SeqCst);
    commit_when_mended(&store, "after").await;
    assert_eq!(store.health().broken, None);
    for name in &acknowledged {
        assert_eq!(store.get(key(name)).await.unwrap(), Some(b"1".to_vec()), "{name}");
    }
}

#[tokio::test]
async fn below_the_reserve_records_are_refused_and_deletions_are_not() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_small(dir.path()).unwrap());
    let settings = Settings { reserve: ByteSize(u64::MAX / 2), ..small() };
    let store = open_with(Arc::new(WatchedDisk::default()), settings, dir.path()).unwrap().store;
    let refused = store.commit(one("a", b"1")).await;
    assert!(matches!(&refused, Err(StoreError::Write(text)) if text.contains("store.reserve")), "{refused:?}");
    let mut batch = Batch::new();
    batch.delete(key("a"));
    store.commit(batch).await.unwrap();
    assert!(store.health().low);
}

#[tokio::test]
async fn the_spare_room_is_given_up_when_somebody_else_fills_the_disk_and_taken_again() {
    let Some(tmpfs) = Tmpfs::mount("64m") else {
        println!("skipped: this user may not mount a tmpfs");
        return;
    };
    let settings = Settings { reserve: ByteSize::mb(8), ..small() };
    let dir = tmpfs.path().join("store");
    let disk = WatchedDisk::default();
    let mut files = disk.watch.files.subscribe();
    let store = open_with(Arc::new(disk), settings, &dir).unwrap().store;
    let spare = dir.join(SPARE_FILE);
    let size = || std::fs::metadata(&spare).ok().map(|file| file.len());
    let until = async |files: &mut Receiver<()>, wanted: Option<u64>| {
        let changed = tokio::time::timeout(Duration::from_mins(1), files.wait_for(|()| size() == wanted)).await;
        assert!(changed.is_ok(), "the spare room is {:?}, {} bytes are free", size(), store.health().free);
    };
    until(&mut files, Some(2 << 20)).await;
    store.commit(one("a", b"1")).await.unwrap();
    let ballast = tmpfs.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    // a quarter of the spare room is when it is given up; who fills the disk leaves it alone then, and so it is there
    while RealDisk.free(&dir).unwrap() > 384 << 10 && spare.exists() {
        std::io::Write::write_all(&mut file, &[1; 1 << 14]).unwrap();
    }
    until(&mut files, None).await;
    assert!(RealDisk.free(&dir).unwrap() > 2 << 20);
    let mut batch = Batch::new();
    batch.delete(key("a"));
    store.commit(batch).await.unwrap();
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    until(&mut files, Some(2 << 20)).await;
}

#[tokio::test]
async fn a_batch_that_fits_no_group_is_refused_and_a_full_queue_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let disk = WatchedDisk::default();
    let watch = disk.watch.clone();
    let settings = Settings { queue: 3, ..small() };
    let store = open_with(Arc::new(disk), settings, dir.path()).unwrap().store;
    assert!(matches!(store.commit(one("big", &vec![0; 20_000])).await, Err(StoreError::Write(_))));
    watch.hold(true);
    let commits: Vec<_> = (0..9).map(|i| store.commit(one(&format!("k{i}"), b"1"))).collect();
    watch.hold(false);
    let results = futures::future::join_all(commits).await;
    assert!(results.iter().filter(|r| **r == Err(StoreError::Busy)).count() >= 2, "{results:?}");
    assert!(results[0].is_ok());
}

/// A tmpfs of its own; none where this user may not mount.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .output();
        mounted.is_ok_and(|o| o.status.success()).then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_disk_of_24_mb_filled_under_load_and_freed_heals_without_a_restart() {
    let Some(tmpfs) = Tmpfs::mount("24m") else {
        println!("skipped: this user may not mount a tmpfs; the other tests of this file inject the failure");
        return;
    };
    let settings = Settings {
        segment: ByteSize::mb(1),
        group: ByteSize::kb(64),
        reserve: ByteSize(0),
        sync_every: Span::ms(50),
        ..Settings::default()
    };
    let open = || open_with(Arc::new(WatchedDisk::default()), settings.clone(), &tmpfs.path().join("store"));
    let store = open().unwrap().store;
    let ballast = tmpfs.path().join("ballast");
    std::fs::write(&ballast, [1].repeat(12 << 20)).unwrap();
    let (mut acknowledged, mut failures) = (Vec::new(), 0);
    let mut noise = 1_u64;
    for i in 0..40_000_u32 {
        let payload: Vec<u8> = (0..300)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                noise.to_be_bytes()[0]
            })
            .collect();
        match store.commit(one(&format!("k{i}"), &payload)).await {
            Ok(_) => acknowledged.push((i, payload)),
            Err(StoreError::Write(_)) => {
                failures += 1;
                if failures == 20 {
                    std::fs::remove_file(&ballast).unwrap();
                }
                if failures > 20 && acknowledged.last().is_some_and(|(last, _)| *last > i) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(other) => panic!("{other}"),
        }
        if failures >= 20 && store.health().broken.is_none() && acknowledged.last().is_some_and(|(last, _)| *last == i)
        {
            break;
        }
    }
    assert!(failures >= 20, "the disk was never full: {} acknowledged", acknowledged.len());
    commit_when_mended(&store, "after").await;
    for (i, payload) in &acknowledged {
        assert_eq!(store.get(key(&format!("k{i}"))).await.unwrap().as_ref(), Some(payload), "k{i}");
    }
    drop(store);
    let store = open().unwrap().store;
    for (i, payload) in &acknowledged {
        assert_eq!(store.get(key(&format!("k{i}"))).await.unwrap().as_ref(), Some(payload), "k{i} after a restart");
    }
}
