//! One connection after CONNACK: a hand-driven state machine in one task.
//!
//! It reads only while it can hand on what it reads, writes one frame of speech at a time, answers in order
//! of arrival, and holds no buffer while nothing happens.

mod aliases;
mod inbound;
mod outbound;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until};

use super::client::Downlink;
use super::codec::{self, AckKind, Version, Will};
use super::ending::Ending;
use super::handshake::Admitted;
use super::hub::Flight;
use super::memory::Charge;
use super::owed::Owed;
use super::seat::Seat;
use super::socket::Transport;
use aliases::Aliases;

/// Most unacknowledged publishes to one client, whatever it offers.
const MAX_INFLIGHT: usize = 64;
/// Replies that may wait before the client is not read any more.
const MAX_REPLIES: usize = 16 << 10;
/// How long the last bytes may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection that is in.
#[derive(Debug)]
pub(super) struct Connection<T> {
    socket: T,
    seat: Seat,
    version: Version,
    will: Option<Box<Will>>,
    max_packet_out: usize,
    inbox: BytesMut,
    /// The memory of a large packet that is half there.
    inbox_charge: Option<Charge>,
    /// Acknowledgements and other answers that are not yet in `out`.
    replies: BytesMut,
    /// What the socket is being given.
    out: BytesMut,
    speaking: Option<Speaking>,
    owed: Owed,
    /// What its client did not answer on an earlier connection: goes first.
    resend: VecDeque<Flight>,
    /// Most publishes with QoS 1 and 2 that may be on their way to it.
    room: usize,
    /// Seconds that its session outlives it.
    session_expiry: u32,
    aliases: Aliases,
    pending: Option<Pending>,
    pace: Pace,
    clocks: Clocks,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Work that must be done before the next packet is read.
struct Pending(BoxFuture<'static, Done>);

/// What came of it.
enum Done {
    /// Nothing to add.
    Quietly,
    /// An answer for the client.
    Answer(BytesMut),
    /// It cannot go on.
    Failed(Ending),
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

/// The frame of speech that `out` holds.
#[derive(Debug)]
struct Speaking {
    downlink: Downlink,
    epoch: u64,
    alias: Option<(u16, bool)>,
    begun: bool,
}

#[derive(Debug)]
struct Clocks {
    /// One and a half keep-alive intervals; none when the client asked for 0.
    patience: Option<Duration>,
    last_received: Instant,
    /// Since when it is not read, because what it sent cannot be handed on.
    unread_since: Option<Instant>,
    paused_until: Option<Instant>,
}

/// Token buckets for messages and bytes.
#[derive(Debug)]
struct Pace {
    messages: f32,
    bytes: f32,
    at: Instant,
}

impl<T: Transport> Connection<T> {
    pub fn new(socket: T, admitted: Admitted, inbox: BytesMut) -> Self {
        let Admitted { seat, connect, resend } = admitted;
        let gate = seat.gate().clone();
        let limits = &gate.settings.limits;
        let now = Instant::now();
        let patience = (connect.keep_alive > 0).then(|| Duration::from_millis(u64::from(connect.keep_alive) * 1_500));
        let aliases = Aliases::new(limits.topic_aliases, connect.alias_maximum);
        Self {
            socket,
            version: connect.version,
            will: connect.will.map(Box::new),
            max_packet_out: usize::try_from(connect.max_packet).unwrap_or(usize::MAX),
            inbox,
            inbox_charge: None,
            replies: BytesMut::new(),
            out: BytesMut::new(),
            speaking: None,
            owed: Owed::new(gate.metrics.clone()),
            resend,
            room: usize::from(connect.receive_maximum).min(MAX_INFLIGHT),
            session_expiry: connect.session_expiry,
            aliases,
            pending: None,
            pace: Pace {
                messages: limits.messages_per_second as f32,
                bytes: limits.bytes_per_second.0 as f32 * 10.0,
                at: now,
            },
            clocks: Clocks { patience, last_received: now, unread_since: None, paused_until: None },
            timer: None,
            seat,
        }
    }

    /// Runs until the connection ends, publishes the will where it is due, says goodbye.
    pub async fn run(mut self: Box<Self>) -> Ending {
        self.seat.link_up();
        let ending = poll_fn(|cx| self.poll_run(cx)).await;
        // boxed: an idle connection must not hold room for its end
        Box::pin(self.finish(ending)).await;
        ending
    }

    async fn finish(mut self: Box<Self>, ending: Ending) {
        // a last message that was read is handed on: its sender has done its part
        if let Some(Pending(last)) = self.pending.take() {
            let _ = tokio::time::timeout(GOODBYE, last).await;
        }
        self.settle_the_rest().await;
        // the device may be back at once: it must not be told of its own will by a later task
        match self.will.take() {
            Some(will) if ending.wills() && will.delay > 0 && self.session_expiry > 0 => self.seat.delay_will(will),
            Some(will) if ending.wills() => {
                let (session, link) = (self.seat.session(), self.seat.client().link);
                let from = Some((link, session.number));
                self.seat.gate().publish_will(&session.owner, from, *will).await;
            }
            _ => {}
        }
        let _ = tokio::time::timeout(GOODBYE, self.say_goodbye(ending)).await;
    }

    /// What was published with QoS 2 and is not settled when the connection ends, or was refused, may come again: its
    /// id is forgotten, so that it is handed on then. Twice is better than never.
    async fn settle_the_rest(&mut self) {
        let deadline = Instant::now() + GOODBYE;
        while !self.owed.unsettled().is_empty() {
            let next = tokio::time::timeout_at(deadline, poll_fn(|cx| self.owed.poll(cx))).await;
            let Ok(due) = next else { break };
            if due.kind == AckKind::PubRec && (due.code >= 0x80 || due.retry) {
                self.forget_received(due.id);
            }
        }
        for id in self.owed.unsettled() {
            self.forget_received(id);
        }
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        self.seat.client().watch(cx.waker());
        loop {
            if let Some(ending) = self.seat.client().ending() {
                return Poll::Ready(ending);
            }
            match self.step(cx) {
                Err(ending) => return Poll::Ready(ending),
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
            }
        }
    }

    /// True when something moved.
    fn step(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let mut moved = self.poll_owed(cx);
        moved |= self.poll_write(cx)?;
        moved |= self.poll_pending(cx);
        moved |= self.poll_read(cx)?;
        Ok(moved || self.poll_timer(cx)?)
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(Pending(work)) = &mut self.pending else { return false };
        let Poll::Ready(done) = work.as_mut().poll(cx) else { return false };
        self.pending = None;
        match done {
            Done::Quietly => {}
            Done::Answer(packet) => self.replies.extend_from_slice(&packet),
            Done::Failed(ending) => self.seat.client().end(ending),
        }
        true
    }

    fn may_read(&self) -> bool {
        let limits = &self.seat.gate().settings.limits;
        self.pending.is_none()
            && self.clocks.paused_until.is_none()
            && self.owed.len() < usize::from(limits.in_flight)
            && self.replies.len() < MAX_REPLIES
    }

    /// Keep-alive, the limit of being unread, and the end of a pause.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let stuck = self.seat.gate().settings.limits.stuck.0;
        loop {
            let now = Instant::now();
            let clocks = &mut self.clocks;
            if clocks.paused_until.is_some_and(|until| now >= until) {
                (clocks.paused_until, clocks.last_received) = (None, now);
                return Ok(true);
            }
            let unread = clocks.unread_since.map(|since| since + stuck);
            if unread.is_some_and(|at| now >= at) {
                return Err(Ending::Stuck);
            }
            let reading = clocks.unread_since.is_none() && clocks.paused_until.is_none();
            let silent = clocks.patience.filter(|_| reading).map(|patience| clocks.last_received + patience);
            if silent.is_some_and(|at| now >= at) {
                return Err(Ending::KeepAlive);
            }
            let Some(next) = [clocks.paused_until, unread, silent].into_iter().flatten().min() else {
                return Ok(false);
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
            // a timer that fires early is set again then: most packets need not touch it
            if timer.is_elapsed() || timer.deadline() > next {
                timer.as_mut().reset(next);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Ok(false);
            }
        }
    }

    async fn say_goodbye(&mut self, ending: Ending) {
        let void = self.speaking.as_ref().is_some_and(|s| !s.begun);
        if void {
            self.out.clear();
        }
        let replies = std::mem::take(&mut self.replies);
        self.out.extend_from_slice(&replies);
        if let Some(reason) = ending.reason() {
            let before = self.out.len();
            codec::disconnect(&mut self.out, self.version, reason);
            if self.out.len() > before {
                self.seat.gate().metrics.packet_out("disconnect");
            }
        }
        if ending == Ending::PeerGone || self.socket.write_all(&self.out).await.is_err() {
            return;
        }
        // the peer may be gone: there is nobody to tell
        let _ = self.socket.shutdown().await;
        // to close with something unread would reset the connection, and the reason might never be read
        let mut rest = [0; 1 << 10];
        let broken = matches!(ending, Ending::Codec(_) | Ending::Broke(..));
        while broken && matches!(self.socket.read(&mut rest).await, Ok(n) if n > 0) {}
    }
}
