//! A session's records: what is written of it, in which batch, and what is read back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Settings;
use super::history::History;
use super::manners::Manners;
use super::turn::TtsMode;
use super::window::Windows;
use crate::domain::{Clock, DeviceId, HelloAck, ListenMode, Message, SessionId, Wall, dialect};
use crate::lifelog::{Kind, Lifelog};
use crate::store::records::{
    self, DeviceSettings, Inbox, InboxKind, LastHello, Next, Numbers, Outbox, inboxes, marks, outboxes, sessions,
};
use crate::store::{Batch, Store, StoreError};

/// Downlink numbers that a record is ahead of what was sent, so that not each message needs a record.
const RESERVE: u32 = 256;
/// Most entries read at once.
const MANY: usize = 1_000;

/// What is known of the session.
pub(super) struct Live {
    pub(super) id: SessionId,
    open: bool,
    opened: Wall,
    pub(super) boot_id: Option<u32>,
    /// What the device calls the session, where it names them.
    pub(super) peer: Option<String>,
    /// The last hello: boot id, message id, answer.
    pub(super) hello: Option<(Option<u32>, Option<String>, HelloAck)>,
    pub(super) windows: Windows,
    pub(super) history: History,
    pub(super) mode: ListenMode,
    pub(super) tts_mode: TtsMode,
    /// Number of the last `listen_start`, modulo 16; 0 is none.
    pub(super) listen: u8,
    /// The device said `listen_start` and has not been told how that ended.
    pub(super) announced: bool,
    /// What was said last is to be done in the background.
    pub(super) errand: bool,
    /// A packet flagged as the last of its utterance is with the ears.
    pub(super) last_flag: bool,
    pub(super) turns: u32,
    /// The arrival of the hello that it began with; 0 without one.
    pub(super) begun: u64,
    /// Number of the last audio packet of a device that gives none.
    pub(super) audio_seq: u32,
    pub(super) down_seq: u32,
    down_reserved: u32,
    /// The next thing that happens opens a new session.
    pub(super) stale: bool,
    /// What the device's dialect asks for.
    pub(super) manners: Manners,
    /// It has said hello since this gateway started.
    pub(super) greeted: bool,
    /// A record of it may not be on disk: a commit failed. It goes with the next.
    pub(super) unwritten: bool,
    /// Its audio goes as datagrams.
    pub(super) datagrams: bool,
    /// One has come: the answer has an address.
    pub(super) addressed: bool,
    /// What is being said is the last word.
    pub(super) parting: bool,
    pub(super) device_settings: Option<DeviceSettings>,
}

/// What a session is opened with.
pub(super) struct Opening {
    pub(super) id: SessionId,
    pub(super) boot_id: Option<u32>,
    pub(super) peer: Option<String>,
    pub(super) opened: Wall,
}

impl Live {
    /// No session: the first thing that happens opens one.
    pub(super) fn none(settings: &Settings, device: Option<DeviceSettings>) -> Self {
        let id = SessionId::parse("none").unwrap_or_else(|_| unreachable!("a word is an id"));
        let opening = Opening { id, boot_id: None, peer: None, opened: Wall(0) };
        Self { open: false, ..Self::open(opening, settings, device) }
    }

    /// A new session.
    pub(super) fn open(opening: Opening, settings: &Settings, device: Option<DeviceSettings>) -> Self {
        let tts_mode = device.as_ref().map_or(settings.tts_mode, |device| match device.tts_mode {
            records::TtsMode::ServerAudio => settings.tts_mode,
            records::TtsMode::DeviceText => TtsMode::DeviceText,
        });
        let speaks = device.as_ref().and_then(|device| device.dialect.as_deref());
        let mode = match device.as_ref().map(|device| device.audio_mode) {
            Some(mode) if mode != ListenMode::default() => mode,
            _ => settings.mode,
        };
        Self {
            id: opening.id,
            open: true,
            opened: opening.opened,
            boot_id: opening.boot_id,
            peer: opening.peer,
            hello: None,
            windows: Windows::new(false),
            history: History::new(settings.history_tokens),
            mode,
            tts_mode,
            listen: 0,
            announced: false,
            errand: false,
            last_flag: false,
            turns: 0,
            begun: 0,
            audio_seq: 0,
            down_seq: 0,
            down_reserved: 0,
            stale: false,
            manners: Manners::of(speaks.unwrap_or(dialect::NATIVE), settings),
            greeted: false,
            unwritten: false,
            datagrams: false,
            addressed: false,
            parting: false,
            device_settings: device,
        }
    }

    /// A session was opened, at whatever time.
    pub(super) fn was_opened(&self) -> bool {
        self.open || self.opened != Wall(0)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Its name in records; none before the first is opened.
    pub(super) fn named(&self) -> Option<&SessionId> {
        Some(&self.id).filter(|_| self.opened != Wall(0))
    }

    pub(super) fn close(&mut self) {
        self.open = false;
    }

    /// Something happens in a session that was closed, and goes on under its name.
    pub(super) fn reopen(&mut self) {
        self.open = true;
    }

    /// What the session is called towards the device.
    pub(super) fn called(&self) -> SessionId {
        self.peer.as_deref().and_then(|peer| SessionId::parse(peer).ok()).unwrap_or_else(|| self.id.clone())
    }
}

/// An inbox record, and what is to be done with it.
pub(super) struct Leftover {
    pub(super) n: u64,
    pub(super) what: Left,
    pub(super) batch: Batch,
}

/// What is to be done with a message that an earlier run left behind.
pub(super) enum Left {
    /// A typed turn: answer it.
    Again(String),
    /// Too old, or of a kind whose effect is complete.
    Interrupted(InboxKind),
    /// It ended the gateway too often.
    Quarantined,
}

pub(super) struct Book {
    device: DeviceId,
    store: Arc<dyn Store>,
    lifelog: Arc<Lifelog>,
    numbers: Arc<Numbers>,
    clock: Arc<dyn Clock>,
}

impl Book {
    pub(super) fn new(
        device: DeviceId,
        store: Arc<dyn Store>,
        lifelog: Arc<Lifelog>,
        numbers: Arc<Numbers>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { device, store, lifelog, numbers, clock }
    }

    /// What the last run knew of the device: an open session that may resume, or none.
    /// What operators have set for the device by now.
    pub(super) async fn device_settings(&self) -> Result<Option<DeviceSettings>, StoreError> {
        Ok(records::devices::get(&*self.store, &self.device).await?.map(|device| device.settings))
    }

    pub(super) async fn read(&self, settings: &Settings) -> Result<Live, StoreError> {
        let device = self.device_settings().await?;
        let known = sessions::get(&*self.store, &self.device).await?;
        // without a boot id, or a name of its own, nothing tells whether the device is still in it
        let resumable = |known: &records::Session| known.open && known.boot_id.is_some() || known.peer.is_some();
        let Some(known) = known.filter(resumable) else {
            return Ok(Live::none(settings, device));
        };
        let windows = match marks::get(&*self.store, &self.device, &known.session).await? {
            Some(bytes) => Windows::decode(&bytes)
                .map_err(|error| StoreError::Damaged(format!("windows of {}: {error}", self.device)))?,
            None => Windows::new(false),
        };
        let opening = Opening { id: known.session, boot_id: known.boot_id, peer: known.peer, opened: known.opened };
        let mut live = Live::open(opening, settings, device);
        live.open = known.open;
        live.windows = windows;
        live.hello = known.last_hello.map(|hello| (known.boot_id, Some(hello.msg_id), hello.answer));
        live.down_seq = known.down_seq;
        live.down_reserved = known.down_seq;
        live.mode = known.listen;
        live.turns = known.turns;
        Ok(live)
    }

    /// The session itself.
    pub(super) fn session(&self, live: &mut Live, control_seq: u32) -> Batch {
        live.down_reserved = control_seq.saturating_add(RESERVE);
        let last_hello = live
            .hello
            .as_ref()
            .and_then(|(_, msg_id, answer)| msg_id.clone().map(|msg_id| LastHello { msg_id, answer: answer.clone() }));
        let record = records::Session {
            session: live.id.clone(),
            device: self.device.clone(),
            opened: live.opened,
            boot_id: live.boot_id,
            peer: live.peer.clone(),
            last_hello,
            down_seq: live.down_reserved,
            open: live.open,
            listen: live.mode,
            dialect: None,
            turns: live.turns,
        };
        let mut batch = Batch::new();
        self.noted(sessions::put(&mut batch, &record));
        batch
    }

    /// The marks; and the session, when its downlink numbers run out.
    pub(super) fn marks(&self, live: &mut Live, control_seq: u32) -> Batch {
        let mut batch = Batch::new();
        if !live.open {
            return batch;
        }
        if control_seq.saturating_add(RESERVE / 4) > live.down_reserved {
            batch.extend(self.session(live, control_seq));
        }
        marks::put(&mut batch, &self.device, &live.id, &live.windows.encode());
        batch
    }

    /// A lifelog entry.
    pub(super) fn entry(&self, kind: Kind, live: &Live, body: Value) -> Batch {
        let mut batch = Batch::new();
        self.noted(self.lifelog.append(&mut batch, &self.device, live.named(), kind, body).map(drop));
        batch
    }

    /// A typed turn, until it is answered; its number.
    pub(super) fn inbox_text(&self, text: &str) -> (Batch, u64) {
        let n = self.numbers.next();
        let message = Inbox::new(n, self.device.clone(), InboxKind::Text, json!({"text": text}), self.clock.wall());
        let mut batch = Batch::new();
        self.noted(inboxes::put(&mut batch, &message));
        (batch, n)
    }

    /// A call for help, until others are told of it.
    pub(super) fn inbox_sos(&self, call: Value) -> Batch {
        let (n, now) = (self.numbers.next(), self.clock.wall());
        let mut batch = Batch::new();
        self.noted(inboxes::put(&mut batch, &Inbox::new(n, self.device.clone(), InboxKind::Sos, call, now)));
        batch
    }

    /// The message is done, in the same batch as its effect.
    pub(super) fn inbox_done(&self, batch: &mut Batch, n: u64) {
        inboxes::done(batch, &self.device, n);
    }

    /// What earlier runs took in and did not do.
    pub(super) async fn inbox(&self) -> Result<Vec<Leftover>, StoreError> {
        let mut left = Vec::new();
        for message in inboxes::list(&*self.store, &self.device, MANY).await? {
            // what this run took in is being done
            // and calls for help are not the session's: they are told to others whether the device is back or not
            if self.numbers.is_of_this_run(message.n) || message.kind == InboxKind::Sos {
                continue;
            }
            let n = message.n;
            left.push(match inboxes::next(message, self.clock.wall())? {
                Next::Try(message, batch) => {
                    if let Some(text) = message.payload.get("text").and_then(Value::as_str) {
                        Leftover { n, what: Left::Again(text.to_owned()), batch }
                    } else {
                        let mut batch = Batch::new();
                        inboxes::done(&mut batch, &self.device, n);
                        Leftover { n, what: Left::Interrupted(message.kind), batch }
                    }
                }
                Next::Interrupted(message, batch) => Leftover { n, what: Left::Interrupted(message.kind), batch },
                Next::Quarantine(_, batch) => Leftover { n, what: Left::Quarantined, batch },
            });
        }
        Ok(left)
    }

    /// What must still reach the device.
    pub(super) async fn outbox(&self) -> Result<Vec<Outbox>, StoreError> {
        outboxes::list(&*self.store, &self.device, MANY).await
    }

    /// A message that leaves the outbox when it is written.
    pub(super) fn outbox_once(&self, message: &Message, msg_id: String, life: Duration) -> Batch {
        let now = self.clock.wall();
        let entry = Outbox {
            n: self.numbers.next(),
            device: self.device.clone(),
            msg_id,
            kind: message.name().to_owned(),
            body: Value::Null,
            created: now,
            expires: Some(Wall(now.0.saturating_add(u64::try_from(life.as_millis()).unwrap_or(u64::MAX)))),
            at_most_once: true,
        };
        let mut batch = Batch::new();
        self.noted(outboxes::put(&mut batch, &entry));
        batch
    }

    /// The entry leaves the outbox.
    pub(super) fn outbox_done(&self, batch: &mut Batch, n: u64) {
        outboxes::delete(batch, &self.device, n);
    }

    pub(super) fn expired(&self, entry: &Outbox) -> bool {
        entry.expired(self.clock.wall())
    }

    /// A record of our own that cannot be written as JSON is a fault of ours: said, and the rest goes on.
    fn noted(&self, result: Result<(), StoreError>) {
        if let Err(error) = result {
            tracing::error!(device = %self.device, %error, "a record was not written");
        }
    }
}

/// The message of an outbox entry; none for a kind that this version does not send.
pub(super) fn message_of(entry: &Outbox) -> Option<Message> {
    match entry.kind.as_str() {
        "reboot" => Some(Message::Reboot),
        _ => None,
    }
}
