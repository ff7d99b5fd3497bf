//! The way of a number: accepted, committed, acknowledged. A real session and a device that keeps the rules, on a link
//! that loses, repeats and reorders, over a store that fails, in a process that is killed.
//!
//! What must hold, whatever happens: what was acknowledged is on disk; no mark goes back within a session; no effect is
//! there twice; and once all goes well again, every number that was not given up is acknowledged.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod double;
mod rig;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::domain::{ControlKind, Hello, HelloAck, Message, Settled, Stream, Wall};
use crate::store::records::{Session, marks, sessions};
use crate::store::{Batch, Key, Space, Store};
use double::DoubleStore;
use rig::{Run, World};

const BOOT: u32 = 7;
/// A device holds so many messages; then the oldest goes.
const HELD: usize = 40;

/// What a device says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// Leaves an entry.
    Result,
    /// Leaves an entry, urgently.
    Sos,
    /// Leaves a record until it is answered, then an entry.
    Text,
    /// Leaves nothing.
    Heartbeat,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Say {
        what: Said,
        lost: bool,
    },
    /// An older message that is still held comes (again).
    Again(usize),
    /// A message of any age comes again, acknowledged or not.
    Ghost(usize),
    /// So many commits end well.
    Well(usize),
    /// All commits under way fail.
    Badly,
    /// Time passes: marks are written.
    Wait,
    /// The connection is lost; the device says hello on a new one.
    Reconnect,
    /// SIGKILL; so many commits were on disk.
    Kill(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let what =
        prop_oneof![1 => Just(Said::Result), 1 => Just(Said::Sos), 1 => Just(Said::Text), 2 => Just(Said::Heartbeat)];
    prop_oneof![
        12 => (what, prop::bool::weighted(0.3)).prop_map(|(what, lost)| Step::Say { what, lost }),
        5 => any::<prop::sample::Index>().prop_map(|at| Step::Again(at.index(1 << 16))),
        3 => any::<prop::sample::Index>().prop_map(|at| Step::Ghost(at.index(1 << 16))),
        6 => (1..6_usize).prop_map(Step::Well),
        2 => Just(Step::Badly),
        2 => Just(Step::Wait),
        1 => Just(Step::Reconnect),
        2 => (0..6_usize).prop_map(Step::Kill),
    ]
}

/// How far `a` is ahead of `b`.
fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

/// The device's side, and what it was told.
struct Device {
    session: Option<String>,
    next: u32,
    /// Not acknowledged, oldest first.
    held: Vec<(u32, Said, String)>,
    /// All that this session's numbers ever meant.
    said: BTreeMap<u32, (Said, String)>,
    arrived: BTreeSet<u32>,
    given_up: BTreeSet<u32>,
    mark: u32,
    /// The mark that its hello began with.
    opened: u32,
    names: u32,
    receipts: Vec<(u32, String, Said, oneshot::Receiver<Settled>)>,
}

impl Device {
    fn kind(what: Said, name: &str) -> ControlKind {
        match what {
            Said::Result => ControlKind::ToolResult {
                operation_id: name.to_owned(),
                success: true,
                result: Value::Null,
                error: None,
            },
            Said::Sos => ControlKind::Sos { kind: "fall".into(), text: Some(name.to_owned()) },
            Said::Text => ControlKind::Text(name.to_owned()),
            Said::Heartbeat => ControlKind::Heartbeat,
        }
    }

    fn say(&mut self, what: Said) -> (u32, String) {
        self.names += 1;
        let (seq, name) = (self.next, format!("said-{:05}", self.names));
        self.next = self.next.wrapping_add(1);
        self.held.push((seq, what, name.clone()));
        self.said.insert(seq, (what, name.clone()));
        if self.held.len() > HELD {
            let (seq, ..) = self.held.remove(0);
            self.given_up.insert(seq);
        }
        (seq, name)
    }

    async fn send(&mut self, run: &mut Run, seq: u32) {
        let (what, name) = self.said[&seq].clone();
        self.arrived.insert(seq);
        let settled = run.control(self.session.clone(), Some(seq), Self::kind(what, &name)).await;
        self.receipts.push((seq, name, what, settled));
    }

    /// The device hears of a mark: it must be true, and not behind the last.
    fn acknowledged(&mut self, mark: u32, store: &DoubleStore) {
        assert!(ahead(mark, self.mark) >= 0, "the mark went back from {} to {mark}", self.mark);
        let done = names(&store.durable());
        for (seq, (what, name)) in &self.said {
            if ahead(*seq, mark) > 0 || self.given_up.contains(seq) || ahead(*seq, self.mark) <= 0 {
                continue;
            }
            assert!(self.arrived.contains(seq), "{seq} is acknowledged by {mark} and never arrived");
            let there = *what == Said::Heartbeat || done.contains_key(name);
            assert!(there, "{seq}, a {what:?}, is acknowledged by {mark} and not on disk");
        }
        self.mark = mark;
        self.held.retain(|(seq, ..)| ahead(*seq, mark) > 0);
    }

    fn hear(&mut self, run: &Run) -> Option<HelloAck> {
        let mut answer = None;
        for message in run.told() {
            match message {
                Message::Ack { stream: Stream::Control, seq: Some(seq), .. } => self.acknowledged(seq, &run.store),
                Message::HelloAck(ack) => answer = Some(*ack),
                _ => {}
            }
        }
        let done = names(&run.store.durable());
        let given_up = &self.given_up;
        self.receipts.retain_mut(|(seq, name, what, settled)| match settled.try_recv() {
            Ok(Settled::Durable) => {
                // what the device itself gave up is answered, and no more
                let there = *what == Said::Heartbeat || done.contains_key(name) || given_up.contains(seq);
                assert!(there, "{name} was settled as durable and is not");
                false
            }
            Ok(_) | Err(oneshot::error::TryRecvError::Closed) => false,
            Err(oneshot::error::TryRecvError::Empty) => true,
        });
        answer
    }

    async fn hello(&mut self, run: &mut Run) {
        let seq = self.next;
        self.next = self.next.wrapping_add(1);
        let mut hello = Hello { boot_id: Some(BOOT), ..Hello::default() };
        if let Some((oldest, ..)) = self.held.first() {
            hello.oldest_seq.insert(Stream::Control, *oldest);
        } else {
            hello.oldest_seq.insert(Stream::Control, seq);
        }
        // its number is never sent again: what it was for is done when it is answered
        self.given_up.insert(seq);
        drop(run.control(self.session.clone(), Some(seq), ControlKind::Hello(hello)).await);
        run.settle().await;
        let mut answer = self.hear(run);
        while answer.is_none() && run.store.waiting() > 0 {
            // what an earlier run left is tried again only when the try is on disk: until then nothing else is done
            run.store.end_well(1, true);
            run.settle().await;
            answer = self.hear(run);
        }
        let answer = answer.expect("a hello is answered");
        if answer.resumed {
            self.acknowledged(answer.ack.control, &run.store);
        } else {
            assert_eq!(self.mark, self.opened, "a session in which something was acknowledged is gone");
            let names = self.names;
            // what was said before and not acknowledged is said again by no rule: it carries no msg_id
            *self = Self::new(Some(answer.session_id.to_string()), seq.wrapping_add(1));
            self.names = names;
            (self.mark, self.opened) = (answer.ack.control, answer.ack.control);
        }
    }

    fn new(session: Option<String>, next: u32) -> Self {
        Self {
            session,
            next,
            held: Vec::new(),
            said: BTreeMap::new(),
            arrived: BTreeSet::new(),
            given_up: BTreeSet::new(),
            mark: 0,
            opened: 0,
            names: 0,
            receipts: Vec::new(),
        }
    }
}

/// How often each thing that was said has left its effect, or waits as a record for it.
fn names(records: &BTreeMap<Key, Vec<u8>>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (key, value) in records {
        let space = key.as_bytes()[0];
        // put aside after two runs that ended in it: kept, for somebody to look at
        let kept = [Space::Lifelog, Space::Inbox, Space::Quarantine].iter().any(|kept| space == *kept as u8);
        if !kept {
            continue;
        }
        let text = String::from_utf8_lossy(value);
        for (at, _) in text.match_indices("said-") {
            *found.entry(text[at..at + 10].to_owned()).or_default() += 1;
        }
    }
    found
}

/// A gateway that knows the device: its session is open, and its numbers are as far as `mark`.
fn known(world: &World, mark: u32) -> DoubleStore {
    let store = DoubleStore::default();
    let session = crate::domain::SessionId::parse("known").unwrap();
    let mut batch = Batch::new();
    let record = json!({"session": session, "device": world.device, "opened": Wall(1_767_225_600_000), "boot_id": BOOT, "open": true});
    sessions::put(&mut batch, &serde_json::from_value::<Session>(record).unwrap()).unwrap();
    let mut windows = super::window::Windows::new(false);
    windows.stream(Stream::Control).at(mark);
    marks::put(&mut batch, &world.device, &session, &windows.encode());
    drop(store.commit(batch));
    store.end_well(1, false);
    store
}

async fn live(start: u32, steps: Vec<Step>) {
    let mut world = World::new();
    let store = if start == 0 { DoubleStore::default() } else { known(&world, start) };
    let mut run = Run::start(&mut world, store).await;
    let mut device = Device::new((start > 0).then(|| "known".to_owned()), start.wrapping_add(1));
    device.mark = start;
    device.hello(&mut run).await;
    for step in steps {
        match step {
            Step::Say { what, lost } => {
                let (seq, _) = device.say(what);
                if !lost {
                    device.send(&mut run, seq).await;
                }
            }
            Step::Again(at) => {
                if let Some((seq, ..)) = device.held.get(at % device.held.len().max(1)).cloned() {
                    device.send(&mut run, seq).await;
                }
            }
            Step::Ghost(at) => {
                let ghosts: Vec<u32> = device.arrived.iter().copied().collect();
                if let Some(seq) = ghosts.get(at % ghosts.len().max(1)) {
                    device.send(&mut run, *seq).await;
                }
            }
            Step::Well(count) => run.store.end_well(count, true),
            Step::Badly => run.store.end_badly(),
            Step::Wait => tokio::time::sleep(std::time::Duration::from_millis(1_500)).await,
            Step::Reconnect => device.hello(&mut run).await,
            Step::Kill(durable) => {
                let store = run.kill(durable).await;
                device.receipts.clear();
                run = Run::start(&mut world, store).await;
                device.hello(&mut run).await;
            }
        }
        run.settle().await;
        let answer = device.hear(&run);
        assert!(answer.is_none(), "an answer to no hello");
        no_effect_twice(&run);
    }
    all_is_well(&mut device, &mut run).await;
    // and once more, after a last kill
    let store = run.kill(0).await;
    let mut run = Run::start(&mut world, store).await;
    device.hello(&mut run).await;
    all_is_well(&mut device, &mut run).await;
}

fn no_effect_twice(run: &Run) {
    let twice: Vec<_> = names(&run.store.durable()).into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(twice.is_empty(), "effects that are there twice: {twice:?}");
}

/// Nothing is lost and nothing fails any more: the device sends what it holds, in order, until all is acknowledged. It
/// says hello before each time: only that tells of the next number that never comes, which it gave up, or whose hello was
/// lost.
async fn all_is_well(device: &mut Device, run: &mut Run) {
    for _ in 0..=device.given_up.len() + 6 {
        device.hello(run).await;
        while run.store.waiting() > 0 {
            run.store.end_well(1, true);
            run.settle().await;
        }
        device.hear(run);
        if device.held.is_empty() {
            break;
        }
        for (seq, ..) in device.held.clone() {
            device.send(run, seq).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    }
    assert!(device.held.is_empty(), "never acknowledged: {:?}, mark {}", device.held, device.mark);
    let done = names(&run.store.durable());
    for (seq, (what, name)) in &device.said {
        if *what != Said::Heartbeat && device.arrived.contains(seq) && !device.given_up.contains(seq) {
            assert_eq!(done.get(name), Some(&1), "{seq}, a {what:?}");
        }
    }
    no_effect_twice(run);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_on_the_way_nothing_acknowledged_is_missing_and_nothing_happens_twice(
        // a session's first numbers, and those around 2^31 and 2^32
        start in prop_oneof![2 => Just(0_u32), 1 => Just(u32::MAX - 20), 1 => Just(u32::MAX - 70), 1 => Just(i32::MAX.cast_unsigned() - 30)],
        steps in prop::collection::vec(step(), 1..160),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(live(start, steps));
    }
}
