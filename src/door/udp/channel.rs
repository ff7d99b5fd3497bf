//! One channel: what a datagram must be before it counts as the device's, and what goes to the device.
//!
//! Nothing authenticates a datagram. So a number is taken once; an address is learned and moved only by datagrams whose
//! number lies just ahead and which decipher to something that begins as speech does; and what would change a channel
//! that is well (another address, a number far ahead) has to be confirmed by what follows, all of it as long in time as what
//! the device sent before. It is held back until then, and so lost to nobody. Pure: no socket, no clock.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::metrics::Cause;
use super::window::{Place, SIZE, Window};
use crate::domain::{AudioPacket, Codec, DOWN_FRAME_MS};
use crate::wire::xiaozhi::datagram::{Cipher, Header, Unfit};

/// A number up to so far ahead is taken as it is: the mark then still leaves room for all that it passed, so that no
/// single datagram can make a channel deaf.
const AHEAD: u32 = SIZE - 1;
/// How many datagrams in a row must come from another address before the channel moves there.
const MOVE: u8 = 3;
/// What is to be confirmed is forgotten after so long. A silent device sends each 400 ms.
const TRIAL: Duration = Duration::from_secs(3);

/// Which way datagrams take: the device's address, and that of ours which it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub peer: SocketAddr,
    pub local: Option<IpAddr>,
}

/// An address that is the channel's.
#[derive(Debug, Clone, Copy)]
struct Peer {
    route: Route,
    /// When something valid last came from there.
    heard: Duration,
}

/// Datagrams that would change the channel, and await confirmation.
#[derive(Debug)]
struct Trial {
    peer: SocketAddr,
    last: u32,
    at: Duration,
    /// How many came in a row, one far ahead not counted.
    count: u8,
    /// How long their packets sound, in microseconds: a device's all sound equally long.
    us: u32,
    /// At most [`MOVE`] and one: from the first on, nothing is lost when they turn out to be right.
    held: Vec<AudioPacket>,
}

/// The channel has another address than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moved {
    /// None when it had none.
    pub from: Option<SocketAddr>,
    pub to: SocketAddr,
}

/// Why nothing goes to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    /// Nothing came from it yet.
    NoAddress,
    /// The packet is longer than Opus packets are, or all numbers are used up.
    TooLong,
}

/// One channel's keys, numbers and addresses.
#[derive(Debug)]
pub(super) struct Channel {
    ssrc: u32,
    cipher: Cipher,
    window: Window,
    peer: Option<Peer>,
    trial: Option<Trial>,
    /// How long the last packet that counted sounds, in microseconds.
    us: Option<u32>,
    sent: u32,
    /// When a datagram last went either way, or the channel was opened.
    used: Duration,
}

impl Channel {
    pub fn new(ssrc: u32, key: &[u8; 16], now: Duration) -> Self {
        let (cipher, window) = (Cipher::new(key), Window::new());
        Self { ssrc, cipher, window, peer: None, trial: None, us: None, sent: 0, used: now }
    }

    /// For how long nothing went either way.
    pub fn idle(&self, now: Duration) -> Duration {
        now.saturating_sub(self.used)
    }

    /// Judges a datagram whose header was read and names this channel. What counts is put into `out`, in order; `hold` is
    /// for how long an address that sends keeps others out.
    pub fn receive(
        &mut self,
        (header, datagram): (Header, &[u8]),
        route: Route,
        (now, hold): (Duration, Duration),
        out: &mut Vec<AudioPacket>,
    ) -> Result<Option<Moved>, Cause> {
        let ahead = match self.window.place(header.seq) {
            Place::Seen => return Err(Cause::Replay),
            Place::Late => return Err(Cause::Late),
            Place::Hole => 0,
            Place::Ahead(by) => by,
        };
        let foreign = self.peer.is_some_and(|peer| peer.route.peer != route.peer);
        if foreign && (ahead == 0 || self.sends(now, hold)) {
            return Err(Cause::Address);
        }
        let (payload, us) = match self.cipher.open(datagram) {
            Ok(opened) => opened,
            Err(Unfit::Length) => return Err(Cause::Length),
            Err(Unfit::Kind) => return Err(Cause::Kind),
            Err(Unfit::Format) => return Err(self.misfit(route.peer)),
        };
        let packet = packet(header, payload);
        let near = ahead <= AHEAD;
        if near && !foreign {
            self.trial = None;
            self.us = Some(us);
            self.take(packet, out);
            return Ok(self.learn(route, now));
        }
        // what deciphers by chance to speech hardly ever does so to the same length, and never in a row
        if self.us.is_some_and(|known| known != us) {
            return Err(self.misfit(route.peer));
        }
        let (needed, cause) = if foreign { (MOVE, Cause::Address) } else { (1, Cause::Jump) };
        let trial = self.try_on((packet, us), near, route.peer, now);
        if trial.count < needed {
            return Err(cause);
        }
        for packet in std::mem::take(&mut trial.held) {
            self.take(packet, out);
        }
        self.trial = None;
        self.us = Some(us);
        Ok(self.learn(route, now))
    }

    /// What is no speech ends the row of those that await confirmation, if it comes from where they come from.
    fn misfit(&mut self, peer: SocketAddr) -> Cause {
        self.trial.take_if(|trial| trial.peer == peer);
        Cause::Format
    }

    /// Adds a datagram to those that await confirmation; one that does not follow them begins anew.
    fn try_on(&mut self, (packet, us): (AudioPacket, u32), near: bool, peer: SocketAddr, now: Duration) -> &mut Trial {
        let seq = packet.seq;
        let follows = |trial: &Trial| {
            (trial.peer, trial.us) == (peer, us)
                && now.saturating_sub(trial.at) < TRIAL
                && (0..=AHEAD).contains(&seq.wrapping_sub(trial.last))
        };
        let kept = self.trial.take().filter(follows);
        let new = || Trial { peer, us, last: seq.wrapping_sub(1), at: now, count: 0, held: Vec::new() };
        let first = kept.is_none();
        let trial = self.trial.insert(kept.unwrap_or_else(new));
        // the same number again says nothing
        if trial.last != seq {
            trial.count += u8::from(near || !first);
            trial.last = seq;
            trial.at = now;
            trial.held.push(packet);
        }
        trial
    }

    /// The channel's address sent something within `hold`.
    fn sends(&self, now: Duration, hold: Duration) -> bool {
        self.peer.is_some_and(|peer| now.saturating_sub(peer.heard) < hold)
    }

    fn take(&mut self, packet: AudioPacket, out: &mut Vec<AudioPacket>) {
        self.window.take(packet.seq);
        out.push(packet);
    }

    fn learn(&mut self, route: Route, now: Duration) -> Option<Moved> {
        self.used = now;
        let from = self.peer.replace(Peer { route, heard: now }).map(|peer| peer.route.peer);
        (from != Some(route.peer)).then_some(Moved { from, to: route.peer })
    }

    /// Makes the next datagram to the device. Its number and its time grow with each, whatever becomes of it, so that no
    /// two have a counter block in common; and no time is 0, which is what most firmware sends.
    pub fn seal(&mut self, packet: &[u8], now: Duration) -> Result<(Route, Bytes), Unsent> {
        let route = self.peer.ok_or(Unsent::NoAddress)?.route;
        let seq = self.sent.checked_add(1).ok_or(Unsent::TooLong)?;
        let ts_ms = seq.wrapping_mul(DOWN_FRAME_MS).max(1);
        let header = Header { ssrc: self.ssrc, ts_ms, seq };
        let datagram = self.cipher.seal(header, packet).ok_or(Unsent::TooLong)?;
        self.sent = seq;
        self.used = now;
        Ok((route, datagram))
    }
}

fn packet(header: Header, payload: Bytes) -> AudioPacket {
    AudioPacket {
        codec: Codec::Opus,
        seq: header.seq,
        ts_ms: header.ts_ms,
        last: false,
        speech: None,
        listen: 0,
        payload,
    }
}

#[cfg(test)]
mod tests;
