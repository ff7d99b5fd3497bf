//! The seed's day of one device: what it writes, in all, for its audio, and what of it stays on the disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::DurableError;
use super::fleet::{Device, Fleet, open};
use crate::domain::{Clock, ControlKind, ImageId, ImagePart, ManualClock, Wall};
use crate::store;

/// Turns, images, and the pause of heartbeats.
const TURNS: u32 = 500;
const IMAGES: u32 = 100;
const HEARTBEAT: u32 = 20;
/// Packets of a question of three seconds.
const FRAMES: u32 = 50;
/// Bytes of an image.
const IMAGE: usize = 60_000;
/// Marks that need no message's commit are written so soon here that each has its own, as in a day with its pauses.
const MARK_DELAY: Duration = Duration::from_millis(1);
const SECONDS: u32 = 86_400;
/// 2026-01-01.
const NEW_YEAR: u64 = 1_767_225_600_000;

/// What the day wrote.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Day {
    /// Turns, images, heartbeats, audio packets.
    pub turns: u32,
    /// Images of 60,000 bytes.
    pub images: u32,
    /// Heartbeats.
    pub heartbeats: u32,
    /// Audio packets.
    pub frames: u32,
    /// Groups (syncs) of the journal.
    pub groups: u64,
    /// Bytes that went through the journal; its files are used again.
    pub journal_bytes: u64,
    /// By how much the store grew.
    pub store_bytes: u64,
    /// Bytes of the images' files.
    pub image_bytes: u64,
    /// Bytes of the day's file, once it is moved out of the store.
    pub day_file_bytes: u64,
}

fn size_of(dir: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(dir) else { return 0 };
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |data| data.len());
    files.flatten().map(|file| if file.path().is_dir() { size_of(&file.path()) } else { size(&file.path()) }).sum()
}

/// Lives through a day; with `audio`, each turn is preceded by a question of three seconds.
pub async fn day(settings: &store::Settings, dir: &Path, audio: bool) -> Result<Day, DurableError> {
    let own = Arc::new(ManualClock::new(Wall(NEW_YEAR)));
    let clock: Arc<dyn Clock> = own.clone();
    let opened = open(settings, dir, Arc::clone(&clock), Duration::ZERO)?;
    let fleet = Fleet::start(&opened, dir, 1, &clock, Some(MARK_DELAY)).await?;
    let mut device = fleet.devices().pop().ok_or(DurableError::Session("no device"))?;
    device.hello().await?;
    let before = size_of(&dir.join("store/sled"));
    let (groups, bytes) = (opened.metrics.groups.get(), opened.metrics.bytes.get());
    let mut found = Day::default();
    let mut heard = 0;
    for beat in 0..SECONDS / HEARTBEAT {
        own.advance(Duration::from_secs(u64::from(HEARTBEAT)));
        let second = beat * HEARTBEAT;
        say(&mut device, ControlKind::Heartbeat, &mut found.heartbeats).await?;
        if due(second, TURNS) > found.turns {
            if audio {
                // a mark a second, as the pauses between packets would have it
                for chunk in 0..3 {
                    for _ in 0..FRAMES / 3 + u32::from(chunk < FRAMES % 3) {
                        heard += 1;
                        device.frame(heard)?;
                    }
                    tokio::time::sleep(4 * MARK_DELAY).await;
                }
            }
            let text = format!("what is in front of me now, and how many steps are there? {second}");
            say(&mut device, ControlKind::Text(text), &mut found.turns).await?;
        }
        if due(second, IMAGES) > found.images {
            found.images += 1;
            device.image(photo(found.images)).await?;
        }
        tokio::time::sleep(3 * MARK_DELAY).await;
    }
    found.frames = heard;
    into_the_day_file(fleet, &own).await?;
    opened.store.close().await;
    found.groups = opened.metrics.groups.get() - groups;
    found.journal_bytes = opened.metrics.bytes.get() - bytes;
    found.store_bytes = size_of(&dir.join("store/sled")).saturating_sub(before);
    found.image_bytes = size_of(&dir.join("images"));
    found.day_file_bytes = size_of(&dir.join("lifelog"));
    Ok(found)
}

/// So many of `all` have happened by then.
fn due(second: u32, all: u32) -> u32 {
    (u64::from(second + HEARTBEAT) * u64::from(all) / u64::from(SECONDS)).try_into().unwrap_or(all)
}

async fn say(device: &mut Device, kind: ControlKind, count: &mut u32) -> Result<(), DurableError> {
    device.seq = device.seq.wrapping_add(1);
    *count += 1;
    device.say(device.seq, kind).await.map(drop)
}

/// Bytes that do not pack, behind what makes them a JPEG.
fn photo(number: u32) -> ImagePart {
    let mut state = u64::from(number) | 1 << 40;
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE0];
    while bytes.len() < IMAGE {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes()[..4]);
    }
    let total = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let crc32c = crc32c::crc32c(&bytes);
    ImagePart { image: ImageId(u64::from(number)), index: 0, parts: 1, total, crc32c, data: Bytes::from(bytes) }
}

/// The day passes out of the week that stays in the store.
async fn into_the_day_file(fleet: Fleet, clock: &ManualClock) -> Result<(), DurableError> {
    clock.advance(Duration::from_secs(9 * u64::from(SECONDS)));
    let lifelog = Arc::clone(&fleet.lifelog);
    fleet.stop().await;
    lifelog.sweep().await?;
    Ok(())
}
