//! The two bounded lanes of a session: audio, which drops its oldest packet when full, and
//! control, which makes its sender wait.
//!
//! Every message carries the door's arrival number. Urgent control (abort, goodbye, sos, hello) is
//! taken before anything queued and voids the audio that arrived earlier; all else is taken in order
//! of arrival, so that `listen_stop` never cuts off speech that came before it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};

use crate::domain::{AudioPacket, Body, Origin, Uplink};

/// Most audio packets handed to the codec threads in one job.
const BATCH: usize = 32;

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// Control, telemetry or an image.
    Message(Uplink),
    /// Urgent control; audio that arrived before it has been dropped.
    Urgent(Uplink),
    /// Audio packets in order of arrival, and the connection of the last one.
    Audio(Origin, Vec<AudioPacket>),
}

#[derive(Debug, Default)]
struct Queues {
    audio: VecDeque<(Origin, AudioPacket)>,
    messages: VecDeque<Uplink>,
    closed: bool,
}

/// The session of these lanes has ended; the message comes back, for the next session.
#[derive(Debug)]
pub struct LanesClosed<T>(pub T);

/// The lanes of one session.
#[derive(Debug)]
pub struct Lanes {
    queues: Mutex<Queues>,
    wake: Notify,
    room: Semaphore,
    audio_capacity: usize,
}

impl Lanes {
    /// Lanes of `audio` packets and `messages` others.
    pub fn new(audio: usize, messages: usize) -> Self {
        Self {
            queues: Mutex::default(),
            wake: Notify::new(),
            room: Semaphore::new(messages.max(1)),
            audio_capacity: audio.max(1),
        }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        // a panic while holding the lock leaves whole messages in whole queues
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an audio packet; returns how many old ones were dropped for it.
    pub fn push_audio(&self, origin: Origin, packet: AudioPacket) -> Result<usize, LanesClosed<(Origin, AudioPacket)>> {
        let mut queues = self.queues();
        if queues.closed {
            return Err(LanesClosed((origin, packet)));
        }
        let mut dropped = 0;
        while queues.audio.len() >= self.audio_capacity {
            queues.audio.pop_front();
            dropped += 1;
        }
        queues.audio.push_back((origin, packet));
        drop(queues);
        self.wake.notify_one();
        Ok(dropped)
    }

    /// Takes anything else; waits while the lane is full. An urgent message never waits.
    pub async fn push(&self, uplink: Uplink) -> Result<(), LanesClosed<Uplink>> {
        if !urgent(&uplink) {
            // closed lanes let everybody through, to be told so below
            if let Ok(permit) = self.room.acquire().await {
                permit.forget();
            }
        }
        let mut queues = self.queues();
        if queues.closed {
            return Err(LanesClosed(uplink));
        }
        queues.messages.push_back(uplink);
        drop(queues);
        self.wake.notify_one();
        Ok(())
    }

    /// The next thing to do. While the ears are busy with earlier audio, only urgent control is given.
    pub async fn next(&self, ears_busy: bool) -> Next {
        loop {
            let woken = self.wake.notified();
            if let Some(next) = self.take(ears_busy) {
                return next;
            }
            woken.await;
        }
    }

    /// How many messages and audio packets wait.
    pub fn waiting(&self) -> (usize, usize) {
        let queues = self.queues();
        (queues.messages.len(), queues.audio.len())
    }

    /// Closes the lanes if nothing waits in them; says whether they are closed.
    pub fn close_if_empty(&self) -> bool {
        let mut queues = self.queues();
        queues.closed |= queues.audio.is_empty() && queues.messages.is_empty();
        if queues.closed {
            self.room.close();
        }
        queues.closed
    }

    /// The session has ended.
    pub fn is_closed(&self) -> bool {
        self.queues().closed
    }

    /// Closes the lanes whatever waits; gives back the messages.
    pub fn close(&self) -> Vec<Uplink> {
        let mut queues = self.queues();
        queues.closed = true;
        self.room.close();
        queues.audio.clear();
        queues.messages.drain(..).collect()
    }

    fn take(&self, ears_busy: bool) -> Option<Next> {
        let mut queues = self.queues();
        if let Some(at) = queues.messages.iter().position(urgent) {
            let uplink = queues.messages.remove(at)?;
            let arrival = uplink.origin.arrival;
            queues.audio.retain(|(origin, _)| origin.arrival > arrival);
            return Some(Next::Urgent(uplink));
        }
        if ears_busy {
            return None;
        }
        let first_message = queues.messages.front().map_or(u64::MAX, |uplink| uplink.origin.arrival);
        let batch = queues.audio.iter().take(BATCH).take_while(|(origin, _)| origin.arrival < first_message).count();
        if batch > 0 {
            let mut packets = Vec::with_capacity(batch);
            let mut from = None;
            for (origin, packet) in queues.audio.drain(..batch) {
                from = Some(origin);
                packets.push(packet);
            }
            return from.map(|origin| Next::Audio(origin, packets));
        }
        let uplink = queues.messages.pop_front()?;
        self.room.add_permits(1);
        Some(Next::Message(uplink))
    }
}

fn urgent(uplink: &Uplink) -> bool {
    matches!(&uplink.body, Body::Control(control) if control.kind.urgent())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]

    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::domain::{Codec, Control, ControlKind, DeviceId, LinkId, Path, Receipt};

    fn origin(arrival: u64) -> Origin {
        Origin {
            device: DeviceId::parse("d").unwrap(),
            link: LinkId(1),
            arrival,
            at: Duration::ZERO,
            dialect: "native",
            path: Path::Connection,
        }
    }

    fn packet(seq: u32) -> AudioPacket {
        AudioPacket {
            codec: Codec::Opus,
            seq,
            ts_ms: 0,
            last: false,
            speech: None,
            listen: 0,
            payload: Bytes::from_static(b"x"),
        }
    }

    fn control(arrival: u64, kind: ControlKind) -> Uplink {
        let control = Control { session_id: None, seq: None, ts_ms: None, msg_id: None, json: true, kind };
        Uplink { origin: origin(arrival), body: Body::Control(Box::new(control)), receipt: Receipt::none() }
    }

    #[tokio::test]
    async fn listen_stop_waits_for_the_audio_that_came_before_it() {
        let lanes = Lanes::new(64, 8);
        for n in 0..30 {
            lanes.push_audio(origin(n), packet(u32::try_from(n).unwrap())).unwrap();
        }
        lanes.push(control(30, ControlKind::ListenStop)).await.unwrap();
        lanes.push_audio(origin(31), packet(31)).unwrap();
        let Next::Audio(_, first) = lanes.next(false).await else { panic!("audio first") };
        assert_eq!(first.len(), 30);
        assert!(matches!(lanes.next(false).await, Next::Message(_)));
        let Next::Audio(_, rest) = lanes.next(false).await else { panic!("then the rest") };
        assert_eq!(rest[0].seq, 31);
    }

    #[tokio::test]
    async fn an_abort_overtakes_and_voids_earlier_audio() {
        let lanes = Lanes::new(64, 8);
        for n in 0..30 {
            lanes.push_audio(origin(n), packet(u32::try_from(n).unwrap())).unwrap();
        }
        lanes.push(control(30, ControlKind::ListenStop)).await.unwrap();
        lanes.push(control(31, ControlKind::Abort { reason: None })).await.unwrap();
        lanes.push_audio(origin(32), packet(32)).unwrap();
        assert!(matches!(lanes.next(true).await, Next::Urgent(_)));
        assert_eq!(lanes.waiting(), (1, 1));
    }

    #[tokio::test]
    async fn a_full_audio_lane_drops_its_oldest() {
        let lanes = Lanes::new(4, 1);
        let dropped: usize =
            (0..10).map(|n| lanes.push_audio(origin(n), packet(u32::try_from(n).unwrap())).unwrap()).sum();
        assert_eq!(dropped, 6);
        let Next::Audio(_, kept) = lanes.next(false).await else { panic!("audio") };
        assert_eq!(kept.iter().map(|p| p.seq).collect::<Vec<_>>(), [6, 7, 8, 9]);
    }

    #[tokio::test]
    async fn a_full_control_lane_makes_its_sender_wait_but_not_an_abort() {
        let lanes = Arc::new(Lanes::new(4, 1));
        lanes.push(control(1, ControlKind::Heartbeat)).await.unwrap();
        let blocked = tokio::spawn({
            let lanes = Arc::clone(&lanes);
            async move {
                lanes.push(control(2, ControlKind::Heartbeat)).await.unwrap();
            }
        });
        tokio::task::yield_now().await;
        assert!(!blocked.is_finished());
        lanes.push(control(3, ControlKind::Abort { reason: None })).await.unwrap();
        assert!(matches!(lanes.next(false).await, Next::Urgent(_)));
        assert!(matches!(lanes.next(false).await, Next::Message(_)));
        blocked.await.unwrap();
    }

    #[tokio::test]
    async fn busy_ears_leave_everything_but_urgent_control_in_its_place() {
        let lanes = Lanes::new(4, 4);
        lanes.push_audio(origin(1), packet(1)).unwrap();
        lanes.push(control(2, ControlKind::ListenStop)).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(1), lanes.next(true)).await;
        assert!(waited.is_err());
        assert_eq!(lanes.waiting(), (1, 1));
    }

    #[tokio::test]
    async fn closed_lanes_give_a_message_back() {
        let lanes = Lanes::new(4, 1);
        lanes.push_audio(origin(1), packet(1)).unwrap();
        assert!(!lanes.close_if_empty());
        assert!(matches!(lanes.next(false).await, Next::Audio(..)));
        assert!(lanes.close_if_empty());
        assert!(lanes.push_audio(origin(2), packet(2)).is_err());
        assert!(lanes.push(control(3, ControlKind::Heartbeat)).await.is_err());
    }
}
