//! Kept speech on a real disk: found again, also after a start, bounded, and never half of it.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::domain::{ByteSize, ManualClock, Span, Wall};

/// Far from 1970: files are dated by it.
const NOW: Wall = Wall(1_900_000_000_000);

struct Rig {
    dir: TempDir,
    clock: Arc<ManualClock>,
    metrics: Metrics,
    settings: SpeechSettings,
    reserve: u64,
}

impl Rig {
    fn new() -> Self {
        let settings = SpeechSettings { memory: ByteSize(0), ..SpeechSettings::default() };
        let clock = Arc::new(ManualClock::new(NOW));
        Self { dir: TempDir::new().unwrap(), clock, metrics: Metrics::default(), settings, reserve: 0 }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("speech")
    }

    /// Opens the cache, and waits until the folder is read.
    async fn open(&self) -> Speech {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let speech = Speech::open(&self.settings, &self.folder(), self.reserve, &clock, &self.metrics);
        settled(&speech).await;
        speech
    }

    fn dropped(&self, why: Why) -> u64 {
        self.metrics.of(Name::Speech).gone(why)
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        entries(&self.folder()).filter(|path| path.is_dir()).flat_map(|dir| entries(&dir).collect::<Vec<_>>()).collect()
    }
}

/// The thread has done all that it was given before.
async fn settled(speech: &Speech) {
    if let Some(disk) = &speech.disk {
        disk.settled().await;
    }
}

fn key(n: u8) -> Key {
    spoken(&format!("clause {n}")).key()
}

fn spoken(text: &str) -> Spoken<'_> {
    Spoken { service: "tts", voice: None, language: Some("en"), text, bitrate: 24_000 }
}

fn frames(n: u8) -> Vec<Bytes> {
    (0..5).map(|_| Bytes::from(vec![n; 100])).collect()
}

#[test]
fn all_that_decides_how_a_clause_sounds_is_in_its_key_and_white_space_is_not() {
    let one = spoken("It is blue.");
    let others = [
        Spoken { service: "other", ..one },
        Spoken { voice: Some(""), ..one },
        Spoken { voice: Some("onyx"), ..one },
        Spoken { language: None, ..one },
        Spoken { bitrate: 16_000, ..one },
        Spoken { text: "It is blue!", ..one },
        Spoken { text: "it is blue.", ..one },
    ];
    let mut keys: Vec<Key> = others.iter().map(Spoken::key).chain([one.key()]).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), others.len() + 1);
    assert_eq!(spoken("  It\n is  blue. ").key(), one.key());
}

#[tokio::test]
async fn what_was_said_is_found_also_after_a_start_and_no_word_of_it_is_in_a_name() {
    let rig = Rig::new();
    let speech = rig.open().await;
    assert_eq!(speech.find(&key(1)).await, None);
    speech.keep(key(1), frames(1));
    settled(&speech).await;
    assert_eq!(speech.find(&key(1)).await.as_deref(), Some(&frames(1)[..]));
    drop(speech);
    let speech = rig.open().await;
    assert_eq!(speech.find(&key(1)).await.as_deref(), Some(&frames(1)[..]));
    let held = speech.held();
    assert_eq!((held.entries, held.hits, held.misses), (1, 2, 1));
    let files = rig.files();
    assert_eq!((files.len(), held.bytes), (1, fs::metadata(&files[0]).unwrap().len()));
    assert!(file::key_of(&files[0]).is_some());
}

#[tokio::test]
async fn what_is_hot_needs_no_disk() {
    let mut rig = Rig::new();
    rig.settings.memory = ByteSize::kb(64);
    let speech = rig.open().await;
    speech.keep(key(1), frames(1));
    settled(&speech).await;
    for file in rig.files() {
        fs::remove_file(file).unwrap();
    }
    assert_eq!(speech.find(&key(1)).await.as_deref(), Some(&frames(1)[..]));
}

#[tokio::test]
async fn what_nobody_asked_for_is_forgotten_and_the_time_goes_on_while_the_gateway_is_away() {
    let mut rig = Rig::new();
    rig.settings.idle = Span::secs(100);
    let speech = rig.open().await;
    speech.keep(key(1), frames(1));
    speech.keep(key(2), frames(2));
    settled(&speech).await;
    rig.clock.advance(Duration::from_mins(1));
    assert!(speech.find(&key(2)).await.is_some(), "this one is used");
    rig.clock.advance(Duration::from_mins(1));
    assert_eq!(speech.find(&key(1)).await, None);
    drop(speech);
    rig.clock.advance(Duration::from_secs(30));
    let speech = rig.open().await;
    assert!(speech.find(&key(2)).await.is_some());
    assert_eq!((speech.held().entries, rig.files().len()), (1, 1));
    assert_eq!(rig.dropped(Why::Old), 1);
}

#[tokio::test]
async fn no_more_lies_on_the_disk_than_may_and_what_was_used_longest_ago_goes_first() {
    let mut rig = Rig::new();
    let one = file::encode(&frames(0)).len() as u64;
    rig.settings.size = ByteSize(3 * one);
    let speech = rig.open().await;
    for n in 1..=3 {
        speech.keep(key(n), frames(n));
    }
    settled(&speech).await;
    assert!(speech.find(&key(1)).await.is_some());
    speech.keep(key(4), frames(4));
    settled(&speech).await;
    assert_eq!(speech.find(&key(2)).await, None);
    assert!(speech.find(&key(1)).await.is_some() && speech.find(&key(4)).await.is_some());
    assert_eq!((rig.files().len(), speech.held().bytes), (3, 3 * one));
    drop(speech);
    rig.settings.size = ByteSize(one);
    let speech = rig.open().await;
    assert_eq!((rig.files().len(), speech.held().entries), (1, 1), "a smaller size counts at the next start");
}

#[tokio::test]
async fn files_that_are_torn_are_dropped_and_foreign_ones_are_left_where_they_are() {
    let rig = Rig::new();
    let speech = rig.open().await;
    for n in 1..=3 {
        speech.keep(key(n), frames(n));
    }
    settled(&speech).await;
    drop(speech);
    let path = |n| file::path(&rig.folder(), &key(n));
    let whole = fs::read(path(1)).unwrap();
    fs::write(path(1), &whole[..whole.len() / 2]).unwrap();
    let written = std::time::UNIX_EPOCH + Duration::from_millis(NOW.0);
    fs::File::options().write(true).open(path(1)).unwrap().set_modified(written).unwrap();
    fs::write(path(2), b"").unwrap();
    fs::write(path(3).with_extension("part"), b"half").unwrap();
    let notes = rig.folder().join("notes.txt");
    fs::write(&notes, b"mine").unwrap();
    let speech = rig.open().await;
    assert_eq!((speech.held().entries, rig.dropped(Why::Torn), rig.dropped(Why::Foreign)), (2, 2, 1));
    assert_eq!(speech.find(&key(1)).await, None, "found out when it is read");
    assert!(speech.find(&key(3)).await.is_some());
    settled(&speech).await;
    assert_eq!((rig.dropped(Why::Torn), rig.files(), notes.is_file()), (3, vec![path(3)], true));
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_left_alone_and_tried_again_later() {
    let rig = Rig::new();
    // a file where the folder should be
    fs::write(rig.folder(), b"").unwrap();
    let speech = rig.open().await;
    for n in 1..=3 {
        speech.keep(key(n), frames(n));
    }
    settled(&speech).await;
    assert_eq!((speech.held().entries, rig.dropped(Why::Disk)), (0, 3));
    fs::remove_file(rig.folder()).unwrap();
    speech.keep(key(4), frames(4));
    settled(&speech).await;
    assert_eq!((speech.held().entries, rig.dropped(Why::Disk)), (0, 4), "it rests");
    rig.clock.advance(Duration::from_mins(5));
    speech.keep(key(5), frames(5));
    settled(&speech).await;
    assert_eq!((speech.held().entries, rig.dropped(Why::Disk)), (1, 4));
}

#[tokio::test]
async fn the_last_of_a_disk_is_left_to_others() {
    let mut rig = Rig::new();
    rig.reserve = u64::MAX >> 1;
    let speech = rig.open().await;
    speech.keep(key(1), frames(1));
    settled(&speech).await;
    assert_eq!((speech.held().entries, rig.dropped(Why::Disk), rig.files().len()), (0, 1, 0));
}

#[tokio::test]
async fn what_is_cleared_is_gone_from_memory_and_from_the_disk() {
    let mut rig = Rig::new();
    rig.settings.memory = ByteSize::kb(64);
    let speech = rig.open().await;
    for n in 1..=3 {
        speech.keep(key(n), frames(n));
    }
    assert_eq!(speech.clear().await, Some(3));
    assert_eq!((speech.find(&key(1)).await, rig.files().len(), speech.held().entries), (None, 0, 0));
}

#[tokio::test]
async fn without_a_disk_it_is_in_memory_and_switched_off_it_is_nowhere() {
    let mut rig = Rig::new();
    rig.settings = SpeechSettings { size: ByteSize(0), ..SpeechSettings::default() };
    let speech = rig.open().await;
    speech.keep(key(1), frames(1));
    assert!(speech.find(&key(1)).await.is_some());
    assert_eq!((speech.held().entries, speech.clear().await, rig.folder().exists()), (1, Some(1), false));
    rig.settings.enabled = false;
    let speech = rig.open().await;
    speech.keep(key(1), frames(1));
    assert_eq!((speech.find(&key(1)).await, speech.is_on(), rig.folder().exists()), (None, false, false));
}

#[tokio::test]
async fn what_is_empty_or_endless_is_not_kept() {
    let rig = Rig::new();
    let speech = rig.open().await;
    speech.keep(key(1), Vec::new());
    speech.keep(key(2), vec![Bytes::from(vec![0; 60_000]); 18]);
    settled(&speech).await;
    assert_eq!((speech.held().entries, rig.dropped(Why::Room)), (0, 1));
}
