//! What a session has put off: an utterance whose last datagrams may still come, a turn whose answer has nowhere to go
//! yet, and the end of a conversation in which nobody says anything.

use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::actor::Actor;
use super::rooms::UNHEARD;
use super::take::Effect;
use super::turn::Input;
use crate::domain::{AudioPacket, ListenMode, Message, Receipt};

/// An utterance is over at the latest after so many times the wait for one more datagram.
const LATEST: f64 = 2.5;
/// Packets that are kept of what may be a wake word.
const WAKE_WORD: usize = 40;
/// Silence is heard in pieces of this length, that of a packet of stock firmware.
const QUIET_STEP: Duration = Duration::from_millis(60);

/// What is put off, and until when.
#[derive(Default)]
pub(super) struct Due {
    stop: Option<Stop>,
    held: Option<Held>,
    idle: Option<Instant>,
    quiet: Option<Quiet>,
    word: Option<Word>,
    woke: Option<Woke>,
    /// When a device that says nothing counts as gone.
    silent: Option<Instant>,
}

impl Due {
    /// A turn waits for where its answer goes.
    pub(super) fn holds(&self) -> bool {
        self.held.is_some()
    }
}

/// A device says that it woke, and datagrams of its wake word may still follow.
struct Word {
    arrived: Instant,
    /// When they count as lost.
    at: Instant,
}

/// A device woke, and others of its room may have.
struct Woke {
    arrived: Instant,
    room: String,
    /// When it is known who answers.
    at: Instant,
}

/// A device that listens sends nothing while it is silent.
struct Quiet {
    /// Up to here it was heard.
    from: Instant,
    /// When the time since then counts as silence.
    at: Instant,
}

/// `listen_stop` came, and datagrams may still follow.
struct Stop {
    arrived: Instant,
    quiet: Instant,
    latest: Instant,
}

/// A turn whose device has not sent a datagram yet.
struct Held {
    input: Input,
    decided: Instant,
    until: Instant,
}

impl Due {
    /// When something is due next. An utterance is not over while the ears are busy with it.
    pub(super) fn next(&self, ears_busy: bool) -> Option<Instant> {
        let stop = self.stop.as_ref().filter(|_| !ears_busy).map(|stop| stop.quiet.min(stop.latest));
        let held = self.held.as_ref().map(|held| held.until);
        let quiet = self.quiet.as_ref().filter(|_| !ears_busy).map(|quiet| quiet.at);
        let word = self.word.as_ref().map(|word| word.at);
        let woke = self.woke.as_ref().map(|woke| woke.at);
        [stop, held, self.idle, quiet, word, woke, self.silent].into_iter().flatten().min()
    }

    /// Nothing is put off any more.
    pub(super) fn clear(&mut self) {
        (self.stop, self.held, self.quiet) = (None, None, None);
    }
}

impl Actor {
    /// When something is due next.
    pub(super) fn due_next(&self, ears_busy: bool) -> Option<Instant> {
        [self.due.next(ears_busy), self.tools.due()].into_iter().flatten().min()
    }

    /// `listen_stop` after audio that comes as datagrams: it waits for those that are late.
    pub(super) fn put_off_stop(&mut self, arrived: Instant) {
        let wait = self.parts.settings.xiaozhi.late_audio.0;
        let now = Instant::now();
        self.due.stop.get_or_insert(Stop { arrived, quiet: now + wait, latest: now + wait.mul_f64(LATEST) });
    }

    /// A datagram came: an utterance may go on, and an answer has an address now.
    pub(super) fn datagram_came(&mut self) {
        self.live.addressed = true;
        if let Some(stop) = &mut self.due.stop {
            stop.quiet = Instant::now() + self.parts.settings.xiaozhi.late_audio.0;
        }
        self.release();
    }

    /// Begins a turn that was not spoken; its answer waits until there is an address for it.
    pub(super) fn begin(&mut self, input: Input, decided: Instant) {
        if self.live.datagrams && !self.live.addressed {
            let until = Instant::now() + self.parts.settings.xiaozhi.address_wait.0;
            self.due.held = Some(Held { input, decided, until });
        } else {
            self.start_turn(input, decided, None);
        }
    }

    /// Audio came: from here on it may be quiet.
    pub(super) fn heard_up_to_now(&mut self) {
        let (after, now) = (self.parts.settings.xiaozhi.silent_after.0, Instant::now());
        let counts = self.live.manners.ceremonious && self.live.mode != ListenMode::Manual && !after.is_zero();
        self.due.quiet = counts.then(|| Quiet { from: now, at: now + after });
    }

    /// Nothing comes: the ears hear silence, as long as they listen.
    fn hear_silence(&mut self, now: Instant) {
        let Some(quiet) = self.due.quiet.as_mut().filter(|quiet| quiet.at <= now) else { return };
        let time = now.saturating_duration_since(quiet.from);
        let time = QUIET_STEP * u32::try_from(time.as_millis() / QUIET_STEP.as_millis()).unwrap_or(u32::MAX);
        quiet.from += time;
        quiet.at = quiet.from + QUIET_STEP;
        if self.hears() {
            self.ears.hear_nothing(time);
        } else {
            self.due.quiet = None;
        }
    }

    fn release(&mut self) {
        if let Some(Held { input, decided, .. }) = self.due.held.take() {
            self.start_turn(input, decided, None);
        }
    }

    /// Somebody said something: the conversation is not idle.
    pub(super) fn stirred(&mut self) {
        let idle = self.parts.settings.xiaozhi.idle.0;
        let counts = self.live.greeted && self.live.manners.ceremonious && !idle.is_zero();
        self.due.idle = counts.then(|| Instant::now() + idle);
    }

    /// A device that has to be heard of now and then was heard of.
    pub(super) fn not_silent(&mut self) {
        let most = self.parts.settings.opencane.silent_after.0;
        self.due.silent = (!most.is_zero()).then(|| Instant::now() + most);
    }

    /// Does what is due.
    pub(super) fn done_waiting(&mut self) {
        let now = Instant::now();
        if self.due.silent.is_some_and(|silent| silent <= now) {
            self.due.silent = None;
            self.fell_silent();
        }
        if !self.ears.busy()
            && self.due.stop.as_ref().is_some_and(|stop| stop.quiet.min(stop.latest) <= now)
            && let Some(stop) = self.due.stop.take()
        {
            self.utterance_over(stop.arrived);
        }
        if self.due.held.as_ref().is_some_and(|held| held.until <= now) {
            self.release();
        }
        if !self.ears.busy() {
            self.hear_silence(now);
        }
        if self.due.word.as_ref().is_some_and(|word| word.at <= now)
            && let Some(word) = self.due.word.take()
        {
            self.listen_to_wake_word(word.arrived);
        }
        if self.due.woke.as_ref().is_some_and(|woke| woke.at <= now)
            && let Some(woke) = self.due.woke.take()
        {
            self.answer_for_the_room(&woke);
        }
        self.expire_tools(now);
        if self.due.idle.is_some_and(|idle| idle <= now) {
            self.due.idle = None;
            self.nobody_says_anything();
        }
    }

    /// Where it stands, when others stand there too.
    pub(super) fn room(&self) -> Option<&str> {
        self.live.device_settings.as_ref().and_then(|device| device.room.as_deref())
    }

    /// What comes before a device says that it woke may be its wake word: the last of it is kept.
    pub(super) fn keep_wake_word(&mut self, packets: &[AudioPacket]) {
        if self.room().is_none() || !self.live.greeted {
            return;
        }
        self.wake_word.extend(packets.iter().cloned());
        let over = self.wake_word.len().saturating_sub(WAKE_WORD);
        self.wake_word.drain(..over);
    }

    /// Tells the room how loud the wake word was, the last of whose datagrams may still be on their way.
    pub(super) fn ask_the_room(&mut self, arrived: Instant) {
        if !self.live.datagrams {
            return self.listen_to_wake_word(arrived);
        }
        self.due.word = Some(Word { arrived, at: arrived + self.parts.settings.xiaozhi.late_audio.0 });
    }

    /// Listens to the wake word, all that came of it.
    fn listen_to_wake_word(&mut self, arrived: Instant) {
        let word = std::mem::take(&mut self.wake_word);
        let workers = self.parts.ears.workers.clone();
        let listen = move || crate::audio::loudness(word.iter().map(|packet| &packet.payload[..]));
        let level =
            async move { Effect::Woke { level: workers.run(listen).await.ok().flatten().unwrap_or(UNHEARD), arrived } };
        self.effects.push(level.boxed());
    }

    /// The device heard its name, so loud.
    pub(super) fn heard_its_name(&mut self, level: f32, arrived: Instant) {
        let Some(room) = self.room().map(str::to_owned) else { return };
        let window = self.parts.settings.xiaozhi.room_window.0;
        // when it said so, not when there was time to listen
        let at = self.parts.rooms.woke(&room, &self.device, level, arrived, window);
        self.due.woke = Some(Woke { arrived, room, at });
    }

    fn answer_for_the_room(&mut self, woke: &Woke) {
        if self.parts.rooms.answers(&woke.room, &self.device) {
            return self.say_greeting(self.parts.settings.xiaozhi.greeting.clone(), woke.arrived);
        }
        tracing::info!(device = %self.device, room = woke.room, "another device of the room answers");
        self.parts.metrics.outdone();
        self.part("another device of the room answers");
    }

    fn nobody_says_anything(&mut self) {
        if self.turn.is_some() {
            return self.stirred();
        }
        self.part_with(self.parts.settings.xiaozhi.farewell.clone());
    }

    /// Says a last word, if there is one, and ends the conversation.
    pub(super) fn part_with(&mut self, word: String) {
        if word.is_empty() {
            return self.part("idle");
        }
        self.start_turn(Input::Say(word), Instant::now(), None);
        self.live.parting = true;
    }

    /// Ends the conversation: the device is told, and the next one begins with a hello.
    pub(super) fn part(&mut self, why: &str) {
        self.live.parting = false;
        // a device without a link finds out when it speaks
        let _ = self.out.control(Message::Close { reason: why.to_owned() }, super::outgoing::Asked::default());
        self.over(why);
    }

    /// A device speaks in a conversation that is over here: it is told, under the name that it uses.
    pub(super) fn not_known(&mut self, session: Option<&str>, receipt: Receipt) {
        self.parts.metrics.unknown_session();
        self.out.close_unknown(session);
        receipt.settle(crate::domain::Settled::Taken);
    }
}

/// A device that was away for so long is not in the middle of anything any more.
pub(super) fn too_long_away(since: Option<Instant>, most: Duration) -> bool {
    since.is_some_and(|since| since.elapsed() > most)
}
