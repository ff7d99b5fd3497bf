//! The bus heals, or says that it does not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use super::*;
use crate::domain::{ByteSize, LinkId, Span, SystemClock};
use crate::door::credentials::tests::MapStore;
use crate::door::mqtt::client::{Client, Room};
use crate::door::mqtt::hub::{Options, QueueLimits, Session};
use crate::door::rights::Caller;
use crate::topics::{Role, Who};

struct Rig {
    bus: Arc<Bus>,
    session: Arc<Session>,
    stop: CancellationToken,
    tracker: TaskTracker,
}

async fn rig(settings: BusSettings) -> Rig {
    let (tracker, stop, metrics) = (TaskTracker::new(), CancellationToken::new(), Metrics::default());
    let table = Arc::new(Table::builtin("gw").unwrap());
    let clock = Arc::new(SystemClock);
    let store = Arc::new(MapStore::default());
    let rights = Rights::open(Arc::clone(&table), Vec::new(), store.clone()).await.unwrap();
    let parts = BusParts { store, rights, table, clock, metrics: metrics.clone() };
    let bus = Bus::start(settings, &Limits::default(), parts, &tracker, stop.clone());
    let limits = QueueLimits { packets: 100_000, bytes: 1 << 30 };
    let (who, peer) = (Who::Operator(Role::Viewer), std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
    let room = Room { limits, memory: bus.memory().clone() };
    let client = Arc::new(Client::new(LinkId(1), who.clone(), "k".into(), peer, room, metrics));
    let owner = Caller { user: "u".into(), client: "c".into(), who };
    let session = bus.hub.open(owner, true, 0, limits, &client).unwrap().session;
    bus.hub.subscribe(&session, "#", Options { qos: 2, no_local: false, retain_as_published: false, id: None }, 0);
    Rig { bus, session, stop, tracker }
}

fn quick() -> BusSettings {
    BusSettings { canary: Span::ms(20), canary_deadline: Span::ms(200), ..BusSettings::default() }
}

fn message(n: u32) -> Message {
    Message::new(format!("t/{n}"), Bytes::new(), 0, false)
}

async fn next(session: &Session) -> String {
    let waiting = async {
        loop {
            if let Some((copy, _)) = session.take(LinkId(1), 64) {
                return copy.message.topic.to_string();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("nothing came over the bus")
}

#[tokio::test]
async fn a_panic_of_the_router_thread_loses_nothing_that_was_accepted() {
    let rig = rig(quick()).await;
    for n in 0..500 {
        rig.bus.carry(message(n), Receipt::none()).await;
    }
    rig.bus.sabotage();
    for n in 500..1_000 {
        rig.bus.carry(message(n), Receipt::none()).await;
    }
    for n in 0..1_000 {
        assert_eq!(next(&rig.session).await, format!("t/{n}"));
    }
    assert_eq!(rig.bus.metrics.bus_restarts.get(), 1);
    let bus = rig.bus.clone();
    let healed = async {
        while bus.degraded() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), healed).await.expect("still degraded");
    rig.stop.cancel();
}

#[tokio::test]
async fn a_bus_that_stands_still_is_replaced_when_its_canary_is_overdue() {
    let rig = rig(quick()).await;
    rig.bus.deafen(true);
    rig.bus.carry(message(1), Receipt::none()).await;
    while rig.bus.metrics.bus_restarts.get() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(rig.bus.degraded());
    rig.bus.deafen(false);
    assert_eq!(next(&rig.session).await, "t/1", "what was under way is sent again");
    rig.stop.cancel();
}

#[tokio::test]
async fn after_too_many_restarts_it_is_off_and_says_so_and_stops_nobody() {
    let rig = rig(BusSettings { restarts: 2, ..quick() }).await;
    for wanted in 1..=3 {
        rig.bus.sabotage();
        while rig.bus.metrics.bus_restarts.get() < wanted.min(2)
            || (wanted == 3 && !rig.bus.off.load(Ordering::Acquire))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(rig.bus.degraded());
    let (receipt, told) = Receipt::new();
    rig.bus.carry(message(1), receipt).await;
    let told = told.await.unwrap();
    assert_eq!(told, Settled::Refused(Refusal::Storage), "nobody has it: 3.1.1 gets no yes");
    rig.bus.copy(message(2));
    Bulletins::publish(&*rig.bus, "gateway/gw/status", Bytes::from_static(b"x"), QoS::AtLeastOnce, true);
    rig.tracker.close();
    tokio::time::timeout(Duration::from_secs(5), rig.tracker.wait()).await.expect("the supervisor has ended");
}

#[tokio::test]
async fn copies_are_dropped_and_told_while_publishes_wait() {
    let settings = BusSettings { slots: 16, bytes: ByteSize::mb(1), canary_deadline: Span::secs(60), ..quick() };
    let rig = rig(settings).await;
    rig.bus.deafen(true);
    for n in 0..20 {
        rig.bus.copy(message(n));
    }
    assert_eq!(rig.bus.metrics.drops("bus_copy"), 8, "three quarters of 16 slots for copies");
    rig.bus.carry(message(100), Receipt::none()).await;
    rig.bus.carry(message(101), Receipt::none()).await;
    let bus = rig.bus.clone();
    let mut third = std::pin::pin!(async move { bus.carry(message(102), Receipt::none()).await });
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut third).await.is_err(), "it waits for credit");
    rig.bus.deafen(false);
    // what was swallowed while deaf comes again with a new Router
    rig.bus.sabotage();
    third.await;
    let mut topics = Vec::new();
    while topics.len() < 16 {
        topics.push(next(&rig.session).await);
    }
    assert_eq!(topics.iter().filter(|t| t.starts_with("t/")).count(), 15);
    assert!(topics.iter().any(|t| t == "gateway/gw/event/-/gap"), "{topics:?}");
    rig.stop.cancel();
}
