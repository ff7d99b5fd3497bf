//! The sequence window of a stream: which numbers are new, on their way to the disk, done, or too late.
//!
//! Pure arithmetic: no I/O, no clock. Numbers are serial numbers (RFC 1982) from 1. A [`Window`] has two
//! layers: what is *durable* (a cumulative mark and a bitmap above it) and what is *pending* (seen, its
//! commit not done). A number counts as a duplicate only when it is durable; a failed commit takes it out
//! of the pending ones, so that the device's next try is new again.
//!
//! The life of a number: [`Window::accept`] says `New`; when its batch is built, [`Window::hand_in`], then
//! [`Windows::encode`] into the same batch; when the commit ends, [`Window::committed`] or
//! [`Window::failed`]. What needs no disk is [`Window::committed`] at once.

use std::collections::VecDeque;

use crate::domain::Stream;

/// A jump of more than this ahead must be confirmed.
pub const JUMP: u32 = 1_000;
/// The layout of [`Windows::encode`].
const VERSION: u8 = 1;
/// How many control numbers in a row must sit between audio numbers to say that one counter numbers all.
const SHARED_RUN: u8 = 10;

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Not seen before: do it.
    New,
    /// Seen, its commit is not done: join that commit, answer with it.
    Pending,
    /// Done and durable: acknowledge, do nothing.
    Duplicate,
    /// Below the window, given up or done: acknowledge, count, do nothing.
    Late,
    /// Audio far ahead that nothing confirms yet: drop and count.
    Unconfirmed,
}

/// What a stream's numbers may do besides growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Control, telemetry, image: a number far ahead is done at once, the mark follows when it is confirmed.
    Sure,
    /// Audio: a number far ahead is dropped until it is confirmed.
    Audio {
        /// Two consecutive low numbers restart the window. Only over an authenticated connection: on
        /// datagrams a recording could be played again.
        restart: bool,
    },
}

/// A number far ahead, not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Far {
    number: u32,
    /// Its commit is done.
    durable: bool,
    /// Nothing else came since: the next may confirm it.
    fresh: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct InFlight {
    number: u32,
    /// Its batch is with the store: a later batch's record counts on it.
    handed_in: bool,
}

/// The window of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// All numbers up to here are durable or given up.
    mark: u32,
    /// Bit i of word w: number `mark + 1 + 64 w + i` is durable. Bit 0 is never set.
    bits: [u64; 4],
    /// Words of `bits` in use: 1 or 4.
    words: u8,
    pending: Vec<InFlight>,
    /// The last numbers that were given up; not kept over a restart.
    gone: VecDeque<u32>,
    far: Option<Far>,
    /// The last number below the window.
    low: Option<u32>,
    lost: u64,
    /// The cumulative acknowledgement of the newest record that is on disk.
    written: u32,
}

/// How far `number` is ahead of `of`; negative is behind.
fn ahead(number: u32, of: u32) -> i32 {
    number.wrapping_sub(of).cast_signed()
}

impl Window {
    /// A window of 64 numbers, or of 256 for control.
    pub fn new(stream: Stream) -> Self {
        Self::of_words(if stream == Stream::Control { 4 } else { 1 })
    }

    fn of_words(words: u8) -> Self {
        Self {
            mark: 0,
            bits: [0; 4],
            words,
            pending: Vec::new(),
            gone: VecDeque::new(),
            far: None,
            low: None,
            lost: 0,
            written: 0,
        }
    }

    /// As if all numbers up to here were done.
    #[cfg(test)]
    pub(super) fn at(&mut self, mark: u32) {
        (self.mark, self.written) = (mark, mark);
    }

    /// How many numbers above the mark it can tell apart.
    pub fn size(&self) -> u32 {
        u32::from(self.words) * 64
    }

    /// Judges a number; one that is `New` is pending from now on.
    pub fn accept(&mut self, number: u32, rule: Rule) -> Verdict {
        let verdict = self.judge(number);
        if matches!(verdict, Verdict::Late | Verdict::Duplicate) {
            return self.judge_low(number, verdict, rule);
        }
        self.low = None;
        if verdict != Verdict::New {
            return verdict;
        }
        if self.is_far(number) && !self.confirmed_by(number) {
            let dropped = matches!(rule, Rule::Audio { .. });
            self.far = Some(Far { number, durable: dropped, fresh: true });
            if dropped {
                return Verdict::Unconfirmed;
            }
        } else if let Some(far) = &mut self.far {
            far.fresh = false;
        }
        self.pending.push(InFlight { number, handed_in: false });
        Verdict::New
    }

    /// The number's batch is with the store: from now on [`Windows::encode`] counts it as durable, because
    /// a record that is written later is durable only when this one is.
    pub fn hand_in(&mut self, number: u32) {
        if let Some(pending) = self.pending.iter_mut().find(|p| p.number == number) {
            pending.handed_in = true;
        }
    }

    /// The number is durable, or needs not be.
    pub fn committed(&mut self, number: u32) {
        self.pending.retain(|p| p.number != number);
        if let Some(far) = self.far.as_mut().filter(|f| f.number == number) {
            far.durable = true;
            return;
        }
        // the window passed it while its commit was under way: it was given up too early
        let given_up = self.gone.len();
        self.gone.retain(|gone| *gone != number);
        self.lost = self.lost.saturating_sub((given_up - self.gone.len()) as u64);
        self.set(number);
    }

    /// The number's commit failed: it was never seen.
    pub fn failed(&mut self, number: u32) {
        self.pending.retain(|p| p.number != number);
        if self.far.is_some_and(|f| f.number == number) {
            self.far = None;
        }
    }

    /// The device holds nothing older than this any more: holes below it are given up. A number far ahead
    /// of what was seen is not believed.
    pub fn oldest(&mut self, number: u32) {
        let up_to = number.wrapping_sub(1);
        let limit = i32::try_from(JUMP).unwrap_or(i32::MAX);
        if ahead(up_to, self.mark) > 0 && ahead(number, self.high()) <= limit {
            self.advance(up_to);
        }
    }

    /// The cumulative acknowledgement: every number up to it is durable or given up.
    pub fn ack(&self) -> u32 {
        let before = |p: &InFlight| p.number.wrapping_sub(1);
        let held = self.pending.iter().map(before).filter(|n| ahead(*n, self.mark) < 0);
        held.min_by_key(|n| ahead(*n, self.mark)).unwrap_or(self.mark)
    }

    /// What a device may be told: the cumulative acknowledgement as it is on disk, so that it never goes back, whatever
    /// happens to the gateway. [`Window::ack`] is ahead of it by numbers that need no disk and whose mark has none yet.
    pub fn told(&self) -> u32 {
        let ack = self.ack();
        // a window that was begun anew meanwhile is behind what was written of it
        if ahead(self.written, ack) > 0 { ack } else { self.written }
    }

    /// The highest number seen, far ones left out.
    pub fn high(&self) -> u32 {
        let durable = self.highest_durable();
        let near = self.pending.iter().map(|p| p.number).filter(|n| self.far.is_none_or(|f| f.number != *n));
        near.fold(durable, |high, n| if ahead(n, high) > 0 { n } else { high })
    }

    /// Durable, as far as is known: not a hole, not given up.
    pub fn contains(&self, number: u32) -> bool {
        self.bit(number) || (ahead(number, self.mark) <= 0 && !self.gone.contains(&number))
    }

    /// Holes given up since last asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn judge(&self, number: u32) -> Verdict {
        if self.pending.iter().any(|p| p.number == number) {
            return Verdict::Pending;
        }
        if self.far.is_some_and(|f| f.number == number) {
            return if self.far.is_some_and(|f| f.durable) { Verdict::Duplicate } else { Verdict::New };
        }
        let behind = ahead(number, self.mark);
        if behind <= 0 {
            let near = i64::from(behind) > -i64::from(self.size());
            return if near && !self.gone.contains(&number) { Verdict::Duplicate } else { Verdict::Late };
        }
        if self.bit(number) { Verdict::Duplicate } else { Verdict::New }
    }

    /// Firmware that rebooted without a hello begins to count anew: two low numbers in a row, both below the
    /// window or the very first ones. A repeat within the window is never taken for that.
    fn judge_low(&mut self, number: u32, verdict: Verdict, rule: Rule) -> Verdict {
        let before = self.low.replace(number);
        let restarts = before == Some(number.wrapping_sub(1)) && (verdict == Verdict::Late || number <= 2);
        if rule != (Rule::Audio { restart: true }) || !restarts {
            return verdict;
        }
        let lost = self.lost;
        *self = Self::of_words(self.words);
        self.lost = lost;
        self.mark = number.wrapping_sub(1);
        self.pending.push(InFlight { number, handed_in: false });
        Verdict::New
    }

    fn is_far(&self, number: u32) -> bool {
        let jump = ahead(number, self.high());
        jump > 0 && jump.unsigned_abs() > JUMP
    }

    /// A number in the 1,000 after a far one confirms it: the window moves there.
    fn confirmed_by(&mut self, number: u32) -> bool {
        let near = |far: &Far| (1..=JUMP).contains(&number.wrapping_sub(far.number));
        let Some(far) = self.far.filter(|f| f.fresh && near(f)) else { return false };
        self.far = None;
        self.advance(far.number.wrapping_sub(1));
        if far.durable {
            self.set(far.number);
        }
        true
    }

    /// The number was seen, or is below the window: one that comes again, or the count began anew.
    pub fn is_old(&self, number: u32) -> bool {
        matches!(self.judge(number), Verdict::Duplicate | Verdict::Late)
    }

    fn highest_durable(&self) -> u32 {
        let top = self.bits.iter().enumerate().rev().find(|(_, word)| **word != 0);
        top.map_or(self.mark, |(i, word)| {
            let bit = 63 - word.leading_zeros() + 64 * u32::try_from(i).unwrap_or(0);
            self.mark.wrapping_add(1 + bit)
        })
    }

    fn bit(&self, number: u32) -> bool {
        let at = number.wrapping_sub(self.mark.wrapping_add(1));
        at < self.size() && self.bits[at as usize / 64] >> (at % 64) & 1 == 1
    }

    /// Marks a number; the window moves up to hold it.
    fn set(&mut self, number: u32) {
        if ahead(number, self.mark) <= 0 {
            return;
        }
        let over = number.wrapping_sub(self.mark).saturating_sub(self.size());
        if over > 0 {
            self.advance(self.mark.wrapping_add(over));
        }
        let at = number.wrapping_sub(self.mark.wrapping_add(1));
        if at < self.size() {
            self.bits[at as usize / 64] |= 1 << (at % 64);
        }
        self.close_up();
    }

    /// Moves the mark, giving up the holes that it passes.
    fn advance(&mut self, to: u32) {
        let by = to.wrapping_sub(self.mark);
        let within = by.min(self.size());
        let durable = (0..within).filter(|i| self.bit(self.mark.wrapping_add(1 + i))).count() as u64;
        self.lost += u64::from(by).saturating_sub(durable);
        for back in (0..within).rev() {
            let number = to.wrapping_sub(back);
            if !self.bit(number) {
                self.gone.push_back(number);
            }
        }
        while self.gone.len() > self.size() as usize {
            self.gone.pop_front();
        }
        self.shift(by);
        self.close_up();
    }

    /// Moves the mark over what is durable without a hole.
    fn close_up(&mut self) {
        loop {
            let run = self.bits[0].trailing_ones();
            if run == 0 {
                return;
            }
            self.shift(run);
        }
    }

    fn shift(&mut self, by: u32) {
        self.mark = self.mark.wrapping_add(by);
        if by >= 256 {
            self.bits = [0; 4];
            return;
        }
        let (words, bits) = (by as usize / 64, by % 64);
        let old = self.bits;
        let word = |i: usize| old.get(i).copied().unwrap_or(0);
        for (i, slot) in self.bits.iter_mut().enumerate() {
            let high = if bits == 0 { 0 } else { word(i + words + 1) << (64 - bits) };
            *slot = word(i + words) >> bits | high;
        }
    }

    /// What a record that is written now says: numbers whose batch is with the store are durable before it.
    fn recorded(&self) -> Self {
        let mut durable = self.clone();
        for pending in self.pending.iter().filter(|p| p.handed_in) {
            durable.committed(pending.number);
        }
        durable
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let durable = self.recorded();
        out.push(durable.words);
        out.extend_from_slice(&durable.mark.to_le_bytes());
        for word in &durable.bits[..usize::from(durable.words)] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (&words, rest) = bytes.split_first()?;
        let (mark, mut rest) = rest.split_first_chunk::<4>()?;
        let mut window = Self::of_words(words);
        if words != 1 && words != 4 {
            return None;
        }
        window.mark = u32::from_le_bytes(*mark);
        for slot in &mut window.bits[..usize::from(words)] {
            let (word, after) = rest.split_first_chunk::<8>()?;
            *slot = u64::from_le_bytes(*word);
            rest = after;
        }
        *bytes = rest;
        window.close_up();
        window.written = window.mark;
        Some(window)
    }
}

/// The bytes are no windows of a known version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sequence windows are not readable")]
pub struct Unreadable;

/// The acknowledgements that a record of the windows says, by [`Stream::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks([u32; 4]);

/// The windows of a session's four streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    streams: [Window; 4],
    /// One counter numbers all streams: they share the first window.
    shared: bool,
    /// Control numbers in a row that sat between audio numbers.
    run: u8,
}

impl Windows {
    /// The windows of a new session; `shared` when the device or dialect is known to have one counter.
    pub fn new(shared: bool) -> Self {
        Self { streams: Stream::ALL.map(Window::new), shared, run: 0 }
    }

    /// One counter numbers all streams: said beforehand, or found out by [`Windows::accept`].
    pub fn shared(&self) -> bool {
        self.shared
    }

    /// The window of a stream.
    pub fn stream(&mut self, stream: Stream) -> &mut Window {
        &mut self.streams[self.slot(stream)]
    }

    /// Judges a number of a stream. Ten control numbers in a row that fall where audio numbers leave holes
    /// make the windows one, from then on.
    pub fn accept(&mut self, stream: Stream, number: u32, rule: Rule) -> Verdict {
        if stream == Stream::Control && !self.shared && self.looks_shared(number) {
            self.share();
        }
        self.stream(stream).accept(number, rule)
    }

    /// The cumulative acknowledgement of a stream.
    pub fn ack(&self, stream: Stream) -> u32 {
        self.streams[self.slot(stream)].ack()
    }

    /// What a device may be told of a stream.
    pub fn told(&self, stream: Stream) -> u32 {
        self.streams[self.slot(stream)].told()
    }

    /// What [`Windows::encode`] writes now.
    pub fn marks(&self) -> Marks {
        Marks(Stream::ALL.map(|stream| self.streams[self.slot(stream)].recorded().mark))
    }

    /// A record of these windows is on disk.
    pub fn written(&mut self, marks: Marks) {
        for (stream, mark) in Stream::ALL.into_iter().zip(marks.0) {
            let window = self.stream(stream);
            if ahead(mark, window.written) > 0 {
                window.written = mark;
            }
        }
    }

    fn slot(&self, stream: Stream) -> usize {
        if self.shared {
            return 0;
        }
        match stream {
            Stream::Control => 0,
            Stream::Audio => 1,
            Stream::Telemetry => 2,
            Stream::Image => 3,
        }
    }

    fn looks_shared(&mut self, number: u32) -> bool {
        let [control, audio, ..] = &self.streams;
        let before = number.wrapping_sub(1);
        if before != 0 && audio.contains(before) && !audio.contains(number) {
            self.run += 1;
        } else if !(control.contains(before) && ahead(number, audio.high()) > 0) {
            self.run = 0;
        }
        self.run >= SHARED_RUN
    }

    /// Makes one window of the four, from what each knows.
    fn share(&mut self) {
        let high = self.streams.iter().map(Window::high).fold(0, |a, b| if ahead(b, a) > 0 { b } else { a });
        let mut one = Window::of_words(4);
        one.mark = high.saturating_sub(one.size());
        for number in (one.mark + 1)..=high {
            if self.streams.iter().any(|w| w.contains(number) && !w.pending.iter().any(|p| p.number == number)) {
                one.set(number);
            }
        }
        for window in &mut self.streams {
            one.pending.append(&mut window.pending);
            one.lost += window.take_lost();
        }
        one.written = self.streams[0].written;
        self.streams = Stream::ALL.map(Window::new);
        self.streams[0] = one;
        self.shared = true;
    }

    /// What to store: durable and handed-in numbers of all streams. At most 78 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.shared)];
        for window in &self.streams {
            window.encode(&mut out);
        }
        out
    }

    /// Reads what [`Windows::encode`] wrote, by this or an older version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let (&[version, shared], mut rest) = bytes.split_first_chunk::<2>().ok_or(Unreadable)?;
        if version != VERSION || shared > 1 {
            return Err(Unreadable);
        }
        let mut windows = Self::new(shared == 1);
        for window in &mut windows.streams {
            *window = Window::decode(&mut rest).ok_or(Unreadable)?;
        }
        if rest.is_empty() { Ok(windows) } else { Err(Unreadable) }
    }
}

#[cfg(test)]
mod tests;
