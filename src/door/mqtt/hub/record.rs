//! What the door keeps in the store: retained messages, sessions, what waits for them.
//!
//! Keys in `Space::Mqtt`: `r` topic; `s` user, client id; `q` user, client id, number; `i` user, client id, packet id.
//! A message is one line of JSON and the bytes of an MQTT 5 PUBLISH.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::inflight::Stage;
use super::session::{Copy, Options};
use crate::domain::{DeviceId, Wall};
use crate::door::mqtt::codec::{self, Packet, PublishHead, Version};
use crate::door::mqtt::message::Message;
use crate::door::rights::Caller;
use crate::store::{Batch, Key, Range, Space, Store, StoreError};
use crate::topics::{Role, Who};

const RETAINED: u8 = b'r';
const SESSION: u8 = b's';
const QUEUED: u8 = b'q';
const RECEIVED: u8 = b'i';
/// Records read at once.
const PAGE: usize = 256;

/// A session without its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::door::mqtt) struct SessionRecord {
    pub owner: Caller,
    pub expiry: u32,
    /// When its last connection ended; 0 while there is one, or when the time is not known.
    pub left: Wall,
    pub filters: Vec<(String, Options)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SessionJson {
    user: String,
    client_id: String,
    #[serde(flatten)]
    who: WhoJson,
    expiry_s: u32,
    #[serde(default)]
    left: Wall,
    filters: Vec<(String, Options)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhoJson {
    Device(DeviceId),
    Operator(Role),
    Anonymous(()),
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// When it was published, ms since 1970; 0 is not known.
    at: Wall,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    released: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ids: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    share: Option<Arc<str>>,
}

/// What was kept of a session.
#[derive(Debug, Default)]
pub(in crate::door::mqtt) struct Kept {
    pub filters: Vec<(Box<str>, Options)>,
    pub received: Vec<u16>,
    pub messages: Vec<(Stage, Copy)>,
}

/// Everything that was kept.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub retained: Vec<Arc<Message>>,
    pub sessions: Vec<(SessionRecord, Kept)>,
    /// Records that could not be read: they stay where they are.
    pub unreadable: usize,
    /// Removes what belongs to no session any more.
    pub orphans: Batch,
}

fn key(kind: u8) -> Key {
    Key::new(Space::Mqtt).byte(kind)
}

fn of(kind: u8, owner: &Caller) -> Key {
    key(kind).text(&owner.user).text(&owner.client)
}

/// Writes a session.
pub(super) fn put_session(batch: &mut Batch, record: &SessionRecord) {
    let SessionRecord { owner, expiry, left, filters } = record;
    let who = match &owner.who {
        Who::Device(device) => WhoJson::Device(device.clone()),
        Who::Operator(role) => WhoJson::Operator(*role),
        Who::Anonymous => WhoJson::Anonymous(()),
    };
    let (user, client_id) = (owner.user.to_string(), owner.client.to_string());
    let json = SessionJson { user, client_id, who, expiry_s: *expiry, left: *left, filters: filters.clone() };
    // texts and numbers only: it cannot fail
    batch.put(of(SESSION, owner), serde_json::to_vec(&json).unwrap_or_default());
}

/// Removes a session with the messages of these numbers.
pub(super) fn delete_session(batch: &mut Batch, owner: &Caller, numbers: &[u64], received: &[u16]) {
    batch.delete(of(SESSION, owner));
    for number in numbers {
        delete_message(batch, owner, *number);
    }
    for id in received {
        delete_received(batch, owner, *id);
    }
}

/// Writes a message that waits for a session, or that it has received but not completed.
pub(super) fn put_message(batch: &mut Batch, owner: &Caller, number: u64, copy: &Copy, stage: Stage) {
    let released = stage == Stage::Comp;
    let head = Head { at: copy.message.wall, released, ids: copy.subscriptions.clone(), share: copy.share.clone() };
    // of a message that is released only the id is needed
    let payload: &[u8] = if released { &[] } else { &copy.message.payload };
    batch.put(of(QUEUED, owner).u64(number), pack(&head, &copy.message, copy.qos, copy.retain, payload));
}

pub(super) fn delete_message(batch: &mut Batch, owner: &Caller, number: u64) {
    batch.delete(of(QUEUED, owner).u64(number));
}

/// Notes the packet id of a QoS 2 publish that its client has not released.
pub(super) fn put_received(batch: &mut Batch, owner: &Caller, id: u16) {
    batch.put(of(RECEIVED, owner).u32(id.into()), Vec::new());
}

pub(super) fn delete_received(batch: &mut Batch, owner: &Caller, id: u16) {
    batch.delete(of(RECEIVED, owner).u32(id.into()));
}

/// Writes or removes a retained message.
pub(super) fn put_retained(batch: &mut Batch, message: &Message) {
    if message.payload.is_empty() {
        return delete_retained(batch, message);
    }
    let head = Head { at: message.wall, released: false, ids: Vec::new(), share: None };
    let bytes = pack(&head, message, message.qos, true, &message.payload);
    batch.put(key(RETAINED).text(&message.topic), bytes);
}

/// Removes a retained message.
pub(super) fn delete_retained(batch: &mut Batch, message: &Message) {
    batch.delete(key(RETAINED).text(&message.topic));
}

fn pack(head: &Head, message: &Message, qos: u8, retain: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::from(&serde_json::to_vec(head).unwrap_or_default()[..]);
    out.extend_from_slice(b"\n");
    let expiry = message.props.as_ref().and_then(|p| p.expiry);
    let publish = PublishHead { qos, retain, id: 1, props: message.props.as_deref(), expiry, ..PublishHead::default() };
    codec::publish(&mut out, Version::V5, publish, &message.topic, payload);
    out.to_vec()
}

fn unpack(bytes: &[u8], now: Wall) -> Option<(Head, Message)> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let head: Head = serde_json::from_slice(bytes.get(..end)?).ok()?;
    let packet = bytes.get(end + 1..)?;
    let frame = codec::frame(packet, usize::MAX).ok()??;
    let body = Bytes::copy_from_slice(packet.get(frame.header..frame.header + frame.body)?);
    let Packet::Publish(publish) = codec::decode(Version::V5, frame.first, body).ok()? else { return None };
    // its age goes on counting while the gateway is down, as far as the clock is known
    let age = if now.0 == 0 || head.at.0 == 0 { 0 } else { now.0.saturating_sub(head.at.0) };
    let at = Instant::now();
    let at = at.checked_sub(Duration::from_millis(age)).unwrap_or(at);
    let message = Message {
        props: publish.props,
        at,
        wall: head.at,
        ..Message::new(publish.topic.as_str(), publish.payload, publish.qos, publish.retain)
    };
    Some((head, message))
}

/// Reads everything. `now` is wall time, for what has expired meanwhile.
pub(super) async fn load(store: &dyn Store, now: Wall) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let mut by_owner: HashMap<Vec<u8>, Kept> = HashMap::new();
    let mut keys: Vec<(Vec<u8>, Key)> = Vec::new();
    for (key, bytes) in scan(store, RETAINED).await? {
        match unpack(&bytes, now) {
            Some((_, message)) => found.retained.push(Arc::new(message)),
            None => found.note(&key),
        }
    }
    for (key, bytes) in scan(store, QUEUED).await? {
        let Some((owner, number)) = split_number::<8>(&key) else { continue };
        keys.push((owner.clone(), key.clone()));
        let Some((head, message)) = unpack(&bytes, now) else {
            found.note(&key);
            continue;
        };
        let number = u64::from_be_bytes(number);
        let stage = if head.released { Stage::Comp } else { Stage::Rec };
        let copy = Copy {
            qos: message.qos,
            retain: message.retain,
            message: Arc::new(message),
            subscriptions: head.ids,
            from_store: false,
            share: head.share,
            number: Some(number),
            again: true,
        };
        by_owner.entry(owner).or_default().messages.push((stage, copy));
    }
    for (key, _) in scan(store, RECEIVED).await? {
        let Some((owner, id)) = split_number::<4>(&key) else { continue };
        keys.push((owner.clone(), key.clone()));
        let id = u16::try_from(u32::from_be_bytes(id)).unwrap_or(0);
        by_owner.entry(owner).or_default().received.push(id);
    }
    for (key, bytes) in scan(store, SESSION).await? {
        let Ok(json) = serde_json::from_slice::<SessionJson>(&bytes) else {
            found.note(&key);
            // what waits for it stays, too
            by_owner.remove(key.as_bytes().get(2..).unwrap_or_default());
            continue;
        };
        let who = match json.who {
            WhoJson::Device(device) => Who::Device(device),
            WhoJson::Operator(role) => Who::Operator(role),
            WhoJson::Anonymous(()) => Who::Anonymous,
        };
        let owner = Caller { user: json.user.into(), client: json.client_id.into(), who };
        let mut kept = by_owner.remove(&name_of(&owner)).unwrap_or_default();
        kept.filters = json.filters.iter().map(|(f, o)| (f.as_str().into(), *o)).collect();
        let SessionJson { expiry_s: expiry, left, filters, .. } = json;
        found.sessions.push((SessionRecord { owner, expiry, left, filters }, kept));
    }
    for (_, key) in keys.into_iter().filter(|(owner, _)| by_owner.contains_key(owner)) {
        found.orphans.delete(key);
    }
    Ok(found)
}

impl Found {
    fn note(&mut self, key: &Key) {
        self.unreadable += 1;
        tracing::warn!(?key, "record of the mqtt door cannot be read, it is left alone");
    }
}

/// The part of a key between its kind and its number.
fn name_of(owner: &Caller) -> Vec<u8> {
    of(0, owner).as_bytes().get(2..).unwrap_or_default().to_vec()
}

fn split_number<const N: usize>(key: &Key) -> Option<(Vec<u8>, [u8; N])> {
    let (owner, number) = key.as_bytes().get(2..)?.split_last_chunk::<N>()?;
    Some((owner.to_vec(), *number))
}

async fn scan(store: &dyn Store, kind: u8) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
    let (mut from, to) = (key(kind), key(kind).after_prefix());
    let mut records = Vec::new();
    loop {
        let range = Range { from: from.clone(), to: to.clone(), limit: PAGE, backwards: false };
        let page = store.scan(range).await?.records;
        let Some((last, _)) = page.last() else { return Ok(records) };
        from = last.clone().byte(0);
        records.extend(page);
    }
}
