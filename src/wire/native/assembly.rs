//! Images put together from parts that come in any order, again, or never.
//!
//! Pure: times are given, nothing is sent. An [`ImageAssembler`] belongs to one device; the [`ImageBudget`] is
//! shared by all of them, so that unfinished images have a bound in all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::domain::{ImageId, ImagePart};

/// How patient and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssemblyLimits {
    /// Most unfinished images of one device; the oldest goes.
    pub unfinished: usize,
    /// Ask for missing parts after so much silence of an image.
    pub ask_after: Duration,
    /// Drop an image that is not whole so long after its last part.
    pub drop_after: Duration,
}

impl Default for AssemblyLimits {
    /// 2 images, 2 s, 60 s.
    fn default() -> Self {
        Self { unfinished: 2, ask_after: Duration::from_secs(2), drop_after: Duration::from_mins(1) }
    }
}

/// Bytes that unfinished images of all devices may take together.
#[derive(Debug)]
pub struct ImageBudget {
    left: AtomicUsize,
}

impl ImageBudget {
    /// 64 MB, as the dialect promises.
    pub const DEFAULT: usize = 64 << 20;

    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(bytes) })
    }

    /// Bytes that are free.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn give(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What a part brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// What became of it.
    pub progress: Progress,
    /// Older unfinished images that had to go to make room, to be told to the device.
    pub dropped: Vec<ImageId>,
}

/// What became of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is kept; more is to come.
    Kept,
    /// It was here already.
    Again,
    /// The image is whole and its checksum is right.
    Whole(Bytes),
    /// All parts are here and are not the image that they say: it is dropped and has to be sent anew.
    Damaged,
    /// The part contradicts the parts before it (total, number of parts, checksum): the part is dropped.
    Contradicts,
    /// There is no room for it at present: the part is dropped.
    NoRoom,
}

#[derive(Debug)]
struct Unfinished {
    image: ImageId,
    total: u32,
    crc32c: u32,
    parts: Vec<Option<Bytes>>,
    missing: usize,
    /// Bytes kept so far.
    held: usize,
    last_part: Duration,
    asked: bool,
    /// What the budget was charged.
    cost: usize,
}

impl Unfinished {
    fn new(part: &ImagePart, now: Duration) -> Self {
        let parts = usize::from(part.parts);
        Self {
            image: part.image,
            total: part.total,
            crc32c: part.crc32c,
            parts: vec![None; parts],
            missing: parts,
            held: 0,
            last_part: now,
            asked: false,
            cost: Self::cost(part),
        }
    }

    /// The image itself and the list of its parts, in bytes.
    fn cost(part: &ImagePart) -> usize {
        part.total as usize + usize::from(part.parts) * size_of::<Option<Bytes>>()
    }

    fn agrees(&self, part: &ImagePart) -> bool {
        self.total == part.total && self.crc32c == part.crc32c && self.parts.len() == usize::from(part.parts)
    }

    /// Inclusive ranges of parts that are not here.
    fn missing(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for (index, _) in (0..=u16::MAX).zip(&self.parts).filter(|(_, part)| part.is_none()) {
            match ranges.last_mut() {
                Some((_, to)) if *to + 1 == index => *to = index,
                _ => ranges.push((index, index)),
            }
        }
        ranges
    }

    fn join(&self) -> Option<Bytes> {
        let mut whole = Vec::with_capacity(self.held);
        self.parts.iter().flatten().for_each(|part| whole.extend_from_slice(part));
        let right = whole.len() == self.total as usize && crc32c::crc32c(&whole) == self.crc32c;
        right.then(|| whole.into())
    }
}

/// Puts the images of one device together.
#[derive(Debug)]
pub struct ImageAssembler {
    limits: AssemblyLimits,
    budget: Arc<ImageBudget>,
    /// The oldest first.
    images: Vec<Unfinished>,
}

impl ImageAssembler {
    /// An assembler that takes its room from `budget`.
    pub fn new(limits: AssemblyLimits, budget: Arc<ImageBudget>) -> Self {
        Self { limits, budget, images: Vec::new() }
    }

    /// Takes a part that [`crate::wire::decode`] has checked.
    ///
    /// The data is copied: a part is a slice of the packet (or of a larger read) that it came in, and would
    /// keep all of that alive.
    pub fn add(&mut self, part: &ImagePart, now: Duration) -> Added {
        let mut dropped = Vec::new();
        let known = self.images.iter().position(|i| i.image == part.image);
        let at = known.map_or_else(|| self.begin(part, now, &mut dropped), Ok);
        let progress = at.map_or_else(|refused| refused, |at| self.keep(at, part, now));
        Added { progress, dropped }
    }

    /// Makes room for a new image, at the cost of this device's older ones.
    fn begin(&mut self, part: &ImagePart, now: Duration, dropped: &mut Vec<ImageId>) -> Result<usize, Progress> {
        if part.index >= part.parts {
            return Err(Progress::Contradicts);
        }
        while self.images.len() >= self.limits.unfinished.max(1) {
            dropped.push(self.remove(0).image);
        }
        while !self.budget.take(Unfinished::cost(part)) {
            if self.images.is_empty() {
                return Err(Progress::NoRoom);
            }
            dropped.push(self.remove(0).image);
        }
        self.images.push(Unfinished::new(part, now));
        Ok(self.images.len() - 1)
    }

    fn keep(&mut self, at: usize, part: &ImagePart, now: Duration) -> Progress {
        let Some(image) = self.images.get_mut(at).filter(|i| i.agrees(part)) else { return Progress::Contradicts };
        let room = image.total as usize - image.held;
        let Some(slot) = image.parts.get_mut(usize::from(part.index)) else { return Progress::Contradicts };
        if slot.is_none() && part.data.len() > room {
            return Progress::Contradicts;
        }
        image.last_part = now;
        image.asked = false;
        if slot.is_some() {
            return Progress::Again;
        }
        *slot = Some(Bytes::copy_from_slice(&part.data));
        image.held += part.data.len();
        image.missing -= 1;
        if image.missing > 0 {
            return Progress::Kept;
        }
        self.remove(at).join().map_or(Progress::Damaged, Progress::Whole)
    }

    /// Images that have been silent for long enough to ask for the rest: each once per silence.
    pub fn to_ask(&mut self, now: Duration) -> Vec<(ImageId, Vec<(u16, u16)>)> {
        let silence = self.limits.ask_after;
        let silent = |i: &&mut Unfinished| !i.asked && now.saturating_sub(i.last_part) >= silence;
        self.images
            .iter_mut()
            .filter(silent)
            .map(|i| {
                i.asked = true;
                (i.image, i.missing())
            })
            .collect()
    }

    /// What is missing of every unfinished image, for a device that has reconnected.
    pub fn missing(&self) -> Vec<(ImageId, Vec<(u16, u16)>)> {
        self.images.iter().map(|i| (i.image, i.missing())).collect()
    }

    /// Drops the images whose last part is too long ago; to be told and counted.
    pub fn expire(&mut self, now: Duration) -> Vec<ImageId> {
        let after = self.limits.drop_after;
        let mut gone = Vec::new();
        while let Some(at) = self.images.iter().position(|i| now.saturating_sub(i.last_part) >= after) {
            gone.push(self.remove(at).image);
        }
        gone
    }

    /// When [`ImageAssembler::to_ask`] or [`ImageAssembler::expire`] next has something to say.
    pub fn next_deadline(&self) -> Option<Duration> {
        let wait = |i: &Unfinished| if i.asked { self.limits.drop_after } else { self.limits.ask_after };
        self.images.iter().map(|i| i.last_part + wait(i)).min()
    }

    fn remove(&mut self, at: usize) -> Unfinished {
        let image = self.images.remove(at);
        self.budget.give(image.cost);
        image
    }
}

impl Drop for ImageAssembler {
    fn drop(&mut self) {
        while !self.images.is_empty() {
            self.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

    use proptest::prelude::*;

    use super::super::client::cut_image;
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn file(length: u32) -> Bytes {
        (0..length).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect::<Vec<_>>().into()
    }

    fn parts(image: u64, length: u32, size: usize) -> Vec<ImagePart> {
        cut_image(ImageId(image), &file(length), size).unwrap()
    }

    fn assembler() -> ImageAssembler {
        ImageAssembler::new(AssemblyLimits::default(), ImageBudget::new(ImageBudget::DEFAULT))
    }

    fn progress(assembler: &mut ImageAssembler, part: &ImagePart) -> Progress {
        assembler.add(part, S).progress
    }

    #[test]
    fn a_part_that_contradicts_the_ones_before_it_is_dropped_and_the_image_survives() {
        let (mut assembler, parts) = (assembler(), parts(1, 100, 40));
        assert_eq!(progress(&mut assembler, &parts[0]), Progress::Kept);
        for bad in [
            ImagePart { total: 99, ..parts[1].clone() },
            ImagePart { crc32c: 1, ..parts[1].clone() },
            ImagePart { parts: 4, ..parts[1].clone() },
            ImagePart { data: file(61), ..parts[1].clone() },
        ] {
            assert_eq!(progress(&mut assembler, &bad), Progress::Contradicts, "{bad:?}");
        }
        assert_eq!(progress(&mut assembler, &parts[1]), Progress::Kept);
        assert_eq!(progress(&mut assembler, &parts[2]), Progress::Whole(file(100)));
    }

    #[test]
    fn an_image_with_a_wrong_byte_is_damaged_and_its_room_is_free_again() {
        let budget = ImageBudget::new(1_000);
        let mut assembler = ImageAssembler::new(AssemblyLimits::default(), budget.clone());
        let mut parts = parts(1, 100, 50);
        parts[1].data = Bytes::from(vec![0; 50]);
        assert_eq!(progress(&mut assembler, &parts[0]), Progress::Kept);
        assert!(budget.left() < 1_000);
        assert_eq!(progress(&mut assembler, &parts[1]), Progress::Damaged);
        assert_eq!(budget.left(), 1_000);
    }

    #[test]
    fn a_third_unfinished_image_costs_the_oldest() {
        let mut assembler = assembler();
        for image in [1, 2] {
            assert!(assembler.add(&parts(image, 100, 40)[0], S).dropped.is_empty());
        }
        let added = assembler.add(&parts(3, 100, 40)[0], S);
        assert_eq!(added, Added { progress: Progress::Kept, dropped: vec![ImageId(1)] });
        assert_eq!(assembler.missing().iter().map(|(image, _)| image.0).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn the_budget_of_all_devices_holds_and_is_given_back() {
        let budget = ImageBudget::new(3_000);
        let mut first = ImageAssembler::new(AssemblyLimits::default(), budget.clone());
        let mut second = ImageAssembler::new(AssemblyLimits::default(), budget.clone());
        assert_eq!(progress(&mut first, &parts(1, 2_000, 1_500)[0]), Progress::Kept);
        assert_eq!(progress(&mut second, &parts(1, 2_000, 1_500)[0]), Progress::NoRoom);
        // a device makes room at its own cost only
        assert_eq!(first.add(&parts(2, 2_500, 1_500)[0], S).dropped, [ImageId(1)]);
        drop(first);
        assert_eq!(budget.left(), 3_000);
        assert_eq!(progress(&mut second, &parts(1, 2_000, 1_500)[0]), Progress::Kept);
    }

    #[test]
    fn after_a_silence_the_rest_is_asked_for_once_and_after_a_longer_one_the_image_is_dropped() {
        let (mut assembler, parts) = (assembler(), parts(1, 100, 10));
        for index in [0, 3, 4, 9] {
            progress(&mut assembler, &parts[index]);
        }
        assert_eq!(assembler.next_deadline(), Some(3 * S));
        assert!(assembler.to_ask(2 * S).is_empty());
        let asked = assembler.to_ask(3 * S);
        assert_eq!(asked, [(ImageId(1), vec![(1, 2), (5, 8)])]);
        assert!(assembler.to_ask(4 * S).is_empty());
        assembler.add(&parts[1], 5 * S);
        assert_eq!(assembler.to_ask(7 * S), [(ImageId(1), vec![(2, 2), (5, 8)])]);
        assert_eq!(assembler.next_deadline(), Some(65 * S));
        assert!(assembler.expire(64 * S).is_empty());
        assert_eq!(assembler.expire(65 * S), [ImageId(1)]);
        assert_eq!(assembler.next_deadline(), None);
    }

    #[test]
    fn an_image_of_one_part_is_whole_at_once() {
        assert_eq!(progress(&mut assembler(), &parts(1, 100, 100)[0]), Progress::Whole(file(100)));
    }

    proptest! {
        #[test]
        fn parts_in_any_order_and_again_give_the_image(
            length in 1u32..3_000, size in 1usize..400, order in any::<u64>(),
        ) {
            let all = parts(7, length, size);
            let mut shuffled: Vec<_> = all.iter().chain(&all).collect();
            shuffled.sort_by_key(|p| crc32c::crc32c(&[order.to_be_bytes().as_slice(), &p.index.to_be_bytes()].concat()));
            let mut assembler = assembler();
            let whole = shuffled.iter().map(|p| progress(&mut assembler, p)).find(|p| matches!(p, Progress::Whole(_)));
            prop_assert_eq!(whole, Some(Progress::Whole(file(length))));
        }

        #[test]
        fn no_sequence_of_parts_breaks_the_budget(
            steps in proptest::collection::vec((0u64..4, 0u16..6, 1u16..6, 1u32..500, 0usize..500, 0u64..90), 0..60),
        ) {
            let budget = ImageBudget::new(2_000);
            let mut assembler = ImageAssembler::new(AssemblyLimits::default(), budget.clone());
            let mut now = Duration::ZERO;
            for (image, index, parts, total, length, wait) in steps {
                now += Duration::from_millis(wait * 100);
                let part = ImagePart {
                    image: ImageId(image), index, parts, total, crc32c: 0, data: vec![0; length].into(),
                };
                assembler.add(&part, now);
                assembler.expire(now);
                assembler.to_ask(now);
                let held: usize = assembler.images.iter().map(|i| i.held).sum();
                prop_assert!(assembler.images.len() <= 2 && held + budget.left() <= 2_000);
            }
            drop(assembler);
            prop_assert_eq!(budget.left(), 2_000);
        }
    }
}
