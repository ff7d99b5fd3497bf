//! The seams between the doors, the router and delivery.
//!
//! A door hands what arrives to an [`Ingress`] and offers each connection as a [`Link`]; delivery
//! writes to links; sessions and pipelines see delivery as a [`DownlinkSink`] and operators as
//! [`Bulletins`].

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::{AudioPacket, DeviceId, Downlink, Event, LinkId, Origin, Uplink};

/// MQTT's quality of service, also where the transport is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QoS {
    /// At most once.
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
    /// Exactly once.
    ExactlyOnce,
}

/// What became of an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is on disk.
    Durable,
    /// It was taken; nothing of it needs the disk.
    Taken,
    /// It was not taken, and sending it again would not help (but for `Storage`).
    Refused(Refusal),
}

/// Why an uplink was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The bytes are no message of this topic.
    Malformed,
    /// The device may not do this.
    NotAllowed,
    /// A limit is reached.
    Quota,
    /// The store cannot take it now; sending it again may help.
    Storage,
    /// A fault of ours.
    Internal,
}

impl Refusal {
    /// The label in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed",
            Refusal::NotAllowed => "not_allowed",
            Refusal::Quota => "quota",
            Refusal::Storage => "storage",
            Refusal::Internal => "internal",
        }
    }
}

/// Owed to the sender of an uplink. Dropped unsettled it closes, which means that the uplink was lost on its way and
/// may be sent again; dropped by a panic it says `Refused(Internal)`: what breaks us once would break us again.
#[derive(Debug, Default)]
pub struct Receipt(Option<oneshot::Sender<Settled>>);

impl Receipt {
    /// A receipt that somebody waits for. A closed channel means that the uplink was lost.
    pub fn new() -> (Self, oneshot::Receiver<Settled>) {
        let (tx, rx) = oneshot::channel();
        (Self(Some(tx)), rx)
    }

    /// Nobody waits.
    pub fn none() -> Self {
        Self(None)
    }

    /// Says what became of the uplink.
    pub fn settle(mut self, settled: Settled) {
        if let Some(tx) = self.0.take() {
            // the sender of the uplink may be gone: then nobody is owed anything
            let _ = tx.send(settled);
        }
    }

    /// Somebody waits for the answer.
    pub fn wanted(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(tx) = self.0.take()
        {
            let _ = tx.send(Settled::Refused(Refusal::Internal));
        }
    }
}

/// Where doors put what arrives. Implemented by the router.
pub trait Ingress: Send + Sync {
    /// A device's connection is authenticated and ready for downlinks.
    fn link_up(&self, device: &DeviceId, link: Arc<dyn Link>);

    /// A device's connection is gone.
    fn link_down(&self, device: &DeviceId, link: LinkId);

    /// Takes an audio packet. Never waits: a full lane drops its oldest packet and counts it.
    fn audio(&self, origin: Origin, packet: AudioPacket);

    /// Takes anything else. Waits while the session's control lane is full: the door stops
    /// reading that one socket meanwhile.
    fn deliver(&self, uplink: Uplink) -> BoxFuture<'_, ()>;
}

/// Where operators' commands go: what is published on `gateway/{gateway}/command/{id}/{name}`.
pub trait Commands: Send + Sync {
    /// Does `name` (`say`, `abort`, `reboot`) to a device. The payload is JSON or plain text, not yet read.
    fn command(&self, device: DeviceId, name: &str, payload: Bytes) -> BoxFuture<'static, Result<(), Refusal>>;
}

/// A packet for one connection.
#[derive(Debug, Clone)]
pub struct LinkPacket {
    /// The topic (or, where the transport has none, what a topic would have been).
    pub topic: Arc<str>,
    /// The bytes.
    pub payload: Bytes,
    /// How sure.
    pub qos: QoS,
    /// What a cancelled turn drops.
    pub kind: PacketKind,
}

/// What a packet is for the link's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    /// Never dropped: a full queue refuses it.
    Control,
    /// Dropped by [`Link::clear_audio`].
    Audio,
}

/// A link's queue is full, or the link is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The device does not read fast enough.
    #[error("the link's queue is full")]
    Full,
    /// The connection is gone.
    #[error("the link is gone")]
    Gone,
}

/// One live connection of a device, for delivery to write to.
pub trait Link: Send + Sync + fmt::Debug {
    /// Which.
    fn id(&self) -> LinkId;

    /// Queues a packet; never waits. Packets leave in order, control and audio alike.
    fn send(&self, packet: LinkPacket) -> Result<(), SendError>;

    /// Drops queued audio that is not yet written to the socket; returns how many packets.
    fn clear_audio(&self) -> usize;

    /// Ends the connection, with a reason for the log (and for the peer where the protocol has one).
    fn close(&self, reason: &'static str);

    /// Which dialect the device speaks, when that is known before it has said anything.
    fn dialect(&self) -> Option<&'static str> {
        None
    }

    /// The address of ours that the device connected to, and its own.
    fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        None
    }

    /// It has topics; else audio and control go over it as they are, and it tells them apart by their kind.
    fn has_topics(&self) -> bool {
        true
    }
}

/// The device has no live link (or it refuses).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no live link takes it")]
pub struct NoRoom;

/// Where sessions and pipelines put what a device shall get now. Implemented by delivery.
pub trait DownlinkSink: Send + Sync {
    /// Sends over the device's live link; never waits.
    fn send(&self, device: &DeviceId, downlink: Downlink) -> Result<(), NoRoom>;

    /// Drops queued frames of speech that are not yet written to the socket.
    fn clear_audio(&self, device: &DeviceId) -> usize;

    /// The conversation is over: what was opened for its audio is closed.
    fn hang_up(&self, _device: &DeviceId) {}

    /// The address of ours that the device is connected to, and its own, where its link knows them.
    fn addresses(&self, _device: &DeviceId) -> Option<(IpAddr, IpAddr)> {
        None
    }
}

/// Where anybody puts what operators may watch. Implemented by the door's bus; never waits,
/// drops and counts when watchers are too slow.
pub trait Bulletins: Send + Sync {
    /// Publishes an event on `gateway/{gateway}/event/{id}/{kind}`.
    fn event(&self, event: Event);

    /// Publishes bytes on a topic; `retain` keeps the last one for new subscribers.
    fn publish(&self, topic: &str, payload: Bytes, qos: QoS, retain: bool);

    /// Somebody subscribes to this topic: a copy of audio is worth making.
    fn watched(&self, topic: &str) -> bool;
}
