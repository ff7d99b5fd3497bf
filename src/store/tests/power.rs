//! The power goes: whatever of the unsynced writes reached the disk, torn and in any order, what was acknowledged is
//! there, whole, and the store opens. `VOXGATE_POWER_CUTS` sets how many cuts are tried.

mod disk;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::testing::{key, open_small, open_with, small};
use super::super::{Batch, Settings, SledStore, Store, StoreError};
use crate::domain::Span;
use disk::{PowerDisk, Sled};

/// Cuts when nothing else is said: a few seconds of them.
const CUTS: u64 = 48;
/// Folders made of each.
const SALVAGED: u64 = 3;
/// Lives of one store, each ended by a cut.
const LIVES: u64 = 3;
const WRITERS: u64 = 4;
/// A device's numbers go up to the mark and no number is given twice: the lives of a store count on.
const STRIDE: u64 = 1_000_000;

/// The highest acknowledged number of each writer.
type Acknowledged = Arc<Mutex<BTreeMap<u64, u64>>>;

fn effect(writer: u64, n: u64) -> super::super::Key {
    key(&format!("w{writer}-{n}"))
}

fn payload(writer: u64, n: u64) -> Vec<u8> {
    let length = 20 + usize::try_from((writer * 7_919 + n * 104_729) % 5_000).unwrap();
    format!("{writer} {n} ").into_bytes().into_iter().cycle().take(length).collect()
}

/// Writes until the power goes. A mark, its effect, and the removal of an old effect are one batch.
async fn live(store: Arc<SledStore>, writer: u64, first: u64, acknowledged: Acknowledged) {
    for n in first.. {
        let mut batch = Batch::new();
        batch.put(key(&format!("mark{writer}")), n.to_le_bytes().to_vec());
        batch.put(effect(writer, n), payload(writer, n));
        if n % 3 == 0 && n > first {
            batch.delete(effect(writer, n - 1));
        }
        if store.commit(batch).await.is_err() {
            return;
        }
        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(writer, n);
        if n % 16 == writer {
            store.sync_now();
        }
    }
}

/// One life, ended by a cut after so many operations of the disk.
async fn until_the_cut(dir: &Path, cut_after: u64, life: u64, acknowledged: &Acknowledged) -> disk::Wreck {
    let disk = PowerDisk::new(dir, cut_after);
    let wreck = disk.wreck();
    let settings = Settings { sync_every: Span::ms(50), journal_keep: 1, ..small() };
    if let Ok(opened) = open_with(Arc::new(disk), settings, dir) {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(live(opened.store.clone(), writer, 1 + life * STRIDE, acknowledged.clone()));
        }
        while writers.join_next().await.is_some() {}
        opened.store.close().await;
    }
    wreck.cut_now();
    wreck
}

/// Opens what is left and looks for everything that was acknowledged. False: it says that it is damaged.
async fn whole(dir: &Path, acknowledged: &BTreeMap<u64, u64>, what: &str) -> bool {
    let opened = match open_small(dir) {
        Ok(opened) => opened,
        Err(StoreError::Damaged(text)) => {
            println!("{what}: {text}");
            return false;
        }
        Err(other) => panic!("{what}: {other}"),
    };
    let store = &opened.store;
    for writer in 0..WRITERS {
        let told = acknowledged.get(&writer).copied().unwrap_or(0);
        let mark = store.get(key(&format!("mark{writer}"))).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        let mark = mark.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        assert!(mark >= told, "{what}: the mark of writer {writer} went back to {mark}, {told} was acknowledged");
        // the life in which the mark was set, whole: each number's effect, but for those that a later batch removed
        let first = 1 + mark.saturating_sub(1) / STRIDE * STRIDE;
        for n in first..=mark {
            let removed = (n + 1) % 3 == 0 && n < mark;
            let found = store.get(effect(writer, n)).await.unwrap_or_else(|e| panic!("{what}: {e}"));
            let expected = (!removed).then(|| payload(writer, n));
            assert!(found == expected, "{what}: writer {writer}, number {n}, mark {mark}, acknowledged {told}");
        }
        let next = store.get(effect(writer, mark + 1)).await.unwrap();
        assert_eq!(next, None, "{what}: an effect beyond its mark, {mark} of writer {writer}");
    }
    // it works on
    store.commit(super::super::testing::one("after", b"x")).await.unwrap();
    opened.store.close().await;
    true
}

/// Some cuts, and the folders that they may leave: how many were looked at, and how many said that they are damaged.
async fn cuts(seed: u64, order: Sled) -> (u64, u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let root = tempfile::tempdir().unwrap();
    let acknowledged = Acknowledged::default();
    let mut dir = root.path().join("store");
    let (mut tried, mut refused) = (0, 0);
    for life in 0..LIVES {
        std::fs::create_dir_all(&dir).unwrap();
        // often while it is made or opened, where each operation counts
        let cut_after = if dice.random_bool(0.3) { dice.random_range(0..40) } else { dice.random_range(40..700) };
        let wreck = until_the_cut(&dir, cut_after, life, &acknowledged).await;
        let told = acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut next = None;
        for salvage in 0..SALVAGED {
            let left = root.path().join(format!("left{life}-{salvage}"));
            let salt = seed * 1_000 + life * 10 + salvage;
            wreck.salvage(&left, salt, order).unwrap();
            let what = format!("seed {seed}, life {life}, cut after {cut_after} ({}), salvage {salvage}", wreck.ops());
            tried += 1;
            if whole(&left, &told, &what).await { next = Some(salt) } else { refused += 1 }
        }
        let Some(salt) = next else { break };
        // the next life goes on with one of them, as the cut left it
        dir = root.path().join(format!("life{}", life + 1));
        wreck.salvage(&dir, salt, order).unwrap();
    }
    (tried, refused)
}

async fn many(order: Sled) -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let first = number("VOXGATE_POWER_SEED").unwrap_or(1);
    let (mut seed, mut all) = (first, (0, 0));
    while all.0 < number("VOXGATE_POWER_CUTS").unwrap_or(CUTS) {
        let (tried, refused) = cuts(seed, order).await;
        all = (all.0 + tried, all.1 + refused);
        seed += 1;
    }
    println!("{order:?}: {} folders after power cuts, seeds {first} to {}, {} refused", all.0, seed - 1, all.1);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_power_goes() {
    assert_eq!(many(Sled::InOrder).await.1, 0, "a store that does not open any more");
}

/// A drive that reorders what sled took care to order can break sled itself. That is said when it is opened; what opens is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_in_silence_when_the_drive_shuffles_what_sled_wrote() {
    let (tried, refused) = many(Sled::Shuffled).await;
    assert!(refused * 4 < tried, "{refused} of {tried} do not open");
}
