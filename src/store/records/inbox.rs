//! Messages taken in but not yet done. They are taken up again after a crash, but not for ever: a message
//! that kills its handler is put aside, and one that is too old is closed as interrupted.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Batch, Space, Store, StoreError, get_json, list_json, of_device, put_json};
use crate::domain::{DeviceId, Wall};
use crate::store::Key;

/// Runs that ended uncleanly in a message's handling before it is put aside: the third start serves everybody.
const UNCLEAN: u32 = 2;
/// A message that an operator wants tried again is worth it for so long at least: its device may be away.
const RETRIED: Duration = Duration::from_hours(24);

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InboxKind {
    /// A typed turn.
    Text,
    /// The answer to a tool call.
    ToolResult,
    /// Help.
    Sos,
    /// An image to look at.
    Image,
    /// Anything that is worth doing however late.
    Task,
}

impl InboxKind {
    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            InboxKind::Text => "text",
            InboxKind::ToolResult => "tool_result",
            InboxKind::Sos => "sos",
            InboxKind::Image => "image",
            InboxKind::Task => "task",
        }
    }

    /// How long it is worth doing; none is until done.
    pub fn lifetime(self) -> Option<Duration> {
        match self {
            InboxKind::Text => Some(Duration::from_mins(1)),
            InboxKind::ToolResult | InboxKind::Sos => Some(Duration::from_hours(24)),
            InboxKind::Image | InboxKind::Task => None,
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inbox {
    /// Its number, from [`super::Numbers`]: the order.
    pub n: u64,
    /// Whose.
    pub device: DeviceId,
    /// What.
    pub kind: InboxKind,
    /// The message.
    pub payload: Value,
    /// When it arrived.
    pub received: Wall,
    /// After this it is not done any more.
    #[serde(default)]
    pub not_after: Option<Wall>,
    /// Tries begun, the one under way included.
    #[serde(default)]
    pub attempts: u32,
}

impl Inbox {
    /// A message that is handled at once: its first try is counted in the record that makes it durable.
    pub fn new(n: u64, device: DeviceId, kind: InboxKind, payload: Value, now: Wall) -> Self {
        let not_after = if now.0 == 0 { None } else { kind.lifetime().map(|life| later(now, life)) };
        Self { n, device, kind, payload, received: now, not_after, attempts: 1 }
    }

    fn key(&self, space: Space) -> Key {
        of_device(space, &self.device).u64(self.n)
    }
}

/// A message that was put aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The message.
    pub message: Inbox,
    /// Why, for people.
    pub reason: String,
    /// When.
    pub at: Wall,
}

/// What to do with a message found at start. The batch must be durable before the rest is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Try it; the batch counts the try.
    Try(Inbox, Batch),
    /// Too old: tell the device and the lifelog that it was interrupted; the batch removes it.
    Interrupted(Inbox, Batch),
    /// It ended the gateway too often: the batch puts it aside.
    Quarantine(Quarantined, Batch),
}

/// Decides about a message found at start. While the clock is unset nothing is too old.
pub fn next(mut message: Inbox, now: Wall) -> Result<Next, StoreError> {
    let mut batch = Batch::new();
    if now.0 > 0 && message.not_after.is_some_and(|at| at < now) {
        batch.delete(message.key(Space::Inbox));
        return Ok(Next::Interrupted(message, batch));
    }
    if message.attempts >= UNCLEAN {
        let reason = format!("the gateway ended {} times while it was handled", message.attempts);
        batch.delete(message.key(Space::Inbox));
        let put_aside = Quarantined { message, reason, at: now };
        put_json(&mut batch, put_aside.message.key(Space::Quarantine), &put_aside)?;
        return Ok(Next::Quarantine(put_aside, batch));
    }
    message.attempts += 1;
    put(&mut batch, &message)?;
    Ok(Next::Try(message, batch))
}

/// Writes a message.
pub fn put(batch: &mut Batch, message: &Inbox) -> Result<(), StoreError> {
    put_json(batch, message.key(Space::Inbox), message)
}

/// Its effect is in the same batch: the message goes.
pub fn done(batch: &mut Batch, device: &DeviceId, n: u64) {
    batch.delete(of_device(Space::Inbox, device).u64(n));
}

/// The gateway stops cleanly in the middle of it: the try does not count.
pub fn release(batch: &mut Batch, message: &Inbox) -> Result<(), StoreError> {
    put(batch, &Inbox { attempts: message.attempts.saturating_sub(1), ..message.clone() })
}

/// What was not done of a device's, oldest first, at most `limit`.
pub async fn list(store: &dyn Store, device: &DeviceId, limit: usize) -> Result<Vec<Inbox>, StoreError> {
    list_json(store, of_device(Space::Inbox, device), limit).await
}

/// What was not done of one kind, of all devices, among the first `limit` messages.
pub async fn list_kind(store: &dyn Store, kind: InboxKind, limit: usize) -> Result<Vec<Inbox>, StoreError> {
    let mut found: Vec<Inbox> = list_json(store, Key::new(Space::Inbox), limit).await?;
    found.retain(|message| message.kind == kind);
    Ok(found)
}

/// What was not done of all devices, by device and age, at most `limit`.
pub async fn list_all(store: &dyn Store, limit: usize) -> Result<Vec<Inbox>, StoreError> {
    list_json(store, Key::new(Space::Inbox), limit).await
}

/// What was put aside, of one device or of all, at most `limit`.
pub async fn list_quarantined(
    store: &dyn Store,
    device: Option<&DeviceId>,
    limit: usize,
) -> Result<Vec<Quarantined>, StoreError> {
    let prefix = device.map_or_else(|| Key::new(Space::Quarantine), |device| of_device(Space::Quarantine, device));
    list_json(store, prefix, limit).await
}

/// Takes a message back into the inbox, as if it had just arrived; false when there is none.
pub async fn retry_quarantined(
    store: &dyn Store,
    batch: &mut Batch,
    device: &DeviceId,
    n: u64,
    now: Wall,
) -> Result<bool, StoreError> {
    let key = of_device(Space::Quarantine, device).u64(n);
    let Some(put_aside) = get_json::<Quarantined>(store, key.clone()).await? else { return Ok(false) };
    batch.delete(key);
    let message = put_aside.message;
    let not_after = message.kind.lifetime().filter(|_| now.0 > 0).map(|life| later(now, life.max(RETRIED)));
    put(batch, &Inbox { attempts: 0, not_after, ..message })?;
    Ok(true)
}

/// Drops a message that was put aside; false when there is none.
pub async fn drop_quarantined(
    store: &dyn Store,
    batch: &mut Batch,
    device: &DeviceId,
    n: u64,
) -> Result<bool, StoreError> {
    let key = of_device(Space::Quarantine, device).u64(n);
    let there = get_json::<Quarantined>(store, key.clone()).await?.is_some();
    batch.delete(key);
    Ok(there)
}

fn later(now: Wall, time: Duration) -> Wall {
    Wall(now.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}
