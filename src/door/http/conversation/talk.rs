//! One conversation over WebSocket: what comes goes to the ingress, what waits is sent, and it ends for one reason.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::link::{Next, Socket};
use super::{Door, Place};
use crate::domain::{
    AudioPacket, Body, Codec, Control, ControlKind, DeviceId, Link, LinkPacket, Origin, PacketKind, Path, Receipt,
    Stream, Uplink, dialect,
};
use crate::wire::xiaozhi::MAX_TEXT;
use crate::wire::xiaozhi::frames::{self, Frame, Version};
use crate::wire::{self, WireError, opencane};

/// Pings that may be unanswered.
const UNANSWERED: u32 = 2;
/// Seconds of messages that may come at once.
const BURST: f64 = 2.0;

/// What is spoken over a connection.
#[derive(Debug, Clone)]
pub(super) enum Tongue {
    /// Stock firmware's, with frames of this version.
    Board(Version),
    /// OpenCane's, in the session that the device named last.
    Cane {
        /// As the device calls it.
        session: Option<String>,
    },
}

impl Tongue {
    /// The name of its dialect.
    pub(super) fn dialect(&self) -> &'static str {
        match self {
            Tongue::Board(_) => dialect::XIAOZHI,
            Tongue::Cane { .. } => dialect::OPENCANE,
        }
    }

    /// Largest message, bytes.
    pub(super) fn largest(&self) -> usize {
        match self {
            Tongue::Board(_) => MAX_TEXT,
            Tongue::Cane { .. } => opencane::MAX_TEXT,
        }
    }

    /// Nothing is waited for before what comes counts.
    fn greets_itself(&self) -> bool {
        matches!(self, Tongue::Cane { .. })
    }
}

/// Serves a connection to its end.
pub(super) async fn talk(place: &Place, tongue: Tongue, stream: WebSocket, peer: SocketAddr) {
    let Place { door, device, socket } = place;
    let link = socket.link;
    tracing::debug!(%device, link = link.0, %peer, ?tongue, "conversation over websocket");
    door.parts.ingress.link_up(device, Arc::clone(socket) as Arc<dyn Link>);
    let mut talk = Talk {
        door,
        device,
        greeted: tongue.greets_itself(),
        tongue,
        socket,
        stream,
        seq: 0,
        silent: 0,
        budget: Budget::new(door.settings.messages_per_second),
    };
    let reason = Box::pin(talk.run()).await;
    socket.gone();
    door.parts.ingress.link_down(device, link);
    door.leave(device, link);
    door.parts.metrics.ended(reason);
    tracing::debug!(%device, link = link.0, %peer, reason, "conversation over websocket ended");
    talk.close(reason).await;
}

struct Talk<'a> {
    door: &'a Door,
    device: &'a DeviceId,
    tongue: Tongue,
    socket: &'a Arc<Socket>,
    stream: WebSocket,
    greeted: bool,
    /// Number of the last frame.
    seq: u32,
    /// Pings since something came.
    silent: u32,
    budget: Budget,
}

impl Talk<'_> {
    /// Why it ended: one of [`super::metrics::ENDINGS`].
    async fn run(&mut self) -> &'static str {
        let settings = &self.door.settings;
        let hello_by = Instant::now() + settings.hello.0;
        let mut ping = interval(settings.ping.0);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        // a text that waits for its lane: nothing more is read meanwhile, but what waits is sent
        let mut delivering: Option<BoxFuture<'_, ()>> = None;
        loop {
            let ended = tokio::select! {
                () = self.door.parts.stop.cancelled() => Some("stop"),
                next = self.socket.next() => self.send(next).await,
                () = done(&mut delivering) => {
                    delivering = None;
                    None
                }
                message = self.stream.recv(), if delivering.is_none() => match message {
                    None => Some("gone"),
                    Some(Err(error)) => Some(fault(&error)),
                    Some(Ok(message)) => match self.take(message) {
                        Ok(work) => {
                            delivering = work;
                            None
                        }
                        Err(reason) => Some(reason),
                    },
                },
                () = tokio::time::sleep_until(hello_by), if !self.greeted => Some("no_hello"),
                _ = ping.tick() => self.ping().await,
            };
            if let Some(reason) = ended {
                return reason;
            }
        }
    }

    async fn send(&mut self, next: Next) -> Option<&'static str> {
        let packet = match next {
            Next::End(reason) => return Some(reason),
            Next::Send(packet) => packet,
        };
        let LinkPacket { payload, kind, .. } = packet;
        let message = match (kind, &self.tongue) {
            (PacketKind::Audio, Tongue::Board(version)) => Message::Binary(frames::reframe(*version, payload)),
            (PacketKind::Audio, Tongue::Cane { session }) => {
                let now = self.door.parts.clock.wall().0;
                // packets of speech are ours
                let Ok(text) = opencane::as_text(&payload, self.device, session.as_deref(), now) else { return None };
                match String::from_utf8(text.into()) {
                    Ok(text) => Message::Text(text.into()),
                    Err(_) => return None,
                }
            }
            (PacketKind::Control, _) => match String::from_utf8(payload.into()) {
                Ok(text) => Message::Text(text.into()),
                // texts are ours, and json
                Err(_) => return None,
            },
        };
        self.write(message).await
    }

    async fn write(&mut self, message: Message) -> Option<&'static str> {
        match timeout(self.door.settings.stuck.0, self.stream.send(message)).await {
            Ok(Ok(())) => None,
            Ok(Err(_)) => Some("gone"),
            Err(_) => Some("stuck"),
        }
    }

    async fn ping(&mut self) -> Option<&'static str> {
        if self.silent >= UNANSWERED {
            return Some("silent");
        }
        self.silent += 1;
        self.write(Message::Ping(Bytes::new())).await
    }

    /// Takes a message; work that has to be waited for comes back.
    fn take(&mut self, message: Message) -> Result<Option<BoxFuture<'static, ()>>, &'static str> {
        self.silent = 0;
        if !self.budget.spend(Instant::now()) {
            return Err("rate");
        }
        match message {
            Message::Text(text) => Ok(self.text(&Bytes::from(text))),
            Message::Binary(frame) => Ok(self.frame(&frame)),
            Message::Close(_) => Err("closed"),
            // a ping was answered before we saw it
            Message::Ping(_) | Message::Pong(_) => Ok(None),
        }
    }

    fn text(&mut self, text: &Bytes) -> Option<BoxFuture<'static, ()>> {
        let control = match wire::decode(self.tongue.dialect(), Stream::Control, text, self.device) {
            Ok(Body::Control(control)) => control,
            Ok(Body::Audio(packet)) => {
                self.door.parts.ingress.audio(self.origin(), packet);
                return None;
            }
            Ok(_) => return None,
            Err(error) => return self.drop_it(error),
        };
        self.greeted |= matches!(control.kind, ControlKind::Hello(_));
        if !self.greeted {
            self.door.parts.metrics.dropped("before_hello");
            return None;
        }
        Some(self.deliver(control))
    }

    fn deliver(&mut self, mut control: Box<Control>) -> BoxFuture<'static, ()> {
        match &mut self.tongue {
            Tongue::Cane { session } if control.session_id.is_some() => session.clone_from(&control.session_id),
            Tongue::Cane { session } => control.session_id.clone_from(session),
            Tongue::Board(_) => {}
        }
        if let (ControlKind::Hello(hello), Tongue::Board(_)) = (&mut control.kind, &self.tongue) {
            // whatever it says: the connection is what it is
            hello.capabilities["transport"] = "websocket".into();
        }
        let uplink = Uplink { origin: self.origin(), body: Body::Control(control), receipt: Receipt::none() };
        let ingress = Arc::clone(&self.door.parts.ingress);
        Box::pin(async move { ingress.deliver(uplink).await })
    }

    fn frame(&mut self, frame: &Bytes) -> Option<BoxFuture<'static, ()>> {
        let version = match &self.tongue {
            Tongue::Board(version) => *version,
            Tongue::Cane { .. } => {
                match opencane::binary(frame) {
                    Ok(packet) => self.door.parts.ingress.audio(self.origin(), packet),
                    Err(error) => return self.drop_it(error),
                }
                return None;
            }
        };
        match frames::read(version, frame) {
            Ok(Frame::Json(text)) => return self.text(&text),
            Ok(Frame::Opus(..)) if !self.greeted => self.door.parts.metrics.dropped("before_hello"),
            Ok(Frame::Opus(ts_ms, payload)) => {
                self.seq = self.seq.wrapping_add(1).max(1);
                let (codec, last, speech) = (Codec::Opus, false, None);
                // a view would keep all that was read with it
                let payload = Bytes::copy_from_slice(&payload);
                let packet = AudioPacket { codec, seq: self.seq, ts_ms, last, speech, listen: 0, payload };
                self.door.parts.ingress.audio(self.origin(), packet);
            }
            Err(error) => return self.drop_it(error),
        }
        None
    }

    fn drop_it(&self, error: WireError) -> Option<BoxFuture<'static, ()>> {
        self.door.parts.metrics.dropped(error.kind.name());
        tracing::debug!(device = %self.device, %error, "message over websocket dropped");
        None
    }

    fn origin(&self) -> Origin {
        let parts = &self.door.parts;
        Origin {
            device: self.device.clone(),
            link: self.socket.link,
            arrival: parts.arrivals.next(),
            at: parts.clock.mono(),
            dialect: self.tongue.dialect(),
            path: Path::Connection,
        }
    }

    /// Says goodbye as WebSocket has it; firmware goes idle whatever the code.
    async fn close(mut self, reason: &'static str) {
        let code = match reason {
            "gone" | "closed" | "stuck" => return,
            "over" => close_code::NORMAL,
            "stop" => close_code::AWAY,
            "too_large" => close_code::SIZE,
            _ => close_code::POLICY,
        };
        let frame = CloseFrame { code, reason: reason.into() };
        self.write(Message::Close(Some(frame))).await;
    }
}

async fn done(work: &mut Option<BoxFuture<'_, ()>>) {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// What the protocol's library found.
fn fault(error: &axum::Error) -> &'static str {
    if error.to_string().contains("too long") || error.to_string().contains("too big") { "too_large" } else { "gone" }
}

/// Messages that may come: a bucket that fills evenly.
#[derive(Debug)]
struct Budget {
    rate: f64,
    left: f64,
    at: Option<Instant>,
}

impl Budget {
    fn new(per_second: u32) -> Self {
        let rate = f64::from(per_second);
        Self { rate, left: rate * BURST, at: None }
    }

    fn spend(&mut self, now: Instant) -> bool {
        let filled = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64() * self.rate);
        self.left = (self.left + filled).min(self.rate * BURST);
        self.at = Some(now);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}
