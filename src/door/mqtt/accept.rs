//! The accept loop: how many may come, and how fast, over all listeners together.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::DoorError;
use super::connection::Connection;
use super::ending::Ending;
use super::gate::Gate;
use super::handshake::{Admitted, handshake};
use super::settings::Limits;
use super::socket::{self, Transport};
use super::transport::{self, Arrival, Listener};
use crate::topics::Who;

/// Waits so long after an accept error that is not one connection's own.
const RECOVER: Duration = Duration::from_millis(50);
/// How often the loop shows that it goes round, also when nobody comes.
const PULSE: Duration = Duration::from_secs(1);

/// Accepts until `stop`, then ends all connections within the grace.
pub(super) async fn run(
    gate: Arc<Gate>,
    bound: Vec<(Listener, std::net::TcpListener)>,
    stop: CancellationToken,
) -> Result<(), DoorError> {
    let mut listeners = Listeners::new(bound)?;
    let mut spare = Spare::new();
    let mut tasks = JoinSet::new();
    let strangers = Strangers::default();
    let mut pulse = tokio::time::interval(PULSE);
    let mut rate = Rate { left: Rate::share(gate.settings.limits.connects_per_second), since: Instant::now() };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            _ = pulse.tick() => {
                gate.accepting();
                continue;
            }
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                reap(&gate, ended);
                continue;
            }
            accepted = rate.accept(&mut listeners, gate.settings.limits.connects_per_second) => accepted,
        };
        match accepted {
            Ok((listener, stream, peer)) => {
                let limits = &gate.settings.limits;
                let stranger = match strangers.admit(peer.ip(), limits) {
                    Ok(stranger) if tasks.len() < limits.connections => stranger,
                    Ok(_) => {
                        gate.metrics.connect("limit");
                        continue; // dropped: closed
                    }
                    Err(result) => {
                        gate.metrics.connect(result);
                        continue;
                    }
                };
                let deadline = Instant::now() + limits.connect_time.0;
                let local = stream.local_addr().ok().map(|addr| addr.ip());
                let arrival = Arrival { listener, peer, local, deadline, certificate: None };
                tasks.spawn(serve(gate.clone(), stream, arrival, stranger, stop.clone()));
            }
            Err((at, error)) => {
                gate.metrics.connect("accept_error");
                spare.relieve(&listeners.0[at].1, &error).await;
            }
        }
    }
    drop(listeners);
    gate.registry.end_all(Ending::Shutdown);
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            reap(&gate, ended);
        }
    };
    if tokio::time::timeout(gate.settings.limits.grace.0, all).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
    Ok(())
}

fn reap(gate: &Gate, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        gate.metrics.ended("panic");
        tracing::error!(%error, "a connection's task panicked");
    }
}

/// The whole life of one connection.
async fn serve(gate: Arc<Gate>, stream: TcpStream, mut arrival: Arrival, stranger: Stranger, stop: CancellationToken) {
    let peer = arrival.peer;
    if let Err(error) = socket::prepare(&stream) {
        tracing::debug!(%error, %peer, "socket options not set");
    }
    if arrival.listener == Listener::Tcp {
        return talk(gate, stream, arrival, stranger, stop).await;
    }
    // boxed: see there
    let opening = Box::pin(transport::open(&gate, stream, &mut arrival));
    let opened = tokio::select! {
        opened = opening => opened,
        () = stop.cancelled() => return,
    };
    match opened {
        Ok(stream) => talk(gate, stream, arrival, stranger, stop).await,
        Err(result) => {
            gate.metrics.connect(result);
            tracing::debug!(%peer, listener = arrival.listener.name(), result, "connection refused");
        }
    }
}

/// MQTT, over whatever carries it.
async fn talk<T: Transport>(
    gate: Arc<Gate>,
    mut stream: T,
    arrival: Arrival,
    stranger: Stranger,
    stop: CancellationToken,
) {
    let mut inbox = BytesMut::new();
    // boxed: the state of a handshake must not stay part of an idle connection's task
    let shaking = Box::pin(handshake(&gate, &mut stream, &arrival, &mut inbox));
    let shaken = tokio::select! {
        shaken = shaking => shaken,
        () = stop.cancelled() => return,
    };
    drop(stranger);
    match shaken {
        Err(result) => {
            gate.metrics.connect(result);
            let (peer, listener) = (arrival.peer, arrival.listener.name());
            tracing::debug!(%peer, listener, result, "connection refused");
        }
        Ok(admitted) => {
            gate.metrics.connect("ok");
            let _open = gate.metrics.open(arrival.listener);
            drop(arrival);
            note(&admitted);
            let seat = &admitted.seat;
            if stop.is_cancelled() {
                seat.client().end(Ending::Shutdown);
            }
            let (client, connection) = (seat.client().clone(), Box::new(Connection::new(stream, admitted, inbox)));
            let ending = connection.run().await;
            gate.metrics.ended(ending.name());
            let (link, peer, reason) = (client.link.0, client.peer, ending.name());
            tracing::debug!(link, %peer, reason, "connection ended");
            if ending.blames()
                && let Some(unsaid) = gate.may_log()
            {
                // quoted: a client chooses its id
                let (user, client_id) = client.names();
                tracing::warn!(?user, ?client_id, %peer, reason, unsaid, "client disconnected for what it did");
            }
        }
    }
}

fn note(Admitted { seat, connect, .. }: &Admitted) {
    let client = seat.client();
    let who: &str = match &client.who {
        Who::Device(device) => device.as_str(),
        Who::Operator(_) => "an operator",
        Who::Anonymous => "nobody known",
    };
    let (link, peer, version) = (client.link.0, client.peer, connect.version);
    tracing::debug!(link, who, %peer, ?version, keep_alive = connect.keep_alive, "connection accepted");
}

/// The connections that have not yet said who they are.
#[derive(Debug, Clone, Default)]
struct Strangers(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_network: HashMap<IpAddr, usize>,
}

impl Strangers {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, until the answer is dropped; the error is a label of [`super::metrics::RESULTS`].
    fn admit(&self, address: IpAddr, limits: &Limits) -> Result<Stranger, &'static str> {
        let mut counts = self.counts();
        if counts.all >= limits.unauthenticated {
            return Err("limit");
        }
        let network = network(address);
        if let Some(network) = network {
            let own = counts.by_network.entry(network).or_default();
            if *own >= limits.unauthenticated_per_address {
                return Err("address_limit");
            }
            *own += 1;
        }
        counts.all += 1;
        Ok(Stranger { all: self.clone(), network })
    }
}

/// What counts as one address; none is not counted.
fn network(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
        IpAddr::V4(address) => Some(address.into()),
    }
}

/// A connection that has not yet said who it is.
#[derive(Debug)]
struct Stranger {
    all: Strangers,
    network: Option<IpAddr>,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut counts = self.all.counts();
        counts.all = counts.all.saturating_sub(1);
        if let Some(network) = self.network
            && let Some(own) = counts.by_network.get_mut(&network)
        {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.by_network.remove(&network);
            }
        }
    }
}

type Accepted = (Listener, TcpStream, SocketAddr);

/// All listeners, none of which can keep another waiting.
struct Listeners(Vec<(Listener, TcpListener)>, usize);

impl Listeners {
    fn new(bound: Vec<(Listener, std::net::TcpListener)>) -> Result<Self, DoorError> {
        let adopt = |(kind, socket): (Listener, std::net::TcpListener)| {
            let addr = socket.local_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
            let adopted = TcpListener::from_std(socket).map_err(|source| DoorError::Listen { addr, source })?;
            Ok((kind, adopted))
        };
        Ok(Self(bound.into_iter().map(adopt).collect::<Result<_, DoorError>>()?, 0))
    }

    /// The next connection of any of them, each in its turn; an error says which.
    async fn accept(&mut self) -> Result<Accepted, (usize, io::Error)> {
        let Self(all, turn) = self;
        poll_fn(|cx| {
            for n in 0..all.len() {
                let at = (*turn + n) % all.len();
                let (kind, listener) = &all[at];
                if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                    *turn = at + 1;
                    return Poll::Ready(accepted.map(|(stream, peer)| (*kind, stream, peer)).map_err(|e| (at, e)));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Connections a second, evenly: a herd that comes back must not take a whole second's share at once from those who
/// talk.
struct Rate {
    left: u32,
    since: Instant,
}

impl Rate {
    /// What may come at once: the share of 20 ms.
    fn share(per_second: u32) -> u32 {
        (per_second / 50).max(1)
    }

    /// Accepts, later when the share is used up. Cancelling it loses no connection.
    async fn accept(&mut self, listeners: &mut Listeners, per_second: u32) -> Result<Accepted, (usize, io::Error)> {
        let share = Self::share(per_second);
        let slice = Duration::from_secs(1) / per_second.max(1) * share;
        if self.left == 0 {
            tokio::time::sleep_until(self.since + slice).await;
        }
        let now = Instant::now();
        if now >= self.since + slice {
            // a share that comes late is made up for, one
            (self.left, self.since) = (share, (self.since + slice).max(now.checked_sub(slice).unwrap_or(now)));
        }
        let accepted = listeners.accept().await?;
        self.left = self.left.saturating_sub(1);
        Ok(accepted)
    }
}

/// A descriptor in reserve: when all others are used up it lets one connection in and out again, so that the
/// backlog does not fill and the loop does not spin.
struct Spare(Option<std::fs::File>);

impl Spare {
    fn new() -> Self {
        Self(std::fs::File::open("/dev/null").ok())
    }

    async fn relieve(&mut self, listener: &TcpListener, error: &io::Error) {
        let exhausted = matches!(error.raw_os_error(), Some(code) if code == EMFILE || code == ENFILE);
        if !exhausted {
            return; // that one connection's own fault, as when it was reset in the backlog
        }
        tracing::warn!(%error, "no descriptors left, a connection is refused");
        self.0 = None;
        let refused = tokio::time::timeout(RECOVER, listener.accept()).await;
        drop(refused);
        *self = Self::new();
        tokio::time::sleep(RECOVER).await;
    }
}

const EMFILE: i32 = nix::errno::Errno::EMFILE as i32;
const ENFILE: i32 = nix::errno::Errno::ENFILE as i32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn one_address_cannot_take_the_room_of_all_and_gives_back_what_it_took() {
        let limits = Limits { unauthenticated: 4, unauthenticated_per_address: 2, ..Limits::default() };
        let strangers = Strangers::default();
        let admit = |address: &str| strangers.admit(address.parse().unwrap(), &limits);
        let first = admit("10.0.0.1").unwrap();
        let second = admit("::ffff:10.0.0.1").unwrap();
        assert_eq!(admit("10.0.0.1").unwrap_err(), "address_limit");
        let third = admit("2001:db8::1").unwrap();
        let fourth = admit("2001:db8::ffff:1").unwrap();
        assert_eq!(admit("10.0.0.2").unwrap_err(), "limit");
        drop((first, fourth));
        assert_eq!(admit("2001:db8::2").map(drop), Ok(()));
        drop((second, third));
        let local: Vec<_> = (0..4).map(|_| admit("127.0.0.1").unwrap()).collect();
        drop(local);
        assert!(strangers.counts().by_network.is_empty() && strangers.counts().all == 0);
    }
}
