//! All channels, by ssrc and by device: what delivery opens and writes to, and what datagrams are looked up in.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::Parts;
use super::channel::{Channel, Moved, Route, Unsent};
use super::metrics::{Cause, Down};
use super::outbox::{Outbox, Sent};
use super::quiet::Quiet;
use super::settings::Settings;
use super::socket::Socket;
use crate::domain::{
    AudioPacket, Datagrams, DeviceId, Ingress, Link, LinkId, MediaOffer, Origin, Path, SendError, SpokenFrame,
};
use crate::wire::xiaozhi::datagram::{Header, Unfit, template};

struct Open {
    ssrc: u32,
    device: DeviceId,
    link: LinkId,
    dialect: &'static str,
    channel: Mutex<Channel>,
}

impl Open {
    fn channel(&self) -> MutexGuard<'_, Channel> {
        // each change is whole before anything is called that could panic
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Known {
    by_ssrc: HashMap<u32, Arc<Open>>,
    by_device: HashMap<DeviceId, Arc<Open>>,
}

impl Known {
    fn remove(&mut self, device: &DeviceId) -> Option<Arc<Open>> {
        let open = self.by_device.remove(device)?;
        self.by_ssrc.remove(&open.ssrc);
        Some(open)
    }
}

/// The channels of all devices. Made before the router, which it needs for nothing but [`super::Door::run`].
pub struct Channels {
    settings: Settings,
    address: SocketAddr,
    parts: Parts,
    outbox: Outbox,
    known: RwLock<Known>,
    quiet: [Quiet; Cause::ALL.len()],
    unanswered: Quiet,
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").field("address", &self.address).field("open", &self.len()).finish_non_exhaustive()
    }
}

impl Channels {
    pub(super) fn new(settings: Settings, parts: Parts, socket: Arc<Socket>) -> Self {
        let address = socket.address();
        let outbox = Outbox::new(socket, settings.queue, parts.metrics.clone());
        Self {
            settings,
            address,
            parts,
            outbox,
            known: RwLock::default(),
            quiet: Default::default(),
            unanswered: Quiet::default(),
        }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.known().by_ssrc.len()
    }

    /// None is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn now(&self) -> Duration {
        self.parts.clock.mono()
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, device: &DeviceId) -> Option<Arc<Open>> {
        self.known().by_device.get(device).cloned()
    }

    /// Takes a datagram: what counts goes to `ingress`, in order. `packets` is room to work in, empty between calls.
    pub(super) fn receive(&self, datagram: &[u8], route: Route, ingress: &dyn Ingress, packets: &mut Vec<AudioPacket>) {
        let header = match Header::read(datagram) {
            Ok(header) => header,
            Err(unfit) => {
                let cause = if unfit == Unfit::Kind { Cause::Kind } else { Cause::Length };
                return self.dropped(cause, route.peer, None);
            }
        };
        let open = self.known().by_ssrc.get(&header.ssrc).cloned();
        let Some(open) = open else { return self.dropped(Cause::UnknownSsrc, route.peer, None) };
        let now = self.now();
        let judged = open.channel().receive((header, datagram), route, (now, self.settings.hold.0), packets);
        match judged {
            Ok(moved) => {
                self.parts.metrics.taken();
                if let Some(moved) = moved {
                    self.moved(&open.device, moved);
                }
            }
            Err(cause) => self.dropped(cause, route.peer, Some(&open.device)),
        }
        for packet in packets.drain(..) {
            let (device, arrival) = (open.device.clone(), self.parts.arrivals.next());
            let (link, dialect, path) = (open.link, open.dialect, Path::Datagram);
            ingress.audio(Origin { device, link, arrival, at: now, dialect, path }, packet);
        }
    }

    fn moved(&self, device: &DeviceId, Moved { from, to }: Moved) {
        match from {
            None => tracing::debug!(%device, peer = %to, "address of a device learned"),
            Some(from) => {
                self.parts.metrics.moved();
                tracing::info!(%device, %from, peer = %to, "device goes on from another address");
            }
        }
    }

    fn dropped(&self, cause: Cause, peer: SocketAddr, device: Option<&DeviceId>) {
        self.parts.metrics.dropped(cause);
        if cause.harmless() {
            return;
        }
        if let Some(unsaid) = self.quiet[cause as usize].may_say(self.now()) {
            let (device, cause) = (device.map(tracing::field::display), cause.name());
            tracing::warn!(%peer, device, cause, unsaid, "datagram dropped");
        }
    }

    /// Ends the channels that nothing uses.
    pub(super) fn sweep(&self) {
        let (now, idle) = (self.now(), self.settings.idle.0);
        let unused = |open: &Arc<Open>| open.channel().idle(now) >= idle;
        let ended: Vec<_> = self.known().by_device.values().filter(|open| unused(open)).cloned().collect();
        for open in ended {
            // the device may have opened another one meanwhile
            self.end(&open.device, "idle", |now| now.ssrc == open.ssrc);
        }
    }

    /// Ends all channels.
    pub(super) fn end_all(&self) {
        let devices: Vec<_> = self.known().by_device.keys().cloned().collect();
        for device in devices {
            self.end(&device, "shutdown", |_| true);
        }
    }

    fn end(&self, device: &DeviceId, reason: &'static str, which: impl Fn(&Open) -> bool) {
        let mut known = self.known_mut();
        if !known.by_device.get(device).is_some_and(|open| which(open)) {
            return;
        }
        let ended = known.remove(device);
        self.parts.metrics.channels(known.by_ssrc.len());
        drop(known);
        if let Some(ended) = ended {
            self.outbox.clear(ended.ssrc);
            self.parts.metrics.ended(reason);
            tracing::debug!(%device, reason, "channel for datagrams ended");
        }
    }

    fn refused(&self, device: &DeviceId, result: &'static str, why: &dyn fmt::Display) {
        self.parts.metrics.opened(result);
        if let Some(unsaid) = self.unanswered.may_say(self.now()) {
            tracing::warn!(%device, %why, unsaid, "a device gets no channel for datagrams");
        }
    }
}

impl Datagrams for Channels {
    fn open(&self, device: &DeviceId, link: &dyn Link, dialect: &'static str) -> Option<MediaOffer> {
        self.end(device, "replaced", |_| true);
        let (host, port) = match self.settings.host(link.addresses(), self.address) {
            Ok(told) => told,
            Err(error) => {
                self.refused(device, "no_host", &format_args!("{error}: add [[udp.public]]"));
                return None;
            }
        };
        let key = (self.parts.random)().to_be_bytes();
        let [mut ssrc, ..] = words((self.parts.random)());
        let mut known = self.known_mut();
        if known.by_ssrc.len() >= self.settings.channels {
            drop(known);
            self.refused(device, "limit", &"udp.channels are open");
            return None;
        }
        while ssrc == 0 || known.by_ssrc.contains_key(&ssrc) {
            ssrc = ssrc.wrapping_add(1);
        }
        let channel = Mutex::new(Channel::new(ssrc, &key, self.now()));
        let open = Arc::new(Open { ssrc, device: device.clone(), link: link.id(), dialect, channel });
        known.by_ssrc.insert(ssrc, Arc::clone(&open));
        // another hello of the same device may have come in between: the last one counts
        if let Some(former) = known.by_device.insert(device.clone(), open) {
            known.by_ssrc.remove(&former.ssrc);
            self.parts.metrics.ended("replaced");
        }
        self.parts.metrics.opened("ok");
        self.parts.metrics.channels(known.by_ssrc.len());
        Some(MediaOffer { host, port, key, nonce: template(ssrc) })
    }

    fn send(&self, device: &DeviceId, frame: &SpokenFrame) -> Result<(), SendError> {
        let Some(open) = self.of(device) else {
            self.parts.metrics.down(Down::NoChannel);
            return Err(SendError::Gone);
        };
        // held until the socket has it: a channel's datagrams leave in the order of their numbers
        let mut channel = open.channel();
        let sealed = channel.seal(&frame.packet, self.now());
        let sent = sealed.map(|(route, datagram)| self.outbox.send(open.ssrc, route, datagram));
        drop(channel);
        let (what, answer) = match sent {
            Ok(Sent::Now) => (Down::Sent, Ok(())),
            Ok(Sent::Later) => return Ok(()),
            // lost, as any datagram may be: a way that is gone now may be there for the next one
            Ok(Sent::Refused) => (Down::Error, Ok(())),
            Err(Unsent::NoAddress) => (Down::NoAddress, Err(SendError::Gone)),
            Err(Unsent::TooLong) => (Down::TooLong, Err(SendError::Full)),
        };
        self.parts.metrics.down(what);
        answer
    }

    fn clear(&self, device: &DeviceId) -> usize {
        self.of(device).map_or(0, |open| self.outbox.clear(open.ssrc))
    }

    fn close(&self, device: &DeviceId, link: Option<LinkId>) {
        self.end(device, "closed", |open| link.is_none_or(|link| link == open.link));
    }
}

/// The four words of a number.
fn words(number: u128) -> [u32; 4] {
    let bytes = number.to_be_bytes();
    std::array::from_fn(|at| u32::from_be_bytes(std::array::from_fn(|byte| bytes[at * 4 + byte])))
}

/// How often idle channels are looked for.
pub(super) fn sweep_every(idle: Duration) -> Duration {
    (idle / 8).clamp(Duration::from_millis(100), Duration::from_secs(15))
}
