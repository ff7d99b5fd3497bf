//! Loads: publishers as fast as the broker takes them, or at a pace; with subscribers who count, or without.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::publish::{BATCH, Publisher, Shared, WINDOW};
use super::subscribe::{Seen, Subscriber};
use super::{Content, FloodError, Login};

/// What was sent and has not come for so long does not come any more.
const QUIET: Duration = Duration::from_secs(3);
/// How often the counters are looked at.
const LOOK: Duration = Duration::from_millis(1);

/// Who publishes what.
#[derive(Debug, Clone)]
pub struct Publishing {
    /// The broker.
    pub addr: SocketAddr,
    /// Who, and on which topic; the second level of the topic is digits, below the number of publishers and one.
    pub publishers: Vec<(Login, String)>,
    /// 0 or 1; with 1 each has at most 50 unacknowledged.
    pub qos: u8,
    /// What.
    pub content: Content,
    /// For how long.
    pub length: Duration,
    /// Most messages that are sent and have not come to a subscriber; 0 is no limit, and 0 where nobody subscribes.
    pub window: usize,
}

/// Who subscribes to what.
#[derive(Debug, Clone)]
pub struct Subscribing {
    /// Who.
    pub subscribers: Vec<Login>,
    /// To what, each.
    pub filter: String,
    /// 0 or 1.
    pub qos: u8,
}

/// What came of a load.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// When the first message was sent.
    pub begun: Instant,
    /// From then to the last message that came (or was taken, where nobody subscribes), s.
    pub seconds: f64,
    /// Written to sockets; all of it was taken by the broker.
    pub sent: u64,
    /// Acknowledged; with QoS 1 only.
    pub acked: u64,
    /// Came to subscribers, all together.
    pub delivered: u64,
    /// Did not come: what each subscriber should have, less what it has.
    pub lost: u64,
    /// Came more than once, or out of order.
    pub repeats: u64,
    /// Subscribers whom the broker closed.
    pub closed: u64,
    /// From a publisher's write to a subscriber's read, ns; of paced loads only.
    pub times: Vec<u64>,
    /// From each message to its acknowledgement, ns; of paced messages with QoS 1.
    pub answered: Vec<u64>,
}

/// Publishes as fast as the broker takes it.
pub async fn flood(publishing: &Publishing, subscribing: Option<&Subscribing>) -> Result<Outcome, FloodError> {
    let length = publishing.length;
    let mut stage = Stage::set(publishing, subscribing, false).await?;
    let mut tasks = JoinSet::new();
    for publisher in std::mem::take(&mut stage.publishers) {
        let shared = stage.shared.clone();
        tasks.spawn(async move { publisher.flood(shared).await.map(drop) });
    }
    // a publisher that fails ends the load before its time
    tokio::select! {
        () = sleep(length) => {}
        Some(failed) = failure(&mut tasks) => return Err(failed),
    }
    stage.shared.stop.cancel();
    stage.finish(tasks).await
}

/// Publishes `rate` messages a second, all publishers together and evenly.
pub async fn paced(
    publishing: &Publishing,
    subscribing: Option<&Subscribing>,
    rate: u32,
) -> Result<Outcome, FloodError> {
    let mut stage = Stage::set(publishing, subscribing, true).await?;
    let publishers = u32::try_from(stage.publishers.len()).unwrap_or(u32::MAX).max(1);
    let every = Duration::from_secs(1) * publishers / rate.max(1);
    let count = u32::try_from(publishing.length.as_nanos() / every.as_nanos().max(1)).unwrap_or(u32::MAX).max(1);
    let mut tasks = JoinSet::new();
    for (publisher, n) in std::mem::take(&mut stage.publishers).into_iter().zip(0..) {
        let (shared, phase) = (stage.shared.clone(), every * n / publishers);
        tasks.spawn(publisher.pace(shared, (every, phase), count));
    }
    stage.finish(tasks).await
}

/// The first failure of a task; none when all have ended well.
async fn failure(tasks: &mut JoinSet<Result<(), FloodError>>) -> Option<FloodError> {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended.map_err(|error| FloodError::Tool(error.to_string())).flatten() {
            return Some(error);
        }
    }
    None
}

/// All are connected, nothing is sent.
struct Stage {
    shared: Shared,
    publishers: Vec<Publisher>,
    listeners: JoinSet<Result<Seen, FloodError>>,
    received: Arc<AtomicU64>,
    /// Ends the listeners.
    over: CancellationToken,
}

impl Stage {
    async fn set(publishing: &Publishing, subscribing: Option<&Subscribing>, timed: bool) -> Result<Self, FloodError> {
        let Publishing { addr, qos, content, window, .. } = *publishing;
        let mut publishers = Vec::with_capacity(publishing.publishers.len());
        for (login, topic) in &publishing.publishers {
            let client = Client::connect(addr, login).await?;
            publishers.push(Publisher { client, topic: topic.clone(), qos, content });
        }
        let logins = subscribing.map_or(&[][..], |subscribing| &subscribing.subscribers);
        let mut clients = Vec::with_capacity(logins.len());
        for (login, Subscribing { filter, qos, .. }) in logins.iter().zip(subscribing.into_iter().cycle()) {
            let mut client = Client::connect(addr, login).await?;
            client.subscribe(filter, *qos).await?;
            clients.push(client);
        }
        let mut shared = Shared::new(Instant::now());
        if window > 0 {
            let each = u32::try_from(clients.len()).unwrap_or(u32::MAX);
            // a write of one publisher must fit
            let most = window.max(BATCH).max(WINDOW).saturating_mul(clients.len());
            shared.credit = Some((Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))), each));
        }
        let (received, over, mut listeners) = (Arc::<AtomicU64>::default(), CancellationToken::new(), JoinSet::new());
        for client in clients {
            let subscriber = Subscriber {
                client,
                received: received.clone(),
                credit: shared.credit.as_ref().map(|(credit, _)| credit.clone()),
                times_from: timed.then_some(shared.origin),
            };
            listeners.spawn(subscriber.listen(over.clone()));
        }
        Ok(Self { shared, publishers, listeners, received, over })
    }

    /// Waits until all that was sent is taken, and has come.
    async fn finish(mut self, mut publishing: JoinSet<Result<(), FloodError>>) -> Result<Outcome, FloodError> {
        if let Some(failed) = failure(&mut publishing).await {
            return Err(failed);
        }
        let subscribers = self.listeners.len() as u64;
        let sent = self.shared.sent.load(Ordering::Relaxed);
        let (mut came, mut at) = (self.received.load(Ordering::Relaxed), Instant::now());
        while came < sent * subscribers && at.elapsed() < QUIET {
            sleep(LOOK).await;
            let now = self.received.load(Ordering::Relaxed);
            if now > came {
                (came, at) = (now, Instant::now());
            }
        }
        let seconds = (at - self.shared.origin).as_secs_f64();
        self.over.cancel();
        let mut outcome = Outcome {
            begun: self.shared.origin,
            seconds,
            sent,
            acked: self.shared.acked.load(Ordering::Relaxed),
            delivered: 0,
            lost: 0,
            repeats: 0,
            closed: 0,
            times: Vec::new(),
            answered: std::mem::take(&mut *self.shared.answered.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        while let Some(seen) = self.listeners.join_next().await {
            let seen = seen.map_err(|error| FloodError::Tool(error.to_string())).flatten()?;
            outcome.delivered += seen.count - seen.repeats;
            outcome.lost += sent.saturating_sub(seen.count - seen.repeats);
            outcome.repeats += seen.repeats;
            outcome.closed += u64::from(seen.closed);
            outcome.times.extend(seen.times);
        }
        Ok(outcome)
    }
}
