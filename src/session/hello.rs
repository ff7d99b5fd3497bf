//! Opening, resuming and closing sessions, and what waits for a device that comes (back).

use serde_json::json;

use super::actor::Actor;
use super::asked_operations::Passed;
use super::book::{Left, Live, Opening, message_of};
use super::manners::Manners;
use super::outgoing::Asked;
use super::turn::Input;
use super::window::Rule;
use crate::audio::jitter::Path;
use crate::domain::{
    AckMarks, Control, EventKind, Hello, HelloAck, ListenMode, Message, Origin, SessionId, StopReason, Stream,
};
use crate::lifelog::Kind;
use crate::store::Batch;
use crate::store::records::Outbox;

impl Actor {
    /// A hello: never a duplicate. The same one again gets the same answer; a session that is known, open
    /// and of the same boot goes on; everything else is a new session.
    pub(super) async fn hello(&mut self, origin: &Origin, control: &Control, hello: Hello) {
        let dialect = origin.dialect;
        let by_number = Manners::of(dialect, &self.parts.settings).by_number;
        let same = self.live.hello.as_ref().is_some_and(|(boot, msg_id, _)| {
            let booted = by_number || hello.boot_id.is_some();
            booted && *boot == hello.boot_id && control.msg_id.is_some() && *msg_id == control.msg_id
        });
        if same {
            if let Some((_, _, mut answer)) = self.live.hello.clone() {
                (answer.number, answer.protocol) = (control.seq, hello.version);
                let _ = self.out.control(Message::HelloAck(Box::new(answer)), Asked::default());
            }
            return;
        }
        let resumes = if by_number { self.goes_on(control) } else { self.may_resume(control, &hello) };
        if resumes {
            self.reopen();
            self.resume(&hello);
        } else {
            self.interrupt(StopReason::Closed);
            let peer = by_number.then(|| self.name_of(control.session_id.as_deref()));
            self.open_session_as(peer, hello.boot_id, control.seq, "hello");
            self.live.begun = origin.arrival;
        }
        self.greet(dialect, &hello);
        if let Some(seq) = control.seq {
            // a hello is done in any case; its number only closes a hole
            self.live.windows.accept(Stream::Control, seq, Rule::Sure);
            self.live.windows.stream(Stream::Control).committed(seq);
        }
        let mut answer = self.hello_ack(resumes);
        (answer.number, answer.protocol) = (control.seq, hello.version.clone());
        self.live.hello = Some((hello.boot_id, control.msg_id.clone(), answer.clone()));
        let session = self.book.session(&mut self.live, self.out.control_seq());
        self.commit(session, None);
        let _ = self.out.control(Message::HelloAck(Box::new(answer)), Asked::default());
        self.parts.metrics.hello(resumes);
        // a device that names its sessions is told its numbers from where they were, also after it began to count anew
        if resumes || by_number {
            if let Some(seq) = hello.last_recv_seq {
                self.forget_acknowledged(seq);
            }
            // what it has not got is sent again
            self.unacknowledged.clear();
        }
        self.has_mcp = hello.has_tools();
        // what it has instead it tells next
        self.things = super::things::Things::default();
        if self.has_mcp {
            self.ask_for_tools();
        }
        self.send_outbox().await;
        if self.inbox_due.is_some() {
            self.take_up_the_inbox().await;
        }
    }

    /// Minds the manners of the device's dialect from now on.
    fn greet(&mut self, dialect: &str, hello: &Hello) {
        (self.live.greeted, self.hello_here) = (true, true);
        self.live.manners = Manners::of(dialect, &self.parts.settings);
        self.live.datagrams = self.live.manners.ceremonious && hello.capabilities["transport"] == "udp";
        self.ears.on_path(if self.live.datagrams { Path::Datagrams } else { Path::Ordered });
        if self.live.manners.ceremonious {
            // nothing is heard before it says that it listens
            self.ears.reset(self.live.mode, false);
        }
        if self.live.manners.by_number {
            self.not_silent();
            self.listen_when_told();
        }
        self.stirred();
    }

    /// The session is known, open and of the same boot.
    fn may_resume(&self, control: &Control, hello: &Hello) -> bool {
        let known = control.session_id.as_deref() == Some(self.live.id.as_str());
        known && self.live.is_open() && hello.boot_id.is_some() && self.live.boot_id == hello.boot_id
    }

    /// A session that was closed goes on under its name.
    fn reopen(&mut self) {
        if !self.live.is_open() {
            self.live.reopen();
            self.tell(EventKind::Session, json!({"event": "revived"}));
        }
    }

    fn resume(&mut self, hello: &Hello) {
        for (stream, oldest) in &hello.oldest_seq {
            self.live.windows.stream(*stream).oldest(*oldest);
        }
        self.tell(EventKind::Session, json!({"event": "resumed"}));
    }

    fn hello_ack(&self, resumed: bool) -> HelloAck {
        let limits = self.parts.limits;
        let windows = &self.live.windows;
        HelloAck {
            session_id: self.live.called(),
            resumed,
            boot: self.parts.boot,
            time: self.parts.clock.wall().0,
            ack: AckMarks {
                control: windows.told(Stream::Control),
                // advisory: outside of the promise
                audio: windows.ack(Stream::Audio),
                telemetry: windows.told(Stream::Telemetry),
                image: windows.told(Stream::Image),
            },
            down_seq: self.out.control_seq(),
            max_packet: limits.packet,
            max_image: limits.image,
            max_in_flight: limits.in_flight,
            number: None,
            protocol: None,
            heartbeat_s: u32::try_from(self.parts.settings.heartbeat.0.as_secs()).unwrap_or(30),
            media: None,
        }
    }

    /// Opens a new session; the one before it is closed.
    pub(super) fn open_session(&mut self, boot_id: Option<u32>, why: &str) {
        let peer = self.live.peer.take();
        self.open_session_as(peer, boot_id, None, why);
    }

    /// The same, for a device that calls it so; by a hello with this number.
    pub(super) fn open_session_as(&mut self, peer: Option<String>, boot_id: Option<u32>, seq: Option<u32>, why: &str) {
        // to the device it is the same session: what it is told goes on being numbered
        let goes_on = peer.is_some() && peer == self.live.peer;
        let numbered = if goes_on { self.out.control_seq() } else { 0 };
        if self.live.is_open() {
            self.close_session("replaced");
        }
        let id = new_id((self.parts.random)());
        let opening = Opening { id, boot_id, peer, opened: self.parts.clock.wall() };
        self.live = Live::open(opening, &self.parts.settings, self.live.device_settings.take());
        if let Some(seq) = seq {
            self.live.windows.accept(Stream::Control, seq, Rule::Sure);
            self.live.windows.stream(Stream::Control).committed(seq);
            // it may be told before it is on disk: with this mark the session itself would be gone
            let marks = self.live.windows.marks();
            self.live.windows.written(marks);
        }
        self.out.renumber(self.live.called(), numbered);
        if !goes_on {
            self.unacknowledged.clear();
        }
        self.joined.clear();
        self.info.write(|info| info.opened = self.parts.clock.wall());
        // its packets are numbered from the start: a window that has seen the former ones would take none of them
        self.ears.forget();
        self.ears.reset(self.live.mode, self.live.mode != ListenMode::Manual);
        self.parts.metrics.session_opened();
        self.tell(EventKind::Session, json!({"event": "opened", "why": why}));
        let mut batch = self.book.entry(Kind::Session, &self.live, json!({"event": "opened", "why": why}));
        batch.extend(self.book.session(&mut self.live, numbered));
        self.commit(batch, None);
    }

    pub(super) fn close_session(&mut self, why: &str) {
        self.live.close();
        self.photos = None;
        self.tell(EventKind::Session, json!({"event": "closed", "why": why, "turns": self.live.turns}));
        let body = json!({"event": "closed", "why": why, "turns": self.live.turns});
        let mut batch = self.book.entry(Kind::Session, &self.live, body);
        batch.extend(self.book.session(&mut self.live, self.out.control_seq()));
        self.commit(batch, None);
    }

    /// Something happens on a session that was closed: a new one begins, without a hello.
    pub(super) fn revive(&mut self) {
        if !self.live.is_open() && self.live.peer.is_some() {
            self.reopen();
        } else if !self.live.is_open() {
            self.open_session(None, "without hello");
        }
    }

    /// Sends what must arrive and has not been acknowledged.
    pub(super) async fn send_outbox(&mut self) {
        if !self.online {
            return;
        }
        let entries = match self.book.outbox().await {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(device = %self.device, %error, "the outbox cannot be read");
                return;
            }
        };
        let mut gone = Batch::new();
        for entry in entries {
            if self.unacknowledged.values().any(|n| *n == entry.n) {
                continue;
            }
            if self.book.expired(&entry) {
                self.book.outbox_done(&mut gone, entry.n);
                continue;
            }
            let passed = if entry.kind == super::errands::KIND {
                self.pass_on_task(&entry, &mut gone)
            } else if let Some((id, message)) = crate::operations::message(&entry) {
                self.pass_on(&id, message, &entry, &mut gone)
            } else {
                self.send_entry(&entry)
            };
            match passed {
                Passed::Sent(seq) if !entry.at_most_once => drop(self.unacknowledged.insert(seq, entry.n)),
                Passed::Sent(_) | Passed::Over => self.book.outbox_done(&mut gone, entry.n),
                Passed::Stays => {}
                Passed::NoRoom => break,
            }
        }
        if !gone.is_empty() {
            self.commit(gone, None);
        }
        self.acknowledgements_change();
    }

    /// Something was acknowledged, or waits to be.
    pub(super) fn acknowledgements_change(&mut self) {
        self.resend.waits(!self.unacknowledged.is_empty(), self.parts.settings.resend_after.0);
    }

    fn send_entry(&mut self, entry: &Outbox) -> Passed {
        let Some(message) = message_of(entry) else { return Passed::Over };
        let asked = Asked { msg_id: Some(entry.msg_id.clone()), want_ack: true };
        self.out.control(message, asked).map_or(Passed::NoRoom, Passed::Sent)
    }

    fn forget_acknowledged(&mut self, seq: u32) {
        let gone = self.acknowledged(seq);
        if !gone.is_empty() {
            self.commit(gone, None);
        }
    }

    /// The device has all up to this number; what is to be written of that.
    pub(super) fn acknowledged(&mut self, seq: u32) -> Batch {
        let still = self.unacknowledged.split_off(&seq.saturating_add(1));
        let mut gone = Batch::new();
        for n in std::mem::replace(&mut self.unacknowledged, still).into_values() {
            self.book.outbox_done(&mut gone, n);
        }
        self.acknowledgements_change();
        gone
    }

    /// Puts a command that is sent at most once a session into the outbox, and sends it if the device is there.
    pub(super) async fn send_once(&mut self, message: Message) {
        let expires = self.parts.settings.reboot_expires.0;
        let msg_id = format!("{:016x}", (self.parts.random)() & u128::from(u64::MAX));
        let batch = self.book.outbox_once(&message, msg_id, expires);
        self.commit(batch, None);
        self.send_outbox().await;
    }

    /// What the gateway took in but had not done when it stopped.
    pub(super) async fn take_up_the_inbox(&mut self) {
        self.inbox_due = None;
        let left = match self.book.inbox().await {
            Ok(left) => left,
            Err(error) => {
                tracing::error!(device = %self.device, %error, "the inbox cannot be read");
                return;
            }
        };
        for record in left {
            if self.does(record.n) {
                continue;
            }
            match record.what {
                Left::Again(text) => {
                    // the try is counted on disk before it is begun: a message that ends the gateway does so twice at most
                    if let Err(error) = self.parts.store.commit(record.batch).await {
                        tracing::error!(device = %self.device, %error, "a message of the last run is not tried again");
                        continue;
                    }
                    self.waiting.push_back((text, record.n));
                    self.parts.metrics.inbox("again");
                }
                Left::Interrupted(kind) => {
                    let body = json!({"interrupted": kind, "why": "not answered in time"});
                    self.tell(EventKind::Alert, body.clone());
                    let mut batch = self.book.entry(Kind::Alert, &self.live, body);
                    batch.extend(record.batch);
                    self.commit(batch, None);
                    self.parts.metrics.inbox("interrupted");
                }
                Left::Quarantined => {
                    tracing::error!(device = %self.device, n = record.n, "a message that ended the gateway twice is put aside (voxgate inbox list)");
                    self.commit(record.batch, None);
                    self.parts.metrics.inbox("put_aside");
                }
            }
        }
        self.next_waiting();
    }

    /// It is being done, or waits for that already.
    fn does(&self, n: u64) -> bool {
        let being_done = self.turn.as_ref().and_then(|turn| turn.inbox) == Some(n);
        being_done || self.waiting.iter().any(|(_, waiting)| *waiting == n)
    }

    /// Takes up the next typed turn of an earlier run, when nothing else is being said.
    pub(super) fn next_waiting(&mut self) {
        if self.turn.is_none()
            && let Some((text, n)) = self.waiting.pop_front()
        {
            self.start_turn(Input::Text(text), tokio::time::Instant::now(), Some(n));
        }
    }
}

/// A session id: 26 characters that sort by nothing and cannot be guessed.
fn new_id(random: u128) -> SessionId {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let text: String =
        (0..26).map(|at| char::from(ALPHABET[usize::try_from((random >> (at * 5)) & 31).unwrap_or(0)])).collect();
    // the alphabet is a subset of an id's: this never fails
    SessionId::parse(&text).unwrap_or_else(|_| unreachable!("the alphabet is that of an id"))
}
