//! What every connection shares: the parts of the gateway that the door talks to, and its own registers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::broker::Broker;
use super::codec::Will;
use super::message::Message;
use super::metrics::Metrics;
use super::registry::Registry;
use super::settings::Settings;
use super::sys::Sys;
use super::transport::tls::Tls;
use crate::domain::{
    Arrivals, Body, Clock, Commands, DeviceId, Event, EventKind, Ingress, LinkId, Origin, Path, QoS, Receipt, Refusal,
    Settled, Stream, Uplink,
};
use crate::door::credentials::Credentials;
use crate::door::quiet::Quiet;
use crate::door::rights::{Caller, Destination, Rights};
use crate::topics::Table;
use crate::wire::{self, WireErrorKind};

/// How long a will may take to be handed on.
const WILL: Duration = Duration::from_secs(1);
/// How often the house is kept.
const HOUSE: Duration = Duration::from_millis(500);

/// Shared by all connections of one door.
pub(super) struct Gate {
    pub settings: Settings,
    /// When a listener needs it.
    pub tls: Option<Arc<Tls>>,
    pub ingress: Arc<dyn Ingress>,
    pub commands: Arc<dyn Commands>,
    pub credentials: Arc<Credentials>,
    pub table: Arc<Table>,
    pub rights: Arc<Rights>,
    pub broker: Arc<dyn Broker>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub registry: Registry,
    arrivals: Arrivals,
    quiet: Quiet,
    /// When the accept loop last went round.
    accepted: Mutex<Instant>,
}

impl Gate {
    pub fn new(settings: Settings, tls: Option<Arc<Tls>>, parts: Parts) -> Self {
        let Parts { ingress, commands, credentials, table, rights, bus, clock, arrivals, metrics } = parts;
        let registry = Registry::default();
        Self {
            settings,
            tls,
            ingress,
            commands,
            credentials,
            table,
            rights,
            broker: bus,
            clock,
            metrics,
            registry,
            arrivals,
            quiet: Quiet::default(),
            accepted: Mutex::new(Instant::now()),
        }
    }

    /// The accept loop goes round.
    pub fn accepting(&self) {
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Since when it did not.
    pub fn not_accepting_for(&self) -> Duration {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// The number of a new connection.
    pub fn next_link(&self) -> LinkId {
        self.arrivals.link()
    }

    /// Writes the retained status of a device.
    pub fn status(&self, device: &DeviceId, online: bool) {
        let payload = Bytes::from_static(if online { b"online" } else { b"offline" });
        self.broker.publish(&self.table.status_topic(device), payload, QoS::AtLeastOnce, true);
    }

    /// Two machines fight for one identity: an operator should know both addresses.
    pub fn alert_duplicate(&self, device: &DeviceId, old: SocketAddr, new: SocketAddr) {
        tracing::warn!(%device, %old, %new, "two connections fight for one device, newcomers are refused");
        let detail = json!({
            "alert": "duplicate_device", "device": device.as_str(),
            "addresses": [old.ip().to_string(), new.ip().to_string()],
        });
        let at = self.clock.wall();
        self.broker.event(Event { device: Some(device.clone()), at, kind: EventKind::Alert, detail });
    }

    /// Shows watchers what a device said or heard, when there are any.
    pub fn mirror(&self, topic: &str, payload: &Bytes, session: u64, downlink: bool) {
        if self.broker.watched_by_others(topic, session) {
            let (from, direct) = if downlink { (None, Some(session)) } else { (Some(session), None) };
            self.broker.copy(Message { from, direct, ..Message::new(topic, payload.clone(), 0, false) });
        }
    }

    /// Takes an uplink. Audio and refusals are settled at once; the future of anything else waits for its lane.
    pub fn uplink(
        &self,
        link: LinkId,
        device: DeviceId,
        (dialect, stream): (&'static str, Stream),
        payload: &Bytes,
        receipt: Receipt,
    ) -> Option<BoxFuture<'static, ()>> {
        let body = match wire::decode(dialect, stream, payload, &device) {
            Ok(body) => body,
            Err(error) => {
                let refusal = match error.kind {
                    WireErrorKind::Identity => Refusal::NotAllowed,
                    _ => Refusal::Malformed,
                };
                self.metrics.dropped(refusal.name());
                if let Some(unsaid) = self.may_log() {
                    let (stream, bytes) = (stream.name(), payload.len());
                    tracing::warn!(%device, stream, bytes, %error, unsaid, "malformed uplink dropped");
                }
                receipt.settle(Settled::Refused(refusal));
                return None;
            }
        };
        let arrival = self.arrivals.next();
        let origin = Origin { device, link, arrival, at: self.clock.mono(), dialect, path: Path::Connection };
        if let Body::Audio(packet) = body {
            self.ingress.audio(origin, packet);
            receipt.settle(Settled::Taken);
            return None;
        }
        let ingress = self.ingress.clone();
        Some(Box::pin(async move { ingress.deliver(Uplink { origin, body, receipt }).await }))
    }

    /// Does what an operator commands; the future ends when it is done and settled.
    pub fn command(
        &self,
        (device, name): (DeviceId, &str),
        topic: &str,
        payload: &Bytes,
        session: u64,
        receipt: Receipt,
    ) -> BoxFuture<'static, ()> {
        self.mirror(topic, payload, session, false);
        let doing = self.commands.command(device, name, payload.clone());
        Box::pin(async move {
            receipt.settle(match doing.await {
                Ok(()) => Settled::Taken,
                Err(refusal) => Settled::Refused(refusal),
            });
        })
    }

    /// A will, as if its client published it now. Its rights are asked again: they may have changed.
    pub async fn publish_will(&self, owner: &Caller, from: Option<(LinkId, u64)>, will: Will) {
        let topic = will.topic.as_str();
        if self.rights.is_own_status(owner, topic) {
            return; // the door writes it from the connection itself
        }
        let work: Option<BoxFuture<'static, ()>> = match self.rights.destination(owner, topic) {
            Some(Destination::Uplink { dialect, stream, device }) => {
                let (link, session) = from.unwrap_or((LinkId(0), 0));
                self.mirror(topic, &will.payload, session, false);
                self.uplink(link, device, (dialect, stream), &will.payload, Receipt::none())
            }
            Some(Destination::Bus) => {
                let Will { qos, retain, props, payload, .. } = &will;
                let mut message = Message::new(topic, Bytes::copy_from_slice(payload), *qos, *retain);
                (message.props, message.from) = (props.clone(), from.map(|(_, session)| session));
                message.wall = self.clock.wall();
                // a bus that is off has nobody to tell
                Some(self.broker.clone().carry(message, Receipt::none()))
            }
            Some(Destination::Command { .. }) | None => None,
        };
        if let Some(work) = work
            && tokio::time::timeout(WILL, work).await.is_err()
        {
            self.metrics.dropped("will");
        }
    }

    /// Once a second until `stop`: what is due is done, what is expired is forgotten.
    pub async fn keep_house(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(HOUSE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rights = self.rights.changed();
        let mut sys = Sys::new(Instant::now());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = rights.changed() => {
                    let gone = self.broker.recheck();
                    tracing::info!(gone, "rules have changed, subscriptions that they do not allow are gone");
                }
                _ = tick.tick() => {}
            }
            // together: the house waits for the slowest of them, not for all in turn
            let due = self.broker.due(Instant::now()).into_iter();
            join_all(due.map(async |(owner, will)| self.publish_will(&owner, None, will).await)).await;
            let figures = self.broker.figures();
            self.metrics.figures(&figures);
            sys.publish(&self, &figures, Instant::now());
        }
    }

    /// May a line about bad input be logged now: one a second at most, whoever is to blame. Says how many were not
    /// since the last one.
    pub fn may_log(&self) -> Option<u64> {
        self.quiet.may_log()
    }
}
