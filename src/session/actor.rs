//! The actor: one loop, one thing at a time, nothing in it waits for the disk, a provider or the device.
//!
//! What takes long runs beside it and comes back as an event: the ears on the codec threads, commits on
//! the store's writer, the turn as a future that is dropped to cancel it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ahead::{Ahead, Aside, Judging};
use super::book::{Book, Live};
use super::ears::{EarParts, Ears};
use super::info::SharedInfo;
use super::lanes::{Lanes, Next};
use super::outgoing::Outgoing;
use super::settle::Commits;
use super::state::{Facts, Shown, State};
use super::tools::{Asking, ToolServer};
use super::turn::{SharedReport, TurnRunner};
use super::{Metrics, Settings};
use crate::domain::{
    AudioPacket, Bulletins, Clock, DeviceId, DownlinkSink, LinkId, ListenMode, Message, PhotoPass, Photos, Receipt,
    Stream, TurnId,
};
use crate::lifelog::Lifelog;
use crate::operations::Operations;
use crate::store::Store;
use crate::store::records::Numbers;

/// The longest wait for an acknowledgement before a message is sent again.
const RESEND_LATEST: Duration = Duration::from_mins(5);

/// What sessions share.
pub struct Parts {
    /// `[session]`.
    pub settings: Settings,
    /// What ears are made of.
    pub ears: EarParts,
    /// The records.
    pub store: Arc<dyn Store>,
    /// Where entries go.
    pub lifelog: Arc<Lifelog>,
    /// Numbers of records.
    pub numbers: Arc<Numbers>,
    /// Where downlinks go.
    pub sink: Arc<dyn DownlinkSink>,
    /// What operators watch.
    pub bulletins: Arc<dyn Bulletins>,
    /// Time for records.
    pub clock: Arc<dyn Clock>,
    /// Runs turns.
    pub runner: Arc<dyn TurnRunner>,
    /// Keeps what devices measure.
    pub samples: Arc<crate::telemetry::Samples>,
    /// Takes images.
    pub intake: Arc<dyn super::Intake>,
    /// Tells others of calls for help; none where nobody is to be told.
    pub alarm: Option<Arc<dyn super::Alarm>>,
    /// Takes photos that devices send beside their connection; none where nobody does.
    pub photos: Option<Arc<dyn Photos>>,
    /// What operators asked of devices.
    pub operations: Arc<Operations>,
    /// Who answers where several wake to one word.
    pub rooms: super::Rooms,
    /// Random bits for session ids.
    pub random: Arc<dyn Fn() -> u128 + Send + Sync>,
    /// The gateway's boot epoch.
    pub boot: u64,
    /// Limits that `hello_ack` tells.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Metrics,
}

/// What a device is told of the door's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet, bytes.
    pub packet: u32,
    /// Largest image, bytes.
    pub image: u32,
    /// Most unacknowledged QoS 1 publishes.
    pub in_flight: u32,
}

/// What others tell a session.
#[derive(Debug)]
pub enum Notice {
    /// A connection of the device is gone; it was the one that carries downlinks.
    LinkLost(LinkId),
    /// The last connection of the device is gone.
    Offline,
    /// A connection is there (again).
    Online,
    /// An operator wants this said.
    Say(String),
    /// An operator wants silence.
    Hush,
    /// An operator changed the device's settings.
    Settings,
    /// An operator wants the device to restart.
    Reboot,
    /// Something was put into the device's outbox.
    Outbox,
    /// Something was put back into the device's inbox.
    Inbox,
    /// Somebody asks for the device's tools, or calls one.
    Tools(Asking),
    /// An operator wants this shown, a [`Message::Alert`], whether there is a conversation or not; and be told whether a
    /// link took it.
    Alert(Message, oneshot::Sender<bool>),
    /// The watchdog asks whether a session still takes what comes.
    Canary(oneshot::Sender<()>),
}

/// The turn that runs.
pub(super) struct Running {
    pub(super) id: TurnId,
    pub(super) future: BoxFuture<'static, ()>,
    pub(super) report: SharedReport,
    /// Its record in the inbox.
    pub(super) inbox: Option<u64>,
    /// The number of the message that asked for it.
    pub(super) seq: Option<u32>,
    pub(super) counted: super::metrics::RunningTurn,
}

pub(super) struct Actor {
    pub(super) device: DeviceId,
    pub(super) parts: Arc<Parts>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) info: SharedInfo,
    pub(super) out: Arc<Outgoing>,
    pub(super) book: Book,
    pub(super) live: Live,
    pub(super) ears: Ears,
    pub(super) turn: Option<Running>,
    /// What is done ahead of the turn that may come next.
    pub(super) ahead: Option<Ahead>,
    /// Something short that was said into the answer.
    pub(super) aside: Option<Aside>,
    /// What the end-of-turn model is asked about the pause that goes on.
    pub(super) judging: Judging,
    pub(super) commits: Commits,
    /// Receipts of repeats of a number whose first is on its way to the disk.
    pub(super) joined: HashMap<(Stream, u32), Vec<Receipt>>,
    /// Outbox entries on their way: downlink number → entry.
    pub(super) unacknowledged: BTreeMap<u32, u64>,
    /// When they are sent again.
    pub(super) resend: Resend,
    pub(super) online: bool,
    /// It has said hello since its connection is there.
    pub(super) hello_here: bool,
    pub(super) shown: Shown,
    /// Operations that a tool of a board was called for; their entries.
    pub(super) calling: HashSet<u64>,
    /// Since when there are marks that no commit carries.
    pub(super) marks_due: Option<Instant>,
    /// When an utterance counts as over because its audio stopped coming.
    pub(super) stalls_at: Option<Instant>,
    pub(super) rest_at: Option<Instant>,
    /// When to ask for parts of images that are missing.
    pub(super) images_due: Option<Instant>,
    /// When to look for what an earlier run left behind: after the hello, or soon without one.
    pub(super) inbox_due: Option<Instant>,
    /// Typed turns of an earlier run that wait for the one before them.
    pub(super) waiting: VecDeque<(String, u64)>,
    /// What is to be said of tasks.
    pub(super) words: VecDeque<super::errands::Word>,
    /// The gateway stops: what was not answered is taken up by the next run.
    pub(super) stopping: bool,
    /// The device's tools, and what is asked of them.
    pub(super) tools: ToolServer,
    pub(super) asking: (mpsc::Sender<Asking>, mpsc::Receiver<Asking>),
    /// The device has said that it has tools.
    pub(super) has_mcp: bool,
    /// What older firmware has instead of tools.
    pub(super) things: super::things::Things,
    /// The device may send photos.
    pub(super) photos: Option<PhotoPass>,
    /// What the device itself understands of what is being said.
    pub(super) partials: super::cane::Partials,
    /// What is put off.
    pub(super) due: super::due::Due,
    /// What it sent before it said that it woke: its wake word.
    pub(super) wake_word: VecDeque<AudioPacket>,
    /// Since when the device has no link.
    pub(super) away_since: Option<Instant>,
    /// Telemetry's memory: what the milestones are measured against.
    pub(super) telemetry: super::TelemetryMemory,
    pub(super) effects: FuturesUnordered<BoxFuture<'static, super::take::Effect>>,
}

/// When what was not acknowledged is sent again.
#[derive(Debug, Default)]
pub(super) struct Resend {
    at: Option<Instant>,
    /// Times it was, since something was acknowledged.
    times: u32,
}

impl Resend {
    /// Something waits for its acknowledgement, or nothing does any more.
    pub(super) fn waits(&mut self, something: bool, first: Duration) {
        if !something || first.is_zero() {
            *self = Self::default();
        } else if self.at.is_none() {
            let wait = first.saturating_mul(1 << self.times.min(16)).min(RESEND_LATEST.max(first));
            self.at = Some(Instant::now() + wait);
            self.times = self.times.saturating_add(1);
        }
    }
}

enum Step {
    Stop,
    TurnOver,
    /// Speech has begun or ended.
    Moved,
    Heard(super::ears::Report),
    Judged,
    /// What is done ahead knows the words.
    Understood,
    Committed(super::settle::Committed),
    Effect(super::take::Effect),
    Notice(Option<Notice>),
    Next(Next),
    Marks,
    Stalled,
    Inbox,
    Images,
    Unacknowledged,
    Asked(Asking),
    Due,
    Rest,
}

/// Runs a session until `stop`, or until it has rested long enough without a link.
pub(super) async fn run(mut actor: Box<Actor>, mut notices: mpsc::Receiver<Notice>, stop: CancellationToken) {
    loop {
        let step = actor.wait(&mut notices, &stop).await;
        match step {
            Step::Stop => break,
            Step::TurnOver => actor.turn_over(),
            // its state is told below
            Step::Moved => {}
            Step::Heard(report) => actor.heard(report),
            Step::Judged => actor.judged(),
            Step::Understood => actor.understood(),
            Step::Committed(committed) => actor.committed(committed),
            Step::Effect(effect) => actor.effect(effect),
            // boxed, as what else is rare: a session that waits must not hold room for it
            Step::Notice(Some(notice)) => Box::pin(actor.notice(notice)).await,
            Step::Next(next) => {
                let now = actor.parts.clock.wall();
                actor.info.write(|info| info.last_seen = now);
                actor.take(next).await;
            }
            Step::Marks => actor.write_marks(),
            Step::Stalled => actor.audio_stalled(),
            Step::Inbox => {
                Box::pin(actor.take_up_the_inbox()).await;
                // it says no hello: what waits for one waits no longer
                Box::pin(actor.send_outbox()).await;
            }
            Step::Images => actor.ask_for_parts(),
            Step::Unacknowledged => Box::pin(actor.send_again()).await,
            Step::Asked(asking) => actor.asked(asking),
            Step::Due => actor.done_waiting(),
            Step::Rest | Step::Notice(None) => {
                if actor.lanes.close_if_empty() {
                    break;
                }
            }
        }
        actor.forget_ahead();
        actor.say_of_tasks();
        actor.tell_state();
    }
    Box::pin(actor.farewell()).await;
}

impl Actor {
    /// What is under way to the device was not acknowledged: it is sent again, under another number.
    async fn send_again(&mut self) {
        self.resend.at = None;
        let times = self.unacknowledged.len();
        tracing::info!(device = %self.device, times, "not acknowledged: sent again");
        self.parts.metrics.resent(times);
        self.unacknowledged.clear();
        self.send_outbox().await;
    }

    async fn wait(&mut self, notices: &mut mpsc::Receiver<Notice>, stop: &CancellationToken) -> Step {
        let ears_busy = self.ears.busy();
        let (marks_due, images_due, due) = (self.marks_due, self.images_due, self.due_next(ears_busy));
        // the ears must be at home to be asked for what they have
        let stalls_at = self.stalls_at.filter(|_| !ears_busy);
        let inbox_due = self.inbox_due.filter(|_| self.online);
        let resend_at = self.resend.at.filter(|_| self.online);
        let idle = self.turn.is_none() && !ears_busy && self.commits.is_empty() && self.effects.is_empty();
        let rest_at = self.rest_at.filter(|_| idle && marks_due.is_none());
        tokio::select! {
            biased;
            () = stop.cancelled() => Step::Stop,
            () = over(&mut self.turn) => Step::TurnOver,
            () = Ahead::go_on(&mut self.ahead) => Step::Understood,
            () = self.out.moved() => Step::Moved,
            report = self.ears.back() => Step::Heard(report),
            // what is said of a pause waits for those who listened on meanwhile
            () = self.judging.done(), if !ears_busy => Step::Judged,
            Some(committed) = self.commits.next() => Step::Committed(committed),
            Some(effect) = self.effects.next() => Step::Effect(effect),
            notice = notices.recv() => Step::Notice(notice),
            next = self.lanes.next(ears_busy) => Step::Next(next),
            () = at(marks_due) => Step::Marks,
            () = at(stalls_at) => Step::Stalled,
            () = at(inbox_due) => Step::Inbox,
            () = at(images_due) => Step::Images,
            () = at(resend_at) => Step::Unacknowledged,
            Some(asking) = self.asking.1.recv() => Step::Asked(asking),
            () = at(due) => Step::Due,
            () = at(rest_at) => Step::Rest,
        }
    }

    fn tell_state(&mut self) {
        let state = State::of(Facts {
            opened: self.live.was_opened(),
            open: self.live.is_open(),
            // a button that is held says so before anything is heard
            listens: self.ears.listening() || (self.ears.open() && self.live.mode == ListenMode::Manual),
            turn: self.turn.is_some(),
            speaks: self.out.speaking(),
        });
        self.shown.is(state);
        self.info.write(|info| {
            info.state = state;
            info.session = self.live.id.clone();
            info.turns = self.live.turns;
            info.mode = self.live.mode;
            info.silence_ms = self.ears.silence_ms();
            info.dialect = self.live.manners.dialect;
            info.online = self.online;
        });
    }

    /// The gateway stops, or the session rests: nothing that was promised may be lost.
    async fn farewell(&mut self) {
        self.stopping = true;
        self.ahead = None;
        self.interrupt(crate::domain::StopReason::Closed);
        self.write_marks();
        while let Some(committed) = self.commits.next().await {
            self.committed(committed);
        }
        self.info.write(|info| info.state = State::Closed);
    }
}

/// Waits for the turn's end; for ever when there is none.
async fn over(turn: &mut Option<Running>) {
    match turn {
        Some(running) => (&mut running.future).await,
        None => std::future::pending().await,
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Runs an actor and turns its panic into `Err`: one session's fault is nobody else's.
pub(super) async fn caught(
    actor: Box<Actor>,
    notices: mpsc::Receiver<Notice>,
    stop: CancellationToken,
) -> Result<(), ()> {
    std::panic::AssertUnwindSafe(run(actor, notices, stop)).catch_unwind().await.map_err(drop)
}
