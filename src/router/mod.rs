//! Uplink → session: finds the actor of a device, or starts it.
//!
//! Knows which devices have a session in memory and nothing of what is in one. A session that rests
//! closes its lanes; a message that finds them closed starts the next actor, so nothing falls between.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::delivery::Delivery;
use crate::domain::{
    AudioPacket, Body, ControlKind, DeviceId, Downlink, Ingress, Link, LinkId, Message, Origin, Uplink,
};
use crate::session::{Asking, Call, CallError, Handle, Info, Lanes, LanesClosed, Notice, Parts, Starting, Tool, start};
use crate::store::records::{inboxes, outboxes};

/// The name of the session that only the watchdog asks.
const CANARY: &str = "voxgate.canary";
/// Notices that wait for a session.
const NOTICES: usize = 16;

/// Why an operator's command did not reach a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The device has no live link.
    #[error("{0} is not connected")]
    NotConnected(DeviceId),
    /// Too many commands wait for the device.
    #[error("{0} is busy: try again")]
    Busy(DeviceId),
}

/// The sessions of all devices.
#[derive(Clone)]
pub struct Router {
    inner: Arc<Inner>,
}

struct Inner {
    sessions: Mutex<HashMap<DeviceId, Handle>>,
    /// Whose sessions had no room for a notice; locked after `sessions`.
    untold: Mutex<HashSet<DeviceId>>,
    delivery: Arc<Delivery>,
    parts: Arc<Parts>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Router {
    /// No session yet. Sessions end when `stop` is cancelled.
    pub fn new(delivery: Arc<Delivery>, parts: Arc<Parts>, stop: CancellationToken) -> Self {
        let inner = Inner {
            sessions: Mutex::default(),
            untold: Mutex::default(),
            delivery,
            parts,
            tasks: TaskTracker::new(),
            stop,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The sessions in memory.
    pub fn sessions(&self) -> Vec<Info> {
        let mut infos: Vec<Info> = self.inner.sessions().values().map(Handle::info).collect();
        infos.sort_by(|a, b| a.device.cmp(&b.device));
        infos
    }

    /// Waits until all sessions have ended and written what they promised. Cancel `stop` before.
    pub async fn stopped(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Says a text on a device that is connected.
    pub fn say(&self, device: &DeviceId, text: String) -> Result<(), CommandError> {
        self.command(device, Notice::Say(text))
    }

    /// Silences a device.
    pub fn hush(&self, device: &DeviceId) -> Result<(), CommandError> {
        self.command(device, Notice::Hush)
    }

    /// An operator changed the settings of a device.
    pub fn settings_changed(&self, device: &DeviceId) -> Result<(), CommandError> {
        self.command(device, Notice::Settings)
    }

    /// Something was put into the outbox of a device: it is sent now, if the device is connected.
    pub fn outbox_changed(&self, device: &DeviceId) {
        self.changed(device, Notice::Outbox);
    }

    /// An operator wants something tried again that the device once asked for: now, if it is connected.
    pub fn inbox_changed(&self, device: &DeviceId) {
        self.changed(device, Notice::Inbox);
    }

    fn changed(&self, device: &DeviceId, notice: Notice) {
        let inner = &self.inner;
        let mut sessions = inner.sessions();
        if inner.delivery.is_connected(device) && !inner.stop.is_cancelled() {
            let handle = inner.session_of(&mut sessions, device);
            inner.notify(&handle, device, notice);
        }
    }

    /// Restarts a device.
    pub fn reboot(&self, device: &DeviceId) -> Result<(), CommandError> {
        self.command(device, Notice::Reboot)
    }

    /// Shows a [`Message::Alert`] on a device that is connected, in a conversation or not.
    pub async fn alert(&self, device: &DeviceId, alert: Message) -> Result<(), CommandError> {
        let (sent, told) = oneshot::channel();
        self.command(device, Notice::Alert(alert, sent))?;
        // its connection may have gone, or may not take it, in this moment
        let sent = told.await.unwrap_or(false);
        sent.then_some(()).ok_or_else(|| CommandError::NotConnected(device.clone()))
    }

    /// The tools of a device that is connected.
    pub async fn tools(&self, device: &DeviceId) -> Result<Arc<[Tool]>, CallError> {
        let (answer, answered) = oneshot::channel();
        self.command(device, Notice::Tools(Asking::List(answer))).map_err(|error| call_error(&error))?;
        answered.await.unwrap_or(Err(CallError::Gone))
    }

    /// Calls a tool of a device that is connected. Its list is asked for first, if it is not known.
    pub async fn call_tool(&self, device: &DeviceId, name: String, arguments: Value) -> Result<String, CallError> {
        self.tools(device).await?;
        let (answer, answered) = oneshot::channel();
        let call = Asking::Call(Call { name, arguments, answer });
        self.command(device, Notice::Tools(call)).map_err(|error| call_error(&error))?;
        answered.await.unwrap_or(Err(CallError::Gone))
    }

    /// Starts a session that belongs to no device, asks it whether it takes what comes, and ends it. It reads the
    /// store and leaves nothing behind.
    pub async fn canary(&self) -> bool {
        let Ok(device) = DeviceId::parse(CANARY) else { return false };
        // nobody must hold the sessions' map for long
        drop(self.inner.sessions());
        let (notices_tx, notices) = mpsc::channel(1);
        let (handle, actor) = start(device, Arc::clone(&self.inner.parts), notices_tx, notices, false);
        let stop = self.inner.stop.child_token();
        let ask = async {
            let (answer, heard) = oneshot::channel();
            let asked = handle.notices.send(Notice::Canary(answer)).await.is_ok();
            let heard = asked && heard.await.is_ok();
            stop.cancel();
            heard
        };
        let (ended, heard) = tokio::join!(Box::pin(actor.run(stop.clone())), ask);
        ended.is_ok() && heard
    }

    fn command(&self, device: &DeviceId, notice: Notice) -> Result<(), CommandError> {
        if !self.inner.delivery.is_connected(device) {
            return Err(CommandError::NotConnected(device.clone()));
        }
        let handle = self.inner.session(device);
        handle.notices.try_send(notice).map_err(|_| CommandError::Busy(device.clone()))
    }
}

impl Inner {
    fn sessions(&self) -> MutexGuard<'_, HashMap<DeviceId, Handle>> {
        // each change of the map is one statement: a panic elsewhere leaves it whole
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of a device; started if there is none (or it has just gone to rest).
    fn session(self: &Arc<Self>, device: &DeviceId) -> Handle {
        self.session_of(&mut self.sessions(), device)
    }

    fn session_of(self: &Arc<Self>, sessions: &mut HashMap<DeviceId, Handle>, device: &DeviceId) -> Handle {
        if let Some(handle) = alive(sessions, device) {
            return handle;
        }
        let (notices_tx, notices) = mpsc::channel(NOTICES);
        let online = self.delivery.is_connected(device);
        let (handle, actor) = start(device.clone(), Arc::clone(&self.parts), notices_tx, notices, online);
        sessions.insert(device.clone(), handle.clone());
        let run = Arc::clone(self).run(device.clone(), actor, Arc::clone(&handle.lanes));
        self.tasks.spawn(run);
        handle
    }

    async fn run(self: Arc<Self>, device: DeviceId, actor: Starting, lanes: Arc<Lanes>) {
        self.parts.metrics.began();
        let ended = actor.run(self.stop.clone()).await;
        self.parts.metrics.ended(ended.is_err());
        if ended.is_err() {
            tracing::error!(%device, "a session ended by a fault of ours; the next message opens a new one");
        }
        // what still waits is refused by dropping its receipts
        drop(lanes.close());
        self.forget(&device, &lanes);
        if ended.is_err() {
            self.tell_the_fault(&device);
        } else {
            // the device may have come back in the moment in which its session went to rest, and was not heard
            self.wake_for_what_waits(&device).await;
        }
    }

    /// Tells a session of a link; the caller holds the sessions. One whose queue is full is told later what is true then.
    fn notify(self: &Arc<Self>, handle: &Handle, device: &DeviceId, notice: Notice) {
        if !matches!(handle.notices.try_send(notice), Err(TrySendError::Full(_))) {
            return;
        }
        if self.untold().insert(device.clone()) {
            let (router, device) = (Arc::clone(self), device.clone());
            self.tasks.spawn(async move { router.tell_later(&device).await });
        }
    }

    async fn tell_later(&self, device: &DeviceId) {
        loop {
            let handle = {
                let sessions = self.sessions();
                let Some(handle) = alive(&sessions, device) else {
                    // the next session begins with what is true
                    self.untold().remove(device);
                    return;
                };
                handle
            };
            let Ok(room) = handle.notices.reserve().await else {
                // it is ending
                tokio::task::yield_now().await;
                continue;
            };
            let sessions = self.sessions();
            self.untold().remove(device);
            room.send(if self.delivery.is_connected(device) { Notice::Online } else { Notice::Offline });
            drop(sessions);
            return;
        }
    }

    fn untold(&self) -> MutexGuard<'_, HashSet<DeviceId>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, device: &DeviceId, lanes: &Arc<Lanes>) {
        let mut sessions = self.sessions();
        if sessions.get(device).is_some_and(|known| Arc::ptr_eq(&known.lanes, lanes)) {
            sessions.remove(device);
        }
    }

    /// Starts the session of a device that is connected and for which something waits.
    async fn wake_for_what_waits(self: &Arc<Self>, device: &DeviceId) {
        let wanted = || !self.stop.is_cancelled() && self.delivery.is_connected(device);
        if !wanted() || !self.something_waits(device).await {
            return;
        }
        let mut sessions = self.sessions();
        // looked at again while nobody can leave: it may have gone meanwhile
        if wanted() {
            let handle = self.session_of(&mut sessions, device);
            self.notify(&handle, device, Notice::Online);
        }
    }

    /// An earlier run, or somebody while the device was away, left something for it.
    async fn something_waits(&self, device: &DeviceId) -> bool {
        let store = &*self.parts.store;
        let outbox = outboxes::list(store, device, 1).await;
        let inbox = inboxes::list(store, device, 1).await;
        match (outbox, inbox) {
            (Ok(outbox), Ok(inbox)) => !outbox.is_empty() || !inbox.is_empty(),
            // the session says what is wrong
            _ => true,
        }
    }

    /// What the session was doing is lost: a device that waits for an answer should know.
    fn tell_the_fault(&self, device: &DeviceId) {
        self.parts.sink.clear_audio(device);
        let text = "the gateway lost this session: your next message begins another".to_owned();
        let lost = Downlink::Control {
            session: None,
            seq: None,
            ts_ms: self.parts.clock.wall().0,
            msg_id: None,
            want_ack: false,
            json: true,
            message: Message::Error { code: "internal".to_owned(), message: text },
        };
        // a device without a link waits for nothing
        let _ = self.parts.sink.send(device, lost);
    }
}

fn call_error(error: &CommandError) -> CallError {
    match error {
        CommandError::NotConnected(_) => CallError::NoTools,
        CommandError::Busy(_) => CallError::Busy,
    }
}

/// The session that still takes messages.
fn alive(sessions: &HashMap<DeviceId, Handle>, device: &DeviceId) -> Option<Handle> {
    sessions.get(device).filter(|handle| !handle.lanes.is_closed()).cloned()
}

impl Ingress for Router {
    fn link_up(&self, device: &DeviceId, link: Arc<dyn Link>) {
        // what is true and what the session hears change in one step: it hears of links in their true order
        let sessions = self.inner.sessions();
        self.inner.delivery.link_up(device, link);
        if let Some(handle) = alive(&sessions, device) {
            return self.inner.notify(&handle, device, Notice::Online);
        }
        drop(sessions);
        // a device that says nothing, and for which nothing waits, needs no session
        let (inner, device) = (Arc::clone(&self.inner), device.clone());
        self.inner.tasks.spawn(async move { inner.wake_for_what_waits(&device).await });
    }

    fn link_down(&self, device: &DeviceId, link: LinkId) {
        let sessions = self.inner.sessions();
        let (was_primary, left) = self.inner.delivery.link_down(device, link);
        // without a session there is nobody to tell
        let Some(handle) = alive(&sessions, device) else { return };
        if was_primary {
            self.inner.notify(&handle, device, Notice::LinkLost(link));
        }
        if left == 0 {
            self.inner.notify(&handle, device, Notice::Offline);
        }
    }

    fn audio(&self, origin: Origin, packet: AudioPacket) {
        self.inner.delivery.speaks(&origin.device, origin.link, origin.dialect);
        let (mut origin, mut packet) = (origin, packet);
        // the second try meets a session that was just started
        for _ in 0..2 {
            let handle = self.inner.session(&origin.device);
            match handle.lanes.push_audio(origin, packet) {
                Ok(dropped) => {
                    if dropped > 0 {
                        self.inner.parts.metrics.dropped(dropped);
                    }
                    return;
                }
                Err(LanesClosed(back)) => (origin, packet) = back,
            }
        }
    }

    fn deliver(&self, uplink: Uplink) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let hello = matches!(&uplink.body, Body::Control(control) if matches!(control.kind, ControlKind::Hello(_)));
            let Origin { device, link, dialect, .. } = &uplink.origin;
            if hello {
                self.inner.delivery.speaks(device, *link, dialect);
            } else {
                self.inner.delivery.heard(device, *link, dialect);
            }
            let mut uplink = uplink;
            for _ in 0..2 {
                let handle = self.inner.session(&uplink.origin.device);
                match handle.lanes.push(uplink).await {
                    Ok(()) => return,
                    Err(LanesClosed(back)) => uplink = back,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
