//! The lifelog over hot and cold days, unhappy paths first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a failing test may panic")]

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::day::Day;
use super::*;
use crate::domain::{ManualClock, Wall};
use crate::store::SledStore;
use crate::store::testing::open_small;

const START: u64 = 1_763_700_000_000;
const DAY: Duration = Duration::from_hours(24);

struct World {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Arc<SledStore>,
    lifelog: Lifelog,
}

impl World {
    fn new(settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Wall(START)));
        let opened = open_small(&dir.path().join("store")).unwrap();
        let numbers = Arc::new(Numbers::new(opened.report.boot));
        let lifelog =
            Lifelog::open(settings, dir.path(), opened.store.clone(), clock.clone(), numbers, &Metrics::default());
        Self { clock, store: opened.store, lifelog: lifelog.unwrap(), dir }
    }

    async fn say(&self, device: &DeviceId, text: &str) -> Entry {
        let mut batch = Batch::new();
        let body = json!({"transcript": text});
        let entry = self.lifelog.append(&mut batch, device, None, Kind::Turn, body).unwrap();
        self.store.commit(batch).await.unwrap();
        entry
    }

    /// Several days of three devices; returns the entries, oldest first.
    async fn live(&self, days: u32, turns: u32) -> Vec<Entry> {
        let mut all = Vec::new();
        for _ in 0..days {
            for turn in 0..turns {
                self.clock.advance(Duration::from_secs(1));
                all.push(self.say(&device(turn % 3), &format!("turn {turn}")).await);
            }
            self.clock.advance(DAY.saturating_sub(Duration::from_secs(turns.into())));
        }
        all
    }

    /// All pages of a query.
    async fn all(&self, mut query: Query) -> Vec<Entry> {
        let mut found = Vec::new();
        loop {
            let page = self.lifelog.query(&query).await.unwrap();
            assert!(page.entries.len() <= query.limit);
            found.extend(page.entries);
            match page.next {
                Some(_) => query.before = page.next,
                None => return found,
            }
        }
    }

    fn cold_file(&self, at: u64) -> std::path::PathBuf {
        cold::path(&self.dir.path().join("lifelog"), Day::of(Wall(at)))
    }
}

fn device(number: u32) -> DeviceId {
    DeviceId::parse(&format!("d{number}")).unwrap()
}

fn hot(hot_days: u32) -> Settings {
    Settings { hot_days, ..Settings::default() }
}

#[tokio::test]
async fn a_damaged_block_is_skipped_and_counted_and_the_others_are_read() {
    let world = World::new(hot(1));
    let all = world.live(2, 9).await;
    world.lifelog.sweep().await.unwrap();
    let path = world.cold_file(START);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let page = world.lifelog.query(&Query::newest(100)).await.unwrap();
    assert_eq!((page.entries.len(), page.damaged), (all.len() - 3, 1));
    assert!(page.entries.iter().any(|e| e.device == device(1) && e.at == all[1].at));
}

#[tokio::test]
async fn a_damaged_or_cut_index_is_made_again_from_the_blocks() {
    let world = World::new(hot(1));
    let all = world.live(2, 9).await;
    world.lifelog.sweep().await.unwrap();
    let path = world.cold_file(START);
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() - 20] ^= 1;
    for bytes in [&flipped[..], &whole[..whole.len() - 7]] {
        std::fs::write(&path, bytes).unwrap();
        let page = world.lifelog.query(&Query::newest(100)).await.unwrap();
        assert_eq!((page.entries.len(), page.damaged), (all.len(), 1));
    }
}

#[tokio::test]
async fn no_byte_of_a_day_file_can_be_wrong_without_notice() {
    let world = World::new(hot(1));
    let all = world.live(1, 6).await;
    world.clock.advance(DAY);
    world.lifelog.sweep().await.unwrap();
    let path = world.cold_file(START);
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
        let page = world.lifelog.query(&Query::newest(100)).await.unwrap();
        assert!(page.damaged > 0, "byte {at}");
        assert!(page.entries.iter().all(|e| all.contains(e)), "byte {at}");
    }
}

#[tokio::test]
async fn a_move_that_was_cut_off_shows_every_entry_once_and_is_ended_later() {
    let world = World::new(hot(1));
    let all = world.live(2, 9).await;
    let first_day: Vec<_> = all[..9].to_vec();
    // the file was written, the records were not removed yet
    let mut sorted = first_day.clone();
    sorted.sort_by(|a, b| (&a.device, a.at).cmp(&(&b.device, b.at)));
    cold::write(&world.dir.path().join("lifelog"), Day::of(Wall(START)), &sorted).unwrap();
    assert_eq!(world.all(Query::newest(100)).await.len(), all.len());
    world.lifelog.sweep().await.unwrap();
    assert_eq!(world.all(Query::newest(100)).await.len(), all.len());
}

#[tokio::test]
async fn hot_and_cold_days_are_read_alike_newest_first_in_pages_of_any_size() {
    let world = World::new(hot(3));
    let mut all = world.live(8, 20).await;
    let swept = world.lifelog.sweep().await.unwrap();
    assert_eq!((swept.moved, swept.entries), (6, 120), "today, a day without turns, is hot too");
    all.reverse();
    for limit in [1, 7, 20, 1_000] {
        assert_eq!(world.all(Query::newest(limit)).await, all, "{limit}");
    }
    let mine: Vec<_> = all.iter().filter(|e| e.device == device(1)).cloned().collect();
    for limit in [1, 3, 1_000] {
        let query = Query { device: Some(device(1)), ..Query::newest(limit) };
        assert_eq!(world.all(query).await, mine, "{limit}");
    }
    let (from, to) = (all[100].at, all[30].at);
    let within: Vec<_> = all.iter().filter(|e| (from..to).contains(&e.at)).cloned().collect();
    assert_eq!(world.all(Query { from, to, ..Query::newest(9) }).await, within);
}

#[tokio::test]
async fn what_is_past_its_keeping_goes_with_its_images_and_nothing_goes_while_the_clock_is_unset() {
    let world = World::new(Settings { hot_days: 30, keep: 2, ..Settings::default() });
    let image = Bytes::from_static(b"\xFF\xD8\xFFold");
    let stored = world.lifelog.store_image(&device(0), Wall(START), image).await.unwrap();
    world.live(4, 3).await;
    world.clock.set_wall(Wall(0));
    assert_eq!(world.lifelog.sweep().await.unwrap(), Swept::default());
    world.clock.set_wall(Wall(START + 4 * 86_400_000));
    world.lifelog.sweep().await.unwrap();
    let left = world.all(Query::newest(100)).await;
    assert_eq!(left.len(), 3, "yesterday's");
    assert!(!world.lifelog.image_path(&stored).unwrap().exists());
}

#[tokio::test]
async fn a_follower_sees_each_entry_once() {
    let world = World::new(hot(30));
    world.live(1, 5).await;
    let mut tail = Tail::now(&world.lifelog).await.unwrap();
    assert_eq!(tail.poll(&world.lifelog).await.unwrap(), vec![]);
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        world.clock.advance(Duration::from_secs(7));
        let said = [world.say(&device(0), "a").await, world.say(&device(1), "b").await];
        let got = tail.poll(&world.lifelog).await.unwrap();
        assert_eq!(got, said);
        assert!(got.iter().all(|e| seen.insert(e.n)));
    }
}

#[tokio::test]
async fn an_image_is_one_file_by_its_content_and_stays_in_its_folder() {
    let world = World::new(hot(30));
    let png = Bytes::from_static(b"\x89PNG\r\n\x1a\nrest");
    let dots = DeviceId::parse("..").unwrap();
    let first = world.lifelog.store_image(&dots, Wall(START), png.clone()).await.unwrap();
    let again = world.lifelog.store_image(&dots, Wall(START), png.clone()).await.unwrap();
    assert_eq!(first, again);
    let path = world.lifelog.image_path(&first).unwrap();
    assert!(path.canonicalize().unwrap().starts_with(world.dir.path().join("images").canonicalize().unwrap()));
    assert_eq!(std::fs::read(path).unwrap(), png);
    let text = world.lifelog.store_image(&dots, Wall(START), Bytes::from_static(b"hello")).await;
    assert_eq!(text, Err(ImageError::Unknown));
    let wild = ImageRef { path: "images/../../etc/passwd".into(), ..first };
    assert_eq!(world.lifelog.image_path(&wild), None);
}

/// `VOXGATE_YEAR_DIR=… VOXGATE_YEAR=fill|open VOXGATE_HOT_DAYS=30 cargo test --no-default-features --lib measure_a_year -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes and gigabytes: run by hand for docs/decisions/02-store-layout.md"]
async fn measure_a_year() {
    let var = |name: &str| std::env::var(name).unwrap();
    let dir = std::path::PathBuf::from(var("VOXGATE_YEAR_DIR"));
    let year = measure::Year { hot_days: var("VOXGATE_HOT_DAYS").parse().unwrap(), ..measure::Year::default() };
    let figures = match var("VOXGATE_YEAR").as_str() {
        "fill" => serde_json::to_string(&measure::year(&dir, &year).await.unwrap()).unwrap(),
        _ => serde_json::to_string(&measure::reopen(&dir, &year).await.unwrap()).unwrap(),
    };
    println!("{year:?} {figures}");
}
